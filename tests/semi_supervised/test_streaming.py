"""Fits to many rows, whose features are computed in blocks and never stored together."""

import tracemalloc
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from scipy.sparse import csr_array
from sklearn.base import clone
from sklearn.datasets import make_blobs
from sklearn.metrics.pairwise import rbf_kernel
from sklearn.svm import SVC

from skvim.model_selection import mask_labels
from skvim.semi_supervised import (
    TransductiveSVC,
    _feature_maps,
    _preconditioning,
    _solver,
    _streamed_solver,
)
from skvim.semi_supervised._feature_maps import KernelRows, NystroemMap, make_kernel
from skvim.semi_supervised._solver import StoppingCriteria, build_problem, minimize_supervised
from skvim.semi_supervised._streamed_solver import (
    hessian_factors,
    minimize_streamed_supervised,
    streamed_objectives,
    streamed_supervised,
    streamed_surrogate,
    supervised_curvature,
)
from skvim.semi_supervised._svm_objective import (
    LossWeights,
    objective_and_gradient,
    supervised_loss,
    surrogate_loss,
    transductive_objective,
)

#: The transductive machine itself, whether or not held-out labels speak for it.
transductive = partial(TransductiveSVC, safe=False)

COSTS = LossWeights(2.0, 0.5)
SHARES = np.array([0.3, 0.45, 0.25])
SHARP = StoppingCriteria(max_iter=1000, tol=1e-7)


@pytest.fixture(autouse=True)
def small_samples(monkeypatch):
    """Make a few hundred rows many, and their blocks small."""
    monkeypatch.setattr(_solver, "MAX_SAMPLE", 100)
    monkeypatch.setattr(_preconditioning, "_BASIS_ROWS", 100)
    monkeypatch.setattr(_feature_maps, "_MAX_ENTRIES", 1000)
    monkeypatch.setattr(_feature_maps, "_MAX_STORED", 5000)


def both_problems(shares=SHARES, costs=COSTS, n_rows=700):
    """Return a streamed problem, the same with all features stored, and labels of all rows."""
    X, y = make_blobs(n_rows, 4, centers=3, cluster_std=4.0, random_state=0)
    kernel = make_kernel("rbf", gamma=0.02, degree=3, coef0=0.0)
    rows = KernelRows(NystroemMap.fit(kernel, X[::50]), X, np.arange(n_rows))
    signs = np.where(y[:40, None] == np.arange(3), 1.0, -1.0)
    streamed = build_problem(rows, signs, shares, costs)
    features = streamed.features
    matrix = rows.values(slice(None)) @ features.folding - features.shift
    stored = replace(streamed, features=replace(features.sample, matrix=matrix))
    return streamed, stored, y[:, None] == np.arange(3)


def some_variables(problem, seed=1):
    return np.random.default_rng(seed).standard_normal(np.prod(problem.shape)) * 3.0


def data(n_rows=900, n_labeled=60, seed=0):
    X, y = make_blobs(n_rows, 5, centers=3, cluster_std=3.0, random_state=seed)
    return X, mask_labels(y, n_labeled, stratify=True, random_state=seed), y


@pytest.mark.numerics
def test_streamed_features_are_the_stored_ones():
    streamed, stored, _ = both_problems()
    coordinates, _ = streamed.unpack(some_variables(streamed))
    by_scores = np.random.default_rng(2).standard_normal((700, 3))
    one, other = streamed.features, stored.features
    np.testing.assert_allclose(one.scores(coordinates), other.scores(coordinates), atol=1e-10)
    np.testing.assert_allclose(one.gradient(by_scores), other.gradient(by_scores), atol=1e-8)
    rows = np.array([3, 650, 41])
    np.testing.assert_allclose(one.select(rows), other.matrix[rows], atol=1e-3)
    np.testing.assert_allclose(one.first(140).matrix, other.matrix[:140], atol=1e-10)


@pytest.mark.parametrize("shares", [SHARES, None])
@pytest.mark.numerics
def test_streamed_losses_are_the_stored_ones(shares):
    streamed, stored, positive = both_problems(shares)
    variables, signs = some_variables(streamed), np.where(positive, 1.0, -1.0)
    coordinates, _ = streamed.unpack(variables)
    penalized = streamed.features.penalty[:, None] * coordinates
    pairs = [
        (
            streamed_surrogate(variables, streamed, 0.2),
            partial(surrogate_loss, problem=stored, C_unlabeled=0.2),
        ),
        (
            streamed_supervised(variables, streamed, positive, 0.2),
            partial(supervised_loss, signs=signs, problem=stored, C_unlabeled=0.2),
        ),
    ]
    for (value, by_coordinates, by_intercepts), loss in pairs:
        expected, gradient = objective_and_gradient(variables, stored, loss)
        assert value + 0.5 * np.sum(penalized * coordinates) == pytest.approx(expected, rel=1e-10)
        found = [by_coordinates + penalized, streamed.intercept_scale * by_intercepts]
        scale = np.abs(gradient).max()
        np.testing.assert_allclose(np.vstack(found).ravel(), gradient, atol=1e-9 * scale)
    points = [variables, some_variables(streamed, 5)]
    objectives = [transductive_objective(point, stored) for point in points]
    np.testing.assert_allclose(streamed_objectives(points, streamed), objectives, rtol=1e-10)


def numerical_hessian(variables, problem, loss):
    """Return the second derivatives by the variables, by differences of gradients."""
    columns = []
    for i in range(len(variables)):
        step = np.zeros(len(variables))
        step[i] = 1e-5
        ends = [objective_and_gradient(variables + s * step, problem, loss)[1] for s in (1, -1)]
        columns.append((ends[0] - ends[1]) / 2e-5)
    return np.array(columns)


@pytest.mark.numerics
def test_factors_are_those_of_the_hessian_where_all_rows_count(monkeypatch):
    monkeypatch.setattr(_streamed_solver, "_HESSIAN_ROWS", 1000)
    streamed, stored, positive = both_problems()
    variables = some_variables(streamed)
    scores, signs = stored.scores(variables), np.where(positive, 1.0, -1.0)
    curvature = supervised_curvature(scores, streamed, positive, 0.2)
    factors = hessian_factors(streamed, curvature)
    loss = partial(supervised_loss, signs=signs, problem=stored, C_unlabeled=0.2)
    expected = numerical_hessian(variables, stored, loss)
    for column, factor in enumerate(factors):
        hessian = expected[column::3, column::3]
        np.testing.assert_allclose(factor @ factor.T, hessian, atol=0.02 * np.abs(hessian).max())


@pytest.mark.parametrize("most", [1, 2**26])
@pytest.mark.numerics
def test_the_solution_with_given_labels_is_that_of_stored_features(monkeypatch, most):
    """Also where each problem is solved by itself, because factors would need too much memory."""
    monkeypatch.setattr(_streamed_solver, "_MAX_FACTORS", most)
    streamed, stored, positive = both_problems()
    start = np.zeros(streamed.shape).ravel()
    found = minimize_streamed_supervised(streamed, positive, streamed.scores(start), start, SHARP)
    signs = np.where(positive, 1.0, -1.0)
    expected = minimize_supervised(stored, signs, COSTS.unlabeled, start, SHARP)
    assert found.success
    assert found.fun == pytest.approx(expected.fun, rel=1e-9)
    np.testing.assert_allclose(stored.scores(found.x), stored.scores(expected.x), atol=1e-4)
    again = minimize_streamed_supervised(
        streamed, positive, streamed.scores(found.x), found.x, replace(SHARP, tol=1e-5)
    )
    assert again.nit == 0


@pytest.mark.numerics
def test_with_small_weights_it_is_ridge_regression_of_the_labels():
    """All rows are within the margin, and squared slack is the squared error."""
    costs = LossWeights(1e-3, 1e-3)
    streamed, stored, positive = both_problems(costs=costs)
    start = np.zeros(streamed.shape).ravel()
    found = minimize_streamed_supervised(streamed, positive, streamed.scores(start), start, SHARP)
    signs = np.where(positive, 1.0, -1.0)
    design = np.hstack([stored.features.matrix, np.full((700, 1), stored.intercept_scale)])
    penalty = np.diag(np.append(stored.features.penalty, 0.0))
    solution = np.linalg.solve(2e-3 * design.T @ design + penalty, 2e-3 * design.T @ signs)
    assert (signs * (design @ solution) < 1).all()
    np.testing.assert_allclose(stored.scores(found.x), design @ solution, atol=1e-5)


@pytest.mark.parametrize("prior", [None, "free"])
@pytest.mark.numerics
def test_results_do_not_depend_on_blocks_or_stored_values(monkeypatch, prior):
    X, labels, _ = data()
    model = transductive(n_components=8, class_prior=prior, tol=1e-6, random_state=0)
    small = clone(model).fit(X, labels)
    monkeypatch.setattr(_feature_maps, "_MAX_ENTRIES", 2**19)
    monkeypatch.setattr(_feature_maps, "_MAX_STORED", 2**26)
    large = clone(model).fit(X, labels)
    np.testing.assert_allclose(large.decision_function(X), small.decision_function(X), atol=1e-3)
    assert large.objective_ == pytest.approx(small.objective_, rel=1e-5)


def test_the_objective_of_a_streamed_fit_is_the_documented_one():
    X, labels, _ = data()
    model = transductive(0.5, C_unlabeled=0.2, n_components=8, random_state=0).fit(X, labels)
    scores, given = model.decision_function(X), labels != -1
    landmarks, folded = model._map.landmarks, model._folded
    kernel = rbf_kernel(landmarks, gamma=1 / (5 * X.var()))
    norm = 0.5 * np.sum(folded * (kernel @ folded))
    signs = np.where(labels[given][:, None] == model.classes_, 1, -1)
    slack = np.maximum(0, 1 - signs * scores[given])
    gap = np.maximum(0, 1 - np.abs(scores[~given]))
    expected = norm + 0.5 * np.sum(slack**2) + 0.2 * np.sum(gap**2)
    assert model.objective_ == pytest.approx(expected, rel=1e-6)


@pytest.mark.trust("The labels of many rows do not depend on the order of the rows.")
def test_permuted_rows_are_classified_alike(amount):
    for seed in range(amount("permuted data sets", quick=3, full=100)):
        X, labels, _ = data(seed=seed)
        order = np.random.default_rng(seed).permutation(len(X))
        model = transductive(n_components=8, random_state=0)
        plain = clone(model).fit(X, labels).transduction_[order]
        permuted = clone(model).fit(X[order], labels[order]).transduction_
        assert (plain == permuted).mean() > 0.95


def test_unlabelled_rows_without_weight_do_not_count():
    X, labels, _ = data()
    given = labels != -1
    model = transductive(C_unlabeled=0, kernel="rbf", gamma=0.02, n_components=80, tol=1e-7)
    model.set_params(random_state=0, n_components=9)
    ignoring = clone(model).fit(X, labels)
    landmarks = ignoring._map.landmarks

    def kernel(A, B):  # of the same Nyström map
        map_ = ignoring._map
        return map_.values(A) @ map_.projection @ (map_.values(B) @ map_.projection).T

    assert len(landmarks) == 9
    alone = transductive(kernel=kernel, n_components="all", tol=1e-7)
    alone.fit(X[given], labels[given])
    np.testing.assert_allclose(ignoring.decision_function(X), alone.decision_function(X), atol=1e-3)


def test_sparse_rows_warm_starts_and_callables_are_streamed_too():
    X, labels, y = data()
    model = transductive(0.3, n_components=8, warm_start=True, random_state=0)
    dense = clone(model).fit(X, labels)
    sparse = clone(model).fit(csr_array(X), labels)
    own = clone(model).set_params(kernel=partial(rbf_kernel, gamma=0.01)).fit(X, labels)
    svc = SVC(C=0.3).fit(X[labels != -1], y[labels != -1]).score(X, y)
    for fitted in (dense, sparse, own):
        assert fitted.score(X, y) > svc - 0.05
    cold = dense.n_iter_
    assert dense.fit(X, labels).n_iter_ < cold / 2


@pytest.mark.filterwarnings("ignore:TransductiveSVC stopped")
@pytest.mark.parametrize("C", [1e-100, 1e-12, 1e12, 1e100])
def test_extreme_weights_give_finite_scores_or_say_what_to_change(C):
    X, labels, _ = data()
    model = transductive(C, n_components=8, max_iter=20, random_state=0)
    try:
        scores = model.fit(X, labels).decision_function(X)
    except ValueError as error:
        assert "reduce C" in str(error)  # noqa: PT017
    else:
        assert np.isfinite(scores).all()


def test_features_of_all_rows_are_never_in_memory_together(monkeypatch):
    monkeypatch.setattr(_feature_maps, "_MAX_ENTRIES", 2**16)
    X, labels, _ = data(n_rows=20_000)
    model = transductive(n_components=60, random_state=0).fit(X[:2000], labels[:2000])
    tracemalloc.start()
    try:
        model.fit(X, labels)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 20_000 * 60 * 8
