"""Columns with a density: the map, its derivative, and means."""

from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad
from tables.tables import draws_of, log_normal

from skvim.objectives._parts import Interval
from skvim.tables import Columns, Table

rng = np.random.default_rng(0)
VALUES = {
    "normal": rng.normal(size=1000),
    "small": 1e-12 * rng.normal(size=300),
    "large": 2e5 + 1e5 * rng.normal(size=300),
    "heavy tails": rng.standard_cauchy(2000),
    "skewed": np.exp(rng.normal(size=2000)),
    "two modes": np.concatenate([rng.normal(-4, 1, 500), rng.normal(4, 0.5, 500)]),
    "bounded": rng.random(3000),
    "few rows": rng.normal(size=5),
    "ties": np.concatenate([np.repeat(rng.normal(size=40), 4), rng.normal(size=40)]),
}
EACH = pytest.mark.parametrize("x", VALUES.values(), ids=VALUES)


def fitted(x):
    return Table.fit(pd.DataFrame({"x": x}), Columns({"x": "continuous"}))


def encoded(table, x):
    """Return y and log dy/dx."""
    (stored,) = table.encode(np.reshape(x, (-1, 1)).astype(np.float64))
    return stored.T


def around(x, n=400):
    """Return increasing points within and beyond the values."""
    low, high = x.min(), x.max()
    return np.linspace(low - 0.3 * (high - low), high + 0.3 * (high - low), n)


@EACH
def test_the_map_is_inverted(x):
    table = fitted(x)
    points = around(x)
    (found,) = table.decode([encoded(table, points)[0][:, None]])
    inside = (points >= 0) | (x.min() < 0)  # draws keep the sign that all values have
    np.testing.assert_allclose(found[inside], points[inside], rtol=1e-9, atol=1e-9 * x.std())


@EACH
def test_the_derivative_is_that_of_the_map(x):
    table = fitted(x)
    points = around(x)
    step = 1e-6 * np.diff(points).mean()
    rise = encoded(table, points + step)[0] - encoded(table, points - step)[0]
    slope = rise / ((points + step) - (points - step))
    assert (slope > 0).all()
    np.testing.assert_allclose(np.log(slope), encoded(table, points)[1], atol=1e-3)


@EACH
def test_the_density_integrates_to_one(x):
    table = fitted(x)

    def density(point):
        y, log_slope = encoded(table, [point])
        return float(np.exp(log_normal(y) + log_slope)[0])

    at = np.linspace(-6, 6, 25)
    cuts = [table.codings[0].rest.inverse(np.array([y]))[0] for y in [-9, *at, 9]]
    total = sum(quad(density, a, b, epsabs=1e-9)[0] for a, b in pairwise(cuts))
    assert total == pytest.approx(1, abs=1e-6)


@EACH
def test_the_mean_is_that_of_draws(x):
    table = fitted(x)
    mu = np.array([[-1.5], [0.0], [0.7]])
    eps = np.linspace(-8, 8, 4001)
    weights = np.exp(log_normal(eps)) / np.exp(log_normal(eps)).sum()
    inverse = table.codings[0].rest.inverse
    sd = np.sqrt(inverse(eps) ** 2 @ weights - (inverse(eps) @ weights) ** 2)
    for sigma in (0.05, 0.5, 1.0):
        (mean,) = table.expectations([mu], np.array([sigma]))
        expected = inverse(mu + sigma * eps) @ weights
        np.testing.assert_allclose(mean[:, 0], expected, atol=1e-3 * sd)


@EACH
def test_means_of_many_rows_are_those_of_single_rows(x):
    table = fitted(x)
    mu = np.random.default_rng(1).normal(size=(3000, 1))
    (many,) = table.expectations([mu], np.array([0.3]))
    single = np.concatenate([table.expectations([m[None]], np.array([0.3]))[0] for m in mu[:50]])
    np.testing.assert_allclose(many[:50], single, atol=1e-3 * np.std(single))


def test_normal_values_get_an_affine_map():
    for seed in range(20):
        table = fitted(np.random.default_rng(seed).normal(3, 2, size=500))
        _, log_slope = encoded(table, np.array([-10.0, 3.0, 20.0]))
        assert np.ptp(log_slope) < 1e-12


def test_other_values_are_better_described_than_by_an_affine_map():
    for name in ("heavy tails", "skewed", "two modes", "bounded"):
        x = VALUES[name]
        y, log_slope = encoded(fitted(x[::2]), x[1::2])
        gain = (log_normal(y) + log_slope).mean()
        affine = (
            log_normal((x[1::2] - x[::2].mean()) / x[::2].std()) - np.log(x[::2].std())
        ).mean()
        assert gain > affine + 0.05, name


def test_scores_are_about_normal():
    for name in ("skewed", "two modes", "bounded", "heavy tails"):
        y, _ = encoded(fitted(VALUES[name]), VALUES[name])
        assert abs(y.mean()) < 0.05
        assert abs(y.std() - 1) < 0.05


FINITE = st.floats(allow_nan=False, allow_infinity=False)


@given(st.lists(FINITE, min_size=1, max_size=50), st.lists(FINITE, min_size=1, max_size=5))
def test_every_finite_value_has_a_finite_density(values, others):
    table = Table.fit(pd.DataFrame({"x": values}), Columns({"x": "continuous"}))
    if table.kinds == {"x": "values"}:
        return
    stored = encoded(table, np.array([*values, *others]))
    assert np.isfinite(stored).all()
    # The log-density is finite in float32, too.
    log_density = log_normal(stored[0].astype(np.float32)) + stored[1].astype(np.float32)
    assert np.isfinite(log_density).all()
    (found,) = table.decode([stored[0][:, None]])
    assert np.isfinite(found).all()


@given(st.lists(FINITE, min_size=12, max_size=60))
def test_larger_values_have_larger_scores(values):
    table = Table.fit(pd.DataFrame({"x": values}), Columns({"x": "continuous"}))
    if table.kinds == {"x": "values"}:
        return
    y, _ = encoded(table, np.sort(values))
    assert (np.diff(y) >= -1e-12 * (1 + np.abs(y[1:]))).all()  # up to rounding


def wild_numbers(rng):
    """Return numbers of all magnitudes, some of which repeat."""
    n = int(rng.integers(5, 400))
    x = rng.normal(size=n) * 10.0 ** rng.integers(-300, 308, n if rng.random() < 0.5 else 1)
    return rng.choice(x, n) if rng.random() < 0.3 else x


@pytest.mark.trust("Any finite numbers make a column in which all finite numbers have a density.")
def test_wild_columns(amount):
    rng = np.random.default_rng(0)
    far = np.array([1e308, -1e308, 0.0, 1e-320])
    for _ in range(amount("wild columns fitted", quick=30, full=2000)):
        kind = [None, "grid", "continuous"][rng.integers(3)]
        x = wild_numbers(rng)
        table = Table.fit(x[:, None], Columns(None if kind is None else {0: kind}))
        stored = table.encode(np.append(x, far)[:, None], allow_empty=True)
        for part, values in zip(table.parts, stored, strict=True):
            observed = values[~np.isnan(values[:, 0])]
            assert isinstance(part, Interval) or np.isfinite(observed).all()
            assert not isinstance(part, Interval) or (observed[:, 1] < observed[:, 2]).all()
        assert np.isfinite(table.decode(draws_of(stored))[0]).all()
        outputs = [np.full((3, p.n_outputs), 1 / p.n_outputs) for p in table.parts]
        for sigma in (1e-6, 0.3, 50.0):
            (mean,) = table.expectations(outputs, np.full(len(outputs), sigma))
            assert np.isfinite(mean).all()
