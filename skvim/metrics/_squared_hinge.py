"""Scorer of margin classifiers that tells models apart by few labelled rows."""

from typing import Any

import numpy as np

from skvim._float_errors import numpy_defaults
from skvim._labeled import labeled_rows
from skvim._validation import same_length, take_rows
from skvim.semi_supervised._calibration import class_scores
from skvim.semi_supervised._held_out import squared_hinge

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
        If the estimator is no fitted classifier with ``decision_function``.
    ValueError
        If y is None, has no label, has missing values, or differs in length from X, or if there is
        not one finite score for each class.

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
    if not (hasattr(estimator, "decision_function") and hasattr(estimator, "classes_")):
        raise TypeError(
            "squared_hinge_scorer needs a fitted classifier with decision_function, which "
            f"{type(estimator).__name__} is not. Use masked_scorer with another score."
        )
    labels = labeled_rows(y, name="squared_hinge_scorer")
    X, _ = same_length(X, labels.y)
    scores = np.asarray(estimator.decision_function(take_rows(X, labels.rows)), dtype=np.float64)
    scores = class_scores(scores[:, None] if scores.ndim == 1 else scores)
    classes = np.asarray(estimator.classes_).tolist()
    if scores.shape[1] != len(classes):
        raise ValueError(
            "squared_hinge_scorer needs a score for each class. decision_function returned "
            f"{scores.shape[1]} for {len(classes)} classes. SVC needs "
            "decision_function_shape='ovr', its default."
        )
    if not np.isfinite(scores).all():
        raise ValueError("squared_hinge_scorer got scores that are not finite.")
    place = {label: code for code, label in enumerate(classes)}
    codes = np.array([place.get(label, len(classes)) for label in labels.labels.tolist()])
    seen = codes < len(classes)
    # No class competes with those that were seen but for rows of one that was not.
    unseen = np.where(seen, -np.inf, -1.0)
    return -float(np.mean(squared_hinge(np.column_stack([scores, unseen]), codes)))
