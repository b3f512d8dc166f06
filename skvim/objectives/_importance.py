"""Importance sampling with a Laplace proposal for each row, and log-means of weights."""

import math
from typing import NamedTuple, final

import torch
from torch import Tensor

from skvim.objectives._autoencoder import Autoencoder
from skvim.objectives._decoding import Decoding
from skvim.objectives._laplace import laplace_proposal
from skvim.objectives._priors import Prior
from skvim.objectives._split_normal import split_normal
from skvim.objectives._support import SupportTransform

# Of the possible bias where few weights dominate; see log_mean.
_BIAS = 2.0

__all__ = [
    "ImportanceSampler",
    "LogMean",
    "importance_draws",
    "importance_log_weights",
    "log_mean",
]


class LogMean(NamedTuple):
    """The logarithm of a mean of independent weights, for every row.

    Attributes
    ----------
    value : Tensor of shape (n,)
        log mean_j w_j.
    error : Tensor of shape (n,)
        Its standard error by the delta method, that of mean_j w_j over mean_j w_j: NaN for one
        weight, and never above 1, which heavy tails would exceed.
    effective : Tensor of shape (n,)
        (Σ w_j)²/Σ w_j², between 1 and the number of weights.
    bias : Tensor of shape (n,)
        What the value may be too low by, beyond its error: 0 where ``effective`` is at least half
        the number of weights, and for one weight.
    relative : Tensor of shape (n, n_weights)
        w_j over their mean.
    """

    value: Tensor
    error: Tensor
    effective: Tensor
    bias: Tensor
    relative: Tensor


def log_mean(log_weights: Tensor) -> LogMean:
    """Return the logarithm of the mean of weights along the last axis, with its error.

    Parameters
    ----------
    log_weights : Tensor of shape (n, n_weights)
        log w_j, independent of one another within a row.

    Returns
    -------
    LogMean
        In nats.

    Notes
    -----
    Where few of n weights dominate, their sample says little of how large others may be. With n_e
    effective weights the bias is taken as 2 (log n/n_e − log 2)/(n_e − 1)^⅔, but not more than the
    value is above the median log-weight. The logarithm of n/n_e is the variance of log-weights that
    are normal; the exponent and the factor are those with which intervals of ±1.96 (error + bias)
    held 88 to 99 % of log p(x) in models of digits and tables with 8 and 16 latent dimensions, with
    100 and with 1,000 draws from Laplace approximations, where ±1.96 errors held 50 to 95 %.

    Examples
    --------
    >>> import torch
    >>> from skvim.objectives import log_mean
    >>> mean = log_mean(torch.tensor([[1.0, 3.0]]).log())
    >>> mean.value.exp(), mean.error, mean.effective
    (tensor([2.]), tensor([0.5000]), tensor([1.6000]))
    """
    n_weights = log_weights.shape[-1]
    value = log_weights.logsumexp(-1) - math.log(n_weights)
    relative = (log_weights - value.unsqueeze(-1)).exp()
    # In tensors, one weight gives 0/0, NaN.
    degrees = value.new_tensor(n_weights * (n_weights - 1.0))
    error = ((relative - 1).square().sum(-1) / degrees).sqrt()
    effective = n_weights / relative.square().mean(-1)
    bias = _possible_bias(effective, n_weights, value - log_weights.median(-1).values)
    return LogMean(value, error, effective, bias, relative)


def _possible_bias(effective: Tensor, n_weights: int, gap: Tensor) -> Tensor:
    """Return what a log-mean may be too low by, given its gap to the median log-weight."""
    spread = (n_weights / effective).log() - math.log(2)
    others = (effective - 1).clamp(min=torch.finfo(effective.dtype).eps)
    bias = torch.minimum(_BIAS * spread / others ** (2 / 3), gap.clamp(min=0))
    return torch.where(spread > 0, bias, 0.0)


def importance_log_weights(model: Autoencoder, prior: Prior, x: Tensor, noise: Tensor) -> Tensor:
    """Return the log-weights of importance sampling, in nats; weights have mean p(x).

    Parameters and distributions are those of ``importance_draws``.

    Returns
    -------
    Tensor of shape (n, n_draws)
        log p(x|z_j) p(z_j)/r(z_j|x).
    """
    return importance_draws(model, prior, x, noise)[1]


def importance_draws(
    model: Autoencoder, prior: Prior, x: Tensor, noise: Tensor
) -> tuple[Tensor, Tensor]:
    """Return codes drawn from a proposal for every row, and their log-weights for p(z|x).

    Parameters
    ----------
    model : Autoencoder
        In evaluation mode, in the precision of ``x``.
    prior : Prior
        p(z).
    x : Tensor of shape (n, n_features)
        Rows.
    noise : Tensor of shape (n_draws, n_components)
        Standard normal draws shared by all rows, so that a row's estimate does not depend on the
        others.

    Returns
    -------
    codes : Tensor of shape (n, n_draws, n_components)
        z_j ~ r, the Laplace proposal with standard deviations of its own on either side of each
        axis: gaussian halves in coordinates without bounds, so that no draw leaves the prior's
        support.
    log_weights : Tensor of shape (n, n_draws)
        log p(x|z_j) p(z_j)/r(z_j|x) in nats.
    """
    return ImportanceSampler(model, prior, noise)(x)


@final
class ImportanceSampler:
    """Sampler of codes and their log-weights for rows of one model, by importance sampling."""

    def __init__(self, model: Autoencoder, prior: Prior, noise: Tensor) -> None:
        self.prior, self.noise = prior, noise.to(model.mean.device)
        self.transform = SupportTransform(prior, self.noise)
        self.decoding = Decoding(model, prior, noise.shape[-1])

    def __call__(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return codes and log-weights for rows (n, n_features)."""
        transform, noise = self.transform, self.noise
        centre, factor, low, high = laplace_proposal(self.decoding, self.prior, x, transform)
        draws, log_density = split_normal(noise, low.unsqueeze(1), high.unsqueeze(1))
        # Λ = L Lᵀ, so L⁻ᵀ ε has covariance Λ⁻¹.
        spread = torch.linalg.solve_triangular(factor.mT, draws.mT, upper=True)  # (n, k, n_draws)
        y = centre.unsqueeze(1) + spread.mT  # (n, n_draws, k)
        log_volume = factor.diagonal(dim1=-2, dim2=-1).log().sum(-1, keepdim=True)  # (n, 1)
        log_proposal = log_volume + log_density
        codes = transform(y)
        log_weights = self.decoding.log_likelihood(x, codes) + transform.log_density(self.prior, y)
        return codes, log_weights - log_proposal
