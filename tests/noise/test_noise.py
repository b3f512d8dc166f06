"""Gaussian and masking noise, and what all corruptions share as transformers."""

import copy
import pickle
import subprocess
import sys

import joblib
import numpy as np
import pandas as pd
import pytest
import torch
from scipy import sparse, stats
from sklearn.base import clone
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skvim._values import describe
from skvim.noise import (
    AugmentationNoise,
    BlurNoise,
    BrightnessNoise,
    ContrastNoise,
    GaussianNoise,
    MaskingNoise,
    MissingFeaturesNoise,
    OcclusionNoise,
    SaltPepperNoise,
    SwapNoise,
)
from skvim.noise._corruptions import gaussian, mask


def missing(strength=0.5, **options):
    return MissingFeaturesNoise(strength, per_row=True, **options)


def occlusion(strength=0.5, **options):
    return OcclusionNoise(round(4 * strength), **options)


def augmentation(strength=0.5, **options):
    return AugmentationNoise(rate=strength, scale=strength, **options)


# Each makes a transformer of one positional strength, 0 for none.
NOISES = [GaussianNoise, MaskingNoise, SwapNoise, SaltPepperNoise, missing, occlusion, augmentation]
FAMILY = [*NOISES, BlurNoise, ContrastNoise, BrightnessNoise]
FUNCTIONS = [(gaussian, 0.3), (mask, 0.3)]


def numpy_values(seed, dtype):
    return np.full((400, 500), 2.0, dtype=dtype), np.random.default_rng(seed)


def torch_values(seed, dtype):
    values = torch.full((400, 500), 2.0, dtype=getattr(torch, dtype))
    return values, torch.Generator().manual_seed(seed)


LIBRARIES = [numpy_values, torch_values]


@pytest.fixture
def rows():
    return np.random.default_rng(0).uniform(-1.0, 1.0, size=(50, 6))


# The functions


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("values", LIBRARIES)
def test_gaussian_noise_is_normal_and_independent(values, dtype):
    x, generator = values(0, dtype)
    noise = (np.asarray(gaussian(x, 0.3, generator), dtype=np.float64) - 2.0) / 0.3
    n = noise.size
    assert abs(noise.mean()) < 4 / np.sqrt(n)
    assert abs(noise.var() - 1) < 4 * np.sqrt(2 / n)
    assert stats.kstest(noise.ravel(), "norm").pvalue > 1e-3
    assert abs((noise[:, 1:] * noise[:, :-1]).mean()) < 4 / np.sqrt(n)
    assert abs((noise[1:] * noise[:-1]).mean()) < 4 / np.sqrt(n)


@pytest.mark.parametrize(("rate", "dtype"), [(0.05, "float64"), (0.3, "float32"), (0.8, "float64")])
@pytest.mark.parametrize("values", LIBRARIES)
def test_masking_is_bernoulli_and_independent(values, rate, dtype):
    x, generator = values(0, dtype)
    masked = np.asarray(mask(x, rate, generator))
    assert set(np.unique(masked)) == {0.0, 2.0}
    centred = (masked == 0) - rate
    bound = 4 * np.sqrt(rate * (1 - rate) / centred.size)
    assert abs(centred.mean()) < bound
    assert abs((centred[:, 1:] * centred[:, :-1]).mean()) < bound
    # Per value, not per row: the number masked in a row is binomial.
    expected = 500 * rate * (1 - rate)
    assert centred.sum(axis=1).var() == pytest.approx(expected, rel=4 * np.sqrt(2 / 400))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("values", LIBRARIES)
@pytest.mark.parametrize(("function", "level"), FUNCTIONS)
def test_functions_keep_dtype_shape_and_input(function, level, values, dtype):
    x, generator = values(0, dtype)
    corrupted = function(x, np.float64(level), generator)
    assert type(corrupted) is type(x)
    assert (corrupted.dtype, corrupted.shape) == (x.dtype, x.shape)
    assert bool((x == 2.0).all())


@pytest.mark.parametrize("values", LIBRARIES)
@pytest.mark.parametrize(("function", "level"), FUNCTIONS)
def test_functions_follow_their_generator(function, level, values):
    x, generator = values(0, "float64")
    first, second = function(x, level, generator), function(x, level, generator)
    again = function(x, level, values(0, "float64")[1])
    assert bool((first == again).all())
    assert not bool((first == second).all())


@pytest.mark.parametrize(("function", "level"), FUNCTIONS)
def test_functions_work_in_half_precision_and_leave_gradients_alone(function, level):
    x = torch.full((64, 64), 2.0, dtype=torch.bfloat16, requires_grad=True)
    corrupted = function(x, level, torch.Generator().manual_seed(0))
    assert corrupted.dtype == torch.bfloat16
    corrupted.sum().backward()
    expected = torch.ones_like(x) if function is gaussian else (corrupted != 0).to(x.dtype)
    assert torch.equal(x.grad, expected)


def test_masked_values_are_zero_whatever_they_were():
    x = np.array([-1.0, np.inf, -np.inf])
    masked = mask(x, 1.0, np.random.default_rng(0))
    np.testing.assert_array_equal(masked, 0.0)
    assert not np.signbit(masked).any()


@pytest.mark.parametrize(
    ("function", "level", "message"),
    [
        (gaussian, -0.1, r"scale .* \[0, inf\). Got -0.1"),
        (gaussian, np.inf, r"scale .* \[0, inf\). Got inf"),
        (gaussian, np.nan, "scale .* Got nan"),
        (mask, 1.1, r"rate .* \[0, 1\]. Got 1.1"),
        (mask, -0.1, r"rate .* \[0, 1\]. Got -0.1"),
    ],
)
def test_functions_refuse_levels_out_of_range(function, level, message):
    with pytest.raises(ValueError, match=message):
        function(*numpy_values(0, "float64")[:1], level, np.random.default_rng())


@pytest.mark.parametrize(("function", "level"), FUNCTIONS)
def test_functions_refuse_the_other_librarys_generator(function, level):
    array, tensor = np.ones(3), torch.ones(3)
    with pytest.raises(TypeError, match="ndarray with Generator"):
        function(array, level, torch.Generator())
    with pytest.raises(TypeError, match="Tensor with Generator"):
        function(tensor, level, np.random.default_rng())


# The transformers


@pytest.mark.parametrize("noise", FAMILY)
def test_when_names_the_rows_that_are_corrupted(noise, rows):
    for when, fit_is_clean, transform_is_clean in [
        ("transform", True, False),
        ("fit", False, True),
        ("both", False, False),
    ]:
        transformer = noise(0.5, when=when, random_state=0)
        assert np.array_equal(transformer.fit_transform(rows), rows) is fit_is_clean
        assert np.array_equal(transformer.transform(rows), rows) is transform_is_clean


def test_pipeline_trains_on_clean_rows_and_tests_on_corrupted_ones(rows):
    pipeline = make_pipeline(GaussianNoise(3.0, random_state=0), StandardScaler()).fit(rows)
    np.testing.assert_array_equal(pipeline[-1].mean_, rows.mean(axis=0))
    seen = pipeline.transform(rows) * pipeline[-1].scale_ + pipeline[-1].mean_
    assert (seen - rows).std() == pytest.approx(3.0, rel=0.2)


@pytest.mark.parametrize(("noise", "function"), [(GaussianNoise, gaussian), (MaskingNoise, mask)])
@pytest.mark.parametrize("values", LIBRARIES)
def test_corrupt_is_the_function_and_changes_nothing(noise, function, values):
    transformer = noise(0.4, when="fit", random_state=np.random.RandomState(0))
    state = copy.deepcopy(transformer.random_state.get_state())
    corrupted = transformer.corrupt(*values(1, "float32"))
    x, generator = values(1, "float32")
    assert bool((corrupted == function(x, 0.4, generator)).all())
    assert set(vars(transformer)) == set(transformer.get_params())
    np.testing.assert_array_equal(transformer.random_state.get_state()[1], state[1])


@pytest.mark.parametrize("noise", NOISES)
def test_int_seed_repeats_each_method_but_not_across_methods(noise, rows):
    transformer = noise(0.5, when="both", random_state=7)
    fitted, new = transformer.fit_transform(rows), transformer.transform(rows)
    np.testing.assert_array_equal(transformer.transform(rows), new)
    np.testing.assert_array_equal(transformer.fit_transform(rows), fitted)
    np.testing.assert_array_equal(clone(transformer).fit(rows).transform(rows), new)
    assert not np.array_equal(fitted, new)
    other = noise(0.5, when="both", random_state=8).fit(rows).transform(rows)
    assert not np.array_equal(other, new)


def test_streams_of_the_two_methods_are_uncorrelated():
    zeros = np.zeros((500, 200))
    noise = GaussianNoise(1.0, when="both", random_state=0)
    product = noise.fit_transform(zeros) * noise.transform(zeros)
    assert abs(product.mean()) < 4 / np.sqrt(zeros.size)


@pytest.mark.parametrize("noise", NOISES)
def test_no_seed_is_fresh_and_leaves_global_generators_alone(noise, rows):
    transformer = noise(0.5, when="both").fit(rows)
    numpy_before, torch_before = np.random.get_state(), torch.get_rng_state()  # noqa: NPY002
    draws = [transformer.transform(rows), transformer.transform(rows)]
    draws += [transformer.fit_transform(rows)]
    np.testing.assert_array_equal(np.random.get_state()[1], numpy_before[1])  # noqa: NPY002
    assert np.random.get_state()[2] == numpy_before[2]  # noqa: NPY002
    assert torch.equal(torch.get_rng_state(), torch_before)
    assert not any(np.array_equal(draws[i], draws[j]) for i, j in [(0, 1), (0, 2), (1, 2)])


@pytest.mark.parametrize("noise", NOISES)
def test_random_state_instance_advances(noise, rows):
    def draws():
        transformer = noise(0.5, random_state=np.random.RandomState(3)).fit(rows)
        return [transformer.transform(rows) for _ in range(2)]

    first, second = draws()
    assert not np.array_equal(first, second)
    np.testing.assert_array_equal(draws(), [first, second])


@pytest.mark.parametrize("noise", FAMILY)
def test_level_zero_is_the_identity(noise, rows):
    transformer = noise(0, when="both", random_state=0)
    np.testing.assert_array_equal(transformer.fit_transform(rows), rows)


def test_rate_one_hides_everything(rows):
    np.testing.assert_array_equal(MaskingNoise(1).fit(rows).transform(rows), 0.0)


@pytest.mark.parametrize("noise", FAMILY)
@pytest.mark.parametrize("when", ["transform", "fit"])
def test_dtype_and_input_are_kept(noise, when):
    for given, returned in [("float32", "float32"), ("float16", "float64"), ("uint8", "float64")]:
        X = np.arange(20).reshape(10, 2).astype(given)
        before = X.copy()
        transformer = noise(0.5, when=when, random_state=0)
        for result in [transformer.fit_transform(X), transformer.transform(X)]:
            assert result.dtype == returned
            assert not np.shares_memory(result, X)
        np.testing.assert_array_equal(X, before)


def test_columns_and_index_of_a_frame_are_kept(rows):
    frame = pd.DataFrame(rows, columns=list("abcdef"), index=np.arange(50) + 100)
    transformer = GaussianNoise(random_state=0).set_output(transform="pandas")
    pd.testing.assert_frame_equal(transformer.fit_transform(frame), frame)
    corrupted = transformer.transform(frame)
    assert list(corrupted.columns) == list(transformer.get_feature_names_out()) == list("abcdef")
    pd.testing.assert_index_equal(corrupted.index, frame.index)
    np.testing.assert_array_equal(
        corrupted.to_numpy(), GaussianNoise(random_state=0).fit(rows).transform(rows)
    )


# What scikit-learn's checks skip because of the tag ``non_deterministic``: data that are no array,
# and the same result inside a pipeline.


@pytest.mark.parametrize("when", ["transform", "fit", "both"])
def test_lists_and_pipelines_receive_the_same_noise(when, rows):
    transformer = MaskingNoise(0.5, when=when, random_state=0)
    expected = [transformer.fit_transform(rows), transformer.transform(rows)]
    for other, X in [
        (clone(transformer), rows.tolist()),
        (clone(transformer), np.asfortranarray(rows)),
        (make_pipeline(clone(transformer)), rows),
    ]:
        np.testing.assert_array_equal([other.fit_transform(X), other.transform(X)], expected)


# Bad input

BAD_PARAMETERS = [
    (GaussianNoise(-1), r"'scale' parameter of GaussianNoise .*\[0.0, inf\). Got -1"),
    (GaussianNoise(np.inf), "'scale' parameter of GaussianNoise .* Got inf"),
    (GaussianNoise(np.nan), "'scale' parameter of GaussianNoise .* Got nan"),
    (GaussianNoise("a"), "'scale' parameter of GaussianNoise .* Got 'a'"),
    (MaskingNoise(1.5), r"'rate' parameter of MaskingNoise .*\[0.0, 1.0\]. Got 1.5"),
    (MaskingNoise(-0.5), "'rate' parameter of MaskingNoise .* Got -0.5"),
    (MaskingNoise(when="never"), "'when' parameter of MaskingNoise .* Got 'never'"),
    (GaussianNoise(random_state="x"), "'random_state' parameter of GaussianNoise .* Got 'x'"),
]


@pytest.mark.parametrize(("transformer", "message"), BAD_PARAMETERS)
def test_parameters_are_checked_in_fit(transformer, message, rows):
    with pytest.raises(ValueError, match=message):
        transformer.fit_transform(rows)
    assert not hasattr(transformer, "n_features_in_")


@pytest.mark.parametrize("method", ["fit", "fit_transform", "transform"])
@pytest.mark.parametrize(
    ("X", "error", "message"),
    [
        (sparse.csr_array(np.eye(6)), TypeError, "Sparse data was passed for X, but dense"),
        (np.full((3, 6), np.inf), ValueError, "contains infinity"),
        (np.full((3, 6), "a"), ValueError, "could not convert string|dtype='numeric'"),
        (np.ones((0, 6)), ValueError, "0 sample"),
    ],
)
def test_bad_rows_are_refused_and_leave_the_fit_alone(method, X, error, message, rows):
    transformer = GaussianNoise(random_state=0).fit(rows)
    before = dict(vars(transformer))
    with pytest.raises(error, match=message):
        getattr(transformer, method)(X)
    assert vars(transformer) == before


def test_failed_fit_keeps_the_feature_names(rows):
    frame = pd.DataFrame(rows, columns=list("abcdef"))
    transformer = GaussianNoise(random_state=0).fit(frame)
    with pytest.raises(ValueError, match="NaN"):
        transformer.fit(frame.rename(columns={"a": "z"}) * np.nan)
    assert list(transformer.feature_names_in_) == list("abcdef")
    transformer.transform(frame)


# Equal settings. Equality itself is that of scikit-learn's estimators: by identity.


class Own:
    """A user's corruption."""

    def __init__(self, shift):
        self.shift = np.full(3, shift)

    def corrupt(self, x, generator):
        return x + self.shift


SETTINGS = [
    *(lambda noise=noise: noise(0.5, random_state=0) for noise in FAMILY),
    lambda: GaussianNoise(0.5, random_state=np.random.RandomState(3)),
    lambda: AugmentationNoise(image_shape=(8, 8), mirror=True),
    lambda: MissingFeaturesNoise(value=np.nan),
    lambda: Own(0.5),
    lambda: Own(0.7),
]


def test_equal_settings_have_one_description_and_one_hash():
    for make in SETTINGS:
        noise = make()
        for same in (make(), copy.deepcopy(noise), pickle.loads(pickle.dumps(noise))):
            assert describe(same) == describe(noise)
            assert joblib.hash(same) == joblib.hash(noise)
    for of in (describe, joblib.hash):
        assert len({of(make()) for make in SETTINGS}) == len(SETTINGS)


def test_noise_alone_hashes_and_corrupts_as_here_without_torch():
    # The package skvim itself imports torch for the models: an empty one stands in for it.
    code = """if True:
        import importlib.util, sys, types
        import joblib
        import numpy as np
        package = types.ModuleType("skvim")
        package.__path__ = list(importlib.util.find_spec("skvim").submodule_search_locations)
        sys.modules["skvim"] = package
        from skvim.noise import AugmentationNoise, MaskingNoise
        print(MaskingNoise().corrupt(np.ones(9), np.random.default_rng(0)).tolist())
        print(joblib.hash(AugmentationNoise(image_shape=(8, 8), random_state=0)))
        assert "torch" not in sys.modules
    """
    run = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    corrupted, hashed = run.stdout.splitlines()
    assert corrupted == str(MaskingNoise().corrupt(np.ones(9), np.random.default_rng(0)).tolist())
    assert hashed == joblib.hash(AugmentationNoise(image_shape=(8, 8), random_state=0))
