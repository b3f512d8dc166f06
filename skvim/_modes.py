"""Modes of torch and NumPy that a caller may have set, and under which results must not change."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from skvim._torch_modes import torch_defaults

__all__ = ["numpy_defaults", "own_modes"]


@contextmanager
def own_modes() -> Iterator[None]:
    """Leave the caller's modes: torch and NumPy have their defaults in the block."""
    with torch_defaults(), numpy_defaults():
        yield


def numpy_defaults() -> np.errstate:
    """Return a context manager, and decorator: NumPy's defaults for floating-point errors."""
    return np.errstate(divide="warn", over="warn", under="ignore", invalid="warn")
