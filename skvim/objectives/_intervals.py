"""Normal variables of which is known that they lie in an interval: probability and moments."""

import math

import torch
from torch import Tensor
from torch.special import erfc, erfcx

__all__ = ["interval_information", "interval_log_probability", "interval_mean_square"]

# No probability of a normal variable beyond it is representable.
_FAR = 1e4
# Below this width times 1 + the distance from the mean, the probability is the density at the
# middle times the width, with a relative error below 1e-8.
_NARROW = 0.05


def interval_log_probability(low: Tensor, high: Tensor) -> Tensor:
    """Return log(Φ(high) − Φ(low)) for low < high, exact in both tails and for narrow intervals.

    Parameters
    ----------
    low, high : Tensor of one shape
        Ends in units of the standard deviation, from the mean; they may be infinite.

    Returns
    -------
    Tensor of that shape
        In nats, differentiable.
    """
    low, high = low.clamp(-_FAR, _FAR), high.clamp(-_FAR, _FAR)
    # Φ(b) − Φ(a) = Φ(−a) − Φ(−b): take the tail whose logarithms are not rounded to 0.
    swap = low + high > 0
    low, high = torch.where(swap, -high, low), torch.where(swap, -low, high)
    middle, width = 0.5 * (low + high), high - low
    narrow = width * (1 + middle.abs()) < _NARROW
    # Each branch gets arguments for which its gradient is finite where the other is used.
    near = torch.where(narrow, width.clamp(min=torch.finfo(width.dtype).tiny), 1.0)
    centre = torch.where(narrow, middle, 0.0)
    correction = ((centre.square() - 1) * near.square() / 24).log1p()
    thin = _log_normal(centre) + near.log() + correction
    log_low = _log_probability_below(torch.where(narrow, -1.0, low))
    log_high = _log_probability_below(torch.where(narrow, 0.0, high))
    wide = log_high + (-(log_low - log_high).exp()).log1p()
    return torch.where(narrow, thin, wide)


def interval_mean_square(low: Tensor, high: Tensor) -> Tensor:
    """Return E[t²] of a standard normal t between low and high, of their shape.

    It is 1 − (high φ(high) − low φ(low))/(Φ(high) − Φ(low)); between the smallest and the largest
    square of the interval, whatever the rounding.
    """
    low, high = low.clamp(-_FAR, _FAR), high.clamp(-_FAR, _FAR)
    log_mass = interval_log_probability(low, high)
    upper = high * (_log_normal(high) - log_mass).exp()
    lower = low * (_log_normal(low) - log_mass).exp()
    squares = torch.stack([low.square(), high.square()])
    least = torch.where((low < 0) & (high > 0), 0.0, squares.amin(0))
    return (1 - (upper - lower)).clamp(least, squares.amax(0))


def interval_information(low: Tensor, high: Tensor) -> Tensor:
    """Return −d² log(Φ(high − μ) − Φ(low − μ))/dμ² at μ = 0, between 0 and 1."""
    low, high = low.clamp(-_FAR, _FAR), high.clamp(-_FAR, _FAR)
    log_mass = interval_log_probability(low, high)
    upper, lower = (_log_normal(high) - log_mass).exp(), (_log_normal(low) - log_mass).exp()
    exact = high * upper - low * lower + (upper - lower).square()
    # In narrow intervals all of it cancels.
    narrow = high - low < 1e-2
    return torch.where(narrow, 1.0, exact).clamp(0.0, 1.0)


def _log_normal(x: Tensor) -> Tensor:
    """Return the logarithm of the standard normal density."""
    return -0.5 * x.square() - 0.5 * math.log(2 * math.pi)


def _log_probability_below(x: Tensor) -> Tensor:
    """Return log Φ(x), as torch.special.log_ndtr does, which ``vmap`` runs row by row."""
    tail = (0.5 * erfcx(-x.clamp(max=0) / math.sqrt(2))).log() - 0.5 * x.clamp(max=0).square()
    bulk = (-0.5 * erfc(x.clamp(min=0) / math.sqrt(2))).log1p()
    return torch.where(x < 0, tail, bulk)
