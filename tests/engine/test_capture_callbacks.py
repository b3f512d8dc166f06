"""Callbacks and captured training steps."""

import copy

import numpy as np
import pytest
import torch
from captured import assert_captured_as_plain, fitted
from family import X
from skorch.callbacks import (
    Callback,
    Checkpoint,
    EarlyStopping,
    EpochScoring,
    GradientNormClipping,
    LRScheduler,
    PassthroughScoring,
)

from skvim import VAETransformer, VIMAETransformer


class AtEpochEnd(Callback):
    """A user's callback: changes something after the second epoch."""

    def __init__(self, change):
        self.change = change

    def on_epoch_end(self, net, **kwargs):
        if len(net.history) == 2:
            self.change(net)


def freeze(net):
    net.module_.encoder.requires_grad_(False)


def slow_down(net):
    for group in net.optimizer_.param_groups:
        group["lr"] /= 10


def zero(net):
    with torch.no_grad():
        for weight in net.module_.parameters():
            weight.zero_()


def renew_optimizer(net):
    net._initialize_optimizer()


def renew_model(net):
    net.module_ = copy.deepcopy(net.module_)


def change_kernel(net):
    net.criterion_.terms[0].settings.kernel = "rbf"


def hook(net):
    net.module_.encoder.register_forward_hook(lambda module, args, output: 2 * output)


CHANGES = [freeze, slow_down, zero, renew_optimizer, renew_model, change_kernel, hook]


@pytest.mark.parametrize("change", CHANGES)
def test_changes_by_callbacks_of_users_have_their_effect(change):
    model = VIMAETransformer(2, lr=1e-2)
    unchanged = fitted(model, acceleration=None).loss_curve_
    options = {"callbacks": [AtEpochEnd(change)]}
    plain = fitted(model, acceleration=None, **options)
    asked = fitted(model, acceleration="capture", **options)
    assert asked.loss_curve_ == plain.loss_curve_
    assert asked.loss_curve_[:2] == unchanged[:2]
    assert asked.loss_curve_[3] != unchanged[3]
    assert asked.net_.plain_because_ == "a callback may change the model"


class BatchCounter(Callback):
    """A user's callback that counts the batches of training."""

    n_batches = 0

    def on_batch_end(self, net, training=None, **kwargs):
        self.n_batches += training


def square_error(net, dataset, y):
    """Mean squared error of the reconstructions of all rows."""
    return float(np.square(net.predict(X.astype(np.float32)) - X).mean())


HALVED = {"policy": "StepLR", "step_size": 1, "gamma": 0.5}
LISTENING = {
    "clipping": GradientNormClipping(1.0),
    "schedule": LRScheduler(**HALVED, step_every="batch"),
    "counter": BatchCounter(),
    "cached": EpochScoring(lambda net, dataset, y: len(dataset), on_train=True),
    "passed-through": PassthroughScoring("train_loss", on_train=True),
}


@pytest.mark.parametrize("name", LISTENING)
def test_callbacks_of_batches_see_eager_steps(name, steps):
    callback = copy.deepcopy(LISTENING[name])
    options = {"net_params": {"use_caching": "auto"}, "callbacks": [callback]}
    model = fitted(VAETransformer(2, lr=1e-2), acceleration="capture", **options)
    assert model.net_.plain_because_ == "a callback listens to batches"
    assert not steps
    n_batches = sum(model.history_[:, "train_batch_count"])
    rate = 1e-2 / 2 ** (n_batches if name == "schedule" else 0)
    assert model.net_.optimizer_.param_groups[0]["lr"] == pytest.approx(rate)
    assert getattr(callback, "n_batches", n_batches) == n_batches


PASSIVE = {
    "checkpoint": lambda path: Checkpoint(monitor="train_loss_best", dirname=path, load_best=True),
    "stopping": lambda path: EarlyStopping("train_loss", patience=2, threshold=1e9, sink=id),
    "schedule": lambda path: LRScheduler(**HALVED, step_every="epoch"),
    "scoring": lambda path: EpochScoring(square_error, name="train_error", on_train=True),
}


@pytest.mark.parametrize("name", PASSIVE)
def test_callbacks_that_change_values_alone_leave_steps_captured(name, tmp_path):
    make = PASSIVE[name]
    model = assert_captured_as_plain(VAETransformer(2, lr=1e-2), callbacks=[make(tmp_path)])
    assert (tmp_path / "params.pt").exists() is (name == "checkpoint")
    assert model.n_iter_ == (3 if name == "stopping" else 4)
    assert ("train_error" in model.history_[-1]) is (name == "scoring")
    rate = 1e-2 / (16 if name == "schedule" else 1)
    assert model.net_.optimizer_.param_groups[0]["lr"] == pytest.approx(rate)
