"""Storage of training rows: on the training device, or in main memory with prefetched batches."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any, final

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

__all__ = ["SHARE", "Rows", "as_rows", "free_memory", "place"]

#: Share of a device's free memory that training rows may take. Weights, gradients, the optimizer's
#: state and activations have the rest.
SHARE = 0.5
# An entry of the random order of an epoch.
_INDEX_BYTES = 8


@final
@dataclass(frozen=True, eq=False)
class Rows(Dataset[tuple[Tensor, Tensor]]):
    """Rows of a tensor, or those of an index, as a data set; they are gathered batch by batch.

    With ``prefetch`` the tensor is in main memory, and batches are copied ahead of their use. As
    items, single rows are their own targets.
    """

    data: Tensor  # (n_rows, n_features) of float32 or bytes, never written to
    device: torch.device  # of the batches
    index: Tensor | None = None  # beside the data; None for all rows
    prefetch: bool = False

    def __len__(self) -> int:
        return len(self.data if self.index is None else self.index)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        # For callbacks: the engine asks for no single rows.
        (row,) = next(iter(self.select(slice(index, index + 1)).split(1)))
        return row, row

    @property
    def shape(self) -> tuple[int, int]:
        """Numbers of rows and features."""
        return len(self), self.data.shape[1]

    def select(self, index: Tensor | slice) -> "Rows":
        """Select rows, by a slice or by positions on any device, without a copy of a row."""
        if isinstance(index, Tensor):
            return replace(self, index=self._positions(index))
        if self.index is None:
            return replace(self, data=self.data[index])
        return replace(self, index=self.index[index])

    def split(self, size: int) -> Iterator[Tensor]:
        """Yield all rows in order, at most ``size`` at a time, as :meth:`batches` does."""
        starts = range(0, len(self), size)
        return self.batches(None, [(start, min(start + size, len(self))) for start in starts])

    def batches(self, order: Tensor | None, bounds: Sequence[tuple[int, int]]) -> Iterator[Tensor]:
        """Yield float32 batches on the device that share no memory with the rows.

        ``order`` has the positions of rows, on any device; None keeps them in order. ``bounds``
        has start and stop of every batch in that order.
        """
        index = self.index if order is None else self._positions(order)
        if self.prefetch:
            return _prefetched(self.data, index, bounds, self.device)
        if index is None:
            # Whoever receives a batch may write to it, and the rows are the user's.
            return (self.data[start:stop].to(torch.float32, copy=True) for start, stop in bounds)
        # On a CPU up to four times as fast as indexing with brackets.
        parts = (self.data.index_select(0, index[start:stop]) for start, stop in bounds)
        return (part.to(torch.float32) for part in parts)

    def _positions(self, index: Tensor) -> Tensor:
        """Return an index of these rows as one of ``data``, beside it."""
        # Orders are drawn on the training device wherever the rows are, so that a fit does not
        # depend on free memory. They are copied once an epoch.
        index = index.to(self.data.device)
        return index if self.index is None else self.index[index]


def place(X: Any, device: torch.device) -> Rows:
    """Store rows or images for training, as bytes if they are bytes, else in float32.

    They are stored on the device if it has room, without a copy where type and device are right
    already: a memory map stays on the disk. Otherwise they stay in main memory.
    """
    if isinstance(X, Rows):
        return X
    flat = as_rows(X).flatten(1)
    dtype = torch.uint8 if flat.dtype == torch.uint8 else torch.float32
    n_bytes = flat.numel() * dtype.itemsize + _INDEX_BYTES * len(flat)
    if flat.device.type != "cpu" or n_bytes <= SHARE * free_memory(device):
        return Rows(flat.to(device=device, dtype=dtype), device)
    return Rows(flat.to(dtype), device, prefetch=True)


def free_memory(device: torch.device) -> float:
    """Return the bytes that torch can allocate on a CUDA device; infinite for other devices."""
    if device.type != "cuda":
        return math.inf
    index = torch.cuda.current_device() if device.index is None else device.index
    free, _ = torch.cuda.mem_get_info(index)
    # Memory that torch keeps from earlier tensors can be had again.
    return free + torch.cuda.memory_reserved(index) - torch.cuda.memory_allocated(index)


def as_rows(X: Any) -> Tensor:
    """Return an array-like as a tensor that must not be written to, without a copy of an array."""
    if not isinstance(X, np.ndarray):
        return torch.as_tensor(X)
    if min(X.strides, default=0) < 0:  # torch has no negative strides
        return torch.as_tensor(np.ascontiguousarray(X))
    if not X.flags.writeable:
        # torch has no read-only tensors and warns of such an array, and a copy would read all of a
        # memory map: pass the same memory as writeable.
        address, _ = X.__array_interface__["data"]
        interface = {**X.__array_interface__, "data": (address, False)}
        X = np.asarray(SimpleNamespace(__array_interface__=interface, owner=X))
    return torch.from_numpy(X)


def _prefetched(
    data: Tensor, index: Tensor | None, bounds: Sequence[tuple[int, int]], device: torch.device
) -> Iterator[Tensor]:
    """Yield batches of rows in main memory; the next one is copied while one is used.

    Rows are gathered into one of two pinned buffers. The rows themselves are not pinned: that would
    copy all of them, and buffers are filled as fast from pageable memory.
    """
    shape = (max((stop - start for start, stop in bounds), default=0), data.shape[1])
    on_cuda = device.type == "cuda"
    stream = torch.cuda.Stream(device) if on_cuda else None  # type: ignore[no-untyped-call]
    hosts = [_host_memory(shape, data.dtype, pinned=on_cuda) for _ in range(2)]
    buffers = [_Buffer(host, device, stream) for host in hosts]
    for i, bound in enumerate([*bounds, None]):
        if bound is not None:
            buffers[i % 2].send(data, index, *bound)
        if i > 0:
            yield buffers[(i - 1) % 2].receive()


@final
class _Buffer:
    """Memory for a batch on its way to a device; on CUDA it is copied on ``stream``.

    Events alone order the copies: one starts when the previous batch of this buffer was received,
    and is received when it has ended. The host waits only for the copy of two batches ago, before
    it overwrites its source, and never for the computation.
    """

    def __init__(
        self, host: Tensor, device: torch.device, stream: torch.cuda.Stream | None
    ) -> None:
        self.host, self.device, self.stream = host, device, stream
        self.n_rows = 0
        if stream is not None:
            # Allocated once, however many batches the host is ahead.
            self.target = torch.empty_like(host, device=device)
            # Should the loop break off, the memory is not reused before its copy has ended.
            self.target.record_stream(stream)
            self.copied = torch.cuda.Event()  # type: ignore[no-untyped-call]
            self.received = torch.cuda.Event()  # type: ignore[no-untyped-call]
            # The previous use of this memory must have ended.
            self.received.record(torch.cuda.current_stream(device))

    def send(self, data: Tensor, index: Tensor | None, start: int, stop: int) -> None:
        """Gather a batch, and start its copy where it runs beside the host."""
        if self.stream is not None:
            self.copied.synchronize()
        self.n_rows = stop - start
        host = self.host[: self.n_rows]
        if index is None:
            host.copy_(data[start:stop])
        else:
            torch.index_select(data, 0, index[start:stop], out=host)
        if self.stream is not None:
            self.stream.wait_event(self.received)
            with torch.cuda.stream(self.stream):
                self.target[: self.n_rows].copy_(host, non_blocking=True)
            self.copied.record(self.stream)

    def receive(self) -> Tensor:
        """Return the batch in float32, in memory of its own on the device."""
        if self.stream is None:
            return self.host[: self.n_rows].to(self.device, copy=True).to(torch.float32)
        computing = torch.cuda.current_stream(self.device)
        computing.wait_event(self.copied)
        rows = self.target[: self.n_rows].to(torch.float32, copy=True)
        self.received.record(computing)
        return rows


def _host_memory(shape: tuple[int, int], dtype: torch.dtype, *, pinned: bool) -> Tensor:
    """Return main memory, page-locked if it should be and the system has any to give."""
    try:
        return torch.empty(shape, dtype=dtype, pin_memory=pinned)
    except RuntimeError:
        return torch.empty(shape, dtype=dtype)
