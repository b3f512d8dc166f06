"""Batches copied to a GPU beside its computation: each arrives as it is, and nobody waits."""

import numpy as np
import pytest
import torch

from skvim import VIMAETransformer
from skvim.engine import _placement, _staging
from skvim.engine._batches import TensorBatches
from skvim.engine._placement import HeldRows, free_memory, place

CUDA = torch.device("cuda")
DTYPES = pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])


def numbered(n, dtype):
    return (torch.arange(3 * n) % 251).to(dtype).reshape(n, 3)


def locked(*args, **kwargs):
    """Refuse page-locked memory, as a system does that has none left."""
    if kwargs.pop("pin_memory", False):
        raise RuntimeError("CUDA error: out of memory")
    return EMPTY(*args, **kwargs)


EMPTY = torch.empty


@DTYPES
def test_memory_that_cannot_be_locked_is_replaced(monkeypatch, dtype):
    monkeypatch.setattr(torch, "empty", locked)
    buffer = _staging._locked((3, 4), dtype)
    assert (buffer.shape, buffer.dtype) == ((3, 4), dtype)


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
