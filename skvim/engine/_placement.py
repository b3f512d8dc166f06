"""Where training rows live: on the device that trains, or in main memory and brought batchwise."""

from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from skvim.engine._staging import staged

__all__ = [
    "SHARE",
    "HeldRows",
    "TrainingRows",
    "as_rows",
    "fits",
    "free_memory",
    "held",
    "place",
]

#: Share of a device's free memory that training rows may take.
SHARE = 0.5
# A number of a row, in the random order of a pass.
_INDEX_BYTES = 8


@final
class HeldRows:
    """Rows of a tensor, or some of them, for use on a device where they need not lie.

    Parameters
    ----------
    kept : Tensor of shape (n_kept, n_features)
        Rows, of float32 or of bytes. They are read only.
    device : torch.device
        Where the rows will be used.
    index : Tensor of shape (n_samples,) or None
        Which of them these are, beside ``kept``; None for all. The others are not touched, and
        no rows are copied before they are asked for.
    away : bool, default=False
        Whether ``kept`` lies in main memory and its rows are copied to the device batchwise.
    """

    def __init__(
        self, kept: Tensor, device: torch.device, index: Tensor | None = None, away: bool = False
    ) -> None:
        self.kept = kept
        self.device = device
        self.index = index
        self.away = away

    def __len__(self) -> int:
        return len(self.kept if self.index is None else self.index)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and features."""
        return len(self), self.kept.shape[1]

    def __getitem__(self, index: Tensor | slice) -> "HeldRows":
        """Return some of the rows, named by numbers on any device, without a copy of a row."""
        if isinstance(index, Tensor):
            return HeldRows(self.kept, self.device, self._numbers(index), self.away)
        if self.index is None:
            return HeldRows(self.kept[index], self.device, None, self.away)
        return HeldRows(self.kept, self.device, self.index[index], self.away)

    def split(self, size: int) -> Iterator[Tensor]:
        """Yield all rows in their order, on the device, ``size`` at a time (fewer at the end)."""
        starts = range(0, len(self), size)
        return self.batches(None, [(start, min(start + size, len(self))) for start in starts])

    def batches(self, order: Tensor | None, bounds: Sequence[tuple[int, int]]) -> Iterator[Tensor]:
        """Yield batches of float32 on the device, none of which shares memory with the rows.

        Parameters
        ----------
        order : Tensor of shape (n_samples,) or None
            Numbers of rows, on any device; None keeps the order.
        bounds : sequence of (int, int)
            Start and stop of every batch in that order.

        Yields
        ------
        Tensor of shape (stop - start, n_features)
            A batch.
        """
        index = self.index if order is None else self._numbers(order)
        if self.away:
            yield from staged(self.kept, index, bounds, self.device)
            return
        for start, stop in bounds:
            if index is None:
                # What receives a batch may write to it, and the rows are the user's own.
                yield self.kept[start:stop].to(torch.float32, copy=True)
            else:
                # On a CPU up to four times as fast as indexing with brackets.
                yield self.kept.index_select(0, index[start:stop]).to(torch.float32)

    def _numbers(self, index: Tensor) -> Tensor:
        """Return which of the kept rows an index into these rows means, beside them."""
        # An order comes over once a pass: drawn where it always is, it is the same order wherever
        # the rows lie, so that a fit does not depend on what memory was free.
        index = index.to(self.kept.device)
        return index if self.index is None else self.index[index]


#: Rows on the device itself, or held for it.
TrainingRows: TypeAlias = Tensor | HeldRows


def fits(n_bytes: int, free: int | None) -> bool:
    """Whether rows go to the device that trains.

    Parameters
    ----------
    n_bytes : int
        Memory that they and the order of a pass take there.
    free : int or None
        Memory in bytes that is free there; None where nothing limits them: on a CPU, which has
        them in its memory anyway, and on devices that do not tell.

    Returns
    -------
    bool
        True up to half of what is free, ``SHARE``: weights, gradients, the optimizer's state
        and what a batch needs in between have the rest.

    Examples
    --------
    >>> from skvim.engine._placement import fits
    >>> fits(4_000, 8_000), fits(4_001, 8_000), fits(4_001, None)
    (True, False, True)
    """
    return free is None or n_bytes <= SHARE * free


def free_memory(device: torch.device) -> int | None:
    """Return the bytes that can be allocated on a CUDA device; None for any other.

    What torch keeps of memory given back before, by an earlier fit say, can be had again.
    """
    if device.type != "cuda":
        return None
    index = torch.cuda.current_device() if device.index is None else device.index
    free, _ = torch.cuda.mem_get_info(index)
    return free + torch.cuda.memory_reserved(index) - torch.cuda.memory_allocated(index)


def place(rows: Any, device: torch.device) -> TrainingRows:
    """Return rows as training keeps them, where it keeps them: bytes as bytes, else in float32.

    Parameters
    ----------
    rows : array-like of shape (n_samples, n_features) or more axes, Tensor or HeldRows
        Rows, or images, each of which becomes a row. What is placed already stays there.
    device : torch.device
        Where the rows will be used.

    Returns
    -------
    Tensor of shape (n_samples, n_features), or HeldRows
        A tensor on the device if ``fits`` says so, without a copy where type and device are
        right already: a memory map of float32 or of bytes stays on the disk. Else rows held in
        main memory, which go to the device batchwise.
    """
    if isinstance(rows, HeldRows):
        return rows
    found = as_rows(rows).flatten(1)
    dtype = torch.uint8 if found.dtype == torch.uint8 else torch.float32
    n_bytes = found.numel() * dtype.itemsize + _INDEX_BYTES * len(found)
    if found.device.type != "cpu" or fits(n_bytes, free_memory(device)):
        return found.to(device=device, dtype=dtype)
    return HeldRows(found.to(dtype), device, away=True)


def held(rows: TrainingRows) -> HeldRows:
    """Return placed rows such that parts and batches of them can be taken without a copy."""
    return rows if isinstance(rows, HeldRows) else HeldRows(rows, rows.device)


def as_rows(X: Any) -> Tensor:
    """Return an array-like as a tensor that must not be written to, without a copy of an array."""
    if not isinstance(X, np.ndarray):
        return torch.as_tensor(X)
    if min(X.strides, default=0) < 0:  # torch takes none that runs backwards
        return torch.as_tensor(np.ascontiguousarray(X))
    return torch.as_tensor(X if X.flags.writeable else np.asarray(_Unlocked(X)))


@final
class _Unlocked:
    """The memory of a read-only array as NumPy's array interface, without the lock.

    torch knows no tensor that is read only: it warns of such an array, and a copy would read a
    memory map as a whole.
    """

    def __init__(self, X: NDArray[Any]) -> None:
        self._owner = X  # keeps the memory
        address, _ = X.__array_interface__["data"]
        self.__array_interface__ = {**X.__array_interface__, "data": (address, False)}
