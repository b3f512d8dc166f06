"""Documented behaviour of TransductiveSVC."""

import pickle
import time
from functools import partial

import numpy as np
import pandas as pd
import pytest
from scipy.sparse import csr_array
from sklearn.base import clone
from sklearn.datasets import load_digits, load_wine, make_blobs, make_moons
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.metrics.pairwise import linear_kernel, polynomial_kernel, rbf_kernel
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from threadpoolctl import threadpool_limits

from skvim.datasets import make_g50c
from skvim.model_selection import mask_labels
from skvim.semi_supervised import TransductiveSVC

UNLABELED = -1

#: The transductive machine itself, whether or not held-out labels speak for it.
transductive = partial(TransductiveSVC, safe=False)


def hide(y, n_labeled, seed, *, stratify=True):
    """Return y with -1 for all but n_labeled rows."""
    return mask_labels(y, n_labeled, stratify=stratify, random_state=seed)


def g50c(seed):
    """Two unit Gaussians in 50 dimensions with a Bayes error of 5 %."""
    X, y = make_g50c(random_state=seed)
    partial = hide(y, 50, seed)
    hidden = partial == UNLABELED
    return X, partial, X[hidden], y[hidden]


def moons(seed):
    X, y = make_moons(300, noise=0.08, random_state=seed)
    partial = hide(y, 4, seed)
    hidden = partial == UNLABELED
    return X, partial, X[hidden], y[hidden]


def digits(seed, represent=None, n_labeled=100):
    """1,437 rows of which 100 are labelled, and 360 to test on."""
    X, y = load_digits(return_X_y=True)
    X, X_test, y, y_test = train_test_split(X / 16, y, test_size=360, stratify=y, random_state=seed)
    if represent is not None:
        represent.fit(X)
        X, X_test = represent.transform(X), represent.transform(X_test)
    return X, hide(y, n_labeled, seed), X_test, y_test


def codes(seed):
    return digits(seed, PCA(16, random_state=0))


def standardized_codes(seed):
    return digits(seed, PCA(16, random_state=0, whiten=True))


def gains(draw, seeds, C=1.0, **parameters):
    """Return the accuracies of TransductiveSVC and SVC, one row per seed."""
    accuracies = []
    for seed in seeds:
        X, y, X_test, y_test = draw(seed)
        ours = transductive(C, random_state=seed, **parameters).fit(X, y)
        given = y != UNLABELED
        svc = SVC(C=C, **parameters).fit(X[given], y[given])
        accuracies.append((ours.score(X_test, y_test), svc.score(X_test, y_test)))
    return np.array(accuracies)


def wine(n_labeled=30, seed=0):
    X, y = load_wine(return_X_y=True)
    return StandardScaler().fit_transform(X), hide(y, n_labeled, seed), y


def scores_after_fit(model, X, y):
    return clone(model).fit(X, y).decision_function(X)


# Equivalences


@pytest.mark.parametrize(("C", "gamma"), [(1.0, "scale"), (10.0, 0.1)])
def test_with_all_labels_it_predicts_what_svc_predicts(C, gamma):
    X, y = load_digits(return_X_y=True)
    X, X_test, y, _ = train_test_split(X / 16, y, train_size=900, stratify=y, random_state=0)
    ours = transductive(C, gamma=gamma, n_components="all").fit(X, y)
    svc = SVC(C=C, gamma=gamma).fit(X, y)
    assert np.mean(ours.predict(X_test) == svc.predict(X_test)) >= 0.98


@pytest.mark.parametrize("C", [0.3, 20.0])
def test_without_unlabelled_rows_it_is_the_squared_hinge_svm(C):
    """That SVM is a hard-margin one whose kernel has 1 / (2 C) added to its diagonal."""
    X, _, y = wine()
    ours = transductive(C, gamma=0.1, n_components="all", tol=1e-7).fit(X, y)
    kernel = rbf_kernel(X, gamma=0.1)
    objective = 0.0
    for code, scores in enumerate(ours.decision_function(X).T):
        signs = np.where(y == code, 1, -1)
        hard = SVC(C=1e8, kernel="precomputed", tol=1e-9).fit(
            kernel + np.eye(len(X)) / (2 * C), signs
        )
        coefficients = np.zeros(len(X))
        coefficients[hard.support_] = hard.dual_coef_[0]
        np.testing.assert_allclose(scores, kernel @ coefficients + hard.intercept_, atol=1e-4)
        slack = np.maximum(0, 1 - signs * (kernel @ coefficients + hard.intercept_))
        objective += 0.5 * coefficients @ kernel @ coefficients + C * np.sum(slack**2)
    assert ours.objective_ == pytest.approx(objective, rel=1e-5)


@pytest.mark.parametrize("class_prior", [[0.2, 0.3, 0.5], None, "free"])
@pytest.mark.parametrize("solver", ["gradient", "switching"])
def test_the_objective_is_the_documented_one(solver, class_prior):
    X, y, _ = wine()
    ours = transductive(
        0.5, C_unlabeled=0.2, kernel="linear", solver=solver, class_prior=class_prior
    ).fit(X, y)
    scores = ours.decision_function(X)
    origin = ours.decision_function(np.zeros((1, X.shape[1])))
    weights = ours.decision_function(np.eye(X.shape[1])) - origin
    given = y != UNLABELED
    signs = np.where(y[given][:, None] == ours.classes_, 1, -1)
    slack = np.maximum(0, 1 - signs * scores[given])
    gap = np.maximum(0, 1 - np.abs(scores[~given]))
    expected = 0.5 * np.sum(weights**2) + 0.5 * np.sum(slack**2) + 0.2 * np.sum(gap**2)
    assert ours.objective_ == pytest.approx(expected, rel=1e-9)
    assert ours.objective_history_[-1] == ours.objective_


# Accuracy with unlabelled rows


@pytest.mark.parametrize(
    ("draw", "parameters", "least_gain", "least_accuracy"),
    [
        # The published error of a transductive SVM with a chosen C is 6.9 %.
        pytest.param(g50c, {}, 0.02, 0.931, id="g50c"),
        # A large C makes local minima that only a gradual rise of C* avoids.
        pytest.param(g50c, {"C": 10.0}, 0.02, 0.931, id="g50c, large C"),
        pytest.param(moons, {"gamma": 10.0}, 0.2, 0.95, id="two moons, four labels"),
    ],
)
def test_unlabelled_rows_help_where_classes_are_clusters(
    draw, parameters, least_gain, least_accuracy
):
    ours, svc = gains(draw, range(10), **parameters).mean(axis=0)
    assert ours >= svc + least_gain
    assert ours >= least_accuracy


@pytest.mark.parametrize("draw", [digits, standardized_codes])
def test_it_beats_svc_on_digits_with_100_labels(draw):
    accuracies = gains(draw, range(3))
    assert (accuracies[:, 0] >= accuracies[:, 1]).all()
    ours, svc = accuracies.mean(axis=0)
    assert ours >= svc + 0.015


def test_a_fit_to_digits_takes_under_a_second_and_a_half_of_one_core():
    X, y, _, _ = digits(0)
    durations = [np.inf]
    with threadpool_limits(1):
        while min(durations) >= 1.5 and len(durations) <= 3:
            start = time.process_time()
            transductive(random_state=0).fit(X, y)
            durations.append(time.process_time() - start)
    assert min(durations) < 1.5


def test_one_label_per_class_suffices_on_clusters():
    X, y = make_blobs(150, centers=5, cluster_std=0.5, random_state=3)
    partial = np.full(150, UNLABELED)
    for code in range(5):
        partial[np.flatnonzero(y == code)[0]] = code
    model = transductive(gamma=0.1).fit(X, partial)
    np.testing.assert_array_equal(model.transduction_, y)


def test_unequal_classes_keep_their_shares():
    X, y = make_blobs([270, 30], centers=[[0, 0], [3, 0]], random_state=0)
    model = transductive().fit(X, hide(y, 60, 0))
    assert np.mean(model.transduction_ == 1) == pytest.approx(0.1, abs=0.03)
    assert model.score(X, y) > 0.95


def test_class_prior_replaces_the_shares_among_labels():
    """Five labels per class say nothing about nine rows of one class to one of the other."""
    X, y = make_blobs([450, 50], centers=[[0, 0], [2.5, 0]], random_state=0)
    partial = np.full(500, UNLABELED)
    for code in (0, 1):
        partial[np.flatnonzero(y == code)[:5]] = code
    shares = [
        np.mean(transductive(class_prior=prior).fit(X, partial).transduction_ == 1)
        for prior in (None, [0.9, 0.1])
    ]
    assert abs(shares[1] - 0.1) < 0.03 < abs(shares[0] - 0.1)


def test_few_unlabelled_rows_change_little():
    """The class balance penalty is negligible for few unlabelled rows."""
    X, _, y = wine()
    partial = y.copy()
    partial[:2] = UNLABELED
    labelled = scores_after_fit(transductive(n_components="all"), X, y)
    nearly = scores_after_fit(transductive(n_components="all"), X, partial)
    assert np.abs(labelled - nearly).max() < 0.2


def test_zero_weight_ignores_unlabelled_rows():
    X, y, _ = wine()
    given = y != UNLABELED
    model = transductive(gamma=0.1, n_components="all", tol=1e-7)
    alone = clone(model).fit(X[given], y[given]).decision_function(X)
    ignoring = clone(model).set_params(C_unlabeled=0).fit(X, y).decision_function(X)
    np.testing.assert_allclose(ignoring, alone, atol=1e-5)


def test_auto_weighs_unlabelled_rows_less_the_more_there_are():
    X, y, _ = wine()
    n_labeled = np.sum(y != UNLABELED)
    automatic = scores_after_fit(transductive(2.0), X, y)
    by_hand = transductive(2.0, C_unlabeled=2.0 * np.sqrt(n_labeled / (len(y) - n_labeled)))
    np.testing.assert_array_equal(automatic, scores_after_fit(by_hand, X, y))


# Kernels and features


@pytest.mark.parametrize(
    ("named", "function"),
    [
        ({"kernel": "linear"}, linear_kernel),
        ({"kernel": "rbf", "gamma": 0.05}, lambda X, Z: rbf_kernel(X, Z, gamma=0.05)),
        (
            {"kernel": "poly", "gamma": 0.05, "degree": 2, "coef0": 1.5},
            lambda X, Z: polynomial_kernel(X, Z, degree=2, gamma=0.05, coef0=1.5),
        ),
    ],
    ids=["linear", "rbf", "poly"],
)
@pytest.mark.numerics
def test_a_named_kernel_and_its_function_give_the_same_svm(named, function):
    X, y, _ = wine()
    named = transductive(n_components="all", tol=1e-6, **named)
    own = transductive(n_components="all", tol=1e-6, kernel=function)
    np.testing.assert_allclose(
        scores_after_fit(named, X, y), scores_after_fit(own, X, y), atol=1e-3
    )


@pytest.mark.numerics
def test_linear_svm_is_the_same_with_more_features_than_rows():
    """An isometric embedding, here into 13 times as many dimensions, changes no score."""
    X, y, _ = wine()
    wide = X @ np.linalg.qr(np.random.default_rng(0).standard_normal((169, 13)))[0].T
    wide = np.hstack([wide, np.zeros((len(X), 50))])
    model = transductive(0.1, kernel="linear", tol=1e-7)
    np.testing.assert_allclose(
        scores_after_fit(model, wide, y), scores_after_fit(model, X, y), atol=1e-3
    )


def test_gamma_auto_and_scale_are_svcs():
    X, y, _ = wine()
    for name, value in [("auto", 1 / X.shape[1]), ("scale", 1 / (X.shape[1] * X.var()))]:
        np.testing.assert_array_equal(
            scores_after_fit(transductive(gamma=name), X, y),
            scores_after_fit(transductive(gamma=value), X, y),
        )


@pytest.mark.numerics
def test_predictions_do_not_depend_on_the_unit_of_the_features():
    X, y, X_test, _ = codes(0)
    model = transductive(n_components=100, random_state=0)
    plain = clone(model).fit(X, y).predict(X_test)
    for scale in (1e-6, 1e6):
        scaled = clone(model).fit(X * scale, y).predict(X_test * scale)
        assert np.mean(plain == scaled) > 0.99


@pytest.mark.numerics
def test_rbf_svm_does_not_depend_on_the_origin():
    X, y, _ = wine()
    model = transductive(gamma=0.05)
    np.testing.assert_allclose(
        scores_after_fit(model, X + 1e7, y), scores_after_fit(model, X, y), atol=1e-3
    )


@pytest.mark.parametrize("kernel", ["rbf", "linear"])
@pytest.mark.numerics
def test_constant_and_dead_features_break_nothing(kernel):
    X, y, _ = wine()
    generator = np.random.default_rng(0)
    dead = np.column_stack([np.full(len(X), 7.0), 1e-9 * generator.standard_normal(len(X))])
    model = transductive(0.1, kernel=kernel, gamma=0.05)
    np.testing.assert_allclose(
        scores_after_fit(model, np.hstack([X, dead]), y), scores_after_fit(model, X, y), atol=1e-3
    )


@pytest.mark.parametrize("kernel", ["rbf", "linear", "poly"])
@pytest.mark.numerics
def test_identical_rows_are_no_error(kernel):
    model = transductive(kernel=kernel).fit(np.zeros((6, 9)), [0, 1, 1, 1, -1, -1])
    assert set(model.transduction_) <= {0, 1}
    assert np.isfinite(model.decision_function(np.ones((2, 9)))).all()


# Predictions, labels and seeds


@pytest.mark.parametrize("classes", [2, 3])
def test_scores_decide(classes):
    X, y, truth = wine()
    X, y = X[truth < classes], y[truth < classes]
    model = transductive().fit(X, y)
    scores = model.decision_function(X)
    assert scores.shape == ((len(X),) if classes == 2 else (len(X), classes))
    decided = (scores > 0).astype(int) if classes == 2 else scores.argmax(axis=1)
    np.testing.assert_array_equal(model.predict(X), decided)
    np.testing.assert_array_equal(model.transduction_[y == -1], decided[y == -1])


def test_a_fitted_model_does_not_change_with_the_rows_it_saw():
    X, labels = g50c(0)[:2]
    model, new = transductive(n_components="all").fit(X, labels), X[:5].copy()
    before = model.decision_function(new)
    X *= 2.0
    np.testing.assert_array_equal(model.decision_function(new), before)


@pytest.mark.parametrize("n_components", [50, "all"])
def test_equal_seeds_give_equal_results(n_components):
    X, y, _ = wine()
    first, second, other = (
        transductive(n_components=n_components, random_state=seed).fit(X, y) for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(first.decision_function(X), second.decision_function(X))
    assert first.objective_ == second.objective_
    # Only the choice of landmarks is random.
    same = np.array_equal(first.decision_function(X), other.decision_function(X))
    assert same == (n_components == "all")


@pytest.mark.numerics
def test_the_order_of_rows_does_not_matter():
    X, y, X_test, _ = digits(1)
    X, y = X[:400], y[:400]
    order = np.random.default_rng(0).permutation(len(X))
    model = transductive(n_components="all", tol=1e-6)
    plain = clone(model).fit(X, y).decision_function(X_test)
    shuffled = clone(model).fit(X[order], y[order]).decision_function(X_test)
    np.testing.assert_allclose(shuffled, plain, atol=1e-3)


@pytest.mark.parametrize(
    "names",
    [
        np.array(["b", "a", "c"], dtype=object),
        np.array([7, 3, 12]),
        np.array([7, 3, 12], dtype=object),
        np.array([0.0, 2.0, 1.0]),
        np.array([10, 0, 2], dtype=np.int8),
    ],
    ids=["strings", "ints", "ints as objects", "floats", "small ints"],
)
def test_any_kind_of_label_does(names):
    X, codes, _ = wine()
    y = np.where(codes == UNLABELED, UNLABELED, names[codes]).astype(names.dtype)
    model = transductive().fit(X, y)
    plain = transductive().fit(X, codes)
    np.testing.assert_array_equal(model.classes_, np.sort(names))
    np.testing.assert_array_equal(model.transduction_, names[plain.transduction_])
    np.testing.assert_array_equal(model.predict(X), names[plain.predict(X)])
    assert model.transduction_.dtype == y.dtype
    assert model.score(X, model.predict(X)) == 1


def test_an_array_of_strings_has_no_unlabelled_rows():
    X, _, y = wine()
    names = np.array(["x", "y", "z"])
    model = transductive().fit(X, names[y])
    np.testing.assert_array_equal(model.transduction_, names[y])
    np.testing.assert_array_equal(model.classes_, names)


def test_given_labels_are_kept_even_where_the_model_disagrees():
    X, y, truth = wine()
    score = transductive().fit(X, y).decision_function(X)[:, 0]
    wrong = np.argmax(np.where(y == 0, score, -np.inf))
    y[wrong] = 2
    model = transductive().fit(X, y)
    assert model.predict(X[[wrong]]) == truth[wrong] == 0
    given = y != UNLABELED
    np.testing.assert_array_equal(model.transduction_[given], y[given])
    assert not np.isin(UNLABELED, model.transduction_)


def test_pickle_frames_and_search():
    X, y, truth = wine()
    frame = pd.DataFrame(X).rename(columns=lambda i: f"x{i}")
    model = transductive().fit(frame, pd.Series(y))
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.predict(frame), model.predict(frame))
    np.testing.assert_array_equal(model.feature_names_in_, frame.columns)
    search = GridSearchCV(transductive(), {"C": [0.1, 1.0]}, cv=2).fit(X, truth)
    assert search.best_score_ > 0.9


# Errors


def with_nan(X):
    X = X.copy()
    X[3, 1] = np.nan
    return X


@pytest.mark.parametrize(
    ("parameters", "change_X", "change_y", "message"),
    [
        ({}, None, lambda y: np.full(len(y), -1), "a label, but all 178 .* are -1"),
        ({}, None, lambda y: np.where(y == 0, 0, -1), "all have the one class 0"),
        ({}, None, lambda y: np.where(y == 0, 1, -1), "-1 marks a row without a label"),
        ({}, None, lambda y: y.astype(str), "use dtype object and the integer -1"),
        ({}, None, lambda y: y.astype(str).astype(object), "use dtype object and the integer -1"),
        ({}, None, lambda y: np.where(y == 0, "a", y.astype(object)), "of type int, str"),
        ({}, None, lambda y: y + 0.25, "continuous"),
        ({}, None, lambda y: y[:-1], "inconsistent numbers of samples"),
        ({}, with_nan, None, "NaN"),
        ({"C": 0.0}, None, None, "'C' parameter"),
        ({"C_unlabeled": -1}, None, None, "'C_unlabeled' parameter"),
        ({"kernel": "sigmoid"}, None, None, "'kernel' parameter"),
        ({"kernel": lambda X, Z: np.ones(3)}, None, None, r"'kernel' .* Got shape \(3,\)"),
        ({"kernel": lambda X, Z: X @ Z.T * np.nan}, None, None, "infinite or missing"),
        ({"kernel": lambda X, Z: X @ Z.T + 0j}, None, None, "'kernel' .* complex .*real ones"),
        ({"kernel": lambda X, Z: csr_array(X @ Z.T)}, None, None, "'kernel' .* sparse .*toarray"),
        ({"kernel": lambda X, Z: "rows"}, None, None, "'kernel' .* Got str"),
        ({"kernel": "poly", "gamma": 1.0}, lambda X: X * 1e200, None, "overflows, .* Scale X"),
        ({"kernel": "poly", "gamma": 1e300, "coef0": 2.0}, None, None, "smaller values of gamma"),
        ({"kernel": "linear"}, lambda X: X * 1e200, None, "X holds values of up to"),
        ({"gamma": 0.0}, None, None, "'gamma' parameter"),
        ({"degree": 0}, None, None, "'degree' parameter"),
        ({"degree": 2.5}, None, None, "'degree' parameter .* must be an int .* Got 2.5"),
        ({"coef0": np.inf}, None, None, "'coef0' parameter"),
        ({"n_components": 0}, None, None, "'n_components' parameter"),
        ({"n_components": "most"}, None, None, "'n_components' parameter"),
        ({"class_prior": [0.5, 0.5]}, None, None, r"\(3 classes\).*Got \[0.5, 0.5\]"),
        ({"class_prior": [0.5, 0.5, 0.5]}, None, None, "with sum 1"),
        ({"class_prior": [1.5, -0.5, 0.0]}, None, None, "not negative"),
        ({"class_prior": ["a", "b", "c"]}, None, None, "one share per class .* Got .'a', 'b', 'c'"),
        ({"max_iter": 0}, None, None, "'max_iter' parameter"),
        ({"tol": 0}, None, None, "'tol' parameter"),
        ({"random_state": "x"}, None, None, "'random_state' parameter"),
    ],
)
def test_bad_input_is_an_error_and_leaves_the_fitted_model(parameters, change_X, change_y, message):
    X, y, _ = wine()
    model = transductive().fit(X, y)
    before = model.decision_function(X)
    transduction = model.transduction_.copy()
    model.set_params(**parameters)
    with pytest.raises(ValueError, match=message):
        model.fit(
            X[:, :5] if change_X is None else change_X(X), y if change_y is None else change_y(y)
        )
    np.testing.assert_array_equal(model.decision_function(X), before)
    np.testing.assert_array_equal(model.transduction_, transduction)
    assert model.n_features_in_ == X.shape[1]


def test_unfitted_model_says_so():
    with pytest.raises(NotFittedError):
        transductive().predict(np.zeros((2, 2)))


def test_too_few_steps_are_a_warning():
    X, y, _ = wine()
    with pytest.warns(ConvergenceWarning, match="Increase max_iter") as caught:
        model = transductive(max_iter=1).fit(X, y)
    assert caught[0].filename == __file__
    assert model.n_iter_ <= 6
    assert model.predict(X).shape == y.shape
