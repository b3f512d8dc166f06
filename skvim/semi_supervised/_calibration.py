"""Temperature scaling: class probabilities from decision scores."""

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax

from skvim.semi_supervised._label_encoding import EncodedLabels

__all__ = ["calibration_folds", "class_scores", "fit_inverse_temperature", "probabilities"]

Matrix = NDArray[np.float64]

_LOG_BOUNDS = (-7.0, 7.0)
_MAX_FOLDS = 5


def probabilities(scores: Matrix, inverse_temperature: float) -> Matrix:
    """Return class probabilities softmax(f / T) for scores f and temperature T.

    Parameters
    ----------
    scores : ndarray of shape (n_samples, n_problems)
        f; a single column for two classes, whose scores are then -f and f.
    inverse_temperature : float
        1 / T, above 0.

    Returns
    -------
    ndarray of shape (n_samples, n_classes)
        Rows with sum 1, largest where the score is.

    Examples
    --------
    >>> import numpy as np
    >>> from skvim.semi_supervised._calibration import probabilities
    >>> probabilities(np.array([[0.0]]), 2.0)
    array([[0.5, 0.5]])
    """
    result: Matrix = softmax(inverse_temperature * class_scores(scores), axis=1)
    return result


def fit_inverse_temperature(scores: Matrix, codes: NDArray[np.intp]) -> float:
    """Fit the inverse temperature 1 / T by maximum likelihood on held-out labels [1]_.

    Targets are smoothed as by Platt [2]_: of n labelled rows of a class, (n + 1) / (n + 2) of the
    target goes to the class and the rest to the others, so that a few rows that are all right do
    not make every probability 0 or 1.

    Parameters
    ----------
    scores : ndarray of shape (n_labeled, n_problems)
        Decision scores of models that were not fitted to these labels.
    codes : ndarray of int of shape (n_labeled,)
        Class codes of the labels.

    Returns
    -------
    float
        1 / T, between exp(-7) and exp(7).

    References
    ----------
    .. [1] Guo, C., Pleiss, G., Sun, Y. and Weinberger, K. (2017). "On calibration of modern
           neural networks". ICML 2017.
    .. [2] Platt, J. (1999). "Probabilistic outputs for support vector machines". Advances in
           Large Margin Classifiers.
    """
    values = class_scores(scores)
    n_classes = values.shape[1]
    counts = np.bincount(codes, minlength=n_classes)[codes]
    rest = 1.0 / ((counts + 2.0) * (n_classes - 1))
    targets = np.repeat(rest[:, None], n_classes, axis=1)
    targets[np.arange(len(codes)), codes] = (counts + 1.0) / (counts + 2.0)

    def cross_entropy(log_inverse: float) -> float:
        return -float(np.sum(targets * log_softmax(np.exp(log_inverse) * values, axis=1)))

    return float(np.exp(minimize_scalar(cross_entropy, bounds=_LOG_BOUNDS, method="bounded").x))


def calibration_folds(labels: EncodedLabels) -> int:
    """Return the number of folds to calibrate with, each of which leaves labels of all classes.

    Parameters
    ----------
    labels : EncodedLabels
        Labels of the rows.

    Returns
    -------
    int
        From 2 to 5.

    Raises
    ------
    ValueError
        If a class has one labelled row.
    """
    counts = np.bincount(labels.codes)
    if counts.min() < 2:
        raise ValueError(
            "TransductiveSVC with probability=True leaves labels out to calibrate with, and "
            "needs two labelled rows of every class. The class "
            f"{labels.classes.tolist()[int(counts.argmin())]!r} has one. "
            "Label another, or set probability=False."
        )
    return min(_MAX_FOLDS, int(counts.min()))


def class_scores(scores: Matrix) -> Matrix:
    """Return a score for each class, of shape (n_samples, n_classes): -f and f of one problem."""
    return np.hstack([-scores, scores]) if scores.shape[1] == 1 else scores
