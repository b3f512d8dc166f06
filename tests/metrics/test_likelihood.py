"""Truths about log-likelihoods: exact densities, quadrature, and errors that hold."""

import math
import sys

import numpy as np
import pytest
import torch
from scipy import stats
from scipy.spatial.distance import cdist
from scipy.special import logsumexp
from sklearn.datasets import load_digits
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import distributions

from skvim import AETransformer, UncertaintyAETransformer, VAETransformer, VIMAETransformer
from skvim.metrics import log_likelihood
from skvim.metrics._log_likelihood import _squared_distances
from skvim.objectives import Normal, log_mean

DIGITS = load_digits().data / 16
SMALL = {"hidden_layer_sizes": (16,), "max_epochs": 5, "random_state": 0}
QUICK = {
    "importance": {"n_draws": 20},
    "ais": {"n_temperatures": 20, "n_chains": 3, "n_leapfrog": 2},
    "parzen": {"n_draws": 50},
}
by_method = pytest.mark.parametrize("method", QUICK)


def normal_rows(n: int, d: int, k: int, loading: float = 1.0) -> np.ndarray:
    """Draw from a probabilistic PCA model with unit noise."""
    source = np.random.default_rng(0)
    codes, loadings = source.normal(size=(n, k)), loading * source.normal(size=(k, d))
    return codes @ loadings + source.normal(size=(n, d)) + 5.0


X = normal_rows(120, 6, 2)


def linear(rows: np.ndarray, k: int, **settings):
    """Fit an affine decoder: model, its loadings, its centre and its noise."""
    settings = {"lr": 1e-2, "max_epochs": 60, "random_state": 0} | settings
    model = VAETransformer(k, hidden_layer_sizes=(), **settings).fit(rows)
    module = model.net_.in_precision(torch.float64)
    weight = (module.output_scale * module.decoder.layers[-1].weight).detach().numpy()
    centre = module.decode(torch.zeros(1, k, dtype=torch.float64)).detach().numpy()[0]
    return model, weight * math.sqrt(model.prior_.variance), centre, float(module.likelihood.value)


def exact(weight, centre, variance) -> stats.rv_continuous:
    """Return the density of rows, W z + c + σ ε."""
    covariance = weight @ weight.T + variance * np.eye(len(centre))
    return stats.multivariate_normal(centre, covariance)


def quadrature(model, rows, density, low=-30.0, high=30.0) -> np.ndarray:
    """Return log p(x) of a model with one latent dimension."""
    z = np.linspace(low, high, 20_001)[1:-1]
    module = model.net_.in_precision(torch.float64)
    with torch.no_grad():
        decoded = module.decode(torch.tensor(z).unsqueeze(1))
        log_likelihoods = [module.likelihood(torch.tensor(row), decoded).numpy() for row in rows]
    return logsumexp(np.array(log_likelihoods) + density.logpdf(z), axis=1) + np.log(z[1] - z[0])


@pytest.fixture(scope="module")
def plane():
    """An affine model of the plane with one latent dimension."""
    return linear(normal_rows(500, 2, 1), 1)


@pytest.fixture(scope="module")
def curved():
    """A model with one latent dimension that no proposal fits exactly, and log p of its rows."""
    model = VIMAETransformer(1, prior="logistic", lam=1.0, **SMALL).fit(X)
    return model, quadrature(model, X, stats.logistic())


@pytest.fixture(scope="module")
def written():
    """A model of digits."""
    model = VAETransformer(4, hidden_layer_sizes=(32,), max_epochs=20, random_state=0)
    return model.fit(DIGITS[:1000])


@pytest.mark.numerics
def test_importance_sampling_is_exact_for_a_linear_decoder_and_knows_it(plane):
    model, *parts = plane
    rows = normal_rows(500, 2, 1)[:20]
    found = log_likelihood(model, rows, n_draws=7)
    np.testing.assert_allclose(found.values, exact(*parts).logpdf(rows), rtol=1e-9)
    np.testing.assert_allclose(found.errors, 0, atol=1e-6)
    np.testing.assert_allclose(found.effective_draws, 7)
    assert found.mean == pytest.approx(found.values.mean())
    assert found.monte_carlo_error == pytest.approx(0, abs=1e-6)
    assert found.standard_error == pytest.approx(stats.sem(found.values))


def test_score_samples_are_the_values_of_importance_sampling(curved):
    model, _ = curved
    found = log_likelihood(model, X, n_draws=30)
    np.testing.assert_array_equal(model.score_samples(X, n_draws=30), found.values)


def test_annealing_is_close_to_exact_in_two_dimensions():
    model, *parts = linear(normal_rows(500, 8, 2), 2)
    rows = normal_rows(500, 8, 2)[:20]
    found = log_likelihood(model, rows, method="ais", n_temperatures=200)
    gaps = found.values - exact(*parts).logpdf(rows)
    assert abs(gaps.mean()) < 0.2
    assert abs(gaps).max() < 1


def test_annealing_is_close_to_exact_in_sixteen_dimensions():
    model, *parts = linear(normal_rows(500, 32, 16), 16, prior=Normal(3.0))
    rows = normal_rows(500, 32, 16)[:10]
    found = log_likelihood(model, rows, method="ais")
    gaps = found.values - exact(*parts).logpdf(rows)
    assert abs(gaps.mean()) < 0.5
    assert abs(gaps).max() < 2
    np.testing.assert_allclose(found.acceptance, 0.65, atol=0.05)


@pytest.mark.parametrize("n_temperatures", [1, 2, 10])
def test_annealed_weights_are_unbiased_whatever_their_temperatures(plane, n_temperatures):
    model, *parts = plane
    rows = normal_rows(500, 2, 1)[:3]
    options = {"n_temperatures": n_temperatures, "n_chains": 4000, "n_leapfrog": 20}
    found = log_likelihood(model, rows, method="ais", random_state=0, **options)
    assert (abs(found.values - exact(*parts).logpdf(rows)) < 4 * found.errors).all()
    assert found.errors.max() < 0.1
    assert np.isnan(found.acceptance).all() == (n_temperatures == 1)


PRIORS = {
    "logistic": ("logistic", stats.logistic()),
    "uniform": (distributions.Uniform(-1.0, 2.0), stats.uniform(-1, 3)),
    "weibull": (distributions.Weibull(2.0, 1.5), stats.weibull_min(1.5, scale=2)),
    "laplace": (distributions.Laplace(1.0, 0.5), stats.laplace(1, 0.5)),
}


@pytest.mark.parametrize("name", PRIORS)
@pytest.mark.parametrize(
    ("method", "options"),
    [("importance", {"n_draws": 3000}), ("ais", {"n_temperatures": 30, "n_chains": 300})],
)
def test_estimates_agree_with_quadrature_whatever_the_prior(name, method, options):
    prior, density = PRIORS[name]
    model = VIMAETransformer(1, prior=prior, lam=1.0, **SMALL).fit(X)
    low, high = max(-30.0, density.support()[0]), min(60.0, density.support()[1])
    truth = quadrature(model, X[:5], density, low, high)
    found = log_likelihood(model, X[:5], method=method, random_state=0, **options)
    assert (abs(found.values - truth) < 4 * found.errors).all()
    assert found.errors.max() < 0.1


def test_importance_sampling_and_annealing_agree_on_digits(written):
    drawn = log_likelihood(written, DIGITS[1000:1020], n_draws=3000)
    annealed = log_likelihood(written, DIGITS[1000:1020], method="ais", n_temperatures=500)
    errors = np.hypot(drawn.errors, annealed.errors)
    assert (abs(drawn.values - annealed.values) < 4 * errors).all()
    assert abs(drawn.mean - annealed.mean) < 0.2


def test_more_temperatures_raise_the_lower_bound(written):
    bounds = [
        log_likelihood(written, DIGITS[1000:1020], method="ais", n_temperatures=n).mean
        for n in (1, 5, 50)
    ]
    assert bounds[0] + 1 < bounds[1] < bounds[2] - 1


@pytest.mark.slow
def test_defaults_of_annealing_come_within_half_a_nat_on_digits():
    model = VIMAETransformer(16, max_epochs=60, random_state=0).fit(DIGITS[:1400])
    rows = DIGITS[1400:1408]
    drawn = log_likelihood(model, rows, n_draws=5000)
    annealed = log_likelihood(model, rows, method="ais")
    assert abs(drawn.mean - annealed.mean) < 0.5


# Errors.


REPEATS = {
    "importance": {"n_draws": 10},
    "ais": {"n_temperatures": 10, "n_chains": 10, "n_leapfrog": 3},
    "parzen": {"n_draws": 200, "bandwidth": 2.0},
}


@pytest.mark.parametrize("method", REPEATS)
def test_monte_carlo_errors_are_the_spread_over_seeds(curved, method):
    model, _ = curved
    found = [
        log_likelihood(model, X[:15], method=method, random_state=seed, **REPEATS[method])
        for seed in range(40)
    ]
    spread = np.std([one.mean for one in found], ddof=1)
    stated = np.sqrt(np.mean([one.monte_carlo_error**2 for one in found]))
    assert 0.7 < spread / stated < 1.4  # the spread of 40 has an error of 11%
    spreads = np.std([one.values for one in found], axis=0, ddof=1)
    errors = np.sqrt(np.mean([one.errors**2 for one in found], axis=0))
    assert 0.8 < np.mean(spreads / errors) < 1.25


@pytest.mark.parametrize("method", REPEATS)
def test_standard_errors_are_the_spread_over_fresh_rows(curved, method):
    model, _ = curved
    source = np.random.default_rng(1)
    found = []
    for seed in range(60):
        # So alike that errors which rows share would not show in the spread of their values.
        rows = X[0] + 0.2 * source.normal(size=(10, 6))
        found.append(
            log_likelihood(model, rows, method=method, random_state=seed, **REPEATS[method])
        )
    spread = np.std([one.mean for one in found], ddof=1)
    stated = np.sqrt(np.mean([one.standard_error**2 for one in found]))
    assert 0.75 < spread / stated < 1.35  # the spread of 60 has an error of 9%


def test_mean_of_weights_has_its_closed_form_and_its_limits():
    found = log_mean(torch.tensor([[1.0, 1.0], [1.0, 3.0], [1.0, 0.0]]).double().log() + 700)
    torch.testing.assert_close(found.value, torch.tensor([1.0, 2.0, 0.5]).double().log() + 700)
    torch.testing.assert_close(found.error, torch.tensor([0.0, 0.5, 1.0]).double())
    torch.testing.assert_close(found.effective, torch.tensor([2.0, 1.6, 1.0]).double())
    assert log_mean(torch.zeros(2, 1)).error.isnan().all()


@by_method
def test_errors_of_one_draw_or_row_are_unknown(curved, method):
    single = {"ais": "n_chains"}.get(method, "n_draws")
    given = {"bandwidth": 1.0} if method == "parzen" else {}
    options = {**QUICK[method], **given}
    one = log_likelihood(curved[0], X[:3], method=method, **{**options, single: 1})
    assert np.isnan(one.errors).all()
    assert math.isnan(one.monte_carlo_error)
    assert np.isfinite(one.values).all()
    alone = log_likelihood(curved[0], X[:1], method=method, **options)
    assert math.isnan(alone.standard_error)
    assert alone.monte_carlo_error == pytest.approx(alone.errors[0])


# Parzen windows.


@pytest.mark.numerics
def test_distances_keep_their_digits_far_from_the_origin():
    source = np.random.default_rng(0)
    rows, samples = (torch.tensor(1e7 + source.normal(size=(n, 3))) for n in (20, 30))
    ((_, distances),) = _squared_distances(rows, samples)
    np.testing.assert_allclose(distances, cdist(rows, samples, "sqeuclidean"), rtol=1e-6)


@pytest.mark.parametrize(("shift", "factor"), [(0.0, 2.0), (1000.0, 0.5)])
def test_parzen_is_the_model_with_the_kernel_for_its_noise(shift, factor):
    rows = normal_rows(500, 2, 1) + shift
    model, weight, centre, variance = linear(rows, 1)
    width = factor * math.sqrt(variance)
    found = log_likelihood(model, rows[:50], method="parzen", n_draws=20_000, bandwidth=width)
    gaps = found.values - exact(weight, centre, width**2).logpdf(rows[:50])
    assert (abs(gaps) < 4 * found.errors).all()
    assert found.errors.max() < 0.1
    np.testing.assert_array_equal(found.bandwidth, width)


def test_chosen_bandwidth_is_the_noise_of_the_model(plane):
    model, weight, centre, variance = plane
    rows = exact(weight, centre, variance).rvs(600, random_state=0)
    found = log_likelihood(model, rows, method="parzen", n_draws=3000)
    assert len(np.unique(found.bandwidth)) == 2
    np.testing.assert_allclose(found.bandwidth, math.sqrt(variance), rtol=0.15)


def test_bandwidth_of_a_row_is_chosen_without_it(plane):
    model = plane[0]
    rows = normal_rows(500, 2, 1)[:41]
    before = log_likelihood(model, rows, method="parzen", n_draws=200).bandwidth
    half = before == before[0]
    assert half.sum() in (20, 21)
    after = log_likelihood(model, rows + 9 * half[:, None], method="parzen", n_draws=200).bandwidth
    np.testing.assert_array_equal(after[half], before[half])
    assert (after[~half] > 1.5 * before[~half]).all()


def test_no_bandwidth_can_be_selected_for_one_row_or_constant_data(plane):
    with pytest.raises(ValueError, match="bandwidth=None needs at least two rows"):
        log_likelihood(plane[0], X[:1, :2], method="parzen")
    constant = VAETransformer(2, **SMALL).fit(np.ones((30, 3)))
    with torch.no_grad():
        constant.net_.module_.decoder.layers[-1].weight.zero_()
        constant.net_.module_.decoder.layers[-1].bias.zero_()
    with pytest.raises(ValueError, match="No bandwidth can be selected"):
        log_likelihood(constant, np.ones((4, 3)), method="parzen", n_draws=9)


# What all methods have in common.


@by_method
def test_estimates_repeat_and_leave_the_global_generators(curved, method):
    model, _ = curved
    options = {"method": method, **QUICK[method]}
    before = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    own = [log_likelihood(model, X[:9], **options).values for _ in range(2)]
    seeded = [log_likelihood(model, X[:9], random_state=s, **options).values for s in (1, 1, 2)]
    np.testing.assert_array_equal(own[0], own[1])
    np.testing.assert_array_equal(seeded[0], seeded[1])
    assert not np.array_equal(seeded[0], seeded[2])
    assert torch.equal(before[0], torch.get_rng_state())
    np.testing.assert_array_equal(before[1], np.random.get_state()[1])  # noqa: NPY002


@pytest.mark.numerics
@pytest.mark.parametrize("method", ["importance", "ais"])
def test_rows_do_not_influence_each_other(curved, method):
    model, _ = curved
    options = {"method": method, **QUICK[method]}
    together = log_likelihood(model, X[:6], **options)
    alone = [log_likelihood(model, row[None], **options) for row in X[:6]]
    np.testing.assert_allclose(together.values, [one.mean for one in alone], rtol=1e-9)
    turned = log_likelihood(model, X[:6][::-1], **options)
    np.testing.assert_allclose(together.values, turned.values[::-1], rtol=1e-9)


@pytest.mark.numerics
@by_method
def test_estimates_do_not_depend_on_how_rows_are_cut(curved, method, monkeypatch):
    options = {"method": method, **QUICK[method]}
    whole = log_likelihood(curved[0], X[:7], **options)
    monkeypatch.setattr(sys.modules["skvim.engine._inference"], "_CHUNK_VALUES", 1)
    monkeypatch.setattr(sys.modules["skvim.metrics._log_likelihood"], "_BLOCK_VALUES", 1)
    cut = log_likelihood(curved[0], X[:7], **options)
    np.testing.assert_allclose(cut.values, whole.values, rtol=1e-9)
    assert cut.monte_carlo_error == pytest.approx(whole.monte_carlo_error)


@by_method
def test_images_are_taken_as_their_rows(method):
    images = DIGITS[:60].reshape(60, 8, 8)
    options = {"method": method, **QUICK[method]}
    found = [
        log_likelihood(VAETransformer(2, **SMALL).fit(data), data[:5], **options)
        for data in (images, DIGITS[:60])
    ]
    np.testing.assert_array_equal(found[0].values, found[1].values)


COUNT = r"must be an int in \[1, inf\). Got"
BANDWIDTH = r"bandwidth must be a float in \(0, inf\) or None. Got"
METHOD = "method must be 'importance', 'ais' or 'parzen'. Got"


@pytest.mark.parametrize(
    ("method", "options", "message"),
    [
        *(("importance", {"n_draws": value}, COUNT) for value in (0, 2.5, True, "many")),
        *(("ais", {name: 0}, COUNT) for name in ("n_temperatures", "n_chains", "n_leapfrog")),
        *(("parzen", {"bandwidth": h}, BANDWIDTH) for h in (0, -1.0, math.inf, math.nan, "auto")),
        ("importance", {"n_chains": 5}, "n_chains is not an option of method='importance', which"),
        ("ais", {"n_draws": 5}, "n_draws is not an option of method='ais', which takes"),
        *((method, {}, METHOD) for method in ("elbo", None, ["ais"])),
    ],
)
def test_bad_options_are_refused(curved, method, options, message):
    with pytest.raises(ValueError, match=message):
        log_likelihood(curved[0], X, method=method, **options)


def test_estimators_without_a_prior_or_a_fit_are_refused(curved):
    plain = AETransformer(2, **SMALL).fit(X)
    chained = UncertaintyAETransformer(2, **SMALL).fit(X)
    pipeline = make_pipeline(StandardScaler(), VAETransformer(2, **SMALL)).fit(X)
    for estimator in (plain, chained, pipeline):
        with pytest.raises(TypeError, match="that has a prior, such as VAETransformer"):
            log_likelihood(estimator, X)
    with pytest.raises(NotFittedError):
        log_likelihood(VAETransformer(2), X)


def test_rows_outside_the_support_are_refused_where_there_is_one():
    model = VAETransformer(2, likelihood="bernoulli", **SMALL).fit(DIGITS[:50])
    for method in ("importance", "ais"):
        with pytest.raises(ValueError, match=r"expects every value of X in \[0, 1\]"):
            log_likelihood(model, 2 * DIGITS[:5], method=method)
    assert np.isfinite(log_likelihood(model, 2 * DIGITS[:5], method="parzen").mean)
