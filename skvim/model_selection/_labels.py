"""Taking labels away, to see how a method fares with few."""

from numbers import Integral, Real
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from skvim._labeled import UNLABELED, labeled_rows
from skvim._validation import check_arguments, draw_seed

__all__ = ["mask_labels"]

Counts = NDArray[np.int64]


@check_arguments(stratify=["boolean"], random_state=["random_state"])
def mask_labels(
    y: ArrayLike, n_labeled: float, *, stratify: bool = True, random_state: Any = None
) -> NDArray[Any]:
    """Return a copy of ``y`` with -1 for all but some rows.

    Parameters
    ----------
    y : array-like of shape (n_samples,)
        Labels, numbers or strings. Rows that are -1 already stay so.
    n_labeled : int in [1, inf) or float in (0, 1)
        Number of rows that keep their label, or their share of the rows that have one, rounded to
        the nearest number of rows.
    stratify : bool, default=True
        Whether the labels that are kept have the class shares of y. Each class keeps the exact
        share of ``n_labeled`` rounded down or up, and at least one row. Only where rare classes
        need more rows than that leaves do the frequent ones share out the rest. False draws rows
        regardless of their class: a class may vanish.
    random_state : int, RandomState instance or None, default=None
        Seeds the choice of rows. None takes fresh entropy from the operating system.

    Returns
    -------
    ndarray of shape (n_samples,)
        Signed integers, floats, or dtype object for strings and where y has it. Unsigned
        integers and booleans, which cannot hold -1, become int64.

    Raises
    ------
    ValueError
        If ``n_labeled`` is out of range or below the number of classes (when stratified), or y has
        no label, the string "-1", missing values or labels that are not classes.

    See Also
    --------
    MaskedStratifiedKFold : Cross-validation with such labels.

    Examples
    --------
    >>> from skvim.model_selection import mask_labels
    >>> y = ["cat", "dog", "dog", "cat", "dog", "dog"]
    >>> partial = mask_labels(y, 3, random_state=0)
    >>> sorted(map(str, partial))
    ['-1', '-1', '-1', 'cat', 'dog', 'dog']
    """
    labeled = labeled_rows(y, name="mask_labels")
    n_kept = _number(n_labeled, len(labeled.rows))
    generator = np.random.default_rng(draw_seed(random_state))
    codes = labeled.codes()
    order = generator.permutation(len(codes))
    if stratify:
        kept = order[_leading(codes[order], _allocate(np.bincount(codes), n_kept, generator))]
    else:
        kept = order[:n_kept]
    masked = np.full(len(labeled.y), UNLABELED, dtype=_with_marker(labeled.y.dtype))
    rows = labeled.rows[kept]
    masked[rows] = labeled.y[rows]
    return masked


def _number(n_labeled: Any, n_given: int) -> int:
    """Return how many of ``n_given`` labels to keep."""
    if isinstance(n_labeled, Integral) and not isinstance(n_labeled, bool):
        number = int(n_labeled)
    elif isinstance(n_labeled, Real) and 0 < float(n_labeled) < 1:
        number = round(float(n_labeled) * n_given)
    else:
        number = 0
    if not 1 <= number <= n_given:
        raise ValueError(
            "n_labeled must be an int in [1, n] or a float in (0, 1) that is at least half a row "
            f"of n, where n={n_given} is the number of rows of y that have a label. "
            f"Got {n_labeled!r} instead."
        )
    return number


def _allocate(counts: Counts, n_kept: int, generator: np.random.Generator) -> Counts:
    """Share out ``n_kept`` rows among classes in proportion to ``counts``, at least one each.

    Every class gets its exact share rounded down or up, the largest remainders first, ties at
    random. If the least ones alone are too many for that, classes whose share is below one row get
    one row, and the others share out what is left.
    """
    if n_kept < len(counts):
        raise ValueError(
            f"n_labeled must leave each of the {len(counts)} classes a label, but it comes to "
            f"{n_kept} rows. Keep at least {len(counts)}, or take stratify=False."
        )
    shares, remainders = np.divmod(n_kept * counts, counts.sum())
    least = np.maximum(shares, 1)
    n_more = n_kept - int(least.sum())
    if n_more < 0:
        rare = shares == 0
        least[~rare] = _allocate(counts[~rare], n_kept - int(rare.sum()), generator)
        return least
    remainders[shares == 0] = 0  # rounded up already
    least[np.lexsort((generator.random(len(counts)), -remainders))[:n_more]] += 1
    return least


def _leading(codes: NDArray[np.intp], allowed: Counts) -> NDArray[np.bool_]:
    """Tell of each entry whether it is among the first ``allowed`` ones of its class."""
    by_class = np.argsort(codes, kind="stable")
    counts = np.bincount(codes)
    rank = np.empty(len(codes), dtype=np.int64)
    rank[by_class] = np.arange(len(codes)) - np.repeat(np.cumsum(counts) - counts, counts)
    return rank < allowed[codes]


def _with_marker(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Return the dtype, or one that can hold -1 too."""
    if dtype.kind in "UST":
        return np.dtype(object)
    return np.dtype(np.int64) if dtype.kind in "ub" else dtype
