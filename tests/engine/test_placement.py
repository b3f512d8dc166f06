"""Where training rows live, and that it changes nothing but time and memory."""

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
from skvim.engine import _placement, _staging
from skvim.engine._batches import Rows, TensorBatches, rows_of
from skvim.engine._placement import HeldRows, as_rows, fits, free_memory, place

CPU = torch.device("cpu")
SMALL = {"hidden_layer_sizes": (8,), "max_epochs": 3, "batch_size": 16, "random_state": 0}


def rows(n: int = 50, d: int = 5, dtype: type = np.float32) -> np.ndarray:
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (n, d)).astype(dtype)


def batches(x, size=7, seed=None):
    generator = None if seed is None else torch.Generator().manual_seed(seed)
    return TensorBatches(x, size, 1, generator)


# The decision.


@pytest.mark.parametrize(
    ("n_bytes", "free", "expected"),
    [(0, 0, True), (50, 100, True), (51, 100, False), (1, 0, False), (2**60, None, True)],
)
def test_rows_may_take_half_of_the_free_memory(n_bytes, free, expected):
    assert fits(n_bytes, free) is expected


def test_memory_that_torch_keeps_for_later_is_free(monkeypatch):
    assert free_memory(CPU) is None
    found = {"mem_get_info": (700, 1000), "memory_reserved": 200, "memory_allocated": 50}
    asked = []
    for name, value in found.items():
        monkeypatch.setattr(torch.cuda, name, lambda i, value=value: asked.append(i) or value)
    assert free_memory(torch.device("cuda:1")) == 850
    assert asked == [1, 1, 1]


@pytest.mark.parametrize(("dtype", "width"), [(np.uint8, 1), (np.float32, 4), (np.float64, 4)])
@pytest.mark.parametrize("short", [0, 1])
def test_rows_that_do_not_fit_stay_in_main_memory(monkeypatch, dtype, width, short):
    x = rows(30, 6, dtype)
    taken = 30 * (6 * width + 8)  # rows in training precision, and the order of a pass
    monkeypatch.setattr(_placement, "free_memory", lambda device: 2 * taken - short)
    placed = place(x, CPU)
    assert isinstance(placed, HeldRows if short else torch.Tensor)
    assert (len(placed), placed.shape, placed.device) == (30, (30, 6), CPU)
    kept = placed.kept if short else placed
    assert kept.element_size() == width
    assert place(placed, CPU) is placed
    np.testing.assert_array_equal(kept.numpy(), x)


# What is not copied.


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
@pytest.mark.parametrize("fitting", [True, False])
def test_a_memory_map_stays_on_the_disk(monkeypatch, tmp_path, dtype, fitting):
    np.save(tmp_path / "x.npy", rows(40, 6, dtype))
    x = np.load(tmp_path / "x.npy", mmap_mode="r")
    monkeypatch.setattr(_placement, "fits", lambda n_bytes, free: fitting)
    placed = place(x, CPU)
    part = rows_of(torch.utils.data.Subset(Rows(placed), [3, 1]), CPU)
    for kept in (as_rows(x), placed if fitting else placed.kept, part.kept):
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
    np.testing.assert_array_equal(place(x, CPU).numpy(), x)


@pytest.mark.parametrize("away", [True, False])
@pytest.mark.parametrize("seed", [None, 0])
def test_who_writes_to_a_batch_does_not_write_to_the_rows(away, seed):
    x = torch.from_numpy(rows())
    before = x.clone()
    for batch, _ in batches(HeldRows(x, CPU, away=away), seed=seed):
        batch.zero_()
    assert torch.equal(x, before)


# Batches from main memory.


@given(st.integers(2, 90), st.integers(1, 40), st.sampled_from([None, 1]), st.booleans())
def test_batches_from_main_memory_are_those_of_the_device(n, size, seed, as_bytes):
    x = torch.from_numpy(rows(n, 3, np.uint8 if as_bytes else np.float32))
    held = batches(HeldRows(x, CPU, away=True), size, seed)
    resident = batches(x, size, seed)
    assert held.bounds == resident.bounds
    for _ in range(2):  # kept all at once: no batch is another's memory
        pairs = zip(list(held), list(resident), strict=True)
        for (found, target), (expected, _) in pairs:
            assert found is target
            assert found.dtype == torch.float32
            assert torch.equal(found, expected)


@pytest.mark.parametrize("away", [True, False])
@pytest.mark.parametrize("copied", [deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
def test_copies_of_batches_go_on_with_the_same_order(away, copied):
    original = batches(HeldRows(torch.from_numpy(rows()), CPU, away=away), seed=3)
    first = torch.cat([batch for batch, _ in original])
    again = copied(original)
    second, third = (torch.cat([batch for batch, _ in one]) for one in (original, again))
    assert torch.equal(second, third)
    assert not torch.equal(first, second)


@pytest.mark.parametrize("away", [True, False])
def test_parts_of_held_rows_are_parts_of_their_rows(away):
    x = torch.from_numpy(rows(20))
    held = HeldRows(x, CPU, away=away)
    order = torch.randperm(20, generator=torch.Generator().manual_seed(0))
    for found, expected in [
        (held[2:9], x[2:9]),
        (held[order[:7]], x[order[:7]]),
        (held[order][3:9], x[order][3:9]),
        (held[2:][order[:9] % 18], x[2:][order[:9] % 18]),
        (held[order][order], x[order][order]),
    ]:
        assert (found.shape, found.away) == (tuple(expected.shape), away)
        chunks = list(found.split(4))
        assert {len(chunk) for chunk in chunks[:-1]} <= {4}
        assert torch.equal(torch.cat(chunks), expected)


@pytest.mark.parametrize("away", [True, False])
def test_a_data_set_gives_single_rows(away):
    x = torch.from_numpy(rows())
    data = Rows(HeldRows(x, CPU, away=away))
    assert len(data) == 50
    assert all(torch.equal(part, x[7]) for part in data[7])


def test_the_next_batch_is_under_way_before_one_is_handed_out(monkeypatch):
    log = []
    plain = _staging._PlainLane
    for name in ("send", "receive"):
        method = getattr(plain, name)
        monkeypatch.setattr(
            plain, name, lambda self, n=name, f=method: log.append((n, id(self))) or f(self)
        )
    for _ in batches(HeldRows(torch.zeros(40, 2), CPU, away=True), 10):
        log.append(("use", None))
    names = [name for name, _ in log]
    middle = ["send", "receive", "use"]
    assert names == ["send", *(3 * middle), "receive", "use"]
    lanes = [lane for name, lane in log if name == "send"]
    assert lanes[0] == lanes[2] != lanes[1] == lanes[3]


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_memory_that_cannot_be_locked_is_replaced(monkeypatch, dtype):
    empty, asked = torch.empty, []

    def refusing(*args, **kwargs):
        asked.append(kwargs.get("pin_memory", False))
        if asked[-1]:
            raise RuntimeError("CUDA error: out of memory")
        return empty(*args, **kwargs)

    monkeypatch.setattr(torch, "empty", refusing)
    buffer = _staging._locked((3, 4), dtype)
    assert asked == [True, False]
    assert (buffer.shape, buffer.dtype) == ((3, 4), dtype)


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
@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
@pytest.mark.parametrize("name", MODELS)
@pytest.mark.numerics
def test_a_fit_does_not_depend_on_where_its_rows_are(monkeypatch, name, dtype):
    cls, parameters = MODELS[name]
    model, x = record(cls(2, **{**SMALL, **parameters})), rows(90, 6, dtype)
    here = model.fit(x)
    expected = [here.transform(x), here.reconstruct(x), here.loss_curve_, here.history_[:, "r2"]]
    monkeypatch.setattr(_placement, "fits", lambda n_bytes, free: False)
    used = []
    monkeypatch.setattr(
        _placement, "staged", lambda *args: used.append(len(args[2])) or _staging.staged(*args)
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
    monkeypatch.setattr(_placement, "fits", lambda n_bytes, free: False)
    seen = Where()
    AETransformer(2, callbacks=[seen], **SMALL).fit(rows())
    assert (seen.length, seen.device) == (50, CPU)


# Memory, in processes of their own.

PEAK = """
import resource, sys
import numpy as np
from skvim import AETransformer
def fit(x):
    network = dict(hidden_layer_sizes=(4,), batch_size=20_000, net_params={split})
    AETransformer(2, max_epochs=1, random_state=0, device="cpu", **network).fit(x)
def peak():  # kilobytes on Linux
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
from skorch.dataset import ValidSplit
x = np.random.default_rng(0).integers(0, 256, (600_000, 200), dtype=np.uint8)
fit(x[:4_000])
before = peak()
fit(x)
print(peak() - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="peaks of memory are in another unit")
@pytest.mark.parametrize("split", ["{}", "{'train_split': ValidSplit(5)}"])
def test_bytes_are_trained_on_without_a_copy_in_floats(split):
    code = PEAK.replace("{split}", split)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    # Rows of 114 MiB, which would take 458 MiB as floats; the statistics' chunks take up to 120.
    assert float(done.stdout) < 230


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
    command = [sys.executable, "-c", MAPPED, str(tmp_path / "x.npy")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.stdout, done.returncode) == ("limited\n", 0), done.stderr
