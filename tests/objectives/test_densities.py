"""Likelihoods against SciPy and their defining properties."""

import math

import numpy as np
import pytest
import torch
from scipy import stats

from skvim.objectives import (
    Bernoulli,
    DataStatistics,
    Gaussian,
    Likelihood,
    LikelihoodModule,
    make_likelihood,
)


def statistics(x: torch.Tensor) -> DataStatistics:
    return DataStatistics(x.mean(0), float(x.std()), float(x.min()), float(x.max()), len(x))


def started(likelihood: Likelihood, x: torch.Tensor) -> LikelihoodModule:
    """Return the module of a likelihood, started from rows."""
    module = LikelihoodModule(likelihood)
    module.prepare(statistics(x))
    return module


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
    module = started(likelihood, torch.ones(3, 2, dtype=torch.float64))

    def expected_log_density(out):
        if isinstance(likelihood, Bernoulli):
            p = output.detach().sigmoid()
            ones = torch.nn.functional.logsigmoid(out)
            zeros = torch.nn.functional.logsigmoid(-out)
            return (p * ones + (1 - p) * zeros).sum()
        return -0.5 * ((out - output.detach()).square() / 0.3).sum()

    hessian = torch.autograd.functional.hessian(expected_log_density, output).reshape(2, 2)
    torch.testing.assert_close(-hessian.diagonal(), module.precision(output.detach())[0])


def test_learned_variance_reaches_the_mean_squared_error():
    source = torch.Generator().manual_seed(0)
    likelihood = started(Gaussian(), torch.randn(4000, 4, generator=source))
    for _ in range(300):
        error = 0.3 * torch.randn(200, 4, generator=source)
        likelihood(error, torch.zeros(200, 4))
    assert likelihood.value.item() == pytest.approx(0.09, rel=0.05)
    frozen = likelihood.value.clone()
    likelihood.eval()(torch.ones(5, 4), torch.zeros(5, 4))
    assert torch.equal(likelihood.value, frozen)


def test_variances_of_features_reach_their_mean_squared_errors():
    source, spread = torch.Generator().manual_seed(0), torch.tensor([0.1, 1.0, 3.0])
    likelihood = started(Gaussian("per-feature"), torch.randn(4000, 3, generator=source))
    for _ in range(300):
        x = spread * torch.randn(200, 3, generator=source)
        likelihood(x, torch.zeros(200, 3))
    torch.testing.assert_close(likelihood.value.sqrt(), spread, rtol=0.05, atol=0)
    x, output = torch.tensor([[1.0, -2.0, 0.5]]), torch.tensor([[0.0, 0.0, 1.0]])
    likelihood.value = torch.tensor([0.3, 2.0, 1.0])
    expected = stats.norm(output, likelihood.value.sqrt()).logpdf(x).sum()
    assert likelihood.eval()(x, output).item() == pytest.approx(expected, rel=1e-6)
    many = likelihood(x.unsqueeze(1), output.expand(7, 3)[None])
    assert many.shape == (1, 7)


@pytest.mark.parametrize(
    "likelihood", [Gaussian(variance=0.3), Gaussian("per-feature"), Bernoulli()], ids=repr
)
def test_draws_follow_the_likelihood(likelihood):
    rows = torch.rand(4000, 2, generator=torch.Generator().manual_seed(1))
    module = started(likelihood, rows)
    output = torch.tensor([[0.4, -1.0]]).expand(50_000, 2)
    drawn = module.draw(output, torch.Generator().manual_seed(0))
    torch.testing.assert_close(drawn.mean(0), module.mean(output)[0], atol=0.02, rtol=0)
    fisher = module.precision(output)[0]
    variance = fisher if isinstance(likelihood, Bernoulli) else 1 / fisher
    torch.testing.assert_close(drawn.var(0), variance, rtol=0.03, atol=0)


@pytest.mark.numerics
def test_learned_variance_survives_a_perfect_fit():
    x = torch.randn(50, 3, generator=torch.Generator().manual_seed(0))
    likelihood = started(Gaussian(), x)
    for _ in range(2000):
        value = likelihood(x, x)
    assert torch.isfinite(value).all()
    assert likelihood.value > 0


@pytest.mark.parametrize("number", [np.float32(2), np.int64(2), 2, 2.0])
def test_numbers_of_numpy_are_numbers(number):
    assert started(make_likelihood(Gaussian(variance=number)), torch.ones(3, 2)).value == 2


def test_a_variance_set_later_counts():
    likelihood = Gaussian(variance=1.0)
    likelihood.variance = 5.0
    assert started(make_likelihood(likelihood), torch.ones(3, 2)).value == 5.0


@pytest.mark.parametrize("variance", [0, -1.0, math.nan, math.inf, 1e-50, "auto", True, (1.0,)])
def test_gaussian_refuses_a_bad_variance(variance):
    with pytest.raises(ValueError, match="variance of the likelihood Gaussian must be"):
        make_likelihood(Gaussian(variance=variance))


def test_likelihood_given_by_the_user_is_copied():
    own = Gaussian(variance=2.0)
    copied = make_likelihood(own)
    assert copied == own
    copied.variance = 5.0
    assert own.variance == 2.0


def test_bernoulli_names_the_range_that_came():
    x = torch.tensor([[0.0, 1.5], [-0.5, 1.0]])
    with pytest.raises(ValueError, match=r"\[0, 1\]. Got values from -0.5 to 1.5"):
        Bernoulli().check_support(float(x.min()), float(x.max()))


def test_paper_cost_is_a_gaussian_of_variance_ten():
    x = torch.tensor(np.random.default_rng(0).random((3, 5)))
    zeros = torch.zeros_like(x)
    likelihood = Gaussian.wae()
    difference = likelihood(x, x) - likelihood(x, zeros)
    torch.testing.assert_close(difference, 0.05 * x.square().sum(-1))
