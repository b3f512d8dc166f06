"""Storage of training rows: the same training from the device and from main memory."""

import math
import os
import pickle
import subprocess
import sys
from copy import deepcopy

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import r2_score
from skorch.callbacks import Callback, EpochScoring
from skorch.dataset import Dataset, ValidSplit
from skorch.helper import predefined_split

from skvim import AAETransformer, AETransformer, VAETransformer, VIMAETransformer, WAETransformer
from skvim.engine import _placement
from skvim.engine._batches import TensorBatches, rows_of
from skvim.engine._placement import Rows, as_rows, free_memory, place

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
SMALL = {"hidden_layer_sizes": (8,), "max_epochs": 3, "batch_size": 16, "random_state": 0}


def rows(n: int = 50, d: int = 5, dtype: type = np.float32) -> np.ndarray:
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (n, d)).astype(dtype)


def batches(x, size=7, seed=None):
    generator = None if seed is None else torch.Generator().manual_seed(seed)
    return TensorBatches(place(x, CPU), size, 1, generator)


@pytest.mark.parametrize(("dtype", "width"), [(np.uint8, 1), (np.float32, 4), (np.float64, 4)])
@pytest.mark.parametrize("short", [0, 1])
def test_rows_that_do_not_fit_stay_in_main_memory(monkeypatch, dtype, width, short):
    x = rows(30, 6, dtype)
    taken = 30 * (6 * width + 8)  # rows in training precision, and the order of a pass
    monkeypatch.setattr(_placement, "free_memory", lambda device: 2 * taken - short)
    placed = place(x, CPU)
    assert placed.prefetch == bool(short)
    assert (len(placed), placed.shape, placed.device) == (30, (30, 6), CPU)
    assert placed.data.element_size() == width
    assert place(placed, CPU) is placed
    np.testing.assert_array_equal(placed.data.numpy(), x)


# What is not copied.


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
@pytest.mark.parametrize("fitting", [True, False])
def test_a_memory_map_stays_on_the_disk(monkeypatch, tmp_path, dtype, fitting):
    np.save(tmp_path / "x.npy", rows(40, 6, dtype))
    x = np.load(tmp_path / "x.npy", mmap_mode="r")
    monkeypatch.setattr(_placement, "free_memory", lambda device: math.inf if fitting else 0)
    placed = place(x, CPU)
    part = rows_of(torch.utils.data.Subset(placed, [3, 1]), CPU)
    for kept in (as_rows(x), placed.data, part.data):
        assert kept.data_ptr() == x.ctypes.data
    assert torch.equal(next(part.split(2)), torch.tensor(x[[3, 1]]).float())


def test_a_read_only_array_lives_as_long_as_its_tensor():
    x = rows(1000, 50)
    x.flags.writeable = False
    expected, kept = x.copy(), as_rows(x)
    del x
    assert not np.shares_memory(rows(1000, 50), kept.numpy())
    np.testing.assert_array_equal(kept.numpy(), expected)


@pytest.mark.parametrize("view", [np.s_[::-1], np.s_[:, ::-1], np.s_[::3, 1:4]])
@pytest.mark.parametrize("writeable", [True, False])
def test_arrays_of_any_strides_are_taken(view, writeable):
    x = rows()[view]
    x.flags.writeable = writeable
    np.testing.assert_array_equal(place(x, CPU).data.numpy(), x)


@pytest.mark.parametrize("prefetch", [True, False])
@pytest.mark.parametrize("seed", [None, 0])
def test_who_writes_to_a_batch_does_not_write_to_the_rows(prefetch, seed):
    x = torch.from_numpy(rows())
    before = x.clone()
    for batch, _ in batches(Rows(x, CPU, prefetch=prefetch), seed=seed):
        batch.zero_()
    assert torch.equal(x, before)


# Batches from main memory.


@given(st.integers(2, 90), st.integers(1, 40), st.sampled_from([None, 1]), st.booleans())
def test_batches_from_main_memory_are_those_of_the_device(n, size, seed, as_bytes):
    x = torch.from_numpy(rows(n, 3, np.uint8 if as_bytes else np.float32))
    prefetched = batches(Rows(x, CPU, prefetch=True), size, seed)
    resident = batches(x, size, seed)
    assert prefetched.bounds == resident.bounds
    for _ in range(2):  # kept all at once: no batch is another's memory
        pairs = zip(list(prefetched), list(resident), strict=True)
        for (found, target), (expected, _) in pairs:
            assert found is target
            assert found.dtype == torch.float32
            assert torch.equal(found, expected)


@pytest.mark.parametrize("prefetch", [True, False])
@pytest.mark.parametrize("copied", [deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
def test_copies_of_batches_go_on_with_the_same_order(prefetch, copied):
    original = batches(Rows(torch.from_numpy(rows()), CPU, prefetch=prefetch), seed=3)
    first = torch.cat([batch for batch, _ in original])
    again = copied(original)
    second, third = (torch.cat([batch for batch, _ in one]) for one in (original, again))
    assert torch.equal(second, third)
    assert not torch.equal(first, second)


@pytest.mark.parametrize("prefetch", [True, False])
def test_selected_rows_are_those_of_the_tensor(prefetch):
    x = torch.from_numpy(rows(20))
    stored = Rows(x, CPU, prefetch=prefetch)
    order = torch.randperm(20, generator=torch.Generator().manual_seed(0))
    for found, expected in [
        (stored.select(slice(2, 9)), x[2:9]),
        (stored.select(order[:7]), x[order[:7]]),
        (stored.select(order).select(slice(3, 9)), x[order][3:9]),
        (stored.select(slice(2, None)).select(order[:9] % 18), x[2:][order[:9] % 18]),
        (stored.select(order).select(order), x[order][order]),
    ]:
        assert (found.shape, found.prefetch) == (tuple(expected.shape), prefetch)
        assert torch.equal(found[5][0], expected[5])
        chunks = list(found.split(4))
        assert {len(chunk) for chunk in chunks[:-1]} <= {4}
        assert torch.equal(torch.cat(chunks), expected)


# Copies to a GPU beside its computation.

DTYPES = pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
EMPTY = torch.empty


def numbered(n, dtype):
    return (torch.arange(3 * n) % 251).to(dtype).reshape(n, 3)


def locked(*args, **kwargs):
    """Refuse page-locked memory, as a system does that has none left."""
    if kwargs.pop("pin_memory", False):
        raise RuntimeError("CUDA error: out of memory")
    return EMPTY(*args, **kwargs)


@DTYPES
def test_memory_that_cannot_be_locked_is_replaced(monkeypatch, dtype):
    monkeypatch.setattr(torch, "empty", locked)
    buffer = _placement._host_memory((3, 4), dtype, pinned=True)
    assert (buffer.shape, buffer.dtype) == ((3, 4), dtype)


@pytest.mark.gpu
@DTYPES
@pytest.mark.parametrize("refused", [False, True])
@pytest.mark.parametrize("busy", [0, 100_000])  # cycles of the device between two batches
def test_many_batches_arrive_as_they_are(monkeypatch, dtype, refused, busy):
    if refused:
        monkeypatch.setattr(torch, "empty", locked)
    hosts, host_memory = [], _placement._host_memory
    monkeypatch.setattr(
        _placement,
        "_host_memory",
        lambda *args, **kwargs: hosts.append(host_memory(*args, **kwargs)) or hosts[-1],
    )
    x = numbered(30_007, dtype)
    batches, resident = (
        TensorBatches(rows, 16, 1, torch.Generator("cuda").manual_seed(0))
        for rows in (Rows(x, CUDA, prefetch=True), Rows(x.cuda(), CUDA))
    )
    for _ in range(2):
        found = []
        for batch, _target in batches:
            torch.cuda._sleep(busy)
            found.append(batch.clone())
        expected = [batch for batch, _target in resident]
        assert torch.equal(torch.cat(found), torch.cat(expected))
        assert found[0].device.type == "cuda"
    assert {host.is_pinned() for host in hosts} == {not refused}


@pytest.mark.gpu
@DTYPES
@pytest.mark.filterwarnings("ignore:Synchronization debug mode")
def test_no_batch_makes_the_host_wait_for_the_device(dtype):
    x = numbered(4000, dtype)
    bounds = [(start, start + 16) for start in range(0, 4000, 16)]
    batches = Rows(x, CUDA, prefetch=True).batches(torch.arange(4000).flip(0), bounds)
    total = next(batches).sum()
    torch.cuda.set_sync_debug_mode("error")
    try:
        for batch in batches:
            total += batch.sum()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert float(total) == float(x.sum(dtype=torch.float64))


@pytest.mark.gpu
@DTYPES
def test_a_loop_that_breaks_off_leaves_memory_in_order(dtype):
    x = numbered(40_000, dtype)
    for _ in range(20):
        first = next(Rows(x, CUDA, prefetch=True).split(10_000))
        others = [torch.full((10_000, 3), -1.0, device="cuda") for _ in range(4)]
        assert torch.equal(first.cpu(), x[:10_000].float())
        assert all(bool((other == -1).all()) for other in others)


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
@pytest.mark.parametrize("refused", [False, True])
def test_prefetched_rows_give_the_loss_curve_of_rows_on_the_gpu(monkeypatch, dtype, refused):
    x = np.random.default_rng(0).integers(0, 256, (3000, 20)).astype(dtype)
    settings = {"hidden_layer_sizes": (16,), "max_epochs": 5, "random_state": 0}
    model = VIMAETransformer(2, pretraining=5, device="cuda", batch_size=64, **settings)
    expected = model.fit(x).loss_curve_
    monkeypatch.setattr(_placement, "SHARE", 0.0)
    assert place(x, CUDA).prefetch
    if refused:
        monkeypatch.setattr(torch, "empty", locked)
    np.testing.assert_allclose(model.fit(x).loss_curve_, expected, rtol=1e-4)


@pytest.mark.gpu
def test_small_rows_go_to_the_gpu_and_memory_given_back_counts_as_free():
    free = free_memory(CUDA)
    placed = place(np.zeros((1000, 1000), dtype=np.float32), CUDA)
    assert placed.data.device.type == "cuda"
    taken = free - free_memory(CUDA)
    assert 4e6 <= taken < 1e9
    del placed
    assert free_memory(CUDA) >= free - 2**26


# Whole fits.

SPLIT = {"net_params": {"train_split": ValidSplit(5)}}
IMAGES = {"net_params": {"train_split": predefined_split(Dataset(rows(20, 6).reshape(20, 2, 3)))}}
LONG = {"max_epochs": 12, "batch_size": 6}  # enough for a diagnosis
MODELS = {
    "settling": (VAETransformer, {"likelihood": "gaussian", **LONG}),
    "pretraining": (VIMAETransformer, {"pretraining": 3, **SPLIT}),
    "standardised": (WAETransformer, {"normalization": "batch"}),
    "adversarial": (AAETransformer, {}),
    "split": (AETransformer, SPLIT),
    "predefined": (AETransformer, IMAGES),
}


def record(model):
    def r2(net, X, y):
        assert len(net.predict(X)) == len(X)
        return r2_score(rows(90, 6), net.predict(rows(90, 6)))

    return model.set_params(callbacks=[EpochScoring(r2, name="r2", on_train=True)])


@pytest.mark.filterwarnings("ignore::skvim.exceptions.SkvimWarning")
@pytest.mark.parametrize("dtype", [np.uint8, np.float64])
@pytest.mark.parametrize("name", MODELS)
@pytest.mark.numerics
def test_a_fit_does_not_depend_on_where_its_rows_are(monkeypatch, name, dtype):
    cls, parameters = MODELS[name]
    model, x = record(cls(2, **{**SMALL, **parameters})), rows(90, 6, dtype)
    here = model.fit(x)
    expected = [here.transform(x), here.reconstruct(x), here.loss_curve_, here.history_[:, "r2"]]
    monkeypatch.setattr(_placement, "free_memory", lambda device: 0)
    used = []
    prefetched = _placement._prefetched
    monkeypatch.setattr(
        _placement, "_prefetched", lambda *args: used.append(len(args[2])) or prefetched(*args)
    )
    away = model.fit(x)
    found = [away.transform(x), away.reconstruct(x), away.loss_curve_, away.history_[:, "r2"]]
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_array_equal(a, b)
    assert sum(used) > sum(here.history_[:, "train_batch_count"])


class Where(Callback):
    """Keep what the loop says of its rows."""

    def on_train_begin(self, net, X=None, **kwargs):
        self.length, self.device = len(X), X.device


def test_callbacks_see_how_many_rows_there_are(monkeypatch):
    monkeypatch.setattr(_placement, "free_memory", lambda device: 0)
    seen = Where()
    AETransformer(2, callbacks=[seen], **SMALL).fit(rows())
    assert (seen.length, seen.device) == (50, CPU)


# Memory, in processes of their own.

PEAK = """
import resource, sys
import numpy as np
from skorch.dataset import ValidSplit
from skvim import AETransformer
def fit(x):
    for split in ({}, {"train_split": ValidSplit(5)}):
        network = dict(hidden_layer_sizes=(4,), batch_size=20_000, net_params=split)
        AETransformer(2, max_epochs=1, random_state=0, device="cpu", **network).fit(x)
def peak():  # kilobytes on Linux
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
x = np.random.default_rng(0).integers(0, 256, (300_000, 200), dtype=np.uint8)
fit(x[:4_000])
before = peak()
fit(x)
print(peak() - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="peaks of memory are in another unit")
def test_bytes_are_trained_on_without_a_copy_in_floats():
    # Freed memory goes back to the system at once, so that the peak is of memory in use.
    exact = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536"}
    command = [sys.executable, "-c", PEAK]
    done = subprocess.run(command, env=exact, capture_output=True, text=True, check=True)
    # Rows of 57 MiB, which would take 229 MiB as floats; chunks of the statistics and batches
    # take 60.
    assert float(done.stdout) < 100


MAPPED = """
import re, resource, sys
import numpy as np
from skvim import AETransformer
def data():
    return int(re.search(r"VmData:\\s+(\\d+) kB", open("/proc/self/status").read())[1]) * 1024
def fit(x):
    AETransformer(2, hidden_layer_sizes=(4,), max_epochs=1, batch_size=5000, device="cpu").fit(x)
x = np.load(sys.argv[1], mmap_mode="r")
fit(x[:20_000])
resource.setrlimit(resource.RLIMIT_DATA, (data() + 100 * 2**20,) * 2)
fit(x)
try:
    np.ones(x.shape, x.dtype)
except MemoryError:
    print("limited")
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="no such limit")
def test_a_memory_map_larger_than_the_memory_is_trained_on(tmp_path):
    x = np.lib.format.open_memmap(tmp_path / "x.npy", "w+", np.float32, (500_000, 100))
    x[:] = np.random.default_rng(0).normal(size=100)
    x[::2] += 1.0
    x.flush()
    # Freed memory goes back to the system at once: none of what the first fit freed is left to use.
    exact = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536"}
    command = [sys.executable, "-c", MAPPED, str(tmp_path / "x.npy")]
    done = subprocess.run(command, env=exact, capture_output=True, text=True)
    assert (done.stdout, done.returncode) == ("limited\n", 0), done.stderr
