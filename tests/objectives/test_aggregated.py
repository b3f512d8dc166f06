"""Divergences of the aggregated posterior against known values, and what training makes of them."""

import functools
import math

import numpy as np
import pytest
import torch
from scipy import integrate, stats
from sklearn.datasets import load_wine
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler
from torch.nn import functional

from skvim import AAETransformer, VIMAETransformer
from skvim.networks import MLP
from skvim.objectives import (
    DIVERGENCES,
    MMD,
    Adversarial,
    Autoencoder,
    DataStatistics,
    DensityRatioKL,
    DiracPosterior,
    Divergence,
    Gaussian,
    GaussianPosterior,
    Logistic,
    MixtureKL,
    Moments,
    Normal,
    Objective,
    SlicedWasserstein,
    make_divergence,
    make_prior,
)

PRIORS = [Normal(), Logistic()]
LAWS = [
    pytest.param(Normal(), stats.norm, id="normal"),
    pytest.param(Logistic(), stats.logistic, id="logistic"),
]
CRITICS = [Adversarial, DensityRatioKL]
BOUNDED = make_prior(torch.distributions.Uniform(-1.0, 1.0))


class EnergyDistance(Divergence):
    """2 E abs(z − y) − E abs(z − z′) − E abs(y − y′), summed over dimensions."""

    min_rows = 2

    def check(self, posterior, prior): ...

    def forward(self, q, z, prior, generator):
        y = prior.draw(tuple(z.shape), generator, z.dtype)
        pairs = len(z) * (len(z) - 1)
        within = sum((a.unsqueeze(1) - a).abs().sum() / pairs for a in (z, y))
        return 2 * (z.unsqueeze(1) - y).abs().mean((0, 1)).sum() - within


SAMPLED = [MMD(), MMD(kernel="rbf"), SlicedWasserstein(), EnergyDistance()]


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def evaluate(divergence: Divergence, z: torch.Tensor, prior, source) -> torch.Tensor:
    return divergence(Moments(z, None), z, prior, source)


def mean_and_error(values) -> tuple[float, float]:
    return float(np.mean(values)), float(np.std(values, ddof=1) / math.sqrt(len(values)))


def estimates(divergence, prior, scale, shape=(100, 4), n_batches=60):
    """Mean and standard error over batches of codes that are draws of the prior times a scale."""
    source = generator(1)
    batches = (scale * prior.draw(shape, source, torch.float64) for _ in range(n_batches))
    return mean_and_error([float(evaluate(divergence, z, prior, source)) for z in batches])


# Divergences from samples.


@pytest.mark.parametrize("divergence", SAMPLED, ids=repr)
@pytest.mark.parametrize("prior", PRIORS, ids=repr)
@pytest.mark.numerics
def test_a_divergence_from_samples_vanishes_at_the_prior_and_only_there(divergence, prior):
    same, error = estimates(divergence, prior, 1.0)
    assert abs(same) < 3 * error
    wide, error = estimates(divergence, prior, 2.0)
    assert wide > 5 * error


@pytest.mark.parametrize("divergence", SAMPLED, ids=repr)
@pytest.mark.parametrize("n", [4, 30])
def test_gradient_of_a_divergence_from_samples_vanishes_at_the_prior_for_any_batch_size(
    divergence, n
):
    source, slopes = generator(2), []
    for _ in range(400):
        scale = torch.ones((), dtype=torch.float64, requires_grad=True)
        z = scale * Normal().draw((n, 2), source, torch.float64)
        evaluate(divergence, z, Normal(), source).backward()
        slopes.append(float(scale.grad))
    slope, error = mean_and_error(slopes)
    assert abs(slope) < 3.5 * error


def expected_order_statistics(law, n: int) -> np.ndarray:
    """E z_(i), i = 1, …, n, of n draws from a law: the quantile at a Beta(i, n + 1 − i) share."""
    return np.array(
        [
            integrate.quad(lambda u, i=i: law.ppf(u) * stats.beta.pdf(u, i, n + 1 - i), 0, 1)[0]
            for i in range(1, n + 1)
        ]
    )


@pytest.mark.parametrize("scale", [0.5, 1.5, 3.0])
@pytest.mark.parametrize(("prior", "law"), LAWS)
def test_sliced_wasserstein_compares_expected_order_statistics(prior, law, scale):
    exact = (scale - 1) ** 2 * np.mean(expected_order_statistics(law, 6) ** 2)
    value, error = estimates(SlicedWasserstein(2), prior, scale, (13, 1), 2000)
    assert abs(value - exact) < 3.5 * error


@pytest.mark.parametrize(("scale", "shift"), [(2.0, 0.0), (0.3, 0.0), (1.0, 3.0), (1.5, -1.0)])
def test_sliced_wasserstein_between_normals_has_its_known_value(scale, shift):
    k, source, values = 3, generator(), []
    for _ in range(20):
        z = Normal(scale).draw((2000, k), source, torch.float64)
        z[:, 0] += shift
        values.append(float(evaluate(SlicedWasserstein(100), z, Normal(), source)))
    value, error = mean_and_error(values)
    # A direction has 1/k of its square on the first axis, in the mean.
    exact = (scale - 1) ** 2 + shift**2 / k
    assert abs(value - exact) < 4 * error + 0.004 * exact


@pytest.mark.parametrize("scale", [0.5, 2.0])
def test_energy_distance_from_a_logistic_prior_has_its_known_value(scale):
    law, k = stats.logistic(scale=scale), 3
    between, _ = integrate.quad(
        lambda x: law.pdf(x) * (x + 2 * np.logaddexp(0, -x)), -40 * scale, 40 * scale
    )
    exact = k * (2 * between - 2 * scale - 2)
    value, error = estimates(EnergyDistance(), Logistic(), scale, (100, k), 200)
    assert abs(value - exact) < 4 * error
    assert error < 0.1 * exact


@pytest.mark.parametrize("divergence", [SlicedWasserstein(), EnergyDistance()], ids=repr)
def test_divergences_scale_with_codes_and_prior(divergence):
    z = torch.randn(50, 4, generator=generator(), dtype=torch.float64)
    unit = evaluate(divergence, z, Normal(), generator(1))
    power = 2 if isinstance(divergence, SlicedWasserstein) else 1
    torch.testing.assert_close(
        evaluate(divergence, 7 * z, Normal(7.0), generator(1)), 7**power * unit
    )


# The mixture of the batch's posteriors.


def mixture_values(prior, a, s, n, n_batches, k=1):
    """Estimates for x ~ N(0, I), q(z|x) = N(a x, s² I): q(z) = N(0, (a² + s²) I)."""
    source, values = generator(3), []
    for _ in range(n_batches):
        loc = a * torch.randn(n, k, generator=source, dtype=torch.float64)
        q = Moments(loc, torch.full_like(loc, s))
        z = GaussianPosterior().draw(q, source)
        values.append(float(MixtureKL()(q, z, prior, source)))
    return mean_and_error(values)


def excess(a, s, n, k=1):
    """(E q(z|x)/q(z) − 1)/2n, to leading order, for the above."""
    share = a**2 / (a**2 + s**2)
    return ((1 - share) ** -k - 1) / (2 * n)


@pytest.mark.parametrize("k", [1, 3])
@pytest.mark.numerics
def test_mixture_kl_vanishes_where_codes_follow_the_prior(k):
    value, error = mixture_values(Normal(), 0.6, 0.8, 300, 40, k)
    assert abs(value - excess(0.6, 0.8, 300, k)) < 3 * error
    assert abs(value) < 0.01
    wide, error = mixture_values(Normal(), 1.2, 1.6, 300, 40, k)
    assert wide > 5 * error


@pytest.mark.parametrize(("a", "s"), [(1.2, 1.6), (0.3, 0.4), (0.0, 1.3), (1.2, 0.7)])
@pytest.mark.parametrize(("prior", "law"), LAWS)
def test_mixture_kl_of_a_linear_encoder_has_its_known_value(prior, law, a, s):
    q = stats.norm(scale=math.hypot(a, s))
    exact, _ = integrate.quad(lambda z: q.pdf(z) * (q.logpdf(z) - law.logpdf(z)), -20, 20)
    value, error = mixture_values(prior, a, s, 400, 80)
    assert abs(value - exact - excess(a, s, 400)) < 4 * error


def test_mixture_kl_is_an_upper_bound_that_larger_batches_tighten():
    exact, a, s = 3 * 0.5 * (4 - 1 - math.log(4)), 1.8, math.sqrt(0.76)
    estimates = [mixture_values(Normal(), a, s, n, 12_000 // n, 3) for n in (10, 40, 160)]
    for (value, error), (tighter, other) in zip(
        estimates, [*estimates[1:], (exact, 0.0)], strict=True
    ):
        assert value - tighter > 3 * math.hypot(error, other)


@pytest.mark.numerics
def test_mixture_kl_of_rows_far_apart_is_the_rate_minus_log_n():
    n, s = 50, 1e-4
    loc = torch.linspace(-2, 2, n, dtype=torch.float64).unsqueeze(1)
    q = Moments(loc, torch.full_like(loc, s))
    z = GaussianPosterior().draw(q, generator())
    rate = (q.log_density(z) - Normal().log_density(z)).mean()
    value = MixtureKL()(q, z, Normal(), generator())
    assert float(value) == pytest.approx(float(rate) - math.log(n), abs=1e-9)


# Critics.


def built(divergence, n_components, source, dtype=torch.float64) -> Divergence:
    """Return a divergence with its critic, if it has one."""
    critic = divergence.build(n_components, source)
    return divergence if critic is None else divergence.bound(critic=critic.to(dtype))


@functools.cache
def trained(prior, scale, seed, penalty=0.0, prior_trick=False, n_steps=250) -> Divergence:
    """Return a critic that has told one-dimensional codes from draws of the prior for a while."""
    source = generator(seed)
    divergence = built(Adversarial((32,), penalty=penalty, prior_trick=prior_trick), 1, source)
    optimizer = torch.optim.Adam(divergence.critic.parameters(), lr=0.02, fused=True)
    decay = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, n_steps)
    for _ in range(n_steps):
        z = scale * prior.draw((200, 1), source, torch.float64)
        optimizer.zero_grad()
        divergence.critic_loss(z, prior, source).backward()
        optimizer.step()
        decay.step()
    return divergence


def of_critics(kind, prior, scale, measure, n_critics=8, **settings):
    """Mean and standard error of a measure on 20,000 fresh codes over critics."""
    values = []
    for seed in range(n_critics):
        learned = trained(prior, scale, seed, **settings)  # both kinds learn by the same loss
        divergence = kind((32,), prior_trick=learned.prior_trick).bound(critic=learned.critic)
        source = generator(100 + seed)
        z = scale * prior.draw((20_000, 1), source, torch.float64)
        values.append(float(measure(divergence, z, prior, source)))
    return mean_and_error(values)


@pytest.mark.parametrize("kind", CRITICS)
@pytest.mark.parametrize(
    ("prior", "penalty"), [(Normal(), 0.0), (Logistic(), 0.0), (Normal(), 3.0)], ids=repr
)
def test_divergence_of_a_trained_critic_is_zero_at_the_prior_and_positive_elsewhere(
    prior, penalty, kind
):
    same, error = of_critics(kind, prior, 1.0, evaluate, penalty=penalty)
    assert abs(same) < 3 * error
    wide, error = of_critics(kind, prior, 2.0, evaluate, penalty=penalty)
    assert wide > 5 * error


KNOWN = {
    "density_ratio": lambda log_ratio: log_ratio,
    "adversarial": lambda log_ratio: np.logaddexp(0, log_ratio) - math.log(2),
}


@pytest.mark.parametrize(("prior_trick", "tolerance"), [(False, 0.15), (True, 0.1)])
@pytest.mark.parametrize("kind", CRITICS)
def test_a_trained_critic_comes_near_the_known_value(kind, prior_trick, tolerance):
    q, p = stats.norm(scale=2), stats.norm()
    exact, _ = integrate.quad(
        lambda z: q.pdf(z) * KNOWN[kind.name](q.logpdf(z) - p.logpdf(z)), -20, 20
    )
    settings = {"prior_trick": prior_trick, "n_steps": 1000, "n_critics": 3}
    value, error = of_critics(kind, Normal(), 2.0, evaluate, **settings)
    # The network is linear in the tails, where log q/p is a parabola.
    assert value == pytest.approx(exact, abs=tolerance * exact + 3 * error)


@pytest.mark.parametrize(("prior", "law"), LAWS)
def test_the_cross_entropy_of_a_critic_is_log_2_at_the_prior(prior, law):
    def entropy(divergence, z, prior, source):
        return divergence.critic_loss(z, prior, source).detach()

    value, _ = of_critics(Adversarial, prior, 1.0, entropy)
    assert value == pytest.approx(math.log(2), abs=0.002)
    q, p = law(scale=2), law()

    def density(z):  # of the least cross-entropy
        log_ratio = q.logpdf(z) - p.logpdf(z)
        parts = q.pdf(z) * np.logaddexp(0, -log_ratio), p.pdf(z) * np.logaddexp(0, log_ratio)
        return 0.5 * sum(parts)

    value, error = of_critics(Adversarial, prior, 2.0, entropy)
    assert value == pytest.approx(integrate.quad(density, -60, 60)[0], abs=0.004 + 3 * error)


@pytest.mark.parametrize("prior_trick", [False, True])
@pytest.mark.parametrize("critic", CRITICS)
def test_critics_are_invariant_to_scale_and_centre_of_the_prior(critic, prior_trick):
    divergence = built(critic((8,), prior_trick=prior_trick), 2, generator())
    weights = list(divergence.critic.parameters())
    z = torch.randn(50, 2, generator=generator(), dtype=torch.float64)
    shift, scale = torch.tensor([-50.0, 3.0]), torch.tensor([7.0, 0.5])
    moved = make_prior(torch.distributions.Laplace(shift, scale))
    unit = make_prior(torch.distributions.Laplace(0.0, 1.0))
    for prior, codes in ((unit, z), (moved, shift + scale * z)):
        value = evaluate(divergence, codes, prior, generator(1)).detach()
        loss = divergence.critic_loss(codes, prior, generator(1))
        results = [value, loss.detach(), *torch.autograd.grad(loss, weights)]
        if prior is unit:
            expected = results
    torch.testing.assert_close(results, expected)


def test_penalty_of_a_linear_critic_is_its_weight_decay_and_is_not_reported():
    z = torch.randn(20, 3, generator=generator(), dtype=torch.float64)
    gradients, losses = [], []
    for penalty in (0.0, 0.7):
        # T(z) = w·z/σ_p + b
        divergence = built(Adversarial((), penalty=penalty), 3, generator())
        loss = divergence.critic_loss(z, Normal(5.0), generator(1))
        gradients.append(torch.autograd.grad(loss, list(divergence.critic.parameters())))
        losses.append(loss.detach())
    (weight, bias), (penalised, same) = gradients
    torch.testing.assert_close(penalised - weight, 0.7 * divergence.critic.layers[0].weight)
    torch.testing.assert_close(same, bias)
    with torch.no_grad():
        losses.append(divergence.critic_loss(z, Normal(5.0), generator(1)))
    assert losses[0] == losses[1] == losses[2]


@pytest.mark.parametrize("critic", CRITICS)
def test_encoder_and_critic_get_gradients_of_their_own_loss_only(critic):
    x = torch.randn(30, 5, generator=generator(), dtype=torch.float64)
    term = critic((8,))
    objective = Objective(Normal(), [(10.0, term)])
    objective.build(2, generator())
    networks = [MLP(*n, activation="relu", generator=generator()) for n in ((5, (), 4), (2, (), 5))]
    model = Autoencoder(*networks, GaussianPosterior(), Gaussian(1.0))
    model.prepare(DataStatistics(torch.zeros(5), 1.0, -1.0, 1.0, 30))
    model.double()
    objective.double()

    def gradients(pick):
        outputs = model(x, generator(2))
        losses = objective(model, outputs, generator(3))
        both = [*model.parameters(), *objective.parameters()]
        gradients_of_both = torch.autograd.grad(pick(losses), both, allow_unused=True)
        return gradients_of_both[:4], gradients_of_both[4:]

    encoder, critics = gradients(lambda losses: losses.target)
    alone, none = gradients(lambda losses: losses.values[0])
    assert none == (None,) * 4
    torch.testing.assert_close(encoder, alone, rtol=0, atol=0)
    none, alone = gradients(lambda losses: losses.values[-1])
    assert none == (None,) * 4
    torch.testing.assert_close(critics, alone, rtol=0, atol=0)


# All of them.


@pytest.mark.parametrize(
    "divergence",
    [
        MixtureKL(),
        SlicedWasserstein(5),
        EnergyDistance(),
        *(critic((8,), prior_trick=trick) for critic in CRITICS for trick in (False, True)),
    ],
    ids=repr,
)
@pytest.mark.parametrize("prior", PRIORS, ids=repr)
@pytest.mark.numerics
def test_gradients_agree_with_finite_differences(divergence, prior):
    loc = torch.randn(5, 2, generator=generator(), dtype=torch.float64, requires_grad=True)
    log_scale = torch.randn(5, 2, generator=generator(1), dtype=torch.float64, requires_grad=True)
    divergence = built(divergence, 2, generator(9))

    def value(loc, log_scale):
        q = Moments(loc, log_scale.exp())
        return divergence(q, GaussianPosterior().draw(q, generator(2)), prior, generator(3))

    assert torch.autograd.gradcheck(value, (loc, log_scale))


@pytest.mark.parametrize("penalty", [0.0, 2.0])
def test_a_critic_descends_the_gradient_of_cross_entropy_and_penalty(penalty):
    z = torch.randn(6, 2, generator=generator(), dtype=torch.float64)
    divergence = built(Adversarial((4,), penalty=penalty), 2, generator(9))
    weights = dict(divergence.critic.named_parameters())
    draws = Normal().draw((6, 2), generator(3), torch.float64)

    def loss(*values):
        def logit(point):
            named = dict(zip(weights, values, strict=True))
            return torch.func.functional_call(divergence.critic, named, (point,)).squeeze(-1)

        slopes = torch.vmap(torch.func.grad(logit))(torch.cat([z, draws]))
        entropy = functional.softplus(torch.cat([-logit(z), logit(draws)])).mean()
        return entropy + 0.5 * penalty * slopes.square().sum(1).mean()

    expected = torch.autograd.grad(loss(*weights.values()), list(weights.values()))
    critic_loss = divergence.critic_loss(z, Normal(), generator(3))
    gradients = torch.autograd.grad(critic_loss, weights.values())
    torch.testing.assert_close(gradients, expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", sorted(DIVERGENCES))
@pytest.mark.numerics
def test_estimates_keep_the_precision_of_codes(name, dtype):
    divergence = built(make_divergence(name), 3, generator(), dtype)
    z = torch.randn(9, 3, generator=generator(), dtype=dtype)
    value = divergence(Moments(z, torch.ones_like(z)), z, Logistic(), generator())
    assert value.dtype == dtype
    assert value.shape == ()


def test_a_name_or_an_object_makes_a_fresh_divergence():
    for name, kind in DIVERGENCES.items():
        assert type(make_divergence(name)) is kind
    mine = SlicedWasserstein(7)
    made = make_divergence(mine)
    assert made is not mine
    assert made == mine


@pytest.mark.parametrize(
    ("divergence", "message"),
    [
        (SlicedWasserstein(0), r"n_projections must be an int in \[1, inf\). Got 0"),
        (SlicedWasserstein(2.0), "Got 2.0"),
        (SlicedWasserstein(True), "Got True"),
        (Adversarial((8, 0)), "hidden_layer_sizes must hold integers"),
        (Adversarial(8), "hidden_layer_sizes of Adversarial must be a sequence.* Got 8"),
        (Adversarial("88"), "must be a sequence.* Got '88'"),
        (Adversarial(lr=0), "lr of Adversarial must be None or a positive finite .* Got 0"),
        (DensityRatioKL(lr=math.inf), "lr of DensityRatioKL .* Got inf"),
        (DensityRatioKL(lr="fast"), "Got 'fast'"),
        (Adversarial(penalty=-1), "penalty of Adversarial must be a finite .* Got -1"),
        (Adversarial(penalty=math.nan), "Got nan"),
        (Adversarial(prior_trick="yes"), "prior_trick of Adversarial must be .* Got 'yes'"),
        (Adversarial(prior_trick=True), "prior_trick of Adversarial needs a prior without bounds"),
        (MixtureKL(), "infinite for a prior with bounds.*density-ratio"),
    ],
)
def test_bad_settings_are_refused_when_checked(divergence, message):
    with pytest.raises(ValueError, match=message):
        divergence.check(GaussianPosterior(), BOUNDED)


def test_good_settings_pass_the_check():
    for made in (Adversarial([8], 1e-3, 0, True), DensityRatioKL((), None), SlicedWasserstein()):
        made.check(DiracPosterior(), Normal())
    DensityRatioKL().check(DiracPosterior(), BOUNDED)
    MixtureKL().check(GaussianPosterior(), Logistic())
    with pytest.raises(ValueError, match=r"need a spread.*Got DiracPosterior.*density-ratio"):
        MixtureKL().check(DiracPosterior(), Normal())


# Training.


@pytest.mark.parametrize("prior", ["normal", "logistic"])
@pytest.mark.parametrize("divergence", ["adversarial", "density-ratio"])
def test_training_with_a_critic_ends_with_codes_near_the_prior(divergence, prior):
    x = StandardScaler().fit_transform(load_wine().data)
    pca = PCA(8).fit(x)
    bound = np.square(x - pca.inverse_transform(pca.transform(x))).sum(1).mean()
    options = {"prior": prior, "max_epochs": 100, "random_state": 0}
    model = AAETransformer(8, divergence=divergence, **options).fit(x)
    assert np.square(x - model.reconstruct(x)).sum(1).mean() < bound
    spread = model.transform(x).std(0) / math.sqrt(model.prior_.variance)
    assert spread.min() > 0.7
    assert spread.max() < 1.4
    free = VIMAETransformer(8, lam=0.0, **options).fit(x)
    source = generator()

    def distance(codes):
        return float(evaluate(MMD(), torch.tensor(codes), model.prior_, source))

    assert distance(model.transform(x)) < 0.2 * distance(free.transform(x))
