"""Programs of captured steps that are kept for later fits: the same bits as programs made anew."""

import numpy as np
import pytest
from captured import CASES, fitted
from family import X

from skvim.engine.capture import _captured as captured
from skvim.engine.capture._kept import Store

# Networks and functions of users, which are captured anew in every fit.
OWN = {"masked", "shrinking", "overwritten"}


@pytest.fixture
def store(monkeypatch):
    """An empty store of programs."""
    store = Store(2**26)
    monkeypatch.setattr(captured, "STORE", store)
    return store


@pytest.fixture
def traced(monkeypatch):
    """The steps that were traced."""
    made = []
    whole = captured.trace_step

    def trace(step, x, **options):
        made.append(len(x))
        return whole(step, x, **options)

    monkeypatch.setattr(captured, "trace_step", trace)
    return made


def bits(model):
    """All numbers of a trained model: weights, losses and the noise to come."""
    net = model.net_
    tensors = [*net.module_.state_dict().values(), *net.criterion_.state_dict().values()]
    tensors.append(net.streams_.noise.get_state())
    losses = [
        [value for name, value in epoch.items() if name.startswith(("train_", "valid_"))]
        for epoch in model.history_
    ]
    return [tensor.numpy().tobytes() for tensor in tensors], losses


def fit(model, rows=X, seed=0, **options):
    return fitted(model, rows, acceleration="capture", random_state=seed, **options)


@pytest.mark.parametrize("name", CASES)
def test_a_fit_after_another_of_its_kind_has_the_bits_of_a_first_one(name, store, traced):
    alone = bits(fit(CASES[name]))
    store.clear()
    traced.clear()
    other = np.random.default_rng(1).permutation(X.ravel()).reshape(X.shape)
    fit(CASES[name], other, seed=1)
    assert len(traced) == 2
    assert bits(fit(CASES[name])) == alone
    assert len(traced) == (4 if name in OWN else 2)
