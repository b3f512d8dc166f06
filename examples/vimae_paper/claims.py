"""The comparisons that would bear out the claims of ``claims.toml``."""

import math
import tomllib
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from skvim.objectives import Logistic, Normal
from vimae_paper.comparisons import (
    Comparison,
    Interval,
    average,
    difference,
    highest,
    lowest,
    within,
)
from vimae_paper.results import Results
from vimae_paper.settings import DATA_SETS, IMAGES, MODELS

_GROUPS = {"ELBO": "vae beta-h beta-a", "VIM": "vimae-n vimae-l"}
# The paper's noises; those of CIFAR-10 are its only ones.
_NOISES = dict.fromkeys(IMAGES, ("gaussian 0.2", "gaussian 0.4", "masking 0.2", "masking 0.5"))
_NOISES["cifar10"] = ("gaussian 0.3", "masking 0.2")
_PIXELS = 784
_REFERENCE_VARIANCE = 10.0  # 0.05 · SSE as a gaussian's


class Claim(NamedTuple):
    """A claim of the paper; a function, if it has one, returns its comparisons."""

    where: str
    says: str
    comparisons: tuple[dict[str, Any], ...] = ()
    function: str | None = None

    def compare(self, results: Results) -> list[Comparison]:
        """Return the comparisons that the claim rests on."""
        if self.function is not None:
            return _FUNCTIONS[self.function](results)
        return [found for fields in self.comparisons for found in differences(results, **fields)]


def differences(
    results: Results,
    what: str,
    data_sets: list[str],
    figures: list[str],
    pairs: list[list[str]],
    low: float = 0.0,
    high: float = math.inf,
) -> list[Comparison]:
    """Claim for data sets, figures and pairs of models that differences are in a range."""
    comparisons = []
    for data_set, figure, pair in ((d, f, p) for d in data_sets for f in figures for p in pairs):
        sides = [_best(results, data_set, figure, models) for models in pair]
        first = MODELS[pair[0]].title if pair[0] in MODELS else pair[0]
        text = f"{DATA_SETS[data_set].title}, {what.format(first=first, figure=figure)}"
        comparisons.append(within(text, difference(*sides), low, high))
    return comparisons


def _best(results: Results, data_set: str, figure: str, models: str) -> pd.Series:
    """Return a figure by seed: of several models that of the best one."""
    best = lowest if figure in _ERRORS else highest
    names = _GROUPS.get(models, models).split()
    return best(figure_of(results, data_set, name, figure) for name in names)


def figure_of(results: Results, data_set: str, model: str, figure: str) -> pd.Series:
    """Return a figure by seed: what was measured or follows from it, or an accuracy of draws."""
    if figure in _MEASURED:
        return results.values(data_set, model, *_MEASURED[figure])
    if figure in _DERIVED:
        return _DERIVED[figure](results, data_set, model)
    return results.accuracy(data_set, model, figure, "sample")


# Figures


def nll(results: Results, data_set: str, model: str) -> pd.Series:
    """Return −log p(x) by importance sampling."""
    return -results.values(data_set, model, "likelihood", "importance", "nats")


def noisy(results: Results, data_set: str, model: str) -> pd.Series:
    """Return the mean accuracy over the paper's noises."""
    return average(figure_of(results, data_set, model, noise) for noise in _NOISES[data_set])


def lost(results: Results, data_set: str, model: str) -> pd.Series:
    """Return the points that masking costs."""
    columns = ("clean", _NOISES[data_set][-1])
    return difference(*(figure_of(results, data_set, model, column) for column in columns))


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


_MEASURED = {
    "sse": ("reconstruction", "sse"),
    "distance": ("frechet", "value"),
    "blur": ("blur", "samples"),
    "rate": ("information", "rate"),
    "divergence": ("information", "aggregated_kl"),
}
_DERIVED = {function.__name__: function for function in (nll, noisy, lost, overfit, bound)}
_ERRORS = ("sse", "distance", "blur", "nll")  # the lower the better


# Claims that are no differences of two models


def entropies(results: Results) -> list[Comparison]:
    """Compare the priors' entropies in nats a dimension, which are known."""
    normal, logistic = (prior.entropy for prior in (Normal(), Logistic()))
    matched = Logistic.unit_variance().entropy
    what = (
        f"nats a dimension, Logistic(0, 1) {logistic:.3f} less N(0, 1) {normal:.3f} (only at equal "
        f"variance the logistic has less, {matched:.3f})"
    )
    return [Comparison(what, Interval(*[logistic - normal] * 3, 1), -math.inf, 0.0)]


def capacities(results: Results) -> list[Comparison]:
    """Measure how far the rate of the capacity VAE stays from its capacity."""
    rates = {d: figure_of(results, d, "capacity", "rate") / DATA_SETS[d].capacity for d in IMAGES}
    return [
        within(f"{DATA_SETS[d].title}, abs(rate − C)/C", (share - 1).abs(), 0.25)
        for d, share in rates.items()
    ]


def active_units(results: Results) -> list[Comparison]:
    """Count the active units of β_H on faces; none where its training diverged."""
    units = results.values("celeba", "beta-h", "information", "active_units")
    diverged = pd.Series(0.0, results.failed("celeba", "beta-h"))
    return [within("CelebA, active units of β_H", diverged.combine_first(units), -1.0, 0.5)]


def relative_errors(results: Results) -> list[Comparison]:
    """Compare squared errors on Omniglot, as a share of the VAE's; 5 % count as similar."""
    errors = {
        m: figure_of(results, "omniglot", m, "sse")
        for m in ("vae", "beta-h", "beta-a", "vimae-n", "vimae-l")
    }
    base = errors.pop("vae")
    return [
        within(
            f"Omniglot, SSE of {MODELS[m].title} relative to VAE",
            difference(error, base) / base,
            -0.05,
            0.05,
        )
        for m, error in errors.items()
    ]


def gain_from_noise(results: Results) -> list[Comparison]:
    """Compare VIMAE-l with and without noise."""
    columns = ("gaussian 0.3", "clean")
    gain = difference(*(figure_of(results, "cifar10", "vimae-l", c) for c in columns))
    return [within("CIFAR-10, VIMAE-l: gaussian 0.3 − clean", gain, 0.0)]


_FUNCTIONS = {
    function.__name__: function
    for function in (entropies, capacities, active_units, relative_errors, gain_from_noise)
}
_TOML = tomllib.loads(Path(__file__).with_name("claims.toml").read_text(encoding="utf-8"))
CLAIMS = tuple(Claim(**fields) for fields in _TOML["claims"])
