"""Priors, skvim's own and those of torch.distributions, against SciPy."""

import copy
import math
import pickle

import numpy as np
import pytest
import torch
from family import normal_rows
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate, stats
from sklearn.base import clone
from torch import distributions as D  # noqa: N812  # torch's own abbreviation

from skvim import CapacityVAETransformer, VAETransformer, VIMAETransformer
from skvim.objectives import Factorised, Logistic, Normal, Prior, make_prior

SCALES = st.floats(1e-3, 1e3)
FAMILIES = [(Normal, stats.norm), (Logistic, stats.logistic)]
SIGMOID, EXP, TANH = (D.transforms.SigmoidTransform(), D.ExpTransform(), D.TanhTransform())

# A distribution of torch beside SciPy's for each of two dimensions.
CASES = {
    "laplace": (D.Laplace(0.5, 2.0), [stats.laplace(0.5, 2)] * 2),
    "uniform": (D.Uniform(-1.0, 3.0), [stats.uniform(-1, 4)] * 2),
    "student": (D.StudentT(5.0, 1.0, 0.5), [stats.t(5, 1, 0.5)] * 2),
    "normal": (D.Normal(0.0, 0.5), [stats.norm(0, 0.5)] * 2),
    "gumbel": (D.Gumbel(0.0, 2.0), [stats.gumbel_r(scale=2)] * 2),
    "exponential": (D.Exponential(4.0), [stats.expon(scale=0.25)] * 2),
    "weibull": (D.Weibull(2.0, 1.5), [stats.weibull_min(1.5, scale=2)] * 2),
    "half normal": (D.HalfNormal(2.0), [stats.halfnorm(scale=2)] * 2),
    "laplace, one each": (
        D.Laplace(torch.tensor([0.0, 1.0]), torch.tensor([1.0, 4.0])),
        [stats.laplace(), stats.laplace(1, 4)],
    ),
    "uniform, one each": (
        D.Independent(D.Uniform(torch.zeros(2), torch.tensor([1.0, 8.0])), 1),
        [stats.uniform(), stats.uniform(0, 8)],
    ),
    "student, one each": (
        D.StudentT(torch.tensor([4.0, 9.0]), 0.0, torch.tensor([1.0, 0.25])),
        [stats.t(4), stats.t(9, scale=0.25)],
    ),
    "logistic by an inverse": (
        D.TransformedDistribution(D.Uniform(0.0, 1.0), [SIGMOID.inv, D.AffineTransform(1.0, -2.0)]),
        [stats.logistic(1, 2)] * 2,
    ),
    "exponential of laplace": (
        D.TransformedDistribution(D.Laplace(0.0, 0.125), EXP),
        [stats.loglaplace(8)] * 2,
    ),
    "uniform, turned over": (
        D.TransformedDistribution(D.Uniform(0.0, 1.0), D.AffineTransform(2.0, -3.0)),
        [stats.uniform(-1, 3)] * 2,
    ),
}
by_case = pytest.mark.parametrize(("distribution", "references"), CASES.values(), ids=CASES.keys())


class Own(Prior):
    """A prior of the user's."""

    variance, entropy = 1.0, 0.5 * math.log(2 * math.pi * math.e)

    def __init__(self, setting):
        self.setting = setting

    def check(self): ...

    def log_density(self, z):
        return Normal().log_density(z)

    def draw(self, shape, generator, dtype):
        return Normal().draw(shape, generator, dtype)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def copied(value):
    return pickle.loads(pickle.dumps(value))


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
    draws = family(1.7).draw((20_000,), generator(), dtype)
    assert draws.dtype == dtype
    assert stats.kstest(draws.numpy(), reference(scale=1.7).cdf).pvalue > 1e-3


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


@pytest.mark.parametrize("number", [np.float32(2), np.int64(2), 2, 2.0])
def test_numbers_of_numpy_are_scales(number):
    assert make_prior(Normal(number)).variance == 4


@by_case
def test_moments_of_a_torch_distribution_match_scipy(distribution, references):
    prior = make_prior(distribution, 2)
    variances = [reference.var() for reference in references]
    assert prior.variance == pytest.approx(np.mean(variances), rel=3e-6)
    np.testing.assert_allclose(prior.variances.expand(2), variances, rtol=3e-6)
    entropies = [float(reference.entropy()) for reference in references]
    assert prior.entropy == pytest.approx(np.mean(entropies), abs=3e-6)
    medians = [reference.median() for reference in references]
    np.testing.assert_allclose(prior.centre.expand(2), medians, atol=1e-6)
    low, high = (bound.expand(2) for bound in prior.support)
    np.testing.assert_allclose(low, [reference.support()[0] for reference in references])
    np.testing.assert_allclose(high, [reference.support()[1] for reference in references])


@by_case
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 2e-5), (torch.float64, 1e-6)])
def test_density_of_a_torch_distribution_matches_scipy(distribution, references, dtype, tolerance):
    prior = make_prior(distribution, 2)
    z = torch.linspace(-6.1, 6.1, 50, dtype=dtype).unsqueeze(1).expand(50, 2)
    found = prior.log_density(z)
    assert found.dtype == dtype
    columns = [ref.logpdf(column) for ref, column in zip(references, z.double().T, strict=True)]
    expected = np.stack(columns, axis=1)
    np.testing.assert_allclose(found.double(), expected, rtol=tolerance, atol=tolerance)


@by_case
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_draws_of_a_torch_distribution_follow_scipy(distribution, references, dtype):
    prior = make_prior(distribution, 2)
    draws = prior.draw((5000, 2), generator(), dtype)
    assert draws.dtype == dtype
    assert torch.equal(draws, prior.draw((5000, 2), generator(), dtype))
    for column, reference in zip(draws.double().T, references, strict=True):
        assert stats.kstest(column.numpy(), reference.cdf).pvalue > 1e-3
    assert abs(np.corrcoef(draws.T)[0, 1]) < 4 / math.sqrt(5000)


@pytest.mark.numerics
def test_figures_that_torch_lacks_are_integrals():
    squashed = make_prior(D.TransformedDistribution(D.Normal(0.0, 2.0), TANH))
    normal = stats.norm(scale=2)

    def mean(function):
        return integrate.quad(lambda z: function(z) * normal.pdf(z), -20, 20, limit=200)[0]

    assert squashed.variance == pytest.approx(mean(lambda z: math.tanh(z) ** 2), abs=1e-6)
    log_slope = mean(lambda z: -2 * math.log(math.cosh(z)))
    assert squashed.entropy == pytest.approx(normal.entropy() + log_slope, abs=1e-6)
    assert [float(bound) for bound in squashed.support] == [-1, 1]


@by_case
def test_gradients_of_the_density_agree_with_finite_differences_under_vmap(
    distribution, references
):
    prior = make_prior(distribution, 2)
    z = prior.draw((7, 2), generator(), torch.float64)
    gradient = torch.func.vmap(torch.func.grad(lambda row: prior.log_density(row).sum()))(z)
    step = 1e-6
    forward, back = prior.log_density(z + step), prior.log_density(z - step)
    torch.testing.assert_close(gradient, (forward - back) / (2 * step), atol=1e-6, rtol=1e-6)


@by_case
@pytest.mark.parametrize("duplicate", [copy.deepcopy, copied], ids=["deepcopy", "pickle"])
def test_copies_of_a_prior_draw_the_same(distribution, references, duplicate):
    prior = Factorised(distribution)
    draws = prior.draw((20, 2), generator(), torch.float64)
    other = duplicate(prior)
    assert torch.equal(other.draw((20, 2), generator(), torch.float64), draws)
    assert torch.equal(other.log_density(draws), prior.log_density(draws))


@by_case
def test_priors_are_compared_by_the_values_of_their_distributions(distribution, references):
    prior, checked = Factorised(distribution), make_prior(distribution, 2)
    checked.draw((5, 2), generator(), torch.float32)
    for other in (checked, copied(checked)):
        assert other == prior
        assert hash(other) == hash(prior)
        assert pickle.dumps(other) == pickle.dumps(prior)
    moved = D.TransformedDistribution(distribution, D.AffineTransform(1.0, 1.0))
    assert Factorised(moved) != prior


def test_priors_of_the_user_are_compared_by_their_attributes():
    assert Own(1.0) == Own(1.0)
    assert hash(Own(1.0)) == hash(Own(1.0))
    assert Own(1.0) != Own(2.0)
    assert Own(1.0) != Normal(1.0)


def test_a_prior_of_the_user_is_copied():
    own = Logistic(2.0)
    assert make_prior(own) == own
    assert make_prior(own) is not own


def test_the_distribution_of_the_user_is_neither_changed_nor_shared():
    scale = torch.tensor([1.0, 2.0], requires_grad=True)
    own = D.Laplace(torch.zeros(2), 2 * scale, validate_args=True)
    prior = make_prior(own, 2)
    z = torch.ones(1, 2)
    before = prior.log_density(z)
    assert not before.requires_grad
    with torch.no_grad():
        own.scale.fill_(9.0)
    assert torch.equal(prior.log_density(z), before)
    torch.testing.assert_close(prior.log_density(z.double()), before.double())
    assert own.scale.requires_grad
    assert own.scale.dtype == torch.float32
    with pytest.raises(ValueError, match="within the support"):
        own.log_prob(torch.tensor([math.nan, 0.0]))


@pytest.mark.parametrize("name", ["laplace", "exponential", "logistic by an inverse"])
def test_a_prior_first_used_inside_a_function_transform_serves_outside(name):
    prior = Factorised(CASES[name][0])
    z = torch.rand(3, 2, generator=generator(), dtype=torch.float64).requires_grad_()
    with torch.inference_mode():
        prior.log_density(torch.zeros(1, 2))
    torch.func.vmap(torch.func.grad(lambda row: prior.log_density(row).sum()))(z)
    prior.log_density(z).sum().backward()
    prior.log_density(z.float()).sum().backward()
    assert torch.equal(copied(prior).log_density(z), prior.log_density(z))


def test_a_transform_that_remembers_its_last_values_does_no_harm():
    exp = D.ExpTransform(cache_size=1)
    own = D.TransformedDistribution(D.Normal(0.0, 0.5), [exp])
    own.log_prob(exp(torch.randn(10_000, 3, generator=generator()).requires_grad_()))
    prior = make_prior(own, 3)
    assert len(pickle.dumps(prior)) < 10_000
    z = torch.rand(4, 3, generator=generator()) + 0.1
    gradient = torch.func.vmap(torch.func.grad(lambda row: prior.log_density(row).sum()))
    assert torch.isfinite(gradient(z)).all()
    assert torch.equal(copied(prior).log_density(z), prior.log_density(z))


def test_an_inverse_that_torch_lost_in_a_copy_is_refused_with_the_way_out():
    own = CASES["logistic by an inverse"][0]
    with pytest.raises(ValueError, match=r"lost the inverse .* Pass skvim.objectives.Factorised"):
        make_prior(copied(own))
    kept = make_prior(copied(Factorised(own)), 2)
    assert kept.variance == pytest.approx((2 * math.pi) ** 2 / 3, rel=1e-6)


def test_draws_leave_the_global_generator_alone():
    before = torch.get_rng_state()
    for distribution, _ in CASES.values():
        make_prior(distribution, 2).draw((10, 2), generator(), torch.float32)
    assert torch.equal(torch.get_rng_state(), before)


PARETO = D.TransformedDistribution(D.Pareto(1.0, 1.9), D.AffineTransform(0.0, 1.0))
# Half of its mass is so near to ±1 that float64 has no numbers there.
SQUASHED = D.TransformedDistribution(D.Normal(0.0, 30.0), TANH)
MIXTURE = D.MixtureSameFamily(D.Categorical(torch.ones(2)), D.Normal(torch.zeros(2), 1.0))
REFUSED = [
    (D.Cauchy(0.0, 1.0), "must have a finite variance above 0. It is inf"),
    (D.StudentT(2.0), "must have a finite variance"),
    (D.StudentT(torch.tensor([5.0, 0.5])), "must have a finite variance"),
    (PARETO, "must have a finite variance"),
    (D.Normal(0.0, math.nan, validate_args=False), "must have a finite variance"),
    (D.Uniform(1.0, 1.0, validate_args=False), "must have a finite variance"),
    (D.Poisson(1.0), "must be continuous"),
    (D.Categorical(torch.ones(3)), "must be continuous"),
    (SQUASHED, "must have a finite entropy"),
    (D.Beta(2.0, 2.0), r"methods log_prob and icdf.* Subclass skvim\.objectives\.Prior"),
    (D.Gamma(2.0, 1.0), r"methods log_prob and icdf.* Subclass skvim\.objectives\.Prior"),
    (D.VonMises(0.0, 1.0), r"Subclass skvim\.objectives\.Prior"),
    (MIXTURE, r"Subclass skvim\.objectives\.Prior"),
    (D.MultivariateNormal(torch.zeros(2), torch.eye(2)), "must have independent dimensions"),
    (D.Dirichlet(torch.ones(2)), "must have independent dimensions"),
    (D.Normal(torch.zeros(2, 2), 1.0), r"independent dimensions: .*\[2, 2\]"),
    (D.Independent(D.Normal(torch.zeros(3, 2), 1.0), 1), "independent dimensions"),
    (D.Normal(torch.zeros(3), 1.0), "has 3 dimensions, but n_components is 2"),
    (Factorised(D.Normal(torch.zeros(1), 1.0)), "has 1 dimensions, but n_components is 2"),
]


@pytest.mark.parametrize(("prior", "message"), REFUSED)
def test_a_distribution_that_is_no_prior_is_refused(prior, message):
    with pytest.raises(ValueError, match=message):
        make_prior(prior, 2)


def test_factorised_takes_distributions_alone():
    with pytest.raises(
        TypeError, match=r"takes a torch\.distributions\.Distribution. Got 'normal'"
    ):
        make_prior(Factorised("normal"))


@by_case
@pytest.mark.gpu
def test_a_prior_serves_on_a_gpu_as_on_the_cpu(distribution, references):
    prior = make_prior(distribution, 2)
    draws = prior.draw((5000, 2), torch.Generator("cuda").manual_seed(0), torch.float64)
    assert draws.is_cuda
    for column, reference in zip(draws.cpu().T, references, strict=True):
        assert stats.kstest(column.numpy(), reference.cdf).pvalue > 1e-3
    torch.testing.assert_close(prior.log_density(draws).cpu(), prior.log_density(draws.cpu()))
    rows = draws[:10].float()
    gradient = torch.func.vmap(torch.func.grad(lambda row: prior.log_density(row).sum()))(rows)
    assert gradient.is_cuda
    assert torch.isfinite(gradient).all()
    assert not copied(prior).draw((2, 2), generator(), torch.float32).is_cuda


ROWS = normal_rows(60, 4, 2)
SETTINGS = {"hidden_layer_sizes": (8,), "max_epochs": 3, "random_state": 0}
TRAINED = [
    D.Laplace(0.0, 1.0),
    D.Uniform(0.0, 1.0),
    D.StudentT(5.0),
    D.StudentT(torch.tensor([3.0, 30.0])),
    Factorised(CASES["logistic by an inverse"][0]),
    Factorised(D.Gumbel(0.0, 2.0)),
]


@pytest.mark.parametrize("prior", TRAINED, ids=lambda prior: type(prior).__name__)
def test_estimators_take_a_distribution_for_their_prior(prior):
    model = VIMAETransformer(2, prior=prior, **SETTINGS)
    before = torch.get_rng_state()
    results = [model.fit(ROWS), clone(model).fit(ROWS), copied(model), copy.deepcopy(model)]
    for result in results:
        np.testing.assert_array_equal(result.transform(ROWS), model.transform(ROWS))
        np.testing.assert_array_equal(
            result.sample(5, random_state=1), model.sample(5, random_state=1)
        )
        scores = result.score_samples(ROWS)
        np.testing.assert_array_equal(scores, model.score_samples(ROWS))
        assert np.isfinite(scores).all()
    assert model.prior is prior
    assert isinstance(model.prior_, Factorised)
    assert torch.equal(torch.get_rng_state(), before)


def test_fit_refuses_a_distribution_of_another_width_and_keeps_the_fitted_model():
    model = VIMAETransformer(2, prior=D.Laplace(0.0, 1.0), **SETTINGS).fit(ROWS)
    codes = model.transform(ROWS)
    with pytest.raises(ValueError, match="has 3 dimensions, but n_components is 2"):
        model.set_params(prior=D.Laplace(torch.zeros(3), 1.0)).fit(ROWS)
    np.testing.assert_array_equal(model.transform(ROWS), codes)


@pytest.mark.parametrize("model", [VAETransformer, CapacityVAETransformer])
def test_a_rate_beside_a_bounded_prior_is_refused(model):
    prior = D.Uniform(torch.zeros(2), 1.0)
    with pytest.raises(ValueError, match=r"infinite for a prior with bounds.*VIMAETransformer"):
        model(2, prior=prior, **SETTINGS).fit(ROWS)


@pytest.mark.parametrize(
    ("prior", "reference"),
    [
        (D.Uniform(0.0, 1.0), stats.uniform()),
        (D.Uniform(-3.0, 4.0), stats.uniform(-3, 7)),
        (D.Weibull(2.0, 1.5), stats.weibull_min(1.5, scale=2)),
        (D.Laplace(0.0, 1.0), stats.laplace()),
        (D.StudentT(3.0), stats.t(3)),
    ],
    ids=["uniform", "wide uniform", "weibull", "laplace", "student"],
)
def test_scores_under_a_distribution_agree_with_quadrature(prior, reference):
    model = VIMAETransformer(1, prior=prior, lam=1.0, **SETTINGS).fit(ROWS)
    # Rows of the data, and some that encode to codes far from any of them.
    rows = ROWS[:8] + np.linspace(-8, 8, 8)[:, None]
    module = model.net_.in_precision(torch.float64)
    low, high = max(-60, reference.support()[0]), min(60, reference.support()[1])
    z = torch.linspace(low, high, 20_001, dtype=torch.float64)[1:-1]
    with torch.no_grad():
        decoded = module.decode(z.unsqueeze(1)).expand(8, -1, -1)
        log_likelihood = module.likelihood(torch.tensor(rows).unsqueeze(1), decoded)
    log_joint = log_likelihood + torch.tensor(reference.logpdf(z))
    exact = log_joint.logsumexp(1) + (z[1] - z[0]).log()
    np.testing.assert_allclose(model.score_samples(rows, n_draws=10_000), exact, atol=0.06)


@pytest.mark.numerics
def test_rows_far_outside_have_a_finite_score_in_many_bounded_dimensions():
    model = VIMAETransformer(12, prior=D.Uniform(0.0, 1.0), **SETTINGS).fit(ROWS)
    assert np.isfinite(model.score_samples(ROWS + 1000, n_draws=10)).all()


@pytest.mark.numerics
def test_dimensions_of_unlike_scale_are_scored_exactly_for_a_linear_decoder():
    scale = torch.tensor([0.01, 50.0])
    settings = SETTINGS | {"hidden_layer_sizes": ()}
    model = VAETransformer(2, prior=D.Normal(torch.zeros(2), scale), **settings).fit(ROWS)
    module = model.net_.in_precision(torch.float64)
    weight = (module.output_scale * module.decoder.layers[-1].weight).detach().numpy()
    centre = module.decode(torch.zeros(1, 2, dtype=torch.float64)).detach().numpy()[0]
    spread = weight * scale.double().numpy()
    covariance = spread @ spread.T + float(module.likelihood.value) * np.eye(4)
    exact = stats.multivariate_normal(centre, covariance).logpdf(ROWS)
    np.testing.assert_allclose(model.score_samples(ROWS, n_draws=2), exact, rtol=1e-7)


@pytest.mark.slow
@pytest.mark.parametrize(
    "prior",
    [D.Laplace(0.0, 1.0), D.Laplace(3.0, 0.2), D.Uniform(0.0, 1.0), D.StudentT(5.0)],
    ids=repr,
)
def test_all_codes_together_come_to_the_prior(prior):
    rows = normal_rows(1000, 6, 2)
    settings = {"hidden_layer_sizes": (32,), "max_epochs": 150, "lr": 3e-3, "random_state": 0}
    model = VIMAETransformer(2, prior=prior, lam=1000.0, **settings).fit(rows)
    codes, target = model.transform(rows), model.prior_
    assert codes.var() == pytest.approx(target.variance, rel=0.25)
    deciles = np.linspace(0.1, 0.9, 9)
    draws = target.draw((100_000,), generator(), torch.float64).numpy()
    expected = np.quantile(draws, deciles)[:, None] * np.ones(2)
    tolerance = 0.25 * math.sqrt(target.variance)
    np.testing.assert_allclose(np.quantile(codes, deciles, axis=0), expected, atol=tolerance)
