"""Standardised values of columns, as an encoder sees them."""

import numpy as np

from skvim._float_errors import ignore_overflow
from skvim.tables._averages import Floats, finite

__all__ = ["mean_and_spread", "standardised"]

# Standard deviations beyond which only the logarithm of a value counts.
_LINEAR = 5.0


def mean_and_spread(x: Floats) -> tuple[float, float]:
    """Return mean and standard deviation of numbers, NaN where missing, of any size."""
    seen = x[~np.isnan(x)]
    largest = float(np.abs(seen).max())
    if largest == 0 or np.ptp(seen / largest) == 0:
        return float(seen[0]), 0.0
    shares = seen / largest
    return float(shares.mean() * largest), float(shares.std() * largest)


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
