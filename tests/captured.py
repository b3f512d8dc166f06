"""Captured and plain training, side by side, and models to train."""

import copy
import warnings

import pytest
import torch
from family import MODELS, SMALL, X
from skorch.dataset import ValidSplit
from torch import distributions as D  # noqa: N812  # torch's own abbreviation
from torch import nn, optim

from skvim import (
    AAETransformer,
    AETransformer,
    CapacityVAETransformer,
    VAETransformer,
    VIMAETransformer,
)
from skvim.exceptions import AccelerationWarning, SkvimWarning
from skvim.noise import AugmentationNoise, BlurNoise, MaskingNoise, OcclusionNoise, SwapNoise
from skvim.objectives import Gaussian

# 45 rows in a batch leave a remainder, and so two shapes of batches.
OPTIONS = {**SMALL, "batch_size": 45, "max_epochs": 4}


class Masked(nn.Module):
    """A user's network with a mask of booleans."""

    def __init__(self, n_inputs, n_outputs):
        super().__init__()
        self.inner = nn.Linear(n_inputs, n_outputs)
        self.register_buffer("mask", torch.arange(n_inputs) > 0)

    def forward(self, x):
        return self.inner(x * self.mask)


class Shrinking(Masked):
    """A user's network that changes its own weights in training."""

    def forward(self, x):
        if self.training:
            with torch.no_grad():
                self.inner.weight.mul_(0.9)
        return self.inner(x)


class Corruption:
    """A user's corruption by a function of batch and generator."""

    def __init__(self, function):
        self.corrupt = function


CASES = {model.__name__: model(2) for model in MODELS}
CASES |= {
    "logistic-prior": VIMAETransformer(2, prior="logistic", likelihood=Gaussian(variance=2.0)),
    "prior-object": VIMAETransformer(2, prior=D.Laplace(0.0, 1.0), noise=MaskingNoise(0.3)),
    "logistic": VAETransformer(2, prior="logistic", posterior="logistic", warmup=0.7),
    "swapped": AETransformer(2, noise=SwapNoise(0.3, groups=(0, 0, 1, 2, 2, 2))),
    "schedule": VAETransformer(2, lr_schedule="cosine", likelihood=Gaussian("per-feature")),
    "gaussian": VIMAETransformer(2, posterior="gaussian", divergence="kl", optimizer="adamw"),
    "density-ratio": VIMAETransformer(
        2, divergence="density-ratio", noise=OcclusionNoise(1, image_shape=(2, 3))
    ),
    "sliced": VIMAETransformer(
        2, divergence="sliced-wasserstein", noise=AugmentationNoise(image_shape=(2, 3))
    ),
    "adversary": AAETransformer(2, lam=1, noise=BlurNoise(0.7, image_shape=(2, 3))),
    "capacity": CapacityVAETransformer(2, capacity=3.0, optimizer="sgd", lr=1e-4),
    "batch-normalised": AETransformer(2, normalization="batch", dropout=0.3),
    "layer-normalised": AETransformer(2, normalization="layer", optimizer=optim.RMSprop),
    "decay": VAETransformer(2, net_params={"optimizer__weight_decay": 0.1}),
    "validated": VAETransformer(2, net_params={"train_split": ValidSplit(3)}),
    "layers": VAETransformer(2, network=(nn.Linear(6, 4), nn.Linear(2, 6))),
    "masked": VIMAETransformer(2, network=(Masked(6, 2), nn.Linear(2, 6))),
    "shrinking": VIMAETransformer(2, network=(Shrinking(6, 2), nn.Linear(2, 6))),
    "overwritten": VIMAETransformer(2, noise=Corruption(lambda x, generator: x.mul_(0.5))),
}
# Those with networks and functions of users.
OWN = {"masked", "shrinking", "overwritten"}


def fitted(model, rows=X, **options):
    """A copy of the model, trained; warnings about the fit itself are of no matter here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SkvimWarning)
        warnings.simplefilter("error", AccelerationWarning)
        return copy.deepcopy(model).set_params(**{**OPTIONS, **options}).fit(rows)


def assert_same_training(one, other, tolerance=1e-5):
    """Every value of the history, every weight and the noise to come must agree."""
    for a, b in zip(one.history_, other.history_, strict=True):
        names = [name for name in a if name.startswith(("train_", "valid_"))]
        expected = {name: a[name] for name in names}
        found = {name: b[name] for name in names}
        assert found == pytest.approx(expected, rel=tolerance, abs=tolerance)
    weights = [model.net_.module_.state_dict().values() for model in (one, other)]
    for a, b in zip(*weights, strict=True):
        torch.testing.assert_close(b, a, rtol=10 * tolerance, atol=tolerance)
    if one.device_.type == "cpu":
        assert torch.equal(*(model.net_.streams_.noise.get_state() for model in (one, other)))


def assert_captured_as_plain(model, rows=X, tolerance=1e-5, **options):
    """Train both ways, compare, and return the captured one."""
    plain = fitted(model, rows, acceleration=None, **options)
    captured = fitted(model, rows, acceleration="capture", **options)
    assert_same_training(plain, captured, tolerance)
    assert captured.net_.plain_because_ == ""
    return captured
