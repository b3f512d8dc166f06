"""Modes of torch, NumPy and scikit-learn of the caller, under which results must not change."""

from collections.abc import Iterator
from contextlib import contextmanager

from sklearn import config_context

from skvim._float_errors import has_numpy_defaults, numpy_defaults, restore_numpy_defaults
from skvim._torch_modes import has_torch_defaults, restore_torch_defaults, torch_defaults

__all__ = ["numpy_alone", "own_modes"]


@contextmanager
def own_modes() -> Iterator[None]:
    """Leave the caller's modes: torch and NumPy have their defaults in the block."""
    if not (has_torch_defaults() and has_numpy_defaults()):
        with torch_defaults(), numpy_defaults():
            yield
        return
    # Entering modes takes as long as a row's pass through a network.
    try:
        yield
    finally:
        restore_torch_defaults()
        restore_numpy_defaults()


@contextmanager
def numpy_alone() -> Iterator[None]:
    """Let scikit-learn compute with NumPy in the block, whatever the caller's array libraries are.

    With ``array_api_dispatch`` it factorises matrices in another way, warns of that, and refuses
    some parameters.
    """
    with config_context(array_api_dispatch=False):
        yield
