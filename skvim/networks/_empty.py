"""Layers whose weights are yet to be set."""

from typing import TypeVar

import torch
from torch import nn

from skvim._torch_private import IMPORTED_ON_USE
from skvim._uninterrupted import import_whole

__all__ = ["empty_layer"]

Layer = TypeVar("Layer", bound=nn.Module)


def empty_layer(kind: type[Layer], *sizes: int, **options: object) -> Layer:
    """Return a float32 layer with weights of any value; torch draws none from its generator."""
    import_whole(IMPORTED_ON_USE)  # what torch imports to make the first one
    layer: Layer = nn.utils.skip_init(  # type: ignore[no-untyped-call]
        kind, *sizes, dtype=torch.float32, **options
    )
    return layer
