"""Rows that are images: layouts in and out, and convolutional networks on digits."""

import numpy as np
import pytest
import torch
from scipy.special import logsumexp
from sklearn.base import clone
from sklearn.datasets import load_digits
from torch import nn

from skvim import (
    AETransformer,
    UncertaintyAETransformer,
    VAETransformer,
    VIMAETransformer,
)
from skvim.engine._inference import _CHUNK_VALUES
from skvim.networks import Convolutional

IMAGES = load_digits().images[:300]
ROWS = IMAGES.reshape(300, 64)
COLOURS = np.random.default_rng(0).uniform(size=(50, 4, 6, 3))
SHORT = {"hidden_layer_sizes": (16,), "max_epochs": 2, "random_state": 0}
SMALL = Convolutional(0.125)

LAYOUTS = {
    "rows": (ROWS, (64,)),
    "images": (IMAGES, (8, 8)),
    "one channel": (IMAGES[..., None], (8, 8, 1)),
    "uint8": (IMAGES.astype(np.uint8), (8, 8)),
    "list of images": (list(IMAGES), (8, 8)),
    "nested lists": (IMAGES.tolist(), (8, 8)),
    "tensor": (torch.from_numpy(IMAGES), (8, 8)),
    "by columns": (np.asfortranarray(IMAGES), (8, 8)),
    "read-only": (np.broadcast_to(IMAGES, IMAGES.shape), (8, 8)),
}


@pytest.fixture(scope="module")
def expected():
    return VAETransformer(2, **SHORT).fit(ROWS)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.numerics
def test_layouts_differ_in_nothing_but_the_shape_of_results(layout, expected):
    data, axes = LAYOUTS[layout]
    model = VAETransformer(2, **SHORT).fit(data)
    assert model.n_features_in_ == 64
    assert model.loss_curve_ == expected.loss_curve_
    for other in (data, IMAGES[..., None], ROWS):
        np.testing.assert_array_equal(
            [*model.posterior_moments(other), model.transform(other)],
            [*expected.posterior_moments(ROWS), expected.transform(ROWS)],
        )
    reconstructed = model.reconstruct(ROWS[:7])
    assert reconstructed.shape == (7, *axes)
    np.testing.assert_array_equal(reconstructed.reshape(7, 64), expected.reconstruct(IMAGES[:7]))
    codes = model.transform(data)[:4]
    assert model.inverse_transform(codes).shape == (4, *axes)
    assert model.sample(3, random_state=0).shape == (3, *axes)


def test_likelihoods_do_not_depend_on_the_layout(expected):
    scores = expected.score_samples(ROWS[:3])
    np.testing.assert_array_equal(expected.score_samples(IMAGES[:3]), scores)
    assert expected.score(IMAGES[:3]) == expected.score(ROWS[:3]) == pytest.approx(scores.mean())


def test_the_layout_is_that_of_the_last_fit():
    model = AETransformer(2, **SHORT).fit(IMAGES)
    assert model.fit(ROWS).reconstruct(IMAGES).shape == (300, 64)
    with pytest.raises(ValueError, match="contradicts"):
        model.set_params(image_shape=(4, 16)).fit(IMAGES)
    assert model.reconstruct(IMAGES).shape == (300, 64)


def test_samples_of_a_chain_are_images_too():
    model = UncertaintyAETransformer(2, **SHORT).fit(COLOURS)
    assert model.sample(3, burn_in=2, random_state=0).shape == (3, 4, 6, 3)
    flat = clone(model).fit(COLOURS.reshape(50, 72))
    np.testing.assert_array_equal(
        model.reconstruct(COLOURS), flat.reconstruct(COLOURS).reshape(COLOURS.shape)
    )


@pytest.mark.numerics
def test_values_keep_their_unit_and_single_precision_stays():
    bright = (IMAGES * 15).astype(np.uint8)
    model = AETransformer(2, **{**SHORT, "max_epochs": 20}).fit(bright)
    assert model.reconstruct(bright).dtype == np.float64
    np.testing.assert_allclose(model.reconstruct(bright).mean(), bright.mean(), rtol=0.05)
    single = AETransformer(2, **SHORT).fit(IMAGES.astype(np.float32))
    assert single.reconstruct(IMAGES.astype(np.float32)).dtype == np.float32


def test_flat_rows_with_an_image_shape_stay_flat():
    model = VIMAETransformer(2, network=SMALL, image_shape=(8, 8), max_epochs=1, random_state=0)
    model.fit(ROWS)
    assert model.reconstruct(IMAGES[:2]).shape == (2, 64)
    same = clone(model).set_params(image_shape=None).fit(IMAGES)
    np.testing.assert_array_equal(same.transform(ROWS), model.transform(IMAGES))
    assert same.sample(2).shape == (2, 8, 8)


@pytest.mark.parametrize(
    ("data", "parameters", "message"),
    [
        (ROWS, {"network": "convolutional"}, "pass image_shape=.*Got rows of 64 features"),
        (ROWS, {"image_shape": (8, 9)}, r"image_shape=\(8, 9\) has 72 values, but X has 64"),
        (IMAGES, {"image_shape": (4, 16)}, r"contradicts X, .* shape \(8, 8\)"),
        (IMAGES, {"image_shape": (8, 8, 3)}, "contradicts X"),
        (ROWS, {"image_shape": (64,)}, r"must be \(height, width\) or .*Got \(64,\)"),
        (ROWS, {"image_shape": (8, 8.0)}, "positive integers"),
        (ROWS, {"image_shape": (8, True)}, "positive integers"),
        (ROWS, {"image_shape": (-8, -8)}, "positive integers"),
        (IMAGES[..., None, None], {}, r"X must hold rows.*Got shape \(300, 8, 8, 1, 1\)"),
        (IMAGES[:, 0, 0], {}, "Expected 2D array"),
        (IMAGES[:0], {}, r"0 sample\(s\)"),
        (IMAGES[:, :0], {}, r"0 feature\(s\)"),
        (np.where(IMAGES > 15, np.nan, IMAGES), {}, "NaN"),
        (IMAGES + 1j, {}, "Complex data not supported"),
        (IMAGES[:, :6], {"network": "convolutional"}, "Got an image_shape of 6 x 8"),
        (IMAGES, {"network": SMALL, "batch_size": 1}, "batch_size must be at least 2"),
        (ROWS, {"normalization": "batch", "batch_size": 1}, "batch_size must be at least 2"),
    ],
)
def test_what_cannot_be_fitted_is_refused(data, parameters, message):
    with pytest.raises(ValueError, match=message):
        AETransformer(2, **{**SHORT, **parameters}).fit(data)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("network", "transformer"),
        ("network", 3),
        ("image_shape", 8),
        ("normalization", "group"),
        ("dropout", 1.0),
        ("dropout", -0.1),
    ],
)
def test_bad_parameters_are_named(name, value):
    message = rf"'{name}' parameter of AETransformer .*Got {value!r}"
    with pytest.raises(ValueError, match=message):
        AETransformer(**{name: value}).fit(ROWS)


def test_later_images_of_another_shape_are_refused():
    model = AETransformer(2, **SHORT).fit(IMAGES)
    with pytest.raises(ValueError, match=r"shape \(4, 16\), but .* fitted on .*\(8, 8, 1\)"):
        model.transform(IMAGES.reshape(-1, 4, 16))
    with pytest.raises(ValueError, match=r"X has 48 features, but .* expecting 64"):
        model.transform(IMAGES[:, :6])
    # Rows without a shape may be any image of that size.
    flat = AETransformer(2, **SHORT).fit(ROWS)
    codes = flat.transform(IMAGES.reshape(-1, 4, 16))
    np.testing.assert_array_equal(codes, flat.transform(ROWS))


def test_a_convolutional_network_learns_digits():
    model = AETransformer(8, network=SMALL, max_epochs=6, lr=3e-3, batch_size=20, random_state=0)
    reconstructed = model.fit(IMAGES).reconstruct(IMAGES)
    assert np.square(reconstructed - IMAGES).sum() < 0.5 * np.square(IMAGES - IMAGES.mean(0)).sum()


class Users(nn.Module):
    def __init__(self, n_in, n_out):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(n_in, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Dropout(0.1), nn.Linear(8, n_out)
        )

    def forward(self, x):
        assert x.dim() == 2  # the model shows matrices, whatever runs it
        return self.layers(x)


NETWORKS = {
    "convolutional": {"network": Convolutional(0.05)},
    "batch": {"hidden_layer_sizes": (8,), "normalization": "batch", "dropout": 0.1},
    "layer": {"hidden_layer_sizes": (8,), "normalization": "layer"},
    "modules": {"network": (Users, Users)},
}


@pytest.mark.parametrize("name", ["convolutional", "batch", "modules"])
def test_likelihoods_are_those_of_quadrature(name):
    model = VAETransformer(1, max_epochs=3, random_state=0, **NETWORKS[name]).fit(IMAGES)
    variance = float(model.net_.autoencoder.likelihood.value)
    z = np.linspace(-6, 6, 301)
    decoded = model.inverse_transform(z[:, None]).reshape(len(z), 64)
    errors = ((ROWS[:2, None] - decoded) ** 2).sum(-1)
    log_joint = -0.5 * (errors / variance + 64 * np.log(2 * np.pi * variance))
    log_joint -= 0.5 * (z**2 + np.log(2 * np.pi))
    expected = logsumexp(log_joint, axis=1) + np.log(z[1] - z[0])
    scores = model.score_samples(IMAGES[:2], n_draws=300)
    np.testing.assert_allclose(scores, expected, atol=0.1)


@pytest.mark.parametrize("name", NETWORKS)
def test_fits_repeat_and_leave_the_global_generator(name):
    model = VAETransformer(2, max_epochs=2, random_state=0, **NETWORKS[name])
    before = torch.get_rng_state()
    first, second = (clone(model).fit(IMAGES) for _ in range(2))
    assert torch.equal(before, torch.get_rng_state())
    np.testing.assert_array_equal(first.transform(ROWS), second.transform(ROWS))
    # Evaluation depends on no batch and draws no masks.
    np.testing.assert_allclose(first.transform(ROWS[:1]), first.transform(ROWS)[:1], rtol=1e-6)


def test_dropout_and_normalisation_change_training():
    options = [{}, {"dropout": 0.2}, {"normalization": "batch"}, {"normalization": "layer"}]
    curves = {tuple(AETransformer(2, **SHORT, **o).fit(ROWS).loss_curve_) for o in options}
    assert len(curves) == len(options)


class Wide(nn.Module):
    def __init__(self, n_in, n_out):
        super().__init__()
        self.first, self.last = nn.Linear(n_in, 20_000), nn.Linear(20_000, n_out)

    def forward(self, x):
        return self.last(self.first(x).relu())


def test_chunks_are_bounded_by_the_widest_layer():
    model = AETransformer(2, network=(Wide, Wide), max_epochs=1, random_state=0).fit(ROWS)
    sizes = []
    decoder = model.net_.in_precision(torch.float64).decoder
    decoder.register_forward_pre_hook(lambda _, args: sizes.append(len(args[0])))
    model.inverse_transform(np.zeros((300, 2)))
    assert sum(sizes) == 300
    assert max(sizes) == _CHUNK_VALUES // 20_000
