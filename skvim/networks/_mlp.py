"""Multilayer perceptrons with explicit initialisation."""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import final

import torch
from torch import Tensor, nn

__all__ = ["ACTIVATIONS", "MLP"]

#: Activations by name.
ACTIVATIONS: dict[str, type[nn.Module]] = {
    "elu": nn.ELU,
    "gelu": nn.GELU,
    "relu": nn.ReLU,
    "silu": nn.SiLU,
    "softplus": nn.Softplus,
    "tanh": nn.Tanh,
}


@final
class MLP(nn.Module):
    """Fully connected layers with an activation between them; none hidden makes it affine.

    Parameters
    ----------
    n_inputs : int
        Columns in.
    hidden_layer_sizes : sequence of int
        Width of each hidden layer.
    n_outputs : int
        Columns out.
    activation : str
        A key of ``ACTIVATIONS``.
    generator : torch.Generator
        Draws the initial weights: uniform in ±1/√fan-in, biases included.

    Examples
    --------
    >>> import torch
    >>> from skvim.networks import MLP
    >>> net = MLP(3, (8,), 2, activation="relu", generator=torch.Generator().manual_seed(0))
    >>> net(torch.zeros(5, 3)).shape
    torch.Size([5, 2])
    """

    def __init__(
        self,
        n_inputs: int,
        hidden_layer_sizes: Sequence[int],
        n_outputs: int,
        *,
        activation: str,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        sizes = [n_inputs, *hidden_layer_sizes, n_outputs]
        layers: list[nn.Module] = []
        for fan_in, fan_out in pairwise(sizes):
            layers += [_linear(fan_in, fan_out, generator), ACTIVATIONS[activation]()]
        self.layers = nn.Sequential(*layers[:-1])

    def forward(self, x: Tensor) -> Tensor:
        """Map rows (n, n_inputs) to (n, n_outputs)."""
        output: Tensor = self.layers(x)
        return output


def _linear(fan_in: int, fan_out: int, generator: torch.Generator) -> nn.Linear:
    """Return a linear layer drawn from ``generator``; torch's own would use the global one."""
    layer: nn.Linear = nn.utils.skip_init(  # type: ignore[no-untyped-call]
        nn.Linear, fan_in, fan_out, dtype=torch.float32
    )
    bound = 1 / math.sqrt(fan_in)
    with torch.no_grad():
        layer.weight.uniform_(-bound, bound, generator=generator)
        layer.bias.uniform_(-bound, bound, generator=generator)
    return layer
