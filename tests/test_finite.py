"""Finite numbers of any size give finite results, or an error that names what is too large."""

import dataclasses
import warnings

import numpy as np
import pandas as pd
import pytest
from family import MODELS
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy import sparse

from skvim import VAETransformer, noise
from skvim.metrics import (
    active_units,
    frechet_distance,
    kernel_distance,
    log_likelihood,
    precision_recall,
    reconstruction_error,
)
from skvim.noise import BlurNoise, GaussianNoise
from skvim.semi_supervised import TransductiveSVC

ROWS = np.random.default_rng(0).normal(size=(24, 4))
LABELS = np.r_[0, 1, 2, 0, 1, 2, np.full(18, -1)]
SMALL = {"hidden_layer_sizes": (8,), "max_epochs": 2, "random_state": 0}
FITTED = {cls: cls(2, **SMALL).fit(ROWS) for cls in MODELS}
METHODS = ["transform", "posterior_moments", "reconstruct", "score_samples", "score", "information"]
SCALES = st.integers(-320, 308)
DTYPES = st.sampled_from([np.float32, np.float64])
PATTERNS = st.sampled_from(["all", "equal", "one value", "one feature", "two rows", "constant"])


def rows_of(pattern, exponent, dtype=np.float64):
    """Return finite rows in which some values are of a size."""
    most, size = float(np.finfo(dtype).max), float(f"1e{exponent}")
    rows = ROWS.copy()
    if pattern == "all":
        rows = np.clip(rows, -1, 1) * size
    elif pattern == "equal":
        rows[:] = size
    elif pattern == "one value":
        rows[3, 1] = size
    elif pattern == "one feature":
        rows[:, 2] = -size
    elif pattern == "two rows":
        rows[3], rows[4] = size, -size
    else:
        rows[:] = np.clip(rows[:1], -1, 1) * size
    return np.clip(rows, -most, most).astype(dtype)


def numbers_in(result):
    """Yield the numbers of a result of any kind."""
    if isinstance(result, tuple | list):
        for part in result:
            yield from numbers_in(part)
    elif dataclasses.is_dataclass(result):
        yield from numbers_in([getattr(result, f.name) for f in dataclasses.fields(result)])
    elif isinstance(result, pd.DataFrame | pd.Series):
        yield from numbers_in(pd.DataFrame(result).select_dtypes("number").to_numpy())
    elif result is not None and not isinstance(result, str):
        yield np.asarray(result, dtype=np.float64)


def check(compute, *, undefined_allowed=False):
    """Check that finite input gives finite numbers, or an error about the values.

    ``undefined_allowed`` is for NaN that documentation promises, as standard errors of one row.
    """
    result, error = None, None
    try:
        result = compute()
    except ValueError as raised:
        error = raised
    assert not isinstance(error, np.linalg.LinAlgError)
    assert not any(text in str(error) for text in ("NaN", "Input contains", "array must not"))
    for numbers in numbers_in(result):
        defined = ~np.isnan(numbers) if undefined_allowed else np.full(numbers.shape, True)
        assert np.isfinite(numbers[defined]).all()


def search(amount, full):
    """Return settings of a search: its share of all cases."""
    cases = amount("hypothesis cases", quick=max(3, full * 60 // 10_000), full=full)
    return settings(
        max_examples=cases,
        database=None,
        derandomize=True,
        suppress_health_check=[HealthCheck.too_slow],
    )


trust = pytest.mark.trust("Finite numbers of any size give finite results, or an error.")


@trust
def test_methods_of_autoencoders(amount):
    @search(amount, 3000)
    @given(st.sampled_from(MODELS), st.sampled_from(METHODS), PATTERNS, SCALES, DTYPES)
    def run(cls, method, pattern, exponent, dtype):
        model = FITTED[cls]
        if hasattr(model, method):
            check(lambda: getattr(model, method)(rows_of(pattern, exponent, dtype)))
        check(lambda: model.inverse_transform(rows_of(pattern, exponent, dtype)[:, :2]))

    run()


@trust
def test_fits_of_autoencoders(amount):
    @search(amount, 1000)
    @given(st.sampled_from(MODELS), PATTERNS, SCALES, DTYPES)
    def run(cls, pattern, exponent, dtype):
        rows = rows_of(pattern, exponent, dtype)

        def compute():
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)
                model = cls(2, **SMALL | {"max_epochs": 1}).fit(rows)
            return model.transform(rows), model.reconstruct(rows), model.loss_curve_

        check(compute)

    run()


@trust
def test_transductive_svm(amount):
    @search(amount, 1500)
    @given(
        st.sampled_from(["rbf", "poly", "linear"]),
        st.sampled_from(["scale", 0.1, 1e-300, 1e300]),
        st.sampled_from(["auto", 2]),
        st.sampled_from([2, 3]),
        st.booleans(),
        PATTERNS,
        SCALES,
    )
    def run(kernel, gamma, n_components, n_classes, is_sparse, pattern, exponent):
        model = TransductiveSVC(
            kernel=kernel,
            gamma=gamma,
            n_components=n_components,
            random_state=0,
            max_iter=50,
            safe=False,
        )
        convert = sparse.csr_array if is_sparse else np.asarray
        rows = convert(rows_of(pattern, exponent))
        labels = np.minimum(LABELS, n_classes - 1)

        def compute(fitted_to):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)
                model.fit(fitted_to, labels)
            return model.decision_function(rows), model.objective_

        check(lambda: compute(rows))
        check(lambda: compute(convert(ROWS)))

    run()


@trust
def test_noise(amount):
    sizes = st.builds(lambda exponent: float(f"1e{exponent}"), SCALES)
    shape = {"image_shape": (2, 2)}

    @search(amount, 2500)
    @given(st.integers(0, 8), sizes, PATTERNS, SCALES, DTYPES)
    def run(kind, size, pattern, exponent, dtype):
        transformer = [
            lambda: GaussianNoise(size),
            lambda: noise.SaltPepperNoise(value_range=(-size, size)),
            lambda: noise.MissingFeaturesNoise(0.5, value=size),
            lambda: noise.OcclusionNoise(1, value=size, **shape),
            lambda: BlurNoise(size, **shape),
            lambda: noise.ContrastNoise(**shape),
            lambda: noise.BrightnessNoise(-size),
            lambda: noise.AugmentationNoise(shift=size, shear=size, contrast=0.5, **shape),
            lambda: noise.AugmentationNoise(brightness=size, tint=size, scale=size, **shape),
        ][kind]()
        rows = rows_of(pattern, exponent, dtype)
        check(lambda: transformer.set_params(random_state=0).fit(rows).transform(rows))

    run()


METRICS = {
    "frechet": lambda x, y: frechet_distance(x, y),
    "kernel": lambda x, y: kernel_distance(x, y),
    "neighbours": lambda x, y: precision_recall(x, y),
    "reconstruction": lambda x, y: reconstruction_error(x, y).to_frame(),
    "active units": lambda x, y: active_units(x),
    "importance": lambda x, y: log_likelihood(FITTED[VAETransformer], x, n_draws=5),
    "ais": lambda x, y: log_likelihood(
        FITTED[VAETransformer], x, method="ais", n_temperatures=4, n_chains=2
    ),
    "parzen": lambda x, y: log_likelihood(FITTED[VAETransformer], x, method="parzen", n_draws=5),
}


@trust
def test_metrics(amount):
    @search(amount, 2000)
    @given(st.sampled_from(sorted(METRICS)), PATTERNS, SCALES, PATTERNS, SCALES)
    def run(name, pattern, exponent, other_pattern, other_exponent):
        x, y = rows_of(pattern, exponent), rows_of(other_pattern, other_exponent)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            check(lambda: METRICS[name](x, y), undefined_allowed=name == "frechet")
            check(lambda: METRICS[name](x, x.copy()), undefined_allowed=name == "frechet")

    run()
