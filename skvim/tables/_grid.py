"""Numbers of a grid as intervals of a normal distribution."""

from typing import final

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from skvim._float_errors import ignore_overflow
from skvim._values import ByValue
from skvim.tables._averages import Floats, finite, smooth_in_mean

__all__ = ["Grid", "positions"]

_FURTHEST = 1e15  # as that of continuous columns
_LEAST_RISE = 1e-5  # from one cut to the next: 20 times the resolution of float32 near 4
_MOST_STEPS = 100  # of the grid beyond an end, that are summed one by one


@final
class Grid(ByValue):
    """The values of a grid, each with an interval [G(v − h/2), G(v + h/2)] of y.

    G is piecewise linear through the edges between neighbouring values. Beyond the values seen the
    grid goes on with equal steps and G with its first or last slope, unless the end is closed:
    then there are no values beyond it, and its interval is unbounded.

    Parameters
    ----------
    values : ndarray of shape (n_values,)
        Increasing; at least 2.
    cuts : ndarray of shape (n_values + 1,)
        G at the edges; increasing.
    middles : ndarray of shape (n_values,)
        The y of each value, between its cuts.
    step : float
        Difference of neighbouring values beyond the ends.
    closed : tuple of two bools
        Whether the lower and the upper end are closed.
    """

    def __init__(
        self,
        values: Floats,
        cuts: Floats,
        middles: Floats,
        step: float,
        closed: tuple[bool, bool],
    ) -> None:
        self.values = values
        self.cuts = cuts
        self.middles = middles
        self.step = step
        self.closed = closed

    @classmethod
    def fit(cls, values: Floats, counts: Floats, step: float, closed: tuple[bool, bool]) -> "Grid":
        """Fit increasing values with positive counts, which may include pseudo-counts."""
        total = counts.sum()
        spare = 0.5 / (total + 1)  # share of all values beyond each end
        shares = spare + (1 - 2 * spare) * np.concatenate([[0.0], np.cumsum(counts) / total])
        shares[-1] = 1 - spare
        cuts = _increasing(ndtri(shares))
        outer = np.array([0.0 if closed[0] else shares[0], 1.0 if closed[1] else shares[-1]])
        inner = np.concatenate([outer[:1], shares[1:-1], outer[1:]])
        middles = np.clip(ndtri((inner[1:] + inner[:-1]) / 2), cuts[:-1], cuts[1:])
        return cls(values, cuts, middles, step, closed)

    def check(self) -> None:
        """Raise ``ValueError`` unless values and cuts increase strictly."""
        n_values = len(self.values)
        sizes = self.values.shape, self.cuts.shape, self.middles.shape
        arrays = (self.values, self.cuts, self.middles)
        if sizes != ((n_values,), (n_values + 1,), (n_values,)) or n_values < 2:
            raise ValueError("a grid has one cut more than values, and at least 2 of these.")
        if any(a.dtype != np.float64 or not np.isfinite(a).all() for a in arrays):
            raise ValueError("a grid has finite float64 values.")
        if not (np.diff(self.values) > 0).all() or not (np.diff(self.cuts) > 0).all():
            raise ValueError("values and cuts of a grid must increase strictly.")
        if not (self.cuts[:-1] <= self.middles).all() or not (self.middles <= self.cuts[1:]).all():
            raise ValueError("y of a grid must lie between its cuts.")
        if type(self.step) is not float or type(self.closed) is not tuple:
            raise TypeError("a grid has a step and two ends.")
        if not 0 < self.step < np.inf or [type(end) for end in self.closed] != [bool, bool]:
            raise ValueError("a grid has a positive step and two ends.")

    @property
    def _edges(self) -> Floats:
        """Edges between the values, and beyond the first and the last."""
        half = self.step / 2
        between = self.values[:-1] / 2 + self.values[1:] / 2
        return np.concatenate([[self.values[0] - half], between, [self.values[-1] + half]])

    @property
    def _steps(self) -> tuple[float, float]:
        """Lengths in y of one step of the grid below and above the values."""
        return float(self.cuts[1] - self.cuts[0]), float(self.cuts[-1] - self.cuts[-2])

    def forward(self, x: Floats) -> tuple[Floats, Floats, Floats]:
        """Return y, low and high of the grid's values nearest to finite x (n,)."""
        inner = np.searchsorted(self._edges[1:-1], x, side="right")
        y, low, high = self.middles[inner], self.cuts[inner], self.cuts[inner + 1]
        for end, sign in ((0, -1), (-1, 1)):
            if self.closed[end]:
                continue
            # Steps beyond the end, as many as keep y finite in float32.
            length = self._steps[end]
            with ignore_overflow():
                beyond = np.rint(sign * (x * 0.5 - self.values[end] * 0.5) / (self.step * 0.5))
            beyond = np.clip(beyond, 0.0, _FURTHEST / max(length, 1.0))
            out = beyond > 0
            near = self.cuts[end] + sign * length * (beyond - 1)
            far = near + sign * length
            y = np.where(out, (near + far) / 2, y)
            low = np.where(out, np.minimum(near, far), low)
            high = np.where(out, np.maximum(near, far), high)
        low = np.where(self.closed[0] & (inner == 0), -np.inf, low)
        return y, low, np.where(self.closed[1] & (inner == len(self.values) - 1), np.inf, high)

    def inverse(self, y: Floats) -> Floats:
        """Return the value in whose interval y lies."""
        x = self.values[np.searchsorted(self.cuts[1:-1], y, side="right")]
        for end, sign in ((0, -1), (-1, 1)):
            if not self.closed[end]:
                beyond = np.ceil(sign * (y - self.cuts[end]) / self._steps[end])
                with ignore_overflow():
                    out = self.values[end] + sign * self.step * beyond
                x = np.where(beyond > 0, out, x)
        return finite(x)

    def mean(self, mu: Floats, sigma: float) -> Floats:
        """Return E[x] of y ~ N(μ, σ²) for each μ (n,)."""

        def expectation(means: Floats) -> Floats:
            below = ndtr((self.cuts[1:-1] - means[:, None]) / sigma)
            x = np.diff(below, axis=1, prepend=0.0, append=1.0) @ self.values
            for end, sign in ((0, -1), (-1, 1)):
                if not self.closed[end]:
                    distance = sign * (means - self.cuts[end])
                    with ignore_overflow():
                        x = x + sign * self.step * _mean_steps(distance, sigma, self._steps[end])
            return finite(x)

        return smooth_in_mean(expectation, mu, sigma, max(len(self.values), _MOST_STEPS))

    def probabilities(self, mu: Floats, sigma: float) -> Floats:
        """Return the probability of each value, (n, n_values), of a grid with closed ends."""
        cuts = np.concatenate([[-np.inf], self.cuts[1:-1], [np.inf]])

        def expectation(means: Floats) -> Floats:
            return np.asarray(np.diff(ndtr((cuts - means[:, None]) / sigma), axis=1))

        found = smooth_in_mean(expectation, mu, sigma, len(cuts))
        found = np.clip(found, 0.0, 1.0)
        return np.asarray(found / found.sum(axis=1, keepdims=True))


def _mean_steps(distance: Floats, sigma: float, length: float) -> Floats:
    """Return E[number of steps beyond an end], at a distance of the mean from it.

    Parameters
    ----------
    distance : ndarray of shape (n,)
        How far the mean lies beyond the end, in y.
    sigma, length : float
        Standard deviation, and length of a step, in y.
    """
    standard = distance / sigma
    if length * _MOST_STEPS / 2 < 8 * sigma:  # many steps: a line through their middles
        density = np.exp(-0.5 * np.clip(standard, -40, 40) ** 2) / np.sqrt(2 * np.pi)
        excess = sigma * density + distance * ndtr(standard)
        return np.asarray(np.maximum(excess, 0.0) / length + 0.5 * ndtr(standard))
    # Steps that lie more than 8 sigma below the mean are taken for certain.
    certain = np.maximum(np.floor((distance - 8 * sigma) / length), 0.0)
    steps = certain[:, None] + np.arange(_MOST_STEPS)
    return np.asarray(certain + ndtr((distance[:, None] - steps * length) / sigma).sum(axis=1))


def _increasing(cuts: Floats) -> Floats:
    """Return cuts that increase, also in float32, the nearest ones above given ones."""
    rise = min(_LEAST_RISE, 0.1 / len(cuts)) * np.arange(len(cuts))
    lifted: Floats = np.maximum.accumulate(cuts - rise)
    return lifted + rise


def positions(values: Floats, x: Floats) -> NDArray[np.intp]:
    """Return the position of each x among increasing values, −1 where it is none of them.

    A number and the nearest one in float32 are taken for the same.
    """
    after = np.clip(np.searchsorted(values, x), 0, len(values) - 1)
    before = np.maximum(after - 1, 0)
    found = np.full(len(x), -1, dtype=np.intp)
    with ignore_overflow():
        for at in (before, after):
            value = values[at]
            short = (value.astype(np.float32) == x) | (value == x.astype(np.float32))
            found = np.where((value == x) | (short & (value != np.rint(value))), at, found)
    return found
