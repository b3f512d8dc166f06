"""squared_hinge_scorer: its value, unlabelled rows, unseen classes, and searches."""

import numpy as np
import pandas as pd
import pytest
from scipy.sparse import csr_array
from sklearn.datasets import load_digits, load_iris
from sklearn.ensemble import IsolationForest
from sklearn.metrics import hinge_loss
from sklearn.model_selection import GridSearchCV
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC, LinearSVC

from skvim.metrics import squared_hinge_scorer
from skvim.model_selection import MaskedStratifiedKFold, mask_labels
from skvim.semi_supervised import TransductiveSVC

X, Y = load_iris(return_X_y=True)


def test_two_classes_have_the_squared_hinge_loss():
    binary = Y[:100]
    model = LinearSVC().fit(X[:100], binary)
    f, signs = model.decision_function(X[:100]), 2 * binary - 1
    expected = -np.mean(np.maximum(0, 1 - signs * f) ** 2)
    assert squared_hinge_scorer(model, X[:100], binary) == pytest.approx(expected)
    assert squared_hinge_scorer(model, csr_array(X[:100]), binary) == pytest.approx(expected)


def test_many_classes_have_the_square_of_hinge_losses_of_half_margins():
    """scikit-learn's hinge_loss, with the same margin of a row, is linear in it."""
    model = SVC(decision_function_shape="ovr").fit(X, Y)
    halved = model.decision_function(X) / 2
    rows = [hinge_loss(Y[i : i + 1], halved[i : i + 1], labels=[0, 1, 2]) for i in range(len(X))]
    assert squared_hinge_scorer(model, X, Y) == pytest.approx(-np.mean(np.square(rows)))


def test_unlabelled_rows_and_kinds_of_labels_do_not_matter():
    model = LinearSVC().fit(X, Y)
    masked = mask_labels(Y, 30, random_state=0)
    given = masked != -1
    expected = squared_hinge_scorer(model, X[given], Y[given])
    assert squared_hinge_scorer(model, X, masked) == expected
    names = np.array(["a", "b", "c"], dtype=object)
    labels = names[Y].copy()
    labels[~given] = -1
    named = LinearSVC().fit(X, names[Y])
    for rows, y in ((X, labels), (pd.DataFrame(X), pd.Series(labels))):
        assert squared_hinge_scorer(named, rows, y) == pytest.approx(expected)


def test_a_class_that_was_not_seen_has_the_score_of_no_class():
    model = LinearSVC().fit(X[:100], Y[:100])
    f = model.decision_function(X[100:])
    expected = -np.mean((1 + (1 + np.abs(f)) / 2) ** 2)
    assert squared_hinge_scorer(model, X[100:], Y[100:]) == pytest.approx(expected)


def test_the_score_of_no_class_does_not_compete_with_classes_that_were_seen():
    class Scores(LinearSVC):
        def decision_function(self, X):
            return np.tile([0.5, -3.0, -3.0], (len(X), 1))

    model = Scores().fit(X, Y)
    assert squared_hinge_scorer(model, X[:1], Y[:1]) == 0.0


def test_it_breaks_ties_of_the_accuracy():
    masked = mask_labels(Y, 12, random_state=0)
    model = make_pipeline(StandardScaler(), TransductiveSVC(safe=False, random_state=0))
    grid = {"transductivesvc__C": [1e-4, 1e-3, 1.0]}
    folds = MaskedStratifiedKFold(3)
    ties, fine = (
        GridSearchCV(model, grid, cv=folds, scoring=scoring).fit(X, masked)
        for scoring in ("accuracy", squared_hinge_scorer)
    )
    assert len(set(fine.cv_results_["mean_test_score"])) == 3
    assert fine.best_params_ == {"transductivesvc__C": 1.0}
    assert fine.score(X, Y) <= 0
    assert ties.n_splits_ == 3


def test_bad_input_is_an_error():
    model = LinearSVC().fit(X, Y)
    with pytest.raises(TypeError, match="decision_function"):
        squared_hinge_scorer(GaussianNB().fit(X, Y), X, Y)
    with pytest.raises(TypeError, match="decision_function"):
        squared_hinge_scorer(IsolationForest().fit(X), X, Y)
    digits, names = load_digits(n_class=4, return_X_y=True)
    pairs = SVC(decision_function_shape="ovo").fit(digits, names)
    with pytest.raises(ValueError, match="6 for 4 classes"):
        squared_hinge_scorer(pairs, digits, names)
    with pytest.raises(ValueError, match="needs y"):
        squared_hinge_scorer(model, X, None)
    with pytest.raises(ValueError, match="inconsistent"):
        squared_hinge_scorer(model, X, Y[:-1])
