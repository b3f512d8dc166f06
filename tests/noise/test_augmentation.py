"""Augmentation: affine maps, colour jitter, masking and noise of random strength."""

import numpy as np
import pytest
import torch
from scipy import ndimage
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.pipeline import make_pipeline

import skvim
from skvim import VIMAETransformer
from skvim.noise import AugmentationNoise, BlurNoise, OcclusionNoise
from skvim.noise._affine import affine, random_affine
from skvim.noise._corruptions import gaussian_random_scale, mask_random_rate

STILL = {"shift": 0.0, "angle": 0.0, "stretch": 0.0, "shear": 0.0}
WINDOWS = {"crop": 0.0, "mirror": False}
JITTER = {"contrast": 0.0, "brightness": 0.0, "tint": 0.0}
NOTHING = {**STILL, **WINDOWS, **JITTER, "rate": 0.0, "scale": 0.0}


def as_array(values, dtype="float64"):
    return np.asarray(values, dtype=dtype)


def as_tensor(values, dtype="float64"):
    return torch.tensor(np.asarray(values, dtype=dtype))


def generator_of(make, seed=0):
    arrays = make is as_array
    return np.random.default_rng(seed) if arrays else torch.Generator().manual_seed(seed)


both_libraries = pytest.mark.parametrize("make", [as_array, as_tensor])


@pytest.fixture
def images():
    return np.random.default_rng(3).normal(size=(4, 9, 7, 2))


def transformed(make, images, shift=(0.0, 0.0), angle=0.0, stretch=(0.0, 0.0), shear=0.0):
    """The same affine map of all images."""
    n = len(images)
    pairs = [make(np.repeat(np.reshape(pair, (2, 1)), n, 1)) for pair in (shift, stretch)]
    single = [make(np.full(n, value)) for value in (angle, shear)]
    return np.asarray(affine(make(images), pairs[0], single[0], pairs[1], single[1]))


# Affine maps


@both_libraries
def test_an_affine_map_by_nothing_is_the_identity(make, images):
    np.testing.assert_allclose(transformed(make, images), images, atol=1e-13)


@both_libraries
@pytest.mark.parametrize(("down", "right"), [(-3, 0), (2, -1), (0, 20)])
def test_whole_pixels_move_an_image_and_borders_repeat(make, images, down, right):
    rows = np.clip(np.arange(9) - down, 0, 8)
    columns = np.clip(np.arange(7) - right, 0, 6)
    expected = images[:, rows][:, :, columns]
    found = transformed(make, images, shift=(down, right))
    np.testing.assert_allclose(found, expected, atol=1e-13)


@both_libraries
def test_half_a_pixel_is_the_mean_of_two(make, images):
    found = transformed(make, images, shift=(0.0, 0.5))[:, :, 1:]
    np.testing.assert_allclose(found, (images[:, :, 1:] + images[:, :, :-1]) / 2, atol=1e-13)


@both_libraries
@pytest.mark.parametrize(("side", "turns"), [(6, 1), (6, 2), (7, -1)])
@pytest.mark.numerics
def test_quarter_turns_are_those_of_numpy(make, side, turns):
    squares = np.random.default_rng(0).normal(size=(3, side, side, 2))
    found = transformed(make, squares, angle=90.0 * turns)
    np.testing.assert_allclose(found, np.rot90(squares, turns, axes=(1, 2)), atol=1e-12)


@both_libraries
def test_stretched_and_sheared_slopes_are_slopes(make):
    # An affine map of a linear image has a closed form, away from the borders.
    y, x = np.meshgrid(np.arange(21.0) - 10, np.arange(31.0) - 15, indexing="ij")
    found = transformed(make, (3 * y + x)[None, ..., None], stretch=(0.2, -0.1), shear=0.3)
    expected = 3 * 1.2 * y + 0.9 * x + 0.3 * y
    inside = (0, slice(3, -3), slice(5, -5), 0)
    np.testing.assert_allclose(found[inside], expected[inside[1:3]], atol=1e-12)


@both_libraries
@pytest.mark.numerics
def test_an_affine_map_is_the_one_of_scipy(make, images):
    a, (p, q), k = np.deg2rad(20.0), (1.1, 0.8), 0.3  # p from left to right, q from top to bottom
    matrix = [[np.cos(a) * q, np.sin(a) * p], [k - np.sin(a) * q, np.cos(a) * p]]
    centre, shift = np.array([4.0, 3.0]), np.array([0.7, -1.2])
    offset = centre - shift - matrix @ centre
    found = transformed(make, images, shift, 20.0, (q - 1, p - 1), k)
    for i, j in np.ndindex(4, 2):
        expected = ndimage.affine_transform(
            images[i, ..., j], matrix, offset, order=1, mode="nearest"
        )
        np.testing.assert_allclose(found[i, ..., j], expected, atol=1e-12)


@both_libraries
@pytest.mark.numerics
def test_a_line_of_pixels_moves_along_itself(make):
    line = np.arange(8.0).reshape(1, 1, 8, 1)
    found = transformed(make, line, shift=(5.0, 1.0))
    assert found.ravel() == pytest.approx([0, 0, 1, 2, 3, 4, 5, 6])


@pytest.mark.numerics
def test_both_libraries_transform_each_image_by_its_own_map(images):
    draw = np.random.default_rng(0).uniform(-1, 1, size=(6, 4))
    parts = (2 * draw[:2], 30 * draw[2], 0.2 * draw[3:5], 0.3 * draw[5])
    arrays = affine(images, *parts)
    tensors = affine(torch.tensor(images), *(torch.tensor(part) for part in parts))
    np.testing.assert_allclose(arrays, tensors.numpy(), atol=1e-12)
    for i in range(4):
        alone = affine(images[i : i + 1], *(part[..., i : i + 1] for part in parts))
        np.testing.assert_allclose(arrays[i], alone[0], atol=1e-13)


@both_libraries
def test_random_affine_maps_are_uniform_and_differ_between_images(make):
    # Linear images tell the shift at their centre, and slopes tell the rest.
    n, side = 3000, 15
    y, x = np.meshgrid(np.arange(15.0) - 7, np.arange(15.0) - 7, indexing="ij")
    images = make(np.broadcast_to(np.stack([y, x], -1), (n, side, side, 2)), "float32")
    sizes = {"shift": 2.0, "angle": 15.0, "stretch": 0.15, "shear": 0.2}
    found = np.asarray(random_affine(images, generator_of(make), **sizes), dtype=np.float64)
    shift = -found[:, 7, 7]
    by_y, by_x = (found[:, 8, 7] - found[:, 7, 7]), (found[:, 7, 8] - found[:, 7, 7])
    radians = np.arctan2(by_x[:, 0], by_x[:, 1])
    p = np.hypot(by_x[:, 0], by_x[:, 1])
    q = by_y[:, 0] / np.cos(radians)
    k = by_y[:, 1] + np.sin(radians) * q
    drawn = np.stack(
        [*(shift.T / 2), np.rad2deg(radians) / 15, (p - 1) / 0.15, (q - 1) / 0.15, k / 0.2]
    )
    assert np.abs(drawn).max() < 1 + 1e-4
    assert np.abs(drawn).max(axis=1).min() > 0.99
    assert np.abs(drawn.mean(axis=1)).max() < 4 / np.sqrt(3 * n)
    np.testing.assert_allclose(drawn.var(axis=1), 1 / 3, atol=4 * np.sqrt(4 / 45 / n))
    correlations = np.corrcoef(drawn)[np.triu_indices(6, 1)]
    assert np.abs(correlations).max() < 4.5 / np.sqrt(n)


@both_libraries
def test_channels_move_alike(make):
    grey = np.random.default_rng(0).normal(size=(5, 8, 8, 1))
    images = make(np.repeat(grey, 3, -1))
    noise = AugmentationNoise(rate=0.0, scale=0.0)
    found = np.asarray(noise.corrupt(images, generator_of(make)))
    np.testing.assert_array_equal(found[..., 1], found[..., 0])
    np.testing.assert_array_equal(found[..., 2], found[..., 0])
    assert not np.isclose(found, np.asarray(images)).all()


@both_libraries
def test_windows_lie_anywhere_inside_and_are_drawn_out(make):
    n, crop, (height, width) = 3000, 0.6, (10, 16)
    y, x = np.meshgrid(np.arange(10.0) - 4.5, np.arange(16.0) - 7.5, indexing="ij")
    images = make(np.broadcast_to(np.stack([y, x], -1), (n, height, width, 2)))
    found = np.asarray(random_affine(images, generator_of(make), **STILL, crop=crop))
    sides = (found[:, 5, 8] - found[:, 4, 7])[:, 0]
    np.testing.assert_allclose(found[:, 5, 8, 1] - found[:, 4, 7, 1], sides)
    centres = (found[:, 5, 8] + found[:, 4, 7]) / 2
    # Outermost pixels show pixels of the image: no border is repeated.
    edges = np.abs(centres) / np.array([height, width]) + sides[:, None] / 2
    assert edges.max() < 0.5 + 1e-6
    room = np.outer((height, width), 1 - sides)
    for drawn in ((sides - 1 + crop) / crop, *(centres.T / room + 0.5)):
        assert 0 <= drawn.min() < 0.01
        assert 0.99 < drawn.max() <= 1 + 1e-6
        assert abs(drawn.mean() - 0.5) < 4 * np.sqrt(1 / 12 / n)


@both_libraries
def test_half_of_the_images_are_mirrored(make):
    n = 2000
    images = np.random.default_rng(0).normal(size=(n, 4, 5, 2))
    found = random_affine(make(images), generator_of(make), **STILL, mirror=True)
    same = np.isclose(np.asarray(found), images).all((1, 2, 3))
    turned = np.isclose(np.asarray(found), images[:, :, ::-1]).all((1, 2, 3))
    assert (same ^ turned).all()
    assert abs(turned.mean() - 0.5) < 4 * np.sqrt(0.25 / n)


# Colour jitter


@both_libraries
def test_colour_jitter_is_uniform_and_each_image_has_its_own(make):
    n = 4000
    images = np.random.default_rng(0).normal(size=(n, 3, 4, 3))
    noise = AugmentationNoise(**{**NOTHING, "contrast": 0.4, "brightness": 0.3, "tint": 0.2})
    found = np.asarray(noise.corrupt(make(images), generator_of(make)))
    centred = images - images.mean((1, 2), keepdims=True)
    slopes = (centred * found).sum((1, 2, 3)) / (centred**2).sum((1, 2, 3)) - 1
    mean = images.mean((1, 2, 3))[:, None]
    added = (
        found.mean((1, 2)) - images.mean((1, 2)) - slopes[:, None] * (images.mean((1, 2)) - mean)
    )
    assert np.abs(slopes).max() < 0.4 + 1e-9
    np.testing.assert_allclose(slopes.var(), 0.4**2 / 3, rtol=0.08)
    # Brightness is common to the channels of an image, tint is not.
    np.testing.assert_allclose(np.cov(added.T), 0.3**2 / 3 + np.eye(3) * 0.2**2 / 3, atol=3e-3)
    expected = images + slopes[:, None, None, None] * (images - mean[..., None, None])
    np.testing.assert_allclose(found, expected + added[:, None, None], atol=1e-9)


# Masking and noise


@both_libraries
def test_half_of_the_largest_rate_is_masked_and_rows_have_their_own(make):
    n, d, rate = 2000, 500, 0.6
    masked = np.asarray(mask_random_rate(make(np.ones((n, d))), rate, generator_of(make)))
    assert set(np.unique(masked)) == {0.0, 1.0}
    shares = (masked == 0).mean(axis=1)
    # The variance of a share is that of the uniform rate and the mean binomial one.
    variance = rate**2 / 12 + (rate / 2 - rate**2 / 3) / d
    assert abs(shares.mean() - rate / 2) < 4 * np.sqrt(variance / n)
    assert shares.var() == pytest.approx(variance, rel=0.1)
    columns = (masked == 0).mean(axis=0)
    assert np.abs(columns - rate / 2).max() < 5 * np.sqrt(0.3 * 0.7 / n)


@both_libraries
def test_mean_variance_of_the_noise_is_a_third_and_rows_have_their_own(make):
    n, d, scale = 2000, 500, 0.5
    ones = make(np.ones((n, d)))
    noise = np.asarray(gaussian_random_scale(ones, scale, generator_of(make))) - 1.0
    variances = noise.var(axis=1, ddof=1)
    # E σ² = s² / 3 and E σ⁴ = s⁴ / 5.
    spread = scale**4 * (1 / 5 - 1 / 9 + 2 / 5 / (d - 1))
    assert abs(variances.mean() - scale**2 / 3) < 4 * np.sqrt(spread / n)
    deviations = np.sqrt(variances) / scale
    assert np.histogram(deviations, 4, (0, 1.1))[0].min() > n / 8
    assert abs(noise.mean()) < 4 * scale / np.sqrt(3 * n * d)
    # Rows of normal noise: once divided by its deviation, nothing is left of the mixture.
    normal = noise / np.sqrt(variances)[:, None]
    assert (normal**4).mean() == pytest.approx(3 * (d - 1) / (d + 1), rel=0.02)


@both_libraries
def test_levels_of_rows_are_not_those_of_single_values(make):
    x = make(np.ones((3000, 4, 5)))
    masked = np.asarray(mask_random_rate(x, 1.0, generator_of(make))) == 0
    # Two values of a row are both masked with E r² = 1/3 rather than 1/4.
    both = (masked[:, 0, 0] & masked[:, 3, 4]).mean()
    assert abs(both - 1 / 3) < 4 * np.sqrt(2 / 9 / 3000)
    across = (masked[1:, 0, 0] & masked[:-1, 0, 0]).mean()
    assert abs(across - 1 / 4) < 4 * np.sqrt(1 / 4 / 3000)


# The transformer


@both_libraries
@pytest.mark.parametrize(("dtype", "shape"), [("float32", (5, 64)), ("float64", (5, 8, 8))])
def test_nothing_leaves_every_bit(make, dtype, shape):
    x = make(np.random.default_rng(0).normal(size=shape), dtype)
    x[0] = -0.0
    noise = AugmentationNoise(**NOTHING, image_shape=(8, 8))
    found = noise.corrupt(x, generator_of(make))
    assert np.asarray(found).tobytes() == np.asarray(x).tobytes()
    assert not np.shares_memory(np.asarray(found), np.asarray(x))
    assert noise.level == 0.0


@pytest.mark.parametrize("name", list(NOTHING))
def test_each_parameter_alone_changes_images(name, images):
    noise = AugmentationNoise(**{**NOTHING, name: 0.4})
    assert noise.level == 1.0
    assert not np.array_equal(noise.corrupt(images, np.random.default_rng(0)), images)


def test_flat_rows_are_transformed_only_with_a_shape():
    rows = np.random.default_rng(0).normal(size=(5, 64))
    noise = AugmentationNoise(rate=0.0, scale=0.0, random_state=0)
    np.testing.assert_array_equal(noise.fit(rows).transform(rows), rows)
    shaped = clone(noise).set_params(image_shape=(8, 8)).fit(rows).transform(rows)
    assert not np.isclose(shaped, rows).all(axis=1).any()


def test_order_is_affine_map_then_masks_then_noise():
    x = np.full((50, 8, 8), 5.0)
    # Masked values stay 0 exactly when nothing is read between them and their neighbours.
    masked = AugmentationNoise(scale=0.0).corrupt(x, np.random.default_rng(0))
    near = np.isclose(masked, 0.0) | np.isclose(masked, 5.0)
    assert near.all()
    # Noise lies on masked values as well.
    noisy = AugmentationNoise(rate=1.0).corrupt(x, np.random.default_rng(0))
    assert (noisy != 0).all()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.numerics
def test_places_are_worked_out_in_single_precision(dtype):
    x = torch.arange(3 * 40 * 40).reshape(3, 40, 40, 1).remainder(7).to(dtype)
    noise = AugmentationNoise(rate=0.0, scale=0.0, crop=0.5, mirror=True)
    half = noise.corrupt(x, torch.Generator().manual_seed(0))
    single = noise.corrupt(x.float(), torch.Generator().manual_seed(0))
    assert half.dtype == dtype
    torch.testing.assert_close(half, single.to(dtype), rtol=0, atol=0)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16", "float16"])
def test_types_and_shapes_stay_whatever_is_done(dtype, channels):
    noise = AugmentationNoise(crop=0.5, mirror=True, contrast=0.3, brightness=0.2, tint=0.1)
    for shape in ((4, 5, 7, channels), (4, 5, 7), (4, 35)):
        x = torch.rand(shape, generator=torch.Generator().manual_seed(0)).to(getattr(torch, dtype))
        kept = x.clone()
        found = noise.corrupt(x, torch.Generator().manual_seed(1))
        assert (found.dtype, found.shape) == (x.dtype, x.shape)
        assert torch.equal(x, kept)
        if dtype.endswith(("32", "64")):
            array = noise.corrupt(x.numpy(), np.random.default_rng(1))
            assert (array.dtype, array.shape) == (np.dtype(dtype), shape)


def test_gradients_pass():
    x = torch.rand(2, 6, 6, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(0))

    def corrupted(values):
        noise = AugmentationNoise(crop=0.3, mirror=True, contrast=0.2, brightness=0.1)
        return noise.corrupt(values, torch.Generator().manual_seed(1))

    assert torch.autograd.gradcheck(corrupted, x.requires_grad_())


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"shift": -1.0}, r"shift.*\[0.*, inf\). Got -1.0"),
        ({"angle": 181.0}, r"angle.*\[0.*, 180.*\]. Got 181.0"),
        ({"stretch": 1.0}, r"stretch.*\[0.*, 1.*\). Got 1.0"),
        ({"shear": np.nan}, "shear.* Got nan"),
        ({"crop": 1.0}, r"crop.*\[0.*, 1.*\). Got 1.0"),
        ({"contrast": 1.5}, r"contrast.*\[0.*, 1.*\]. Got 1.5"),
        ({"brightness": -0.1}, r"brightness.*\[0.*, inf\). Got -0.1"),
        ({"tint": np.inf}, r"tint.*\[0.*, inf\). Got inf"),
    ],
)
def test_sizes_out_of_range_are_refused(parameters, message):
    noise = AugmentationNoise(**parameters, image_shape=(2, 4))
    with pytest.raises(ValueError, match=message):
        noise.fit(np.ones((3, 8)))
    with pytest.raises(ValueError, match=message):
        noise.corrupt(np.ones((3, 8)), np.random.default_rng())


def test_all_parameters_go_by_keyword():
    with pytest.raises(TypeError):
        AugmentationNoise(2.0)


def test_a_saved_transformer_corrupts_as_before(tmp_path):
    rows = np.random.default_rng(0).normal(size=(9, 64))
    lit = {"crop": 0.3, "mirror": True, "contrast": 0.2, "brightness": 0.1, "tint": 0.1}
    noise = AugmentationNoise(angle=40.0, **lit, image_shape=(8, 8), random_state=3).fit(rows)
    noise.save(tmp_path / "noise.skvim")
    loaded = skvim.load(tmp_path / "noise.skvim")
    assert loaded.get_params() == noise.get_params()
    np.testing.assert_array_equal(loaded.transform(rows), noise.transform(rows))


def test_a_pipeline_trains_on_augmented_rows_and_tests_on_clean_ones():
    rows = load_digits().data[:300] / 16
    noise = AugmentationNoise(image_shape=(8, 8), when="fit", random_state=0)
    pipeline = make_pipeline(noise, PCA(5, random_state=0)).fit(rows)
    expected = PCA(5, random_state=0).fit(clone(noise).fit_transform(rows))
    np.testing.assert_allclose(pipeline.transform(rows), expected.transform(rows))
    assert not np.allclose(expected.mean_, rows.mean(axis=0), atol=0.02)


@pytest.mark.parametrize("noise", [AugmentationNoise(crop=0.5), OcclusionNoise(4), BlurNoise(1.0)])
def test_an_autoencoder_tells_noise_the_shape_of_its_images(noise):
    """Named for the noise, for the model or seen in the images: the training is the same."""
    images = load_digits().images[:60].astype(np.float32) / 16
    rows = images.reshape(60, 64)
    shaped, bare = clone(noise).set_params(image_shape=(8, 8)), clone(noise)
    cases = [(shaped, None, rows), (bare, (8, 8), rows), (bare, None, images)]
    found = [
        VIMAETransformer(2, noise=own, image_shape=shape, max_epochs=2, random_state=0).fit(X)
        for own, shape, X in cases
    ]
    for model in found[1:]:
        assert model.loss_curve_ == found[0].loss_curve_
    assert bare.image_shape is None
    line = VIMAETransformer(2, noise=bare, max_epochs=2, random_state=0).fit(rows)
    assert line.loss_curve_ != found[0].loss_curve_


def test_a_shape_of_the_noise_that_does_not_suit_is_an_error_of_the_fit():
    noise = AugmentationNoise(image_shape=(9, 8))
    with pytest.raises(ValueError, match="72 values, but X has 64"):
        VIMAETransformer(2, noise=noise, max_epochs=1).fit(np.ones((9, 64)))


@pytest.mark.filterwarnings("ignore::skvim.exceptions.SkvimWarning")  # the fit is short
def test_codes_follow_augmentation_less_when_trained_with_it():
    digits = (load_digits().data[:600] / 16).astype(np.float32)
    noise = AugmentationNoise(image_shape=(8, 8), shift=1.0, rate=0.3, scale=0.2)
    moved = noise.set_params(random_state=5).fit(digits).transform(digits)

    def relative_change(noise):
        model = VIMAETransformer(4, noise=noise, max_epochs=15, random_state=0).fit(digits)
        codes = model.transform(digits)
        return (
            np.square(model.transform(moved) - codes).sum()
            / np.square(codes - codes.mean(axis=0)).sum()
        )

    assert relative_change(noise) < 0.9 * relative_change(None)
