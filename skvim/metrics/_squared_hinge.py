"""Scorer of margin classifiers that tells models apart by few labelled rows."""

from typing import Any

import numpy as np

from skvim._float_errors import numpy_defaults
from skvim._labeled import labeled_rows
from skvim._validation import same_length, take_rows
from skvim.semi_supervised._held_out import class_scores, squared_hinge

__all__ = ["squared_hinge_scorer"]


@numpy_defaults()
def squared_hinge_scorer(estimator: Any, X: Any, y: Any) -> float:
    """Score a classifier by minus the mean squared hinge loss of rows; higher is better.

    The loss of a row is max(0, 1 - m/2)², m the score of its class less the highest score of
    another; with two classes max(0, 1 - s f)². Of ten labels accuracies are multiples of 0.1, and
    among equal ones a search takes the first candidate; this score has few ties. It compares models
    whose scores have margins of 1, as those of support vector machines. Unlabelled rows, those with
    y = -1, are ignored.

    Parameters
    ----------
    estimator : classifier
        A fitted classifier with ``decision_function`` and ``classes_``, or a pipeline that ends in
        one.
    X : {array-like, sparse matrix} of shape (n_samples, n_features)
        Rows.
    y : array-like of shape (n_samples,)
        Classes, -1 for unlabelled rows.

    Returns
    -------
    float
        At most 0. A class that the estimator has not seen has the score -1.

    Raises
    ------
    TypeError
        If the estimator has no ``decision_function``.
    ValueError
        If y is None, has no label, has missing values, or differs in length from X.

    See Also
    --------
    masked_scorer : Any other score of the labelled rows.

    Examples
    --------
    >>> from sklearn.model_selection import GridSearchCV
    >>> from skvim.datasets import make_g241c
    >>> from skvim.metrics import squared_hinge_scorer
    >>> from skvim.model_selection import MaskedStratifiedKFold, mask_labels
    >>> from skvim.semi_supervised import TransductiveSVC
    >>> X, y = make_g241c(random_state=0)
    >>> labels = mask_labels(y, 10, random_state=0)
    >>> model = TransductiveSVC(safe=False, random_state=0)
    >>> folds = MaskedStratifiedKFold(5)
    >>> search = GridSearchCV(model, {"C": [0.1, 1.0]}, scoring=squared_hinge_scorer, cv=folds)
    >>> search.fit(X, labels).best_params_
    {'C': 1.0}
    """
    if not hasattr(estimator, "decision_function"):
        raise TypeError(
            "squared_hinge_scorer needs a classifier with decision_function, which "
            f"{type(estimator).__name__} lacks. Use masked_scorer with another score."
        )
    labels = labeled_rows(y, name="squared_hinge_scorer")
    X, _ = same_length(X, labels.y)
    scores = np.asarray(estimator.decision_function(take_rows(X, labels.rows)), dtype=np.float64)
    scores = class_scores(scores[:, None] if scores.ndim == 1 else scores)
    classes = np.asarray(estimator.classes_)
    codes = np.searchsorted(classes, labels.labels)
    unseen = classes[np.minimum(codes, len(classes) - 1)] != labels.labels
    codes = np.where(unseen, len(classes), codes)
    return -squared_hinge(np.column_stack([scores, np.full(len(scores), -1.0)]), codes)
