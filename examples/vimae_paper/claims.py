"""The claims of the paper as comparisons with intervals over seeds, and their verdicts.

``claims.toml`` holds the claims, with what is compared of which models.
"""

import math
from collections.abc import Iterable, Sequence
from itertools import product
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from skvim.objectives import Logistic, Normal
from vimae_paper.results import Results
from vimae_paper.settings import DATA_SETS, IMAGES, MODELS, read_toml

NOT_RUN = "not run"
_TOML = read_toml("claims.toml")
_GROUPS = {"ELBO": "vae beta-h beta-a", "VIM": "vimae-n vimae-l"}
_LOWER_IS_BETTER = ("sse", "distance", "blur")
# The paper's noises; those of CIFAR-10 are its only ones.
_NOISES = dict.fromkeys(IMAGES, ("gaussian 0.2", "gaussian 0.4", "masking 0.2", "masking 0.5"))
_NOISES["cifar10"] = ("gaussian 0.3", "masking 0.2")
_PIXELS = 784
_REFERENCE_VARIANCE = 10.0  # 0.05 · SSE as a gaussian's


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


def interval(values: pd.Series) -> Interval:
    """Return mean and interval of figures by seed.

    Accuracies are counts of rows: two seeds may agree by chance to the last digit, and that says
    nothing about the spread of others.
    """
    mean, n_seeds = float(values.mean()), len(values)
    if n_seeds < 2 or np.ptp(values) < 1e-9 * max(1.0, abs(mean)):
        return Interval(mean, -math.inf, math.inf, n_seeds)
    half = float(stats.t.ppf(0.975, n_seeds - 1) * values.std() / math.sqrt(n_seeds))
    return Interval(mean, mean - half, mean + half, n_seeds)


class Comparison(NamedTuple):
    """A figure with its interval, and the range where the claim puts it."""

    what: str
    measured: Interval | None
    low: float = 0.0
    high: float = math.inf

    @property
    def supports(self) -> bool:
        """Whether the whole interval is in the claimed range."""
        return self.low < self.measured.low and self.measured.high < self.high

    @property
    def contradicts(self) -> bool:
        """Whether no part of the interval is."""
        return self.measured.high <= self.low or self.measured.low >= self.high

    def __str__(self) -> str:
        if self.measured is None:
            return f"{self.what}: {NOT_RUN}"
        claimed = f"> {self.low:g}" if math.isinf(self.high) else f"{self.low:g} to {self.high:g}"
        claimed = f"< {self.high:g}" if math.isinf(self.low) else claimed
        return f"{self.what}: {self.measured} (claimed {claimed})"


def within(what: str, values: pd.Series, low: float, high: float = math.inf) -> Comparison:
    """Claim that a figure is in a range."""
    return Comparison(what, None if values.empty else interval(values), low, high)


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


def difference(first: pd.Series, second: pd.Series) -> pd.Series:
    """Return first − second seed by seed, for the seeds that both have."""
    return (first - second).dropna()


def best(series: Iterable[pd.Series], lowest: bool = False) -> pd.Series:
    """Return the best figure of each seed that all series have; empty series do not count."""
    frame = of_common_seeds(values for values in series if not values.empty)
    return frame.min(axis=1) if lowest else frame.max(axis=1)


def of_common_seeds(series: Iterable[pd.Series]) -> pd.DataFrame:
    """Return figures by seed in columns, for the seeds that all series have."""
    columns = [*series] or [pd.Series(dtype=float)]
    return pd.concat(columns, axis=1, join="inner")


class Claim(NamedTuple):
    """A claim of the paper, and what is compared for it."""

    where: str
    says: str
    comparisons: tuple[dict[str, Any], ...] = ()  # arguments of ``differences``
    entropies: str = ""  # text for the one claim that is about the priors themselves

    def compare(self, results: Results) -> list[Comparison]:
        """Return the comparisons that the claim rests on."""
        if self.entropies:
            return [_compare_entropies(self.entropies)]
        return [found for fields in self.comparisons for found in differences(results, **fields)]


CLAIMS = tuple(Claim(**fields) for fields in _TOML["claims"])


def _compare_entropies(text: str) -> Comparison:
    """Compare the priors' entropies in nats a dimension, which are known."""
    normal, logistic = (prior.entropy for prior in (Normal(), Logistic()))
    what = text.format(normal, logistic, Logistic.unit_variance().entropy)
    return Comparison(what, Interval(*[logistic - normal] * 3, 1), -math.inf, 0.0)


def differences(
    results: Results, what: str, data_sets: Any, figures: Any, pairs: Any, **limits: float
) -> list[Comparison]:
    """Claim for data sets, figures and pairs of models that differences are in a range."""
    comparisons = []
    for data_set, figure, pair in product(data_sets, figures, pairs):
        lowest, sides = figure in _LOWER_IS_BETTER, []
        for models in pair:
            names = _GROUPS.get(models, models).split()
            sides.append(best((figure_of(results, data_set, m, figure) for m in names), lowest))
        first, last = (MODELS[m].title if m in MODELS else m for m in (pair[0], pair[-1]))
        text = what.format(first=first, last=last, figure=figure)
        values = difference(*sides) if len(sides) > 1 else sides[0]
        limits = {"low": 0.0} | limits
        comparisons.append(within(f"{DATA_SETS[data_set].title}, {text}", values, **limits))
    return comparisons


def figure_of(results: Results, data_set: str, model: str, figure: str) -> pd.Series:
    """Return a figure by seed: what was measured or follows from it, or accuracies of draws."""
    if figure in _TOML["figures"]:
        return results.values(data_set, model, *_TOML["figures"][figure])
    if figure in _DERIVED:
        return _DERIVED[figure](results, data_set, model)
    first, *others = (results.accuracy(data_set, model, f, "sample") for f in figure.split(" − "))
    return difference(first, *others) if others else first


def noisy(results: Results, data_set: str, model: str) -> pd.Series:
    """Return the mean accuracy over the paper's noises, of the seeds that have all of them."""
    series = (figure_of(results, data_set, model, noise) for noise in _NOISES[data_set])
    return of_common_seeds(series).mean(axis=1)


def relative_sse(results: Results, data_set: str, model: str) -> pd.Series:
    """Return the excess of the squared error over the VAE's, as a share of the VAE's."""
    error, base = (figure_of(results, data_set, m, "sse") for m in (model, "vae"))
    return difference(error, base) / base


def missed_capacity(results: Results, data_set: str, model: str) -> pd.Series:
    """Return how far the rate stays from the capacity, as a share of the capacity."""
    rate = figure_of(results, data_set, model, "rate")
    return (rate / DATA_SETS[data_set].capacity - 1).abs()


def active_units(results: Results, data_set: str, model: str) -> pd.Series:
    """Return the number of active units; none where training diverged."""
    units = results.values(data_set, model, "information", "active_units")
    return pd.Series(0.0, results.failed(data_set, model)).combine_first(units)


def sse_of_codes(results: Results, data_set: str, model: str) -> pd.Series:
    """Return the squared error of training rows from codes as they are drawn in training.

    The distortion holds it, in nats: SSE/2σ² + n/2 · log 2πσ².
    """
    variance = _REFERENCE_VARIANCE
    if MODELS[model].elbo:
        variance = results.values(data_set, model, "likelihood", "variance")
    constant = _PIXELS / 2 * np.log(2 * math.pi * variance)
    distortion = results.values(data_set, model, "information", "distortion")
    return (2 * variance * (distortion - constant)).dropna()


def overfit(results: Results, data_set: str, model: str) -> pd.Series:
    """Return by how much the error of test rows exceeds that of training rows."""
    tested = figure_of(results, data_set, model, "sse")
    return difference(tested, sse_of_codes(results, data_set, model))


def bound(results: Results, data_set: str, model: str) -> pd.Series:
    """Return the bound of the information that (5) maximises, E log p(x|z), up to a constant.

    Each model has the variance that is best for it, so that half the features times the logarithm
    of the error is left. Rates do not compare: a point posterior has none, and one of a fixed
    spread has what that spread allows.
    """
    return -_PIXELS / 2 * np.log(sse_of_codes(results, data_set, model))


_FUNCTIONS = (noisy, relative_sse, missed_capacity, active_units, overfit, bound)
_DERIVED = {function.__name__: function for function in _FUNCTIONS}
