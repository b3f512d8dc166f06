"""What every public estimator has to do, each test over all of them."""

import copy
import inspect
import os
import pickle
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import pytest
import sklearn
import torch
from scipy import sparse
from sklearn.base import BaseEstimator, clone, is_classifier
from sklearn.utils import get_tags
from sklearn.utils.estimator_checks import check_estimator

import skvim
from skvim import noise, semi_supervised
from skvim.noise import BlurNoise, BrightnessNoise, ContrastNoise, MissingFeaturesNoise
from skvim.semi_supervised import TransductiveSVC

ESTIMATORS = [
    member
    for module in (skvim, noise, semi_supervised)
    for member in (getattr(module, name) for name in module.__all__)
    if inspect.isclass(member)
    and issubclass(member, BaseEstimator)
    and not inspect.isabstract(member)
]
AUTOENCODERS = [cls for cls in ESTIMATORS if hasattr(cls, "reconstruct")]
NOISES = [cls for cls in ESTIMATORS if hasattr(cls, "corrupt")]
WITHOUT_DRAWS = [BlurNoise, BrightnessNoise, ContrastNoise]
TRANSFORMERS = [*AUTOENCODERS, *NOISES]

# scikit-learn spares its own semi-supervised classifiers, by their names, from this check: it
# feeds the labels {-1, 1}, of which -1 marks unlabelled rows.
EXEMPT = {"check_classifiers_classes": "-1 marks an unlabelled row"}
# Checks that compare two calls, which scikit-learn skips for random output; tests of the noise
# replace them.
SKIPPED_FOR_RANDOM_OUTPUT = [
    "check_pipeline_consistency",
    "check_transformer_data_not_an_array",
    "check_transformer_general",
    "check_transformer_general",
]
NEEDS_ENVIRONMENT = "check_array_api_input"
# Checks that run under scikit-learn 1.9, the version of the constraints.
N_CHECKS = {
    "AAETransformer": 46,
    "AETransformer": 46,
    "BetaVAETransformer": 46,
    "CapacityVAETransformer": 46,
    "ContractiveAETransformer": 46,
    "DenoisingAETransformer": 46,
    "InfoVAETransformer": 46,
    "UncertaintyAETransformer": 46,
    "VAETransformer": 46,
    "VIMAETransformer": 46,
    "WAETransformer": 46,
    "AugmentationNoise": 40,
    "BlurNoise": 40,
    "BrightnessNoise": 40,
    "ContrastNoise": 40,
    "GaussianNoise": 40,
    "MaskingNoise": 40,
    "MissingFeaturesNoise": 40,
    "OcclusionNoise": 40,
    "SaltPepperNoise": 40,
    "TransductiveSVC": 53,
}

by_estimator = pytest.mark.parametrize("cls", ESTIMATORS, ids=lambda cls: cls.__name__)
by_transformer = pytest.mark.parametrize("cls", TRANSFORMERS, ids=lambda cls: cls.__name__)
by_autoencoder = pytest.mark.parametrize("cls", AUTOENCODERS, ids=lambda cls: cls.__name__)


def rows(n: int = 40, d: int = 4, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, d))


X = rows()
Y = np.where(X[:, 0] > 0, 1, 0)
Y[10:] = -1


def small(cls: type, **parameters):
    """Return a fast instance with a seed."""
    if cls in AUTOENCODERS:
        parameters = {"n_components": 2, "hidden_layer_sizes": (8,), "max_epochs": 3} | parameters
    if cls is MissingFeaturesNoise:  # four columns leave two seeds few ways to differ
        parameters = {"per_row": True} | parameters
    return cls(**{"random_state": 0} | parameters)


def fit(estimator, data=X):
    """Fit, with labels of which most are missing where labels are needed."""
    return estimator.fit(data, Y if is_classifier(estimator) else None)


def results(estimator, data=X) -> list[np.ndarray]:
    """Everything that a fitted estimator computes from rows."""
    names = ["transform", "posterior_moments", "reconstruct", "score_samples", "decision_function"]
    found = [getattr(estimator, name)(data) for name in names if hasattr(estimator, name)]
    if hasattr(estimator, "sample"):
        found.append(estimator.sample(5, random_state=3))
    return [
        np.asarray(part) for item in found for part in (item if isinstance(item, tuple) else [item])
    ]


def assert_same(first: list[np.ndarray], second: list[np.ndarray]) -> None:
    assert len(first) == len(second) > 0
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a, b)


def global_states():
    numpy_state = np.random.get_state(legacy=False)["state"]  # noqa: NPY002
    return numpy_state["key"].tobytes(), numpy_state["pos"], torch.get_rng_state().numpy().tobytes()


def test_every_public_estimator_is_tested():
    assert {cls.__name__ for cls in ESTIMATORS} == set(N_CHECKS)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::skvim.exceptions.SkvimWarning")  # pure noise does collapse
@by_estimator
def test_scikit_learn_checks(cls):
    expected_failures = EXEMPT if cls is TransductiveSVC else None
    records = check_estimator(
        cls(), expected_failed_checks=expected_failures, on_fail=None, on_skip=None
    )
    named = {status: [] for status in ("passed", "failed", "skipped", "xfail")}
    for record in records:
        named[record["status"]].append(record["check_name"])
    failures = {r["check_name"]: str(r["exception"]) for r in records if r["status"] == "failed"}
    assert failures == {}
    assert named["xfail"] == list(expected_failures or {})
    skipped = SKIPPED_FOR_RANDOM_OUTPUT if cls in NOISES else []
    assert sorted(set(named["skipped"]) - {NEEDS_ENVIRONMENT}) == sorted(set(skipped))
    if sklearn.__version__.startswith("1.9"):
        assert len(named["passed"]) == N_CHECKS[cls.__name__]
        assert sorted(named["skipped"]) == sorted([*skipped, NEEDS_ENVIRONMENT])
    assert len(named["passed"]) >= 38


@pytest.mark.slow
def test_the_check_that_needs_an_environment_variable_passes_too():
    script = f"""
from sklearn.utils.estimator_checks import estimator_checks_generator
from skvim import {", ".join(cls.__name__ for cls in AUTOENCODERS)}
from skvim.noise import {", ".join(cls.__name__ for cls in NOISES)}
from skvim.semi_supervised import TransductiveSVC
ran = 0
for cls in ({", ".join(cls.__name__ for cls in ESTIMATORS)}):
    for estimator, check in estimator_checks_generator(cls()):
        if "array_api" in str(check):
            check(estimator)
            ran += 1
print(ran)
"""
    environment = {**os.environ, "SCIPY_ARRAY_API": "1"}
    command = [sys.executable, "-W", "error", "-c", script]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    if sklearn.__version__.startswith("1.9"):
        assert int(done.stdout) == len(ESTIMATORS)


@by_estimator
def test_tags(cls):
    tags = get_tags(cls())
    assert tags.non_deterministic is (cls in NOISES)
    assert not tags.input_tags.allow_nan
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
    fitted = fit(small(cls))
    assert_same(results(fitted), results(duplicate(fitted)))


@by_estimator
def test_a_clone_trains_to_the_same(cls):
    first = fit(small(cls))
    assert_same(results(first), results(fit(clone(first))))


@by_estimator
def test_the_same_seed_repeats_bit_by_bit_and_refitting_too(cls):
    estimator = fit(small(cls))
    once = results(estimator)
    assert_same(once, results(fit(estimator)))
    same = [results(fit(small(cls, random_state=np.random.RandomState(5)))) for _ in range(2)]
    assert_same(*same)


@by_transformer
def test_another_seed_differs(cls):
    outputs = [fit(small(cls, random_state=seed)).transform(X) for seed in (0, 1, None, None)]
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
    outputs = []
    for seed in (0, 1):
        np.random.seed(seed)  # noqa: NPY002
        torch.manual_seed(seed)
        outputs.append(results(fit(small(cls))))
    assert_same(*outputs)


@by_estimator
@pytest.mark.numerics
def test_fits_in_threads_repeat(cls):
    expected = results(fit(small(cls)))
    with ThreadPoolExecutor(4) as pool:
        for outputs in pool.map(lambda _: results(fit(small(cls))), range(8)):
            assert_same(outputs, expected)


@by_estimator
def test_input_is_not_modified_and_may_be_read_only(cls):
    data = X.copy()
    data.flags.writeable = False
    estimator = fit(small(cls), data)
    results(estimator, data)
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
    assert_same(results(fit(small(cls), data), data), results(fit(small(cls))))


BAD_ROWS = {
    "nan": (np.where(X[0, 0] == X, np.nan, X), "NaN"),
    "infinity": (np.where(X[0, 0] == X, np.inf, X), "infinity"),
    "no features": (np.empty((40, 0)), r"0 feature\(s\)"),
    "no rows": (np.empty((0, 4)), r"0 sample\(s\)"),
    "strings": (np.full((40, 4), "a"), "could not convert string to float"),
    "complex": (X + 1j, "Complex data not supported"),
    "one dimension": (X[:, 0], "Expected 2D array"),
}


@by_estimator
@pytest.mark.parametrize("bad", BAD_ROWS)
def test_bad_rows_are_refused_and_leave_the_fitted_model(cls, bad):
    data, message = BAD_ROWS[bad]
    named = pd.DataFrame(X, columns=["a", "b", "c", "d"])
    estimator = fit(small(cls), named)
    before = results(estimator, named)
    with pytest.raises(ValueError, match=message):
        fit(estimator, data)
    assert list(estimator.feature_names_in_) == ["a", "b", "c", "d"]
    assert_same(results(estimator, named), before)


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
    named = pd.DataFrame(X, columns=["a", "b", "c", "d"])
    estimator = fit(small(cls), named)
    use = estimator.transform if cls in TRANSFORMERS else estimator.predict
    with pytest.raises(ValueError, match="feature names should match"):
        use(named.rename(columns={"a": "z"}))
    with pytest.raises(ValueError, match="Feature names must be in the same order"):
        use(named[["b", "a", "c", "d"]])


@by_estimator
def test_another_number_of_columns_is_refused_after_fit(cls):
    estimator = fit(small(cls))
    use = estimator.transform if cls in TRANSFORMERS else estimator.predict
    with pytest.raises(ValueError, match=r"3 features, but .* expecting 4"):
        use(X[:, :3])


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
]


@by_estimator
@pytest.mark.parametrize(("name", "value"), BAD_PARAMETERS, ids=lambda v: str(v))
def test_bad_parameters_are_named_in_fit_and_leave_the_fitted_model(cls, name, value):
    if name not in inspect.signature(cls).parameters:
        with pytest.raises(TypeError, match=name):
            cls(**{name: value})
        return
    estimator = fit(small(cls))
    before = results(estimator)
    good = estimator.get_params()[name]
    estimator.set_params(**{name: value})
    with pytest.raises(
        ValueError, match=rf"'{name}' .* {cls.__name__} .*Got {re.escape(repr(value))}"
    ):
        fit(estimator)
    assert_same(results(estimator.set_params(**{name: good})), before)


@by_transformer
def test_pandas_output_has_names(cls):
    named = pd.DataFrame(X, columns=["a", "b", "c", "d"], index=np.arange(100, 140))
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
        fit(small(cls)).inverse_transform(np.zeros((2, 3)))
