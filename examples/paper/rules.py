"""Comparisons of figures over seeds, from which verdicts follow."""

import math
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np
from results import BySeed, Interval, Results, difference, interval

__all__ = ["Comparison", "alike", "exact", "highest", "lowest", "more", "noisy", "within"]


class Comparison(NamedTuple):
    """A figure with its interval, and the range where the claim puts it."""

    what: str
    measured: Interval | None
    low: float = 0.0
    high: float = math.inf

    @property
    def supports(self) -> bool:
        """Whether the whole interval is in the claimed range."""
        found = self.measured
        return found is not None and self.low < found.low and found.high < self.high

    @property
    def contradicts(self) -> bool:
        """Whether no part of the interval is."""
        found = self.measured
        return found is not None and (found.high <= self.low or found.low >= self.high)


def within(what: str, values: BySeed, low: float, high: float) -> Comparison:
    """Claim that a figure is in a range."""
    return Comparison(what, interval(values) if values else None, low, high)


def more(what: str, first: BySeed, second: BySeed) -> Comparison:
    """Claim that the first figure is the larger one."""
    return within(what, difference(first, second), 0.0, math.inf)


def alike(what: str, first: BySeed, second: BySeed, margin: float) -> Comparison:
    """Claim that two figures differ by less than a margin."""
    return within(what, difference(first, second), -margin, margin)


def exact(what: str, value: float, low: float, high: float) -> Comparison:
    """Claim that a known number is in a range."""
    return Comparison(what, Interval(value, value, value, 1), low, high)


def highest(series: Iterable[BySeed]) -> BySeed:
    """Return the largest figure of each seed that all series have; empty ones do not count."""
    return _extreme([values for values in series if values], max)


def lowest(series: Iterable[BySeed]) -> BySeed:
    """Return the smallest figure of each seed, likewise."""
    return _extreme([values for values in series if values], min)


def _extreme(series: Sequence[BySeed], choose: Callable[..., float]) -> BySeed:
    if not series:
        return {}
    common = set.intersection(*(set(values) for values in series))
    return {seed: choose(values[seed] for values in series) for seed in sorted(common)}


def noisy(results: Results, data_set: str, model: str, columns: Iterable[str]) -> BySeed:
    """Return the mean accuracy over noisy columns, of codes drawn from the posterior."""
    series = [results.accuracy(data_set, model, column, "sample") for column in columns]
    if not all(series):
        return {}
    common = set.intersection(*(set(values) for values in series))
    return {seed: float(np.mean([v[seed] for v in series])) for seed in sorted(common)}
