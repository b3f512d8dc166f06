"""The maths beneath TransductiveSVC."""

import numpy as np
import pytest
from scipy.optimize import check_grad

from skvim.semi_supervised._features import choose_landmarks
from skvim.semi_supervised._objective import evaluate, shrunk_frequencies, whiten
from skvim.semi_supervised._solver import Costs, pose


@pytest.mark.parametrize("n_features", [4, 30])
def test_the_gradient_is_the_derivative_of_the_objective(n_features):
    generator = np.random.default_rng(0)
    signs = np.where(generator.random((8, 3)) < 0.5, 1.0, -1.0)
    features = generator.standard_normal((20, n_features))
    features -= features.mean(axis=0)
    problem, _ = pose(features, signs, np.array([-0.4, 0.1, 0.0]), Costs(0.7, 0.3))
    variables = generator.standard_normal(np.prod(problem.shape))
    error = check_grad(
        lambda v: evaluate(v, problem, 0.2)[0], lambda v: evaluate(v, problem, 0.2)[1], variables
    )
    assert error < 1e-5 * np.linalg.norm(evaluate(variables, problem, 0.2)[1])


@pytest.mark.parametrize("shape", [(30, 5), (6, 15)])
def test_whitening_gives_the_hessian_unit_curvature(shape):
    generator = np.random.default_rng(1)
    features = generator.standard_normal(shape)
    row_weights = generator.random(shape[0])
    whitening = whiten(features, row_weights)
    hessian = np.eye(shape[1]) + features.T @ (features * row_weights[:, None])
    curvature = whitening.basis.T @ hessian @ whitening.basis
    np.testing.assert_allclose(curvature, np.eye(min(shape)), atol=1e-10)
    lengths = whitening.basis.T @ whitening.basis
    np.testing.assert_allclose(lengths, np.diag(whitening.penalty), atol=1e-10)


def test_frequencies_shrink_only_as_far_as_chance_explains():
    observed = np.array([0.9, 0.1])
    few, many = (shrunk_frequencies(observed, n) for n in (4, 10_000))
    np.testing.assert_allclose([few.sum(), many.sum()], 1)
    np.testing.assert_allclose(many, observed, atol=1e-4)
    assert 0.5 < few[0] < 0.9
    np.testing.assert_allclose(shrunk_frequencies(np.full(3, 1 / 3), 3), 1 / 3)
    np.testing.assert_allclose(shrunk_frequencies(np.array([0.53, 0.47]), 30), 0.5)


def test_landmarks_are_labelled_rows_first():
    labeled = np.arange(100) % 4 == 0
    chosen = choose_landmarks(labeled, 40, np.random.default_rng(0))
    assert set(np.flatnonzero(labeled)) <= set(chosen)
    assert len(set(chosen)) == 40
    np.testing.assert_array_equal(
        choose_landmarks(labeled, 500, np.random.default_rng(0)), np.arange(100)
    )
