"""Copies beside the computation: on a device that is played, in every order, and on a real one."""

from contextlib import contextmanager

import numpy as np
import pytest
import torch
from torch.overrides import TorchFunctionMode

from skvim import VIMAETransformer
from skvim.engine import _placement, _staging
from skvim.engine._batches import TensorBatches
from skvim.engine._placement import HeldRows, free_memory, place
from skvim.engine._staging import staged

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
DTYPES = pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])


class Signal:
    """An event of the played device."""

    def __init__(self, device):
        self.device, self.recorded, self.reached = device, 0, 0

    def record(self, stream):
        self.recorded += 1
        number = self.recorded
        stream.append((lambda: True, lambda: setattr(self, "reached", number)))

    def synchronize(self):
        number = self.recorded
        self.device.run(until=lambda: self.reached >= number)


class Stream(list):
    """Pairs of a condition and of work that starts under it, in order."""

    def wait_event(self, event):
        number = event.recorded
        self.append((lambda: event.reached >= number, lambda: None))


class Played(TorchFunctionMode):
    """A device with two streams that work when, and in whichever order, a test wants.

    What is queued happens later, with the memory as it is then: a copy from a buffer that was
    filled too early copies the wrong rows.
    """

    def __init__(self, seed):
        super().__init__()
        self.rng = np.random.default_rng(seed)
        self.computing, self.beside = Stream(), Stream()
        self.current, self.shares = self.computing, []

    def run(self, until=lambda: False):
        while not until():
            ready = [s for s in (self.computing, self.beside) if s and s[0][0]()]
            if not ready:
                break
            stream = ready[self.rng.integers(len(ready))]
            stream.pop(0)[1]()
        assert until() or not (self.computing or self.beside), "streams wait for each other"

    def now_and_then(self):
        left = self.rng.integers(8)

        def over():
            nonlocal left
            left -= 1
            stuck = not any(s and s[0][0]() for s in (self.computing, self.beside))
            return left < 0 or stuck

        self.run(over)

    @contextmanager
    def on(self, stream):
        self.current, before = stream, self.current
        yield
        self.current = before

    def queue(self, work):
        self.current.append((lambda: True, work))

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if func is torch.Tensor.copy_ and kwargs.get("non_blocking"):
            target, source = args
            self.queue(lambda: target.copy_(source))
            return target
        if func is torch.Tensor.to and kwargs.get("copy"):
            found = torch.full(args[0].shape, torch.nan)
            self.queue(lambda: found.copy_(args[0]))
            return found
        return func(*args, **kwargs)


@pytest.fixture
def play(monkeypatch):
    """Let copies go to a played device, seeded."""

    def start(seed):
        device = Played(seed)

        def lanes(kept, size, _):
            buffers = [kept.new_empty((size, kept.shape[1])) for _ in range(2)]
            return [_staging._CudaLane(buffer, CPU, device.beside) for buffer in buffers]

        share = lambda tensor, stream: device.shares.append(stream)
        monkeypatch.setattr(torch.Tensor, "record_stream", share)
        monkeypatch.setattr(torch.cuda, "Event", lambda: Signal(device))
        monkeypatch.setattr(torch.cuda, "current_stream", lambda _: device.computing)
        monkeypatch.setattr(torch.cuda, "stream", device.on)
        monkeypatch.setattr(_staging, "_lanes", lanes)
        return device

    return start


def numbered(n, dtype):
    return (torch.arange(3 * n) % 251).to(dtype).reshape(n, 3)


@pytest.mark.parametrize("seed", range(20))
@DTYPES
def test_events_alone_keep_the_order_of_copies(play, seed, dtype):
    x, used = numbered(75, dtype), []
    order = torch.randperm(75, generator=torch.Generator().manual_seed(seed))
    bounds = [(start, min(start + 8, 75)) for start in range(0, 75, 8)]
    device = play(seed)
    with device:
        for batch in staged(x, order, bounds, CPU):
            device.queue(lambda batch=batch: used.append(batch.clone()))
            device.now_and_then()
        device.run()
    assert [len(batch) for batch in used] == [stop - start for start, stop in bounds]
    assert torch.equal(torch.cat(used), x[order].float())
    assert device.shares == [device.beside, device.beside]


def test_the_host_never_waits_for_the_batch_in_use(play):
    used = []
    bounds = [(start, start + 4) for start in range(0, 80, 4)]
    device = play(0)
    with device:
        for i, batch in enumerate(staged(numbered(80, torch.float32), None, bounds, CPU)):
            device.queue(lambda batch=batch: used.append(batch))
            assert len(used) <= max(0, i - 1)
        device.run()
    assert len(used) == len(bounds)


# On a real device.


def locked(*args, **kwargs):
    """Refuse page-locked memory, as a system does that has none left."""
    if kwargs.pop("pin_memory", False):
        raise RuntimeError("CUDA error: out of memory")
    return EMPTY(*args, **kwargs)


EMPTY = torch.empty


@pytest.mark.gpu
@DTYPES
@pytest.mark.parametrize("refused", [False, True])
@pytest.mark.parametrize("busy", [0, 100_000])  # cycles of the device between two batches
def test_many_batches_arrive_as_they_are(monkeypatch, dtype, refused, busy):
    if refused:
        monkeypatch.setattr(torch, "empty", locked)
    lanes = _staging._lanes(numbered(2, dtype), 2, CUDA)
    assert {lane.buffer.is_pinned() for lane in lanes} == {not refused}
    x = numbered(30_007, dtype)
    batches, resident = (
        TensorBatches(rows, 16, 1, torch.Generator("cuda").manual_seed(0))
        for rows in (HeldRows(x, CUDA, away=True), x.cuda())
    )
    for _ in range(2):
        found = []
        for batch, _target in batches:
            torch.cuda._sleep(busy)
            found.append(batch.clone())
        expected = [batch for batch, _target in resident]
        assert torch.equal(torch.cat(found), torch.cat(expected))
        assert found[0].device.type == "cuda"


@pytest.mark.gpu
@DTYPES
@pytest.mark.filterwarnings("ignore:Synchronization debug mode")
def test_no_batch_makes_the_host_wait_for_the_device(dtype):
    x = numbered(4000, dtype)
    bounds = [(start, start + 16) for start in range(0, 4000, 16)]
    batches = HeldRows(x, CUDA, away=True).batches(torch.arange(4000).flip(0), bounds)
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
        first = next(HeldRows(x, CUDA, away=True).split(10_000))
        others = [torch.full((10_000, 3), -1.0, device="cuda") for _ in range(4)]
        assert torch.equal(first.cpu(), x[:10_000].float())
        assert all(bool((other == -1).all()) for other in others)


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
@pytest.mark.parametrize("refused", [False, True])
def test_rows_that_are_held_give_the_loss_curve_of_those_that_are_there(
    monkeypatch, dtype, refused
):
    x = np.random.default_rng(0).integers(0, 256, (3000, 20)).astype(dtype)
    settings = {"hidden_layer_sizes": (16,), "max_epochs": 5, "random_state": 0}
    model = VIMAETransformer(2, pretraining=5, device="cuda", batch_size=64, **settings)
    expected = model.fit(x).loss_curve_
    monkeypatch.setattr(_placement, "SHARE", 0.0)
    assert isinstance(place(x, CUDA), HeldRows)
    if refused:
        monkeypatch.setattr(torch, "empty", locked)
    np.testing.assert_allclose(model.fit(x).loss_curve_, expected, rtol=1e-4)


@pytest.mark.gpu
def test_small_rows_go_to_the_gpu_and_memory_given_back_counts_as_free():
    free = free_memory(CUDA)
    placed = place(np.zeros((1000, 1000), dtype=np.float32), CUDA)
    assert placed.device.type == "cuda"
    taken = free - free_memory(CUDA)
    assert 4e6 <= taken < 1e9
    del placed
    assert free_memory(CUDA) >= free - 2**26
