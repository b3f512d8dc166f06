"""Labels of which some are missing: -1 marks a row without one."""

from dataclasses import dataclass
from numbers import Real
from typing import Any, final

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import column_or_1d

__all__ = ["UNLABELED", "LabeledRows", "labeled_rows"]

UNLABELED = -1


@final
@dataclass(frozen=True)
class LabeledRows:
    """The rows that have a label.

    Attributes
    ----------
    y : ndarray of shape (n_samples,)
        The labels as an array, -1 where there is none.
    rows : ndarray of int of shape (n_labeled,)
        Sorted numbers of the labelled rows; at least one.
    labels : ndarray of shape (n_labeled,)
        Their labels: numbers, or strings.
    """

    y: NDArray[Any]
    rows: NDArray[np.intp]
    labels: NDArray[Any]

    @property
    def unlabeled(self) -> NDArray[np.intp]:
        """Sorted numbers of the rows without a label."""
        return np.setdiff1d(np.arange(len(self.y)), self.rows, assume_unique=True)

    def codes(self) -> NDArray[np.intp]:
        """Return the position of each label among the sorted classes.

        Raises
        ------
        ValueError
            If the labels are not classes but measurements.
        """
        check_classification_targets(self.labels)
        return np.unique(self.labels, return_inverse=True)[1]


def labeled_rows(y: Any, *, name: str) -> LabeledRows:
    """Find the rows of ``y`` that have a label.

    Parameters
    ----------
    y : array-like of shape (n_samples,)
        Labels, -1 where there is none.
    name : str
        Who asks, for the messages.

    Returns
    -------
    LabeledRows
        At least one.

    Raises
    ------
    ValueError
        If y is missing, has another shape, holds missing values or the string "-1", mixes strings
        and numbers, or has no label at all.
    """
    if y is None:
        raise ValueError(
            f"{name} needs y: the label of each row, {UNLABELED} where there is none. Got None."
        )
    values = np.asarray(column_or_1d(y))
    _reject(values, name)
    # An array of strings compares to a number as unequal as a whole, not row by row.
    is_text = values.dtype.kind in "UST"
    given = np.ones(len(values), dtype=bool) if is_text else np.asarray(values != UNLABELED)
    rows = np.flatnonzero(given)
    if not rows.size:
        raise ValueError(
            f"{name} needs rows that have a label, but all {len(values)} entries of y are "
            f"{UNLABELED}, which marks a row without one. Give some rows their class."
        )
    return LabeledRows(values, rows, _plain(values[rows]))


def _reject(values: NDArray[Any], name: str) -> None:
    """Refuse what may or may not mean that a label is missing."""
    if any(_is_missing(value) for value in values.tolist()):
        raise ValueError(
            f"{name} takes {UNLABELED} for a row without a label, but y has missing values (NaN, "
            f"None or NA). Replace them by {UNLABELED}."
        )
    if values.dtype.kind in "UTO" and any(isinstance(v, str) and v == "-1" for v in values):
        raise ValueError(
            f'{name} got a y that contains the string "-1". If it marks rows without a label, use '
            "dtype object and the integer -1 for them; if it is a class, rename it."
        )


def _is_missing(value: Any) -> bool:
    """Whether a label is NaN, None, NaT or pandas' NA, which compares to nothing."""
    return value is None or type(value).__name__ in {"NAType", "NaTType"} or value != value


def _plain(labels: NDArray[Any]) -> NDArray[Any]:
    """Return labels of dtype object as numbers if all are, and refuse a mixture of kinds."""
    if labels.dtype.kind != "O" or all(isinstance(label, str) for label in labels):
        return labels
    if all(isinstance(label, Real) for label in labels):
        return np.array(labels.tolist())
    kinds = ", ".join(sorted({type(label).__name__ for label in labels}))
    raise ValueError(
        f"The labels in y must be all strings or all numbers, with {UNLABELED} for rows without "
        f"a label. Got values of type {kinds}."
    )
