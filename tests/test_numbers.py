"""Numbers given as parameters: NumPy's of few bits count as Python's, True and False as none."""

from fractions import Fraction
from numbers import Integral, Real

import numpy as np
import pandas as pd
import pytest
from sklearn.preprocessing import MaxAbsScaler
from test_common import (
    ESTIMATORS,
    TRANSFORMERS,
    X,
    assert_same,
    by_estimator,
    fit,
    results,
    small,
)

from skvim import VAETransformer, VIMAETransformer, presets
from skvim.metrics import (
    active_units,
    compare_robustness,
    corruption_errors,
    kernel_distance,
    precision_recall,
    robustness_curve,
)
from skvim.model_selection import MaskedStratifiedKFold, MaskedStratifiedShuffleSplit, mask_labels
from skvim.networks import Convolutional, Perceptrons
from skvim.noise import BlurNoise, GaussianNoise, OcclusionNoise, severities
from skvim.objectives import MMD, Adversarial, Gaussian, Logistic, Normal, SlicedWasserstein


def numbers_of(cls) -> dict[str, int | float]:
    """Return for each parameter that takes a number one that NumPy's smallest types can hold."""
    suitable = {"n_components": 2, "capacity": 1.0, "lam": 1.0, "validation_fraction": 0.25}
    defaults = small(cls).get_params(deep=False)
    kinds = (Integral, Real)
    return {
        name: suitable.get(name, default)
        for name, default in defaults.items()
        if name in suitable or (isinstance(default, kinds) and not isinstance(default, bool))
    }


def short(value):
    """Return a number, and a sequence of numbers, in 8 or 16 bits."""
    if isinstance(value, tuple):
        return tuple(map(short, value))
    if isinstance(value, float):
        return np.float16(value)
    return next(t(value) for t in (np.int8, np.uint8, np.int16) if value <= np.iinfo(t).max)


@pytest.mark.filterwarnings("ignore::skvim.exceptions.NoGainWarning")
@by_estimator
def test_numbers_of_few_bits_give_what_python_numbers_give(cls):
    given = numbers_of(cls) | {"hidden_layer_sizes": (8,), "random_state": 3}
    names = small(cls).get_params(deep=False)
    given = {name: short(value) for name, value in given.items() if name in names}
    exact = {
        name: tuple(map(int, value)) if isinstance(value, tuple) else value.item()
        for name, value in given.items()
    }
    estimator = fit(small(cls, **given))
    assert_same(results(estimator), results(fit(small(cls, **exact))))
    assert all(estimator.get_params()[name] is value for name, value in given.items())


def test_sums_and_products_of_parameters_do_not_overflow():
    wide = VAETransformer(
        np.int8(100), hidden_layer_sizes=(np.int8(64),), batch_size=np.uint8(200), max_epochs=1
    )
    assert wide.fit(X).transform(X).shape == (len(X), 100)
    labels = np.arange(300) % 3
    assert (mask_labels(labels, np.uint8(200), random_state=0) >= 0).sum() == 200
    splitter = MaskedStratifiedShuffleSplit(
        1, test_size=np.int8(100), train_size=np.int8(120), random_state=0
    )
    ((train, test),) = splitter.split(labels, labels)
    assert (len(train), len(test)) == (120, 100)
    assert MaskedStratifiedKFold(np.int8(2)).get_n_splits() == 2
    rows = np.random.default_rng(0).normal(size=(300, 2))
    found, expected = (
        kernel_distance(rows, rows + 1, n_blocks=n_blocks, random_state=0).value
        for n_blocks in (np.int8(100), 100)
    )
    assert found == expected
    assert precision_recall(rows, rows, n_neighbors=np.int8(127)).precision == 1.0
    shape = (np.uint8(64), np.uint8(64))
    assert next(noise.size for noise in severities("occlusion", image_shape=shape)) == 8
    assert Normal(np.float16(300)).variance == 90_000.0
    assert Logistic(np.float16(300)).variance > 90_000.0
    half = preset_variance(np.array([0, 255], dtype=np.uint8))
    assert half == preset_variance((0, 255))


def preset_variance(value_range) -> float:
    return presets.preset("wae-celeba", value_range=value_range)["likelihood"].variance


@pytest.mark.parametrize(
    "parameters",
    [
        {"prior": Normal(np.float16(2))},
        {"divergence": MMD(widths=(np.float16(0.5), np.int8(100)))},
        {"divergence": SlicedWasserstein(np.int8(100))},
        {"divergence": Adversarial((np.int8(100),), lr=np.float16(0.5))},
        {"likelihood": Gaussian(np.float16(0.5))},
        {"network": Perceptrons((np.int8(100), np.int8(100)), dropout=np.float16(0.5))},
        {"noise": OcclusionNoise(np.uint8(255), image_shape=(np.int8(2), np.int8(2)))},
    ],
    ids=lambda parameters: next(iter(parameters)),
)
def test_numbers_in_parts_of_a_model_count_as_python_numbers(parameters):
    model = small(VIMAETransformer, **parameters).fit(X)
    assert np.isfinite(model.reconstruct(X)).all()
    assert all(model.get_params()[name] is value for name, value in parameters.items())


def test_width_of_a_convolution_in_half_precision():
    images = np.random.default_rng(0).random((4, 8, 8))
    model = small(VAETransformer, network=Convolutional(np.float16(0.01)), max_epochs=1)
    assert model.fit(images).reconstruct(images).shape == images.shape


@by_estimator
def test_booleans_are_no_numbers(cls):
    for name in [*numbers_of(cls), "random_state"]:
        estimator = small(cls).set_params(**{name: True})
        if name == "verbose":
            assert fit(estimator).verbose is True
            continue
        with pytest.raises(ValueError, match=rf"{name}.*Got True"):
            results(fit(estimator))


ROWS = np.random.default_rng(0).normal(size=(12, 1))
POINTS = pd.DataFrame(
    [("none", 0.0, 0, 0.9), ("blur", 1.0, 0, 0.8)],
    columns=["corruption", "level", "repeat", "score"],
)


def compared(confidence):
    models = MaxAbsScaler().fit(ROWS), MaxAbsScaler().fit(2 * ROWS)
    return compare_robustness(
        *models,
        ROWS,
        None,
        [GaussianNoise()],
        row_score=lambda model, X, _: model.scale_ * np.asarray(X)[:, 0],
        confidence=confidence,
        random_state=0,
    )


class Leveled:
    """A corruption by nothing that has a level."""

    def __init__(self, level):
        self.level = level

    def corrupt(self, x, generator):
        return x


ARGUMENTS = {
    "threshold": lambda value: active_units(ROWS, value),
    "confidence": compared,
    "best_score": lambda value: corruption_errors(POINTS, POINTS, best_score=value),
    "n_labeled": lambda value: mask_labels(np.arange(9) % 3, value),
}


@pytest.mark.parametrize("name", ARGUMENTS)
@pytest.mark.parametrize("value", [True, 10**400, "0.5", Fraction(10**400, 3)])
def test_arguments_that_are_no_numbers_are_refused(name, value):
    with pytest.raises(ValueError, match=f"{name} must be "):
        ARGUMENTS[name](value)


@pytest.mark.parametrize("level", [True, 10**400])
def test_levels_that_are_no_numbers_are_refused(level):
    with pytest.raises(TypeError, match="corruptions must hold noise transformers"):
        robustness_curve(MaxAbsScaler().fit(ROWS), ROWS, None, [Leveled(level)], scoring=len)


def test_a_confidence_of_few_bits_counts_as_the_number_that_it_is():
    short_one = np.float16(0.9)
    pd.testing.assert_frame_equal(compared(short_one), compared(float(short_one)))


def test_numbers_that_no_float_holds_are_refused():
    assert {BlurNoise, VAETransformer} <= set(TRANSFORMERS) <= set(ESTIMATORS)
    for estimator, name in ((BlurNoise(), "sigma"), (small(VAETransformer), "lr")):
        with pytest.raises(ValueError, match=rf"'{name}' parameter"):
            estimator.set_params(**{name: 10**400}).fit(X)
    with pytest.raises(ValueError, match="scale of the prior"):
        small(VAETransformer, prior=Normal(10**400)).fit(X)


@by_estimator
def test_containers_that_hold_themselves_are_refused(cls):
    numbers, settings = [8], {}
    numbers.append(numbers)
    settings["own"] = settings
    for name in small(cls).get_params(deep=False):
        for value in (numbers, settings):
            with pytest.raises((TypeError, ValueError), match=name):
                fit(small(cls).set_params(**{name: value}))
