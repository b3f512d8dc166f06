"""Standardised values of columns, as an encoder sees them."""

import math

import numpy as np

from skvim._float_errors import ignore_overflow
from skvim.tables._averages import Floats, finite

__all__ = ["mean_and_spread", "standardised"]

# Standard deviations beyond which only the logarithm of a value counts.
_LINEAR = 5.0


def mean_and_spread(x: Floats) -> tuple[float, float]:
    """Return mean and standard deviation of numbers, NaN where missing, of any size."""
    seen = x[~np.isnan(x)]
    # Powers of 2 change no digit, and numbers between -1 and 1 have squares that do not overflow.
    exponent = math.frexp(float(np.abs(seen).max()))[1]
    shares = np.ldexp(seen, -exponent)
    if np.ptp(shares) == 0:
        return float(seen[0]), 0.0
    mean, spread = float(shares.mean()), float(shares.std())
    return math.ldexp(mean, exponent), math.ldexp(spread, exponent)


def standardised(x: Floats, centre: float, spread: float) -> Floats:
    """Return (x − centre)/spread; beyond 5 in size it grows as 5 + log(size/5).

    Finite for all finite numbers, NaN for NaN.
    """
    with ignore_overflow():  # of numbers far beyond those of fit
        values = finite(finite(x / spread) - centre / spread)
    size = np.abs(values)
    far = size > _LINEAR
    values[far] = np.sign(values[far]) * (_LINEAR + np.log(size[far] / _LINEAR))
    return values
