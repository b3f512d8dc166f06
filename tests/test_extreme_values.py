"""What happens at the ends of the range of floating-point numbers, value by value."""

import itertools

import numpy as np
import pandas as pd
import pytest
from scipy import ndimage
from test_finite import FITTED, LABELS, ROWS, SMALL

from skvim import VAETransformer, VIMAETransformer
from skvim.metrics import (
    active_units,
    compare_robustness,
    corruption_errors,
    frechet_distance,
    kernel_distance,
    precision_recall,
    reconstruction_error,
    robustness_curve,
    robustness_summary,
)
from skvim.model_selection import mask_labels
from skvim.noise import BlurNoise, GaussianNoise
from skvim.objectives import Gaussian, GaussianPosterior, Logistic, Normal
from skvim.semi_supervised import TransductiveSVC


@pytest.mark.parametrize("method", ["transform", "reconstruct", "posterior_moments"])
def test_rows_beyond_float32_are_named(method):
    model = FITTED[VAETransformer]
    signs = np.array(list(itertools.product([-1, 1], repeat=4)), dtype=np.float32)
    far = signs * np.finfo(np.float32).max  # some sum of products overflows
    with pytest.raises(ValueError, match=r"VAETransformer.* float32: .*Scale .*float64"):
        getattr(model, method)(far)
    assert np.isfinite(np.asarray(getattr(model, method)(far.astype(np.float64)))).all()


def test_scores_that_float64_cannot_hold_are_named():
    model, rows = FITTED[VAETransformer], np.full((12, 4), 1e200)
    for method in ("score_samples", "score", "information"):
        with pytest.raises(ValueError, match=rf"VAETransformer\.{method}.*1e\+200"):
            getattr(model, method)(rows)


def test_the_rbf_kernel_of_far_rows_is_zero():
    labels = np.minimum(LABELS, 1)
    model = TransductiveSVC(random_state=0, safe=False).fit(ROWS, labels)
    far = np.array([[1e155, 0, 0, 0], [-1e308, 1e308, 0, 0]])
    unlike = model.decision_function(np.full((1, 4), 1e6))
    assert model.decision_function(far) == pytest.approx(np.repeat(unlike, 2), rel=1e-12)
    with_far = np.vstack([ROWS, far])
    model = TransductiveSVC(gamma=0.25, probability=True, random_state=0, safe=False)
    model.fit(with_far, np.r_[labels, -1, -1])
    assert np.isfinite(model.predict_proba(with_far)).all()
    assert len(set(model.predict(with_far))) == 2


def test_rbf_kernel_of_rows_whose_squares_overflow():
    """Scaled by powers of 2, rows and gamma have the same kernel."""
    labels, scale = np.minimum(LABELS, 1), 2.0**520
    ordinary = TransductiveSVC(gamma=0.25, random_state=0, safe=False).fit(ROWS, labels)
    large = TransductiveSVC(gamma=0.25 / scale / scale, random_state=0, safe=False).fit(
        ROWS * scale, labels
    )
    expected = ordinary.decision_function(ROWS)
    assert large.decision_function(ROWS * scale) == pytest.approx(expected, rel=1e-6)


def test_the_default_gamma_is_named_if_the_variance_overflows():
    with pytest.raises(ValueError, match=r"gamma='scale', the default.*1e\+160"):
        TransductiveSVC(safe=False).fit(np.vstack([ROWS[:-1], np.full(4, 1e160)]), LABELS)


def test_kernels_out_of_range_are_named():
    model = TransductiveSVC(kernel="poly", gamma=1.0, random_state=0, safe=False).fit(ROWS, LABELS)
    with pytest.raises(ValueError, match=r"kernel .* overflows"):
        model.predict(np.full((1, 4), 1e155))
    with pytest.raises(ValueError, match="degree"):
        TransductiveSVC(kernel="poly", degree=2.5, safe=False).fit(ROWS, LABELS)


@pytest.mark.parametrize("shape", [(8, 8), (5, 12), (1, 20), (7, 7, 3)])
@pytest.mark.parametrize("sigma", [1e-300, 0.3, 1.9, 2.1, 7.0, 100.0])
def test_blur_is_that_of_scipy(shape, sigma):
    images = np.random.default_rng(0).normal(size=(3, *shape, *[1] * (3 - len(shape))))
    blurred = BlurNoise(sigma).corrupt(images, np.random.default_rng())
    expected = ndimage.gaussian_filter(images, (0, sigma, sigma, 0))
    assert blurred == pytest.approx(expected, abs=1e-12)


def test_a_very_wide_blur_leaves_the_mean_at_once():
    images = np.random.default_rng(0).normal(size=(3, 28, 28, 2))
    for sigma in (1e7, 1e300):
        blurred = BlurNoise(sigma).corrupt(images, np.random.default_rng())
        expected = np.broadcast_to(images.mean((1, 2), keepdims=True), images.shape)
        assert blurred == pytest.approx(expected, abs=1e-12)
    line = np.random.default_rng(0).normal(size=(2, 10_000))
    wide = BlurNoise(1e6).corrupt(line, np.random.default_rng())
    assert wide == pytest.approx(np.broadcast_to(line.mean(1, keepdims=True), line.shape), abs=1e-5)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"prior": Normal(1e39)}, "scale of the prior Normal"),
        ({"prior": Logistic(1e-30)}, "scale of the prior Logistic"),
        ({"posterior": GaussianPosterior(1e39)}, "scale of GaussianPosterior"),
        ({"likelihood": Gaussian(1e39)}, "variance of the likelihood Gaussian .* float32 holds"),
    ],
)
def test_scales_that_float32_cannot_hold_are_refused(parameters, message):
    with pytest.raises(ValueError, match=message):
        VIMAETransformer(2, **SMALL, **parameters).fit(ROWS)


def test_noise_that_float32_cannot_hold_is_refused():
    rows = ROWS.astype(np.float32)
    with pytest.raises(ValueError, match="scale of GaussianNoise is in the units of X"):
        GaussianNoise(1e39).fit(rows).transform(rows)
    with pytest.raises(ValueError, match="scale of GaussianNoise is in the units of X"):
        VAETransformer(2, **SMALL, noise=GaussianNoise(1e39)).fit(ROWS)


def test_distances_of_equal_rows_and_of_tiny_ones():
    equal = np.ones((30, 3))
    with pytest.warns(UserWarning, match="unreliable"):
        distance = frechet_distance(equal, equal)
    assert (distance.value, distance.extrapolated, distance.ranks) == (0.0, 0.0, (0, 0))
    for scale in (1e-200, 1e100):
        x, y = ROWS[:12], ROWS[12:] + 0.5
        assert precision_recall(scale * x, scale * y) == precision_recall(x, y)
    with pytest.raises(ValueError, match=r"precision_recall .*1e\+160"):
        precision_recall(np.full((8, 2), 1e160), np.ones((8, 2)))
    with pytest.raises(ValueError, match=r"kernel_distance .*1e\+120"):
        kernel_distance(np.full((20, 2), 1e120), np.ones((20, 2)))
    huge = np.random.default_rng(0).normal(size=(20, 2))
    ratio = kernel_distance(1e30 * huge, -1e30 * huge).standard_error
    assert np.isfinite(ratio)
    assert active_units([[1e300, 1e300], [-1e300, 1e300]]) == 1


def test_curves_of_any_size():
    points = [("none", 0.0, 0, 0.9), ("blur", 1.0, 0, -1e200), ("blur", 1.0, 1, 1e200)]
    curve = pd.DataFrame(points, columns=["corruption", "level", "repeat", "score"])
    with pytest.raises(ValueError, match=r"robustness_summary .*1e\+200"):
        robustness_summary(curve)
    for bad in (None, 5.0, [0.9]):
        with pytest.raises(TypeError, match="curve must be a DataFrame"):
            robustness_summary(bad)
        with pytest.raises(TypeError, match="curve must be a DataFrame"):
            corruption_errors(bad, curve)


def test_comparisons_do_not_depend_on_the_unit_of_scores():
    def compare(unit):
        models = (FITTED[VAETransformer], FITTED[VIMAETransformer])
        return (
            compare_robustness(
                *models,
                ROWS,
                None,
                [GaussianNoise(0.5)],
                row_score=lambda model, X, y: unit * model.score_samples(X),
                random_state=0,
            )
            .select_dtypes("number")
            .to_numpy()[:, 1:]
        )

    unit = 2.0**400
    assert compare(unit) / unit == pytest.approx(compare(1.0), rel=1e-12)


@pytest.mark.parametrize("bad", [5.0, np.array(5.0), None])
def test_arguments_without_rows_are_refused(bad):
    for function in (frechet_distance, kernel_distance, precision_recall):
        for pair in ((bad, ROWS), (ROWS, bad)):
            with pytest.raises(ValueError, match=r"must hold rows, .*Got"):
                function(*pair)
    with pytest.raises(ValueError, match="X must hold rows"):
        reconstruction_error(bad, bad)
    with pytest.raises(ValueError, match=r"Expected 2D array"):
        robustness_curve(FITTED[VAETransformer], bad, bad, [GaussianNoise()])
    with pytest.raises(ValueError, match=r"1d array|None"):
        mask_labels(bad, 2)
    if bad is not None:
        with pytest.raises(ValueError, match="y must hold one label per row"):
            robustness_curve(FITTED[VAETransformer], ROWS, bad, [GaussianNoise()])


@pytest.mark.parametrize("size", [1e12, 1e25, 1e100])
def test_a_row_beside_which_no_other_can_be_told_apart_is_refused(size):
    rows = np.random.default_rng(0).normal(size=(60, 6))
    labels = np.where(np.arange(60) < 20, rows[:, 0] > 0, -1)
    rows[30] *= size
    with pytest.raises(ValueError, match="the features of row 30 have a norm of"):
        TransductiveSVC(kernel="linear", safe=False).fit(rows, labels)
    rows[30] /= size / 1e8
    model = TransductiveSVC(kernel="linear", safe=False).fit(rows, labels)
    assert model.score(rows[:20], labels[:20]) >= 0.9
