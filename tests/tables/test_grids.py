"""Numbers that repeat, and ordered categories: intervals whose probabilities sum to one."""

import numpy as np
import pandas as pd
import pytest
from scipy.special import ndtr

from skvim.objectives._parts import Interval
from skvim.tables import Columns, Table

rng = np.random.default_rng(0)
GRIDS = {
    "counts": rng.poisson(6, 2000),
    "integers": rng.binomial(40, 0.5, 2000) - 10,
    "decimals": np.round(rng.normal(size=3000), 1),
    "wide steps": 25 * rng.poisson(20, 500),
    "uneven": rng.choice(np.exp(rng.normal(size=40)), 2000),
    "narrow": np.round(rng.normal(size=300), 1).astype(np.float32),
}
EACH = pytest.mark.parametrize("x", GRIDS.values(), ids=GRIDS)


def fitted(x, kind="grid"):
    table = Table.fit(pd.DataFrame({"x": x}), Columns({"x": kind}))
    assert [type(part) for part in table.parts] == [Interval]
    return table


def steps_beyond(x, n=400):
    """Return the values seen, and grid values n steps beyond each end."""
    values = np.unique(x).astype(np.float64)
    step = fitted(x).codings[0].rest.step
    below, above = values[0] - step * np.arange(n, 0, -1), values[-1] + step * np.arange(1, n + 1)
    return below, values, above


@EACH
@pytest.mark.parametrize(("mu", "sigma"), [(0.0, 1.0), (-2.0, 0.3), (5.0, 2.0)])
def test_probabilities_of_the_grid_sum_to_one(x, mu, sigma):
    table = fitted(x)
    points = table.codings[0].rest.values
    below, _, above = steps_beyond(x)
    grid = np.concatenate([[] if points[0] == 0 else below, points, above])
    _, low, high = table.encode(grid[:, None])[0].T
    np.testing.assert_allclose(low[1:], high[:-1], atol=1e-9)  # no gap, and no overlap
    assert np.isfinite(high).all()
    assert (low[0] == -np.inf) == (points[0] == 0)
    total = (ndtr((high - mu) / sigma) - ndtr((low - mu) / sigma)).sum()
    assert total == pytest.approx(1, abs=1e-6)


@EACH
def test_y_lies_in_its_interval_and_comes_back(x):
    table = fitted(x)
    below, values, above = steps_beyond(x, 20)
    grid = np.concatenate([values, above] if values[0] == 0 else [below, values, above])
    stored = table.encode(grid[:, None])[0]
    assert (stored[:, 1] < stored[:, 0]).all()
    assert (stored[:, 0] < stored[:, 2]).all()
    # Draws keep the sign that all values have.
    kept = grid if values[0] < 0 else np.maximum(grid, 0)
    np.testing.assert_allclose(table.decode([stored[:, :1]])[0], kept, rtol=1e-6, atol=1e-6)


def test_under_the_standard_normal_distribution_values_have_their_shares():
    x = GRIDS["counts"]
    values, counts = np.unique(x, return_counts=True)
    _, low, high = fitted(x).encode(values[:, None])[0].T
    np.testing.assert_allclose(ndtr(high) - ndtr(low), counts / len(x), atol=2e-3)


def test_values_off_the_grid_are_the_nearest_ones():
    table = fitted(GRIDS["decimals"])
    near, at = (table.encode(np.array([[v]]))[0] for v in (0.512, 0.5))
    np.testing.assert_array_equal(near, at)
    counts = fitted(GRIDS["counts"])
    below, zero = (counts.encode(np.array([[v]]))[0] for v in (-3, 0))
    np.testing.assert_array_equal(below, zero)


def test_values_far_away_are_very_improbable_and_finite():
    _, low, high = fitted(GRIDS["counts"]).encode(np.array([[1000], [10**9], [10**18]]))[0].T
    assert (low > 50).all()
    assert np.isfinite(high).all()
    assert (high > low).all()


@EACH
@pytest.mark.parametrize("sigma", [0.02, 0.4, 1.5])
def test_the_mean_is_that_of_draws(x, sigma):
    table = fitted(x)
    mu = np.array([[-1.2], [0.0], [0.31]])
    (mean,) = table.expectations([mu], np.array([sigma]))
    eps = np.linspace(-8, 8, 200_001)
    weights = np.exp(-0.5 * eps**2)
    rest = table.codings[0].rest
    expected = [rest.inverse(m + sigma * eps) @ weights / weights.sum() for m in mu[:, 0]]
    np.testing.assert_allclose(mean[:, 0], expected, atol=1e-3 * np.std(x))


@EACH
def test_means_of_many_rows_are_those_of_single_rows(x):
    table = fitted(x)
    mu = np.random.default_rng(1).normal(size=(5000, 1))
    for sigma in (0.2, 1.0):
        (many,) = table.expectations([mu], np.array([sigma]))
        single = [table.expectations([m[None]], np.array([sigma]))[0] for m in mu[:40]]
        np.testing.assert_allclose(many[:40], np.concatenate(single), atol=1e-3 * np.std(x))


def test_ordered_categories_have_the_probabilities_of_their_ranks():
    labels = ["low", "mid", "high", "never"]
    x = pd.Categorical(rng.choice(labels[:3], 500, p=[0.5, 0.3, 0.2]), labels, ordered=True)
    frame = pd.DataFrame({"x": x})
    table = Table.fit(frame, Columns())
    assert table.kinds == {"x": "ordered"}
    (found,) = table.expectations([np.array([[0.0], [1.5]])], np.array([1.0]))
    np.testing.assert_allclose(found.sum(axis=1), 1)
    np.testing.assert_allclose(found[0, :3], [0.5, 0.3, 0.2], atol=0.05)
    assert found[0, 3] < 0.01
    assert found[1].argmax() == 2
    assert table.best([found])[0].tolist() == ["low", "high"]
    every = pd.DataFrame({"x": pd.Categorical(labels, labels, ordered=True)})
    _, low, high = table.encode(every)[0].T
    assert low[0] == -np.inf
    assert high[-1] == np.inf
    np.testing.assert_array_equal(low[1:], high[:-1])


def test_numbers_with_a_value_of_its_own_have_two_parts():
    x = np.where(rng.random(3000) < 0.4, 0.0, np.exp(rng.normal(size=3000)))
    table = Table.fit(x[:, None], Columns())
    assert table.kinds == {0: "continuous with atoms"}
    which, rest = table.encode(x[:, None])
    np.testing.assert_array_equal(which[:, 0], x != 0)
    np.testing.assert_array_equal(np.isnan(rest[:, 0]), x == 0)
    mu = np.zeros((1, 1))
    scales = np.array([np.nan, 0.5])
    (mean,) = table.expectations([np.array([[0.4, 0.6]]), mu], scales)
    (without,) = table.expectations([np.array([[0.0, 1.0]]), mu], scales)
    np.testing.assert_allclose(mean, 0.6 * without)


def test_probabilities_are_positive_in_float32():
    x = np.concatenate([np.repeat(np.arange(12.0), 100_000), [1900.0]])
    _, low, high = fitted(x).encode(np.arange(1901.0)[:, None])[0].astype(np.float32).T
    assert (high > low).all()


def test_a_column_and_its_negative_have_mirrored_intervals():
    x = np.minimum(rng.poisson(6, 2000), 15)
    x[0] = 0
    _, low, high = fitted(x).encode(x[:, None])[0].T
    _, negative_low, negative_high = fitted(-x).encode(-x[:, None])[0].T
    np.testing.assert_allclose(negative_low, -high, atol=1e-9)
    np.testing.assert_allclose(negative_high, -low, atol=1e-9)
