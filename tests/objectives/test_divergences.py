"""Divergences against closed forms, Monte Carlo and independent implementations."""

import itertools
import math
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate, stats
from torch import distributions as D  # noqa: N812  # torch's own abbreviation

from skvim.objectives import (
    KL,
    MMD,
    Capacity,
    DiracPosterior,
    GaussianPosterior,
    Logistic,
    LogisticPosterior,
    Moments,
    Normal,
    make_prior,
)
from skvim.objectives._kl import gauss_legendre, mean_normal_kl, normal_kl, quadrature_kl
from skvim.objectives._mmd import (
    KernelValues,
    imq_kernel,
    rbf_kernel,
    squared_distances,
    unbiased_mmd,
)

PRIORS = [Normal(), Normal(0.5), Logistic(), Logistic.unit_variance()]
POSTERIORS = [GaussianPosterior(), LogisticPosterior()]
EACH = D.Laplace(torch.tensor([0.0, 1.0, -1.0, 0.5]), torch.tensor([1.0, 0.25, 4.0, 0.5]))
UNBOUNDED = [
    *PRIORS,
    *map(make_prior, (D.Laplace(0.0, 1.0), D.StudentT(3.0), D.Gumbel(0.0, 4.0), EACH)),
]
# Priors beside SciPy's.
REFERENCES = [
    (Normal(0.75), stats.norm(scale=0.75)),
    (Logistic(0.25), stats.logistic(scale=0.25)),
    # The same under a name whose logarithm does not underflow.
    (make_prior(D.Laplace(0.5, 2.0)), stats.gennorm(1, 0.5, 2)),
    (make_prior(D.StudentT(4.0, -1.0, 0.25)), stats.t(4, -1, 0.25)),
]


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("posterior", POSTERIORS, ids=repr)
@pytest.mark.parametrize("prior", UNBOUNDED, ids=repr)
def test_kl_agrees_with_monte_carlo(posterior, prior):
    loc = torch.tensor([[0.0, 1.0, -2.0, 0.3]], dtype=torch.float64)
    scale = torch.tensor([[1.0, 0.3, 2.0, 0.01]], dtype=torch.float64)
    estimate = KL()(Moments(loc, scale, posterior.base), loc, prior, generator())
    q = Moments(loc.expand(200_000, 4), scale.expand(200_000, 4), posterior.base)
    z = posterior.draw(q, generator())
    draws = (q.log_density(z) - prior.log_density(z)).sum(-1)
    assert abs(estimate - draws.mean()) < 4 * draws.std() / math.sqrt(len(draws))


def exact_kl(q, p, loc: float, scale: float) -> float:
    """KL of loc + scale · ε with ε ~ q from p, both of SciPy, by adaptive quadrature."""
    far = float(-q.ppf(1e-17))
    bend, width = (p.median() - loc) / scale, p.std() / scale
    near = [bend + sign * share * width for sign in (-1, 1) for share in (0, 0.1, 1, 5, 30)]
    ends = np.unique(np.clip([-far, 0, far, *near], -far, far))

    def integrand(epsilon):
        log_ratio = q.logpdf(epsilon) - math.log(scale) - p.logpdf(loc + scale * epsilon)
        return q.pdf(epsilon) * log_ratio

    pieces = [integrate.quad(integrand, *pair, epsabs=1e-10) for pair in itertools.pairwise(ends)]
    return sum(value for value, _ in pieces)


@pytest.mark.parametrize("posterior", POSTERIORS, ids=repr)
@pytest.mark.parametrize(
    ("prior", "reference"), REFERENCES, ids=["normal", "logistic", "laplace", "student"]
)
@pytest.mark.parametrize("ratio", [1e-3, 0.5, 3.0, 20.0, 100.0])
@pytest.mark.numerics
def test_kl_is_right_to_a_millionth(posterior, prior, reference, ratio):
    gaussian = isinstance(posterior, GaussianPosterior)
    q = stats.norm() if gaussian else stats.logistic(scale=math.sqrt(3) / math.pi)
    scale = ratio * reference.std()
    for shift in (0.0, -0.4, 1.5, 7.0):
        loc = reference.median() + shift * max(scale, reference.std())
        moments = (torch.full((1, 1), value, dtype=torch.float64) for value in (loc, scale))
        value = KL()(Moments(*moments, posterior.base), torch.zeros(1, 1), prior, generator())
        assert float(value) == pytest.approx(exact_kl(q, reference, loc, scale), abs=1e-6, rel=1e-9)


@pytest.mark.parametrize("base", [Normal(), Logistic.unit_variance()], ids=repr)
@pytest.mark.parametrize("prior_scale", [0.3, 1.5])
def test_quadrature_and_closed_form_agree_on_a_normal_prior(base, prior_scale):
    loc = torch.linspace(-3, 3, 7, dtype=torch.float64).unsqueeze(1)
    scale = torch.linspace(0.01, 3, 7, dtype=torch.float64).unsqueeze(1)
    densities = base.log_density, Normal(prior_scale).log_density
    by_quadrature = quadrature_kl(loc, scale, *densities, torch.zeros(1))
    closed = normal_kl(loc, scale, prior_scale, base.entropy)
    torch.testing.assert_close(by_quadrature, closed, atol=1e-7, rtol=0)


@pytest.mark.parametrize("entropy", [Normal().entropy, Logistic.unit_variance().entropy])
@pytest.mark.parametrize("prior_scale", [0.3, 1.0, 1.5])
def test_the_mean_kl_and_its_gradients_are_those_of_its_entries(prior_scale, entropy):
    loc, scale = (torch.rand(7, 3, generator=generator(i), dtype=torch.float64) for i in (0, 1))
    moments = [loc.requires_grad_(), (scale + 0.01).detach().requires_grad_()]
    mean = mean_normal_kl(*moments, prior_scale, entropy)
    expected = normal_kl(*moments, prior_scale, entropy).sum(-1).mean()
    torch.testing.assert_close(mean, expected, atol=1e-12, rtol=1e-12)
    pairs = zip(*(torch.autograd.grad(3 * v, moments) for v in (mean, expected)), strict=True)
    for found, gradient in pairs:
        torch.testing.assert_close(found, gradient, atol=1e-12, rtol=1e-12)


def test_kl_of_a_logistic_from_a_standard_normal_is_the_known_one():
    mean, s = 0.7, 0.4
    q = LogisticPosterior().moments(torch.tensor([[mean, math.log(s * math.pi / math.sqrt(3))]]))
    known = -math.log(s) - 2 + 0.5 * math.log(2 * math.pi) + (mean**2 + (s * math.pi) ** 2 / 3) / 2
    assert float(KL()(q, q.loc, Normal(), generator())) == pytest.approx(known, abs=1e-6)


@pytest.mark.numerics
def test_kl_in_single_precision_agrees_with_double():
    loc = torch.randn(50, 4, generator=generator(), dtype=torch.float64)
    scale = torch.rand(50, 4, generator=generator(1), dtype=torch.float64) + 0.01
    for prior in UNBOUNDED:
        double = KL()(Moments(loc, scale), loc, prior, generator())
        single = KL()(Moments(loc.float(), scale.float()), loc.float(), prior, generator())
        assert single.dtype == torch.float32
        assert float(single) == pytest.approx(float(double), rel=2e-6)


@pytest.mark.parametrize("n_nodes", [2, 16, 40])
def test_gauss_legendre_matches_numpy(n_nodes):
    nodes, weights = np.polynomial.legendre.leggauss(n_nodes)
    own_nodes, own_weights = gauss_legendre(n_nodes)
    np.testing.assert_allclose(own_nodes.numpy(), (nodes + 1) / 2, atol=1e-14)
    np.testing.assert_allclose(own_weights.numpy(), weights / 2, atol=1e-14)


@given(st.floats(0.01, 5), st.floats(0.01, 5))
@pytest.mark.numerics
def test_kl_to_itself_is_zero_and_otherwise_positive(scale, other):
    zero, scales = torch.zeros(1, dtype=torch.float64), torch.tensor([scale], dtype=torch.float64)
    entropy = Normal().entropy
    assert normal_kl(zero, scales, scale, entropy).item() == pytest.approx(0, abs=1e-12)
    assert normal_kl(zero, scales, other, entropy).item() >= -1e-12


def test_a_logistic_posterior_equal_to_the_prior_has_no_kl():
    q = Moments(torch.zeros(3, 2), torch.full((3, 2), 2.0), Logistic.unit_variance())
    prior = Logistic(2 * math.sqrt(3) / math.pi)
    assert float(KL()(q, q.loc, prior, generator())) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("rate", [KL(), Capacity(3.0)], ids=repr)
def test_a_rate_needs_a_spread_and_a_prior_without_bounds(rate):
    with pytest.raises(ValueError, match="needs a posterior with a spread"):
        rate.check(DiracPosterior(), Normal())
    for bounded in (D.Uniform(0.0, 1.0), D.Exponential(1.0)):
        with pytest.raises(ValueError, match=r"infinite for a prior with bounds.*Got Factorised"):
            rate.check(GaussianPosterior(), make_prior(bounded))
    for prior in UNBOUNDED:
        rate.check(LogisticPosterior(), prior)


def test_squared_distances_match_scipy():
    a = torch.randn(7, 3, generator=generator(), dtype=torch.float64)
    b = torch.randn(5, 3, generator=generator(1), dtype=torch.float64)
    torch.testing.assert_close(squared_distances(a, b), torch.cdist(a, b).square())


@pytest.mark.parametrize("kernel", [imq_kernel, rbf_kernel], ids=["imq", "rbf"])
def test_slopes_and_gradients_of_kernels_are_derivatives(kernel):
    source = generator()
    a = torch.randn(6, 3, generator=source, dtype=torch.float64, requires_grad=True)
    b = torch.randn(5, 3, generator=source, dtype=torch.float64)
    kernel = partial(kernel, widths=[0.3, 2.0])
    distances = squared_distances(a.detach(), b).requires_grad_()
    (slope,) = torch.autograd.grad(_at(kernel, distances).sum(), distances)
    torch.testing.assert_close(kernel(distances.detach(), True).slope, slope)
    assert torch.autograd.gradcheck(lambda x: unbiased_mmd(x, b, kernel), (a,))


@pytest.mark.parametrize("kernel", [imq_kernel, rbf_kernel], ids=["imq", "rbf"])
@pytest.mark.numerics
def test_mmd_does_not_depend_on_the_block_size(kernel, monkeypatch):
    a, b = torch.randn(2, 40, 3, generator=generator(), dtype=torch.float64)
    kernel = partial(kernel, widths=[0.3, 2.0])
    results = []
    for cached in (10_000, 700):
        monkeypatch.setattr("skvim.objectives._mmd._CACHED", cached)
        z = a.clone().requires_grad_()
        unbiased_mmd(z, b, kernel).backward()
        results.append((unbiased_mmd(z, b, kernel).detach(), z.grad))
    (whole, whole_gradient), (parts, gradient) = results
    assert abs(float(whole - parts)) < 1e-13  # of sums of two kernels, each 1 at most
    assert (whole_gradient - gradient).norm() < 1e-13 * whole_gradient.norm()


@pytest.fixture
def strips(monkeypatch):
    """Evaluate an MMD in many strips of rows, which differ in size."""
    monkeypatch.setattr("skvim.objectives._mmd._CACHED", 100)


@pytest.mark.parametrize("name", ["imq", "rbf"])
@pytest.mark.parametrize(("n", "m"), [(2, 2), (13, 13), (13, 9), (9, 13)])
def test_mmd_in_strips_is_the_double_sum_of_its_definition(name, n, m, strips):
    source, widths = generator(n), [0.5, 1.0, 2.0, 3.0, 30.0]
    a = torch.randn(n, 3, generator=source, dtype=torch.float64)
    b = 2 * torch.randn(m, 3, generator=source, dtype=torch.float64) + 1

    def k(x, y):
        d = float((x - y).square().sum())
        terms = (w / (w + d) if name == "imq" else math.exp(-d / w) for w in widths)
        return math.fsum(terms)

    def mean(pairs):
        values = [k(x, y) for x, y in pairs]
        return math.fsum(values) / len(values)

    within = mean(itertools.permutations(a, 2)) + mean(itertools.permutations(b, 2))
    kernel = partial({"imq": imq_kernel, "rbf": rbf_kernel}[name], widths=widths)
    expected = within - 2 * mean(itertools.product(a, b))
    assert unbiased_mmd(a, b, kernel).item() == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("kernel", [imq_kernel, rbf_kernel], ids=["imq", "rbf"])
@pytest.mark.parametrize(("n", "m"), [(2, 2), (13, 9), (9, 13)])
def test_mmd_in_strips_has_the_right_gradient(kernel, n, m, strips):
    source = generator(n)
    a = torch.randn(n, 3, generator=source, dtype=torch.float64, requires_grad=True)
    b = torch.randn(m, 3, generator=source, dtype=torch.float64)
    kernel = partial(kernel, widths=[0.5, 1.0, 3.0])
    assert torch.autograd.gradcheck(lambda x: unbiased_mmd(x, b, kernel), (a,))


def mmd_and_gradient(a, b, kernel):
    z = a.clone().requires_grad_()
    value = unbiased_mmd(z, b, kernel)
    value.backward()
    return value.detach(), z.grad


@pytest.mark.parametrize("kernel", [imq_kernel, rbf_kernel], ids=["imq", "rbf"])
def test_mmd_does_not_depend_on_the_order_of_rows(kernel, strips):
    source = generator()
    a, b = torch.randn(2, 23, 3, generator=source, dtype=torch.float64)
    kernel = partial(kernel, widths=[0.3, 2.0])
    value, gradient = mmd_and_gradient(a, b, kernel)
    for _ in range(3):
        of_a, of_b = (torch.randperm(23, generator=source) for _ in range(2))
        permuted, permuted_gradient = mmd_and_gradient(a[of_a], b[of_b], kernel)
        torch.testing.assert_close(permuted, value, rtol=0, atol=1e-13)
        torch.testing.assert_close(permuted_gradient, gradient[of_a], rtol=0, atol=1e-13)


@pytest.mark.parametrize("kernel", [imq_kernel, rbf_kernel], ids=["imq", "rbf"])
@pytest.mark.parametrize("mean", [0.0, 1000.0])
@pytest.mark.numerics
def test_mmd_in_single_precision_is_right_where_the_mean_is_far(kernel, mean):
    # On a grid that float32 represents exactly around either mean.
    draws = torch.randn(2, 200, 4, generator=generator())
    a, b = (draws * 64).round() / 64 + mean
    kernel = partial(kernel, widths=[1.0, 2.0, 8.0])
    value, gradient = mmd_and_gradient(a, b, kernel)
    exact, exact_gradient = mmd_and_gradient(a.double() - mean, b.double() - mean, kernel)
    assert abs(float(value) - float(exact)) < 1e-5
    assert (gradient - exact_gradient).norm() < 1e-5 * exact_gradient.norm()


@pytest.mark.parametrize("widths", [[1.0], [1.0, 1.0], [4.0, 1.0, 2.0, 0.5, 0.3], [8.0, 4.0, 2.0]])
def test_gaussian_kernel_sums_each_width_once(widths):
    distances = torch.linspace(0, 20, 50, dtype=torch.float64)
    value, slope = rbf_kernel(distances, True, widths)
    terms = [torch.exp(-distances / width) for width in widths]
    torch.testing.assert_close(value, sum(terms), rtol=1e-13, atol=0)
    slopes = [-term / width for term, width in zip(terms, widths, strict=True)]
    torch.testing.assert_close(slope, sum(slopes), rtol=1e-13, atol=0)


def _at(kernel, distances):
    """A kernel one distance at a time, out of operations that autograd knows."""
    widths = torch.tensor(kernel.keywords["widths"], dtype=torch.float64).view(-1, 1, 1)
    if kernel.func is rbf_kernel:
        return (-distances / widths).exp().sum(0)
    return (widths / (widths + distances)).sum(0)


@pytest.mark.numerics
def test_mmd_matches_its_definition_by_loops():
    a = torch.randn(4, 2, generator=generator(), dtype=torch.float64)
    b = torch.randn(3, 2, generator=generator(1), dtype=torch.float64)

    def kernel(d, slope):
        return KernelValues(torch.exp(-d), -torch.exp(-d) if slope else None)

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
        divergence.check(DiracPosterior(), Normal())


@pytest.mark.parametrize("divergence", [KL(), MMD(), MMD(kernel="rbf")], ids=repr)
@pytest.mark.parametrize("prior", [Normal(), Logistic(), *UNBOUNDED[4:6]], ids=repr)
@pytest.mark.parametrize("posterior", POSTERIORS, ids=repr)
@pytest.mark.numerics
def test_gradients_agree_with_finite_differences(divergence, prior, posterior):
    loc = torch.randn(4, 2, generator=generator(), dtype=torch.float64, requires_grad=True)
    log_scale = torch.randn(4, 2, generator=generator(1), dtype=torch.float64, requires_grad=True)

    def value(loc, log_scale):
        q = Moments(loc, log_scale.exp(), posterior.base)
        z = posterior.draw(q, generator(2))
        return divergence(q, z, prior, generator(3))

    assert torch.autograd.gradcheck(value, (loc, log_scale))


@pytest.mark.parametrize("scale", [1e-4, 0.5, 30.0])
@pytest.mark.parametrize("prior", [Logistic(), *UNBOUNDED[4:6]], ids=repr)
def test_kl_has_the_right_gradient_at_any_spread(prior, scale):
    loc = torch.tensor([[0.3], [-20.0]], dtype=torch.float64, requires_grad=True)
    spread = torch.full_like(loc, scale).requires_grad_()

    def value(loc, spread):
        return KL()(Moments(loc, spread), loc, prior, generator())

    assert torch.autograd.gradcheck(value, (loc, spread), eps=1e-6 * scale)


@pytest.mark.numerics
def test_mmd_sees_a_dimension_of_small_variance_beside_a_large_one():
    scales = torch.tensor([0.01, 1.0], dtype=torch.float64)
    prior = make_prior(torch.distributions.Normal(torch.zeros(2, dtype=torch.float64), scales), 2)
    source = generator(3)

    def estimates(stretch):
        unit = scales * torch.tensor([stretch, 1.0], dtype=torch.float64)
        values = []
        for _ in range(30):
            z = unit * torch.randn(200, 2, generator=source, dtype=torch.float64)
            values.append(MMD()(Moments(z, None), z, prior, source))
        return torch.stack(values)

    same, wide = estimates(1.0), estimates(2.0)
    assert same.mean().abs() < 3 * same.std() / math.sqrt(30)
    assert wide.mean() > 5 * wide.std() / math.sqrt(30)
    # As much as it would be were the first dimension as wide as the second.
    unit = make_prior("normal", 2)
    z = [torch.randn(200, 2, generator=source, dtype=torch.float64) for _ in range(30)]
    stretched = [rows * torch.tensor([2.0, 1.0], dtype=torch.float64) for rows in z]
    even = torch.stack([MMD()(Moments(rows, None), rows, unit, source) for rows in stretched])
    error = math.hypot(float(wide.std()), float(even.std())) / math.sqrt(30)
    assert abs(float(wide.mean() - even.mean())) < 4 * error
