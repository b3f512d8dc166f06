"""What training has to know of a device: torch's modes there, and whether it has CUDA graphs."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import torch

__all__ = ["has_graphs", "own_modes"]


@contextmanager
def own_modes(device: torch.device) -> Iterator[None]:
    """Leave inference mode, ``no_grad`` and autocast, and enter them again afterwards.

    Parameters
    ----------
    device : torch.device
        Where the model trains; autocast is a matter of each kind of device.
    """
    known = device.type in {"cpu", "cuda"}
    exact = torch.autocast(device.type, enabled=False) if known else nullcontext()
    with torch.inference_mode(False), torch.enable_grad(), exact:
        yield


def has_graphs(device: torch.device) -> bool:
    """Whether what runs on a device can be a CUDA graph."""
    return device.type == "cuda"
