"""Solvers, warm starts, sparse features and probabilities of TransductiveSVC."""

import itertools
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import pytest
from scipy.sparse import csr_array
from sklearn.base import clone
from sklearn.datasets import load_digits, make_blobs
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError
from sklearn.metrics import brier_score_loss
from sklearn.svm import SVC

import skvim
from skvim.datasets import make_g50c
from skvim.model_selection import mask_labels
from skvim.semi_supervised import TransductiveSVC, _blas_threads, _preconditioning, _solver
from skvim.semi_supervised._calibration import fit_inverse_temperature, probabilities
from skvim.semi_supervised._solver import (
    StoppingCriteria,
    build_problem,
    minimize_supervised,
    solve,
)
from skvim.semi_supervised._svm_objective import LossWeights

SOLVERS = ["gradient", "switching"]
SHARP = StoppingCriteria(max_iter=1000, tol=1e-7)

#: The transductive machine itself, whether or not held-out labels speak for it.
transductive = partial(TransductiveSVC, safe=False)


def overlapping(seed, n=300, n_labeled=40):
    """Return rows of three overlapping classes, partly masked labels and all labels."""
    X, y = make_blobs(n, 5, centers=3, cluster_std=4.0, random_state=seed)
    return X, mask_labels(y, n_labeled, random_state=seed), y


def tiny_problem(seed, n_labeled=6, n_unlabeled=6):
    """Return rows and labelled signs, few enough to try all labelings."""
    generator = np.random.default_rng(seed)
    y = np.arange(n_labeled + n_unlabeled) % 2
    X = generator.standard_normal((len(y), 4))
    X[:, 0] += 3.0 * (y - 0.5)
    return X, np.where(y[:n_labeled, None] > 0, 1.0, -1.0)


def global_optimum(X, signs, shares):
    """Return the lowest objective of all labelings, or of those with the class counts."""
    problem = build_problem(X.copy(), signs, shares, LossWeights(1.0, 0.5))
    n_unlabeled = len(X) - len(signs)
    wanted = None if shares is None else np.rint(shares[0] * len(X)) - (signs > 0).sum()
    objectives = []
    for assigned in itertools.product((1.0, -1.0), repeat=n_unlabeled):
        if wanted is None or assigned.count(1.0) == wanted:
            every = np.vstack([signs, np.array(assigned)[:, None]])
            start = np.zeros(problem.shape).ravel()
            objectives.append(minimize_supervised(problem, every, 0.5, start, SHARP).fun)
    return min(objectives)


@pytest.mark.parametrize(
    ("solver", "shares"), [("gradient", None), ("switching", None), ("switching", [0.5])]
)
@pytest.mark.numerics
def test_most_small_problems_are_solved_to_the_global_optimum(solver, shares):
    shares = None if shares is None else np.array(shares)
    gaps = []
    for seed in range(12):
        X, signs = tiny_problem(seed)
        problem = build_problem(X.copy(), signs, shares, LossWeights(1.0, 0.5))
        objective = solve(problem, solver, SHARP).history[-1]
        gaps.append(objective / global_optimum(X, signs, shares) - 1)
    if shares is None:  # else rows may be on the other side of the boundary than their label
        assert min(gaps) > -1e-6
    assert np.mean(np.array(gaps) < 0.01) >= 0.75


@pytest.mark.parametrize("solver", SOLVERS)
def test_without_class_shares_the_solution_is_a_minimum_of_the_objective(solver):
    X, partial_y, _ = overlapping(0)
    model = transductive(solver=solver, class_prior="free", random_state=0, tol=1e-7)
    scores = model.fit(X, partial_y).decision_function(X)
    given = partial_y != -1
    # The supervised SVM of the final labels is the same SVM.
    features = model._map.values(np.vstack([X[given], X[~given]])) @ model._map.projection
    signs = np.where(partial_y[given][:, None] == model.classes_, 1.0, -1.0)
    cost = np.sqrt(given.sum() / (~given).sum())
    problem = build_problem(features, signs, None, LossWeights(1.0, cost))
    every = np.vstack([signs, np.where(scores[~given] > 0, 1.0, -1.0)])
    best = minimize_supervised(problem, every, cost, np.zeros(problem.shape).ravel(), SHARP)
    assert model.objective_ == pytest.approx(best.fun, rel=1e-5)


def test_switching_uses_unlabelled_rows():
    errors = []
    for seed in range(4):
        X, y = make_g50c(random_state=seed)
        labels = mask_labels(y, 50, random_state=seed)
        hidden = labels == -1
        model = transductive(0.1, solver="switching", random_state=0).fit(X, labels)
        svc = SVC(C=0.1).fit(X[~hidden], y[~hidden])
        errors.append([(m.predict(X[hidden]) != y[hidden]).mean() for m in (model, svc)])
    ours, supervised = np.mean(errors, axis=0)
    assert ours < supervised - 0.02


@pytest.mark.parametrize("kernel", ["linear", "rbf", "poly"])
@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.numerics
def test_sparse_and_dense_features_give_the_same_svm(kernel, solver):
    X, y, _ = overlapping(1)
    X = np.where(np.abs(X) < 4, 0.0, X) / 10
    # Without unlabelled rows, the objective has one minimum.
    model = transductive(kernel=kernel, solver=solver, C_unlabeled=0, tol=1e-8, random_state=0)
    dense, sparse = clone(model).fit(X, y), clone(model).fit(csr_array(X), y)
    np.testing.assert_allclose(
        sparse.decision_function(csr_array(X)), dense.decision_function(X), atol=1e-4
    )
    np.testing.assert_array_equal(sparse.predict(X), dense.predict(csr_array(X)))
    both = clone(model).set_params(C_unlabeled="auto").fit(csr_array(X), y)
    assert np.isin(both.transduction_, both.classes_).all()


@pytest.mark.parametrize("kernel", ["linear", "rbf"])
def test_svms_of_sparse_features_are_saved_and_loaded(kernel, tmp_path):
    X, y, _ = overlapping(1)
    model = transductive(kernel=kernel, n_components=50, random_state=0).fit(csr_array(X), y)
    model.save(tmp_path / "model.skvim")
    loaded = skvim.load(tmp_path / "model.skvim")
    np.testing.assert_array_equal(loaded.decision_function(X), model.decision_function(X))


def test_text_is_classified_from_sparse_features_of_many_dimensions():
    generator = np.random.default_rng(0)
    n, n_words = 1200, 20_000
    y = np.arange(n) % 2
    words = generator.integers(0, n_words, (n, 60))
    # Eight words in a text are of its topic's 300.
    words[:, :8] = 300 * y[:, None] + generator.integers(0, 300, (n, 8))
    X = csr_array(
        (np.ones(words.size), (np.repeat(np.arange(n), 60), words.ravel())), shape=(n, n_words)
    )
    X = csr_array(X / np.sqrt(X.multiply(X).sum(axis=1))[:, None])
    X.indices, X.indptr = X.indices.astype(np.int32), X.indptr.astype(np.int32)
    labels = mask_labels(y, 40, random_state=0)
    hidden = labels == -1
    model = transductive(10.0, kernel="linear", solver="switching").fit(X, labels)
    svc = SVC(C=10.0, kernel="linear").fit(X[~hidden], y[~hidden])
    ours, supervised = ((m.predict(X[hidden]) == y[hidden]).mean() for m in (model, svc))
    assert 1 - ours < (1 - supervised) / 2


@pytest.mark.parametrize("solver", SOLVERS)
def test_a_warm_start_takes_fewer_iterations(solver):
    X, y, _ = overlapping(2)
    model = transductive(solver=solver, warm_start=True, random_state=0)
    cold = model.fit(X, y).n_iter_
    before = model.objective_
    assert model.fit(X, y).n_iter_ < cold / 2
    assert model.objective_ <= before * (1 + 1e-3)
    # Also along a path of C.
    warm = model.set_params(C=1.5).fit(X, y)
    assert warm.n_iter_ < transductive(1.5, solver=solver, random_state=0).fit(X, y).n_iter_


def test_a_linear_warm_start_for_other_features_starts_anew():
    X, labels, _ = overlapping(0)
    model = transductive(kernel="linear", warm_start=True).fit(X, labels)
    cold = transductive(kernel="linear").fit(X[:, :3], labels)
    np.testing.assert_array_equal(model.fit(X[:, :3], labels).objective_, cold.objective_)


@pytest.mark.parametrize(
    "change", [{"gamma": 0.3}, {"kernel": "linear"}, {"random_state": 1, "n_components": 60}]
)
def test_a_warm_start_for_another_kernel_starts_anew(change):
    X, y, _ = overlapping(3)
    model = transductive(warm_start=True, random_state=0, n_components=60).fit(X, y)
    model.set_params(**change).fit(X, y)
    anew = clone(model).fit(X, y)
    np.testing.assert_array_equal(model.decision_function(X), anew.decision_function(X))
    fewer = X[:, :3], np.where(y == 2, -1, y)  # other features, other classes
    np.testing.assert_array_equal(
        model.fit(*fewer).decision_function(fewer[0]),
        clone(model).fit(*fewer).decision_function(fewer[0]),
    )


@pytest.mark.parametrize(("classes", "noise"), [(2, 1.5), (10, 0.6)])
def test_probabilities_are_calibrated_and_agree_with_predictions(classes, noise):
    X, y = load_digits(n_class=classes, return_X_y=True)
    generator = np.random.default_rng(0)
    X = PCA(16, random_state=0).fit_transform(X) / 16
    X += generator.normal(scale=noise, size=X.shape)
    labels = mask_labels(y, 20 * classes, random_state=0)
    hidden = labels == -1
    model = transductive(1.0, n_components=100, probability=True, random_state=0)
    chances = model.fit(X, labels).predict_proba(X[hidden])
    np.testing.assert_allclose(chances.sum(axis=1), 1)
    np.testing.assert_array_equal(model.classes_[chances.argmax(axis=1)], model.predict(X[hidden]))
    confidence, right = chances.max(axis=1), model.predict(X[hidden]) == y[hidden]
    assert confidence.mean() == pytest.approx(right.mean(), abs=0.08)
    # Better than predicting the mean accuracy for every row.
    assert brier_score_loss(right, confidence) < right.mean() * (1 - right.mean())


def test_inverse_temperature_is_recovered_from_labels_drawn_with_it():
    generator = np.random.default_rng(0)
    scores = generator.normal(size=(20_000, 3))
    chances = probabilities(scores, 1.7)
    codes = (generator.random(len(scores))[:, None] > chances.cumsum(axis=1)).sum(axis=1)
    assert fit_inverse_temperature(scores, codes) == pytest.approx(1.7, rel=0.03)
    halves = probabilities(scores[:, :1], 0.8)
    np.testing.assert_allclose(halves[:, 1], 1 / (1 + np.exp(-1.6 * scores[:, 0])))


def test_targets_are_smoothed_for_few_labels():
    scores = np.array([[-3.0], [-2.0], [2.0], [4.0]])
    inverse_temperature = fit_inverse_temperature(scores, np.array([0, 0, 1, 1]))
    # Platt's target of a class with two labels is 3/4.
    assert 0.6 < probabilities(scores, inverse_temperature)[-1, 1] < 0.9


def test_probabilities_are_there_only_if_asked_for():
    X, y, _ = overlapping(4)
    model = transductive(n_components=50, random_state=0).fit(X, y)
    assert not hasattr(model, "predict_proba")
    with pytest.raises(NotFittedError, match="fitted with probability=False"):
        model.set_params(probability=True).predict_proba(X)
    strings = np.array(["a", "b", "c"], dtype=object)[y.clip(0)]
    strings[y == -1] = -1
    assert model.fit(X, strings).predict_proba(X).shape == (len(X), 3)
    complete = np.array(["a", "b", "c"])[np.arange(len(X)) % 3]  # its dtype cannot hold -1
    assert model.fit(X, complete).predict_proba(X).shape == (len(X), 3)
    lonely = np.where(y == 2, -1, y)
    lonely[np.flatnonzero(y == 2)[0]] = 2
    with pytest.raises(ValueError, match=r"two labelled rows of every class\. The class 2 has one"):
        model.fit(X, lonely)
    assert model.predict_proba(X).shape == (len(X), 3)


def test_annealing_a_sample_of_many_rows_ends_where_all_rows_do(monkeypatch):
    X, y = make_blobs(12_000, 8, centers=5, cluster_std=4.0, random_state=0)
    labels = mask_labels(y, 100, random_state=0)
    model = transductive(n_components=100, random_state=0)
    sampled = clone(model).fit(X, labels)
    monkeypatch.setattr(_solver, "MAX_SAMPLE", len(X))
    monkeypatch.setattr(_preconditioning, "_BASIS_ROWS", len(X))
    complete = clone(model).fit(X, labels)
    assert (sampled.transduction_ == complete.transduction_).mean() > 0.99
    assert sampled.objective_ == pytest.approx(complete.objective_, rel=0.02)
    assert (sampled.predict(X) == y).mean() > 0.9


def test_a_class_of_two_labels_is_found_among_many_rows():
    generator = np.random.default_rng(0)
    y = (generator.random(30_000) < 0.005).astype(int)
    X = generator.standard_normal((30_000, 5))
    X[:, 0] += 6.0 * y
    labels, kept = np.full(30_000, -1), [np.flatnonzero(y == c)[:n] for c, n in ((0, 398), (1, 2))]
    labels[np.concatenate(kept)] = y[np.concatenate(kept)]
    model = transductive(kernel="linear", random_state=0).fit(X, labels)
    assert (model.transduction_[y == 1] == 1).mean() > 0.9


def test_sorted_labels_of_many_rows_take_no_more_iterations():
    """A preconditioner of the first rows, of a few classes only, would be a poor one."""
    X, y = make_blobs(30_000, n_features=20, centers=10, cluster_std=5.0, random_state=0)
    X *= np.logspace(-2, 2, 20)
    model, order = transductive(kernel="linear", random_state=0), np.argsort(y)
    n_iter = [clone(model).fit(X[rows], y[rows]).n_iter_ for rows in (slice(None), order)]
    assert n_iter[1] < 1.3 * n_iter[0]


@pytest.mark.parametrize("kernel", ["linear", "rbf"])
@pytest.mark.numerics
def test_the_order_of_many_rows_does_not_matter(kernel):
    """A sample of the first rows would hold one class only."""
    X, y = make_blobs(12_000, 8, centers=5, cluster_std=4.0, random_state=0)
    labels = mask_labels(y, 100, random_state=0)
    model = transductive(kernel=kernel, n_components=100, random_state=0)
    order = np.argsort(y, kind="stable")
    mixed, sorted_ = clone(model).fit(X, labels), clone(model).fit(X[order], labels[order])
    assert (mixed.transduction_[order] == sorted_.transduction_).mean() > 0.98


def test_concurrent_fits_restore_the_number_of_threads(monkeypatch):
    """A fake pool replaces SciPy's, which may not exist."""

    class Pool:
        number = 3

        def get_num_threads(self):
            return self.number

        def set_num_threads(self, number):
            self.number = number

    pool, inside = Pool(), threading.Barrier(2)
    monkeypatch.setattr(_blas_threads, "_scipy_blas_pools", lambda: (pool,))

    def fit(wait):
        with _blas_threads.limit_scipy_to_one_thread():
            inside.wait(10)
            assert pool.number == 1
            time.sleep(wait)
            assert pool.number == 1

    with ThreadPoolExecutor(2) as workers:
        list(workers.map(fit, [0.0, 0.2]))
    assert pool.number == 3
    with pytest.raises(ValueError, match="fails"), _blas_threads.limit_scipy_to_one_thread():
        raise ValueError("fails")
    assert pool.number == 3
