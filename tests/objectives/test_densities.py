"""Priors, posteriors and likelihoods against SciPy and their defining properties."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from skvim.objectives import (
    Bernoulli,
    DataStatistics,
    DiracPosterior,
    Gaussian,
    GaussianPosterior,
    Logistic,
    Moments,
    Normal,
    make_likelihood,
    make_prior,
)

SCALES = st.floats(1e-3, 1e3)
FAMILIES = [(Normal, stats.norm), (Logistic, stats.logistic)]


def statistics(x: torch.Tensor) -> DataStatistics:
    return DataStatistics(x.mean(0), float(x.std()), float(x.min()), float(x.max()), len(x))


@pytest.mark.parametrize(("family", "reference"), FAMILIES)
@given(scale=SCALES, u=st.floats(-30, 30))
def test_prior_matches_scipy(family, reference, scale, u):
    prior, frozen = family(scale), reference(scale=scale)
    assert prior.variance == pytest.approx(frozen.var(), rel=1e-12)
    assert prior.entropy == pytest.approx(float(frozen.entropy()), abs=1e-9)
    z = u * scale
    log_density = prior.log_density(torch.tensor(z, dtype=torch.float64)).item()
    assert log_density == pytest.approx(frozen.logpdf(z), abs=1e-9)


@pytest.mark.parametrize(("family", "reference"), FAMILIES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_prior_draws_follow_its_density(family, reference, dtype):
    draws = family(1.7).draw((20_000,), torch.Generator().manual_seed(0), dtype)
    assert draws.dtype == dtype
    assert stats.kstest(draws.numpy(), reference(scale=1.7).cdf).pvalue > 0.01


def test_standard_logistic_has_two_nats_more_than_a_normal():
    assert Logistic().entropy == 2.0
    assert Normal().entropy == pytest.approx(1.4189385, abs=1e-7)
    assert Logistic.unit_variance().variance == pytest.approx(1.0)
    assert Logistic.unit_variance().entropy == pytest.approx(1.40458, abs=1e-5)


@pytest.mark.parametrize(
    "prior", [Normal(0.0), Normal(-1.0), Logistic(math.inf), Logistic(math.nan)]
)
def test_prior_refuses_a_bad_scale(prior):
    with pytest.raises(ValueError, match=r"scale of the prior .* must be a positive finite number"):
        make_prior(prior)


def test_gaussian_posterior_draws_have_its_moments():
    q = Moments(torch.full((50_000, 1), 2.0), torch.full((50_000, 1), 0.5))
    z = GaussianPosterior().draw(q, torch.Generator().manual_seed(0))
    assert stats.kstest(z.squeeze(1).numpy(), stats.norm(2, 0.5).cdf).pvalue > 0.01


def test_gaussian_posterior_is_bounded_and_dirac_is_a_point():
    q = GaussianPosterior().moments(torch.tensor([[0.0, 1e6], [0.0, -1e6]]))
    assert torch.isfinite(q.scale).all()
    assert (q.scale > 0).all()
    point = DiracPosterior().moments(torch.ones(2, 3))
    assert point.scale is None
    assert DiracPosterior().draw(point, torch.Generator()) is point.loc


def test_gaussian_likelihood_matches_scipy():
    x, output = torch.tensor([[1.0, -2.0, 0.5]]), torch.tensor([[0.0, 0.0, 1.0]])
    expected = stats.norm(output, math.sqrt(0.3)).logpdf(x).sum()
    assert Gaussian(variance=0.3)(x, output).item() == pytest.approx(expected, rel=1e-6)


def test_bernoulli_likelihood_matches_scipy():
    x, output = torch.tensor([[1.0, 0.0, 1.0]]), torch.tensor([[0.3, -2.0, 5.0]])
    expected = stats.bernoulli(torch.sigmoid(output)).logpmf(x).sum()
    assert Bernoulli()(x, output).item() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("likelihood", [Gaussian(variance=0.3), Bernoulli()], ids=repr)
def test_precision_is_the_fisher_information(likelihood):
    output = torch.tensor([[0.4, -1.0]], dtype=torch.float64, requires_grad=True)
    likelihood = make_likelihood(likelihood).double()

    def expected_log_density(out):
        if isinstance(likelihood, Bernoulli):
            p = output.detach().sigmoid()
            ones = torch.nn.functional.logsigmoid(out)
            zeros = torch.nn.functional.logsigmoid(-out)
            return (p * ones + (1 - p) * zeros).sum()
        return -0.5 * ((out - output.detach()).square() / 0.3).sum()

    hessian = torch.autograd.functional.hessian(expected_log_density, output).reshape(2, 2)
    torch.testing.assert_close(-hessian.diagonal(), likelihood.precision(output.detach())[0])


def test_learned_variance_reaches_the_mean_squared_error():
    source = torch.Generator().manual_seed(0)
    likelihood = Gaussian()
    likelihood.prepare(statistics(torch.randn(4000, 4, generator=source)))
    for _ in range(300):
        error = 0.3 * torch.randn(200, 4, generator=source)
        likelihood(error, torch.zeros(200, 4))
    assert likelihood.value.item() == pytest.approx(0.09, rel=0.05)
    frozen = likelihood.value.clone()
    likelihood.eval()(torch.ones(5, 4), torch.zeros(5, 4))
    assert torch.equal(likelihood.value, frozen)


def test_learned_variance_survives_a_perfect_fit():
    likelihood = Gaussian()
    x = torch.randn(50, 3, generator=torch.Generator().manual_seed(0))
    likelihood.prepare(statistics(x))
    for _ in range(2000):
        value = likelihood(x, x)
    assert torch.isfinite(value).all()
    assert likelihood.value > 0


@pytest.mark.parametrize("number", [np.float32(2), np.int64(2), 2, 2.0])
def test_numbers_of_numpy_are_numbers(number):
    assert make_prior(Normal(number)).variance == 4
    likelihood = make_likelihood(Gaussian(variance=number))
    likelihood.prepare(statistics(torch.ones(3, 2)))
    assert likelihood.value == 2


def test_a_variance_set_later_counts():
    likelihood = Gaussian(variance=1.0)
    likelihood.variance = 5.0
    copied = make_likelihood(likelihood)
    copied.prepare(statistics(torch.ones(3, 2)))
    assert copied.value == 5.0


@pytest.mark.parametrize("variance", [0, -1.0, math.nan, math.inf, 1e-50, "auto", True, (1.0,)])
def test_gaussian_refuses_a_bad_variance(variance):
    with pytest.raises(ValueError, match="variance of the likelihood Gaussian must be"):
        make_likelihood(Gaussian(variance=variance))


def test_likelihood_given_by_the_user_is_copied():
    own = Gaussian(variance=2.0)
    copy = make_likelihood(own)
    copy.value.fill_(5.0)
    assert own.value.item() == 2.0


def test_bernoulli_names_the_range_that_came():
    x = torch.tensor([[0.0, 1.5], [-0.5, 1.0]])
    with pytest.raises(ValueError, match=r"\[0, 1\]. Got values from -0.5 to 1.5"):
        Bernoulli().check_support(float(x.min()), float(x.max()))


def test_paper_cost_is_a_gaussian_of_variance_ten():
    x = torch.tensor(np.random.default_rng(0).random((3, 5)))
    zeros = torch.zeros_like(x)
    likelihood = Gaussian(variance=10.0).double()
    difference = likelihood(x, x) - likelihood(x, zeros)
    torch.testing.assert_close(difference, 0.05 * x.square().sum(-1))
