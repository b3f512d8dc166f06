"""Documented behaviour of the splitters of partly labelled data."""

import warnings

import numpy as np
import pandas as pd
import pytest
from scipy.sparse import coo_array
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import StackingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import (
    GridSearchCV,
    StratifiedKFold,
    StratifiedShuffleSplit,
    cross_val_predict,
    cross_val_score,
    cross_validate,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.semi_supervised import LabelSpreading, SelfTrainingClassifier

from skvim import VIMAETransformer
from skvim.metrics import masked_scorer
from skvim.model_selection import MaskedStratifiedKFold, MaskedStratifiedShuffleSplit, mask_labels
from skvim.semi_supervised import TransductiveSVC

SPLITTERS = [
    MaskedStratifiedKFold(3),
    MaskedStratifiedKFold(3, shuffle=True, random_state=0),
    MaskedStratifiedShuffleSplit(3, test_size=0.25, random_state=0),
]
NAMES = np.array(["cat", "dog", "eel"], dtype=object)


def codes(n_unlabeled=40):
    """Three classes of 12, 24 and 36 rows and some rows without a label, in random order."""
    y = np.concatenate([np.repeat([0, 1, 2], [12, 24, 36]), np.full(n_unlabeled, -1)])
    return np.random.default_rng(0).permutation(y)


def named(y):
    labels = NAMES[y]
    labels[y == -1] = -1
    return labels


KINDS = {
    "int": lambda y: y,
    "list": lambda y: y.tolist(),
    "float": lambda y: y.astype(float),
    "object ints": lambda y: y.astype(object),
    "strings": named,
    "Series": lambda y: pd.Series(y, index=np.arange(len(y))[::-1]),
    "Series of strings": lambda y: pd.Series(named(y), index=np.arange(len(y))[::-1]),
    "categorical": lambda y: pd.Series(named(y)).astype("category"),
    "Int64": lambda y: pd.Series(y, dtype="Int64"),
    "column": lambda y: y[:, None],
}


def splits_of(splitter, y):
    return list(splitter.split(np.zeros((len(y), 2)), y))


@pytest.mark.parametrize("splitter", SPLITTERS, ids=repr)
def test_unlabelled_rows_are_in_every_training_set_and_in_no_test_set(splitter):
    y = codes()
    for train, test in splits_of(splitter, y):
        assert np.isin(np.flatnonzero(y == -1), train).all()
        assert (y[test] != -1).all()
        np.testing.assert_array_equal(np.sort(np.append(train, test)), np.arange(len(y)))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("splitter", SPLITTERS, ids=repr)
def test_the_kind_of_labels_does_not_matter(splitter, kind):
    y = codes()
    for (train, test), (same_train, same_test) in zip(
        splits_of(splitter, y), splits_of(splitter, KINDS[kind](y)), strict=True
    ):
        np.testing.assert_array_equal(train, same_train)
        np.testing.assert_array_equal(test, same_test)


@pytest.mark.parametrize("splitter", SPLITTERS, ids=repr)
def test_test_sets_keep_the_shares_of_the_classes(splitter):
    y = codes()
    for _, test in splits_of(splitter, y):
        counts = np.bincount(y[test])
        np.testing.assert_array_equal(counts, counts[0] * np.array([1, 2, 3]))


def test_test_sets_of_the_folds_hold_every_labelled_row_once():
    y = codes()
    tested = np.concatenate([test for _, test in splits_of(MaskedStratifiedKFold(4), y)])
    np.testing.assert_array_equal(np.sort(tested), np.flatnonzero(y != -1))


@pytest.mark.parametrize(
    ("splitter", "plain"),
    [
        (MaskedStratifiedKFold(4), StratifiedKFold(4)),
        (
            MaskedStratifiedKFold(4, shuffle=True, random_state=7),
            StratifiedKFold(4, shuffle=True, random_state=7),
        ),
        (
            MaskedStratifiedShuffleSplit(4, train_size=0.5, test_size=0.2, random_state=7),
            StratifiedShuffleSplit(4, train_size=0.5, test_size=0.2, random_state=7),
        ),
    ],
    ids=repr,
)
def test_with_all_rows_labelled_the_splits_are_those_of_scikit_learn(splitter, plain):
    y = codes(n_unlabeled=0)
    for split, expected in zip(splits_of(splitter, y), splits_of(plain, y), strict=True):
        for rows, expected_rows in zip(split, expected, strict=True):
            np.testing.assert_array_equal(rows, expected_rows)


def test_train_size_counts_labelled_rows_only():
    y = codes()
    splitter = MaskedStratifiedShuffleSplit(2, train_size=18, test_size=6, random_state=0)
    for train, test in splits_of(splitter, y):
        assert (np.sum(y[train] != -1), np.sum(y[train] == -1), len(test)) == (18, 40, 6)


@pytest.mark.parametrize("cls", [MaskedStratifiedKFold, MaskedStratifiedShuffleSplit])
def test_fresh_entropy_does_not_come_from_the_global_generator(cls):
    options = {"shuffle": True} if cls is MaskedStratifiedKFold else {}
    before = np.random.get_state()[1:3]  # noqa: NPY002
    drawn = [splits_of(cls(3, **options), codes())[0][1].tolist() for _ in range(4)]
    after = np.random.get_state()[1:3]  # noqa: NPY002
    assert len({tuple(sorted(test)) for test in drawn}) > 1
    np.testing.assert_array_equal(before[0], after[0])
    assert before[1] == after[1]


@pytest.mark.parametrize("splitter", [SPLITTERS[0], SPLITTERS[2]], ids=repr)
@pytest.mark.parametrize(
    ("y", "message"),
    [
        (None, "needs y"),
        (np.full(9, -1), "all 9 entries of y are -1"),
        (np.array(["a", "b", "-1"] * 3), 'the string "-1"'),
        (np.array(["a", "b", "-1"] * 3, dtype=object), 'the string "-1"'),
        (["a", "b", -1] * 3, 'the string "-1"'),
        (np.array([0.0, 1.0, np.nan] * 3), "missing values"),
        (np.array(["a", "b", None] * 3, dtype=object), "missing values"),
        (pd.Series([0, 1, pd.NA] * 3, dtype="Int64"), "missing values"),
        (np.array(["a", 1, -1] * 3, dtype=object), "type int, str"),
        (np.linspace(0, 1, 9), "continuous"),
        (np.zeros((9, 2)), "1d array"),
        (np.array([0, 1, -1]), "inconsistent"),
    ],
)
def test_errors_say_what_is_wrong_with_y(splitter, y, message):
    with pytest.raises(ValueError, match=message):
        list(splitter.split(np.zeros((9, 2)), y))


def test_fewer_labelled_rows_of_every_class_than_folds_are_an_error():
    y = np.array([0, 0, 1, 1, 1, -1, -1])
    with pytest.raises(ValueError, match="no class has more than 3 labelled rows"):
        splits_of(MaskedStratifiedKFold(4), y)


def test_a_rare_class_makes_scikit_learn_warn():
    y = np.array([0, 0, 0, 1, -1, -1])
    with pytest.warns(UserWarning, match="only 1 members"):
        tested = np.concatenate([test for _, test in splits_of(MaskedStratifiedKFold(3), y)])
    assert sorted(tested) == [0, 1, 2, 3]


def test_bad_parameters_are_reported_by_split_and_not_before():
    for splitter, message in [
        (MaskedStratifiedKFold(1), "n_splits=1"),
        (MaskedStratifiedKFold(3, random_state=0), "shuffle"),
        (MaskedStratifiedShuffleSplit(3, test_size=1.5), "test_size"),
    ]:
        with pytest.raises(ValueError, match=message):
            splits_of(splitter, codes())


def test_a_splitter_that_stacking_was_given_splits_as_before():
    splitter, y = MaskedStratifiedKFold(3), codes(n_unlabeled=0)
    before = splits_of(splitter, y)
    X = np.random.default_rng(0).normal(size=(len(y), 2))
    StackingClassifier([("model", DummyClassifier())], cv=splitter).fit(X, y)
    for split, expected in zip(splits_of(splitter, y), before, strict=True):
        np.testing.assert_array_equal(split[1], expected[1])


@pytest.mark.parametrize("splitter", SPLITTERS, ids=repr)
def test_groups_are_ignored_with_a_warning(splitter):
    y = codes()
    with pytest.warns(UserWarning, match="groups parameter is ignored by Masked"):
        splits = list(splitter.split(np.zeros((len(y), 1)), y, groups=y))
    assert len(splits) == splitter.get_n_splits() == 3
    # The splitter requests no groups, so that metadata routing passes none.
    assert not splitter.get_metadata_routing().split.requests


def digits(n_labeled=60):
    X, y = load_digits(n_class=4, return_X_y=True)
    return X / 16, y, mask_labels(y, n_labeled, random_state=0)


@pytest.mark.parametrize(
    ("model", "grid", "as_names"),
    [
        (TransductiveSVC(n_components=50, random_state=0, safe=False), {"C": [1e-4, 10.0]}, True),
        (
            SelfTrainingClassifier(LogisticRegression(max_iter=200)),
            {"estimator__C": [1e-6, 1.0]},
            True,
        ),
        (
            make_pipeline(
                StandardScaler(), TransductiveSVC(n_components=50, random_state=0, safe=False)
            ),
            {"transductivesvc__gamma": [100.0, "scale"]},
            False,
        ),
    ],
    ids=["transductive-strings", "self-training-strings", "pipeline-numbers"],
)
def test_a_search_finds_the_better_model(model, grid, as_names):
    X, y, partial = digits()
    if as_names:
        digit_names = np.array(["zero", "one", "two", "three"], dtype=object)
        y = digit_names[y]
        partial = np.where(partial == -1, -1, digit_names[partial])
    search = GridSearchCV(model, grid, cv=MaskedStratifiedKFold(3))
    search = clone(search).fit(X, partial)
    assert search.best_params_ == {name: values[1] for name, values in grid.items()}
    assert search.score(X, y) > 0.9
    assert search.n_splits_ == 3


def test_a_search_over_graphs_takes_the_folds():
    X, y, partial = digits()
    search = GridSearchCV(
        LabelSpreading(kernel="knn"), {"n_neighbors": [5, 200]}, cv=MaskedStratifiedKFold(3)
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of rows without labelled neighbours
        search.fit(X, partial)
    assert search.best_params_ == {"n_neighbors": 5}
    assert search.score(X, y) > 0.9


def test_a_search_tunes_an_autoencoder_and_the_classifier_of_its_codes():
    X, y, partial = digits()
    vimae = VIMAETransformer(4, hidden_layer_sizes=(32,), max_epochs=10, random_state=0)
    model = make_pipeline(vimae, StandardScaler(), TransductiveSVC(random_state=0, safe=False))
    grid = {"vimaetransformer__lr": [1e-6, 1e-3]}
    search = GridSearchCV(model, grid, cv=MaskedStratifiedKFold(2)).fit(X[:300], partial[:300])
    assert search.best_params_ == {"vimaetransformer__lr": 1e-3}
    assert search.score(X, y) > 0.8


def test_scores_of_folds_count_labelled_rows_only():
    # A classifier that is always right on what has a label, and never on a row without one.
    y = np.array([1] * 6 + [-1] * 60)
    model = DummyClassifier(strategy="constant", constant=1)
    X = coo_array(np.eye(len(y)))
    with warnings.catch_warnings():
        scores = cross_val_score(model, X, y, cv=MaskedStratifiedKFold(3))
        plain = cross_val_score(model, X, y, cv=StratifiedKFold(3))
    np.testing.assert_array_equal(scores, 1.0)
    np.testing.assert_allclose(plain, 1 / 11)


def test_object_numbers_are_searched_with_the_masked_scorer():
    X, _, partial = digits()
    model = make_pipeline(
        StandardScaler(), TransductiveSVC(n_components=50, random_state=0, safe=False)
    )
    scores = cross_validate(
        model,
        X,
        partial.astype(object),
        cv=MaskedStratifiedKFold(3),
        scoring={"accuracy": masked_scorer("accuracy"), "f1": masked_scorer("f1_macro")},
    )
    assert scores["test_accuracy"].mean() > 0.85
    assert scores["test_f1"].mean() > 0.85


def test_cross_val_predict_refuses_the_splitter():
    X, _, partial = digits()
    with pytest.raises(ValueError, match="partitions"):
        cross_val_predict(TransductiveSVC(safe=False), X, partial, cv=MaskedStratifiedKFold(3))
