"""What a scorer of the labelled rows promises."""

import pickle

import numpy as np
import pandas as pd
import pytest
import sklearn
from scipy.sparse import coo_array, csc_array, csr_array
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.datasets import make_blobs
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, get_scorer, make_scorer, roc_auc_score
from sklearn.model_selection import GridSearchCV, KFold, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.metadata_routing import get_routing_for_object

from skvim.metrics import masked_scorer
from skvim.model_selection import MaskedStratifiedKFold, mask_labels
from skvim.semi_supervised import TransductiveSVC


@pytest.fixture(scope="module")
def blobs():
    """Rows, their labels, the labels of a third of them, and a fair model."""
    X, y = make_blobs(150, centers=2, cluster_std=6.0, random_state=0)
    return X, y, mask_labels(y, 50, random_state=0), LogisticRegression().fit(X, y)


@pytest.fixture
def routing():
    """Route metadata, and restore how it was."""
    with sklearn.config_context(enable_metadata_routing=True):
        yield


def mean_score(estimator, X, y):
    return float(np.mean(estimator.predict(X) == y))


@pytest.mark.parametrize("scoring", ["accuracy", "f1_macro", "roc_auc", "neg_log_loss", mean_score])
def test_a_score_is_that_of_the_labelled_rows(blobs, scoring):
    X, y, partial, model = blobs
    given = partial != -1
    plain = get_scorer(scoring)
    assert masked_scorer(scoring)(model, X, partial) == plain(model, X[given], y[given])
    assert masked_scorer(scoring)(model, X, y) == plain(model, X, y)
    assert masked_scorer(scoring)(model, X, partial) != plain(model, X, y)


@pytest.mark.parametrize("kind", [np.ndarray.tolist, csr_array, csc_array, coo_array, pd.DataFrame])
def test_rows_keep_their_kind(blobs, kind):
    X, _, partial, _ = blobs
    seen = []
    masked_scorer(lambda estimator, X, y: seen.append((X, y)) or 0.0)(None, kind(X), partial)
    ((rows, labels),) = seen
    expected = csr_array if kind in (coo_array, csc_array) else type(kind(X))
    assert type(rows) is expected
    dense = rows.toarray() if hasattr(rows, "toarray") else np.asarray(rows)
    np.testing.assert_array_equal(dense, X[partial != -1])
    np.testing.assert_array_equal(labels, partial[partial != -1])
    if kind is pd.DataFrame:
        np.testing.assert_array_equal(rows.index, np.flatnonzero(partial != -1))


@pytest.mark.parametrize(
    "labels",
    [
        lambda y: pd.Series(y, index=np.arange(len(y))[::-1]),
        lambda y: y.tolist(),
        lambda y: y.astype(object),  # scikit-learn's own scorers refuse these
        lambda y: pd.Series(y, dtype="Int64"),
    ],
)
def test_the_kind_of_labels_does_not_matter(blobs, labels):
    X, _, partial, model = blobs
    scorer = masked_scorer("accuracy")
    assert scorer(model, X, labels(partial)) == scorer(model, X, partial)


def test_labels_may_be_strings(blobs):
    X, y, partial, _ = blobs
    names = np.array(["no", "yes"], dtype=object)
    named = np.where(partial == -1, -1, names[partial])
    model = LogisticRegression().fit(X, names[y])
    given = partial != -1
    expected = model.score(X[given], names[y[given]])
    assert masked_scorer("accuracy")(model, X, named) == expected


@pytest.mark.parametrize("kind", [np.asarray, list, pd.Series])
def test_weights_of_labelled_rows_reach_the_score(blobs, kind):
    X, y, partial, model = blobs
    weights = np.random.default_rng(0).random(len(y))
    given = partial != -1
    found = masked_scorer("accuracy")(model, X, partial, sample_weight=kind(weights))
    expected = accuracy_score(y[given], model.predict(X[given]), sample_weight=weights[given])
    assert found == pytest.approx(expected, abs=1e-12)
    assert found != model.score(X[given], y[given])


def test_other_metadata_stays_as_it_is():
    seen = {}
    masked_scorer(lambda estimator, X, y, **metadata: seen.update(metadata) or 0.0)(
        None,
        np.zeros((4, 1)),
        [0, 1, -1, -1],
        costs=[1, 2, 3],
        text="four",
        table={"a": 1, "b": 2, "c": 3, "d": 4},
        number=np.array(4),
        nothing=None,
        matrix=np.arange(8).reshape(4, 2),
    )
    np.testing.assert_array_equal(seen.pop("matrix"), [[0, 1], [2, 3]])
    assert seen.pop("number") == 4
    table = {"a": 1, "b": 2, "c": 3, "d": 4}
    assert seen == {"costs": [1, 2, 3], "text": "four", "table": table, "nothing": None}


@pytest.mark.parametrize(
    ("y", "message"),
    [
        ([-1, -1, -1], r"masked_scorer\('accuracy'\) needs rows that have a label, but all 3"),
        (None, "needs y"),
        (["a", "b", "-1"], 'string "-1"'),
        ([0.0, np.nan, 1.0], "missing values"),
        ([0, 1], "inconsistent"),
    ],
)
def test_errors_say_what_is_wrong_with_y(y, message):
    with pytest.raises(ValueError, match=message):
        masked_scorer("accuracy")(None, np.zeros((3, 1)), y)


def test_errors_say_what_a_scorer_is():
    with pytest.raises(TypeError, match="wrap each"):
        masked_scorer(["accuracy", "f1"])
    with pytest.raises(ValueError, match="not a valid scoring value"):
        masked_scorer("no such score")


def test_scorers_show_what_they_wrap():
    assert repr(masked_scorer("f1_macro")) == "masked_scorer('f1_macro')"
    assert repr(masked_scorer(make_scorer(roc_auc_score))).startswith(
        "masked_scorer(make_scorer(roc_auc_score"
    )


@pytest.mark.parametrize("scoring", ["roc_auc", mean_score])
def test_scorers_can_be_pickled(blobs, scoring):
    X, _, partial, model = blobs
    scorer = masked_scorer(scoring)
    loaded = pickle.loads(pickle.dumps(scorer))
    assert loaded(model, X, partial) == scorer(model, X, partial)


def test_test_sets_with_unlabelled_rows_are_searched(blobs):
    X, y, partial, _ = blobs
    model = make_pipeline(StandardScaler(), TransductiveSVC(random_state=0, safe=False))
    cv = KFold(3, shuffle=True, random_state=0)
    search = GridSearchCV(
        model,
        {"transductivesvc__C": [0.1, 1.0]},
        cv=cv,
        scoring={"accuracy": masked_scorer("accuracy"), "auc": masked_scorer("roc_auc")},
        refit="accuracy",
    )
    search = clone(search).fit(X, partial)
    train, test = next(cv.split(X))
    tested = test[partial[test] != -1]
    fitted = clone(model).set_params(transductivesvc__C=0.1).fit(X[train], partial[train])
    expected = fitted.score(X[tested], y[tested])
    assert search.cv_results_["split0_test_accuracy"][0] == expected
    assert search.cv_results_["mean_test_auc"].max() > 0.7


class Weighted(ClassifierMixin, BaseEstimator):
    """Predicts the sign of the first feature and records the weights given to fit."""

    def __init__(self, offset=0.0):
        self.offset = offset

    def fit(self, X, y, sample_weight=None):
        self.classes_ = np.array([0, 1])
        self.weights_ = sample_weight
        return self

    def predict(self, X):
        return (X[:, 0] > self.offset).astype(int)


@pytest.mark.usefixtures("routing")
@pytest.mark.parametrize("where", ["inner", "outer"])
@pytest.mark.parametrize("several", [False, True])
def test_searches_route_weights_to_the_labelled_rows(blobs, where, several):
    X, y, partial, _ = blobs
    weights = np.random.default_rng(1).random(len(y))
    if where == "inner":
        inner = make_scorer(accuracy_score).set_score_request(sample_weight=True)
        scorer = masked_scorer(inner)
    else:
        scorer = masked_scorer("accuracy").set_score_request(sample_weight=True)
    cv = KFold(3)
    search = GridSearchCV(
        Weighted().set_fit_request(sample_weight=False),
        {"offset": [0.0, 2.0]},
        cv=cv,
        scoring={"a": scorer, "b": masked_scorer("f1").set_score_request(sample_weight=False)}
        if several
        else scorer,
        refit="a" if several else True,
    ).fit(X, partial, sample_weight=weights)
    column = "split0_test_a" if several else "split0_test_score"
    _, test = next(cv.split(X))
    tested = test[partial[test] != -1]
    expected = [
        accuracy_score(y[tested], X[tested, 0] > offset, sample_weight=weights[tested])
        for offset in (0.0, 2.0)
    ]
    np.testing.assert_allclose(search.cv_results_[column], expected, rtol=1e-12)
    assert search.best_estimator_.weights_ is None


@pytest.mark.usefixtures("routing")
def test_what_nobody_requested_is_routed_as_by_the_plain_scorer():
    plain, masked = get_scorer("accuracy"), masked_scorer("accuracy")
    assert (
        masked.get_metadata_routing().score.requests == plain.get_metadata_routing().score.requests
    )


@pytest.mark.usefixtures("routing")
def test_requests_are_those_of_the_wrapped_scorer_which_stays_as_it_was():
    inner = make_scorer(accuracy_score)
    scorer = masked_scorer(inner)
    assert scorer.set_score_request(sample_weight="importance") is scorer
    assert get_routing_for_object(scorer).score.requests["sample_weight"] == "importance"
    assert inner.get_metadata_routing().score.requests.get("sample_weight") is None
    assert not hasattr(masked_scorer(mean_score), "set_score_request")
    assert not get_routing_for_object(masked_scorer(mean_score)).score.requests


def test_without_routing_weights_reach_the_scorers_that_take_them(blobs):
    X, _, partial, _ = blobs
    search = GridSearchCV(
        Weighted(),
        {"offset": [0.0]},
        cv=MaskedStratifiedKFold(3),
        scoring={"accuracy": masked_scorer("accuracy"), "mean": masked_scorer(mean_score)},
        refit=False,
    )
    weights = np.where(X[:, 0] > 0, 1.0, 1e-9)
    with pytest.warns(UserWarning, match=r"mean=masked_scorer.* does not support sample_weight"):
        search.fit(X, partial, sample_weight=weights)
    folds = MaskedStratifiedKFold(3).split(X, partial)
    tested = [test[X[test, 0] > 0] for _, test in folds]
    expected = [np.mean(partial[rows] == 1) for rows in tested]
    found = [search.cv_results_[f"split{fold}_test_accuracy"][0] for fold in range(3)]
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_cross_validation_reports_a_score_it_could_not_compute(blobs):
    X, _, partial, _ = blobs
    order = np.argsort(partial == -1, kind="stable")  # the last folds have no label at all
    with pytest.warns(UserWarning, match="Scoring failed"):
        found = cross_validate(
            Weighted(), X[order], partial[order], cv=KFold(3), scoring=masked_scorer("accuracy")
        )
    assert np.isfinite(found["test_score"]).tolist() == [True, False, False]
