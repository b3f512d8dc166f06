"""Decoding many codes a row, and the decoder's derivative by codes: as good as exact, and fast."""

import copy
from typing import final

import torch
from torch import Tensor

from skvim.objectives._autoencoder import Autoencoder
from skvim.objectives._differentiable import Differentiable, differentiable
from skvim.objectives._priors import Prior

__all__ = ["Decoding", "values_of_draws"]

# Greatest error of outputs by rounding in float32, in standard deviations of the likelihood.
_ROUNDING = 1e-3
# Numbers of a block of outputs: they stay in the processor's cache.
_BLOCK_VALUES = 2**17


@final
class Decoding:
    """A decoder as a map of codes in float64, with its derivative.

    Products of a wide network are computed in float32 if its outputs, for codes drawn from the
    prior, are then as good as exact: the root mean square of their errors is below 1e-3 standard
    deviations of the likelihood. The choice is the model's, not that of the rows.

    Parameters
    ----------
    model : Autoencoder
        In evaluation mode, in float64 or float32.
    prior : Prior
        p(z).
    n_components : int
        Number of latent dimensions.
    """

    def __init__(self, model: Autoencoder, prior: Prior, n_components: int) -> None:
        self.model = model
        scale = torch.as_tensor(prior.variances).to(model.mean).sqrt().expand(n_components)
        self.exact = self.network = differentiable(model.decoder, scale)
        if model.output_offset.dtype == torch.float32 or not self.exact.is_wide:
            return
        self.network = differentiable(copy.deepcopy(model.decoder).float(), scale.float())
        generator = torch.Generator().manual_seed(0)
        codes = prior.draw((self.exact.n_trials, n_components), generator, torch.float64)
        if not _rounding(self, codes.to(model.mean.device)) < _ROUNDING:
            self.network = self.exact

    def __call__(self, z: Tensor) -> Tensor:
        """Return the likelihood's parameters for codes: (..., n_components) to (..., n_outputs)."""
        flat = z.reshape(-1, z.shape[-1])
        output = self.network(flat.to(self.network.dtype))
        if not _is_finite(output):  # numbers that float32 does not hold
            output = self.exact(flat)
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
        output, jacobian = self._derivative(self.network, z)
        if not _is_finite(output):
            output, jacobian = self._derivative(self.exact, z)
        return self._output(output), jacobian

    def _derivative(self, network: Differentiable, z: Tensor) -> tuple[Tensor, Tensor]:
        """Return the network's output, and the derivative of the likelihood's parameters."""
        n_outputs = self.model.output_offset.numel()
        output, jacobian = z.new_empty(len(z), n_outputs), z.new_empty(*z.shape, n_outputs)
        start = 0
        for outputs, part in network.with_jacobian(z.to(network.dtype)):
            block = slice(start, start + len(outputs))
            output[block], jacobian[block] = outputs, part
            jacobian[block].mul_(self.model.output_scale)
            start += len(outputs)
        return output, jacobian

    def log_likelihood(self, x: Tensor, z: Tensor) -> Tensor:
        """Return log p(x|z) for rows (n, d) and codes (n, n_codes, k), of some rows at a time."""
        n_outputs = z.shape[1] * self.model.output_offset.numel()
        size = max(1, _BLOCK_VALUES // n_outputs)
        blocks = zip(torch.split(x, size), torch.split(z, size), strict=True)
        likelihood = self.model.likelihood
        return torch.cat([likelihood.evaluate(rows.unsqueeze(1), self(of)) for rows, of in blocks])

    def _output(self, output: Tensor) -> Tensor:
        """Return what the network gives in the units of the likelihood's parameters."""
        model = self.model
        offset: Tensor = model.output_offset
        return torch.addcmul(offset, output.to(offset.dtype), model.output_scale)


def _is_finite(output: Tensor) -> bool:
    """Return whether all values are finite; False too where their sum is not."""
    return bool(output.sum().isfinite())


def _rounding(decoding: "Decoding", z: Tensor) -> float:
    """Return the root mean square of errors of outputs, in the likelihood's standard deviations."""
    model = decoding.model
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
        Codes of draws, or the Jacobian. Codes are decoded some at a time, and of the outputs of
        draws the densities alone are kept.
    """
    return max(width, n_components * max(n_draws, model.output_offset.numel()))
