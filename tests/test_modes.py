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
    model = TransductiveSVC(probability=True, n_components=20, random_state=0)

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
        TransductiveSVC(kernel=nested, n_components=20, random_state=0).fit(X, labels).predict(X)
        assert np.geterr() == before
    assert changed(0) == []
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(changed, range(8))) == [[]] * 8
