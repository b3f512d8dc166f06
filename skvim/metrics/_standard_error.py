"""Standard error of a mean of independent values."""

import math

import numpy as np
from numpy.typing import NDArray

__all__ = ["standard_error"]


def standard_error(values: NDArray[np.float64]) -> float:
    """Return the standard error of the mean; NaN for a single value."""
    return float(values.std(ddof=1)) / math.sqrt(len(values)) if len(values) > 1 else math.nan
