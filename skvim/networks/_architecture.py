"""Base class of architectures, which build an encoder and a decoder."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, final

import torch
from torch import Tensor, nn

from skvim._values import ByValue
from skvim.networks._function_mode import FunctionMode

__all__ = ["Architecture", "batch_apply", "max_activation_size"]


class Architecture(ByValue, ABC):
    """Settings from which an encoder and a decoder are built (abstract base class).

    ``shape`` is (n_features,) for tables and (height, width, channels) for images, whose rows are
    flat in that order, channels last. The model standardises the encoder's input and rescales the
    decoder's output, so networks need values near unit scale only. Their input may have any number
    of leading axes, or none, which the output keeps: :func:`batch_apply` does this.

    Architectures of one class with equal attributes are equal and hash alike; modules among the
    attributes count by class, attributes and the dtype, shape and bytes of their tensors.
    """

    @abstractmethod
    def check(self, shape: tuple[int, ...]) -> None:
        """Raise ``ValueError`` for a setting out of range or an unsupported shape."""

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
        """Least number of rows in a training batch (hook)."""
        return 1


def batch_apply(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Apply a function of a matrix to a tensor, with all leading axes merged into one.

    Parameters
    ----------
    function : callable
        (n, d) → (n, e).
    x : Tensor of shape (..., d)
        Rows; a single one, of shape (d,), is passed as a batch of one.

    Returns
    -------
    Tensor of shape (..., e)
        The function's rows, with the leading axes of ``x``.
    """
    if x.dim() == 2:
        return function(x)
    rows = function(x.reshape(-1, x.shape[-1]))
    return rows.reshape(*x.shape[:-1], rows.shape[-1])


@final
class _LargestResult(FunctionMode):
    """Context manager that records the size of the largest tensor a function of torch returns."""

    def __init__(self) -> None:
        super().__init__()
        self.size = 0

    def call(self, func: Callable[..., Any], args: tuple[Any, ...], options: dict[str, Any]) -> Any:
        """Call a function of torch, and record the size of its result."""
        result = func(*args, **options)
        # Reading a parameter is no computation.
        if isinstance(result, Tensor) and not isinstance(result, nn.Parameter):
            self.size = max(self.size, result.numel())
        return result


def max_activation_size(network: nn.Module, n_columns: int) -> int:
    """Return the size of the largest activation for one row, which bounds the memory in use.

    Parameters
    ----------
    network : Module
        In evaluation mode.
    n_columns : int
        Columns of its input.

    Returns
    -------
    int
        Number of values, measured on a row of zeros; at least ``n_columns``.
    """
    weight = next(network.parameters(), torch.empty(0))
    row = torch.zeros(1, n_columns, dtype=weight.dtype, device=weight.device)
    with torch.no_grad(), _LargestResult() as largest:
        network(row)
    return max(n_columns, int(largest.size))
