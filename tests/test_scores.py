"""The log-likelihood of rows, where it is known exactly."""

import math

import numpy as np
import pytest
import torch
from family import DIGITS, GENERATIVE, SMALL, X, normal_rows
from scipy import integrate, stats
from sklearn.decomposition import PCA, FactorAnalysis

from skvim import VAETransformer, VIMAETransformer
from skvim.metrics import log_likelihood
from skvim.objectives import Gaussian, Normal


@pytest.fixture(scope="module")
def linear_vae():
    """A linear VAE trained close to its optimum, which is probabilistic PCA."""
    rows = normal_rows(2000, 8, 2)
    settings = {"hidden_layer_sizes": (), "batch_size": 500, "random_state": 0}
    model = VAETransformer(2, max_epochs=300, lr=1e-2, **settings)
    return model.fit(rows), rows


@pytest.mark.parametrize("spread", [1.0, 0.1, 10.0])
@pytest.mark.numerics
def test_linear_vae_has_the_likelihood_of_probabilistic_pca(linear_vae, spread):
    model, rows = linear_vae
    bias = model.net_.module_.encoder.layers[-1].bias
    with torch.no_grad():
        bias[2:] += math.log(spread)
    try:
        model.net_.casts_.clear()
        assert model.score(rows) == pytest.approx(PCA(2).fit(rows).score(rows), abs=0.1)
    finally:
        with torch.no_grad():
            bias[2:] -= math.log(spread)


@pytest.mark.numerics
def test_importance_sampling_is_exact_for_a_linear_decoder(linear_vae):
    model, rows = linear_vae
    module = model.net_.in_precision(torch.float64)
    weight = (module.output_scale * module.decoder.layers[-1].weight).detach().numpy()
    centre = module.decode(torch.zeros(1, 2, dtype=torch.float64)).detach().numpy()[0]
    covariance = weight @ weight.T + float(module.likelihood.value) * np.eye(8)
    exact = stats.multivariate_normal(centre, covariance).logpdf(rows[:20])
    np.testing.assert_allclose(model.score_samples(rows[:20], n_draws=3), exact, rtol=1e-9)


@pytest.mark.parametrize("scale", [0.3, 4.0])
@pytest.mark.numerics
def test_importance_sampling_is_exact_for_any_scale_of_the_prior(scale):
    settings = {**SMALL, "hidden_layer_sizes": ()}
    model = VAETransformer(2, prior=Normal(scale), **settings).fit(X)
    module = model.net_.in_precision(torch.float64)
    weight = (module.output_scale * module.decoder.layers[-1].weight).detach().numpy()
    centre = module.decode(torch.zeros(1, 2, dtype=torch.float64)).detach().numpy()[0]
    covariance = scale**2 * weight @ weight.T + float(module.likelihood.value) * np.eye(6)
    exact = stats.multivariate_normal(centre, covariance).logpdf(X)
    np.testing.assert_allclose(model.score_samples(X, n_draws=2), exact, rtol=1e-9)


@pytest.mark.parametrize("unit", [1e-5, 1.0, 1e5, 1e8, 1e10, 1e12])
@pytest.mark.numerics
def test_importance_sampling_is_exact_in_any_unit(unit):
    """Where rounding makes the curvature singular, too: more components than features."""
    settings = {**SMALL, "hidden_layer_sizes": ()}
    rows = unit * X
    model = VAETransformer(8, likelihood=Gaussian(1.0), **settings).fit(rows)
    module = model.net_.in_precision(torch.float64)
    weight = (module.output_scale * module.decoder.layers[-1].weight).detach().numpy()
    centre = module.decode(torch.zeros(1, 8, dtype=torch.float64)).detach().numpy()[0]
    u, s, _ = np.linalg.svd(weight)  # the covariance is W Wᵀ + I = U (S² + I) Uᵀ
    squares = (((rows - centre) @ u) ** 2 / (1 + s**2)).sum(1)
    exact = -0.5 * (squares + np.log1p(s**2).sum() + 6 * math.log(2 * math.pi))
    np.testing.assert_allclose(model.score_samples(rows, n_draws=2), exact, rtol=1e-3)


def test_score_under_a_logistic_prior_agrees_with_quadrature():
    model = VIMAETransformer(1, prior="logistic", lam=1.0, **SMALL).fit(X)
    module = model.net_.in_precision(torch.float64)

    def joint(z, row):
        with torch.no_grad():
            output = module.decode(torch.tensor([[z]], dtype=torch.float64))
            log_likelihood = module.likelihood(torch.tensor(row), output[0])
        return math.exp(float(log_likelihood) + stats.logistic.logpdf(z))

    exact = [math.log(integrate.quad(joint, -40, 40, args=(row,), limit=200)[0]) for row in X[:5]]
    np.testing.assert_allclose(model.score_samples(X[:5], n_draws=20_000), exact, atol=0.05)


def test_a_variance_for_each_feature_is_learned_and_scored():
    """A linear VAE with such variances is factor analysis."""
    source = np.random.default_rng(0)
    noise = np.array([0.2, 0.5, 1.0, 2.0, 0.3, 0.7])
    rows = source.normal(size=(4000, 2)) @ source.normal(size=(2, 6)) * 2
    rows += noise * source.normal(size=(4000, 6))
    settings = {"hidden_layer_sizes": (), "batch_size": 500, "random_state": 0}
    model = VAETransformer(2, likelihood=Gaussian("per-feature"), max_epochs=300, lr=1e-2)
    model.set_params(**settings).fit(rows)
    learned = model.net_.autoencoder.likelihood.value.numpy()
    np.testing.assert_allclose(np.sqrt(learned), noise, rtol=0.25)
    exact = FactorAnalysis(2).fit(rows).score(rows)
    assert model.score(rows) == pytest.approx(exact, abs=0.15)


@pytest.mark.parametrize("cls", GENERATIVE)
@pytest.mark.numerics
def test_score_does_not_depend_on_the_other_rows(cls):
    model = cls(2, **SMALL).fit(X)
    alone = np.concatenate([model.score_samples(row[None]) for row in X[:4]])
    np.testing.assert_allclose(model.score_samples(X)[:4], alone, rtol=1e-10)
    assert model.score(X) == pytest.approx(model.score_samples(X).mean())


@pytest.mark.parametrize("prior", ["normal", "logistic"])
def test_score_of_corrupted_rows_is_close_to_that_of_many_draws(prior):
    model = VIMAETransformer(8, prior=prior, max_epochs=30, random_state=0).fit(DIGITS[:500])
    noisy = DIGITS[1000:1040] + np.random.default_rng(0).normal(scale=0.4, size=(40, 64))
    few, many = (model.score_samples(noisy, n_draws=n).mean() for n in (30, 3000))
    assert few <= many < few + 4


@pytest.mark.parametrize("cls", GENERATIVE)
def test_more_draws_raise_the_lower_bound(cls):
    model = cls(4, **{**SMALL, "max_epochs": 30}).fit(DIGITS[:300])
    noisy = DIGITS[300:400] + np.random.default_rng(0).normal(scale=0.4, size=(100, 64))
    bounds = [
        np.mean([log_likelihood(model, noisy, n_draws=n, random_state=i).mean for i in range(40)])
        for n in (1, 10, 300)
    ]
    assert bounds[0] < bounds[1] < bounds[2]


def test_patterns_of_missing_cells_have_the_probability_that_their_cells_are_missing():
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(400, 3))
    rows[:100, 0] = rows[80:120, 1] = np.nan
    model = VAETransformer(1, likelihood="auto", **{**SMALL, "max_epochs": 2}).fit(rows)
    every = [[a, b, c] for a in (0.1, np.nan) for b in (0.2, np.nan) for c in (0.3, np.nan)]
    every = np.array(every)[:-1]
    found = model.score_samples(every, missing=True) - model.score_samples(every)
    share = (np.array([100, 40, 0]) + 0.5) / 401
    expected = stats.bernoulli(share).logpmf(np.isnan(every)).sum(1)
    np.testing.assert_allclose(found, expected, atol=1e-9)
    np.testing.assert_allclose(np.exp(found).sum(), 1 - share.prod())


@pytest.mark.parametrize("missing", [True, 1, None])
def test_patterns_are_for_tables_and_asked_for_by_a_boolean(missing):
    model = VAETransformer(2, **SMALL).fit(X)
    with pytest.raises(ValueError, match="missing"):
        model.score_samples(X, missing=missing)
