"""Standard error of a mean of independent values."""

import math

import numpy as np
from numpy.typing import NDArray

from skvim._validation import largest

__all__ = ["standard_error"]


def standard_error(values: NDArray[np.float64]) -> float:
    """Return the standard error of the mean; NaN for a single value."""
    if len(values) < 2:
        return math.nan
    # Squares of very large or small values would leave the range of float64.
    _, exponent = math.frexp(largest(values))
    scaled = np.ldexp(values, -exponent)
    return math.ldexp(float(scaled.std(ddof=1)) / math.sqrt(len(values)), exponent)
