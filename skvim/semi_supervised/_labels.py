"""Which rows carry a label, and which label: -1 marks a row without one."""

from dataclasses import dataclass
from numbers import Real
from typing import Any, final

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.multiclass import check_classification_targets

__all__ = ["UNLABELED", "Labels", "read_labels"]

UNLABELED = -1


@final
@dataclass(frozen=True)
class Labels:
    """The labels that were given.

    Attributes
    ----------
    given : ndarray of bool of shape (n_samples,)
        True where the row has a label.
    classes : ndarray of shape (n_classes,)
        The sorted classes.
    codes : ndarray of int of shape (n_labeled,)
        Position in ``classes`` of each labelled row's class.
    """

    given: NDArray[np.bool_]
    classes: NDArray[Any]
    codes: NDArray[np.intp]

    @property
    def signs(self) -> NDArray[np.float64]:
        """+1 or -1 per labelled row and one-vs-rest problem; a single column for two classes."""
        members = self.codes[:, None] == self.columns
        return np.where(members, 1.0, -1.0)

    @property
    def columns(self) -> NDArray[np.intp]:
        """Codes of the classes that have a one-vs-rest problem: the second alone of two."""
        codes = np.arange(len(self.classes))
        return codes[1:] if len(codes) == 2 else codes

    @property
    def frequencies(self) -> NDArray[np.float64]:
        """Share of each class among the labelled rows."""
        counts = np.bincount(self.codes, minlength=len(self.classes))
        return counts / len(self.codes)


def read_labels(y: NDArray[Any], *, name: str) -> Labels:
    """Split ``y`` into labelled and unlabelled rows.

    Parameters
    ----------
    y : ndarray of shape (n_samples,)
        Labels; -1 where there is none.
    name : str
        The estimator, for the messages.

    Returns
    -------
    Labels
        With at least two classes.

    Raises
    ------
    ValueError
        If a label is the string "-1", no row or only one class is labelled, or ``y`` is not
        made of classes.
    """
    _reject_marker_as_string(y)
    # An array of strings compares to a number as unequal as a whole, not row by row.
    given = np.ones(len(y), dtype=bool) if y.dtype.kind in "UST" else np.asarray(y != UNLABELED)
    if not given.any():
        raise ValueError(
            f"{name} needs labelled rows of at least two classes, but all {len(y)} entries of y "
            f"are {UNLABELED}, which marks a row without a label. Give some rows their class."
        )
    values = _plain(y[given])
    check_classification_targets(values)
    classes, codes = np.unique(values, return_inverse=True)
    if len(classes) < 2:
        raise ValueError(
            f"{name} needs labelled rows of at least two classes, but the {len(values)} labelled "
            f"rows of y all have the one class {classes.tolist()[0]!r} ({UNLABELED} marks a row "
            "without a label and is not a class)."
        )
    return Labels(given, classes, codes)


def _reject_marker_as_string(y: NDArray[Any]) -> None:
    """Refuse the string "-1": it may mean a class or a missing label."""
    if y.dtype.kind in "UT":
        found = bool(np.any(y == "-1"))
    else:
        found = y.dtype.kind == "O" and any(isinstance(v, str) and v == "-1" for v in y)
    if found:
        raise ValueError(
            'y contains the string "-1". If it marks rows without a label, use dtype object and '
            "the integer -1 for them; if it is a class, rename it."
        )


def _plain(values: NDArray[Any]) -> NDArray[Any]:
    """Return labels of dtype object as numbers if all are, and refuse a mixture of kinds."""
    if values.dtype.kind != "O":
        return values
    if all(isinstance(value, str) for value in values):
        return values
    if all(isinstance(value, Real) for value in values):
        return np.array(values.tolist())
    kinds = sorted({type(value).__name__ for value in values})
    raise ValueError(
        f"The labels in y must be all strings or all numbers, with {UNLABELED} for rows without "
        f"a label. Got values of type {', '.join(kinds)}."
    )
