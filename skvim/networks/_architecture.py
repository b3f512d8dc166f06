"""What an architecture is: a recipe for a pair of networks."""

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from typing import Any, Self, final

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from skvim._values import ByValue, attributes

__all__ = ["Architecture", "by_rows", "widest_layer"]


class Architecture(ByValue, ABC):
    """A recipe for an encoder and a decoder on flat rows.

    ``shape`` is (n_features,) for tables and (height, width, channels) for images, whose rows are
    flat in that order, channels last. Networks near unit scale do well: the model standardises
    what the encoder sees, and scales what the decoder gives. A network may meet rows with several
    leading axes, or with none, and has to keep them: :func:`by_rows` does.

    Architectures of one class with equal attributes are equal and have one hash; modules among
    them count by class, attributes and the type, shape and bytes of their tensors.
    """

    @abstractmethod
    def check(self, shape: tuple[int, ...]) -> None:
        """Raise ``ValueError`` when a setting is out of range or the shape does not suit."""

    @abstractmethod
    def encoder(
        self, shape: tuple[int, ...], n_outputs: int, generator: torch.Generator
    ) -> nn.Module:
        """Return a network from rows (n, prod(shape)) to (n, n_outputs).

        Every initial weight is drawn from ``generator``.
        """

    @abstractmethod
    def decoder(
        self, n_components: int, shape: tuple[int, ...], generator: torch.Generator
    ) -> nn.Module:
        """Return a network from codes (n, n_components) to rows (n, prod(shape))."""

    @property
    def min_rows(self) -> int:
        """Rows that a training batch needs (hook)."""
        return 1

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        # Modules that cannot be pickled, say for a lambda, can be copied.
        copied = memo[id(self)] = object.__new__(type(self))
        for name, value in attributes(self).items():
            object.__setattr__(copied, name, copy.deepcopy(value, memo))
        return copied


def by_rows(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Apply a function of a matrix to rows with any leading axes.

    Parameters
    ----------
    function : callable
        (n, d) → (n, e).
    x : Tensor of shape (..., d)
        Rows; a single one, of shape (d,), counts as a batch of one.

    Returns
    -------
    Tensor of shape (..., e)
        The rows that the function returned, arranged as those of ``x``.
    """
    if x.dim() == 2:
        return function(x)
    rows = function(x.reshape(-1, x.shape[-1]))
    return rows.reshape(*x.shape[:-1], rows.shape[-1])


@final
class _Largest(TorchFunctionMode):
    """Notes the size of the largest tensor that any function of torch returns."""

    def __init__(self) -> None:
        super().__init__()
        self.size = 0

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Call a function of torch (torch's hook)."""
        result = func(*args, **(kwargs or {}))
        # Reading a parameter is no computation.
        if isinstance(result, Tensor) and not isinstance(result, nn.Parameter):
            self.size = max(self.size, result.numel())
        return result


def widest_layer(network: nn.Module, n_columns: int) -> int:
    """Return the size of the largest intermediate result for one row: what bounds memory in use.

    Parameters
    ----------
    network : Module
        In evaluation mode.
    n_columns : int
        Columns of its input.

    Returns
    -------
    int
        Values, measured on a row of zeros; at least ``n_columns``.
    """
    weight = next(network.parameters(), torch.empty(0))
    row = torch.zeros(1, n_columns, dtype=weight.dtype, device=weight.device)
    with torch.no_grad(), _Largest() as largest:
        network(row)
    return max(n_columns, int(largest.size))
