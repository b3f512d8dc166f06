"""Decoding many codes a row, and the decoder's derivative by codes: exact, and fast for MLPs."""

import copy
from collections.abc import Callable
from typing import final

import torch
from torch import Tensor, nn
from torch.func import jacrev, vjp, vmap

from skvim.networks import ACTIVATIONS, MLP, Dropout
from skvim.objectives._autoencoder import Autoencoder
from skvim.objectives._priors import Prior

__all__ = ["Decoding", "by_blocks", "layers_of", "values_of_draws"]

# Layers without mixing of units, in evaluation mode.
_ELEMENTWISE = (*ACTIVATIONS.values(), nn.BatchNorm1d, Dropout)
# Codes that pass a network at once: their activations stay in the processor's cache.
_N_CODES = 2048
# Least width of a hidden layer for which products take most of the time.
_WIDE = 128
# Greatest error of outputs by rounding in float32, in standard deviations of the likelihood.
_ROUNDING = 1e-3
_N_TRIALS = 64


@final
class Decoding:
    """A decoder as a map of codes in float64, with its derivative.

    Products of a wide multilayer perceptron are computed in float32 if its outputs, for codes drawn
    from the prior, are then as good as exact: the root mean square of their errors is below 1e-3
    standard deviations of the likelihood. The choice is the model's, not that of the rows.

    Parameters
    ----------
    model : Autoencoder
        In evaluation mode, in float64 or float32.
    prior : Prior
        p(z).
    """

    def __init__(self, model: Autoencoder, prior: Prior, n_components: int) -> None:
        self.model = model
        self.exact = self.layers = layers_of(model.decoder)
        if self.layers is None or model.output_offset.dtype == torch.float32:
            return
        inner = [
            layer.out_features for layer in list(self.layers)[:-1] if isinstance(layer, nn.Linear)
        ]
        if max(inner, default=0) < _WIDE:
            return
        self.layers = copy.deepcopy(self.layers).float()
        generator = torch.Generator().manual_seed(0)
        codes = prior.draw((_N_TRIALS, n_components), generator, torch.float64)
        if not _rounding(model, self, codes.to(model.mean.device)) < _ROUNDING:
            self.layers = self.exact

    def __call__(self, z: Tensor) -> Tensor:
        """Return the likelihood's parameters for codes: (..., n_components) to (..., n_outputs)."""
        if self.layers is None:
            return self.model.decode(z)
        flat = z.reshape(-1, z.shape[-1])
        output = by_blocks(self.layers, flat.to(_dtype(self.layers)), _N_CODES)
        if not bool(output.isfinite().all()):  # numbers that float32 does not hold
            return self.model.decode(z)
        return self._output(output).reshape(*z.shape[:-1], output.shape[-1])

    def with_jacobian(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Return outputs and their derivative by codes, transposed.

        Parameters
        ----------
        z : Tensor of shape (n, n_components)
            Codes.

        Returns
        -------
        output, jacobian : Tensor of shape (n, n_outputs), (n, n_components, n_outputs)
            Both in the precision of ``z``.
        """
        if self.layers is None or self.exact is None:
            return self.model.decode(z), vmap(self._pulled_back)(z)
        output, tangent = _forward(self.layers, z)
        if not bool(output.isfinite().all()):
            output, tangent = _forward(self.exact, z)
        return self._output(output), tangent.to(z.dtype) * self.model.output_scale

    def _output(self, output: Tensor) -> Tensor:
        """Return what the network gives in the units of the likelihood's parameters."""
        model = self.model
        offset: Tensor = model.output_offset
        return torch.addcmul(offset, output.to(offset.dtype), model.output_scale)

    def _pulled_back(self, z: Tensor) -> Tensor:
        """Return the decoder's Jacobian at one code, transposed: (n_components, n_outputs).

        The pull-back u ↦ Jᵀu is linear in u, so differentiating it gives Jᵀ in as many reverse
        passes as there are latent dimensions. Forward mode would do too, but torch's is not safe in
        threads.
        """
        output, pull_back = vjp(self.model.decode, z)  # type: ignore[misc]  # two, without has_aux
        jacobian: Tensor = jacrev(lambda u: pull_back(u)[0])(torch.zeros_like(output))
        return jacobian


def layers_of(decoder: nn.Module) -> nn.Sequential | None:
    """Return the layers of a perceptron all of whose layers are affine or elementwise, or None."""
    if not isinstance(decoder, MLP):
        return None
    known = (nn.Linear, *_ELEMENTWISE)
    return decoder.layers if all(isinstance(layer, known) for layer in decoder.layers) else None


def _rounding(model: Autoencoder, decoding: "Decoding", z: Tensor) -> float:
    """Return the root mean square of errors of outputs, in the likelihood's standard deviations."""
    exact = model.decode(z).detach()
    square = (decoding(z).detach() - exact).square() * model.likelihood.precision(exact)
    return float(square.sum(-1).mean().sqrt())


def values_of_draws(model: Autoencoder, width: int, n_draws: int, n_components: int) -> int:
    """Return the size of the largest intermediate result for one row with draws.

    Parameters
    ----------
    model : Autoencoder
        Whose decoder gets all draws, or all columns of a Jacobian, of a row.
    width : int
        Size of the largest intermediate result of the networks for one row.
    n_draws, n_components : int
        Number of draws, and of latent dimensions.

    Returns
    -------
    int
        Multilayer perceptrons, which get some draws at a time, need not hold their activations.
    """
    if layers_of(model.decoder) is None:
        return width * max(n_draws, n_components)
    return max(n_draws * max(n_components, model.output_offset.numel()), n_components * width)


def by_blocks(function: Callable[[Tensor], Tensor], x: Tensor, size: int) -> Tensor:
    """Return a function of rows, (n, d) → (n, ...), computed for a number of them at a time."""
    if len(x) <= size:
        return function(x)
    return torch.cat([function(part) for part in torch.split(x, size)])


def _dtype(layers: nn.Sequential) -> torch.dtype:
    """Return the precision of a network."""
    return next(layers.parameters()).dtype


def _forward(layers: nn.Sequential, z: Tensor) -> tuple[Tensor, Tensor]:
    """Return output and transposed Jacobian for codes (n, k), some of them at a time."""
    parts = torch.split(z.to(_dtype(layers)), max(1, _N_CODES // z.shape[-1]))
    output, tangent = zip(*(_derivative(layers, part) for part in parts), strict=True)
    return torch.cat(output), torch.cat(tangent)


def _derivative(layers: nn.Sequential, z: Tensor) -> tuple[Tensor, Tensor]:
    """Return output and transposed Jacobian, by forward derivatives of layer after layer."""
    n, k = z.shape
    tangent = torch.eye(k, dtype=z.dtype, device=z.device)
    for layer in layers:
        if isinstance(layer, nn.Linear):
            z, tangent = layer(z), tangent @ layer.weight.mT
        else:
            z, slope = _with_slope(layer, z)
            # Of rows on one another, so that the next product is one of matrices.
            tangent = (tangent.reshape(-1, k, z.shape[-1]) * slope.unsqueeze(-2)).flatten(0, 1)
    return z, tangent.reshape(-1, k, z.shape[-1]).expand(n, -1, -1)


def _with_slope(layer: nn.Module, z: Tensor) -> tuple[Tensor, Tensor]:
    """Return an elementwise layer's values and derivatives."""
    with torch.enable_grad():
        z = z.detach().requires_grad_()
        value = layer(z)
        (slope,) = torch.autograd.grad(value.sum(), z)
    return value.detach(), slope
