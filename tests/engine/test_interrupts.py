"""Ctrl-C ends a fit with KeyboardInterrupt; only an explicit stop ends training in good order."""

import copy
import signal
import time
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from skorch.callbacks import Callback, EarlyStopping

from skvim import AAETransformer, AETransformer, VIMAETransformer
from skvim.exceptions import StopTraining
from skvim.model_selection import BatchedSearchCV, lam_path
from skvim.semi_supervised import TransductiveSVC

X = np.random.default_rng(0).normal(size=(60, 5))
Y = np.where(X[:, 0] > 0, 1, 0)
PARTLY = np.where(np.arange(60) < 20, Y, -1)
SMALL = {"hidden_layer_sizes": (8,), "max_epochs": 3, "random_state": 0}


@contextmanager
def interrupting(number):
    """Let a signal do what Ctrl-C does, also in a process that ignores it."""
    before = signal.signal(number, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(number, before)


HOOKS = [
    "on_train_begin",
    "on_epoch_begin",
    "on_batch_begin",
    "on_grad_computed",
    "on_batch_end",
    "on_epoch_end",
    "on_train_end",
]


def during(hook, function):
    """Return a callback that calls a function in a hook."""
    return type("During", (Callback,), {hook: lambda self, net, *_, **__: function()})()


def press():
    """Interrupt as the keyboard does."""
    signal.raise_signal(signal.SIGINT)


def fitted():
    return AETransformer(2, **SMALL).fit(X)


def assert_interrupted(model, callback):
    """Assert that a fit with a callback raises KeyboardInterrupt and changes nothing."""
    before, codes = dict(vars(model)), model.transform(X)
    model.callbacks = before["callbacks"] = [callback]
    with interrupting(signal.SIGINT), pytest.raises(KeyboardInterrupt):
        model.fit(X[:30, :4])
    assert vars(model) == before
    np.testing.assert_array_equal(model.transform(X), codes)


@pytest.mark.parametrize("hook", HOOKS)
def test_ctrl_c_during_a_callback_is_no_stop(hook):
    assert_interrupted(fitted(), during(hook, press))


def test_a_keyboard_interrupt_that_a_callback_raises_is_no_stop():
    def interrupt():
        raise KeyboardInterrupt

    assert_interrupted(fitted(), during("on_epoch_end", interrupt))


def early_stopping(**options):
    """Return skorch's callback, which stops after the second epoch."""
    return EarlyStopping("train_loss", patience=1, threshold=1e9, threshold_mode="abs", **options)


def test_early_stopping_of_skorch_stops():
    model = AETransformer(2, callbacks=[early_stopping()], **SMALL).fit(X)
    assert model.n_iter_ == 2
    model.net_.partial_fit(X.astype(np.float32))  # skorch's way to go on
    assert len(model.net_.history) == 4


def test_ctrl_c_while_early_stopping_of_skorch_stops_is_no_stop():
    callback = early_stopping(sink=lambda message: press())
    model = AETransformer(2, verbose=1, **SMALL).fit(X)
    assert_interrupted(model, callback)


@pytest.mark.parametrize("hook", HOOKS)
def test_a_search_does_not_go_on_after_ctrl_c(hook):
    calls = []

    def press_late():
        calls.append(0)
        if len(calls) == 30:
            press()

    model = AETransformer(2, callbacks=[during(hook, press_late)], **{**SMALL, "max_epochs": 10})
    search = GridSearchCV(model, {"lr": [1e-3, 1e-2]}, cv=30 if "train" in hook else 2)
    with interrupting(signal.SIGINT), pytest.raises(KeyboardInterrupt):
        search.fit(X)
    assert len(calls) == 30
    assert not hasattr(search, "cv_results_")


def test_stop_training_stops_in_every_hook():
    for hook in HOOKS:
        stops = []

        def stop(stops=stops):
            stops.append(0)
            if len(stops) == 1:
                raise StopTraining

        model = AETransformer(2, callbacks=[during(hook, stop)], **SMALL).fit(X)
        assert stops, hook
        assert model.n_iter_ == {"on_epoch_end": 1, "on_train_end": 3}.get(hook, 0)


FITS = {
    "eager": (AETransformer(2, acceleration=None, **SMALL), X),
    "captured": (VIMAETransformer(2, acceleration="capture", **SMALL), X),
    "early stopping": (AETransformer(2, early_stopping=True, **SMALL), X),
    "critic": (AAETransformer(2, **SMALL), X),
    "batched": (BatchedSearchCV(VIMAETransformer(2, **SMALL), {"lam": [0.1, 1.0]}, cv=2), X),
    "transductive": (TransductiveSVC(random_state=0, safe=False), X, PARTLY),
}

ERRORS = np.geterr()
PROMISE = "After Ctrl-C at any moment of a fit, an estimator is as before, or fitted."
# Python cannot raise what comes during a finaliser.
UNRAISABLE = "ignore::pytest.PytestUnraisableExceptionWarning"


def interrupted(seconds, function):
    """Call a function, with an interrupt after so many seconds; return whether it came in time."""
    try:
        signal.setitimer(signal.ITIMER_REAL, seconds)
        function()
        signal.setitimer(signal.ITIMER_REAL, 0)
    except KeyboardInterrupt:
        assert torch.is_grad_enabled()  # the caller's modes are as they were
        assert np.geterr() == ERRORS
        return True
    return False


def timed(function):
    """Return the result of a second call of a function, and its seconds."""
    function()
    start = time.perf_counter()
    return function(), time.perf_counter() - start


def codes_of(model):
    """Return what a fitted estimator computes from the rows."""
    return model.predict(X) if isinstance(model, TransductiveSVC) else model.transform(X)


@pytest.mark.trust(PROMISE)
@pytest.mark.filterwarnings(UNRAISABLE)
@pytest.mark.parametrize("name", FITS)
@pytest.mark.filterwarnings("ignore::skvim.exceptions.SkvimWarning")
def test_interrupts_at_any_moment(name, amount):
    estimator, *data = FITS[name]
    model, seconds = timed(lambda: clone(estimator).fit(*data))
    before = clone(estimator).fit(*[part[:40] for part in data])
    states = [codes_of(before), codes_of(model)]
    rng, n_interrupted = np.random.default_rng(0), 0
    with interrupting(signal.SIGALRM):
        for _ in range(amount("interrupts of fits", quick=10, full=200)):
            model = copy.copy(before)
            if interrupted(rng.uniform(0.01, 1) * seconds, lambda model=model: model.fit(*data)):
                n_interrupted += 1
                assert any(np.array_equal(codes_of(model), state) for state in states)
                model.fit(*data)
            np.testing.assert_array_equal(codes_of(model), states[1])
    assert n_interrupted


@pytest.mark.trust(PROMISE)
@pytest.mark.filterwarnings(UNRAISABLE)
def test_interrupts_of_a_path(amount):
    def path():
        models = lam_path(VIMAETransformer(2, **SMALL), X, [0.1, 1.0, 10.0])
        return [model.transform(X) for model in models]

    expected, seconds = timed(path)
    rng, n_interrupted = np.random.default_rng(0), 0
    with interrupting(signal.SIGALRM):
        for _ in range(amount("interrupts of fits", quick=10, full=200)):
            n_interrupted += interrupted(rng.uniform(0.01, 1) * seconds, path)
            np.testing.assert_array_equal(path(), expected)
    assert n_interrupted
