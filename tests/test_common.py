"""What every public estimator has to do, each test over all of them."""

import copy
import functools
import importlib
import inspect
import os
import pickle
import pkgutil
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import sklearn
import torch
from scipy import sparse
from sklearn.base import BaseEstimator, clone, is_classifier
from sklearn.decomposition import PCA
from sklearn.impute import KNNImputer
from sklearn.semi_supervised import LabelSpreading
from sklearn.utils import get_tags
from sklearn.utils.estimator_checks import check_estimator, estimator_checks_generator

import skvim
from skvim import noise, semi_supervised
from skvim.exceptions import TrainingDivergedError
from skvim.noise import BlurNoise, BrightnessNoise, ContrastNoise, MissingFeaturesNoise

# Estimators of these packages wrap another one; their own tests apply the checks that fit them.
TESTED_ELSEWHERE = ["skvim.engine", "skvim.model_selection"]

# Whether unlabelled rows help does not matter here.
pytestmark = pytest.mark.filterwarnings("ignore::skvim.exceptions.NoGainWarning")


def estimators_of(module) -> list[type]:
    """Return the estimators that a module makes public."""
    members = (getattr(module, name) for name in module.__all__)
    return [
        member
        for member in members
        if inspect.isclass(member)
        and issubclass(member, BaseEstimator)
        and not inspect.isabstract(member)
    ]


ESTIMATORS = [cls for module in (skvim, noise, semi_supervised) for cls in estimators_of(module)]
AUTOENCODERS = [cls for cls in ESTIMATORS if hasattr(cls, "reconstruct")]
NOISES = [cls for cls in ESTIMATORS if hasattr(cls, "corrupt")]
CLASSIFIERS = [cls for cls in ESTIMATORS if hasattr(cls, "predict")]
IMPUTERS = [skvim.AutoencoderImputer]
WITHOUT_DRAWS = [BlurNoise, BrightnessNoise, ContrastNoise]
TRANSFORMERS = [*AUTOENCODERS, *NOISES, *IMPUTERS]

# scikit-learn spares its own semi-supervised classifiers, by their names, from this check: it
# feeds the labels {-1, 1}, of which -1 marks unlabelled rows.
EXEMPT = {"check_classifiers_classes": "-1 marks an unlabelled row"}
# Checks that compare two calls, which scikit-learn leaves out for random output; tests of the
# noise replace them.
COMPARE_TWO_CALLS = {
    "check_methods_sample_order_invariance",
    "check_methods_subset_invariance",
    "check_pipeline_consistency",
    "check_transformer_data_not_an_array",
    "check_transformer_general",
}

by_estimator = pytest.mark.parametrize("cls", ESTIMATORS, ids=lambda cls: cls.__name__)
by_transformer = pytest.mark.parametrize("cls", TRANSFORMERS, ids=lambda cls: cls.__name__)
by_autoencoder = pytest.mark.parametrize("cls", AUTOENCODERS, ids=lambda cls: cls.__name__)


def rows(n: int = 40, d: int = 4, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, d))


X = rows()
Y = np.where(X[:, 0] > 0, 1, 0)
Y[10:] = -1
NAMED = pd.DataFrame(X, columns=["a", "b", "c", "d"])


def few_epochs(cls: type):
    """Return an instance with its defaults but for a small network and a short training."""
    if cls in IMPUTERS:
        return cls(few_epochs(skvim.DenoisingAETransformer).set_params(likelihood="auto"))
    return cls(hidden_layer_sizes=(16,), max_epochs=2) if cls in AUTOENCODERS else cls()


def small(cls: type, **parameters):
    """Return a fast instance with a seed."""
    if cls in IMPUTERS:
        model = small(skvim.DenoisingAETransformer, likelihood="auto", random_state=None)
        parameters = {"estimator": model} | parameters
    if cls in AUTOENCODERS:
        parameters = {"n_components": 2, "hidden_layer_sizes": (8,), "max_epochs": 3} | parameters
    if cls is MissingFeaturesNoise:  # four columns leave two seeds few ways to differ
        parameters = {"per_row": True} | parameters
    return cls(**{"random_state": 0} | parameters)


def fit(estimator, data=X):
    """Fit, with labels of which most are missing where labels are needed."""
    return estimator.fit(data, Y if is_classifier(estimator) else None)


def with_holes(data):
    """Return rows of which some cells are missing."""
    missing = np.random.default_rng(1).random(np.shape(data)) < 0.2
    is_frame = isinstance(data, pd.DataFrame)
    return data.mask(missing) if is_frame else np.where(missing, np.nan, data)


def results(estimator, data=X) -> list[np.ndarray]:
    """Everything that a fitted estimator computes from rows; imputers fill some of their cells."""
    data = with_holes(data) if type(estimator) in IMPUTERS else data
    names = ["transform", "posterior_moments", "reconstruct", "score_samples", "decision_function"]
    outputs = [getattr(estimator, name)(data) for name in names if hasattr(estimator, name)]
    if hasattr(estimator, "sample"):
        outputs.append(estimator.sample(5, random_state=3))
    return [
        np.asarray(part)
        for output in outputs
        for part in (output if isinstance(output, tuple) else [output])
    ]


@functools.cache
def fitted_once(cls: type):
    """Return ``fit(small(cls))``, shared between tests: none may change it."""
    return fit(small(cls))


@functools.cache
def fitted_on_named_columns(cls: type):
    """Return a fit to a frame, shared between tests: none may change it."""
    return fit(small(cls), NAMED)


@functools.cache
def expected_results(cls: type) -> list[np.ndarray]:
    """Return the results of ``fitted_once(cls)``."""
    return results(fitted_once(cls))


def assert_same(first: list[np.ndarray], second: list[np.ndarray]) -> None:
    assert len(first) == len(second) > 0
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a, b)


def global_states():
    numpy_state = np.random.get_state(legacy=False)["state"]  # noqa: NPY002
    return numpy_state["key"].tobytes(), numpy_state["pos"], torch.get_rng_state().numpy().tobytes()


def test_every_public_estimator_is_tested():
    public = [
        cls
        for package in pkgutil.iter_modules(skvim.__path__, "skvim.")
        if "._" not in package.name and package.name not in TESTED_ELSEWHERE
        for cls in estimators_of(importlib.import_module(package.name))
    ]
    assert {*public, *estimators_of(skvim)} == set(ESTIMATORS)
    assert len({*AUTOENCODERS, *NOISES, *CLASSIFIERS, *IMPUTERS}) == len(ESTIMATORS)


def check_names(estimator) -> set[str]:
    """Return the names of the checks that scikit-learn holds an estimator to."""
    return {check.func.__name__ for _, check in estimator_checks_generator(estimator)}


@pytest.mark.filterwarnings("ignore::skvim.exceptions.SkvimWarning")  # pure noise does collapse
@by_estimator
def test_scikit_learn_checks_pass_and_are_those_of_its_own_estimators(cls):
    """A wrong tag would turn checks off in silence, so that passing all that run is not enough."""
    exempt = EXEMPT if cls in CLASSIFIERS else {}
    records = check_estimator(
        few_epochs(cls), expected_failed_checks=exempt, on_fail=None, on_skip=None
    )
    failures = {r["check_name"]: str(r["exception"]) for r in records if r["status"] == "failed"}
    assert failures == {}
    passed = {r["check_name"] for r in records if r["status"] == "passed"}
    counterpart = {semi_supervised.TransductiveSVC: LabelSpreading(), IMPUTERS[0]: KNNImputer()}
    expected = check_names(counterpart.get(cls, PCA())) - set(exempt)
    if cls in NOISES:
        expected -= COMPARE_TWO_CALLS
    # These need an environment variable: see the next test.
    assert {name for name in expected - passed if "array_api" not in name} == set()


@pytest.mark.slow
def test_the_check_of_other_array_libraries_passes_too():
    """scikit-learn runs it only where SciPy was imported with SCIPY_ARRAY_API."""
    script = """
from test_common import ESTIMATORS, estimator_checks_generator, few_epochs
for cls in ESTIMATORS:
    ran = 0
    for estimator, check in estimator_checks_generator(few_epochs(cls)):
        if check.func.__name__ == "check_array_api_input":
            check(estimator)
            ran += 1
    print(cls.__name__, ran)
"""
    folder = str(Path(__file__).parent)
    paths = os.pathsep.join(filter(None, [folder, os.environ.get("PYTHONPATH")]))
    environment = {**os.environ, "SCIPY_ARRAY_API": "1", "PYTHONPATH": paths}
    command = [sys.executable, "-W", "error", "-c", script]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    # Older versions of scikit-learn hold only estimators with this support to it.
    n_checks = int("check_array_api_input" in check_names(LabelSpreading()))
    assert done.stdout.split() == [
        word for cls in ESTIMATORS for word in (cls.__name__, str(n_checks))
    ]


@by_estimator
def test_tags(cls):
    tags = get_tags(cls())
    assert tags.non_deterministic is (cls in NOISES)
    assert tags.input_tags.allow_nan is (cls in IMPUTERS)
    assert not tags.no_validation
    if cls in TRANSFORMERS:
        assert tags.transformer_tags.preserves_dtype == ["float64", "float32"]
    else:
        assert tags.estimator_type == "classifier"
        assert tags.classifier_tags.multi_class


@by_estimator
def test_constructor_is_explicit_documented_and_stores_untouched(cls):
    signature = inspect.signature(cls.__init__)
    names = [name for name in signature.parameters if name != "self"]
    kinds = {parameter.kind for parameter in signature.parameters.values()}
    assert kinds <= {inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY}
    assert "__init__" in vars(cls), "the class lacks its decorator"
    assert set(names) == set(cls._parameter_constraints)
    for name in names:
        assert f"\n{name} : " in cls.__doc__
        marker = object()
        assert getattr(cls(**{name: marker}), name) is marker


@by_estimator
def test_an_unknown_parameter_is_refused_by_name(cls):
    with pytest.raises(TypeError, match="betta"):
        cls(betta=1)


@by_estimator
@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda e: pickle.loads(pickle.dumps(e))])
def test_copies_of_a_fitted_estimator_give_the_same(cls, duplicate):
    assert_same(results(duplicate(fitted_once(cls))), expected_results(cls))


@by_estimator
def test_the_same_seed_a_clone_and_a_second_fit_repeat_bit_by_bit(cls):
    again = fit(clone(fitted_once(cls)))
    assert_same(results(again), expected_results(cls))
    assert_same(results(fit(again)), expected_results(cls))
    same = [results(fit(small(cls, random_state=np.random.RandomState(5)))) for _ in range(2)]
    assert_same(*same)


@pytest.mark.filterwarnings("ignore::skvim.exceptions.ChainLostWarning")  # of a drawn seed
@by_transformer
def test_another_seed_differs(cls):
    outputs = [results(fit(small(cls, random_state=seed)))[0] for seed in (0, 1, None, None)]
    for i, first in enumerate(outputs):
        for second in outputs[i + 1 :]:
            assert np.array_equal(first, second) is (cls in WITHOUT_DRAWS)


@by_estimator
@pytest.mark.parametrize("random_state", [0, None])
def test_global_generators_are_untouched(cls, random_state):
    before = global_states()
    results(fit(small(cls, random_state=random_state)))
    assert global_states() == before


@by_estimator
def test_global_seeds_change_nothing(cls):
    expected = expected_results(cls)
    np.random.seed(1)  # noqa: NPY002
    torch.manual_seed(1)
    assert_same(results(fit(small(cls))), expected)


@by_estimator
@pytest.mark.numerics
def test_fits_in_threads_repeat(cls):
    expected = expected_results(cls)
    with ThreadPoolExecutor(4) as pool:
        for outputs in pool.map(lambda _: results(fit(small(cls))), range(4)):
            assert_same(outputs, expected)


@by_estimator
def test_input_is_not_modified_and_may_be_read_only(cls):
    data = X.copy()
    data.flags.writeable = False
    results(fit(small(cls), data), data)
    np.testing.assert_array_equal(data, X)


LAYOUTS = {
    "backwards": lambda data: data[::-1][::-1],
    "columns backwards": lambda data: data[:, ::-1][:, ::-1],
    "by columns": np.asfortranarray,
    "strided": lambda data: np.repeat(data, 2, axis=0)[::2],
    "big-endian": lambda data: data.astype(">f8"),
    "list": lambda data: data.tolist(),
    "frame": pd.DataFrame,
}


@by_estimator
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.numerics
def test_layout_in_memory_does_not_matter(cls, layout):
    data = LAYOUTS[layout](X)
    assert_same(results(fit(small(cls), data), data), expected_results(cls))


BAD_ROWS = {
    "nan": (np.where(X[0, 0] == X, np.nan, X), "NaN"),
    "infinity": (np.where(X[0, 0] == X, np.inf, X), "[Ii]nfinity"),
    "no features": (np.empty((40, 0)), r"0 feature\(s\)"),
    "no rows": (np.empty((0, 4)), r"0 sample\(s\)"),
    "strings": (np.full((40, 4), "a"), "could not convert string to float"),
    "complex": (X + 1j, "Complex data not supported"),
    "one dimension": (X[:, 0], "Expected 2D array"),
}


@by_estimator
@pytest.mark.parametrize("bad", BAD_ROWS)
def test_bad_rows_are_refused_and_leave_the_fitted_model(cls, bad):
    if cls in IMPUTERS and bad in ("nan", "strings"):
        return  # tables may hold them
    data, message = BAD_ROWS[bad]
    estimator = copy.deepcopy(fitted_on_named_columns(cls))
    before = results(estimator, NAMED)
    with pytest.raises(ValueError, match=message):
        fit(estimator, data)
    assert list(estimator.feature_names_in_) == list(NAMED.columns)
    assert_same(results(estimator, NAMED), before)


@by_autoencoder
def test_one_row_is_too_few_to_train(cls):
    with pytest.raises(ValueError, match=r"1 sample.* while a minimum of 2 is required"):
        fit(small(cls), X[:1])


@by_estimator
def test_sparse_rows_are_taken_or_clearly_refused(cls):
    data = sparse.csr_array(X)
    if get_tags(small(cls)).input_tags.sparse:
        fit(small(cls), data)
        return
    with pytest.raises(TypeError, match="dense data is required"):
        fit(small(cls), data)


@by_estimator
def test_other_columns_are_refused_after_fit(cls):
    method = "transform" if cls in TRANSFORMERS else "predict"
    use = getattr(fitted_on_named_columns(cls), method)
    with pytest.raises(ValueError, match="feature names should match"):
        use(NAMED.rename(columns={"a": "z"}))
    with pytest.raises(ValueError, match="Feature names must be in the same order"):
        use(NAMED[["b", "a", "c", "d"]])
    with pytest.raises(ValueError, match=r"3 features, but .* expecting 4"):
        getattr(fitted_once(cls), method)(X[:, :3])


BAD_PARAMETERS = [
    ("n_components", 0),
    ("n_components", 2.5),
    ("likelihood", "poisson"),
    ("prior", "cauchy"),
    ("posterior", "cauchy"),
    ("divergence", "kl2"),
    ("output", "median"),
    ("lam", -1),
    ("lam", "large"),
    ("beta", -0.5),
    ("alpha", 1.5),
    ("capacity", -1.0),
    ("gamma", -1.0),
    ("warmup", 1.5),
    ("radius", 0.0),
    ("lr_schedule", "linear"),
    ("network", "cnn"),
    ("normalization", "group"),
    ("dropout", 1.0),
    ("image_shape", 8),
    ("pretraining", -1),
    ("noise", "pepper"),
    ("activation", "step"),
    ("max_epochs", 0),
    ("lr", 0),
    ("batch_size", 0),
    ("early_stopping", "yes"),
    ("validation_fraction", 0.0),
    ("validation_fraction", 1.0),
    ("n_iter_no_change", 0),
    ("n_iter_no_change", 2.5),
    ("n_steps_no_change", -1),
    ("tol", -1e-4),
    ("optimizer", "newton"),
    ("callbacks", "all"),
    ("net_params", [1]),
    ("device", 0),
    ("precision", "float16"),
    ("acceleration", "jit"),
    ("random_state", "seed"),
    ("hidden_layer_sizes", 8),
    ("verbose", -1),
    ("scale", -0.1),
    ("rate", 1.5),
    ("when", "never"),
    ("size", -1),
    ("size", 1.5),
    ("sigma", -0.1),
    ("reduction", 1.5),
    ("shift", np.inf),
    ("value", "mean"),
    ("value", np.inf),
    ("value_range", 255),
    ("per_row", "yes"),
    ("C", 0),
    ("kernel", "fourier"),
    ("estimator", "mean"),
]


@by_estimator
def test_bad_parameters_are_named_in_fit_and_leave_the_fitted_model(cls):
    estimator = copy.deepcopy(fitted_once(cls))
    defaults = estimator.get_params()
    for name, value in BAD_PARAMETERS:
        if name not in defaults:
            continue
        estimator.set_params(**{name: value})
        message = rf"'{name}' .* {cls.__name__} .*Got {re.escape(repr(value))}"
        with pytest.raises(ValueError, match=message):
            fit(estimator)
        estimator.set_params(**{name: defaults[name]})
    assert_same(results(estimator), expected_results(cls))


def test_every_parameter_with_bad_values_belongs_to_an_estimator():
    parameters = {name for cls in ESTIMATORS for name in inspect.signature(cls).parameters}
    assert {name for name, _ in BAD_PARAMETERS} <= parameters


@pytest.mark.filterwarnings("ignore::skvim.exceptions.ChainLostWarning")  # a chain may be lost
@by_autoencoder
@pytest.mark.parametrize("lr", [1.0, 1e4, 1e38])
@pytest.mark.parametrize("unit", [1e-12, 1e12])
def test_results_are_finite_or_the_fit_says_that_it_diverged(cls, lr, unit):
    data = unit * X
    estimator = small(cls, lr=lr, max_epochs=1)  # one step, after which no loss is computed
    try:
        fit(estimator, data)
    except TrainingDivergedError:
        assert not hasattr(estimator, "net_")
        return
    numbers = [estimator.score(data), *vars(estimator.information(data)).values()]
    found = [*results(estimator, data), *results(estimator, data.astype(np.float32)), *numbers]
    assert all(np.isfinite(result).all() for result in found if result is not None)


@by_transformer
def test_pandas_output_has_names(cls):
    named = NAMED.set_index(np.arange(100, 140))
    estimator = small(cls).set_output(transform="pandas")
    frame = estimator.fit(named).transform(named)
    assert list(frame.columns) == list(estimator.get_feature_names_out())
    assert (frame.index == named.index).all()
    stem = cls.__name__.lower()
    expected = [f"{stem}0", f"{stem}1"] if cls in AUTOENCODERS else ["a", "b", "c", "d"]
    assert list(frame.columns) == expected


@by_estimator
def test_methods_of_an_unfitted_estimator_say_so(cls):
    estimator = small(cls)
    names = ["transform", "inverse_transform", "reconstruct", "posterior_moments", "score_samples"]
    for name in [*names, "predict", "decision_function"]:
        if hasattr(estimator, name):
            with pytest.raises(sklearn.exceptions.NotFittedError):
                getattr(estimator, name)(X)
    if hasattr(estimator, "sample"):
        with pytest.raises(sklearn.exceptions.NotFittedError):
            estimator.sample()


@by_autoencoder
def test_codes_of_another_width_are_refused(cls):
    with pytest.raises(ValueError, match=r"X has 3 columns, but .* fitted with n_components=2"):
        fitted_once(cls).inverse_transform(np.zeros((2, 3)))
