"""Classifiers and regression on features, with labels for few rows or for all."""

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.neighbors import KNeighborsClassifier

__all__ = ["CLASSIFIERS", "few_labels", "fit", "regression"]

Array = NDArray[Any]
COSTS = np.logspace(-3, 2, 6)


def few_labels(classes: Array, n_labels: int, random: np.random.Generator) -> Array:
    """Return rows to label, of every class as many as its share asks for, and two at least."""
    labels, counts = np.unique(classes, return_counts=True)
    shares = np.maximum(2, np.round(n_labels * counts / counts.sum())).astype(int)
    shares[counts.argmax()] += n_labels - shares.sum()
    rows = [
        random.choice(np.flatnonzero(classes == label), min(share, count), replace=False)
        for label, share, count in zip(labels, shares, counts, strict=True)
    ]
    return random.permutation(np.concatenate(rows))


def logistic_regression(X: Array, y: Array, seed: int) -> Any:
    """Fit a logistic regression, with C chosen by cross-validation on the same rows."""
    n_folds = min(5, int(np.bincount(y)[np.unique(y)].min()))
    folds = StratifiedKFold(n_folds, shuffle=True, random_state=seed)
    model = LogisticRegression(max_iter=300)
    search = GridSearchCV(model, {"C": list(COSTS)}, scoring="neg_log_loss", cv=folds)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return search.fit(X, y)


def neighbours(X: Array, y: Array, seed: int) -> Any:
    """Fit five nearest neighbours."""
    return KNeighborsClassifier().fit(X, y)


def boosting(X: Array, y: Array, seed: int) -> Any:
    """Fit boosted trees, which do not take columns with nothing but missing cells."""
    X = np.where(np.isnan(X).all(axis=0), 0.0, X)
    return HistGradientBoostingClassifier(random_state=seed).fit(X, y)


CLASSIFIERS = {
    "logistic regression": logistic_regression,
    "nearest neighbours": neighbours,
    "boosting": boosting,
}


def fit(name: str, X: Array, y: Array, seed: int) -> Any:
    """Fit a classifier on rows with labels."""
    return CLASSIFIERS[name](X, y, seed)


def regression(X: Array, y: Array) -> Any:
    """Fit a linear regression, its penalty chosen by cross-validation on the same rows."""
    return RidgeCV(np.logspace(-2, 4, 7)).fit(X, y)
