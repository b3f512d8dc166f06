"""Modes that a caller has set change nothing that is computed, copied, saved or loaded."""

import contextlib
import copy
import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import sklearn
import torch
from sklearn.base import clone
from sklearn.metrics.pairwise import rbf_kernel
from sklearn.preprocessing import MaxAbsScaler
from test_common import (
    ESTIMATORS,
    X,
    assert_same,
    fit,
    fitted_once,
    results,
)
from torch import nn

import skvim
from skvim._modes import own_modes
from skvim.inspection import LatentDisplay, ReconstructionDisplay, SamplesDisplay
from skvim.metrics import (
    active_units,
    compare_robustness,
    corruption_errors,
    mean_corruption_error,
    robustness_curve,
    robustness_summary,
)
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
from skvim.semi_supervised import TransductiveSVC


@contextlib.contextmanager
def restored(set_mode, value, before):
    """Set a mode of the process for a while."""
    set_mode(value)
    try:
        yield
    finally:
        set_mode(before)


MODES = {
    "inference_mode": torch.inference_mode,
    "no_grad": torch.no_grad,
    "autocast": lambda: torch.autocast("cpu", torch.bfloat16),
    "float64": lambda: restored(torch.set_default_dtype, torch.float64, torch.float32),
    "float16": lambda: restored(torch.set_default_dtype, torch.float16, torch.float32),
    "meta": lambda: torch.device("meta"),
    "default device": lambda: restored(torch.set_default_device, "meta", None),
    "raising": lambda: np.errstate(all="raise"),
    "finite": lambda: sklearn.config_context(assume_finite=True, skip_parameter_validation=True),
    "frames": lambda: sklearn.config_context(transform_output="pandas"),
    "deterministic": lambda: restored(torch.use_deterministic_algorithms, True, False),
}


def save_and_load(estimator, folder):
    skvim.save(estimator, folder / "model.skvim")
    return skvim.load(folder / "model.skvim", device="cpu")


COPIES = {
    "fit": lambda estimator, folder: fit(clone(estimator)),
    "copy": lambda estimator, folder: copy.deepcopy(estimator),
    "pickle": lambda estimator, folder: pickle.loads(pickle.dumps(estimator)),
    "unpickle": lambda estimator, folder: pickle.loads((folder / "model.pickle").read_bytes()),
    "file": save_and_load,
    "load": lambda estimator, folder: skvim.load(folder / "before.skvim", device="cpu"),
}


def scored(estimator):
    """Return everything that an estimator computes, information included."""
    # Of far rows, kernels underflow.
    found = [*results(estimator), *results(estimator, (1000 * X).astype(np.float32))]
    if hasattr(estimator, "predict"):
        found.append(estimator.predict(X))
    if hasattr(estimator, "information"):
        found += [np.array(value) for value in vars(estimator.information(X)).values()]
        found += [estimator.inverse_transform(estimator.transform(X)), estimator.score(X)]
    return found


def tensors(estimator):
    """Return all tensors of a fitted net."""
    if not hasattr(estimator, "net_"):
        return []
    modules = (estimator.net_.autoencoder, estimator.net_.objective)
    return [tensor for module in modules for tensor in module.state_dict(keep_vars=True).values()]


def assert_trainable(estimator):
    for tensor in tensors(estimator):
        assert not tensor.is_inference()
        assert tensor.device.type == "cpu"
        assert isinstance(tensor, nn.Parameter) == tensor.requires_grad


@pytest.mark.trust("Modes of torch, NumPy and scikit-learn that the caller has set change nothing.")
@pytest.mark.parametrize("cls", ESTIMATORS)
def test_modes_of_the_caller_change_nothing(cls, amount, tmp_path):
    fitted = fitted_once(cls)
    expected = scored(fitted)
    fitted.save(tmp_path / "before.skvim")
    (tmp_path / "model.pickle").write_bytes(pickle.dumps(fitted))
    names, first = list(MODES), ESTIMATORS.index(cls)
    for i in range(amount("caller's modes tried", quick=2, full=len(MODES))):
        with MODES[names[(first + i) % len(names)]]():
            assert_same(scored(fitted), expected)
            made = {way: make(fitted, tmp_path) for way, make in COPIES.items()}
            for estimator in made.values():
                results(estimator)  # fills what it caches
        for estimator in made.values():
            assert_same(scored(estimator), expected)
            assert_trainable(estimator)
        assert_same(scored(fitted), expected)


def test_methods_restore_how_the_caller_handles_floating_point_errors():
    labels = np.digitize(X[:, 0], [0.0])
    model = TransductiveSVC(probability=True, n_components=20, random_state=0, safe=False)

    def nested(rows, others):
        """Compute a kernel that calls a decorated method itself."""
        made.predict(X[:1])
        return rbf_kernel(rows, others)

    def changed(number):
        """Return what calls leave behind in one thread."""
        with np.errstate(all="ignore" if number % 2 else "raise"):
            before = np.geterr()
            after = []
            for method in ("predict", "predict_proba", "decision_function"):
                for _ in range(20):
                    getattr(made, method)(X[:5])
                    after.append(np.geterr())
            return [state for state in after if state != before]

    with np.errstate(all="raise"):
        before = np.geterr()
        made = model.fit(X, labels)
        assert np.geterr() == before
        TransductiveSVC(kernel=nested, n_components=20, random_state=0, safe=False).fit(
            X, labels
        ).predict(X)
        assert np.geterr() == before
    assert changed(0) == []
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(changed, range(8))) == [[]] * 8


# Squares of these numbers, and products of some of them, are below the normal range of float64.
SMALL = np.random.default_rng(0).uniform(1, 2, size=(12, 16)) * 1e-307
SMALLER = {np.float32: (SMALL * 1e270).astype(np.float32), np.float64: SMALL}
SHAPE = {"image_shape": (4, 4)}
NOISES = [
    GaussianNoise(1e-38),
    MaskingNoise(0.5),
    SwapNoise(0.5, groups=(0, 0, *range(14))),
    SaltPepperNoise(0.5),
    MissingFeaturesNoise(0.5),
    OcclusionNoise(2, **SHAPE),
    BlurNoise(1.0, **SHAPE),
    ContrastNoise(0.5, **SHAPE),
    BrightnessNoise(1e-38),
    AugmentationNoise(**SHAPE),
]
WIDE = SMALL.astype(np.longdouble) * np.longdouble(1e-10)


@pytest.mark.parametrize("noise", NOISES, ids=lambda noise: type(noise).__name__)
@pytest.mark.parametrize("dtype", SMALLER)
def test_tiny_values_are_corrupted_whatever_the_caller_does_about_underflow(noise, dtype):
    noise, rows = clone(noise).set_params(when="both", random_state=0), SMALLER[dtype]

    def corrupted():
        of_rows = [noise.fit_transform(rows), noise.transform(rows)]
        of_given = [noise.corrupt(rows, np.random.default_rng(0)), noise.fit(WIDE).transform(WIDE)]
        return of_rows + of_given

    expected = corrupted()
    with np.errstate(all="raise"):
        assert_same(corrupted(), expected)


def tiny_scores(estimator, rows, y):
    return 1e-160 * (1 + np.asarray(rows)[:, 0] * estimator.scale_)


def of_curves():
    """Return everything that is computed from tiny scores of rows."""
    rows = np.random.default_rng(0).normal(size=(12, 1))
    models = [MaxAbsScaler().fit(rows), MaxAbsScaler().fit(2 * rows)]
    compared = compare_robustness(
        *models, rows, None, [GaussianNoise()], row_score=tiny_scores, random_state=0
    )
    curve, baseline = (
        robustness_curve(
            model,
            rows,
            None,
            [GaussianNoise()],
            scoring=lambda *given: tiny_scores(*given)[:3].mean() - 1e-150,
            random_state=0,
        )
        for model in models
    )
    found = [compared, curve, robustness_summary(curve).drop(columns="corruption")]
    found.append(corruption_errors(curve, baseline, best_score=0.0))
    found.append(mean_corruption_error(curve, baseline, best_score=0.0))
    tables = [table.drop(columns="corruption", errors="ignore") for table in found[:2]]
    return [*map(np.asarray, tables), *map(np.asarray, found[2:])]


def test_metrics_of_tiny_values_are_those_without_an_error_handling_of_the_caller():
    def found():
        active = [active_units(SMALL * factor, 1e-300) for factor in (1, 1e100, 1e157)]
        return [*of_curves(), np.array([*active, active_units(WIDE)])]

    expected = found()
    with np.errstate(all="raise"):
        assert_same(found(), expected)


def test_displays_of_tiny_values_are_drawn_whatever_the_caller_does_about_underflow():
    codes, images = SMALL * 1e147, SMALL.reshape(-1, 4, 4)

    def pictures():
        drawn = [
            LatentDisplay(codes).plot(),
            SamplesDisplay(images, image_shape=(4, 4)).plot(),
            ReconstructionDisplay(images, images, image_shape=(4, 4)).plot(),
        ]
        figures = [display.figure_ for display in drawn]
        with np.errstate(under="ignore"):  # matplotlib's own arithmetic
            for figure in figures:
                figure.canvas.draw()
        return [np.asarray(figure.canvas.buffer_rgba()).copy() for figure in figures]

    expected = pictures()
    assert all(len(np.unique(picture)) > 1 for picture in expected)
    with np.errstate(all="raise"):
        assert_same(pictures(), expected)


def test_modes_that_an_interrupt_leaves_behind_are_set_back():
    with own_modes():
        torch.set_grad_enabled(False)
        torch.set_autocast_enabled("cpu", True)
        np.seterr(over="ignore")
    assert torch.is_grad_enabled()
    assert not torch.is_autocast_enabled("cpu")
    assert np.geterr()["over"] == "warn"
