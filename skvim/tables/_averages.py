"""Expectations under a normal distribution, for many means at once."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline

from skvim._float_errors import ignore_overflow

__all__ = ["Floats", "finite", "smooth_in_mean"]

Floats = NDArray[np.float64]

_PER_SCALE = 8  # points of the table per standard deviation: errors of a cubic stay below 1e-4
_CELLS = 2**20  # numbers that a block of the computation may hold


def smooth_in_mean(
    expectation: Callable[[Floats], Floats], mu: Floats, sigma: float, n_columns: int
) -> Floats:
    """Return f(μ) = E[h(μ + σ ε)] for each μ, from a table where this takes fewer evaluations.

    Parameters
    ----------
    expectation : callable
        It maps means (m,) to expectations (m,) or (m, k).
    mu : ndarray of shape (n,)
        Means.
    sigma : float
        The standard deviation, on whose scale f is smooth.
    n_columns : int
        Numbers that ``expectation`` computes with for each mean.
    """
    if not len(mu):
        return expectation(mu)
    low, high = float(mu.min()), float(mu.max())
    n_points = _PER_SCALE * (high - low) / sigma + 4
    if not n_points < len(mu):
        return _in_blocks(expectation, mu, n_columns)
    points = np.linspace(low, high, max(int(n_points), 8))
    if not points[1] > points[0]:
        return np.repeat(expectation(points[:1]), len(mu), axis=0)
    with ignore_overflow():
        found = CubicSpline(points, _in_blocks(expectation, points, n_columns))(mu)
    return finite(found)


def _in_blocks(expectation: Callable[[Floats], Floats], mu: Floats, n_columns: int) -> Floats:
    """Compute block by block, in bounded memory."""
    n_rows = max(1, _CELLS // n_columns)
    blocks = [expectation(mu[i : i + n_rows]) for i in range(0, len(mu), n_rows)]
    return np.concatenate(blocks)


def finite(x: Floats) -> Floats:
    """Return numbers with the largest floats in the place of infinite ones."""
    largest = np.finfo(np.float64).max
    return np.asarray(np.clip(x, -largest, largest))
