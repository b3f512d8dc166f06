"""torch's modes that a caller may have entered, and that training must not be in."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import torch

__all__ = ["own_modes"]


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
