"""What all data sets have in common: their options, their splits and what is returned."""

import random
from os import PathLike
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import Bunch

from skvim._validation import StrOptions

__all__ = ["OPTIONS", "SPLIT", "Rows", "numpy_order", "part", "python_2_order", "result", "select"]

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

    Python 3 draws the same uniform numbers, and uses them differently.
    """
    uniform = random.Random(_WAE_SEED).random
    order = list(range(n_rows))
    for last in range(n_rows - 1, 0, -1):
        other = int(uniform() * (last + 1))
        order[last], order[other] = order[other], order[last]
    return np.array(order, dtype=np.intp)


def part(subset: str, n_train: int) -> slice:
    """Return where a subset is in rows of which the first ``n_train`` are for training."""
    return {
        "train": slice(None, n_train),
        "test": slice(n_train, None),
        "all": slice(None),
    }[subset]


def select(
    subset: str,
    split: str,
    *,
    n_train: int,
    n_wae_test: int,
    n_rows: int,
) -> Rows:
    """Return the rows of a subset, which with the split "wae" are shuffled.

    A slice keeps arrays mapped from their files; an order makes a copy in memory.
    """
    if split == "standard":
        return part(subset, n_train)
    return numpy_order(n_rows)[part(subset, n_rows - n_wae_test)]


def result(
    images: NDArray[Any], target: Any, *, return_X_y: bool, as_images: bool, **fields: Any
) -> Bunch | tuple[NDArray[Any], Any]:
    """Return a Bunch, or rows and target alone."""
    data = images if as_images else images.reshape(len(images), -1)
    if return_X_y:
        return data, target
    return Bunch(data=data, images=images, target=target, **fields)
