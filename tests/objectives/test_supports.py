"""Priors with bounds: the transform onto the support, and importance sampling through it."""

import math

import numpy as np
import pytest
import torch
from scipy import stats
from torch import distributions as D  # noqa: N812  # torch's own abbreviation
from torch import nn

from skvim.objectives import Autoencoder, DataStatistics, DiracPosterior, Gaussian, make_prior
from skvim.objectives._importance import importance_log_weights
from skvim.objectives._support import SupportTransform


class Constant(nn.Module):
    """An encoder that points to one code, whatever the row."""

    def __init__(self, code: float) -> None:
        super().__init__()
        self.code = code

    def forward(self, x):
        return torch.full_like(x, self.code)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


class Flat(nn.Module):
    """A decoder z ↦ 5 max(0, z − 1)."""

    def forward(self, z):
        return 5 * (z - 1).relu()


def estimates(prior, code, x, n_draws, decoder=None):
    """Estimate log p(x) for x = f(z) + ε, ε ~ N(0, I), from an encoder that says ``code``."""
    likelihood = Gaussian(variance=1.0)
    model = Autoencoder(Constant(code), decoder or nn.Identity(), DiracPosterior(), likelihood)
    model.prepare(DataStatistics(torch.zeros(x.shape[1]), 1.0, 0.0, 0.0, len(x)))
    noise = torch.randn(n_draws, x.shape[1], generator=generator(), dtype=torch.float64)
    weights = importance_log_weights(model.double().eval(), prior, x, noise)
    return weights.logsumexp(-1) - math.log(n_draws)


BOUNDED = {
    "none": D.Normal(torch.tensor([0.0, 1.0]), torch.tensor([1.0, 3.0])),
    "both": D.Uniform(torch.tensor([-1.0, 0.0]), torch.tensor([1.0, 0.01])),
    "below": D.Weibull(torch.tensor([2.0, 0.03]), torch.tensor([1.5, 3.0])),
    "above": D.TransformedDistribution(
        D.Exponential(torch.tensor([1.0, 50.0])), D.AffineTransform(3.0, -2.0)
    ),
}
by_bounds = pytest.mark.parametrize("distribution", BOUNDED.values(), ids=BOUNDED.keys())


@by_bounds
def test_the_real_line_is_mapped_onto_the_support(distribution):
    prior = make_prior(distribution, 2)
    transform = SupportTransform(prior, torch.zeros(2, dtype=torch.float64))
    draws = prior.draw((200, 2), generator(), torch.float64)
    torch.testing.assert_close(transform(transform.inverse(draws)), draws)
    y = torch.linspace(-15, 15, 31, dtype=torch.float64).unsqueeze(1).expand(31, 2)
    low, high = prior.support
    assert ((transform(y) > low) & (transform(y) < high)).all()
    slopes = torch.func.vmap(torch.func.jacrev(transform))(y).diagonal(dim1=1, dim2=2).abs()
    torch.testing.assert_close(transform.log_derivative(y).exp(), slopes)


@by_bounds
def test_transformed_density_integrates_to_one_and_has_the_variance_it_names(distribution):
    prior = make_prior(distribution, 2)
    transform = SupportTransform(prior, torch.zeros(2, dtype=torch.float64))
    y = torch.linspace(-60, 60, 120_001, dtype=torch.float64)
    for i in range(2):
        column = transform.inverse(prior.centre.expand(2)).expand(len(y), 2).clone()
        column[:, i] = y
        log_density = (
            prior.log_density(transform(column))[:, i] + transform.log_derivative(column)[:, i]
        )
        masses = log_density.exp() * (y[1] - y[0])
        assert float(masses.sum()) == pytest.approx(1, abs=1e-6)
        mean = (masses * y).sum()
        variance = (masses * (y - mean).square()).sum()
        assert float(transform.variances[i]) == pytest.approx(float(variance), rel=0.2)


@pytest.mark.parametrize("outside", [-5.0, 0.0, 1.0, 7.0])
def test_a_code_outside_the_support_starts_inside(outside):
    transform = SupportTransform(make_prior(D.Uniform(0.0, 1.0)), torch.zeros(3))
    start = transform(transform.inverse(torch.full((1, 3), outside), 0.1))
    torch.testing.assert_close(start, torch.full((1, 3), outside).clamp(0.1, 0.9))


@pytest.mark.parametrize("code", [-300.0, -50.0, 0.0, 20.0, 300.0])
@pytest.mark.numerics
def test_a_uniform_prior_is_scored_exactly_from_any_start(code):
    # Rows inside, at the bound and up to thirty standard deviations beyond it.
    x = torch.tensor([[-49.0, 0.0], [30.0, 49.9], [0.0, 53.0], [0.0, 80.0]], dtype=torch.float64)
    beyond = stats.norm.logcdf(50 - x.numpy())
    inside = np.log(stats.norm.cdf(50 - x) - stats.norm.cdf(-50 - x) + 1e-300)
    exact = (np.where(x > 50, beyond, inside) - math.log(100)).sum(1)
    found = estimates(make_prior(D.Uniform(-50.0, 50.0)), code, x, 20_000)
    np.testing.assert_allclose(found, exact, atol=0.05)


@pytest.mark.parametrize("code", [-5.0, 0.0, 1.0, 20.0])
@pytest.mark.parametrize("x", [-2.0, 0.5, 8.0, 20.0])
@pytest.mark.numerics
def test_an_exponential_prior_is_scored_exactly_from_any_start(code, x):
    exact = stats.exponnorm(2.0, scale=1.0).logpdf(x)  # rate ½
    row = torch.tensor([[x]], dtype=torch.float64)
    found = estimates(make_prior(D.Exponential(0.5)), code, row, 5000)
    assert float(found) == pytest.approx(exact, abs=0.05)


@pytest.mark.parametrize("code", [-1.0, 0.0, 0.9])
def test_the_mode_is_found_from_where_the_decoder_is_flat(code):
    prior = make_prior("normal", 1)
    x = torch.tensor([[4.0]], dtype=torch.float64)
    z = np.linspace(-9, 9, 20_001)
    joint = stats.norm.pdf(z) * stats.norm.pdf(4.0 - 5 * np.maximum(0, z - 1))
    found = float(estimates(prior, code, x, 300, Flat()))
    assert found == pytest.approx(math.log(joint.sum() * (z[1] - z[0])), abs=0.1)
