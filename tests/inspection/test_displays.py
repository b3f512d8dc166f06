"""Lines, bands, images and points of displays against the given data."""

import subprocess
import sys

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from curves import curve
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.decomposition import PCA
from sklearn.semi_supervised import LabelSpreading
from sklearn.utils.validation import validate_data

from skvim.exceptions import MissingExtraError
from skvim.inspection import (
    LatentDisplay,
    ReconstructionDisplay,
    RobustnessDisplay,
    SamplesDisplay,
)
from skvim.metrics import masked_scorer, robustness_curve
from skvim.noise import BrightnessNoise, GaussianNoise, MaskingNoise, severities

plt.switch_backend("agg")


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    plt.close("all")


class Sign(ClassifierMixin, BaseEstimator):
    """Says whether the row's mean is positive."""

    def fit(self, X, y=None):
        validate_data(self, X)
        self.classes_ = np.array([0, 1])
        return self

    def predict(self, X):
        return (X.mean(axis=1) > 0).astype(int)


class Halver:
    """A model of images: halves what it is given, samples ramps, encodes as the first columns."""

    def __init__(self, n_components=2):
        self.n_components = n_components

    def reconstruct(self, X):
        return np.asarray(X) / 2

    def sample(self, n_samples=1, *, random_state=None):
        return np.arange(n_samples * 6).reshape(n_samples, 6) + random_state

    def transform(self, X):
        return np.asarray(X)[:, : self.n_components]


# Robustness


@pytest.fixture
def curves():
    first = {
        ("none", 0.0): [0.9],
        ("gaussian", 0.4): [0.4, 0.6],
        ("gaussian", 0.2): [0.7, 0.8],
        ("masking", 0.5): [0.3, 0.3],
    }
    second = {("none", 0.0): [1.0], ("masking", 0.5): [0.2, 0.8]}
    return {"VAE": curve(first), "PCA": curve(second)}


def band_at_points(band, n_points):
    """Return lower and upper edge of a ``fill_between`` at its levels."""
    vertices = band.get_paths()[0].vertices
    return vertices[1 : n_points + 1, 1], vertices[n_points + 2 : 2 * n_points + 2, 1][::-1]


def test_lines_are_means_and_bands_are_standard_deviations(curves):
    display = RobustnessDisplay.from_curves(curves)
    line = display.lines_["VAE", "gaussian"]
    np.testing.assert_allclose(line.get_xdata(), [0.0, 0.2, 0.4])
    np.testing.assert_allclose(line.get_ydata(), [0.9, 0.75, 0.5])
    std = np.array([0.0, np.std([0.7, 0.8], ddof=1), np.std([0.4, 0.6], ddof=1)])
    low, high = band_at_points(display.bands_["VAE", "gaussian"], 3)
    np.testing.assert_allclose(low, line.get_ydata() - std)
    np.testing.assert_allclose(high, line.get_ydata() + std)
    np.testing.assert_allclose(display.lines_["PCA", "masking"].get_xydata(), [[0, 1], [0.5, 0.5]])


def test_one_labelled_panel_per_corruption(curves):
    display = RobustnessDisplay.from_curves(curves, score_name="accuracy")
    assert list(display.lines_) == [("VAE", "gaussian"), ("VAE", "masking"), ("PCA", "masking")]
    gaussian, masking = display.ax_
    assert list(gaussian.lines) == [display.lines_["VAE", "gaussian"]]
    assert list(masking.lines) == [
        display.lines_["VAE", "masking"],
        display.lines_["PCA", "masking"],
    ]
    assert gaussian.get_xlabel() == "level of gaussian noise"
    assert masking.get_xlabel() == "level of masking noise"
    assert [panel.get_ylabel() for panel in display.ax_] == ["accuracy"] * 2
    assert display.figure_.axes == [gaussian, masking]
    legends = [panel.get_legend() for panel in display.ax_]
    assert legends[0] is None
    assert [text.get_text() for text in legends[1].get_texts()] == ["VAE", "PCA"]


def test_a_label_looks_the_same_in_all_panels_and_unlike_all_others(curves):
    lines = RobustnessDisplay.from_curves(curves).lines_
    looks = {key: (line.get_color(), line.get_marker()) for key, line in lines.items()}
    assert looks["VAE", "gaussian"] == looks["VAE", "masking"] != looks["PCA", "masking"]
    several = {str(i): curves["PCA"] for i in range(40)}
    lines = RobustnessDisplay.from_curves(several).lines_.values()
    assert len({(line.get_color(), line.get_linestyle()) for line in lines}) == 40


def test_from_estimator_draws_the_robustness_curve():
    X = np.random.default_rng(0).normal(size=(100, 3))
    y = (X.mean(axis=1) > 0).astype(int)
    noises = [GaussianNoise(0.5), GaussianNoise(2.0), MaskingNoise(0.5)]
    model = Sign().fit(X)
    expected = robustness_curve(model, X, y, noises, n_repeats=3, random_state=0)
    display = RobustnessDisplay.from_estimator(
        model, X, y, noises, scoring="balanced_accuracy", n_repeats=3, random_state=0, name="sign"
    )
    assert display.ax_[0].get_ylabel() == "balanced accuracy"
    display = RobustnessDisplay.from_estimator(model, X, y, noises, n_repeats=3, random_state=0)
    assert display.ax_[0].get_ylabel() == "score"
    means = expected.groupby(["corruption", "level"])["score"].mean()
    line = display.lines_["Sign", "gaussian"]
    np.testing.assert_allclose(line.get_ydata(), [1.0, *means["gaussian"]])
    np.testing.assert_allclose(display.lines_["Sign", "masking"].get_ydata()[1], means["masking"])


def test_several_fits_under_one_label_are_pooled(curves):
    pooled = pd.concat([curves["VAE"], curves["VAE"].assign(score=lambda c: c["score"] - 0.2)])
    display = RobustnessDisplay.from_curves({"VAE": pooled})
    means = display.lines_["VAE", "gaussian"].get_ydata()
    np.testing.assert_allclose(means, [0.8, 0.65, 0.4])
    low, high = band_at_points(display.bands_["VAE", "gaussian"], 3)
    assert (high[0] - low[0]) / 2 == pytest.approx(np.std([0.9, 0.7], ddof=1))


def test_further_columns_change_nothing(curves):
    plain = RobustnessDisplay.from_curves(curves)
    further = {label: curve.assign(fit=3, seconds=0.5) for label, curve in curves.items()}
    display = RobustnessDisplay.from_curves(further)
    for key, line in plain.lines_.items():
        np.testing.assert_array_equal(display.lines_[key].get_xydata(), line.get_xydata())


def test_levels_below_zero_are_drawn_to_the_left_of_clean_rows():
    X = np.random.default_rng(0).normal(size=(50, 4))
    noises = [BrightnessNoise(-0.5), BrightnessNoise(0.5), *severities("missing_features")]
    display = RobustnessDisplay.from_estimator(
        Sign().fit(X), X, (X.mean(axis=1) > 0).astype(int), noises, n_repeats=2, random_state=0
    )
    np.testing.assert_allclose(display.lines_["Sign", "brightness"].get_xdata(), [-0.5, 0, 0.5])
    assert display.ax_[1].get_xlabel() == "level of missing_features noise"
    assert display.lines_["Sign", "missing_features"].get_ydata()[0] == 1.0


def test_curves_without_a_clean_score_start_at_their_first_level(curves):
    noisy = {"VAE": curves["VAE"].query("corruption != 'none'")}
    display = RobustnessDisplay.from_curves(noisy)
    np.testing.assert_allclose(display.lines_["VAE", "gaussian"].get_xdata(), [0.2, 0.4])


def test_panels_can_be_drawn_into_given_axes(curves):
    figure, axes = plt.subplots(2, 1)
    display = RobustnessDisplay.from_curves(curves, ax=axes)
    assert display.figure_ is figure
    assert list(display.ax_) == list(axes)
    single = RobustnessDisplay.from_curves({"PCA": curves["PCA"]}, ax=axes[0])
    assert list(single.ax_) == [axes[0]]
    with pytest.raises(ValueError, match=r"one axes per corruption, 2 here. Got 1"):
        RobustnessDisplay.from_curves(curves, ax=axes[0])


def test_bad_curves(curves):
    with pytest.raises(ValueError, match="curves is empty"):
        RobustnessDisplay.from_curves({})
    with pytest.raises(ValueError, match=r"Missing: \['estimator'\]"):
        RobustnessDisplay(curves["VAE"]).plot()
    with pytest.raises(ValueError, match="clean scores only"):
        RobustnessDisplay.from_curves({"VAE": curves["VAE"][:1]})


# Images


def cell(display, row, column, height=2, width=3):
    """Cut one image out of what a display shows."""
    top, left = row * (height + 1), column * (width + 1)
    return np.asarray(display.im_.get_array())[top : top + height, left : left + width]


@pytest.mark.parametrize("as_frame", [False, True])
def test_odd_rows_are_originals_and_even_rows_reconstructions(as_frame):
    X = np.random.default_rng(0).random((40, 6))
    given = pd.DataFrame(X) if as_frame else X
    display = ReconstructionDisplay.from_estimator(Halver(), given, image_shape=(2, 3), n_images=12)
    assert display.im_.get_array().shape == (4 * 3 - 1, 10 * 4 - 1)
    for image in range(12):
        row, column = 2 * (image // 10), image % 10
        np.testing.assert_array_equal(cell(display, row, column), X[image].reshape(2, 3))
        np.testing.assert_array_equal(cell(display, row + 1, column), X[image].reshape(2, 3) / 2)
    assert display.im_.get_clim() == (X[:12].min(), X[:12].max())
    assert "odd rows: originals" in display.ax_.get_title()


def test_fewer_images_than_asked_for_are_all_shown():
    X = np.random.default_rng(0).random((4, 6))
    display = ReconstructionDisplay.from_estimator(Halver(), X, image_shape=(2, 3))
    assert display.im_.get_array().shape == (2 * 3 - 1, 4 * 4 - 1)


def test_samples_are_drawn_with_the_seed_on_a_square_grid():
    display = SamplesDisplay.from_estimator(
        Halver(), image_shape=(2, 3), n_samples=7, random_state=5, value_range=(0, 50)
    )
    assert display.im_.get_array().shape == (3 * 3 - 1, 3 * 4 - 1)
    for sample in range(7):
        expected = np.arange(6).reshape(2, 3) + 6 * sample + 5
        np.testing.assert_array_equal(cell(display, *divmod(sample, 3)), expected)
    np.testing.assert_array_equal(cell(display, 2, 1), 50)
    assert display.im_.get_clim() == (0, 50)


def test_colour_images_are_scaled_to_the_value_range():
    colours = np.array([[-1.0, 0.0, 1.0], [3.0, -3.0, 0.5]])
    display = SamplesDisplay(colours, image_shape=(1, 1, 3)).plot(value_range=(-1, 1))
    shown = display.im_.get_array()
    assert shown.shape == (1, 3, 3)
    np.testing.assert_allclose(shown[0, 0], [0.0, 0.5, 1.0])
    np.testing.assert_allclose(shown[0, 1], 1.0)
    np.testing.assert_allclose(shown[0, 2], [1.0, 0.0, 0.75])


def test_images_in_their_own_layout_and_single_channels_are_accepted():
    images = np.random.default_rng(0).random((4, 2, 3, 1))
    display = SamplesDisplay(images, image_shape=(2, 3, 1)).plot()
    np.testing.assert_array_equal(cell(display, 1, 1), images[3, :, :, 0])


def test_constant_images_can_be_drawn():
    for shape in ((2, 3), (2, 1, 3)):
        display = SamplesDisplay(np.ones((4, 6)), image_shape=shape).plot()
        display.figure_.canvas.draw()
        # Without a range to scale by there is one tone, not a division by zero.
        assert len(np.unique(np.asarray(cell(display, 0, 0)))) == 1
        assert np.isfinite(np.asarray(display.im_.get_array())).all()


@pytest.mark.parametrize(
    ("draw", "error", "message"),
    [
        (
            lambda: SamplesDisplay(np.ones((4, 6)), image_shape=(2, 2)).plot(),
            ValueError,
            r"image_shape=\(2, 2\) has 4 values, but the images have 6",
        ),
        (
            lambda: SamplesDisplay(np.ones((4, 6)), image_shape=(3, 1, 2)).plot(),
            ValueError,
            r"1 or 3 channels. Got \(3, 1, 2\)",
        ),
        (
            lambda: SamplesDisplay(np.ones(6), image_shape=(2, 3)).plot(),
            ValueError,
            r"rows of a matrix. Got an array of shape \(6,\)",
        ),
        (
            lambda: ReconstructionDisplay(
                np.ones((4, 6)), np.ones((3, 6)), image_shape=(2, 3)
            ).plot(),
            ValueError,
            "4 images and 3 reconstructions",
        ),
        (
            lambda: ReconstructionDisplay.from_estimator(
                Halver(), np.ones((4, 6)), image_shape=(2, 3), n_images=0
            ),
            ValueError,
            r"n_images must be an int in \[1, inf\)\. Got 0",
        ),
        (
            lambda: SamplesDisplay.from_estimator(Halver(), image_shape=(2, 3), n_samples=1.5),
            ValueError,
            r"n_samples must be an int in \[1, inf\)\. Got 1.5",
        ),
        (
            lambda: ReconstructionDisplay.from_estimator(
                Sign(), np.ones((4, 6)), image_shape=(2, 3)
            ),
            TypeError,
            "calls reconstruct, which Sign does not have",
        ),
        (
            lambda: SamplesDisplay.from_estimator(Sign(), image_shape=(2, 3)),
            TypeError,
            "calls sample, which Sign does not have",
        ),
        (
            lambda: LatentDisplay.from_estimator(Sign(), np.ones((4, 6))),
            TypeError,
            "calls transform, which Sign does not have",
        ),
    ],
)
def test_bad_images(draw, error, message):
    with pytest.raises(error, match=message):
        draw()


# Latent space


@pytest.mark.parametrize("kind", [int, str, float])
def test_two_components_are_drawn_by_class(kind):
    X = np.random.default_rng(0).normal(size=(30, 6))
    y = np.array([3, 1, 2] * 10).astype(kind)
    display = LatentDisplay.from_estimator(Halver(2), X, y)
    for label, points in zip(np.unique(y), display.scatter_, strict=True):
        np.testing.assert_array_equal(points.get_offsets(), X[y == label, :2])
    legend = [text.get_text() for text in display.ax_.get_legend().get_texts()]
    assert legend == [str(label) for label in np.unique(y)]
    colours = {tuple(points.get_facecolor()[0]) for points in display.scatter_}
    assert len(colours) == 3
    assert display.ax_.get_xlabel() == "latent component 1"
    assert display.ax_.get_ylabel() == "latent component 2"


PARTLY = np.array(["eel", -1, "cat", "eel", -1, "cat"], dtype=object)


@pytest.mark.parametrize(
    ("y", "classes"),
    [
        (PARTLY, [-1, "cat", "eel"]),
        (pd.Series(PARTLY, index=range(5, -1, -1)), [-1, "cat", "eel"]),
        (pd.Series(PARTLY).astype("category"), [-1, "cat", "eel"]),
        (np.array([2, -1, 1, 2, -1, 1], dtype=object), [-1, 1, 2]),
        (pd.Series([2, -1, 1, 2, -1, 1], dtype="Int64"), [-1, 1, 2]),
        (np.full(6, -1), [-1]),
    ],
)
def test_rows_without_a_label_are_a_class_of_their_own(y, classes):
    codes = np.random.default_rng(0).normal(size=(6, 2))
    display = LatentDisplay(codes, y).plot()
    for label, points in zip(classes, display.scatter_, strict=True):
        np.testing.assert_array_equal(points.get_offsets(), codes[np.asarray(y) == label])
    legend = [text.get_text() for text in display.ax_.get_legend().get_texts()]
    assert legend == [str(label) for label in classes]


@pytest.mark.parametrize("kind", [np.asarray, pd.Series])
def test_robustness_of_partly_labelled_rows_is_that_of_the_labelled_ones(kind):
    X = np.random.default_rng(0).normal(size=(60, 3))
    model = LabelSpreading().fit(X, np.where(X[:, 0] > 0, "up", "down"))
    y = np.where(np.arange(60) % 3 == 0, -1, model.predict(X).astype(object))
    display = RobustnessDisplay.from_estimator(
        model, X, kind(y), [GaussianNoise(0.5)], scoring=masked_scorer("accuracy"), random_state=0
    )
    clean, noisy = display.lines_["LabelSpreading", "gaussian"].get_ydata()
    assert clean == 1.0 > noisy > 0.5


def test_ninety_classes_look_different():
    points = LatentDisplay(np.ones((90, 2)), np.arange(90)).plot().scatter_
    looks = {
        (tuple(one.get_facecolor()[0]), one.get_paths()[0].vertices.tobytes()) for one in points
    }
    assert len(looks) == 90


def test_without_labels_there_is_one_kind_of_point_and_no_legend():
    X = np.random.default_rng(0).normal(size=(30, 6))
    (points,) = LatentDisplay.from_estimator(Halver(2), X).scatter_
    np.testing.assert_array_equal(points.get_offsets(), X[:, :2])
    assert points.axes.get_legend() is None


def test_more_components_are_projected_and_the_axes_say_so():
    X = np.random.default_rng(0).normal(size=(200, 6)) * [1, 3, 2, 0.1, 0.1, 0.1]
    display = LatentDisplay.from_estimator(Halver(5), X)
    pca = PCA(2).fit(X[:, :5])
    offsets = display.scatter_[0].get_offsets()
    np.testing.assert_allclose(np.abs(offsets), np.abs(pca.transform(X[:, :5])))
    first, second = pca.explained_variance_ratio_
    assert display.ax_.get_xlabel() == (f"principal component 1 of 5 ({first:.0%} of variance)")
    assert display.ax_.get_ylabel() == f"principal component 2 of 5 ({second:.0%} of variance)"


def test_codes_of_a_collapsed_model_are_drawn_in_one_point():
    display = LatentDisplay(np.full((10, 4), 3.0)).plot()
    np.testing.assert_array_equal(display.scatter_[0].get_offsets(), 0.0)
    assert "(0% of variance)" in display.ax_.get_xlabel()


@pytest.mark.parametrize(
    ("codes", "y", "message"),
    [
        (np.ones((4, 1)), None, r"at least two components. Got shape \(4, 1\)"),
        (np.ones(4), None, r"Got shape \(4,\)"),
        (np.ones((4, 2)), [0, 1], r"one class label per row, 4 here. Got shape \(2,\)"),
        (np.ones((4, 2)), [0.1, 0.2, 0.3, 0.4], "Got real numbers"),
        (np.ones((4, 2)), [0, 1, np.nan, 1], "missing values"),
        (np.ones((4, 2)), np.array(["a", None, "b", -1], dtype=object), "missing values"),
        (np.ones((4, 2)), pd.Series([0, 1, None, 1], dtype="Int64"), "missing values"),
    ],
)
def test_bad_codes(codes, y, message):
    with pytest.raises(ValueError, match=message):
        LatentDisplay(codes, y).plot()


# What all displays share

X_ALL = np.random.default_rng(1).random((8, 6))
DRAWN = {
    RobustnessDisplay: lambda **ax: RobustnessDisplay.from_estimator(
        Sign().fit(X_ALL), X_ALL, np.ones(8), [GaussianNoise()], **ax
    ),
    ReconstructionDisplay: lambda **ax: ReconstructionDisplay.from_estimator(
        Halver(), X_ALL, image_shape=(2, 3), **ax
    ),
    SamplesDisplay: lambda **ax: SamplesDisplay.from_estimator(
        Halver(), image_shape=(2, 3), random_state=0, **ax
    ),
    LatentDisplay: lambda **ax: LatentDisplay.from_estimator(
        Halver(), X_ALL, np.arange(8) % 2, **ax
    ),
}


@pytest.mark.parametrize("draw", DRAWN.values(), ids=[display.__name__ for display in DRAWN])
def test_displays_draw_into_given_axes_or_a_figure_of_their_own(draw):
    figure, ax = plt.subplots()
    display = draw(ax=ax)
    assert display.figure_ is figure
    assert np.ravel(display.ax_).tolist() == [ax]
    own = draw()
    assert own.figure_ is not figure
    assert plt.get_fignums() == [figure.number, own.figure_.number]
    again = own.plot()
    assert again is own
    for drawn in (display, own):
        drawn.figure_.canvas.draw()


@pytest.mark.parametrize(("display", "draw"), DRAWN.items())
def test_missing_matplotlib_names_the_extra(display, draw, monkeypatch):
    drawn = draw()
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    for call in (draw, drawn.plot):
        with pytest.raises(MissingExtraError, match=rf'{display.__name__} .*"skvim\[plot\]"'):
            call()


def test_missing_matplotlib_is_told_before_anything_is_computed(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingExtraError):
        RobustnessDisplay.from_estimator(None, None, None, None)
    with pytest.raises(MissingExtraError):
        RobustnessDisplay.from_curves({})
    with pytest.raises(MissingExtraError):
        ReconstructionDisplay.from_estimator(None, None, image_shape=(2, 3))
    with pytest.raises(MissingExtraError):
        SamplesDisplay.from_estimator(None, image_shape=(2, 3))
    with pytest.raises(MissingExtraError):
        LatentDisplay.from_estimator(None, None)


def test_matplotlib_is_imported_on_use_only():
    code = "import sys, skvim.inspection; assert 'matplotlib' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
