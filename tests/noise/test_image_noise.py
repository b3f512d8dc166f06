"""Corruptions of images, and the documented severities."""

import numpy as np
import pytest
import torch
from scipy import ndimage
from sklearn.base import BaseEstimator, clone
from sklearn.utils.validation import validate_data

from skvim.metrics import robustness_curve
from skvim.noise import (
    AugmentationNoise,
    BlurNoise,
    BrightnessNoise,
    ContrastNoise,
    MissingFeaturesNoise,
    OcclusionNoise,
    SaltPepperNoise,
    severities,
)

SHAPE = (12, 10, 3)
PIXELS = 12 * 10


def numpy_images(n, dtype="float64", seed=0):
    images = np.random.default_rng(7).random((n, *SHAPE)) + 1.0
    return images.astype(dtype), np.random.default_rng(seed)


def torch_images(n, dtype="float64", seed=0):
    images, _ = numpy_images(n, dtype)
    return torch.tensor(images), torch.Generator().manual_seed(seed)


both_libraries = pytest.mark.parametrize("images", [numpy_images, torch_images])
ALL = [OcclusionNoise(4), BlurNoise(0.8), ContrastNoise(0.5), AugmentationNoise()]
every_noise = pytest.mark.parametrize("noise", ALL, ids=lambda n: type(n).__name__)
# The last takes a row without a shape for no image at all.
noise_of_lines = pytest.mark.parametrize("noise", ALL[:-1], ids=lambda n: type(n).__name__)


# Occlusion


@both_libraries
@pytest.mark.parametrize("size", [0, 1, 4, 11, 30])
def test_occluded_share_is_exact_and_a_square(images, size):
    x, generator = images(200)
    covered = np.asarray(OcclusionNoise(size, value=-1.0).corrupt(x, generator)) == -1.0
    assert (covered == covered[..., :1]).all()  # all channels
    height, width = min(size, 12), min(size, 10)
    assert (covered[..., 0].sum(axis=(1, 2)) == height * width).all()
    assert (covered[..., 0].any(axis=2).sum(axis=1) == (height if size else 0)).all()
    assert (covered[..., 0].any(axis=1).sum(axis=1) == (width if size else 0)).all()


@both_libraries
def test_every_place_inside_is_equally_likely(images):
    n = 5000
    x, generator = images(n)
    covered = np.asarray(OcclusionNoise(4, value=-1.0).corrupt(x, generator))[..., 0] == -1.0
    top, left = covered.any(axis=2).argmax(axis=1), covered.any(axis=1).argmax(axis=1)
    for start, places in ((top, 9), (left, 7)):
        share = np.bincount(start, minlength=places) / n
        assert len(share) == places
        chance = 1 / places
        np.testing.assert_allclose(share, chance, atol=4 * np.sqrt(chance * (1 - chance) / n))
    assert abs(np.corrcoef(top, left)[0, 1]) < 4 / np.sqrt(n)
    assert abs(np.corrcoef(top[1:], top[:-1])[0, 1]) < 4 / np.sqrt(n)


def test_what_is_not_covered_stays():
    x, generator = numpy_images(50)
    found = OcclusionNoise(4, value=-1.0).corrupt(x, generator)
    np.testing.assert_array_equal(found[found != -1.0], x[found != -1.0])


def test_places_are_as_fine_in_half_precision():
    x = torch.ones(4000, 1, 1000, 1, dtype=torch.bfloat16)
    covered = OcclusionNoise(1).corrupt(x, torch.Generator().manual_seed(0)) == 0
    assert torch.equal(covered.sum(dim=(1, 2, 3)), torch.ones(4000, dtype=torch.int64))
    # 4,000 draws of 1,000 places leave out 1.8 % of them.
    assert float(covered.any(dim=0).float().mean()) == pytest.approx(1 - np.exp(-4), abs=0.02)


# Blur


@both_libraries
@pytest.mark.parametrize("sigma", [0.0, 0.5, 3.0])
@pytest.mark.numerics
def test_blur_keeps_the_mean_of_each_channel(images, sigma):
    x, generator = images(5)
    found = np.asarray(BlurNoise(sigma).corrupt(x, generator))
    np.testing.assert_allclose(found.mean(axis=(1, 2)), np.asarray(x).mean(axis=(1, 2)), rtol=1e-12)


@both_libraries
def test_blur_leaves_plains_and_slopes_away_from_borders(images):
    _, generator = images(1)
    slope = np.add.outer(np.arange(40.0), 2 * np.arange(40.0))[None, :, :, None]
    x = slope if isinstance(generator, np.random.Generator) else torch.tensor(slope)
    found = np.asarray(BlurNoise(1.5).corrupt(x, generator))
    inside = (slice(None), slice(6, -6), slice(6, -6))  # four standard deviations
    np.testing.assert_allclose(found[inside], slope[inside], rtol=1e-12)


@both_libraries
def test_a_point_becomes_a_gaussian(images):
    _, generator = images(1)
    point = np.zeros((1, 41, 41, 1))
    point[0, 20, 20, 0] = 1.0
    x = point if isinstance(generator, np.random.Generator) else torch.tensor(point)
    found = np.asarray(BlurNoise(2.0).corrupt(x, generator))[0, :, :, 0]
    density = np.exp(-((np.arange(41) - 20.0) ** 2) / 8) / np.sqrt(8 * np.pi)
    np.testing.assert_allclose(found, np.outer(density, density), atol=1e-5)
    variance = (found.sum(axis=1) * (np.arange(41) - 20.0) ** 2).sum()
    assert variance == pytest.approx(4.0, rel=0.01)


def test_blurred_white_noise_has_the_variance_of_theory():
    # The sum of squares of a two-dimensional gaussian is 1 / (4 π σ²).
    x = np.random.default_rng(0).normal(size=(1, 1000, 1000, 1))
    found = BlurNoise(2.0).corrupt(x, np.random.default_rng())
    assert found.var() == pytest.approx(1 / (16 * np.pi), rel=0.02)


def test_channels_and_images_do_not_mix():
    x = np.zeros((2, *SHAPE))
    x[0, ..., 1] = np.random.default_rng(0).random(SHAPE[:2])
    found = BlurNoise(2.0).corrupt(x, np.random.default_rng())
    np.testing.assert_array_equal(found[1], 0.0)
    np.testing.assert_array_equal(found[0, ..., [0, 2]], 0.0)
    np.testing.assert_allclose(found[0, ..., 1], ndimage.gaussian_filter(x[0, ..., 1], 2.0))


def test_gradients_of_a_blur_are_the_blur_of_gradients():
    x, generator = torch_images(2)
    x.requires_grad_()
    weight = torch.rand(x.shape, generator=torch.Generator().manual_seed(1), dtype=x.dtype)
    (BlurNoise(1.0).corrupt(x, generator) * weight).sum().backward()
    # The filter, mirrored at the borders, is its own transpose.
    torch.testing.assert_close(x.grad, BlurNoise(1.0).corrupt(weight, generator))


# Contrast


@both_libraries
@pytest.mark.parametrize("reduction", [0.0, 0.3, 1.0])
@pytest.mark.numerics
def test_contrast_falls_and_means_stay(images, reduction):
    x, generator = images(5)
    found, before = np.asarray(ContrastNoise(reduction).corrupt(x, generator)), np.asarray(x)
    np.testing.assert_allclose(found.mean(axis=(1, 2)), before.mean(axis=(1, 2)))
    np.testing.assert_allclose(
        found.std(axis=(1, 2)), (1 - reduction) * before.std(axis=(1, 2)), atol=1e-12
    )
    if reduction == 0:
        np.testing.assert_array_equal(found, before)


# Layouts, libraries and bad input


@every_noise
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_flat_rows_are_the_images_they_hold(noise, dtype):
    for make in (numpy_images, torch_images):
        x, generator = make(6, dtype)
        expected = noise.corrupt(x, generator)
        rows = clone(noise).set_params(image_shape=SHAPE)
        found = rows.corrupt(x.reshape(6, -1), make(6)[1])
        assert type(found) is type(x)
        assert (found.dtype, tuple(found.shape)) == (x.dtype, (6, PIXELS * 3))
        assert bool((found == expected.reshape(6, -1)).all())
        grey = rows.set_params(image_shape=SHAPE[:2]).corrupt(x[..., 0], make(6)[1])
        assert tuple(grey.shape) == (6, *SHAPE[:2])


@pytest.mark.parametrize("noise", [BlurNoise(0.8), BlurNoise(3.0), ContrastNoise(0.4)])
@pytest.mark.numerics
def test_arrays_and_tensors_agree_where_nothing_is_random(noise):
    arrays, tensors = (np.asarray(noise.corrupt(*make(4))) for make in (numpy_images, torch_images))
    np.testing.assert_allclose(arrays, tensors, rtol=1e-12)


@noise_of_lines
def test_a_row_without_a_shape_is_a_line_of_pixels(noise):
    row = np.random.default_rng(0).random((3, 20))
    line = noise.corrupt(row.reshape(3, 1, 20), np.random.default_rng(5))
    np.testing.assert_array_equal(noise.corrupt(row, np.random.default_rng(5)), line.reshape(3, 20))


@every_noise
def test_input_stays_and_half_precision_works(noise):
    x, generator = numpy_images(3)
    before = x.copy()
    noise.corrupt(x, generator)
    np.testing.assert_array_equal(x, before)
    half = torch.ones(3, *SHAPE, dtype=torch.bfloat16)
    assert noise.corrupt(half, torch.Generator()).dtype == torch.bfloat16


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((3, 3), r"image_shape=\(3, 3\) has 9 values, but X has 8 features"),
        ((8,), "image_shape must be"),
        ((0, 8), "image_shape must be"),
        ((2.0, 4), "image_shape must be"),
    ],
)
def test_shapes_that_do_not_fit_are_refused_in_fit(shape, message):
    transformer = OcclusionNoise(image_shape=shape)
    with pytest.raises(ValueError, match=message):
        transformer.fit(np.ones((3, 8)))
    assert not hasattr(transformer, "n_features_in_")
    with pytest.raises(ValueError, match=message):
        transformer.corrupt(np.ones((3, 8)), np.random.default_rng())


def test_a_single_row_is_no_image():
    with pytest.raises(ValueError, match=r"Got shape \(8,\)"):
        OcclusionNoise().corrupt(np.ones(8), np.random.default_rng())


@pytest.mark.parametrize(
    ("noise", "message"),
    [
        (OcclusionNoise(-1), "size has to be .* Got -1"),
        (BlurNoise(-0.1), "sigma has to be .* Got -0.1"),
        (BlurNoise(np.inf), "sigma has to be .* Got inf"),
        (ContrastNoise(1.1), "reduction has to be .* Got 1.1"),
        (AugmentationNoise(rate=1.1), "rate has to be .* Got 1.1"),
        (AugmentationNoise(scale=-1), "scale has to be .* Got -1"),
    ],
)
def test_levels_out_of_range_are_refused(noise, message):
    with pytest.raises(ValueError, match=message):
        noise.corrupt(np.ones((3, 8)), np.random.default_rng())


# Severities

NAMES = {
    "gaussian": [0.08, 0.12, 0.18, 0.26, 0.38],
    "masking": [0.1, 0.2, 0.3, 0.4, 0.5],
    "swap": [0.1, 0.2, 0.3, 0.4, 0.5],
    "salt_pepper": [0.03, 0.06, 0.09, 0.17, 0.27],
    "occlusion": [4, 7, 11, 14, 18],
    "blur": [0.4, 0.6, 0.7, 0.8, 1.0],
    "brightness": [0.1, 0.2, 0.3, 0.4, 0.5],
    "contrast": [0.6, 0.7, 0.8, 0.9, 0.95],
    "missing_features": [0.1, 0.2, 0.3, 0.4, 0.5],
}


class Distance(BaseEstimator):
    """Scores rows by their distance from what they were."""

    def fit(self, X, y=None):
        self.clean_ = validate_data(self, X)
        return self

    def score(self, X, y=None):
        return -float(np.square(X - self.clean_).mean())


@pytest.mark.parametrize(("name", "levels"), NAMES.items())
def test_severities_have_documented_levels_and_the_name_of_their_curve(name, levels):
    noises = severities(name, image_shape=(28, 28))
    assert [noise.level for noise in noises] == pytest.approx(levels)
    # Smooth images, as photographs are: to white noise the least blur is a disaster.
    white = np.random.default_rng(0).random((40, 28, 28))
    rows = ndimage.gaussian_filter(white, (0, 1, 1)).reshape(40, -1) + 0.2
    model = Distance().fit(rows)
    curve = robustness_curve(model, rows, None, noises, n_repeats=1, random_state=0)
    assert set(curve["corruption"][1:]) == {name}
    assert (curve["score"].diff()[1:] < 0).all(), "a higher severity corrupts more"


@pytest.mark.parametrize("width", [2.0, 255.0])
def test_severities_follow_the_range_of_the_data(width):
    low, high = -1.0, width - 1.0
    noises = severities("gaussian", value_range=(low, high))
    assert [noise.scale for noise in noises] == pytest.approx(np.multiply(NAMES["gaussian"], width))
    brighter = severities("brightness", value_range=(low, high))[-1]
    assert (brighter.shift, brighter.value_range) == (width / 2, (low, high))
    assert severities("salt_pepper", value_range=(low, high))[0].value_range == (low, high)
    square = severities("occlusion", value_range=(low, high), image_shape=(8, 8))[0]
    assert (square.size, square.value) == (1, low)


@pytest.mark.parametrize(
    ("shape", "levels"),
    [
        ((8, 8), [0.4, 0.6, 0.7, 0.8, 1.0]),
        ((32, 32, 3), [0.4, 0.6, 0.7, 0.8, 1.0]),
        ((64, 64, 3), [0.5, 0.75, 1.0, 1.25, 1.5]),
        ((224, 300, 3), [1.0, 2.0, 3.0, 4.0, 6.0]),
        ((40, 100), [0.4, 0.6, 0.7, 0.8, 1.0]),
        ((1, 64), [0.5, 0.75, 1.0, 1.25, 1.5]),
    ],
)
def test_blurs_are_those_of_the_benchmark_of_the_nearest_size(shape, levels):
    assert [noise.level for noise in severities("blur", image_shape=shape)] == levels


def test_further_parameters_reach_the_transformer():
    noises = severities("missing_features", value=np.nan, per_row=True, random_state=3)
    assert all(isinstance(noise, MissingFeaturesNoise) and noise.per_row for noise in noises)
    assert all(np.isnan(noise.value) and noise.random_state == 3 for noise in noises)
    (noise, *_) = severities("brightness", value_range=(0, 255), when="fit")
    assert isinstance(noise, BrightnessNoise)
    assert noise.when == "fit"
    assert isinstance(severities("salt_pepper")[0], SaltPepperNoise)
    assert severities("contrast", image_shape=(4, 4, 3))[0].image_shape == (4, 4, 3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"corruption": "fog"}, r"corruption must be one of \['blur'.* Got 'fog'"),
        ({"corruption": "blur"}, "'blur' depend on the size .* Pass image_shape"),
        ({"corruption": "occlusion"}, "'occlusion' depend on the size .* Pass image_shape"),
        ({"corruption": "occlusion", "image_shape": (8,)}, "image_shape must be"),
        ({"corruption": "gaussian", "value_range": (1, 0)}, "value_range has to be"),
        ({"corruption": "gaussian", "value_range": None}, "value_range has to be"),
    ],
)
def test_bad_severities(arguments, message):
    with pytest.raises(ValueError, match=message):
        severities(**arguments)
