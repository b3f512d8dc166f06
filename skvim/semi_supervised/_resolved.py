"""Values of TransductiveSVC's parameters for given rows: gamma, landmarks and class shares."""

from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import issparse

from skvim._float_errors import ignore_overflow
from skvim._validation import largest
from skvim.semi_supervised._class_shares import estimate_shares
from skvim.semi_supervised._feature_maps import stored_values

__all__ = ["class_shares", "class_weights", "n_landmarks", "resolve_gamma"]


def n_landmarks(n_components: int | str, n_rows: int) -> int:
    """Return the number of landmarks for a number of rows."""
    if n_components == "all":
        return n_rows
    if n_components == "auto":
        return min(max(n_rows // 10, 500), 1000)
    return int(n_components)


def resolve_gamma(gamma: float | str, X: Any) -> float:
    """Return gamma as scikit-learn's SVC defines it.

    Parameters
    ----------
    gamma : {"scale", "auto"} or float
        1 / (n_features · X.var()), 1 / n_features, or itself.
    X : {ndarray, sparse array} of shape (n_samples, n_features)
        The rows.

    Raises
    ------
    ValueError
        If "scale" is out of the range of float64.
    """
    if gamma == "auto":
        return float(1.0 / X.shape[1])
    if gamma != "scale":
        return float(gamma)
    with ignore_overflow():
        variance = float(X.multiply(X).mean() - X.mean() ** 2 if issparse(X) else X.var())
        scaled = 1.0 if variance <= 0 else float(1.0 / np.float64(X.shape[1] * variance))
    if not 0 < scaled < np.inf:
        raise ValueError(
            "TransductiveSVC cannot compute gamma='scale', the default, which is "
            "1 / (n_features · X.var()): the variance of X is out of the range of float64. X "
            f"holds values of up to {largest(stored_values(X)):.3g}. Scale X, or set gamma."
        )
    return scaled


def class_shares(
    class_prior: Any, codes: NDArray[np.intp], n_classes: int
) -> NDArray[np.float64] | None:
    """Return the share of each class among all rows, given or estimated; None if free.

    Parameters
    ----------
    class_prior : array-like of shape (n_classes,), "free" or None
        The parameter of TransductiveSVC.
    codes : ndarray of int of shape (n_labeled,)
        Class of each labelled row, from which shares are estimated.
    n_classes : int
        Number of classes.

    Raises
    ------
    ValueError
        If the given shares are none.
    """
    if isinstance(class_prior, str):
        return None
    if class_prior is None:
        return estimate_shares(np.bincount(codes, minlength=n_classes).astype(np.float64))
    try:
        shares = np.asarray(class_prior, dtype=np.float64)
    except (TypeError, ValueError):  # strings or a dict, say
        shares = np.empty(0)
    if shares.shape != (n_classes,) or not np.all(shares >= 0) or abs(shares.sum() - 1) > 1e-6:
        raise ValueError(
            "The 'class_prior' parameter of TransductiveSVC must hold one share per class "
            f"({n_classes} classes), not negative and with sum 1. Got {class_prior!r} instead."
        )
    return shares


def class_weights(
    class_weight: Any, codes: NDArray[np.intp], classes: NDArray[Any]
) -> NDArray[np.float64]:
    """Return the weight of each class.

    Parameters
    ----------
    class_weight : dict, "balanced" or None
        The parameter of TransductiveSVC.
    codes : ndarray of int of shape (n_labeled,)
        Class of each labelled row.
    classes : ndarray of shape (n_classes,)
        The classes.

    Raises
    ------
    ValueError
        If a dict holds other classes while one of these has no weight, or a weight that is not
        positive and finite.
    """
    if class_weight is None:
        return np.ones(len(classes))
    if isinstance(class_weight, str):
        return len(codes) / (len(classes) * np.bincount(codes, minlength=len(classes)))
    known = classes.tolist()
    weights = np.ones(len(classes))
    unknown = [label for label in class_weight if label not in known]
    if unknown and not all(label in class_weight for label in known):
        raise ValueError(
            "The 'class_weight' parameter of TransductiveSVC has weights for labels that are no "
            f"classes of the labelled rows, {unknown}, and none for some that are: {known}."
        )
    for label, weight in class_weight.items():
        number = float(weight) if isinstance(weight, Real) else np.nan
        if not 0 < number < np.inf:
            raise ValueError(
                "Weights of classes in the 'class_weight' parameter of TransductiveSVC must be "
                f"positive and finite. Got {weight!r} for {label!r} instead."
            )
        if label in known:
            weights[known.index(label)] = number
    return weights
