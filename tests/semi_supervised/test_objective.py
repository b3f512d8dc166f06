"""Objective, preconditioner, landmarks and label switching of TransductiveSVC."""

from functools import partial

import numpy as np
import pytest
from scipy.optimize import check_grad
from scipy.sparse import csr_array

from skvim.semi_supervised import _preconditioning
from skvim.semi_supervised._feature_maps import choose_landmarks
from skvim.semi_supervised._label_switching import initial_labels, switch_labels
from skvim.semi_supervised._preconditioning import fit_preconditioner, precondition
from skvim.semi_supervised._solver import build_problem
from skvim.semi_supervised._svm_objective import (
    LossWeights,
    objective_and_gradient,
    subsample_unlabeled,
    supervised_loss,
    surrogate_loss,
    transductive_objective,
)


def signs_of(generator, shape):
    return np.where(generator.random(shape) < 0.5, 1.0, -1.0)


def small_problem(kind, n_features=4, shares=(0.3, 0.55, 0.5), costs=(0.7, 0.3)):
    """Return a problem of 8 labelled and 12 unlabelled rows and 3 columns, and its features."""
    generator = np.random.default_rng(0)
    signs = signs_of(generator, (8, 3))
    X = generator.standard_normal((20, n_features)) * (generator.random((20, n_features)) < 0.6)
    shares = None if shares is None else np.array(shares)
    features = csr_array(X) if kind == "sparse" else X.copy()
    return build_problem(features, signs, shares, LossWeights(*costs)), X


LOSSES = {
    "surrogate": lambda problem: partial(surrogate_loss, problem=problem, C_unlabeled=0.2),
    "supervised": lambda problem: partial(
        supervised_loss,
        signs=signs_of(np.random.default_rng(1), (20, 3)),
        problem=problem,
        C_unlabeled=0.2,
    ),
}


@pytest.mark.parametrize(
    ("name", "shares"),
    [("surrogate", (0.3, 0.55, 0.5)), ("surrogate", None), ("supervised", None)],
)
@pytest.mark.parametrize("kind", ["dense", "sparse"])
@pytest.mark.parametrize("n_features", [4, 30])
def test_the_gradient_is_the_derivative_of_the_objective(n_features, kind, name, shares):
    problem, _ = small_problem(kind, n_features, shares)
    loss = LOSSES[name](problem)
    variables = np.random.default_rng(2).standard_normal(np.prod(problem.shape))

    def value(variables):
        return objective_and_gradient(variables, problem, loss)[0]

    def gradient(variables):
        return objective_and_gradient(variables, problem, loss)[1]

    assert check_grad(value, gradient, variables) < 1e-5 * np.linalg.norm(gradient(variables))


@pytest.mark.parametrize("kind", ["dense", "sparse"])
@pytest.mark.numerics
def test_objective_and_surrogate_are_the_documented_functions_of_the_original_features(kind):
    problem, X = small_problem(kind)
    generator = np.random.default_rng(3)
    weights, intercepts = generator.standard_normal((4, 3)), generator.standard_normal(3)
    variables = problem.pack(weights, intercepts)
    scores = X @ weights + intercepts
    np.testing.assert_allclose(problem.scores(variables), scores, atol=1e-12)
    slack = np.maximum(0, 1 - problem.signs * scores[:8])
    gap = np.maximum(0, 1 - np.abs(scores[8:]))
    expected = 0.5 * np.sum(weights**2) + 0.7 * np.sum(slack**2) + 0.3 * np.sum(gap**2)
    assert transductive_objective(variables, problem) == pytest.approx(expected, rel=1e-12)
    loss, soft_signs = LOSSES["surrogate"](problem), np.tanh(2 * scores).mean(axis=0)
    smooth = (
        0.5 * np.sum(weights**2)
        + 0.7 * np.sum(slack**2)
        + 0.2 * np.sum(np.exp(-3 * scores[8:] ** 2))
        + 20 * 0.3 * 12**2 / 20 * np.sum((soft_signs - (2 * problem.shares - 1)) ** 2)
    )
    assert objective_and_gradient(variables, problem, loss)[0] == pytest.approx(smooth, rel=1e-12)


@pytest.mark.numerics
def test_sparse_features_are_scaled_by_the_diagonal_of_the_hessian():
    generator = np.random.default_rng(4)
    X = generator.standard_normal((30, 6)) * (generator.random((30, 6)) < 0.5)
    row_weights = np.repeat([2.0, 0.3], [10, 20])
    rows = precondition(csr_array(X), row_weights)
    centred = X - X.mean(axis=0)
    curvature = 1 + (row_weights[:, None] * centred**2).sum(axis=0)
    np.testing.assert_allclose(rows.basis**2 * curvature, 1, rtol=1e-12)


def test_initial_labels_have_the_class_shares_and_rank_by_score():
    problem, _ = small_problem("dense")
    scores = np.random.default_rng(5).standard_normal((12, 3))
    signs = initial_labels(scores, problem)
    positive = (np.vstack([problem.signs, signs]) > 0).sum(axis=0)
    possible = np.clip(np.rint(problem.shares * 20), (problem.signs > 0).sum(axis=0), None)
    np.testing.assert_array_equal(positive, possible)
    for column in range(3):
        up = signs[:, column] > 0
        assert not up.any() or up.all() or scores[up, column].min() > scores[~up, column].max()


@pytest.mark.parametrize("shares", [(0.3, 0.55, 0.5), None])
def test_label_switches_lower_the_loss_and_keep_class_counts(shares):
    problem, _ = small_problem("dense", shares=shares)
    generator = np.random.default_rng(6)
    for _ in range(20):
        scores, signs = 2 * generator.standard_normal((12, 3)), signs_of(generator, (12, 3))
        after, n_switched = switch_labels(scores, signs, problem)
        costs = [np.sum(np.maximum(0, 1 - s * scores) ** 2, axis=0) for s in (signs, after)]
        changed = (signs != after).any(axis=0)
        assert (costs[1][changed] < costs[0][changed]).all()
        assert n_switched == (signs != after).sum()
        if shares is None:
            best = np.sum(np.maximum(0, 1 - np.abs(scores)) ** 2, axis=0)
            np.testing.assert_allclose(costs[1], best, atol=1e-9)
        else:
            np.testing.assert_array_equal(signs.sum(axis=0), after.sum(axis=0))
            assert not switch_labels(scores, after, problem)[1]


@pytest.mark.parametrize("shape", [(30, 5), (6, 15)])
@pytest.mark.numerics
def test_preconditioned_hessian_is_the_identity(shape):
    generator = np.random.default_rng(1)
    features = generator.standard_normal(shape)
    row_weights = generator.random(shape[0])
    preconditioner = fit_preconditioner(features, row_weights)
    hessian = np.eye(shape[1]) + features.T @ (features * row_weights[:, None])
    curvature = preconditioner.basis.T @ hessian @ preconditioner.basis
    np.testing.assert_allclose(curvature, np.eye(min(shape)), atol=1e-10)
    lengths = preconditioner.basis.T @ preconditioner.basis
    np.testing.assert_allclose(lengths, np.diag(preconditioner.penalty), atol=1e-10)


@pytest.mark.parametrize(("sparse", "centres"), [(False, True), (True, True), (False, False)])
def test_landmarks_are_labelled_rows_first(sparse, centres):
    labeled = np.arange(200) % 8 == 0
    rows = np.arange(200.0)[:, None]  # each holds its number
    X = csr_array(rows) if sparse else rows
    choose = partial(choose_landmarks, X, labeled, centres=centres)
    few = 40 if centres and not sparse else 15  # with as many rows to each: no centres
    chosen = choose(few, np.random.default_rng(0))
    numbers = set((chosen.toarray() if sparse else chosen).ravel().astype(int))
    assert len(numbers) == few
    assert numbers <= set(range(200))
    assert len(numbers & set(np.flatnonzero(labeled))) == min(few, 25)
    every = choose(500, np.random.default_rng(0))
    assert every is not X
    assert (every != X).sum() == 0


def test_landmarks_of_many_rows_are_closer_to_them_than_random_rows():
    generator = np.random.default_rng(0)
    centres = 10 * generator.standard_normal((20, 3))
    X = np.repeat(centres, 500, axis=0) + 0.1 * generator.standard_normal((10_000, 3))
    landmarks = choose_landmarks(X, np.zeros(len(X), dtype=bool), 100, np.random.default_rng(1))
    again = choose_landmarks(X, np.zeros(len(X), dtype=bool), 100, np.random.default_rng(1))
    np.testing.assert_array_equal(landmarks, again)
    distances = np.linalg.norm(X[:, None] - landmarks, axis=2).min(axis=1)
    drawn = X[generator.choice(len(X), 100, replace=False)]
    assert np.mean(distances) < np.linalg.norm(X[:, None] - drawn, axis=2).min(axis=1).mean()


@pytest.mark.numerics
def test_landmarks_far_from_the_origin_are_as_good():
    X = np.random.default_rng(0).standard_normal((1000, 3))
    distances = []
    for origin in (0.0, 1e8):
        centres = choose_landmarks(
            X + origin, np.zeros(1000, dtype=bool), 50, np.random.default_rng(0)
        )
        distances.append(np.linalg.norm(X[:, None] - (centres - origin), axis=2).min(axis=1).mean())
    assert distances[1] == pytest.approx(distances[0], rel=1e-3)


@pytest.mark.parametrize("n_columns", [4, 6])
@pytest.mark.numerics
def test_preconditioning_with_a_projection_is_that_of_projected_features(n_columns):
    generator = np.random.default_rng(7)
    features, projection = generator.standard_normal((30, 6)), np.eye(6)[:, :n_columns] * 1.5
    weights = np.repeat([2.0, 0.3], [10, 20])
    one = precondition(features.copy(), weights, projection)
    other = precondition(features @ projection, weights)
    np.testing.assert_allclose(one.penalty, other.penalty)
    np.testing.assert_allclose(one.centre, other.centre)
    np.testing.assert_allclose(one.matrix @ one.matrix.T, other.matrix @ other.matrix.T)


def test_a_subsample_has_the_weight_of_all_rows():
    problem, _ = small_problem("dense")
    few = subsample_unlabeled(problem, 5)
    assert few.n_unlabeled == 5
    assert few.loss_weights.unlabeled * 5 == pytest.approx(
        problem.loss_weights.unlabeled * problem.n_unlabeled
    )
    assert np.shares_memory(few.features.matrix, problem.features.matrix)
    assert subsample_unlabeled(problem, problem.n_unlabeled) is problem


def test_a_subsample_of_repeated_rows_has_the_surrogate_loss_of_all():
    """Also where labelled rows are many and of other shares than the rest."""
    generator = np.random.default_rng(3)
    labeled, hidden = generator.standard_normal((8, 4)), generator.standard_normal((5, 4))
    signs = np.ones((8, 1))
    shares, costs = np.array([0.2]), LossWeights(0.7, 0.3)
    complete = build_problem(np.vstack([labeled, *[hidden] * 6]), signs, shares, costs)
    variables = generator.standard_normal(complete.shape).ravel()
    values = []
    for problem in (complete, subsample_unlabeled(complete, 5)):
        loss = partial(surrogate_loss, problem=problem, C_unlabeled=problem.loss_weights.unlabeled)
        values.append(objective_and_gradient(variables, problem, loss))
    np.testing.assert_allclose(values[1][0], values[0][0])
    np.testing.assert_allclose(values[1][1], values[0][1])


def test_a_preconditioner_of_the_first_rows_is_about_that_of_all(monkeypatch):
    generator = np.random.default_rng(8)
    features = generator.standard_normal((3000, 5)) * [3.0, 1.0, 0.3, 2.0, 1.0]
    weights = np.repeat([2.0, 0.3], [100, 2900])
    complete = precondition(features.copy(), weights)
    monkeypatch.setattr(_preconditioning, "_BASIS_ROWS", 1000)
    np.testing.assert_allclose(precondition(features, weights).penalty, complete.penalty, rtol=0.2)
