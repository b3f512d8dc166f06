"""Split normal distributions: two half-normals that meet at the mode, one of them wider."""

import math

import torch
from torch import Tensor

__all__ = ["split_normal"]

_LOG_ROOT = 0.5 * math.log(2 * math.pi)


def split_normal(noise: Tensor, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
    """Return draws with mode 0 and their log-density.

    Parameters
    ----------
    noise : Tensor of shape (..., k)
        Standard normal draws.
    low, high : Tensor of shape (..., k)
        Positive standard deviations of the halves below and above 0.

    Returns
    -------
    draws : Tensor of shape (..., k)
        Of the same rank as the noise in every entry; the noise itself where both are 1.
    log_density : Tensor of shape (...)
        In nats, summed over entries.

    Notes
    -----
    The density of an entry is continuous: 2/(low + high) times the standard normal density at u/low
    below 0 and at u/high above.
    """
    total = low + high
    rank = _normal_rank(noise)
    below = rank * total < low
    # The rank within the half, as that of a normal distribution, on the side where it is small.
    tail = torch.where(below, rank * total / low, _normal_rank(-noise) * total / high) / 2
    least = torch.finfo(noise.dtype).tiny
    size = -torch.special.ndtri(tail.clamp(min=least, max=0.5))
    draws = torch.where(below, -low, high) * size
    log_density = math.log(2) - total.log() - 0.5 * size.square() - _LOG_ROOT
    return draws, log_density.sum(-1)


def _normal_rank(x: Tensor) -> Tensor:
    """Return the normal distribution function; torch.special.ndtr is 0 below −8.3."""
    rank: Tensor = 0.5 * torch.special.erfc(-math.sqrt(0.5) * x)
    return rank
