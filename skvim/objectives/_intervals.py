"""Normal variables of which is known that they lie in an interval: probability and moments."""

import math

import torch
from torch import Tensor
from torch.special import erf, erfcx

__all__ = [
    "interval_information",
    "interval_log_probability",
    "interval_mean_square",
    "log_probability_by_size",
]

# No probability of a normal variable beyond it is representable.
_FAR = 1e4
# Below this width times 1 + the distance from the mean, the probability is the density at the
# middle times the width, with a relative error below 1e-8.
_NARROW = 0.05
_ROOT = math.sqrt(0.5)
# Share of its precision that a difference of two values of the error function has to keep.
_CANCELLED = 1e6


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
    wide = _log_of_wide(torch.where(narrow, -2.0, low), torch.where(narrow, -1.0, high))
    return torch.where(narrow, thin, wide)


def log_probability_by_size(low: Tensor, high: Tensor) -> Tensor:
    """Return the same, fast where probabilities are not small: not for captured steps or vmap."""
    share = 0.5 * (erf(high * _ROOT) - erf(low * _ROOT))
    small = share < _CANCELLED * torch.finfo(share.dtype).eps
    if not bool(small.any()):
        result: Tensor = share.log()
        return result
    result = share.masked_fill(small, 1.0).log()
    return result.masked_scatter(small, interval_log_probability(low[small], high[small]))


def _log_of_wide(low: Tensor, high: Tensor) -> Tensor:
    """Return log(Φ(high) − Φ(low)) of intervals, not narrow ones, with low + high ≤ 0.

    With erfc(t) = exp(−t²) erfcx(t), u = abs(high)/√2 and v = −low/√2 it is the logarithm of
    ½ exp(−u²) (erfcx(u) − exp(u² − v²) erfcx(v)) below the mean, and of 1 − ½ (erfc(u) + erfc(v))
    around it.
    """
    above = high > 0
    near, far = 0.5 * high.square(), 0.5 * low.square()  # u², v²
    first, second = erfcx(high.abs() * _ROOT), erfcx(-low * _ROOT)
    tails = (-near).exp() * first + (-far).exp() * second
    part = first - (near - far).exp() * second
    share = torch.where(above, -0.5 * tails, 0.5 * part - 1)
    return share.log1p() - torch.where(above, 0.0, near)


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
