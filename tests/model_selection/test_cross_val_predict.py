"""Out-of-fold predictions of partly labelled rows."""

from typing import ClassVar

import numpy as np
import pandas as pd
import pytest
import sklearn
from joblib import parallel_config
from scipy.sparse import coo_array, csr_array
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import make_blobs
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import (
    GridSearchCV,
    GroupKFold,
    KFold,
    LeaveOneGroupOut,
    ShuffleSplit,
    cross_val_predict,
)
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.semi_supervised import LabelSpreading, SelfTrainingClassifier
from sklearn.svm import SVC

from skvim.model_selection import (
    MaskedStratifiedKFold,
    MaskedStratifiedShuffleSplit,
    cross_val_predict_masked,
    mask_labels,
)
from skvim.semi_supervised import TransductiveSVC

METHODS = ["predict", "predict_proba", "predict_log_proba", "decision_function"]
GRAPH = LabelSpreading(gamma=0.01, tol=0.1)
NAMES = np.array(["one", "two", "three", "four"], dtype=object)


def blobs(n_classes=3, n_labeled=45, n_rows=120):
    X, y = make_blobs(n_rows, centers=n_classes, cluster_std=3.0, random_state=0)
    return X, y, mask_labels(y, n_labeled, random_state=0)


def by_hand(model, X, partial, method, cv):
    """Out-of-fold predictions of the labelled rows, by a loop."""
    rows = {}
    for train, test in cv.split(X, partial):
        fitted = sklearn.clone(model).fit(X[train], partial[train])
        rows.update(zip(test.tolist(), getattr(fitted, method)(X[test]), strict=True))
    return np.array([rows[i] for i in np.flatnonzero(partial != -1)])


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("as_names", [False, True])
def test_with_all_rows_labelled_it_is_that_of_scikit_learn(method, n_classes, as_names):
    X, y, _ = blobs(n_classes)
    y = NAMES[y] if as_names else y
    model = make_pipeline(StandardScaler(), LogisticRegression())
    for cv in (None, 3, KFold(4), MaskedStratifiedKFold(3, shuffle=True, random_state=0)):
        found = cross_val_predict_masked(model, X, y, cv=cv, method=method)
        expected = cross_val_predict(model, X, y, cv=cv, method=method)
        np.testing.assert_array_equal(found, expected)
        assert found.dtype == expected.dtype


@pytest.mark.trust("Out-of-fold predictions learn from all rows but the labels of their fold.")
def test_predictions_of_any_data_are_those_of_a_loop(amount):
    draws = np.random.default_rng(0)
    for _ in range(amount("partly labelled data sets predicted", quick=5, full=500)):
        n_classes, n_folds, seed = draws.integers(2, 5), draws.integers(2, 5), draws.integers(1000)
        X, y = make_blobs(80, centers=n_classes, cluster_std=2.0, random_state=seed)
        partial = mask_labels(y, draws.integers(16, 80), random_state=seed)
        cv = MaskedStratifiedKFold(n_folds, shuffle=True, random_state=seed)
        method = draws.choice(["predict", "predict_proba"])
        found = cross_val_predict_masked(GRAPH, X, partial, cv=cv, method=method)
        np.testing.assert_array_equal(found, by_hand(GRAPH, X, partial, method, cv))


@pytest.mark.parametrize(
    ("model", "method"),
    [
        (TransductiveSVC(random_state=0, safe=False), "predict"),
        (TransductiveSVC(random_state=0, safe=False), "decision_function"),
        (TransductiveSVC(probability=True, random_state=0, safe=False), "predict_proba"),
        (SelfTrainingClassifier(LogisticRegression()), "predict_log_proba"),
        (make_pipeline(StandardScaler(), LabelSpreading()), "predict_proba"),
    ],
)
def test_predictions_are_those_of_a_loop(model, method):
    X, _, partial = blobs()
    cv = MaskedStratifiedKFold(3)
    found = cross_val_predict_masked(model, X, partial, cv=3, method=method)
    np.testing.assert_array_equal(found, by_hand(model, X, partial, method, cv))


@pytest.mark.parametrize("method", ["predict", "predict_proba"])
def test_kinds_of_labels_and_rows_give_the_same(method):
    X, _, partial = blobs()
    named = NAMES[partial]
    named[partial == -1] = -1
    model = SelfTrainingClassifier(LogisticRegression())
    numbers = cross_val_predict_masked(model, X, partial, cv=3, method=method)
    expected = NAMES[numbers] if method == "predict" else numbers[:, [0, 2, 1]]
    for y in (named, pd.Series(named, index=np.arange(120)[::-1])):
        found = cross_val_predict_masked(model, X, y, cv=3, method=method)
        if method == "predict":
            np.testing.assert_array_equal(found, expected)
        else:  # the order of the sorted names: one, three, two
            np.testing.assert_allclose(found, expected, atol=1e-6)
    for rows in (X.tolist(), pd.DataFrame(X), csr_array(X), coo_array(X)):
        found = cross_val_predict_masked(model, rows, partial, cv=3, method=method)
        np.testing.assert_allclose(found, numbers, atol=1e-6)


class Recorder(ClassifierMixin, BaseEstimator):
    """Classifier that records the weights, rows and columns that its fits get."""

    fits: ClassVar[list] = []

    def fit(self, X, y, sample_weight=None):
        self.classes_ = np.unique(np.asarray(y)[np.asarray(y) != -1])
        self.fits.append((np.asarray(X)[:, 0], sample_weight, getattr(X, "columns", None)))
        return self

    def predict(self, X):
        assert getattr(X, "columns", None) is None or list(X.columns) == ["a", "b"]
        return np.full(len(X), self.classes_[0])


@pytest.mark.parametrize("routing", [False, True])
def test_metadata_reaches_fits_and_splitter(routing, monkeypatch):
    monkeypatch.setattr(Recorder, "fits", [])
    X, _, partial = blobs()
    X = pd.DataFrame(X, columns=["a", "b"])
    groups, weights = np.arange(120) % 4, np.arange(120.0)
    with sklearn.config_context(enable_metadata_routing=routing):
        model = Recorder().set_fit_request(sample_weight=True) if routing else Recorder()
        groups_given = {} if routing else {"groups": groups}
        params = {"sample_weight": weights} | ({"groups": groups} if routing else {})
        found = cross_val_predict_masked(
            model, X, partial, cv=GroupKFold(4), params=params, **groups_given
        )
    assert found.tolist() == [0] * 45
    assert len(Recorder.fits) == 4
    for rows, seen, columns in Recorder.fits:
        assert list(columns) == ["a", "b"]
        np.testing.assert_array_equal(X["a"].iloc[seen.astype(int)], rows)
        assert len(np.unique(groups[seen.astype(int)])) == 3


def test_metadata_without_a_request_is_an_error():
    X, _, partial = blobs()
    with (
        sklearn.config_context(enable_metadata_routing=True),
        pytest.raises(ValueError, match="sample_weight"),
    ):
        cross_val_predict_masked(Recorder(), X, partial, params={"sample_weight": np.ones(120)})


@pytest.mark.parametrize("method", ["predict_proba", "predict_log_proba", "decision_function"])
def test_a_class_that_a_fold_lacks_gets_the_lowest_score(method):
    X, y, _ = blobs(4)
    order = np.argsort(y)  # folds without shuffling, so that each lacks a class
    model = LogisticRegression()
    with pytest.warns(RuntimeWarning, match="3 of the 4 classes"):
        found = cross_val_predict_masked(model, X[order], y[order], cv=KFold(4), method=method)
    with pytest.warns(RuntimeWarning, match="Number of classes"):
        expected = cross_val_predict(model, X[order], y[order], cv=KFold(4), method=method)
    np.testing.assert_array_equal(found, expected)


def test_scores_of_a_fold_with_two_of_three_classes_are_an_error():
    X, y, _ = blobs(3)
    order = np.argsort(y)
    with pytest.raises(ValueError, match="2 of the 3 classes"):
        cross_val_predict_masked(
            LogisticRegression(), X[order], y[order], cv=KFold(3), method="decision_function"
        )


def test_unlabelled_rows_of_test_sets_are_not_predicted():
    X, _, partial = blobs()
    found = cross_val_predict_masked(LabelSpreading(), X, partial, cv=KFold(4))
    given = partial != -1
    assert found.shape == (45,)
    rows = np.arange(120)
    expected = np.concatenate(
        [
            LabelSpreading()
            .fit(X[rows // 30 != i], partial[rows // 30 != i])
            .predict(X[(rows // 30 == i) & given])
            for i in range(4)
        ]
    )
    np.testing.assert_array_equal(found, expected)


def test_test_sets_without_a_labelled_row_need_no_fit():
    X, _, partial = blobs()
    groups = np.where(partial == -1, 0, 1 + np.arange(120) % 3)
    found = cross_val_predict_masked(
        LabelSpreading(), X, partial, cv=LeaveOneGroupOut(), groups=groups
    )
    labeled = groups != 0
    expected = np.empty(120, dtype=int)
    for i in (1, 2, 3):
        model = LabelSpreading().fit(X[groups != i], partial[groups != i])
        expected[groups == i] = model.predict(X[groups == i])
    np.testing.assert_array_equal(found, expected[labeled])


def test_precomputed_kernels_are_cut_in_both_directions():
    X, y, _ = blobs()
    model = SVC(kernel="precomputed")
    found = cross_val_predict_masked(model, X @ X.T, y, cv=3, method="decision_function")
    expected = cross_val_predict(model, X @ X.T, y, cv=3, method="decision_function")
    np.testing.assert_array_equal(found, expected)


def test_iterables_searches_and_n_jobs_are_taken():
    X, _, partial = blobs()
    cv = MaskedStratifiedKFold(3)
    model = GridSearchCV(LabelSpreading(), {"gamma": [0.1, 20.0]}, cv=MaskedStratifiedKFold(2))
    found = cross_val_predict_masked(model, X, partial, cv=cv)
    np.testing.assert_array_equal(found, by_hand(model, X, partial, "predict", cv))
    for splits, n_jobs in ((cv.split(X, partial), None), (list(cv.split(X, partial)), 2)):
        with parallel_config(backend="threading"):
            again = cross_val_predict_masked(model, X, partial, cv=splits, n_jobs=n_jobs)
        np.testing.assert_array_equal(again, found)


SUPERVISED = [
    GaussianNB(),
    SVC(),
    make_pipeline(StandardScaler(), LogisticRegression()),
    CalibratedClassifierCV(LabelSpreading(), cv=MaskedStratifiedKFold(2)),
]


@pytest.mark.parametrize(
    ("model", "method"),
    [(model, method) for model in SUPERVISED for method in METHODS if hasattr(model, method)],
)
def test_an_estimator_that_takes_the_mark_for_a_class_is_an_error(model, method):
    X, _, partial = blobs()
    with pytest.raises(ValueError, match="takes -1 for a class"):
        cross_val_predict_masked(model, X, partial, cv=3, method=method)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"cv": MaskedStratifiedShuffleSplit(3, random_state=0)}, "hold each of the 45"),
        ({"cv": ShuffleSplit(3, random_state=0)}, "hold each of the 45"),
        ({"cv": [([0], [])]}, "hold each of the 45"),
        ({"method": "transform"}, "'method' parameter"),
        ({"cv": "five"}, "'cv' parameter"),
        ({"y": np.full(120, -1)}, "all 120 entries of y are -1"),
        ({"y": np.linspace(0, 1, 120)}, "continuous"),
        ({"y": np.full(120, -1).astype(np.uint8)}, "largest value"),
        ({"y": np.zeros(9)}, "inconsistent"),
        ({"y": None}, "needs y"),
    ],
)
def test_errors_say_what_is_wrong(options, message):
    X, _, partial = blobs()
    y = options.get("y", partial)
    options = {name: value for name, value in options.items() if name != "y"}
    with pytest.raises(ValueError, match=message):
        cross_val_predict_masked(LabelSpreading(), X, y, **options)
