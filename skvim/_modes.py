"""Modes of torch and NumPy that a caller may have set, and under which results must not change."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import numpy as np
import torch

__all__ = ["numpy_defaults", "own_modes"]

_AUTOCAST = ("cpu", "cuda", "mps", "xpu")


@contextmanager
def own_modes() -> Iterator[None]:
    """Leave the caller's modes: all of torch and NumPy that runs in the block has its defaults.

    These are ``torch.inference_mode``, ``torch.no_grad``, ``torch.autocast``, the default device
    of torch and the error handling of NumPy, each of which belongs to the thread. torch's default
    dtype belongs to the process and is left alone: code that runs in the block names its dtypes.

    Examples
    --------
    >>> import torch
    >>> from skvim._modes import own_modes
    >>> with torch.inference_mode(), own_modes():
    ...     torch.zeros(2).is_inference()
    False
    """
    with ExitStack() as stack:
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.enable_grad())
        for kind in _AUTOCAST:
            if torch.is_autocast_enabled(kind):
                stack.enter_context(torch.autocast(kind, enabled=False))
        # A default device slows every call of torch's functions.
        if torch.get_default_device().type != "cpu":
            stack.enter_context(torch.device("cpu"))
        stack.enter_context(numpy_defaults())
        yield


def numpy_defaults() -> np.errstate:
    """Return a context manager, and decorator: NumPy's defaults for floating-point errors."""
    return np.errstate(divide="warn", over="warn", under="ignore", invalid="warn")
