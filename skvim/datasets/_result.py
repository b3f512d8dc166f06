"""Options, splits and return values that all data sets share."""

import random
from os import PathLike
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import Bunch

from skvim._validation import StrOptions

__all__ = [
    "OPTIONS",
    "SPLIT",
    "Rows",
    "make_result",
    "numpy_order",
    "python_2_order",
    "select_rows",
    "subset_slice",
]

Rows: TypeAlias = slice | NDArray[np.intp]

OPTIONS: dict[str, list[Any]] = {
    "data_home": [str, PathLike, None],
    "subset": [StrOptions({"train", "test", "all"})],
    "return_X_y": ["boolean"],
    "as_images": ["boolean"],
}
SPLIT = [StrOptions({"standard", "wae"})]

_WAE_SEED = 123


def numpy_order(n_rows: int) -> NDArray[np.intp]:
    """Return the order that ``numpy.random.shuffle`` gives after the seed 123.

    NumPy promises that the numbers of ``RandomState`` never change, so this is the order of 2017.
    """
    order: NDArray[np.intp] = np.random.RandomState(_WAE_SEED).permutation(n_rows).astype(np.intp)
    return order


def python_2_order(n_rows: int) -> NDArray[np.intp]:
    """Return the order that ``random.shuffle`` of Python 2 gives after the seed 123.

    Python 3 draws the same uniform numbers but uses them differently.
    """
    uniform = random.Random(_WAE_SEED).random
    order = list(range(n_rows))
    for last in range(n_rows - 1, 0, -1):
        other = int(uniform() * (last + 1))
        order[last], order[other] = order[other], order[last]
    return np.array(order, dtype=np.intp)


def subset_slice(subset: str, n_train: int) -> slice:
    """Return the slice of a subset, the first ``n_train`` rows being for training."""
    return {
        "train": slice(None, n_train),
        "test": slice(n_train, None),
        "all": slice(None),
    }[subset]


def select_rows(
    subset: str,
    split: str,
    *,
    n_train: int,
    n_wae_test: int,
    n_rows: int,
) -> Rows:
    """Return the rows of a subset; those of the split "wae" are shuffled.

    A slice gives a view of the mapped file, an array of indices a copy in memory.
    """
    if split == "standard":
        return subset_slice(subset, n_train)
    return numpy_order(n_rows)[subset_slice(subset, n_rows - n_wae_test)]


def make_result(
    images: NDArray[Any], target: Any, *, return_X_y: bool, as_images: bool, **fields: Any
) -> Bunch | tuple[NDArray[Any], Any]:
    """Return a Bunch, or the tuple (data, target)."""
    data = images if as_images else images.reshape(len(images), -1)
    if return_X_y:
        return data, target
    return Bunch(data=data, images=images, target=target, **fields)
