"""Captured training steps: the same training as plain ones."""

import copy
import itertools
import os
import pickle
import subprocess
import sys
import warnings

import numpy as np
import pytest
import torch
from family import DIGITS, MODELS, SMALL, X
from skorch.callbacks import Callback, GradientNormClipping
from torch import distributions as D  # noqa: N812  # torch's own abbreviation
from torch import nn

from skvim import (
    AAETransformer,
    AETransformer,
    CapacityVAETransformer,
    VAETransformer,
    VIMAETransformer,
)
from skvim.engine._accelerate import Accelerator
from skvim.exceptions import AccelerationWarning, SkvimWarning
from skvim.noise import AugmentationNoise, BlurNoise, MaskingNoise, OcclusionNoise
from skvim.objectives import Divergence, Gaussian

# 45 rows in a batch leave a remainder, and so two shapes of batches.
OPTIONS = {**SMALL, "batch_size": 45, "max_epochs": 6}
VARIANTS = {
    "prior": VIMAETransformer(2, prior="logistic"),
    "prior-object": VIMAETransformer(2, prior=D.Laplace(0.0, 1.0)),
    "posterior": VAETransformer(2, prior="logistic", posterior="logistic"),
    "fixed-spread": VIMAETransformer(2, posterior="gaussian", divergence="kl", lam=1),
    "density-ratio": VIMAETransformer(2, divergence="density-ratio", lam=1),
    "sliced": VIMAETransformer(2, divergence="sliced-wasserstein"),
    "adversary": AAETransformer(2, lam=1),
    "warmup": VAETransformer(2, warmup=0.7),
    "capacity": CapacityVAETransformer(2, capacity=3.0),
    "schedule": VAETransformer(2, lr_schedule="cosine"),
    "normalised": AETransformer(2, normalization="batch", dropout=0.3),
    "layer-normalised": AETransformer(2, normalization="layer", activation="gelu"),
    "corrupted": AETransformer(2, noise=MaskingNoise(0.3)),
    "occluded": AETransformer(2, noise=OcclusionNoise(1, image_shape=(2, 3))),
    "augmented": AETransformer(2, noise=AugmentationNoise(image_shape=(2, 3))),
    "blurred": AETransformer(2, noise=BlurNoise(0.7, image_shape=(2, 3))),
    "per-feature": VAETransformer(2, likelihood=Gaussian("per-feature")),
    "fixed-variance": VIMAETransformer(2, likelihood=Gaussian(variance=2.0)),
    "adamw": VAETransformer(2, optimizer="adamw"),
    "sgd": VAETransformer(2, optimizer="sgd", lr=1e-4),
    "rmsprop": VAETransformer(2, optimizer=torch.optim.RMSprop),
    "decay": VAETransformer(2, net_params={"optimizer__weight_decay": 0.1}),
    "layers": VAETransformer(2, network=(nn.Linear(6, 4), nn.Linear(2, 6))),
}


@pytest.fixture
def steps(monkeypatch):
    """Which accelerators a test made, to see what they captured."""
    made = []
    create = Accelerator.__init__

    def init(self, *args, **kwargs):
        create(self, *args, **kwargs)
        made.append(self)

    monkeypatch.setattr(Accelerator, "__init__", init)
    return made


def fitted(model, rows=X, **options):
    """A copy of the model, trained; warnings about the fit itself are of no matter here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SkvimWarning)
        warnings.simplefilter("error", AccelerationWarning)
        return copy.deepcopy(model).set_params(**{**OPTIONS, **options}).fit(rows)


def same_training(model, rows=X, **options):
    """Train both ways; every value of the history and every weight must agree."""
    plain = fitted(model, rows, acceleration=None, **options)
    captured = fitted(model, rows, acceleration="capture", **options)
    for one, other in zip(plain.history_, captured.history_, strict=True):
        names = [name for name in one if name.startswith("train_")]
        expected = {name: one[name] for name in names}
        assert {name: other[name] for name in names} == pytest.approx(expected, rel=1e-3, abs=1e-4)
    for one, other in zip(
        plain.net_.module_.state_dict().values(),
        captured.net_.module_.state_dict().values(),
        strict=True,
    ):
        torch.testing.assert_close(other, one, rtol=1e-2, atol=1e-3)
    return captured


@pytest.mark.parametrize("model", MODELS, ids=lambda cls: cls.__name__)
@pytest.mark.numerics
def test_a_captured_training_is_the_plain_one(model, steps):
    same_training(model(2))
    assert [sorted(made.steps) for made in steps] == [[], [(30, 6), (45, 6)]]


@pytest.mark.parametrize("name", VARIANTS)
def test_settings_are_captured_too(name, steps):
    same_training(VARIANTS[name])
    assert not steps[0].steps
    assert steps[1].steps, steps[1].reason


def test_images_and_convolutions_are_captured(steps):
    source = np.random.default_rng(0)
    images = source.integers(0, 256, size=(24, 8, 8), dtype=np.uint8)
    same_training(AETransformer(2, network="convolutional"), images, batch_size=8, max_epochs=2)
    assert list(steps[1].steps) == [(8, 64)]


def test_long_trainings_are_captured_by_default_and_short_ones_are_not(steps):
    model = VAETransformer(2, hidden_layer_sizes=(8,), batch_size=30, random_state=0)
    model.set_params(max_epochs=30).fit(DIGITS[:120])
    assert not steps[-1].steps
    assert model.net_.plain_because_.startswith("fewer than 2000 steps")
    model.set_params(max_epochs=500).fit(DIGITS[:120])
    assert list(steps[-1].steps) == [(30, 64)]
    assert not model.net_.plain_because_


class _Counting(Divergence):
    """A divergence that does something else every time, by a counter in Python."""

    def __init__(self):
        self.calls = itertools.count(1)

    def check(self, posterior, prior):
        """Take anything."""

    def forward(self, q, z, prior, generator):
        """Grow from call to call."""
        return next(self.calls) * z.square().mean()


class _Branching(_Counting):
    """A divergence whose operations depend on values."""

    def forward(self, q, z, prior, generator):
        """Take one of two ways."""
        return z.square().mean() if z.sum() > 0 else z.abs().mean()


def test_what_belongs_to_users_is_not_captured_unasked(steps):
    # Batches of all rows, and one epoch of as many steps as are worth the capture.
    fitted(VIMAETransformer(2, divergence=_Counting()), batch_size=120, max_epochs=2000)
    assert "neither skvim's nor torch's" in steps[0].plain_because()
    assert not steps[0].steps
    fitted(VAETransformer(2), acceleration=None)
    assert steps[1].plain_because() == "acceleration is None"


def test_what_cannot_be_captured_says_so_and_trains_plainly(steps):
    plain = fitted(VIMAETransformer(2, divergence=_Branching()), acceleration=None)
    model = VIMAETransformer(2, divergence=_Branching(), **OPTIONS, acceleration="capture")
    with pytest.warns(AccelerationWarning, match="cannot trace"):
        model.fit(X)
    assert model.loss_curve_ == plain.loss_curve_


def test_a_step_that_changes_between_calls_is_found_out():
    model = VIMAETransformer(2, divergence=_Counting(), **OPTIONS, acceleration="capture")
    with pytest.warns(AccelerationWarning, match="differ from those of an eager step"):
        model.fit(X)


def test_generators_of_the_caller_are_not_touched():
    before = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    fitted(VIMAETransformer(2, dropout=0.2), acceleration="capture")
    assert torch.equal(torch.get_rng_state(), before[0])
    assert (np.random.get_state()[1] == before[1]).all()  # noqa: NPY002


class _Freezing(Callback):
    """Stops the encoder's training, and halves the rate, after three epochs."""

    def on_epoch_end(self, net, **kwargs):
        """Freeze at the right time."""
        if len(net.history) == 3:
            for weight in net.module_.encoder.parameters():
                weight.requires_grad_(False)
            for group in net.optimizer_.param_groups:
                group["lr"] /= 2


class _Reloading(Callback):
    """Goes back to an earlier state of the optimizer."""

    def on_epoch_end(self, net, **kwargs):
        """Keep the state, and put it back two epochs later."""
        if len(net.history) == 2:
            self.state = copy.deepcopy(net.optimizer_.state_dict())
        if len(net.history) == 4:
            net.optimizer_.load_state_dict(self.state)


@pytest.mark.parametrize("callback", [_Freezing, _Reloading])
def test_changes_by_callbacks_between_epochs_are_seen(callback, steps):
    captured = same_training(VAETransformer(2), callbacks=[callback()])
    assert steps[1].steps
    unchanged = fitted(VAETransformer(2), acceleration=None).loss_curve_
    assert captured.loss_curve_[:3] == pytest.approx(unchanged[:3], rel=1e-4)
    assert captured.loss_curve_[-1] != pytest.approx(unchanged[-1], rel=1e-4)


def test_callbacks_of_batches_see_eager_steps(steps):
    fitted(VAETransformer(2), acceleration="capture", callbacks=[GradientNormClipping(1.0)])
    assert not steps[0].steps
    assert steps[0].plain_because() == "a callback listens to batches"


def test_a_model_trained_by_captured_steps_copies_and_pickles():
    model = fitted(VAETransformer(2), acceleration="capture")
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        np.testing.assert_array_equal(other.transform(X), model.transform(X))


def test_a_net_trains_on_after_a_pickle(steps):
    model = fitted(VAETransformer(2), acceleration="capture")
    net = pickle.loads(pickle.dumps(model)).net_
    net.partial_fit(X.astype(np.float32))
    assert len(net.history) == 2 * OPTIONS["max_epochs"]
    assert steps[-1].steps


@pytest.mark.parametrize("acceleration", [None, "capture"])
@pytest.mark.parametrize("model", [VAETransformer, VIMAETransformer], ids=lambda cls: cls.__name__)
def test_bfloat16_trains_about_as_float32_does_and_leaves_the_model_in_float32(model, acceleration):
    options = {"acceleration": acceleration, "max_epochs": 30, "lr": 1e-2}
    exact = fitted(model(2), **options)
    coarse = fitted(model(2), precision="bfloat16", **options)
    assert coarse.loss_curve_ != exact.loss_curve_
    assert coarse.loss_curve_ == pytest.approx(exact.loss_curve_, rel=0.02, abs=0.1)
    assert {weight.dtype for weight in coarse.net_.module_.parameters()} == {torch.float32}
    assert coarse.transform(X.astype(np.float32)).dtype == np.float32
    assert coarse.score(X) == pytest.approx(exact.score(X), abs=0.3)


@pytest.mark.slow
@pytest.mark.parametrize("model", [VAETransformer, AAETransformer], ids=lambda cls: cls.__name__)
def test_compiled_training_is_the_plain_one(model):
    plain = fitted(model(2), acceleration=None)
    compiled = fitted(model(2), acceleration="compile")
    assert compiled.loss_curve_ == pytest.approx(plain.loss_curve_, rel=1e-3, abs=1e-4)


def test_a_compiler_that_fails_is_reported_and_done_without(monkeypatch, steps):
    def refuse(*args, **kwargs):
        raise RuntimeError("no compiler here")

    monkeypatch.setattr(torch, "compile", lambda *args, **kwargs: refuse)
    plain = fitted(VAETransformer(2), acceleration=None)
    model = VAETransformer(2, **OPTIONS, acceleration="compile")
    with pytest.warns(AccelerationWarning, match="captured, but not compiled: .*no compiler here"):
        model.fit(X)
    assert model.loss_curve_ == pytest.approx(plain.loss_curve_, rel=1e-4)
    assert steps[-1].steps


@pytest.mark.gpu
@pytest.mark.parametrize("model", MODELS, ids=lambda cls: cls.__name__)
def test_graphs_on_a_gpu_train_as_plain_steps_do(model, steps):
    same_training(model(2), device="cuda")
    assert {type(step).__name__ for step in steps[1].steps.values()} == {"GraphedStep"}


@pytest.mark.gpu
@pytest.mark.parametrize("name", VARIANTS)
def test_settings_are_in_graphs_on_a_gpu_too(name, steps):
    same_training(VARIANTS[name], device="cuda")
    assert {type(step).__name__ for step in steps[1].steps.values()} == {"GraphedStep"}


@pytest.mark.gpu
def test_bfloat16_on_a_gpu_trains_about_as_float32_does():
    exact = fitted(VAETransformer(2), device="cuda")
    coarse = fitted(VAETransformer(2), device="cuda", precision="bfloat16")
    assert coarse.loss_curve_ == pytest.approx(exact.loss_curve_, rel=0.02, abs=0.1)


@pytest.mark.gpu
@pytest.mark.parametrize("acceleration", [None, "capture"])
def test_a_gpu_and_a_cpu_give_models_of_the_same_quality(acceleration):
    options = {"acceleration": acceleration, "max_epochs": 60}
    scores = [fitted(VAETransformer(2), device=d, **options).score(X) for d in ("cpu", "cuda")]
    assert scores[0] == pytest.approx(scores[1], abs=0.3)


@pytest.mark.gpu
def test_a_model_trained_by_graphs_opens_where_there_is_no_gpu(tmp_path):
    model = fitted(VAETransformer(2), acceleration="capture", device="cuda")
    (tmp_path / "model.pickle").write_bytes(pickle.dumps(model))
    np.save(tmp_path / "X.npy", X)
    script = (
        "import pickle, numpy as np; "
        "model = pickle.load(open('model.pickle', 'rb')); "
        "np.save('Z.npy', model.transform(np.load('X.npy')))"
    )
    command = [sys.executable, "-c", script]
    hidden = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    subprocess.run(command, cwd=tmp_path, env=hidden, check=True)
    np.testing.assert_allclose(
        np.load(tmp_path / "Z.npy"), model.transform(X), rtol=1e-4, atol=1e-5
    )
