"""Validation of partly labelled targets, in which -1 marks an unlabelled row."""

from dataclasses import dataclass
from numbers import Real
from typing import Any, final

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import column_or_1d

__all__ = ["UNLABELED", "LabeledRows", "labeled_rows", "reject_missing"]

UNLABELED = -1


@final
@dataclass(frozen=True)
class LabeledRows:
    """Labelled rows of a partly labelled y.

    Attributes
    ----------
    y : ndarray of shape (n_samples,)
        Labels as an array; -1 for unlabelled rows.
    rows : ndarray of int of shape (n_labeled,)
        Sorted indices of the labelled rows; at least one.
    labels : ndarray of shape (n_labeled,)
        Labels of these rows: numbers or strings.
    """

    y: NDArray[Any]
    rows: NDArray[np.intp]
    labels: NDArray[Any]

    @property
    def unlabeled(self) -> NDArray[np.intp]:
        """Sorted indices of the unlabelled rows."""
        return np.setdiff1d(np.arange(len(self.y)), self.rows, assume_unique=True)

    def codes(self) -> NDArray[np.intp]:
        """Return the class code of each label: its index among the sorted classes.

        Raises
        ------
        ValueError
            If the labels are continuous values.
        """
        check_classification_targets(self.labels)
        return np.unique(self.labels, return_inverse=True)[1]


def labeled_rows(y: Any, *, name: str) -> LabeledRows:
    """Validate a partly labelled ``y`` and return its labelled rows.

    Parameters
    ----------
    y : array-like of shape (n_samples,)
        Labels; -1 for unlabelled rows.
    name : str
        Name of the estimator or function, for error messages.

    Returns
    -------
    LabeledRows
        At least one row.

    Raises
    ------
    ValueError
        If y is None, has another shape, contains missing values or the string "-1", mixes strings
        and numbers or holds values of another kind, has no label at all, or is of an unsigned type
        and holds its largest value, which is what -1 becomes there.
    """
    if y is None:
        raise ValueError(
            f"{name} needs y: the label of each row, {UNLABELED} where there is none. Got None."
        )
    values = _one_dimensional(y)
    reject_missing(y, values, name)
    _reject_text_marker(values, name)
    # Comparing an array of strings with a number gives one bool, not one per row.
    is_text = values.dtype.kind in "US"
    given = np.ones(len(values), dtype=bool) if is_text else np.asarray(values != UNLABELED)
    rows = np.flatnonzero(given)
    if not rows.size:
        raise ValueError(
            f"{name} needs rows that have a label, but all {len(values)} entries of y are "
            f"{UNLABELED}, which marks a row without one. Give some rows their class."
        )
    labels = _same_kind(values[rows])
    _reject_wrapped_marker(y, labels, name)
    return LabeledRows(values, rows, labels)


def _one_dimensional(y: Any) -> NDArray[Any]:
    """Return y as an array of one dimension; variable-width strings become objects."""
    if getattr(getattr(y, "dtype", None), "kind", None) == "T":  # scikit-learn cannot handle it
        y = np.asarray(y, dtype=object)
    return np.asarray(column_or_1d(y))


def reject_missing(y: Any, values: NDArray[Any], name: str) -> None:
    """Raise ValueError if values are missing or, in a masked array, masked."""
    if np.ma.is_masked(y) or any(_is_missing(value) for value in values.tolist()):
        raise ValueError(
            f"{name} takes {UNLABELED} for a row without a label, but y has missing values (NaN, "
            f"None, NA or masked). Replace them by {UNLABELED}."
        )


def _reject_text_marker(values: NDArray[Any], name: str) -> None:
    """Raise ValueError for the string "-1", which might mark unlabelled rows."""
    if values.dtype.kind in "UO" and any(isinstance(v, str) and v == "-1" for v in values):
        raise ValueError(
            f'{name} got a y that contains the string "-1". If it marks rows without a label, use '
            "dtype object and the integer -1 for them; if it is a class, rename it."
        )


def _reject_wrapped_marker(y: Any, labels: NDArray[Any], name: str) -> None:
    """Raise ValueError for what -1 becomes in unsigned integers, their largest value."""
    # pandas' UInt8 becomes an array of float64, so the type that was given is looked at too.
    dtypes: list[Any] = [getattr(y, "dtype", None), labels.dtype]
    for dtype in dtypes:
        if getattr(dtype, "kind", None) != "u":
            continue
        largest = 2 ** (8 * dtype.itemsize) - 1
        if np.any(labels == largest):
            raise ValueError(
                f"{name} got a y of dtype {dtype} that holds {largest}, its largest value. That is "
                f"what {UNLABELED}, the mark of a row without a label, becomes in unsigned "
                f"integers. Use y.astype(int) before labels are replaced by {UNLABELED}, or before "
                f"it is passed if {largest} is a class."
            )


def _is_missing(value: Any) -> bool:
    """Whether a label is None, NaN, NaT or pandas' NA, whose comparisons are NA."""
    return value is None or type(value).__name__ in {"NAType", "NaTType"} or value != value


def _same_kind(labels: NDArray[Any]) -> NDArray[Any]:
    """Convert numbers of dtype object to a numeric dtype; raise ValueError for other kinds."""
    if labels.dtype.kind in "biufUS" or all(isinstance(label, str) for label in labels):
        return labels
    if labels.dtype.kind == "O" and all(isinstance(label, Real) for label in labels):
        return np.array(labels.tolist())
    kinds = ", ".join(sorted({type(label).__name__ for label in labels}))
    raise ValueError(
        f"The labels in y must be all strings or all numbers, with {UNLABELED} for rows without "
        f"a label. Got values of type {kinds}."
    )
