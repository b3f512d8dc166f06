"""Batches brought from main memory to a device, one ahead of the one in use."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import final

import torch
from torch import Tensor

__all__ = ["staged"]


def staged(
    kept: Tensor, index: Tensor | None, bounds: Sequence[tuple[int, int]], device: torch.device
) -> Iterator[Tensor]:
    """Yield batches of rows on a device; each is on its way while the one before it is used.

    Rows of a batch are gathered into one of two buffers in main memory, which CUDA copies on a
    stream of its own; page-locked where the system allows it, so that the copy runs beside host and
    device. Bytes travel as bytes. The rows themselves are not page-locked: that would copy them
    all, for buffers that are filled just as fast from ordinary memory.

    Parameters
    ----------
    kept : Tensor of shape (n_kept, n_features)
        Rows in main memory, of float32 or of bytes.
    index : Tensor of shape (n_samples,) or None
        Numbers of rows, in main memory; None for all rows in their order.
    bounds : sequence of (int, int)
        Start and stop of every batch in the index.
    device : torch.device
        Where batches are used, on the stream that is current when they are asked for.

    Yields
    ------
    Tensor of shape (stop - start, n_features)
        A batch of float32 that is nobody else's.
    """
    size = max((stop - start for start, stop in bounds), default=0)
    lanes = _lanes(kept, size, device)
    ahead: _Lane | None = None
    for i, (start, stop) in enumerate(bounds):
        lane = lanes[i % 2]
        lane.fill(kept, index, start, stop)
        lane.send()
        if ahead is not None:
            yield ahead.receive()
        ahead = lane
    if ahead is not None:
        yield ahead.receive()


class _Lane(ABC):
    """A buffer in main memory, and a way from there to the device.

    Parameters
    ----------
    buffer : Tensor of shape (size, n_features)
        Room for the largest batch.
    """

    def __init__(self, buffer: Tensor) -> None:
        self.buffer = buffer
        self.n_rows = 0

    @final
    def fill(self, kept: Tensor, index: Tensor | None, start: int, stop: int) -> None:
        """Gather a batch in the buffer, as soon as the one before it has left."""
        self.wait()
        self.n_rows = stop - start
        room = self.buffer[: self.n_rows]
        if index is None:
            room.copy_(kept[start:stop])
        else:
            torch.index_select(kept, 0, index[start:stop], out=room)

    @abstractmethod
    def wait(self) -> None:
        """Return when the buffer may be written to."""

    @abstractmethod
    def send(self) -> None:
        """Start the copy of the batch in the buffer."""

    @abstractmethod
    def receive(self) -> Tensor:
        """Return the batch that was sent, in float32 on the device."""


@final
class _PlainLane(_Lane):
    """A way to a device without streams."""

    def __init__(self, buffer: Tensor, device: torch.device) -> None:
        super().__init__(buffer)
        self.device = device

    def wait(self) -> None:
        """Do nothing: a batch leaves when it is received, before the next one is gathered."""

    def send(self) -> None:
        """Do nothing."""

    def receive(self) -> Tensor:
        """Copy the batch."""
        return self.buffer[: self.n_rows].to(self.device, copy=True).to(torch.float32)


@final
class _CudaLane(_Lane):
    """A way to a CUDA device on a stream beside the one that computes.

    Events alone keep the order: a copy starts when the batch before it in this lane was taken,
    and is taken when it has ended. The host waits only before it writes over a buffer whose copy,
    of two batches ago, has not ended, and never for what is computed with the batch in use.
    """

    def __init__(self, buffer: Tensor, device: torch.device, beside: torch.cuda.Stream) -> None:
        super().__init__(buffer)
        self.device, self.beside = device, beside
        # A landing place that stays needs no memory for each batch that the host is ahead.
        self.landing = torch.empty_like(buffer, device=device)
        # Should the loop break off, the memory is not given away under a copy on its way.
        self.landing.record_stream(beside)
        self.sent, self.taken = _event(), _event()
        # Whatever used this memory before has to be done with it.
        self.taken.record(torch.cuda.current_stream(device))

    def wait(self) -> None:
        """Wait for the copy that reads the buffer, if there is one."""
        self.sent.synchronize()

    def send(self) -> None:
        """Queue the copy behind the use of the landing place."""
        self.beside.wait_event(self.taken)
        with torch.cuda.stream(self.beside):
            room = self.landing[: self.n_rows]
            room.copy_(self.buffer[: self.n_rows], non_blocking=True)
        self.sent.record(self.beside)

    def receive(self) -> Tensor:
        """Queue behind the copy, and clear the landing place."""
        computing = torch.cuda.current_stream(self.device)
        computing.wait_event(self.sent)
        rows = self.landing[: self.n_rows].to(torch.float32, copy=True)
        self.taken.record(computing)
        return rows


def _event() -> torch.cuda.Event:
    """Return an event that nothing has recorded yet."""
    return torch.cuda.Event()  # type: ignore[no-untyped-call]


def _lanes(kept: Tensor, size: int, device: torch.device) -> list[_Lane]:
    """Return two lanes for batches of up to ``size`` rows."""
    shape = (size, kept.shape[1])
    if device.type != "cuda":
        return [_PlainLane(kept.new_empty(shape), device) for _ in range(2)]
    beside = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
    return [_CudaLane(_locked(shape, kept.dtype), device, beside) for _ in range(2)]


def _locked(shape: tuple[int, int], dtype: torch.dtype) -> Tensor:
    """Return page-locked memory where the system has any to give, else ordinary memory."""
    try:
        return torch.empty(shape, dtype=dtype, pin_memory=True)
    except RuntimeError:
        return torch.empty(shape, dtype=dtype)
