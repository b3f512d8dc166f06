"""Networks as functions of many codes, with their derivatives by them."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import final

import torch
from torch import Tensor, nn

from skvim._torch_private import linear_map
from skvim.networks import ACTIVATIONS, MLP, Dropout, max_activation_size

__all__ = ["Differentiable", "differentiable"]

# Layers without mixing of units, in evaluation mode.
_ELEMENTWISE = (*ACTIVATIONS.values(), nn.BatchNorm1d, Dropout)
# Codes that pass a perceptron at once: their activations stay in the processor's cache. Blocks of
# fewer are filled up to multiples of a part, or powers of two: the first product of each size
# takes half a millisecond longer.
_N_CODES, _PART = 1024, 128
# Numbers of the largest activation of other networks at once.
_BLOCK_VALUES = 2**20
# Least width of a perceptron's hidden layer, and least size of a weight of other networks, for
# which products take most of the time.
_WIDE, _LARGE = 128, 2**12


class Differentiable(ABC):
    """A decoder in evaluation mode, as a function of codes (n, k) in its own precision."""

    #: By how many codes the effect of rounding is measured.
    n_trials: int

    def __init__(self, module: nn.Module, dtype: torch.dtype) -> None:
        self.module, self.dtype = module, dtype

    @property
    @abstractmethod
    def is_wide(self) -> bool:
        """Whether products take most of the time."""

    @abstractmethod
    def __call__(self, z: Tensor) -> Tensor:
        """Return outputs (n, d)."""

    @abstractmethod
    def with_jacobian(self, z: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield outputs (m, d) and their transposed Jacobians (m, k, d), of m codes at a time."""


def differentiable(decoder: nn.Module, scale: Tensor) -> Differentiable:
    """Return a decoder as a function of codes.

    Parameters
    ----------
    decoder : Module
        In evaluation mode.
    scale : Tensor of shape (n_components,)
        Standard deviations of codes, in the decoder's precision.

    Returns
    -------
    Differentiable
        Of perceptrons all of whose layers are affine or elementwise the derivative is exact, that
        of other networks consists of quotients of differences.
    """
    if isinstance(decoder, MLP):
        known = (nn.Linear, *_ELEMENTWISE)
        if all(isinstance(layer, known) for layer in decoder.layers):
            return _Perceptron(decoder.layers, scale.dtype)
    return _Other(decoder, scale)


@final
class _Perceptron(Differentiable):
    """A perceptron all of whose layers are affine or elementwise."""

    n_trials = 64

    def __init__(self, layers: nn.Sequential, dtype: torch.dtype) -> None:
        super().__init__(layers, dtype)
        self.layers = list(layers)
        # With each layer whether it is an affine one followed by the rectifier that it includes.
        pairs = zip(self.layers, [*self.layers[1:], None], strict=True)
        fused = [isinstance(a, nn.Linear) and isinstance(b, nn.ReLU) for a, b in pairs]
        done = [False, *fused[:-1]]
        self.steps = [
            (layer, relu)
            for layer, relu, skip in zip(self.layers, fused, done, strict=True)
            if not skip
        ]

    @property
    def is_wide(self) -> bool:
        """Whether a hidden layer is wide."""
        inner = [layer for layer in self.layers[:-1] if isinstance(layer, nn.Linear)]
        return max((layer.out_features for layer in inner), default=0) >= _WIDE

    def __call__(self, z: Tensor) -> Tensor:
        """Return outputs."""
        return torch.cat([self._output(block)[:n] for n, block in _filled(z, _N_CODES)])

    def with_jacobian(self, z: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield outputs and Jacobians."""
        for n, block in _filled(z, max(1, _N_CODES // z.shape[1])):
            output, tangent = self._derivative(block)
            yield output[:n], tangent[:n]

    def _output(self, z: Tensor) -> Tensor:
        """Return outputs for codes of one block."""
        for layer, relu in self.steps:
            if isinstance(layer, nn.Linear):
                z = linear_map(z, layer.weight, layer.bias, relu=relu)
            else:
                z = layer(z)
        return z

    def _derivative(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Return output and Jacobian, by forward derivatives of layer after layer."""
        n, k = z.shape
        tangent = torch.eye(k, dtype=z.dtype, device=z.device)
        for layer in self.layers:
            if isinstance(layer, nn.Linear):
                z = linear_map(z, layer.weight, layer.bias)
                tangent = linear_map(tangent, layer.weight, None)
            else:
                z, slope = _with_slope(layer, z)
                # Of rows on one another, so that the next product is one of matrices.
                tangent = (tangent.reshape(-1, k, z.shape[-1]) * slope.unsqueeze(-2)).flatten(0, 1)
        return z, tangent.reshape(-1, k, z.shape[-1]).expand(n, -1, -1)


@final
class _Other(Differentiable):
    """A network of any layers."""

    n_trials = 8

    def __init__(self, module: nn.Module, scale: Tensor) -> None:
        super().__init__(module, scale.dtype)
        self.scale = scale
        width = max_activation_size(module, len(scale))
        self.block = max(1, min(_N_CODES, _BLOCK_VALUES // width))

    @property
    def is_wide(self) -> bool:
        """Whether a weight is large."""
        return max((weight.numel() for weight in self.module.parameters()), default=0) >= _LARGE

    def __call__(self, z: Tensor) -> Tensor:
        """Return outputs."""
        return torch.cat([self.module(block) for block in torch.split(z, self.block)])

    def with_jacobian(self, z: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield outputs and quotients of differences."""
        step = torch.finfo(z.dtype).eps ** 0.5 * torch.maximum(z.abs(), self.scale)
        moved = z.unsqueeze(1) + torch.diag_embed(step)  # (n, k, k)
        # What was really added, after rounding.
        step = moved.diagonal(dim1=-2, dim2=-1) - z
        output = self(torch.cat([z, moved.flatten(0, 1)]))
        first, others = output[: len(z)], output[len(z) :].reshape(*moved.shape[:2], -1)
        yield first, (others - first.unsqueeze(1)) / step.unsqueeze(-1)


def _filled(z: Tensor, size: int) -> Iterator[tuple[int, Tensor]]:
    """Yield blocks of codes, filled up to one of few sizes, each with its number of codes."""
    for block in torch.split(z, size):
        n = len(block)
        whole = 1 << (n - 1).bit_length() if n < _PART else -(-n // _PART) * _PART
        padding = block.new_zeros(min(whole, size) - n, block.shape[1])
        yield n, torch.cat([block, padding]) if len(padding) > 0 else block


def _with_slope(layer: nn.Module, z: Tensor) -> tuple[Tensor, Tensor]:
    """Return an elementwise layer's values and derivatives."""
    if isinstance(layer, nn.ReLU):
        return z.relu(), (z > 0).to(z.dtype)
    with torch.enable_grad():
        z = z.detach().requires_grad_()
        value = layer(z)
        (slope,) = torch.autograd.grad(value.sum(), z)
    return value.detach(), slope
