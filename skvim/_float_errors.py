"""NumPy's handling of floating-point errors, whatever the caller has set with ``np.errstate``.

An ``np.errstate`` itself is no decorator here: that of NumPy 1.26 keeps the state to be restored in
one place, which nested calls and threads overwrite.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

__all__ = [
    "has_numpy_defaults",
    "ignore_overflow",
    "numpy_defaults",
    "restore_numpy_defaults",
]

_DEFAULTS = {"divide": "warn", "over": "warn", "under": "ignore", "invalid": "warn"}


@contextmanager
def numpy_defaults() -> Iterator[None]:
    """Use NumPy's defaults for floating-point errors in the block, or in a decorated function."""
    with np.errstate(**_DEFAULTS):  # type: ignore[arg-type]  # of mixed literals
        yield


def has_numpy_defaults() -> bool:
    """Tell whether the defaults are in use."""
    return np.geterr() == _DEFAULTS


def restore_numpy_defaults() -> None:
    """Set the defaults again, which a block inside may have left changed."""
    if not has_numpy_defaults():
        np.seterr(**_DEFAULTS)  # type: ignore[arg-type]  # of mixed literals


def ignore_overflow() -> np.errstate:
    """Compute without NumPy's warnings where results are checked to be finite afterwards.

    Those are warnings of overflow, and of the differences of infinities that follow from it.
    """
    return np.errstate(over="ignore", invalid="ignore")
