"""Comparisons of figures with their intervals over seeds, and the verdict that follows."""

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

NOT_RUN = "not run"
_ROUNDING = 1e-9


class Interval(NamedTuple):
    """A mean over seeds with its interval of 95 % by Student's t; infinite where nothing varies."""

    mean: float
    low: float
    high: float
    n_seeds: int

    def __str__(self) -> str:
        # Differences of equal figures are nothing but rounding.
        mean, low, high = (f"{round(value, 9):.3g}" for value in self[:3])
        if self.low == self.high:
            return f"{mean} (exact)"
        if self.n_seeds < 2:
            return f"{mean} (one seed, no interval)"
        if math.isinf(self.high):
            return f"{mean} (equal in {self.n_seeds} seeds, no interval)"
        return f"{mean} [{low}, {high}]"


class Comparison(NamedTuple):
    """A figure with its interval, and the range where the claim puts it."""

    what: str
    measured: Interval | None
    low: float = 0.0
    high: float = math.inf

    @property
    def supports(self) -> bool:
        """Whether the whole interval is in the claimed range."""
        measured = self.measured
        return measured is not None and self.low < measured.low and measured.high < self.high

    @property
    def contradicts(self) -> bool:
        """Whether no part of the interval is."""
        measured = self.measured
        return measured is not None and (measured.high <= self.low or measured.low >= self.high)

    def __str__(self) -> str:
        if self.measured is None:
            return f"{self.what}: {NOT_RUN}"
        claimed = f"{self.low:g} to {self.high:g}"
        if math.isinf(self.high):
            claimed = f"> {self.low:g}"
        elif math.isinf(self.low):
            claimed = f"< {self.high:g}"
        return f"{self.what}: {self.measured} (claimed {claimed})"


def verdict(comparisons: Sequence[Comparison]) -> str:
    """Return "holds", "holds in part", "does not hold", "not shown" or "not run".

    A comparison supports a claim when its whole interval of 95 % lies in the claimed range, and
    contradicts it when no part of the interval does. All support: it holds. Some: in part. None,
    and at least one contradicts: it does not hold. What is left is open: the seeds are too few.
    """
    run = [comparison for comparison in comparisons if comparison.measured is not None]
    supported = [comparison for comparison in run if comparison.supports]
    if not run:
        return NOT_RUN
    if supported:
        return "holds" if len(supported) == len(run) else "holds in part"
    contradicted = any(comparison.contradicts for comparison in run)
    return "does not hold" if contradicted else "not shown"


def interval(values: pd.Series) -> Interval:
    """Return mean and interval of figures by seed.

    Accuracies are counts of rows: two seeds may agree by chance to the last digit, and that says
    nothing about the spread of others.
    """
    mean, n_seeds = float(values.mean()), len(values)
    if n_seeds < 2 or np.ptp(values) < _ROUNDING * max(1.0, abs(mean)):
        return Interval(mean, -math.inf, math.inf, n_seeds)
    half = float(stats.t.ppf(0.975, n_seeds - 1) * values.std() / math.sqrt(n_seeds))
    return Interval(mean, mean - half, mean + half, n_seeds)


def within(what: str, values: pd.Series, low: float, high: float = math.inf) -> Comparison:
    """Claim that a figure is in a range."""
    return Comparison(what, None if values.empty else interval(values), low, high)


def difference(first: pd.Series, second: pd.Series) -> pd.Series:
    """Return first − second seed by seed, for the seeds that both have."""
    return (first - second).dropna()


def highest(series: Iterable[pd.Series]) -> pd.Series:
    """Return the largest figure of each seed that all series have; empty ones do not count."""
    return _of_common_seeds(values for values in series if not values.empty).max(axis=1)


def lowest(series: Iterable[pd.Series]) -> pd.Series:
    """Return the smallest figure of each seed, likewise."""
    return _of_common_seeds(values for values in series if not values.empty).min(axis=1)


def average(series: Iterable[pd.Series]) -> pd.Series:
    """Return the mean of each seed that all series have; nothing where one is empty."""
    return _of_common_seeds(series).mean(axis=1)


def _of_common_seeds(series: Iterable[pd.Series]) -> pd.DataFrame:
    present = list(series)
    return pd.concat(present, axis=1, join="inner") if present else pd.DataFrame(dtype=float)
