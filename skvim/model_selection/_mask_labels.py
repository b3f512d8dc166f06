"""Mask labels at random, to evaluate semi-supervised methods with few labels."""

from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from skvim._labeled import UNLABELED, labeled_rows
from skvim._plain_numbers import is_real
from skvim._validation import check_arguments, draw_seed

__all__ = ["mask_labels"]

Counts = NDArray[np.int64]


@check_arguments(stratify=["boolean"], random_state=["random_state"])
def mask_labels(
    y: ArrayLike, n_labeled: float, *, stratify: bool = True, random_state: Any = None
) -> NDArray[Any]:
    """Return a copy of ``y`` in which all but ``n_labeled`` labels are replaced by -1.

    Parameters
    ----------
    y : array-like of shape (n_samples,)
        Labels, numbers or strings. Rows that are -1 already stay unlabelled.
    n_labeled : int in [1, inf) or float in (0, 1)
        Number of rows that keep their label, or their share of the labelled rows, rounded to the
        nearest number of rows.
    stratify : bool, default=True
        Whether the kept labels have the class proportions of y. Each class keeps its exact share
        of ``n_labeled``, rounded down or up, and at least one row. If that is more than
        ``n_labeled`` rows in total, each rare class keeps one row and the remaining rows are
        allocated among the frequent classes. False draws rows regardless of their class, so a
        class may lose all labels.
    random_state : int, RandomState instance or None, default=None
        Seeds the choice of rows. None takes fresh entropy from the operating system.

    Returns
    -------
    ndarray of shape (n_samples,)
        The dtype of y, but int64 for unsigned integers and booleans, and object for strings, which
        cannot hold -1.

    Raises
    ------
    ValueError
        If ``n_labeled`` is out of range or below the number of classes (when stratified), or y has
        no label, the string "-1", missing values, continuous values or the largest value of an
        unsigned dtype (which -1 becomes).

    See Also
    --------
    MaskedStratifiedKFold : Cross-validation with partly labelled y.

    Examples
    --------
    >>> from skvim.model_selection import mask_labels
    >>> y = ["cat", "dog", "dog", "cat", "dog", "dog"]
    >>> partial = mask_labels(y, 3, random_state=0)
    >>> sorted(map(str, partial))
    ['-1', '-1', '-1', 'cat', 'dog', 'dog']
    """
    labeled = labeled_rows(y, name="mask_labels")
    n_kept = _number_to_keep(n_labeled, len(labeled.rows))
    generator = np.random.default_rng(draw_seed(random_state))
    codes = labeled.codes()
    order = generator.permutation(len(codes))
    if stratify:
        counts = _allocate(np.bincount(codes), n_kept, generator)
        kept = order[_first_of_each_class(codes[order], counts)]
    else:
        kept = order[:n_kept]
    masked = np.full(len(labeled.y), UNLABELED, dtype=_dtype_with_marker(labeled.y.dtype))
    rows = labeled.rows[kept]
    masked[rows] = labeled.y[rows]
    return masked


def _number_to_keep(n_labeled: Any, n_given: int) -> int:
    """Return the number of labels to keep, of ``n_given``."""
    if isinstance(n_labeled, Integral) and not isinstance(n_labeled, bool):
        number = int(n_labeled)
    elif is_real(n_labeled) and 0 < float(n_labeled) < 1:
        number = round(float(n_labeled) * n_given)
    else:
        number = 0
    if not 1 <= number <= n_given:
        raise ValueError(
            "n_labeled must be an int in [1, n] or a float in (0, 1) that is at least half a row "
            f"of n, where n={n_given} is the number of labelled rows of y. "
            f"Got {n_labeled!r} instead."
        )
    return number


def _allocate(counts: Counts, n_kept: int, generator: np.random.Generator) -> Counts:
    """Allocate ``n_kept`` rows to classes in proportion to ``counts``, at least one each.

    Largest remainder method: every class gets its exact share rounded down or up, the largest
    remainders first, ties at random. If the rounded-down shares and the minimum of one row exceed
    ``n_kept``, classes whose share is below one row get one, and the others the remaining rows.
    """
    if n_kept < len(counts):
        raise ValueError(
            f"n_labeled must leave each of the {len(counts)} classes a label, but it comes to "
            f"{n_kept} rows. Keep at least {len(counts)}, or set stratify=False."
        )
    shares, remainders = np.divmod(n_kept * counts, counts.sum())
    allocated = np.maximum(shares, 1)
    n_more = n_kept - int(allocated.sum())
    if n_more < 0:
        rare = shares == 0
        allocated[~rare] = _allocate(counts[~rare], n_kept - int(rare.sum()), generator)
        return allocated
    remainders[shares == 0] = 0  # rounded up already
    allocated[np.lexsort((generator.random(len(counts)), -remainders))[:n_more]] += 1
    return allocated


def _first_of_each_class(codes: NDArray[np.intp], n_first: Counts) -> NDArray[np.bool_]:
    """Return a mask of the first ``n_first[code]`` entries of each class."""
    by_class = np.argsort(codes, kind="stable")
    counts = np.bincount(codes)
    rank = np.empty(len(codes), dtype=np.int64)
    rank[by_class] = np.arange(len(codes)) - np.repeat(np.cumsum(counts) - counts, counts)
    return rank < n_first[codes]


def _dtype_with_marker(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Return the dtype if it can hold -1, else one that can."""
    if dtype.kind in "UST":
        return np.dtype(object)
    return np.dtype(np.int64) if dtype.kind in "ub" else dtype
