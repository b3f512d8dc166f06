"""Every autoencoder with ``early_stopping``: what it sets aside, when it stops, what it keeps."""

import math
import pickle

import numpy as np
import pytest
import torch
from family import MODELS, normal_rows
from sklearn.base import clone
from skorch.callbacks import Callback
from skorch.dataset import ValidSplit

import skvim
from skvim import (
    AETransformer,
    BetaVAETransformer,
    CapacityVAETransformer,
    DenoisingAETransformer,
    UncertaintyAETransformer,
    VAETransformer,
    VIMAETransformer,
)
from skvim.exceptions import StopTraining, TrainingDivergedError
from skvim.networks import Modules
from skvim.objectives import Gaussian, LikelihoodModule

X = normal_rows(90, 6, 2)
SMALL = {"hidden_layer_sizes": (16,), "batch_size": 40, "random_state": 0}
# A rate at which the loss of a small network soon goes up and down.
FAST = {**SMALL, "lr": 0.03, "max_epochs": 60, "early_stopping": True, "n_iter_no_change": 3}
FAST["n_steps_no_change"] = 0

by_model = pytest.mark.parametrize("cls", MODELS, ids=lambda cls: cls.__name__)
pytestmark = pytest.mark.filterwarnings("ignore::skvim.exceptions.SkvimWarning")


def stops(losses: list[float], patience: int, tol: float) -> int:
    """Return after how many epochs the rule ends training, from all losses at once."""
    for n in range(1, len(losses) + 1):
        since = [i for i in range(n) if losses[i] < min(losses[:i], default=math.inf) - tol]
        if n - 1 - since[-1] >= patience:
            return n
    return len(losses)


def everything(model, rows=X) -> list[np.ndarray]:
    """Return what a fitted model gives for rows."""
    return [*model.posterior_moments(rows), model.reconstruct(rows)]


class SeenRows(Callback):
    """Record the first column of the rows that a net trains on and of those it validates on."""

    def __init__(self):
        self.training, self.validation = [], []

    def on_batch_begin(self, net, batch=None, training=None, **kwargs):
        (self.training if training else self.validation).extend(batch[0][:, 0].tolist())


def rows_of_a_fit(n: int, fraction: float = 0.1, random_state: int = 0) -> SeenRows:
    """Return the numbers of the rows of which training sets some aside.

    They depend on the number of rows, the fraction and the seed, but not on the model.
    """
    seen = SeenRows()
    model = AETransformer(1, hidden_layer_sizes=(2,), max_epochs=1, callbacks=[seen])
    model.set_params(early_stopping=True, validation_fraction=fraction, random_state=random_state)
    model.fit(np.arange(n, dtype=float)[:, None])
    return seen


def set_aside(n: int, fraction: float = 0.1) -> list[int]:
    """Return the numbers of the rows that a fit with seed 0 sets aside, in rising order."""
    return sorted(map(int, rows_of_a_fit(n, fraction).validation))


@pytest.fixture(scope="module")
def fitted():
    return {cls: cls(3, **FAST).fit(X) for cls in MODELS}


@by_model
def test_training_ends_by_the_rule_and_says_so(cls, fitted):
    model = fitted[cls]
    curve = model.validation_loss_curve_
    assert len(curve) == len(model.loss_curve_) == model.n_iter_ == len(model.history_)
    assert 3 < model.n_iter_ < 60
    assert stops(curve, 3, model.tol) == model.n_iter_
    assert model.best_validation_loss_ == min(curve) < curve[-1]
    assert model.history_[-1]["valid_loss"] == curve[-1]


@by_model
def test_the_weights_kept_are_those_of_the_best_epoch(cls, fitted):
    model = fitted[cls]
    best = int(np.argmin(model.validation_loss_curve_)) + 1
    # No schedule and no warm-up goes by the number of epochs, so that this is the same training.
    same = {"max_epochs": best} if cls is not CapacityVAETransformer else {}
    shorter = clone(model).set_params(**same).fit(X)
    for one, other in zip(everything(model), everything(shorter), strict=True):
        np.testing.assert_array_equal(one, other)
    assert shorter.best_validation_loss_ == model.best_validation_loss_


@by_model
def test_without_it_nothing_is_set_aside_and_its_settings_do_nothing(cls):
    options = {**SMALL, "max_epochs": 3}
    plain = cls(3, **options).fit(X)
    ignored = {"validation_fraction": 0.7, "n_iter_no_change": 1, "n_steps_no_change": 0}
    ignored["tol"] = 1e9
    other = cls(3, **options, **ignored).fit(X)
    for one, two in zip(everything(plain), everything(other), strict=True):
        np.testing.assert_array_equal(one, two)
    assert plain.loss_curve_ == other.loss_curve_
    assert plain.validation_loss_curve_ is plain.best_validation_loss_ is None
    assert not any(key.startswith("valid") for key in plain.history_[-1])


@by_model
def test_rows_set_aside_train_nothing(cls):
    """Whatever stands in them, all but their losses stays as it was."""
    valid = set_aside(len(X))
    changed = X.copy()
    changed[valid] = changed[valid][::-1] + 0.5
    options = {**FAST, "max_epochs": 3, "n_iter_no_change": 5}
    one, other = (cls(3, **options).fit(rows) for rows in (X, changed))
    assert one.loss_curve_ == other.loss_curve_
    assert one.validation_loss_curve_ != other.validation_loss_curve_


@by_model
def test_the_same_seed_repeats_and_another_does_not(cls, fitted):
    again = cls(3, **FAST).fit(X)
    assert again.validation_loss_curve_ == fitted[cls].validation_loss_curve_
    options = {**FAST, "max_epochs": 2}
    first, second = (cls(3, **{**options, "random_state": seed}).fit(X) for seed in (1, 2))
    assert first.validation_loss_curve_ != second.validation_loss_curve_


@by_model
def test_a_file_and_a_pickle_keep_the_curve(cls, fitted, tmp_path):
    model = fitted[cls]
    model.save(tmp_path / "model")
    for copied in (skvim.load(tmp_path / "model"), pickle.loads(pickle.dumps(model))):
        assert copied.validation_loss_curve_ == model.validation_loss_curve_
        assert copied.best_validation_loss_ == model.best_validation_loss_
        assert copied.n_iter_ == model.n_iter_
        for one, other in zip(everything(copied), everything(model), strict=True):
            np.testing.assert_array_equal(one, other)


@by_model
@pytest.mark.numerics
def test_captured_steps_stop_where_plain_ones_do(cls):
    plain = cls(3, **FAST, acceleration=None).fit(X)
    captured = cls(3, **FAST, acceleration="capture").fit(X)
    assert captured.net_.plain_because_ == ""
    # Epochs far from the first see what rounding has grown to; a decision may follow it.
    n = min(plain.n_iter_, captured.n_iter_, 6)
    np.testing.assert_allclose(
        captured.validation_loss_curve_[:n], plain.validation_loss_curve_[:n], rtol=1e-3
    )
    assert stops(captured.validation_loss_curve_, 3, captured.tol) == captured.n_iter_
    best = min(captured.validation_loss_curve_)
    assert captured.best_validation_loss_ == best


@pytest.mark.numerics
def test_the_loss_of_a_plain_autoencoder_is_its_score_of_the_rows_set_aside():
    model = AETransformer(3, **{**FAST, "likelihood": Gaussian(2.0), "max_epochs": 5}).fit(X)
    assert -model.score(X[set_aside(len(X))]) == pytest.approx(
        model.best_validation_loss_, rel=1e-5
    )


def test_the_loss_of_a_vae_is_the_bound_of_the_rows_set_aside():
    """Over many rows a draw a row says the mean; with the rate in full from the first epoch on."""
    rows = normal_rows(6000, 4, 2)
    options = {"likelihood": Gaussian(3.0), "validation_fraction": 0.5, "max_epochs": 2}
    model = VAETransformer(2, **{**FAST, **options, "batch_size": 500, "warmup": 1.0}).fit(rows)
    held_out = rows[set_aside(len(rows), 0.5)]
    mean, std = model.posterior_moments(held_out)
    rate = 0.5 * (mean**2 + std**2 - 1 - 2 * np.log(std)).sum(1)
    source = np.random.default_rng(0)
    draws = [mean + std * source.standard_normal(mean.shape) for _ in range(20)]
    errors = [((held_out - model.inverse_transform(z)) ** 2).sum(1) for z in draws]
    density = np.mean(errors, 0) / 6 + 2 * math.log(2 * math.pi * 3.0)
    bound = rate + density
    error = 3 * math.hypot(np.std(errors) / 6, 0) / math.sqrt(len(held_out))
    best = int(np.argmin(model.validation_loss_curve_))
    assert abs(model.validation_loss_curve_[best] - bound.mean()) < error


def test_rows_set_aside_are_seen_without_noise():
    clean = AETransformer(3, likelihood=Gaussian(2.0), **{**FAST, "max_epochs": 1}).fit(X)
    noisy = DenoisingAETransformer(
        3,
        noise=skvim.noise.GaussianNoise(1e-7),
        likelihood=Gaussian(2.0),
        **{**FAST, "max_epochs": 1},
    ).fit(X)
    assert noisy.best_validation_loss_ == pytest.approx(clean.best_validation_loss_, rel=1e-4)


@pytest.mark.parametrize(
    ("n", "fraction", "n_valid"),
    [(90, 0.1, 9), (91, 0.1, 10), (10, 0.25, 3), (100, 0.07, 7), (100, 0.55, 55), (9, 1e-9, 1)],
)
def test_a_share_is_rounded_up_and_no_row_is_in_both_parts(n, fraction, n_valid):
    seen, other = (rows_of_a_fit(n, fraction, seed) for seed in (0, 1))
    assert len(seen.validation) == n_valid
    assert sorted([*seen.training, *seen.validation]) == list(range(n))
    assert sorted(seen.validation) != sorted(other.validation)


@pytest.mark.parametrize(
    ("losses", "tol", "n_seen", "best"),
    [
        ([3.0, 2.0, 1.0, 0.5, 0.2], 0.1, 5, 0.2),
        ([3.0, 3.0, 3.0, 3.0], 0.0, 3, 3.0),
        # Small improvements do not count, one by one, but are kept.
        ([3.0, 2.95, 2.9, 2.85], 0.1, 3, 2.9),
        ([3.0, 2.95, 2.8, 2.79, 2.9], 0.1, 5, 2.79),
        ([1.0, 2.0, 0.5, 2.0, 2.0, 0.1], 0.0, 5, 0.5),
    ],
)
def test_the_rule_counts_epochs_since_the_last_improvement_above_the_tolerance(
    losses, tol, n_seen, best, monkeypatch
):
    model = fit_with_losses(losses, monkeypatch, n_iter_no_change=2, tol=tol)
    assert model.validation_loss_curve_ == pytest.approx(losses[:n_seen])
    assert model.best_validation_loss_ == pytest.approx(best)


@pytest.mark.parametrize(
    ("n_steps", "n_epochs"), [(0, 3), (4, 3), (5, 4), (6, 4), (7, 5), (500, 31)]
)
def test_epochs_without_an_improvement_have_at_least_so_many_steps(n_steps, n_epochs, monkeypatch):
    """Of 81 rows there are batches of 40 and 41; the first epoch is the best one."""
    losses = [1.0] * 110
    model = fit_with_losses(losses, monkeypatch, n_iter_no_change=2, n_steps_no_change=n_steps)
    assert model.n_iter_ == n_epochs


@pytest.mark.parametrize(("n_steps", "n_epochs"), [(0, 42), (500, 80)])
def test_a_long_training_is_given_as_many_epochs_again(n_steps, n_epochs, monkeypatch):
    """The last improvement is that of epoch 40, unless epochs alone count."""
    losses = [*np.linspace(3, 1, 40), *[1.0] * 60]
    model = fit_with_losses(losses, monkeypatch, n_iter_no_change=2, n_steps_no_change=n_steps)
    assert model.n_iter_ == n_epochs


# Of six features 0.05 nats each are 0.3 nats, more than a twentieth of small decreases. Twice the
# patience are four losses.
@pytest.mark.parametrize(
    ("losses", "n_seen"),
    [
        ([3.0, 0.0, *[0.25] * 6], 8),
        ([3.0, 0.0, *[0.35] * 6], 6),
        ([3.0, 0.0, 0.35, 0.35, 0.0, *[0.35] * 6], 9),  # a single one is low
        ([3.0, 0.0, 2.6, 2.6, 2.6, -1.0, *[2.6] * 6], 10),  # an improvement in between
        ([10.0, 0.0, *[0.45] * 6], 8),
        ([10.0, 0.0, *[0.55] * 6], 6),
        ([0.0, *[5.0] * 6], 5),
    ],
)
def test_losses_that_rise_clearly_end_training_before_those_steps(losses, n_seen, monkeypatch):
    options = {"n_iter_no_change": 2, "n_steps_no_change": 500}
    model = fit_with_losses(losses, monkeypatch, **options)
    assert model.validation_loss_curve_ == pytest.approx(losses[:n_seen])
    assert model.best_validation_loss_ == pytest.approx(min(losses[:n_seen]))


def fit_with_losses(losses, monkeypatch, **options):
    """Fit a model whose validation losses are these."""
    coming = iter(losses)

    def log_density(likelihood, x, output):
        squares = (x - output).square().sum(1)
        return -squares if likelihood.training else torch.full_like(squares, -next(coming))

    monkeypatch.setattr(LikelihoodModule, "forward", log_density)
    options = {**FAST, "max_epochs": len(losses), **options}
    return AETransformer(2, likelihood=Gaussian(1.0), **options).fit(X)


@pytest.mark.parametrize(
    ("cls", "n", "fraction"),
    [
        (AETransformer, 2, 0.1),
        (AETransformer, 10, 0.9),
        (VIMAETransformer, 10, 0.1),  # one row has no distance to another
        (UncertaintyAETransformer, 3, 0.5),
    ],
)
def test_too_few_rows_are_refused_with_what_to_do(cls, n, fraction):
    model = cls(2, **FAST, validation_fraction=fraction)
    with pytest.raises(ValueError, match=r"validation_fraction must leave.*Give more rows"):
        model.fit(X[:n])
    assert not hasattr(model, "net_")


def test_a_split_of_skorch_beside_it_is_refused():
    model = AETransformer(2, **FAST, net_params={"train_split": ValidSplit(5)})
    with pytest.raises(ValueError, match=r"'train_split' beside early_stopping=True"):
        model.fit(X)


def test_no_split_of_skorch_is_no_split_beside_it(fitted):
    model = AETransformer(3, **FAST, net_params={"train_split": None}).fit(X)
    assert model.validation_loss_curve_ == fitted[AETransformer].validation_loss_curve_


@pytest.mark.numerics
def test_a_value_that_float32_cannot_hold_beside_the_others_is_refused_in_them_too():
    rows = X.copy()
    rows[set_aside(len(X))[0]] = 1e30
    with pytest.raises(ValueError, match="spread that float32 resolves"):
        AETransformer(2, **FAST).fit(rows)


def test_a_loss_that_is_not_finite_is_an_error_and_names_the_rows(monkeypatch):
    """A likelihood may be finite on the rows that train and infinite on the others."""
    monkeypatch.setattr(LikelihoodModule, "forward", _infinite)
    with pytest.raises(TrainingDivergedError, match="valid loss is not finite in epoch 1"):
        AETransformer(2, likelihood=Gaussian(1.0), **FAST).fit(X)


def _infinite(likelihood, x, output):
    squares = (x - output).square().sum(1)
    return -squares if likelihood.training else -squares * math.inf


def test_the_support_is_that_of_all_rows():
    unit = (X - X.min()) / (X.max() - X.min())
    model = AETransformer(2, likelihood="bernoulli", **FAST)
    unit[set_aside(len(X))[0]] += 1
    with pytest.raises(ValueError, match=r"\[0, 1\]"):
        clone(model).fit(unit)


class Stop(Callback):
    """Stop after an epoch."""

    def __init__(self, epoch: int):
        self.epoch = epoch

    def on_epoch_end(self, net, **kwargs):
        if len(net.history) == self.epoch:
            raise StopTraining


def test_a_callback_may_end_it_sooner():
    model = AETransformer(3, **FAST, callbacks=[Stop(2)]).fit(X)
    assert model.n_iter_ == len(model.validation_loss_curve_) == 2


class Break(Callback):
    """Stop in the middle of a pass over batches."""

    def __init__(self, epoch: int, training: bool):
        self.place = (epoch, training)

    def on_batch_begin(self, net, training=None, **kwargs):
        if (len(net.history), training) == self.place:
            raise StopTraining


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("epoch", [1, 3])
def test_an_epoch_that_a_callback_breaks_off_does_not_count(epoch, training):
    model = AETransformer(3, **FAST, callbacks=[Break(epoch, training)]).fit(X)
    n_done = epoch - 1
    assert model.n_iter_ == len(model.loss_curve_) == n_done
    assert len(model.validation_loss_curve_) == n_done
    assert model.best_validation_loss_ == min(model.validation_loss_curve_, default=None)
    if n_done:
        shorter = AETransformer(3, **{**FAST, "max_epochs": n_done}).fit(X)
        for one, other in zip(everything(model), everything(shorter), strict=True):
            np.testing.assert_array_equal(one, other)


class Weights(Callback):
    """Keep a copy of the weights when training ends."""

    def on_train_end(self, net, **kwargs):
        self.weights = [p.detach().clone() for p in net.module_.parameters()]


def test_callbacks_see_the_best_weights_when_training_ends():
    recorder = Weights()
    model = AETransformer(3, **FAST, callbacks=[recorder]).fit(X)
    assert all(map(torch.equal, recorder.weights, model.net_.module_.parameters()))


def test_modules_pictures_and_bytes_are_taken():
    images = (255 * normal_rows(60, 16, 2, 3).clip(0, 10) / 10).astype(np.uint8).reshape(-1, 4, 4)
    pair = (torch.nn.Linear, torch.nn.Linear)
    for options in ({}, {"network": Modules(*pair)}):
        model = AETransformer(2, **FAST, **options).fit(images)
        assert model.best_validation_loss_ == min(model.validation_loss_curve_)
        assert model.reconstruct(images).shape == images.shape


@pytest.mark.numerics
def test_bytes_are_measured_as_their_values():
    rows = (255 * normal_rows(60, 6, 2, 3).clip(0, 10) / 10).astype(np.uint8)
    options = {**FAST, "max_epochs": 4}
    one, other = (BetaVAETransformer(2, **options).fit(r) for r in (rows, rows.astype(np.float64)))
    np.testing.assert_allclose(one.validation_loss_curve_, other.validation_loss_curve_, rtol=1e-4)


@pytest.mark.parametrize("cls", [AETransformer, VIMAETransformer])
def test_a_stopped_model_keeps_no_rows(cls):
    options = {**FAST, "max_epochs": 2, "batch_size": 1000}
    sizes = [len(pickle.dumps(cls(3, **options).fit(rows))) for rows in (X, np.tile(X, (10, 1)))]
    assert abs(sizes[1] - sizes[0]) < X.size  # a byte for each of the first rows' values
