"""What changes in the course of training: learning rates, the codes' start, weights, noise."""

import math

import numpy as np
import pytest
import torch
from skorch.callbacks import Callback, LRScheduler
from skorch.dataset import ValidSplit

from skvim import (
    AETransformer,
    BetaVAETransformer,
    DenoisingAETransformer,
    InfoVAETransformer,
    VAETransformer,
    VIMAETransformer,
    WAETransformer,
)
from skvim.engine import SCHEDULES
from skvim.engine._pretraining import _distance, _spread
from skvim.engine._schedules import begin_step
from skvim.noise import GaussianNoise, MaskingNoise
from skvim.objectives import KL, Logistic, Moments, Normal, Objective, Outputs

SMALL = {"hidden_layer_sizes": (8,), "max_epochs": 3, "random_state": 0}


def rows(n: int = 50, d: int = 5, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, d)).astype(np.float32)


def frozen(share):
    """Let training change no weight."""
    return 0.0


def outputs(model):
    return [model.transform(rows()), model.reconstruct(rows()), np.array(model.loss_curve_)]


def assert_same_training(first, second):
    for a, b in zip(outputs(first.fit(rows())), outputs(second.fit(rows())), strict=True):
        np.testing.assert_array_equal(a, b)


class Rates(Callback):
    """Keep the learning rate of every group of parameters at every batch."""

    def __init__(self):
        self.seen = []

    def on_batch_end(self, net, training, **kwargs):
        if training:
            self.seen.append([float(group["lr"]) for group in net.optimizer_.param_groups])


def rates(**parameters):
    """Train for ten epochs of two batches, and return the learning rates of batches."""
    recorder = Rates()
    settings = {**SMALL, "max_epochs": 10, "batch_size": 25, "lr": 0.01, **parameters}
    model = AETransformer(2, callbacks=[recorder], **settings).fit(rows())
    return np.array(recorder.seen), model


# Shares of the training, and the factors that follow by hand.
FACTORS = {
    "steps": [(0, 1), (0.29, 1), (0.3, 1 / 2), (0.49, 1 / 2), (0.5, 1 / 10), (0.99, 1 / 10)],
    "exponential": [(0, 1), (0.25, 0.1**0.5), (0.5, 1 / 10), (0.75, 0.1**1.5), (1, 1 / 100)],
    "cosine": [(0, 1), (0.25, 0.5 + 0.125**0.5), (0.5, 1 / 2), (2 / 3, 1 / 4), (1, 0)],
}


@pytest.mark.parametrize("name", FACTORS)
def test_schedules_take_their_published_values(name):
    shares, factors = zip(*FACTORS[name], strict=True)
    assert [SCHEDULES[name](share) for share in shares] == pytest.approx(factors, abs=1e-15)


def test_a_schedule_changes_the_rate_with_every_batch_by_the_share_that_is_done():
    seen, model = rates(lr_schedule="steps")
    expected = [0.01] * 6 + [0.005] * 4 + [0.001] * 10
    assert seen[:, 0] == pytest.approx(expected)
    assert model.history_[:, "lr"] == pytest.approx(expected[1::2])

    shares = []
    seen, _ = rates(lr_schedule=lambda share: shares.append(share) or 1 - share)
    assert shares[-20:] == pytest.approx(np.arange(20) / 20)
    assert seen[:, 0] == pytest.approx(0.01 * (1 - np.arange(20) / 20))


def test_every_group_of_parameters_keeps_its_own_initial_rate():
    groups = {"optimizer__param_groups": [("encoder*", {"lr": 0.5}), ("decoder*", {"lr": 0.02})]}
    seen, _ = rates(lr_schedule="cosine", net_params=groups, optimizer="sgd")
    factors = [0.5 + 0.5 * math.cos(math.pi * i / 20) for i in range(20)]
    np.testing.assert_allclose(seen, np.outer(factors, [0.5, 0.02]), rtol=1e-12)


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "sgd", torch.optim.RMSprop])
def test_half_the_rate_is_a_schedule_of_one_half_for_every_optimizer(optimizer):
    whole = AETransformer(2, lr=2**-6, lr_schedule=lambda share: 0.5, optimizer=optimizer, **SMALL)
    half = AETransformer(2, lr=2**-7, optimizer=optimizer, **SMALL)
    assert_same_training(whole, half)


def test_rates_that_are_tensors_change_in_place():
    rate = torch.tensor(0.5)
    weights = [torch.zeros(1, requires_grad=True)]
    optimizer = torch.optim.Adam(weights, lr=rate, foreach=False, capturable=False)
    for share, expected in [(0.0, 0.5), (0.5, 0.05), (1.0, 0.005), (7.0, 0.005)]:
        begin_step(1, share, torch.zeros(()), optimizer, SCHEDULES["exponential"])
        assert float(rate) == pytest.approx(expected)
        assert optimizer.param_groups[0]["lr"] is rate


def test_rates_without_a_schedule_are_left_to_callbacks():
    seen, model = rates()
    assert (seen == 0.01).all()
    assert "lr" not in model.history_[-1]
    recorder = Rates()
    halving = LRScheduler(policy="StepLR", step_size=1, gamma=0.5)
    AETransformer(2, lr=0.01, callbacks=[halving, recorder], **SMALL).fit(rows())
    assert np.ravel(recorder.seen) == pytest.approx([0.01, 0.005, 0.0025])


NONSENSE = [None, True, 10**400, "fast", -0.5, math.nan, math.inf, [1.0]]


@pytest.mark.parametrize("value", NONSENSE, ids=lambda value: str(value)[:9])
def test_a_callable_that_returns_no_factor_is_refused_before_training(value):
    recorder = Rates()
    model = AETransformer(2, **SMALL).fit(rows())
    before = model.transform(rows())
    late = lambda share: 1.0 if share < 0.5 else value
    model.set_params(lr_schedule=late, callbacks=[recorder])
    with pytest.raises(ValueError, match=r"lr_schedule must return a finite .* at 0\.666667"):
        model.fit(rows())
    assert recorder.seen == []
    np.testing.assert_array_equal(model.transform(rows()), before)


@pytest.mark.parametrize("name", ["schedule", "pretraining"])
def test_what_parameters_decide_is_refused_in_net_params(name):
    with pytest.raises(ValueError, match=f"net_params must not contain .'{name}'"):
        AETransformer(2, net_params={name: None}, **SMALL).fit(rows())


@pytest.mark.parametrize(
    "option", [{"lr_schedule": "linear"}, {"lr_schedule": 0.5}, {"pretraining": -1}]
)
def test_values_out_of_range_are_named_in_fit(option):
    (name,) = option
    with pytest.raises(ValueError, match=rf"'{name}' parameter of VIMAETransformer must be"):
        VIMAETransformer(2, **option, **SMALL).fit(rows())


# Pretraining, shown by models whose training proper changes nothing.


def pretrained(cls=VIMAETransformer, n_components=2, steps=200, **parameters):
    settings = {"lr_schedule": frozen, "max_epochs": 1, "random_state": 0, **parameters}
    return cls(n_components, hidden_layer_sizes=(32,), pretraining=steps, **settings)


def moments(model, x):
    """Mean and covariance of codes drawn for rows."""
    loc, std = model.posterior_moments(x)
    covariance = np.cov(loc.T) + np.diag((std**2).mean(axis=0))
    return loc.mean(axis=0), covariance


@pytest.mark.parametrize("prior", [Normal(), Logistic(), Normal(0.1)], ids=repr)
def test_pretraining_brings_codes_to_the_mean_and_covariance_of_the_prior(prior):
    x, unit, one = rows(1000), prior.variance, np.eye(2)
    off, before = moments(pretrained(steps=0, prior=prior).fit(x), x)
    mean, covariance = moments(pretrained(prior=prior).fit(x), x)
    assert abs(mean).max() < 0.1 < 0.5 < abs(off).max()
    # Squared differences below 0.1 per dimension end it: the root of their mean is 0.32.
    assert np.linalg.norm(before / unit - one) / math.sqrt(2) > 0.9
    assert np.linalg.norm(covariance / unit - one) / math.sqrt(2) < 0.4


@pytest.mark.parametrize("posterior", ["dirac", "gaussian", "logistic"])
def test_pretraining_counts_the_spread_of_every_posterior(posterior):
    x = rows(1000)
    model = pretrained(prior="logistic", posterior=posterior).fit(x)
    mean, covariance = moments(model, x)
    unit = model.prior_.variance
    distance = np.square(mean).sum() / unit
    distance += np.square(covariance / unit - np.eye(2)).sum()
    # Estimates from 1000 draws and rows scatter by √(2/1000), times the slope of the square.
    assert distance / 2 == pytest.approx(model.net_.pretraining_curve_[-1], abs=0.06)
    assert distance / 2 < 0.16


def test_pretraining_ends_at_the_first_distance_below_a_tenth():
    curve = pretrained().fit(rows(1000)).net_.pretraining_curve_
    assert 3 < len(curve) < 200
    assert curve[-1] < 0.1 <= min(curve[:-1])
    short = pretrained(steps=3).fit(rows(1000)).net_.pretraining_curve_
    assert short == curve[:3]


def test_pretraining_leaves_the_decoder_and_the_streams_of_training():
    plain, shaped = (pretrained(steps=steps).fit(rows()) for steps in (0, 20))
    nets = [model.net_.autoencoder.decoder.state_dict() for model in (plain, shaped)]
    for name, weight in nets[0].items():
        assert torch.equal(weight, nets[1][name])
    assert not np.array_equal(plain.transform(rows()), shaped.transform(rows()))
    for name in ("shuffle", "noise"):
        states = [getattr(m.net_.streams_, name).get_state() for m in (plain, shaped)]
        assert torch.equal(*states)


def test_pretraining_repeats_and_leaves_callbacks_and_history_as_they_are():
    recorder = Rates()
    settings = {"pretraining": 20, "batch_size": 25, **SMALL}
    once = VAETransformer(2, callbacks=[recorder], **settings).fit(rows())
    assert len(recorder.seen) == 6
    assert_same_training(once, VAETransformer(2, **settings))
    assert once.n_iter_ == 3


class Watching:
    """A corruption that changes nothing and counts the rows it sees in each call."""

    calls: list = []  # noqa: RUF012 - shared by the copies that fit makes

    def corrupt(self, batch, generator):
        Watching.calls.append(batch.clone())
        return batch


def test_pretraining_sees_corrupted_training_rows_alone():
    Watching.calls.clear()
    split = {"train_split": ValidSplit(5)}
    model = pretrained(steps=5, max_epochs=2, net_params=split, noise=Watching()).fit(rows(2600))
    used = Watching.calls[: len(model.net_.pretraining_curve_)]
    assert [len(batch) for batch in used] == [1000, 1080, 1000, 1080, 1000]
    assert len(Watching.calls) == 5 + 2 * 21
    trained = torch.cat(Watching.calls[len(used) :]).unique(dim=0)
    assert len(trained) == 2080
    assert torch.equal(torch.cat(used[:2]).unique(dim=0), trained)


def test_pretraining_takes_two_rows_and_one_component():
    model = pretrained(n_components=1, steps=5).fit(rows(2))
    assert np.isfinite(model.transform(rows())).all()


# Warm-up of the rate's weight.


@pytest.mark.parametrize(
    ("warmup", "progress", "share"),
    [(0.4, 0, 0), (0.4, 0.1, 0.25), (0.4, 0.2, 0.5), (0.4, 0.4, 1), (0.4, 0.7, 1), (0, 0, 1)],
)
def test_the_weight_of_the_rate_rises_linearly_from_nought(warmup, progress, share):
    objective = Objective(Normal(), [(3.0, KL(warmup))])
    objective.progress.fill_(progress)
    q = Moments(torch.ones(4, 2), torch.ones(4, 2))  # a rate of ½ nat per dimension
    batch = Outputs(torch.zeros(4, 5), q, q.loc, torch.full((4,), -7.0), torch.zeros(4, 5))
    target, (loss, distortion, rate) = objective(None, batch, torch.Generator())
    assert (float(distortion), float(rate)) == (7.0, 1.0)
    assert float(loss) == float(target) == pytest.approx(7 + 3 * share)


@pytest.mark.parametrize("cls", [VAETransformer, BetaVAETransformer, InfoVAETransformer])
def test_warmup_weighs_the_rate_by_the_share_of_training_done(cls):
    model = cls(2, warmup=0.5, **{**SMALL, "max_epochs": 8}).fit(rows())
    weight = {VAETransformer: 1.0, BetaVAETransformer: 2.0, InfoVAETransformer: 0.5}[cls]
    for epoch, record in enumerate(model.history_):  # of one batch each
        rate = weight * min(1, epoch / 4) * record["train_kl"]
        rate += 9.5 * record.get("train_mmd", 0.0)
        assert record["train_loss"] == pytest.approx(record["train_distortion"] + rate, rel=1e-5)


@pytest.mark.numerics
def test_warmups_of_vae_and_beta_vae_agree_and_none_is_the_plain_rate():
    for warmup in (0.3, 1.0):
        vae = VAETransformer(2, warmup=warmup, **SMALL)
        assert_same_training(vae, BetaVAETransformer(2, beta=1.0, warmup=warmup, **SMALL))
    plain = VIMAETransformer(2, lam=1.0, divergence=KL(), posterior="gaussian", **SMALL)
    assert_same_training(VAETransformer(2, warmup=0.0, **SMALL), plain)


# Noise of the input.


@pytest.mark.parametrize(
    "noise", ["gaussian", "masking", "swap", GaussianNoise(0.01), MaskingNoise(0.3)]
)
@pytest.mark.numerics
def test_a_denoising_autoencoder_is_an_autoencoder_with_noise(noise):
    assert_same_training(
        AETransformer(2, noise=noise, **SMALL), DenoisingAETransformer(2, noise=noise, **SMALL)
    )


def test_noise_of_level_nought_is_no_noise():
    silent = AETransformer(2, noise=GaussianNoise(0.0), **SMALL)
    assert_same_training(silent, AETransformer(2, **SMALL))


def test_transform_never_corrupts():
    Watching.calls.clear()
    model = WAETransformer(2, noise=Watching(), **SMALL).fit(rows())
    assert len(Watching.calls) == 3
    model.transform(rows()), model.reconstruct(rows()), model.score(rows())
    assert len(Watching.calls) == 3
    noisy = AETransformer(2, noise=GaussianNoise(9.0), **SMALL).fit(rows())
    with torch.no_grad():
        clean = noisy.net_.autoencoder.encode(torch.tensor(rows())).loc.numpy()
    np.testing.assert_array_equal(noisy.transform(rows()), clean)


@pytest.mark.numerics
def test_pretraining_sees_a_dimension_of_small_variance_beside_a_large_one():
    scales = torch.tensor([0.01, 1.0])
    draws = torch.randn(10_000, 2, generator=torch.Generator().manual_seed(0))
    target = _spread(scales * draws)
    assert _distance(_spread(scales * draws.flip(0)), target) < 1e-6
    wide = _distance(_spread(scales * torch.tensor([20.0, 1.0]) * draws), target)
    # A variance 400 times the prior's, in one dimension of two.
    assert float(wide) == pytest.approx((400 - 1) ** 2 / 2, rel=0.05)


def test_an_encoder_without_weights_needs_no_pretraining():
    network = (torch.nn.Identity(), torch.nn.Linear(4, 4))
    rows = np.random.default_rng(0).normal(size=(60, 4))
    model = WAETransformer(4, network=network, pretraining=5, max_epochs=1, random_state=0)
    assert model.fit(rows).net_.pretraining_curve_ == []
