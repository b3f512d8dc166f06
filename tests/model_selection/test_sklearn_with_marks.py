"""The documentation's table of what scikit-learn does to -1 in y is true and complete."""

import inspect
import re
from pathlib import Path

import marks
import numpy as np
import pytest
from sklearn import model_selection
from sklearn.base import RegressorMixin, is_classifier
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import (
    AdaBoostClassifier,
    BaggingClassifier,
    StackingClassifier,
    VotingClassifier,
)
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import (
    FixedThresholdClassifier,
    GridSearchCV,
    HalvingGridSearchCV,
    RandomizedSearchCV,
    TunedThresholdClassifierCV,
)
from sklearn.multiclass import OneVsRestClassifier
from sklearn.semi_supervised import SelfTrainingClassifier
from sklearn.utils.discovery import all_estimators

PAGE = Path(__file__).parents[2] / "docs" / "partly_labelled.rst"
OTHERS = "every other classifier"
WORDS = {"correct", "class", "wrong", "tested", "error"}
# Parameters that make an estimator one of estimators.
INNER = {"estimator", "estimators", "steps", "transformer_list"}
# Names of sklearn.model_selection that see no y.
WITHOUT_LABELS = {
    "BaseCrossValidator",
    "BaseShuffleSplit",
    "ParameterGrid",
    "ParameterSampler",
    "check_cv",
}

pytestmark = [
    pytest.mark.slow,  # together; and older releases may do other things
    pytest.mark.filterwarnings("ignore"),  # of scikit-learn, about what is wrong here
]


def documented():
    """Return the word of each name in the table of the documentation."""
    table = PAGE.read_text(encoding="utf-8").split(".. list-table::")[1].split("\n\n\n")[0]
    rows = re.findall(r"^   \* - (.*?)\n     - (.*?)\n     - ", table, re.DOTALL | re.MULTILINE)
    return {name: effect for names, effect in rows for name in re.findall("``(.+?)``", names)}


DOCUMENTED = documented()


@pytest.mark.parametrize("name", sorted(DOCUMENTED.keys() - {OTHERS}))
def test_scikit_learn_does_what_the_table_says(name):
    assert marks.CASES[name]() == DOCUMENTED[name]


def test_the_table_names_what_is_tested():
    assert DOCUMENTED.keys() - {OTHERS} == marks.CASES.keys()
    assert set(DOCUMENTED.values()) == WORDS


def test_the_table_names_all_that_scikit_learn_has():
    named = {name.partition("(")[0] for name in DOCUMENTED}
    outer = {
        name
        for name, kind in all_estimators()
        if INNER & inspect.signature(kind).parameters.keys()
        and not issubclass(kind, RegressorMixin)
    }
    assert outer <= named
    assert set(model_selection.__all__) - WITHOUT_LABELS <= named


NAMED = {name.partition("(")[0] for name in DOCUMENTED}
SUPERVISED = [name for name, _ in all_estimators("classifier") if name not in NAMED]


@pytest.mark.parametrize("name", SUPERVISED)
def test_every_other_classifier_takes_the_mark_for_a_class(name):
    X, _, partial = marks.data()
    model = dict(all_estimators("classifier"))[name]()
    if "nu" in model.get_params():
        model.set_params(nu=0.1)
    assert is_classifier(model)
    assert DOCUMENTED[OTHERS] == "class"
    assert -1 in model.fit(X, partial).classes_


@pytest.mark.parametrize("name", sorted(marks.VALIDATION))
def test_a_number_of_folds_tests_unlabelled_rows(name):
    assert marks.scored(lambda X, y: marks.VALIDATION[name](X, y, 3)) == "tested"


@pytest.mark.parametrize(
    "search",
    [
        GridSearchCV(marks.LINEAR, marks.THRESHOLDS, cv=3),
        RandomizedSearchCV(marks.LINEAR, marks.THRESHOLDS, n_iter=2, cv=3, random_state=0),
    ],
    ids=lambda search: type(search).__name__,
)
def test_a_search_with_a_number_of_folds_tests_unlabelled_rows(search):
    assert marks.scored(lambda X, y: search.fit(X, y).best_score_) == "tested"


def test_oversampling_takes_the_mark_for_a_class():
    sampling = pytest.importorskip("imblearn.over_sampling")
    X, _, partial = marks.data()
    _, drawn = sampling.SMOTE(random_state=0).fit_resample(X, partial)
    assert np.unique(drawn, return_counts=True)[1].tolist() == [90] * 4


BASE = LogisticRegression()


@pytest.mark.parametrize(
    "model",
    [
        BaggingClassifier(BASE, n_estimators=3, random_state=0),
        VotingClassifier([("linear", BASE)], voting="soft"),
        StackingClassifier([("linear", BASE)]),
        OneVsRestClassifier(BASE),
        AdaBoostClassifier(BASE, n_estimators=3, random_state=0),
        CalibratedClassifierCV(BASE),
    ],
    ids=lambda model: type(model).__name__,
)
def test_self_training_goes_around_others(model):
    assert marks.fitted(SelfTrainingClassifier(model)) == "correct"


@pytest.mark.parametrize(
    "wrap",
    [
        CalibratedClassifierCV,
        FixedThresholdClassifier,
        lambda model: TunedThresholdClassifierCV(model, cv="prefit", refit=False),
    ],
)
def test_a_fitted_model_takes_labelled_rows_that_were_held_out(wrap):
    X, y, partial = marks.data(2, 60)
    held_out = np.flatnonzero(partial != -1)[::2]
    learned = partial.copy()
    learned[held_out] = -1
    model = wrap(FrozenEstimator(marks.GRAPH.fit(X, learned))).fit(X[held_out], y[held_out])
    assert model.classes_.tolist() == [0, 1]
    assert np.mean(model.predict(X) == y) > 0.8


def test_labels_of_several_calibrated_classes_are_correct_but_not_those_of_two():
    X, y, partial = marks.data(3)
    model = CalibratedClassifierCV(marks.GRAPH, cv=marks.FOLDS)
    assert marks.word(model.fit(X, partial).predict(X), y) == "correct"
    X, y, partial = marks.data(2)
    np.testing.assert_array_equal(model.fit(X, partial).predict_proba(X), [[0.0, 1.0, 0.0]] * 120)


def test_a_learning_curve_without_shuffling_may_have_no_labels():
    X, _, partial = marks.data()
    order = np.argsort(partial, kind="stable")  # unlabelled rows first
    sizes = {"train_sizes": [0.5, 1.0], "cv": marks.FOLDS, "random_state": 0}
    plain, shuffled = (
        model_selection.learning_curve(
            marks.LINEAR, X[order], partial[order], shuffle=shuffle, **sizes
        )[2].mean(axis=1)
        for shuffle in (False, True)
    )
    assert np.isnan(plain[0])
    assert shuffled.min() > 0.9


def test_a_halving_search_without_labels_names_a_winner_unless_errors_are_raised():
    assert marks.halved(HalvingGridSearchCV) == "wrong"
    with pytest.raises(ValueError, match="at least 2 classes"):
        marks.halved(HalvingGridSearchCV, error_score="raise")


def test_a_halving_search_over_a_parameter_has_all_labels_in_every_round():
    X, y, partial = marks.data()
    search = HalvingGridSearchCV(
        marks.LINEAR,
        marks.STRENGTHS,
        resource="max_iter",
        max_resources=9,
        cv=marks.FOLDS,
        error_score="raise",
    ).fit(X, partial)
    assert search.n_resources_ == [3, 9]
    assert search.best_params_ == {"estimator__C": 1.0, "max_iter": 9}
    assert marks.word(search.predict(X), y) == "correct"
