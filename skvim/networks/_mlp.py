"""Multilayer perceptrons with explicit initialisation."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import final

import torch
from torch import Tensor, nn

from skvim._plain_numbers import is_real
from skvim.networks._architecture import Architecture, batch_apply
from skvim.networks._dropout import Dropout
from skvim.networks._empty import empty_layer

__all__ = ["ACTIVATIONS", "MLP", "NORMALIZATIONS", "Perceptrons"]

#: Activations by name.
ACTIVATIONS: dict[str, type[nn.Module]] = {
    "elu": nn.ELU,
    "gelu": nn.GELU,
    "relu": nn.ReLU,
    "silu": nn.SiLU,
    "softplus": nn.Softplus,
    "tanh": nn.Tanh,
}
#: Normalisations by name; each learns a scale and a shift for every unit.
NORMALIZATIONS: dict[str, type[nn.BatchNorm1d] | type[nn.LayerNorm]] = {
    "batch": nn.BatchNorm1d,
    "layer": nn.LayerNorm,
}


@final
class MLP(nn.Module):
    """Multilayer perceptron; without hidden layers an affine map.

    A hidden layer is linear map, normalisation, activation, dropout, in this order.

    Parameters
    ----------
    n_inputs : int
        Columns of the input.
    hidden_layer_sizes : sequence of int
        Width of each hidden layer.
    n_outputs : int
        Columns of the output.
    activation : str
        A key of ``ACTIVATIONS``.
    normalization : str or None, default=None
        A key of ``NORMALIZATIONS``: batch or layer normalisation.
    dropout : float in [0, 1), default=0.0
        Probability that training sets a unit to 0.
    generator : torch.Generator
        Draws initial weights and biases, uniform in ±1/√fan-in, and seeds the dropout.

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
        normalization: str | None = None,
        dropout: float = 0.0,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        fan_in = n_inputs
        for width in map(int, hidden_layer_sizes):
            layers.append(_linear(fan_in, width, generator))
            if normalization is not None:
                layers.append(NORMALIZATIONS[normalization](width, dtype=torch.float32))
            layers.append(ACTIVATIONS[activation]())
            if dropout > 0:
                layers.append(Dropout(dropout, generator=generator))
            fan_in = width
        self.layers = nn.Sequential(*layers, _linear(fan_in, n_outputs, generator))

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., n_inputs) to (..., n_outputs); a batch is over all leading axes."""
        return batch_apply(self.layers, x)


@final
@dataclass(frozen=True, eq=False)
class Perceptrons(Architecture):
    """Multilayer perceptrons; the decoder has the encoder's hidden layers in reverse order.

    Parameters
    ----------
    hidden_layer_sizes : sequence of int
        Widths of the encoder's hidden layers; with none, both networks are affine.
    activation : str
        A key of ``ACTIVATIONS``.
    normalization : {"batch", "layer"} or None, default=None
        Batch or layer normalisation of hidden units, before the activation.
    dropout : float in [0, 1), default=0.0
        Probability that training sets a hidden unit to 0, after the activation.

    References
    ----------
    S. Ioffe and C. Szegedy, *Batch normalization*, 2015, arXiv:1502.03167. J. L. Ba, J. R. Kiros
    and G. E. Hinton, *Layer normalization*, 2016, arXiv:1607.06450.

    Examples
    --------
    >>> import torch
    >>> from skvim.networks import Perceptrons
    >>> architecture = Perceptrons((32, 8), normalization="layer", dropout=0.1)
    >>> decoder = architecture.decoder(2, (64,), torch.Generator().manual_seed(0))
    >>> decoder(torch.zeros(3, 2)).shape
    torch.Size([3, 64])
    """

    hidden_layer_sizes: Sequence[int] = (256, 256)
    activation: str = "relu"
    normalization: str | None = None
    dropout: float = 0.0

    def check(self, shape: tuple[int, ...]) -> None:
        """Raise ``ValueError`` for a setting out of range; every shape is supported."""
        for width in self.hidden_layer_sizes:
            if not isinstance(width, Integral) or isinstance(width, bool) or width < 1:
                raise ValueError(
                    "hidden_layer_sizes must hold integers in [1, inf). "
                    f"Got {tuple(self.hidden_layer_sizes)!r} instead."
                )
        if self.activation not in ACTIVATIONS:
            raise ValueError(
                f"activation must be one of {sorted(ACTIVATIONS)}. Got {self.activation!r} instead."
            )
        if self.normalization is not None and self.normalization not in NORMALIZATIONS:
            raise ValueError(
                f"normalization must be one of {sorted(NORMALIZATIONS)} or None. "
                f"Got {self.normalization!r} instead."
            )
        if not is_real(self.dropout) or not 0 <= self.dropout < 1:
            raise ValueError(f"dropout must be a number in [0, 1). Got {self.dropout!r} instead.")

    @property
    def min_rows(self) -> int:
        """2 with batch normalisation, else 1."""
        return 2 if self.normalization == "batch" else 1

    def encoder(
        self, shape: tuple[int, ...], n_outputs: int, generator: torch.Generator
    ) -> nn.Module:
        """Return the encoder."""
        return self._mlp(math.prod(shape), tuple(self.hidden_layer_sizes), n_outputs, generator)

    def decoder(
        self, n_components: int, shape: tuple[int, ...], generator: torch.Generator
    ) -> nn.Module:
        """Return the decoder."""
        hidden = tuple(self.hidden_layer_sizes)[::-1]
        return self._mlp(n_components, hidden, math.prod(shape), generator)

    def _mlp(
        self, n_inputs: int, hidden: tuple[int, ...], n_outputs: int, generator: torch.Generator
    ) -> MLP:
        """Return a perceptron with these settings."""
        return MLP(
            n_inputs,
            hidden,
            n_outputs,
            activation=self.activation,
            normalization=self.normalization,
            dropout=float(self.dropout),
            generator=generator,
        )


def _linear(fan_in: int, fan_out: int, generator: torch.Generator) -> nn.Linear:
    """Return a linear layer drawn from ``generator``; torch's own would use the global one."""
    layer = empty_layer(nn.Linear, fan_in, fan_out)
    bound = 1 / math.sqrt(fan_in)
    with torch.no_grad():
        layer.weight.uniform_(-bound, bound, generator=generator)
        layer.bias.uniform_(-bound, bound, generator=generator)
    return layer
