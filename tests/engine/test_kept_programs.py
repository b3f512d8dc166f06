"""Programs of captured steps that are kept for later fits: the same bits as programs made anew."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from captured import CASES, OWN, fitted
from family import X
from torch import distributions as D  # noqa: N812  # torch's own abbreviation

from skvim import VAETransformer, VIMAETransformer
from skvim.engine.capture import _captured as captured
from skvim.engine.capture._kept import Store
from skvim.noise import MaskingNoise, SwapNoise
from skvim.objectives import Gaussian


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


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_fits_of_other_kinds_in_between_change_no_bit(precision, store):
    options = {"precision": precision, "prior": D.Laplace(0.0, 1.0)}
    model = VIMAETransformer(2, noise=MaskingNoise(0.3), dropout=0.2)
    alone = bits(fit(model, **options))
    for other in ({"lam": 2.0}, {"batch_size": 30}, {"prior": D.Laplace(0.0, 2.0)}):
        fit(model, **{**options, **other})
    assert bits(fit(model, **options)) == alone


# Random settings: whatever was fitted before, a fit has the bits of one in a new process.

CHOICES = {
    "model": [VAETransformer, VIMAETransformer],
    "n_components": [2, 3],
    "hidden_layer_sizes": [(), (8,), (8, 4)],
    "activation": ["relu", "tanh", "softplus"],
    "normalization": [None, "batch", "layer"],
    "dropout": [0.0, 0.1, 0.2],
    "likelihood": ["gaussian", Gaussian("per-feature"), Gaussian(variance=2.0)],
    "noise": [None, MaskingNoise(0.2), MaskingNoise(0.3), SwapNoise(0.2)],
    "prior": ["normal", "logistic", D.Laplace(0.0, 1.0), D.Laplace(0.0, 2.0)],
    "batch_size": [30, 45],
    "optimizer": ["adam", "adamw", "sgd"],
    "lr": [1e-3, 1e-4],
    "lr_schedule": [None, "cosine"],
    "precision": ["float32", "bfloat16"],
    "net_params": [None, {"optimizer__weight_decay": 0.1}],
    "seed": [0, 1],
}
OF_VIM = {"lam": [1.0, 2.0], "divergence": ["mmd", "sliced-wasserstein", "kl"]}
OF_VAE = {"warmup": [0.0, 0.5, 0.7], "posterior": ["gaussian", "logistic"]}


@pytest.mark.trust("A fit gives the same bits whatever was fitted before in the process.")
def test_kept_programs_change_no_bit_of_random_fits(amount, store, traced):
    rng = np.random.default_rng(0)
    choices = {**CHOICES, **OF_VAE, **OF_VIM}
    settings = {name: values[0] for name, values in choices.items()}
    n_fits = amount("fits after other fits", quick=40, full=500)
    for _ in range(n_fits):
        name = rng.choice(list(choices))
        settings[name] = choices[name][rng.integers(len(choices[name]))]
        model = settings["model"]
        others = OF_VAE if model is VIMAETransformer else OF_VIM
        options = {k: v for k, v in settings.items() if k not in {"model", *others}}
        try:
            found = bits(fit(model(), max_epochs=2, **options))
        except ValueError:
            continue  # settings that do not go together
        kept = dict(store._programs)
        store.clear()
        assert bits(fit(model(), max_epochs=2, **options)) == found
        for key, program in kept.items():
            store.put(key, program)
    assert n_fits < len(traced) < 1.9 * 2 * n_fits  # some programs were used again


# What goes wrong is found out.


def test_a_program_of_another_kind_is_found_out_and_traced_anew(store, traced, monkeypatch):
    model = VAETransformer(2, warmup=0.5)
    alone = bits(fit(model))
    store.clear()
    monkeypatch.setattr(captured, "structure", lambda step, x: len(x))
    fit(model, warmup=0.8)
    traced.clear()
    assert bits(fit(model)) == alone
    assert len(traced) == 2


# Memory, threads and processes.


def test_the_least_recently_used_programs_are_dropped(store):
    for width in (4, 5, 6):
        fit(VAETransformer(2), hidden_layer_sizes=(width,), batch_size=60, max_epochs=1)
    programs = list(store._programs.values())
    store = Store(sum(program.n_bytes for program in programs[:2]))
    for i, program in enumerate(programs[:2]):
        store.put(i, program)
    assert store.get(0) is programs[0]
    store.put(2, programs[2])
    assert store.get(1) is None
    assert len(store) == 1 + (store.get(0) is not None)
    assert 0 < store.n_bytes <= store.most_bytes
    kept, store.most_bytes = len(store), programs[1].n_bytes - 1
    store.put(1, programs[1])  # too large alone: it costs no other its place
    assert (len(store), store.get(1)) == (kept, None)


def test_memory_of_many_kinds_of_fits_is_bounded(monkeypatch):
    store = Store(2**23)
    monkeypatch.setattr(captured, "STORE", store)
    options = {"batch_size": 60, "max_epochs": 1}
    sizes = []
    for width in range(1, 101):
        fit(VIMAETransformer(2), hidden_layer_sizes=(width,), **options)
        sizes.append(store.n_bytes)
    assert max(sizes) <= 2**23
    assert 1 < len(store) < 100
    assert sizes[-1] > 2**22
    n_kept = len(store)
    for _ in range(3):  # fits of a known kind add nothing
        fit(VIMAETransformer(2), hidden_layer_sizes=(100,), **options)
    assert (len(store), store.n_bytes) == (n_kept, sizes[-1])


MEMORY = """
import gc, resource, warnings
from pathlib import Path
import numpy as np
warnings.simplefilter("ignore")
from skvim import VAETransformer
from skvim.engine.capture._kept import STORE

X = np.random.default_rng(0).normal(size=(60, 6))

def fit(width):
    VAETransformer(2, hidden_layer_sizes=(width, 4), max_epochs=1, batch_size=60, random_state=0,
                   acceleration="capture").fit(X)
    gc.collect()

def taken():  # now: the peak of a process begins at that of the process that started it
    return resource.getpagesize() * int(Path("/proc/self/statm").read_text().split()[1])

for width in range(4, 8):
    fit(width)
before, kept = taken(), STORE.n_bytes
for width in range(8, 68):
    fit(width)
assert len(STORE) == 64
print((taken() - before) / (STORE.n_bytes - kept))
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="others have no /proc")
def test_programs_take_about_the_bytes_that_are_counted():
    command = [sys.executable, "-c", MEMORY]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=300)
    assert 0.2 < float(done.stdout) < 1.5


@pytest.mark.trust("Fits of one kind in many threads give the bits of fits one after another.")
def test_threads_share_no_memory(amount, store):
    model = VIMAETransformer(2, noise=MaskingNoise(0.3), dropout=0.2, normalization="batch")
    n_fits = amount("fits in threads", quick=8, full=400)
    expected = [bits(fit(model, seed=seed, batch_size=30)) for seed in range(8)]
    for cleared in (True, False):
        if cleared:
            store.clear()
        with ThreadPoolExecutor(4) as pool:
            seeds = [i % 8 for i in range(n_fits)]
            found = pool.map(lambda seed: bits(fit(model, seed=seed, batch_size=30)), seeds)
            for seed, one in zip(seeds, found, strict=True):
                assert one == expected[seed]


FORKED = """
import os, sys, warnings
import numpy as np
warnings.simplefilter("ignore")
from skvim import VAETransformer
from skvim.engine.capture._kept import STORE

X = np.random.default_rng(0).normal(size=(60, 6))

def weights():
    model = VAETransformer(2, hidden_layer_sizes=(4,), max_epochs=2, batch_size=30,
                           random_state=0, acceleration="capture").fit(X)
    assert model.net_.plain_because_ == ""
    return b"".join(w.detach().numpy().tobytes() for w in model.net_.module_.parameters())

expected = weights()
assert len(STORE) == 1
STORE._lock.acquire()
child = os.fork()
if child == 0:
    ok = len(STORE) == 0 and STORE.n_bytes == 0 and weights() == expected and len(STORE) == 1
    os._exit(0 if ok else 1)
STORE._lock.release()
_, status = os.waitpid(child, 0)
assert os.waitstatus_to_exitcode(status) == 0
assert weights() == expected and len(STORE) == 1
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_a_forked_process_starts_without_programs():
    command = [sys.executable, "-c", FORKED]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
