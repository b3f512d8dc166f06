"""Layers whose weights are yet to be set."""

from functools import cache
from typing import Any, TypeVar

import torch
from torch import nn

from skvim._torch_private import IMPORTED_ON_USE
from skvim._uninterrupted import import_whole

__all__ = ["empty_layer"]

Layer = TypeVar("Layer", bound=nn.Module)


def empty_layer(kind: type[Layer], *sizes: int, **options: object) -> Layer:
    """Return a float32 layer with weights of any value; torch draws none from its generator.

    ``torch.nn.utils.skip_init`` does the same in ten times the time.
    """
    import_whole(IMPORTED_ON_USE)  # what torch imports to make the first one
    known: Any = kind
    layer: Layer = _without_reset(known)(*sizes, dtype=torch.float32, **options)
    layer.__class__ = kind
    return layer


@cache
def _without_reset(kind: Any) -> Any:
    """Return a class like ``kind`` that leaves its weights as they are."""
    return type(kind.__name__, (kind,), {"reset_parameters": lambda layer: None})
