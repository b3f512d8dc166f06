"""Presets: the reference's settings as it publishes them, usable with every model."""

import copy
import inspect
import math
import pickle
import subprocess
import sys

import joblib
import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone

import skvim
from skvim import (
    AAETransformer,
    AETransformer,
    ContractiveAETransformer,
    DenoisingAETransformer,
    InfoVAETransformer,
    VAETransformer,
    VIMAETransformer,
    WAETransformer,
)
from skvim._values import describe
from skvim.networks import Convolutional
from skvim.noise import SwapNoise
from skvim.presets import names, preset

# What the reference code states: image, range, latent dimensions, λ, epochs, learning rate and the
# factors that it has been multiplied by when 29, 30, 50 and 99 per cent of the training are done.
STEPS = [1, 1 / 2, 1 / 10, 1 / 10]
DECAY = [100**-0.29, 100**-0.3, 1 / 10, 100**-0.99]
PUBLISHED = {
    "wae-mnist": ((28, 28, 1), (0, 1), 8, 10, 100, 1e-3, STEPS),
    "wae-gan-mnist": ((28, 28, 1), (0, 1), 8, 10, 100, 1e-3, STEPS),
    "wae-celeba": ((64, 64, 3), (-1, 1), 64, 100, 50, 5e-4, DECAY),
    "wae-cifar10": ((32, 32, 3), (-1, 1), 64, 100, 50, 5e-4, DECAY),
}
MODELS = [
    VIMAETransformer,
    WAETransformer,
    VAETransformer,
    AETransformer,
    AAETransformer,
    InfoVAETransformer,
]
# Those of our own: image, largest share of masked values, largest standard deviation.
ROBUST = {
    "robust-mnist": ((28, 28, 1), 0.7, 0.5),
    "robust-omniglot": ((28, 28, 1), 0.9, 0.5),
    "robust-cifar10": ((32, 32, 3), 0.4, 0.3),
}
SHORT = {"max_epochs": 1, "pretraining": 2, "random_state": 0}

by_preset = pytest.mark.parametrize("name", PUBLISHED)


def images(shape, n: int = 24, low: float = 0.0, high: float = 1.0) -> np.ndarray:
    rows = np.random.default_rng(0).uniform(low, high, size=(n, math.prod(shape)))
    return rows.astype(np.float32)


def short(name, model=VIMAETransformer, **changes):
    """Return an estimator of a preset that takes little time."""
    chosen = {key: SHORT[key] for key in SHORT if key in inspect.signature(model).parameters}
    return model(**preset(name, model, width=1 / 64) | chosen | changes)


def test_every_preset_is_tested():
    assert names() == [*PUBLISHED, *ROBUST, "robust-table"]


@by_preset
def test_presets_hold_what_the_reference_states(name):
    image, _, n_components, lam, max_epochs, lr, factors = PUBLISHED[name]
    settings = preset(name)
    assert settings["image_shape"] == image
    assert settings["network"] == Convolutional(width=1.0)
    assert (settings["n_components"], settings["lam"]) == (n_components, lam)
    assert (settings["max_epochs"], settings["lr"], settings["batch_size"]) == (max_epochs, lr, 100)
    assert (settings["optimizer"], settings["pretraining"]) == ("adam", 200)
    assert settings["net_params"]["optimizer__betas"][0] == 0.5
    assert settings["noise"].scale == 0.01
    schedule = skvim.engine.SCHEDULES[settings["lr_schedule"]]
    assert [schedule(share) for share in (0.29, 0.3, 0.5, 0.99)] == pytest.approx(factors)


@by_preset
def test_the_likelihood_weighs_errors_by_one_twentieth(name):
    model = short(name)
    x = images(model.image_shape)
    likelihood = model.fit(x).net_.autoencoder.likelihood
    module = model.net_.autoencoder
    values = module.mean.new_tensor(x)
    zero, one = (likelihood(values, values + error).detach().numpy() for error in (0.0, 1.0))
    np.testing.assert_allclose(zero - one, 0.05 * x.shape[1], rtol=1e-4)


@pytest.mark.parametrize(("low", "high"), [(0, 255), (-1, 1), (0, 1)])
@by_preset
@pytest.mark.numerics
def test_another_range_of_values_means_the_same_objective(name, low, high):
    theirs_low, theirs_high = PUBLISHED[name][1]
    settings = preset(name, value_range=(low, high))
    black_to_white, theirs = high - low, theirs_high - theirs_low
    error = black_to_white**2 / (2 * settings["likelihood"].variance)
    assert error == pytest.approx(0.05 * theirs**2)
    assert settings["noise"].scale / black_to_white == pytest.approx(0.01 / theirs)
    converted = {"likelihood": None, "noise": None}
    assert settings | converted == preset(name) | converted


@pytest.mark.numerics
def test_models_of_equal_images_in_two_units_agree():
    # Rows in units of a quarter: standardised alike, with errors of the same weight.
    x = images((28, 28, 1))
    ours = short("wae-mnist", noise=None).fit(x)
    settings = preset("wae-mnist", width=1 / 64, value_range=(0, 4)) | SHORT | {"noise": None}
    theirs = VIMAETransformer(**settings).fit(4 * x)
    np.testing.assert_allclose(theirs.transform(4 * x), ours.transform(x), atol=1e-5)


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
@by_preset
def test_every_preset_trains_every_model(name, model):
    low, high = PUBLISHED[name][1]
    estimator = short(name, model)
    x = images(estimator.image_shape, low=low, high=high)
    codes = clone(estimator).fit(x).transform(x)
    assert codes.shape == (len(x), PUBLISHED[name][2])
    assert np.isfinite(codes).all()


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
@pytest.mark.parametrize("name", ROBUST)
def test_robust_presets_train_every_model(name, model):
    # An InfoVAE would be rewarded for a divergence at their λ and its own α.
    changes = {"alpha": 0.9} if model is InfoVAETransformer else {}
    estimator = short(name, model, **changes)
    x = images(estimator.image_shape)
    assert estimator.fit(x).transform(x).shape == (len(x), 64)
    assert ("train_infonce" in estimator.history_[-1]) == (
        model is VIMAETransformer and name != "robust-mnist"
    )


@pytest.mark.parametrize("name", ROBUST)
def test_robust_presets_corrupt_in_the_unit_of_the_data(name):
    image, rate, scale = ROBUST[name]
    ours, wide = (preset(name, value_range=ends) for ends in (None, (0, 255)))
    assert ours["image_shape"] == image == ours["noise"].image_shape
    assert (ours["noise"].rate, ours["noise"].scale) == (rate, scale)
    x = images(image, n=5, low=0.1)
    noise, same = (
        chosen["noise"].corrupt(unit * x, np.random.default_rng(1)) / unit
        for chosen, unit in ((ours, 1.0), (wide, 255.0))
    )
    np.testing.assert_allclose(same, noise, atol=1e-5)
    assert wide["likelihood"].variance == pytest.approx(255**2 * ours["likelihood"].variance)


def test_models_get_the_parameters_that_they_take():
    full = preset("wae-mnist")
    assert set(preset("wae-mnist", WAETransformer)) == set(full)
    assert set(full) - set(preset("wae-mnist", AETransformer)) == {"lam", "pretraining"}
    assert set(full) - set(preset("wae-mnist", VAETransformer)) == {"lam"}
    # Its λ weighs a derivative.
    assert "lam" not in preset("wae-mnist", ContractiveAETransformer)
    critic = preset("wae-gan-mnist", AAETransformer)["divergence"]
    assert (critic.hidden_layer_sizes, critic.lr) == ((512, 512, 512, 512), 5e-4)


@pytest.mark.parametrize("name", names())
def test_a_preset_is_the_same_at_every_call(name):
    one, other = preset(name), preset(name)
    for same in (other, copy.deepcopy(one), pickle.loads(pickle.dumps(one))):
        assert describe(same) == describe(one)
        assert joblib.hash(same) == joblib.hash(one)
    # Noise is an estimator of scikit-learn's, which are equal to themselves alone.
    assert other | {"noise": None} == one | {"noise": None}
    if name != "robust-table":
        assert describe(preset(name, value_range=(0, 9))) != describe(one)


def test_presets_hash_alike_in_another_process():
    script = (
        "import joblib\nfrom skvim.presets import names, preset\n"
        "for name in names():\n    print(joblib.hash(preset(name)))"
    )
    printed = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
    assert printed.stdout.decode().split() == [joblib.hash(preset(name)) for name in names()]


def test_changes_to_a_preset_stay_with_it():
    first = preset("wae-gan-mnist") | {"lam": 1.0}
    first["net_params"]["optimizer__betas"] = (0.9, 0.9)
    first["divergence"].lr = 7.0
    second = preset("wae-gan-mnist")
    assert VIMAETransformer(**first).lam == 1.0
    assert second["lam"] == 10.0
    assert second["net_params"] == {"optimizer__betas": (0.5, 0.999)}
    assert second["divergence"].lr == 5e-4


@pytest.mark.parametrize(
    "value_range", [(1, 0), (0, 0), (0, math.inf), (0,), (0, 1, 2), ("a", "b"), (math.nan, 1)]
)
def test_invalid_ranges_are_refused(value_range):
    with pytest.raises(
        ValueError, match=r"value_range has to be a pair \(low, high\) of finite numbers"
    ):
        preset("wae-mnist", value_range=value_range)


def test_unknown_names_and_models_are_refused():
    with pytest.raises(ValueError, match=r"name must be one of \['wae-mnist', .* Got 'mnist'"):
        preset("mnist")
    with pytest.raises(TypeError, match="model must be a class"):
        preset("wae-mnist", VIMAETransformer())


def test_preset_of_tables():
    frame = pd.DataFrame({"age": [31, 45, 23, 60] * 8, "sex": ["f", "m", "f", None] * 8})
    for model in (DenoisingAETransformer, VIMAETransformer, VAETransformer):
        given = preset("robust-table", model) | {"max_epochs": 1, "random_state": 0}
        assert model(**given).fit(frame).transform(frame).shape == (32, 64)
    noise = preset("robust-table")["noise"]
    assert isinstance(noise, SwapNoise)
    assert noise.rate == 0.5
    for wrong in ({"width": 0.5}, {"value_range": (0, 1)}):
        with pytest.raises(ValueError, match="are for images"):
            preset("robust-table", **wrong)
