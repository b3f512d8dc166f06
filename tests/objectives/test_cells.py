"""Rows with mixed columns: densities of intervals and of cells, and their variances."""

import math

import numpy as np
import pytest
import torch
from scipy import optimize, special, stats

from skvim.objectives import Categorical, Cells, Continuous, Interval, Value
from skvim.objectives._intervals import (
    interval_information,
    interval_log_probability,
    interval_mean_square,
    log_probability_by_size,
)

PARTS = [
    *(Continuous(0), Interval(1), Categorical(2, (0.2, 0.3, 0.5)), Categorical(3, (0.6, 0.4))),
    *(Continuous(3), Categorical(4, (1.0,))),
]


def likelihood(parts=PARTS, variances=1.0):
    """Return Cells as they are in training, with variances."""
    cells = Cells(parts)
    n = cells.layout.n_normal
    return cells.bound(
        squares=torch.ones(n, dtype=torch.float64) * torch.as_tensor(variances),
        observed=torch.ones(n, dtype=torch.float64),
        n_rows=100,
    )


def stored(cells, *parts):
    """Return rows from the stored numbers of their parts."""
    rows = torch.full((len(parts[0]), cells.layout.n_stored), math.nan, dtype=torch.float64)
    for places, part in zip(cells.layout.stored(), parts, strict=True):
        rows[:, places] = torch.as_tensor(part, dtype=torch.float64)
    return rows


@pytest.mark.parametrize("width", [1e-9, 1e-5, 1e-2, 0.049, 0.051, 0.3, 2.0, 40.0])
@pytest.mark.parametrize("middle", [-30.0, -8.0, -1.0, -0.01, 0.0, 0.3, 5.0, 30.0])
def test_probability_of_an_interval_is_that_of_quadrature(width, middle):
    low, high = middle - width / 2, middle + width / 2
    # The integrand relative to its maximum, which quadrature can hold.
    peak = min(max(0.0, low), high)
    points, weights = special.roots_legendre(200)
    near = np.clip([low, high], peak - 40 / (1 + abs(peak)), peak + 40 / (1 + abs(peak)))
    if width > 1:
        near = np.clip([low, high], peak - 9, peak + 9)
    x = near.mean() + points * np.diff(near) / 2
    relative = weights @ np.exp((peak**2 - x**2) / 2) * np.diff(near)[0] / 2
    expected = math.log(relative) - peak**2 / 2 - 0.5 * math.log(2 * math.pi)
    ends = torch.tensor([low, high], dtype=torch.float64)
    width_as_held = float(ends[1] - ends[0])
    tolerance = 1e-7 + abs(width_as_held - width) / width
    found = float(interval_log_probability(ends[0], ends[1]))
    assert found == pytest.approx(expected, abs=tolerance, rel=1e-9)


def test_probabilities_of_all_intervals_sum_to_one():
    ends = torch.cat(
        [torch.tensor([-math.inf]), torch.linspace(-9, 9, 1234), torch.tensor([math.inf])]
    )
    ends = ends.double()
    for scale in (0.05, 1.0, 20.0):
        probability = interval_log_probability(ends[:-1] / scale, ends[1:] / scale).exp()
        assert float(probability.sum()) == pytest.approx(1, abs=1e-8)


def test_gradient_of_an_interval_is_finite_and_that_of_differences():
    low = torch.tensor([-math.inf, -9.0, -0.5, 0.0, 3.0, 40.0, -1e6], dtype=torch.float64)
    high = torch.tensor([-2.0, -8.9, 0.6, 1e-3, math.inf, 40.001, 1e6], dtype=torch.float64)
    shift = torch.zeros(7, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(interval_log_probability(low - shift, high - shift).sum(), shift)
    step = 1e-5
    values = [interval_log_probability(low - s, high - s) for s in (step, -step)]
    torch.testing.assert_close(slope, (values[0] - values[1]) / (2 * step), rtol=1e-5, atol=1e-6)


def test_fast_probabilities_of_intervals_are_the_exact_ones_with_their_gradients():
    low = torch.tensor([-math.inf, -9.0, -0.5, 0.0, 3.0, 40.0, -1e6], dtype=torch.float64)
    high = torch.tensor([-2.0, -8.9, 0.6, 1e-3, math.inf, 40.001, 1e6], dtype=torch.float64)
    results = []
    for function in (interval_log_probability, log_probability_by_size):
        shift = torch.zeros(7, dtype=torch.float64, requires_grad=True)
        value = function(low - shift, high - shift)
        results.append((value, *torch.autograd.grad(value.sum(), shift)))
    torch.testing.assert_close(*results, rtol=1e-7, atol=1e-9)


def test_moments_of_an_interval_are_those_of_a_truncated_normal():
    low = torch.tensor([-1.0, 0.5, -4.0, 2.0, -0.001], dtype=torch.float64)
    high = torch.tensor([2.0, 0.6, -3.0, 9.0, 0.001], dtype=torch.float64)
    for a, b, square in zip(low, high, interval_mean_square(low, high), strict=True):
        variable = stats.truncnorm(float(a), float(b))
        assert float(square) == pytest.approx(variable.moment(2), rel=1e-6)
    # Information: minus the second derivative by the mean, 1 for a known value.
    step = 1e-4
    shifted = [interval_log_probability(low - s, high - s) for s in (step, 0.0, -step)]
    curvature = -(shifted[0] - 2 * shifted[1] + shifted[2]) / step**2
    torch.testing.assert_close(interval_information(low, high), curvature, rtol=1e-3, atol=1e-4)


def test_density_is_the_sum_over_observed_parts():
    cells = likelihood(variances=[4.0, 9.0, 1.0])  # of the continuous parts, then the intervals
    assert [type(cells.parts[i]) for i in cells.layout.order[:3]] == [
        Continuous,
        Continuous,
        Interval,
    ]
    nothing = [[math.nan]]
    rows = stored(cells, [[0.5, 0.7]], [[0.0, -1.0, 2.0]], [[2.0]], [[1.0]], [[-1.0, 0.2]], [[0.0]])
    output = torch.zeros(1, cells.layout.n_outputs, dtype=torch.float64)
    output[0, :3] = torch.tensor([0.1, 0.3, -0.2])
    for part, place in zip(PARTS, cells.layout.outputs(), strict=True):
        if isinstance(part, Categorical):
            output[0, place] = torch.tensor(part.probabilities, dtype=torch.float64).log()
    padding = output == 0
    padding[0, :3] = False
    output[padding & (torch.arange(output.shape[1]) > 8)] = -1e9
    expected = {
        0: stats.norm.logpdf(0.5, 0.1, 2) + 0.7,
        1: math.log(stats.norm.cdf(2, -0.2, 1) - stats.norm.cdf(-1, -0.2, 1)),
        2: math.log(0.5),
        3: math.log(0.4),
        4: stats.norm.logpdf(-1.0, 0.3, 3) + 0.2,
        5: 0.0,
    }
    found = float(cells.log_density(cells.error(rows, output), 0))
    assert found == pytest.approx(sum(expected.values()), abs=1e-6)
    for i, places in enumerate(cells.layout.stored()):
        fewer = rows.clone()
        fewer[:, places] = nothing[0][0]
        found = float(cells.log_density(cells.error(fewer, output), 0))
        assert found == pytest.approx(sum(expected.values()) - expected[i], abs=1e-6)
        assert float(cells.evaluate(fewer, output)) == pytest.approx(found, abs=1e-9)


def test_missing_parts_have_no_gradient_and_no_information():
    cells = likelihood()
    rows = torch.full((3, cells.layout.n_stored), math.nan, dtype=torch.float64)
    output = torch.randn(3, cells.layout.n_outputs, dtype=torch.float64, requires_grad=True)
    cells.log_density(cells.error(rows, output), 0).sum().backward()
    assert (output.grad == 0).all()
    (slope,) = torch.autograd.grad(cells.evaluate(rows, output).sum(), output)
    assert (slope == 0).all()
    jacobian = torch.randn(3, 2, cells.layout.n_outputs, dtype=torch.float64)
    matrix, _ = cells.information(rows, output.detach(), jacobian)
    assert (matrix == 0).all()
    assert cells.inputs(rows).abs().sum() == 0


def test_information_is_the_expected_square_of_the_score():
    parts = [Categorical(0, (0.2, 0.3, 0.5))]
    cells = likelihood(parts)
    output = torch.tensor([0.3, -0.4, 1.0, -1e9], dtype=torch.float64)
    p = output.softmax(-1)
    jacobian = torch.randn(2, 4, dtype=torch.float64)
    matrix, diagonal = cells.information(torch.zeros(1, dtype=torch.float64), output, jacobian)
    fisher = p.diag() - p.outer(p)
    torch.testing.assert_close(matrix * diagonal @ matrix.T, jacobian @ fisher @ jacobian.T)


def test_settled_variances_are_those_of_greatest_likelihood():
    rng = np.random.default_rng(0)
    y = rng.normal(0, 0.7, 400)
    low, high = np.floor(y / 0.8) * 0.8, np.floor(y / 0.8) * 0.8 + 0.8
    cells = likelihood([Continuous(0), Interval(1)])
    seen = rng.random(400) < 0.4
    continuous = np.where(seen[:, None], np.c_[y, np.zeros(400)], np.nan)
    rows = stored(cells, continuous, np.c_[(low + high) / 2, low, high])
    error = cells.error(rows, torch.zeros(400, 2, dtype=torch.float64))
    cells.settle(error, 0)
    assert float(cells.variance[0]) == pytest.approx(np.mean(y[seen] ** 2))

    def cost(scale):
        return -np.log(stats.norm.cdf(high, 0, scale) - stats.norm.cdf(low, 0, scale)).sum()

    best = optimize.minimize_scalar(
        cost, bounds=(0.1, 3), method="bounded", options={"xatol": 1e-8}
    )
    assert float(cells.variance[1]) == pytest.approx(best.x**2, rel=1e-4)


@pytest.mark.parametrize("share", [1.0, 0.4, 0.01])
def test_running_variances_are_over_observed_cells(share):
    rng = np.random.default_rng(0)
    n = 20_000
    cells = likelihood([Continuous(0)])
    start = torch.tensor([share])
    cells = cells.bound(observed=start, squares=start.clone(), n_rows=n)
    seen = rng.random((n, 1)) < share
    values = np.c_[rng.normal(0, 0.5, n), np.zeros(n)]
    rows = stored(cells, np.where(seen, values, np.nan)).float()
    for batch in rows.repeat(5, 1).split(100):
        cells.observe(cells.error(batch, torch.zeros(100, 1)), 0)
    # A memory of 2,000 observed cells, or of one epoch.
    assert float(cells.variance[0]) == pytest.approx(0.25, rel=0.3)


def test_draws_are_stored_rows_that_follow_the_density():
    cells = likelihood(variances=[0.25, 1.0, 4.0])
    output = torch.zeros(20_000, cells.layout.n_outputs, dtype=torch.float64)
    output[:, :3] = torch.tensor([1.0, -1.0, 2.0])
    for part, place in zip(PARTS, cells.layout.outputs(), strict=True):
        if isinstance(part, Categorical):
            output[:, place] = torch.tensor(part.probabilities, dtype=torch.float64).log()
            output[:, place.stop : place.start + (1 << (part.n_outputs - 1).bit_length())] = -1e9
    rows = cells.draw(output, torch.Generator().manual_seed(0))
    places = cells.layout.stored()
    first = rows[:, places[0][0]]
    assert float(first.mean()) == pytest.approx(1, abs=0.02)
    assert float(first.std()) == pytest.approx(0.5, abs=0.02)
    shares = np.bincount(rows[:, places[2][0]].long(), minlength=3) / len(rows)
    np.testing.assert_allclose(shares, PARTS[2].probabilities, atol=0.015)
    # The continuous part of a column is there where the last value, "the rest", was drawn.
    rest = rows[:, places[3][0]] == 1
    assert torch.equal(rows[:, places[4][0]].isfinite(), rest)


def test_wrong_parts_are_refused():
    for parts, error, message in (
        ([], ValueError, "at least one part"),
        (["age"], TypeError, "must be Continuous, Interval, Categorical or Value"),
        ([Continuous(-1)], ValueError, "column must be an int"),
        ([Categorical(0, (0.5, 0.6))], ValueError, "sum to 1"),
        ([Categorical(0, ())], ValueError, "sum to 1"),
    ):
        with pytest.raises(error, match=message):
            Cells(parts).check()


def test_the_encoder_sees_values_instead_of_parts_of_their_columns():
    parts = [Categorical(0, (0.5, 0.5), seen=False), Continuous(0), Interval(1), Value(0)]
    cells = Cells(parts)
    assert cells.layout.columns_of_inputs() == [1, 0, 1, 0]
    nan = math.nan
    rows = stored(
        cells,
        *([[0.0], [1.0], [nan]], [[nan, nan], [0.3, 0.0], [nan, nan]]),
        *([[0.5, 0.0, 1.0], [nan, nan, nan], [2.5, 2.0, 3.0]], [[-0.7], [0.4], [nan]]),
    )
    expected = [[0.5, -0.7, 1, 1], [0, 0.4, 0, 1], [2.5, 0, 1, 0]]
    torch.testing.assert_close(cells.inputs(rows), torch.tensor(expected, dtype=torch.float64))
    # A value has no density of its own.
    without = Cells(parts[:3])
    output = torch.randn(3, cells.layout.n_outputs, dtype=torch.float64)
    assert cells.layout.n_outputs == without.layout.n_outputs
    torch.testing.assert_close(cells(rows, output), without(rows[:, :-1], output))
