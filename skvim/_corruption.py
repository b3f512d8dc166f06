"""Corruption of the encoder's input: the value of the parameter ``noise`` as a function."""

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor

from skvim._row_format import RowFormat
from skvim.noise import GaussianNoise, MaskingNoise, SwapNoise
from skvim.noise._image_transformers import BaseImageNoise

__all__ = ["made_corruption"]

_NOISES: dict[str, type[GaussianNoise] | type[MaskingNoise] | type[SwapNoise]] = {
    "gaussian": GaussianNoise,
    "masking": MaskingNoise,
    "swap": SwapNoise,
}


def made_corruption(
    noise: Any, row_format: RowFormat
) -> Callable[[Tensor, torch.Generator], Tensor] | None:
    """Return the function that corrupts the encoder's input in training, or None.

    Parameters
    ----------
    noise : str, noise transformer or None
        Not changed. What it does not say of images or groups of features is that of the rows.
    row_format : RowFormat
        Format of the rows.
    """
    if noise is None:
        return None
    made = _NOISES[noise]() if isinstance(noise, str) else deepcopy(noise)
    if isinstance(made, BaseImageNoise) and made.image_shape is None:
        made.image_shape = row_format.image  # batches come as flat rows
    if isinstance(made, MaskingNoise | SwapNoise) and made.groups is None:
        made.groups = row_format.groups  # the encoder sees several numbers for one column
    corruption: Callable[[Tensor, torch.Generator], Tensor] = made.corrupt
    return corruption
