"""Information of codes against gaussian channels, whose values have closed forms."""

import math

import numpy as np
import pytest
import torch
from scipy import integrate, signal, stats
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError

from skvim import AETransformer, UncertaintyAETransformer, VAETransformer, VIMAETransformer
from skvim.metrics import active_units, information
from skvim.objectives import (
    Gaussian,
    GaussianPosterior,
    Logistic,
    LogisticPosterior,
    Moments,
    Normal,
    Prior,
    effective_rank,
    estimate_information,
)
from skvim.objectives._estimates import mixture_log_density

SMALL = {"hidden_layer_sizes": (8,), "max_epochs": 2, "random_state": 0}
SIGMA = np.array([[2.0, 0.6, 0.0], [0.6, 1.0, -0.3], [0.0, -0.3, 0.5]])
# Correlated codes, and independent ones.
MIXED = np.array([[0.8, 0.5, 0.0], [0.3, -0.6, 0.9]])
APART = np.linalg.inv(np.linalg.cholesky(SIGMA))[:2]


def normal_rows(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).multivariate_normal(np.zeros(3), SIGMA, n)


def channel(weights: np.ndarray, spread: float, prior=None, **settings) -> VAETransformer:
    """Return a model with q(z|x) = N(Wx, s² I) and p(x|z) = N(Wᵀz, I)."""
    k = len(weights)
    settings = {"posterior": GaussianPosterior(spread), "prior": prior or Normal(), **settings}
    model = VAETransformer(k, likelihood=Gaussian(1.0), **settings)
    model.set_params(**{**SMALL, "hidden_layer_sizes": ()}).fit(normal_rows(20))
    module = model.net_.autoencoder
    with torch.no_grad():
        for name in ("mean", "output_offset"):
            getattr(module, name).zero_()
        for name in ("scale", "output_scale"):
            getattr(module, name).fill_(1.0)
        for network, values in ((module.encoder, weights), (module.decoder, weights.T)):
            network.layers[-1].weight.copy_(torch.tensor(values))
            network.layers[-1].bias.zero_()
    return model


def code_covariance(weights: np.ndarray, spread: float) -> np.ndarray:
    return weights @ SIGMA @ weights.T + spread**2 * np.eye(len(weights))


def channel_information(weights: np.ndarray, spread: float) -> float:
    covariance = code_covariance(weights, spread)
    return 0.5 * np.linalg.slogdet(covariance / spread**2)[1]


def close(value: float, error: float | None = None) -> object:
    return pytest.approx(value, abs=max(0.05, 4 * (error or 0)))


CHANNELS = [(MIXED, 0.4, 1.7, np.float32), (APART, 0.6, 0.8, np.float64)]


@pytest.mark.parametrize(("weights", "spread", "scale", "dtype"), CHANNELS)
def test_gaussian_channel_has_the_information_of_its_closed_form(weights, spread, scale, dtype):
    found = channel(weights, spread, Normal(scale)).information(normal_rows(5000).astype(dtype))
    covariance = code_covariance(weights, spread) / scale**2
    variances = np.diag(covariance)
    log_volume = np.linalg.slogdet(covariance)[1]
    aggregated = 0.5 * (variances.sum() - 2 - log_volume)
    mutual = channel_information(weights, spread)
    assert found.mutual_information == close(mutual, found.mutual_information_se)
    assert found.aggregated_kl == close(aggregated, found.aggregated_kl_se)
    assert found.rate == close(mutual + aggregated, found.rate_se)
    correlation = 0.5 * (np.log(variances).sum() - log_volume)
    assert found.total_correlation == pytest.approx(correlation, abs=0.02)
    marginals = 0.5 * (variances - 1 - np.log(variances))
    np.testing.assert_allclose(found.marginal_kl, marginals, atol=0.05)
    np.testing.assert_allclose(found.latent_std, scale * np.sqrt(variances), rtol=0.05)
    np.testing.assert_allclose(found.latent_mean, 0, atol=0.1)
    assert found.mutual_information_bound == pytest.approx(math.log(5000))
    eigenvalues = np.linalg.eigvalsh(weights @ SIGMA @ weights.T)
    rank = math.exp(stats.entropy(eigenvalues))  # 2 for independent codes
    assert found.effective_rank == pytest.approx(rank, abs=0.02)
    residual = np.eye(3) - weights.T @ weights
    noise = spread**2 * np.trace(weights @ weights.T)
    expected = 0.5 * (np.trace(residual @ SIGMA @ residual.T) + noise)
    assert found.distortion == close(expected + 1.5 * math.log(2 * math.pi))


def test_kl_to_a_logistic_prior_agrees_with_quadrature():
    prior = Logistic(0.7)
    found = channel(MIXED, 0.5, prior).information(normal_rows(5000))
    covariance = code_covariance(MIXED, 0.5)

    def cross_entropy(variance: float) -> float:
        density = stats.norm(scale=math.sqrt(variance)).pdf
        logpdf = stats.logistic(scale=prior.scale).logpdf
        return integrate.quad(lambda z: -density(z) * logpdf(z), -40, 40, limit=200)[0]

    crossed = np.array([cross_entropy(variance) for variance in np.diag(covariance)])
    marginals = crossed - 0.5 * np.log(2 * np.pi * np.e * np.diag(covariance))
    np.testing.assert_allclose(found.marginal_kl, marginals, atol=0.03)
    entropy = 0.5 * np.linalg.slogdet(2 * np.pi * np.e * covariance)[1]
    aggregated = crossed.sum() - entropy
    assert found.aggregated_kl == close(aggregated, found.aggregated_kl_se)
    assert found.rate == close(aggregated + channel_information(MIXED, 0.5), found.rate_se)
    assert (found.prior_variance == prior.variance).all()
    assert found.prior_entropy == prior.entropy


def test_logistic_noise_leaves_the_information_of_its_entropies():
    """I = h(z) − h(z|x), with the density of z a convolution on a grid."""
    spread = 0.5
    model = channel(MIXED[:1], spread, posterior=LogisticPosterior(spread))
    found = model.information(normal_rows(5000))
    z = np.linspace(-15, 15, 4001)
    signal_density = stats.norm(scale=math.sqrt((MIXED[:1] @ SIGMA @ MIXED[:1].T)[0, 0])).pdf(z)
    scale = spread * math.sqrt(3) / math.pi
    noise_density = stats.logistic(scale=scale).pdf(z)
    density = signal.fftconvolve(signal_density, noise_density, mode="same") * (z[1] - z[0])
    density = np.maximum(density, 1e-300)
    expected = integrate.trapezoid(-density * np.log(density), z) - (2 + math.log(scale))
    assert found.mutual_information == close(expected, found.mutual_information_se)


@pytest.mark.numerics
@pytest.mark.parametrize("spread", [1e-5, 0.1])
@pytest.mark.parametrize("n", [10, 300])
def test_information_of_narrow_posteriors_approaches_log_n_from_below(n, spread):
    found = channel(MIXED, spread).information(normal_rows(n))
    assert found.mutual_information <= found.mutual_information_bound == math.log(n)
    if spread == 1e-5:
        assert found.mutual_information == pytest.approx(math.log(n), abs=1e-6)
        assert channel_information(MIXED, spread) > 2 * math.log(n)


@pytest.mark.parametrize("prior", ["normal", "logistic"])
@pytest.mark.parametrize("posterior", ["gaussian", "logistic"])
def test_rate_is_information_and_divergence_and_that_is_correlation_and_marginals(posterior, prior):
    rows = normal_rows(60)
    model = VIMAETransformer(4, posterior=posterior, prior=prior, **SMALL).fit(rows)
    found = information(model, rows)
    assert found.rate == pytest.approx(found.mutual_information + found.aggregated_kl, rel=1e-9)
    parts = found.total_correlation + found.marginal_kl.sum()
    assert found.aggregated_kl == pytest.approx(parts, rel=1e-9)


@pytest.mark.numerics
def test_a_collapsed_model_knows_nothing():
    found = channel(np.zeros((2, 3)), 1.0).information(normal_rows(50))
    parts = (found.rate, found.mutual_information, found.aggregated_kl, found.total_correlation)
    np.testing.assert_allclose([*parts, *found.marginal_kl], 0, atol=1e-12)
    assert found.active_units == 0
    assert found.effective_rank is None
    assert "effective rank" in str(found)


def draw(n: int, seed: int) -> tuple[Moments, torch.Tensor]:
    """Draw posteriors of a channel of 3 independent dimensions, each with ½ log 2 nats."""
    generator = torch.Generator().manual_seed(seed)
    loc, noise = torch.randn(2, n, 3, dtype=torch.float64, generator=generator) * math.sqrt(0.5)
    return Moments(loc, torch.full_like(loc, math.sqrt(0.5))), loc + noise


def test_bias_has_the_documented_direction_and_errors_are_those_of_repetition():
    found = [estimate_information(*draw(100, seed), Normal()) for seed in range(80)]
    truth = {"mutual_information": 1.5 * math.log(2), "aggregated_kl": 0.0}
    truth["rate"] = truth["mutual_information"]
    bias = {}
    for name, value in truth.items():
        estimates = np.array([getattr(f, name).value for f in found])
        errors = np.array([getattr(f, name).error for f in found])
        bias[name] = (estimates.mean() - value) / (estimates.std() / math.sqrt(len(found)))
        assert 0.7 < errors.mean() / estimates.std() < 1.4
    assert bias["mutual_information"] < -3
    assert bias["aggregated_kl"] > 3
    assert abs(bias["rate"]) < 4


def test_divergence_of_codes_that_follow_the_prior_is_known_better_than_the_information():
    found = estimate_information(*draw(2000, 0), Normal())
    assert found.aggregated_kl.error < found.mutual_information.error / 4
    assert abs(found.aggregated_kl.value) < 0.02


@pytest.mark.parametrize("base", [Normal(), Logistic.unit_variance()])
@pytest.mark.parametrize("values", [1, 7, 100, 2**17])
def test_mixture_in_blocks_is_the_mixture_of_all_pairs(monkeypatch, values, base):
    monkeypatch.setattr("skvim.objectives._estimates._BLOCK_VALUES", values)
    generator = torch.Generator().manual_seed(0)
    loc, z = 3 * torch.randn(2, 11, 2, dtype=torch.float64, generator=generator)
    scale = torch.rand(11, 2, dtype=torch.float64, generator=generator) + 0.5
    joint, marginals = mixture_log_density(Moments(loc, scale, base), z)
    standard = stats.norm() if base == Normal() else stats.logistic(scale=base.scale)
    pairs = standard.pdf((z[:, None] - loc) / scale) / scale.numpy()
    np.testing.assert_allclose(marginals, np.log(pairs.mean(1)), rtol=1e-10)
    np.testing.assert_allclose(joint, np.log(pairs.prod(2).mean(1)), rtol=1e-10)


def test_point_masses_have_no_mixture():
    z = torch.zeros(3, 2)
    with pytest.raises(ValueError, match="without a spread"):
        estimate_information(Moments(z, None), z, Normal())


DENSITIES = {"rate", "mutual_information", "aggregated_kl", "total_correlation", "marginal_kl"}
DENSITIES |= {"rate_se", "mutual_information_se", "aggregated_kl_se"}
OF_PRIOR = {"rate", "rate_se", "aggregated_kl", "aggregated_kl_se", "marginal_kl"}
OF_PRIOR |= {"active_units", "prior_variance", "prior_entropy"}
UNDEFINED = [
    (VAETransformer(3), set(), ""),
    (VIMAETransformer(3), DENSITIES, "a deterministic encoder has no density"),
    (UncertaintyAETransformer(3), OF_PRIOR, "the model has no prior"),
    (AETransformer(3), DENSITIES | OF_PRIOR, "no density, and the model has no prior"),
]


@pytest.mark.parametrize(("model", "absent", "reason"), UNDEFINED, ids=lambda v: type(v).__name__)
def test_what_is_not_defined_is_none_and_said_to_be(model, absent, reason):
    found = model.set_params(**SMALL).fit(normal_rows(40)).information(normal_rows(40))
    assert {name for name, value in vars(found).items() if value is None} == absent
    assert ("not defined" in str(found)) == bool(absent)
    assert str(found).endswith(reason)
    series = found.to_series()
    assert {name.rstrip("_012") for name in series.index[series.isna()]} == absent
    assert series["n_samples"] == 40
    assert series["latent_std_2"] == found.latent_std[2]
    assert len(series) == 13 + 4 * 3


class Uniform(Prior):
    """Between −1 and 1."""

    variance, entropy = 1 / 3, math.log(2)
    support = (-1.0, 1.0)

    def check(self): ...

    def log_density(self, z):
        inside = torch.full_like(z, -self.entropy)
        return inside.masked_fill(z.abs() > 1, -math.inf)

    def draw(self, shape, generator, dtype):
        return 2 * torch.rand(shape, generator=generator, dtype=dtype) - 1


def test_divergences_from_a_prior_with_bounds_are_infinite():
    prior = Uniform()
    settings = {**SMALL, "posterior": GaussianPosterior(0.05), "prior": prior}
    found = VIMAETransformer(2, **settings).fit(normal_rows(40)).information(normal_rows(40))
    assert found.rate == found.aggregated_kl == math.inf
    assert np.isposinf(found.marginal_kl).all()
    assert found.rate_se is None
    assert 0 < found.mutual_information <= math.log(40)
    assert math.isfinite(found.total_correlation)
    assert "inf" in str(found)


def test_rows_beyond_the_most_are_a_fixed_subset_and_global_generators_are_left_alone():
    model, rows = channel(MIXED, 0.5), normal_rows(500)
    before = (np.random.get_state(legacy=False)["state"]["pos"], torch.get_rng_state())  # noqa: NPY002
    some = model.information(rows, max_samples=80)
    assert np.random.get_state(legacy=False)["state"]["pos"] == before[0]  # noqa: NPY002
    assert torch.equal(torch.get_rng_state(), before[1])
    assert some.n_samples == 80
    assert some.mutual_information_bound == math.log(80)
    np.testing.assert_array_equal(
        some.to_series(), information(model, rows, max_samples=80).to_series()
    )
    assert model.information(rows, max_samples=500).n_samples == 500
    # A random subset: neither the first rows nor rows in groups.
    ordered = rows[np.argsort(rows[:, 0])]
    spread = channel(np.eye(3)[:1], 0.1).information(ordered, max_samples=80).latent_std[0]
    assert spread == pytest.approx(math.sqrt(2), rel=0.25)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_active_units_are_the_dimensions_whose_mean_varies(dtype):
    spread = np.array([1.0, 0.11, 0.09, 0.0])
    codes = (np.tile([[1.0], [-1.0]], (50, 1)) * spread + 100.0).astype(dtype)
    assert active_units(codes) == 2
    assert active_units(codes, threshold=0.5) == 1
    assert active_units(codes, threshold=0.001) == 3
    assert active_units(codes.tolist(), threshold=0) == 3


def test_active_units_takes_codes_of_any_layout():
    codes = np.array([[1.0, 0.01, 5.0], [-1.0, 0.02, 5.0]])
    codes.flags.writeable = False
    assert active_units(codes) == active_units(codes[::-1, ::-1]) == active_units(codes.T.T) == 1


@pytest.mark.numerics
def test_rounding_over_many_rows_is_no_activity():
    # Summed in float32, these have a variance of about 1.6.
    constant = np.full((1_000_000, 2), 100.03, dtype=np.float32)
    assert active_units(constant) == 0


def test_a_variance_at_the_threshold_is_not_active():
    assert active_units([[-0.5], [0.5]], threshold=0.25) == 0
    assert active_units([[-0.5], [0.5]], threshold=np.nextafter(0.25, 0)) == 1


@pytest.mark.parametrize(
    ("codes", "threshold", "message"),
    [
        (np.ones(3), 0.01, r"shape \(3,\)"),
        (np.ones((1, 3)), 0.01, "at least two rows"),
        (np.array([[1.0], [np.nan]]), 0.01, "NaN"),
        (np.ones((2, 3)), -1, "threshold .* Got -1"),
    ],
)
def test_active_units_refuses_what_it_cannot_count(codes, threshold, message):
    with pytest.raises(ValueError, match=message):
        active_units(codes, threshold)


def test_active_units_are_those_of_their_own_function():
    weights = np.vstack([MIXED, 0.05 * MIXED[:1], 0.12 * MIXED[:1], 0 * MIXED[:1]])
    for scale in (1.0, 2.0):
        model, rows = channel(weights, 0.5, Normal(scale)), normal_rows(300)
        expected = active_units(model.transform(rows), 0.01 * scale**2)
        assert model.information(rows).active_units == expected == (3 if scale == 1 else 2)


@pytest.mark.numerics
@pytest.mark.parametrize("k", [1, 2, 7])
def test_effective_rank_of_equal_dimensions_is_their_number(k):
    source = np.random.default_rng(0).normal(size=(200, k))
    white = PCA(whiten=True).fit_transform(source) * 3 + 5
    assert effective_rank(torch.tensor(white)) == pytest.approx(k)
    doubled = torch.tensor(np.hstack([white, white]))
    assert effective_rank(doubled) == pytest.approx(k)


def test_effective_rank_is_the_exponential_of_the_entropy_of_variances():
    white = PCA(whiten=True).fit_transform(np.random.default_rng(0).normal(size=(200, 3)))
    shares = np.array([0.7, 0.2, 0.1])
    found = effective_rank(torch.tensor(white * np.sqrt(shares)))
    assert found == pytest.approx(math.exp(stats.entropy(shares)))


@pytest.mark.numerics
@pytest.mark.parametrize("value", [0.0, 0.1, -1 / 3, 12345.678])
def test_codes_that_differ_by_rounding_alone_have_no_effective_rank(value):
    assert effective_rank(torch.full((100_000, 3), value)) is None
    codes = torch.full((200, 3), value, dtype=torch.float64)
    assert effective_rank(codes) is None
    codes[::2, 0] = np.nextafter(value, 2 * value)
    assert effective_rank(codes) is None
    codes[::2, 0] += 1e-9 * abs(value) + 1e-12
    assert effective_rank(codes) == pytest.approx(1, abs=1e-3)


def test_what_cannot_be_measured_is_refused():
    model = VAETransformer(2, likelihood="bernoulli", **SMALL)
    with pytest.raises(NotFittedError):
        information(model, normal_rows(10))
    model.fit(np.random.default_rng(0).random((30, 3)))
    with pytest.raises(ValueError, match=r"max_samples must be an int in \[10, inf\). Got 9"):
        model.information(normal_rows(10), max_samples=9)
    with pytest.raises(ValueError, match=r"expects every value of X in \[0, 1\]"):
        model.information(normal_rows(10))
    with pytest.raises(TypeError, match="takes a fitted autoencoder"):
        information(PCA(), normal_rows(10))
    with pytest.raises(ValueError, match=r"needs at least 10. Got 9"):
        model.information(np.full((9, 3), 0.5))
