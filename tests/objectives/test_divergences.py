"""Divergences against closed forms, Monte Carlo and independent implementations."""

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate, stats

from skvim.objectives import KL, MMD, DiracPosterior, GaussianPosterior, Logistic, Moments, Normal
from skvim.objectives._kl import (
    gauss_hermite,
    gauss_laguerre,
    logistic_kl,
    normal_kl,
    quadrature_kl,
)
from skvim.objectives._mmd import squared_distances, unbiased_mmd

PRIORS = [Normal(), Normal(0.5), Logistic(), Logistic.unit_variance()]


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("prior", PRIORS, ids=repr)
def test_kl_agrees_with_monte_carlo(prior):
    loc = torch.tensor([[0.0, 1.0, -2.0, 0.3]], dtype=torch.float64)
    scale = torch.tensor([[1.0, 0.3, 2.0, 0.01]], dtype=torch.float64)
    estimate = KL()(Moments(loc, scale), loc, prior, generator())
    noise = torch.randn(400_000, 4, generator=generator(), dtype=torch.float64)
    z = loc + scale * noise
    log_q = -0.5 * noise.square() - scale.log() - 0.5 * math.log(2 * math.pi)
    draws = (log_q - prior.log_density(z)).sum(-1)
    assert abs(estimate - draws.mean()) < 4 * draws.std() / math.sqrt(len(draws))


@pytest.mark.parametrize("prior_scale", [0.01, 0.3, 1.0, 20.0])
@pytest.mark.parametrize("ratio", [1e-3, 0.5, 1.99, 2.01, 3.0, 10.0, 300.0])
@pytest.mark.parametrize("shift", [0.0, 0.7, -4.0, 50.0])
def test_logistic_kl_is_right_at_any_scale(prior_scale, ratio, shift):
    loc, scale = shift * prior_scale, ratio * prior_scale
    q = stats.norm(loc, scale)
    p = stats.logistic(scale=prior_scale)
    low, high = loc - 12 * scale, loc + 12 * scale
    # Split where the integrand bends.
    bends = np.clip([0, -30 * prior_scale, 30 * prior_scale], low, high)
    ends = np.unique([low, *bends, loc, high])
    exact = sum(
        integrate.quad(lambda z: q.pdf(z) * (q.logpdf(z) - p.logpdf(z)), a, b, epsabs=1e-10)[0]
        for a, b in itertools.pairwise(ends)
    )
    found = logistic_kl(*(torch.tensor(v, dtype=torch.float64) for v in (loc, scale)), prior_scale)
    assert float(found) == pytest.approx(exact, abs=1e-6)


@pytest.mark.parametrize("n_nodes", [2, 16, 64])
def test_gauss_laguerre_matches_numpy(n_nodes):
    nodes, weights = np.polynomial.laguerre.laggauss(n_nodes)
    own_nodes, own_weights = gauss_laguerre(n_nodes)
    np.testing.assert_allclose(own_nodes.numpy(), nodes, rtol=1e-10)
    np.testing.assert_allclose(own_weights.numpy()[:10], weights[:10], rtol=1e-8)


@pytest.mark.parametrize("scale", [1e-4, 1.9, 2.1, 1e4])
def test_logistic_kl_has_the_right_gradient(scale):
    loc = torch.tensor([0.3, -20.0], dtype=torch.float64, requires_grad=True)
    spread = torch.full_like(loc, scale).requires_grad_()
    assert torch.autograd.gradcheck(
        lambda a, b: logistic_kl(a, b, 1.0), (loc, spread), eps=1e-6 * scale
    )


@pytest.mark.parametrize("scale", [0.1, 1.0, 3.0])
@pytest.mark.parametrize("loc", [0.0, 0.7, -4.0])
def test_quadrature_reaches_a_millionth(loc, scale):
    q = stats.norm(loc, scale)
    exact, _ = integrate.quad(
        lambda z: q.pdf(z) * (q.logpdf(z) - stats.logistic.logpdf(z)),
        loc - 12 * scale,
        loc + 12 * scale,
        epsabs=1e-11,
    )
    given_to = (torch.tensor(loc, dtype=torch.float64), torch.tensor(scale, dtype=torch.float64))
    assert quadrature_kl(*given_to, Logistic().log_density) == pytest.approx(exact, abs=1e-6)


def test_quadrature_and_closed_form_agree_on_a_normal_prior():
    loc = torch.linspace(-3, 3, 7, dtype=torch.float64)
    scale = torch.linspace(0.1, 3, 7, dtype=torch.float64)
    by_quadrature = quadrature_kl(loc, scale, Normal(1.5).log_density)
    torch.testing.assert_close(by_quadrature, normal_kl(loc, scale, 1.5), atol=1e-10, rtol=0)


@pytest.mark.parametrize("n_nodes", [2, 16, 64])
def test_gauss_hermite_matches_numpy(n_nodes):
    nodes, weights = np.polynomial.hermite_e.hermegauss(n_nodes)
    own_nodes, own_weights = gauss_hermite(n_nodes)
    np.testing.assert_allclose(own_nodes.numpy(), nodes, atol=1e-12)
    np.testing.assert_allclose(own_weights.numpy(), weights / weights.sum(), atol=1e-14)


@given(st.floats(0.01, 5), st.floats(0.01, 5))
def test_kl_to_itself_is_zero_and_otherwise_positive(scale, other):
    zero, scales = torch.zeros(1, dtype=torch.float64), torch.tensor([scale], dtype=torch.float64)
    assert normal_kl(zero, scales, scale).item() == pytest.approx(0, abs=1e-12)
    assert normal_kl(zero, scales, other).item() >= -1e-12


def test_kl_needs_a_spread():
    with pytest.raises(ValueError, match="needs a posterior with a spread"):
        KL().check(DiracPosterior())
    KL().check(GaussianPosterior())


def test_squared_distances_match_scipy():
    a = torch.randn(7, 3, generator=generator(), dtype=torch.float64)
    b = torch.randn(5, 3, generator=generator(1), dtype=torch.float64)
    torch.testing.assert_close(squared_distances(a, b), torch.cdist(a, b).square())


def test_mmd_matches_its_definition_by_loops():
    a = torch.randn(4, 2, generator=generator(), dtype=torch.float64)
    b = torch.randn(3, 2, generator=generator(1), dtype=torch.float64)

    def kernel(d):
        return torch.exp(-d)

    def k(x, y):
        return math.exp(-float((x - y).square().sum()))

    within_a = np.mean([k(a[i], a[j]) for i in range(4) for j in range(4) if i != j])
    within_b = np.mean([k(b[i], b[j]) for i in range(3) for j in range(3) if i != j])
    between = np.mean([k(x, y) for x in a for y in b])
    expected = within_a + within_b - 2 * between
    assert unbiased_mmd(a, b, kernel).item() == pytest.approx(expected, abs=1e-12)


def rbf_between_normals(variance_a: float, variance_b: float, width: float, k: int) -> float:
    """E exp(−‖a − b‖²/w) for a ~ N(0, variance_a I), b ~ N(0, variance_b I)."""
    return (1 + 2 * (variance_a + variance_b) / width) ** (-k / 2)


@pytest.mark.parametrize("scale", [0.5, 2.0])
def test_rbf_mmd_between_normals_has_its_known_value(scale):
    k, width_share = 3, 0.5
    width = 2 * k * width_share  # in units of 2 k σ_p² with σ_p = 1
    terms = ((scale**2, scale**2, 1), (1, 1, 1), (scale**2, 1, -2))
    exact = sum(sign * rbf_between_normals(a, b, width, k) for a, b, sign in terms)
    draws = []
    source = generator()
    for _ in range(60):
        z = scale * torch.randn(300, k, generator=source, dtype=torch.float64)
        mmd = MMD(kernel="rbf", widths=(width_share,))
        draws.append(mmd(Moments(z, None), z, Normal(), source).item())
    error = np.std(draws, ddof=1) / math.sqrt(len(draws))
    assert abs(np.mean(draws) - exact) < 4 * error
    assert error < 0.05 * exact


@pytest.mark.parametrize("kernel", ["imq", "rbf"])
@pytest.mark.parametrize("prior", PRIORS, ids=repr)
def test_mmd_vanishes_at_the_prior_and_only_there(prior, kernel):
    mmd, source = MMD(kernel=kernel), generator()

    def values(scale):
        draws = [scale * prior.draw((100, 8), source, torch.float64) for _ in range(50)]
        return np.array([mmd(Moments(z, None), z, prior, source).item() for z in draws])

    same, wide = values(1.0), values(2.0)
    error = same.std(ddof=1) / math.sqrt(len(same))
    assert abs(same.mean()) < 3 * error
    assert wide.mean() > 5 * wide.std(ddof=1) / math.sqrt(len(wide))


@pytest.mark.parametrize("kernel", ["imq", "rbf"])
def test_default_mmd_sums_seven_widths(kernel):
    z = torch.randn(50, 4, generator=generator(), dtype=torch.float64)

    def value(**settings):
        return MMD(kernel=kernel, **settings)(Moments(z, None), z, Normal(), generator(1))

    parts = [value(widths=(width,)) for width in (0.1, 0.2, 0.5, 1, 2, 5, 10)]
    torch.testing.assert_close(value(), torch.stack(parts).sum())


def test_mmd_follows_the_scale_of_the_prior():
    z = torch.randn(50, 4, generator=generator(), dtype=torch.float64)
    unit = MMD()(Moments(z, None), z, Normal(), generator(1))
    scaled = MMD()(Moments(7 * z, None), 7 * z, Normal(7.0), generator(1))
    torch.testing.assert_close(unit, scaled)


@pytest.mark.parametrize(
    ("divergence", "message"),
    [
        (MMD(kernel="cosine"), "'imq' or 'rbf'. Got 'cosine'"),
        (MMD(widths=()), r"widths of MMD must be positive finite numbers. Got \(\)"),
        (MMD(kernel=["imq"]), "'imq' or 'rbf'"),
        (MMD(widths=(1.0, -1.0)), "must be positive"),
        (MMD(widths=(math.inf,)), "must be positive finite"),
        (MMD(widths="abc"), "must be positive"),
        (MMD(widths=1.0), "Got 1.0"),
    ],
)
def test_mmd_refuses_bad_settings_when_checked(divergence, message):
    with pytest.raises(ValueError, match=message):
        divergence.check(DiracPosterior())


@pytest.mark.parametrize("divergence", [KL(), MMD(), MMD(kernel="rbf")], ids=repr)
@pytest.mark.parametrize("prior", [Normal(), Logistic()], ids=repr)
def test_gradients_agree_with_finite_differences(divergence, prior):
    loc = torch.randn(5, 2, generator=generator(), dtype=torch.float64, requires_grad=True)
    log_scale = torch.randn(5, 2, generator=generator(1), dtype=torch.float64, requires_grad=True)

    def value(loc, log_scale):
        q = Moments(loc, log_scale.exp())
        z = GaussianPosterior().draw(q, generator(2))
        return divergence(q, z, prior, generator(3))

    assert torch.autograd.gradcheck(value, (loc, log_scale))
