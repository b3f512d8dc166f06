"""Differences of which all numbers of a column are multiples."""

from typing import Any

import numpy as np

from skvim._float_errors import ignore_overflow
from skvim.tables._averages import Floats

__all__ = ["Lattice", "check_lattice", "find_lattice", "lattice_points", "snap"]

#: (offset, step, decimals): the numbers (offset + step · k) / 10^decimals, k an integer.
Lattice = tuple[int, int, int]

_DECIMALS = range(11)
_LARGEST = 2**52
_ROUNDED = 0.05


def find_lattice(values: Floats, relative: float) -> Lattice | None:
    """Return the coarsest lattice of decimal numbers with all values on it, or None.

    Parameters
    ----------
    values : ndarray of shape (n,)
        Different finite numbers, at least 2.
    relative : float
        Relative rounding error of the values.
    """
    for decimals in _DECIMALS:
        with ignore_overflow():
            scaled = values * 10.0**decimals
        largest = np.abs(scaled).max()
        if largest > _LARGEST or 4 * relative * largest > _ROUNDED:
            return None  # every number is an integer within its rounding error
        nearest = np.rint(scaled)
        if (np.abs(scaled - nearest) <= 4 * relative * np.abs(scaled)).all():
            whole = nearest.astype(np.int64)
            step = int(np.gcd.reduce(whole - whole[0]))
            return (int(whole[0]), step, decimals) if step > 0 else None
    return None


def lattice_points(lattice: Lattice, low: float, high: float, most: int) -> Floats | None:
    """Return all points from low to high, which are two of them, or None if more than ``most``."""
    _, step, decimals = lattice
    first, last = (round(end * 10**decimals) for end in (low, high))
    n_points = (last - first) // step + 1
    if n_points > most:
        return None
    whole = first + step * np.arange(n_points, dtype=np.int64)
    return np.asarray(whole / 10.0**decimals)


def snap(x: Floats, lattice: Lattice | None) -> Floats:
    """Return the points of a lattice nearest to finite x."""
    if lattice is None:
        return x
    offset, step, decimals = lattice
    with ignore_overflow():
        scaled = x * 10.0**decimals
    near = np.abs(scaled) < _LARGEST  # others have no digits after the point
    whole = offset + step * np.rint((np.where(near, scaled, 0.0) - offset) / step)
    return np.where(near, whole / 10.0**decimals, x)


def check_lattice(lattice: Any) -> None:
    """Raise ``ValueError`` for what is no lattice."""
    if lattice is None:
        return
    if type(lattice) is not tuple or [type(number) for number in lattice] != [int] * 3:
        raise ValueError("a lattice is three ints.")
    offset, step, decimals = lattice
    if abs(offset) > _LARGEST or not 0 < step <= 2 * _LARGEST or decimals not in _DECIMALS:
        raise ValueError("a number of a lattice is out of range.")
