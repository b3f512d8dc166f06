"""Strictly increasing smooth maps of numbers to normal scores, with exact derivative and inverse.

Between knots the map is the monotone rational quadratic spline of Gregory and Delbourgo (1982,
IMA Journal of Numerical Analysis 2), whose inverse is the root of a quadratic equation; beyond the
first and the last knot it is linear.
"""

from typing import final

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from skvim._float_errors import ignore_overflow
from skvim._values import ByValue
from skvim.tables._averages import Floats, finite, smooth_in_mean

__all__ = ["Smooth"]

# Numbers of knots to choose among; none is an affine map.
_KNOTS = (0, 4, 8, 16, 32)
_LEAST_GAIN = 3.0  # nats by which more knots have to be better on rows held out
_BETWEEN = 3  # different values from one knot to the next, at least
_ROWS = 20_000  # to choose the knots with
_FURTHEST = 1e15  # |y| of the furthest value: its square is finite in float32 as well
_SEGMENTS = 400  # straight ones, in which the map's inverse is averaged


@final
class Smooth(ByValue):
    """The map y = g(x) of a continuous column.

    Parameters
    ----------
    centre, scale : float
        The knots are those of t = (x − centre) / scale.
    t, y, slopes : ndarray of shape (n_knots,)
        Knots, values and derivatives there; one knot makes an affine map.
    """

    def __init__(self, centre: float, scale: float, t: Floats, y: Floats, slopes: Floats) -> None:
        self.centre = centre
        self.scale = scale
        self.t = t
        self.y = y
        self.slopes = slopes

    @classmethod
    def fit(cls, x: Floats) -> "Smooth":
        """Fit finite values (n,), with as many knots as rows held out ask for."""
        centre, scale = _centre_and_scale(x)
        t = _standardise(x, centre, scale)
        n_knots = _choose(np.random.default_rng(0).permutation(t)[:_ROWS])
        return cls(centre, scale, *_knots(np.sort(t), n_knots))

    def check(self) -> None:
        """Raise ``ValueError`` unless the map is strictly increasing."""
        arrays = (self.t, self.y, self.slopes)
        if any(a.dtype != np.float64 or a.shape != self.t.shape or a.ndim != 1 for a in arrays):
            raise ValueError("knots must be float64 arrays of one length.")
        if type(self.centre) is not float or type(self.scale) is not float:
            raise TypeError("centre and scale are floats.")
        numbers = np.concatenate([*arrays, [self.centre, self.scale]])
        if not len(self.t) or not np.isfinite(numbers).all() or not self.scale > 0:
            raise ValueError("knots must be finite.")
        rising = all((np.diff(a) > 0).all() for a in (self.t, self.y))
        if not rising or not (self.slopes > 0).all():
            raise ValueError("a map of numbers must increase strictly.")

    def forward(self, x: Floats) -> tuple[Floats, Floats]:
        """Return y = g(x) and log dy/dx for finite x (n,)."""
        t = _standardise(x, self.centre, self.scale)
        with ignore_overflow():
            y, slope = _spline(t, *self._knots)
        y = np.asarray(np.clip(y, -_FURTHEST, _FURTHEST))
        return y, np.log(slope) - np.log(self.scale)

    def inverse(self, y: Floats) -> Floats:
        """Return x with g(x) = y; the largest finite float where it would be infinite."""
        with ignore_overflow():
            x = self.centre + self.scale * _inverse(y, *self._knots)
        return finite(x)

    def mean(self, mu: Floats, sigma: float) -> Floats:
        """Return E[x] of y ~ N(μ, σ²) for each μ (n,)."""
        y = self._segments()
        x = self.inverse(np.concatenate([[y[0] - 1], y, [y[-1] + 1]]))
        with ignore_overflow():
            slopes = np.diff(x) / np.concatenate([[1.0], np.diff(y), [1.0]])
            levels = x[1:] - slopes * np.append(y, y[-1] + 1)  # of each line at y = 0

        def expectation(means: Floats) -> Floats:
            standard = (y - means[:, None]) / sigma
            shares = np.diff(ndtr(standard), axis=1, prepend=0.0, append=1.0)
            bell = np.exp(-0.5 * np.clip(standard, -40, 40) ** 2) / np.sqrt(2 * np.pi)
            pulls = np.diff(bell, axis=1, prepend=0.0, append=0.0)
            with ignore_overflow():
                x = shares @ levels + means * (shares @ slopes) - sigma * (pulls @ slopes)
            return finite(x)

        return smooth_in_mean(expectation, mu, sigma, len(y))

    def _segments(self) -> Floats:
        """Return increasing y between which the inverse is about straight."""
        if len(self.t) == 1:
            return self.y
        n_each = max(_SEGMENTS // (2 * (len(self.t) - 1)), 8)
        share = np.arange(n_each) / n_each
        even_y = self.y[:-1, None] + np.diff(self.y)[:, None] * share
        even_t = self.t[:-1, None] + np.diff(self.t)[:, None] * share
        y = np.concatenate([even_y.ravel(), _spline(even_t.ravel(), *self._knots)[0], self.y])
        different = np.unique(y)
        return different[np.diff(different, prepend=-np.inf) > 1e-9]

    @property
    def _knots(self) -> tuple[Floats, Floats, Floats]:
        return self.t, self.y, self.slopes


def _centre_and_scale(x: Floats) -> tuple[float, float]:
    """Return the median and a robust scale, positive and finite."""
    low, centre, high = np.quantile(x * 0.5, (0.25, 0.5, 0.75)) * 2
    scale = (high * 0.5 - low * 0.5) / 0.6745
    if not scale > 0:
        largest = max(float(np.abs(x * 0.5 - centre * 0.5).max()), 1e-300)
        scale = 2 * largest * float(np.sqrt(np.mean(((x * 0.5 - centre * 0.5) / largest) ** 2)))
    return float(centre), float(np.clip(scale, 1e-290, 1e290))


def _standardise(x: Floats, centre: float, scale: float) -> Floats:
    """Return (x − centre) / scale, of which no step but the last overflows."""
    with ignore_overflow():
        t = (x * 0.5 - centre * 0.5) / (scale * 0.5)
    return np.clip(t, -_FURTHEST, _FURTHEST)


def _knots(t: Floats, n_knots: int) -> tuple[Floats, Floats, Floats]:
    """Return knots, values and slopes for sorted values; none where quantiles coincide."""
    affine = np.array([t.mean()]), np.zeros(1), np.array([1.0 / max(float(t.std()), 1e-12)])
    if n_knots == 0 or len(t) < 2 * n_knots:
        return affine
    reach = ndtri(1 - 0.5 / len(t))
    y = np.linspace(-reach, reach, n_knots)
    shares = ndtr(y)
    at = np.interp(shares * len(t) - 0.5, np.arange(len(t)), t)
    kept = _apart(at, np.searchsorted(np.unique(t), at), 0.02 / n_knots)
    if len(kept) < 3:
        return affine
    at, y = at[kept], y[kept]
    return at, y, _slopes(at, y)


def _apart(at: Floats, order: NDArray[np.intp], gap: float) -> NDArray[np.intp]:
    """Return the positions of sorted points to keep, each far enough from the one before.

    Between two of them lie several different values: a knot at either side of a value that repeats
    would give it a density without bound.
    """
    kept = [0]
    for i in range(1, len(at)):
        if at[i] - at[kept[-1]] > gap and order[i] - order[kept[-1]] >= _BETWEEN:
            kept.append(i)
    return np.array(kept)


def _slopes(t: Floats, y: Floats) -> Floats:
    """Return positive slopes at knots: geometric means of the neighbouring secants."""
    widths, secants = np.diff(t), np.diff(y) / np.diff(t)
    share = widths[1:] / (widths[:-1] + widths[1:])
    inner = secants[:-1] ** share * secants[1:] ** (1 - share)
    return np.concatenate([secants[:1], inner, secants[-1:]])


def _choose(t: Floats) -> int:
    """Return the least number of knots that is about as good as any on rows held out."""
    n_folds = 5 if len(t) < 2000 else 2
    fold = np.arange(len(t)) % n_folds
    best, best_gain = 0, -np.inf
    for n_knots in _KNOTS:
        if len(t) * (n_folds - 1) // n_folds < 2 * n_knots:
            break
        gain = 0.0
        for held_out in range(n_folds):
            knots = _knots(np.sort(t[fold != held_out]), n_knots)
            y, slope = _spline(t[fold == held_out], *knots)
            gain += float((np.log(slope) - 0.5 * y**2).sum())
        if gain > best_gain + _LEAST_GAIN:
            best, best_gain = n_knots, gain
    return best


def _spline(t: Floats, knots: Floats, values: Floats, slopes: Floats) -> tuple[Floats, Floats]:
    """Return y and dy/dt at points t (n,)."""
    below, above = t < knots[0], t > knots[-1]
    end = np.where(above, len(knots) - 1, 0)
    linear = values[end] + slopes[end] * (t - knots[end])
    if len(knots) == 1:
        return linear, np.full(t.shape, slopes[0])
    at, width, rise, left, right = _pieces(np.searchsorted(knots, t), knots, values, slopes)
    secant = rise / width
    xi = np.clip((t - knots[at]) / width, 0.0, 1.0)
    mixed = xi * (1 - xi)
    below_line = secant + (left + right - 2 * secant) * mixed
    inner = values[at] + rise * (secant * xi**2 + left * mixed) / below_line
    steep = right * xi**2 + 2 * secant * mixed + left * (1 - xi) ** 2
    outside = below | above
    slope = secant**2 * steep / below_line**2
    return np.where(outside, linear, inner), np.where(outside, slopes[end], slope)


def _inverse(y: Floats, knots: Floats, values: Floats, slopes: Floats) -> Floats:
    """Return the points at which the spline takes the values y, of any shape."""
    below, above = y < values[0], y > values[-1]
    end = np.where(above, len(knots) - 1, 0)
    linear = knots[end] + (y - values[end]) / slopes[end]
    if len(knots) == 1:
        return linear
    at, width, rise, left, right = _pieces(np.searchsorted(values, y), knots, values, slopes)
    secant = rise / width
    up = np.clip(y - values[at], 0.0, rise)
    curved = up * (left + right - 2 * secant)
    a, b, c = rise * (secant - left) + curved, rise * left - curved, -secant * up
    # The form of the root whose sum has terms of one sign.
    root = np.sqrt(np.maximum(b * b - 4 * a * c, 0.0))
    tops = np.where(b > 0, 2 * c, root - b)
    bottoms = np.where(b > 0, -b - root, 2 * a)
    # Both vanish at the upper end of a piece in which y hardly rises.
    xi = np.where(bottoms == 0, up > 0, tops / np.where(bottoms == 0, 1.0, bottoms))
    return np.where(below | above, linear, knots[at] + width * np.clip(xi, 0.0, 1.0))


def _pieces(
    after: NDArray[np.intp], knots: Floats, values: Floats, slopes: Floats
) -> tuple[NDArray[np.intp], Floats, Floats, Floats, Floats]:
    """Return the piece of each point: its position, width, rise and slopes at both ends."""
    at = np.clip(after - 1, 0, len(knots) - 2)
    width, rise = np.diff(knots)[at], np.diff(values)[at]
    return at, width, rise, slopes[at], slopes[at + 1]
