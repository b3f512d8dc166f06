"""Errors of log-likelihoods grow where an estimate is not to be trusted."""

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats
from scipy.special import logsumexp

from skvim import VIMAETransformer
from skvim.metrics import log_likelihood
from skvim.objectives import log_mean

SETTINGS = {"hidden_layer_sizes": (32,), "random_state": 0}


def covered(values, errors, truth):
    """Return the share of 95 % intervals that hold the truth."""
    return np.mean(abs(values - truth) <= 1.96 * errors)


def weights(source, shape, spread):
    """Return normal log-weights, whose mean weight is 1."""
    return torch.tensor(spread * source.standard_normal(shape) - 0.5 * spread**2)


@pytest.mark.parametrize(("spread", "n_weights"), [(0.3, 10), (0.5, 100), (1.0, 100), (1.5, 1000)])
def test_intervals_of_good_weights_hold_the_truth(spread, n_weights):
    found = log_mean(weights(np.random.default_rng(0), (4000, n_weights), spread))
    assert covered(found.value.numpy(), (found.error + found.bias).numpy(), 0.0) > 0.88


@pytest.mark.parametrize("spread", [2.0, 2.5, 3.0])
@pytest.mark.parametrize("n_weights", [30, 100, 1000])
@pytest.mark.trust("Intervals of log-likelihoods hold the truth where few draws dominate, too.")
def test_intervals_of_bad_weights_grow_until_they_hold_the_truth(spread, n_weights, amount):
    n = amount("log-likelihoods from bad weights", quick=1000, full=20_000)
    found = log_mean(weights(np.random.default_rng(0), (n, n_weights), spread))
    errors = (found.error + found.bias).numpy()
    assert covered(found.value.numpy(), errors, 0.0) > 0.85
    # The delta method alone is below 1 nat.
    assert covered(found.value.numpy(), found.error.numpy(), 0.0) < 0.9


def test_bias_is_zero_for_half_the_weights_and_finite_for_one_that_dominates():
    assert not log_mean(torch.tensor([[0.0, 0.0, -50.0, -50.0], [3.0, 2.0, 3.0, 2.0]])).bias.any()
    alone = log_mean(torch.tensor([[0.0, -50.0, -60.0, -70.0]]).double())
    torch.testing.assert_close(alone.bias, alone.value + 60.0)
    assert log_mean(torch.zeros(2, 1)).bias.tolist() == [0.0, 0.0]


def grid_log_likelihood(model, rows, k):
    """Return log p of rows of a table by sums over a grid of codes."""
    axis = np.linspace(-6, 6, 4001 if k == 1 else 301)
    z = np.stack(np.meshgrid(*[axis] * k, indexing="ij"), -1).reshape(-1, k)
    net = model.net_.in_precision(torch.float64)
    stored = torch.tensor(model._rows_to_score(rows))
    with torch.no_grad():
        output = net.decode(torch.tensor(z))
        joint = np.array([net.likelihood(row, output).numpy() for row in stored])
    joint += stats.norm.logpdf(z).sum(1)
    return logsumexp(joint, axis=1) + k * np.log(axis[1] - axis[0])


@pytest.fixture(scope="module")
def table():
    """Return a table with numbers, counts, categories and holes."""
    source = np.random.default_rng(0)
    z = source.normal(size=(600, 2))
    frame = pd.DataFrame(
        {
            "curve": np.exp(z[:, 0]) + 0.3 * source.normal(size=600),
            **{f"x{i}": z @ source.normal(size=2) + source.normal(size=600) for i in range(5)},
            "count": source.poisson(np.exp(0.5 * z[:, 1])),
            "kind": np.where(z[:, 0] + 0.5 * source.normal(size=600) > 0, "a", "b"),
        }
    )
    frame.loc[::7, "curve"] = np.nan
    return frame


@pytest.mark.parametrize("k", [1, 2])
def test_intervals_of_tables_hold_sums_over_grids(table, k):
    model = VIMAETransformer(k, likelihood="auto", max_epochs=60, lr=3e-3, **SETTINGS).fit(table)
    rows = table[:50]
    exact = grid_log_likelihood(model, rows, k)
    for method, options in (("importance", {"n_draws": 100}), ("ais", {"n_temperatures": 100})):
        found = log_likelihood(model, rows, method=method, random_state=1, **options)
        # Kinks of the decoder where no draw falls hide some hundredths of a nat.
        assert covered(found.values, found.errors + 0.02, exact) >= 0.9
        assert abs(found.mean - exact.mean()) < 1.96 * found.monte_carlo_error + 0.1


@pytest.mark.filterwarnings("ignore::skvim.exceptions.TooManyComponentsWarning")
def test_errors_grow_with_more_codes_than_columns(table):
    """Few draws then come near p(z|x); a long run tells how wrong they are."""
    rows = table[["curve", "count"]].dropna()
    model = VIMAETransformer(6, likelihood="auto", max_epochs=150, lr=3e-3, **SETTINGS).fit(rows)
    long = log_likelihood(model, rows[:60], n_draws=30_000)
    short = log_likelihood(model, rows[:60], n_draws=30, random_state=3)
    assert covered(short.values, short.errors, long.values) >= 0.9
    np.testing.assert_allclose(short.monte_carlo_error, short.errors.mean(), rtol=1.0)
    assert (short.biases >= 0).all()


@pytest.mark.filterwarnings("ignore::skvim.exceptions.TooManyComponentsWarning")
def test_annealing_that_is_too_short_does_not_claim_to_be_right(table):
    rows = table[["curve", "count"]].dropna()
    model = VIMAETransformer(2, likelihood="auto", max_epochs=60, lr=3e-3, **SETTINGS).fit(rows)
    exact = grid_log_likelihood(model, rows[:40], 2)
    found = log_likelihood(model, rows[:40], method="ais", n_temperatures=3, n_chains=4)
    assert covered(found.values, found.errors, exact) >= 0.9
    assert found.mean < exact.mean() - 0.2
    assert found.biases.mean() > 0.2
