"""Modes of torch that a caller may have set, and under which results must not change."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch

__all__ = ["has_torch_defaults", "restore_torch_defaults", "torch_defaults"]

# Older releases of torch raise an error for devices that they have no autocast for.
_AUTOCAST = [k for k in ("cpu", "cuda", "mps", "xpu") if torch.amp.is_autocast_available(k)]


def has_torch_defaults() -> bool:
    """Tell whether the calling thread has the modes of ``torch_defaults`` already."""
    return (
        torch.is_grad_enabled()
        and not torch.is_inference_mode_enabled()
        and not any(map(torch.is_autocast_enabled, _AUTOCAST))
        and torch.get_default_device().type == "cpu"
    )


def restore_torch_defaults() -> None:
    """Set back what a block inside may have left changed: an interrupt can come before its end.

    ``torch.inference_mode`` ends by itself.
    """
    torch.set_grad_enabled(True)
    for kind in _AUTOCAST:
        if torch.is_autocast_enabled(kind):
            torch.set_autocast_enabled(kind, False)


@contextmanager
def torch_defaults() -> Iterator[None]:
    """Leave the caller's modes of torch: what runs in the block has the defaults.

    These are ``torch.inference_mode``, ``torch.no_grad``, ``torch.autocast`` and the default
    device, each of which belongs to the thread. The default dtype belongs to the process and is
    left alone: code that runs in the block names its dtypes.

    Examples
    --------
    >>> import torch
    >>> from skvim._torch_modes import torch_defaults
    >>> with torch.inference_mode(), torch_defaults():
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
        yield
