"""Modes of torch and NumPy that a caller may have set, and under which results must not change."""

from collections.abc import Iterator
from contextlib import contextmanager

from skvim._float_errors import numpy_defaults
from skvim._torch_modes import torch_defaults

__all__ = ["own_modes"]


@contextmanager
def own_modes() -> Iterator[None]:
    """Leave the caller's modes: torch and NumPy have their defaults in the block."""
    with torch_defaults(), numpy_defaults():
        yield
