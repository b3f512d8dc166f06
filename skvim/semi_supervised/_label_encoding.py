"""Encoding of partly labelled targets as class codes and one-vs-rest signs."""

from dataclasses import dataclass
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from skvim._labeled import UNLABELED, labeled_rows

__all__ = ["EncodedLabels", "check_kind_of_labels", "encode_labels"]


@final
@dataclass(frozen=True)
class EncodedLabels:
    """Encoded labels of a partly labelled y.

    Attributes
    ----------
    is_labeled : ndarray of bool of shape (n_samples,)
        True where the row has a label.
    classes : ndarray of shape (n_classes,)
        The sorted classes.
    codes : ndarray of int of shape (n_labeled,)
        Index into ``classes`` of each labelled row's class.
    """

    is_labeled: NDArray[np.bool_]
    classes: NDArray[Any]
    codes: NDArray[np.intp]

    @property
    def signs(self) -> NDArray[np.float64]:
        """±1 of shape (n_labeled, n_problems), one column per one-vs-rest problem."""
        return np.where(self.codes[:, None] == self.positive_codes, 1.0, -1.0)

    @property
    def positive_codes(self) -> NDArray[np.intp]:
        """Code of the positive class of each one-vs-rest problem; two classes have one problem."""
        codes = np.arange(len(self.classes))
        return codes[1:] if len(codes) == 2 else codes


def check_kind_of_labels(y: Any, *, name: str) -> None:
    """Raise ``ValueError`` for labels whose kind is lost when scikit-learn converts y to an array.

    These are masked entries, missing values, and unsigned labels of other libraries in which -1
    became the largest value. Shapes other than one column are left to scikit-learn.

    Parameters
    ----------
    y : array-like
        As given to ``fit``.
    name : str
        Name of the estimator, for error messages.
    """
    if y is None:
        return
    shape = np.shape(np.asarray(y))
    if len(shape) == 2 and shape[1] == 1:
        y = y.iloc[:, 0] if hasattr(y, "iloc") else np.ma.asanyarray(y)[:, 0]
    if len(shape) == 1 or shape[1:] == (1,):
        labeled_rows(y, name=name)


def encode_labels(y: NDArray[Any], *, name: str) -> EncodedLabels:
    """Encode the labels of a partly labelled ``y``.

    Parameters
    ----------
    y : ndarray of shape (n_samples,)
        Labels; -1 for unlabelled rows.
    name : str
        Name of the estimator, for error messages.

    Returns
    -------
    EncodedLabels
        With at least two classes.

    Raises
    ------
    ValueError
        If a label is the string "-1" or the largest value of an unsigned dtype, fewer than two
        classes are labelled, or ``y`` holds continuous values.
    """
    labeled = labeled_rows(y, name=name)
    codes = labeled.codes()
    classes = np.unique(labeled.labels)
    if len(classes) < 2:
        raise ValueError(
            f"{name} needs labelled rows of at least two classes, but the {len(codes)} labelled "
            f"rows of y all have the one class {classes.tolist()[0]!r} ({UNLABELED} marks a row "
            "without a label and is not a class)."
        )
    is_labeled = np.zeros(len(labeled.y), dtype=bool)
    is_labeled[labeled.rows] = True
    return EncodedLabels(is_labeled, classes, codes)
