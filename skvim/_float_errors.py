"""NumPy's handling of floating-point errors, whatever the caller has set with ``np.errstate``.

An ``np.errstate`` itself is no decorator here: that of NumPy 1.26 keeps the state to be restored in
one place, which nested calls and threads overwrite.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

__all__ = ["ignore_overflow", "numpy_defaults"]


@contextmanager
def numpy_defaults() -> Iterator[None]:
    """Use NumPy's defaults for floating-point errors in the block, or in a decorated function."""
    with np.errstate(divide="warn", over="warn", under="ignore", invalid="warn"):
        yield


@contextmanager
def ignore_overflow() -> Iterator[None]:
    """Compute without NumPy's warnings where results are checked to be finite afterwards.

    Those are warnings of overflow, and of the differences of infinities that follow from it.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        yield
