"""Batches of rows cut from one tensor, without a DataLoader's cost per row."""

from collections.abc import Iterator
from typing import Any, final

import torch
from torch import Tensor
from torch.utils.data import Dataset, Subset

from skvim.engine._placement import TrainingRows, lazy, place

__all__ = ["Rows", "TensorBatches", "batch_bounds", "rows_of"]


@final
class Rows(Dataset[tuple[Tensor, Tensor]]):
    """Stored rows as a torch data set whose target is the row itself."""

    def __init__(self, x: TrainingRows) -> None:
        self.x = x

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        # For users' callbacks: the engine asks for no single rows.
        (row,) = next(iter(self.x[index : index + 1].split(1)))
        return row, row


def rows_of(dataset: Any, device: torch.device) -> TrainingRows:
    """Return the rows of Rows, of a Subset (no copy), or of a skorch Dataset (the user's)."""
    if isinstance(dataset, Subset):
        return lazy(rows_of(dataset.dataset, device))[torch.as_tensor(dataset.indices)]
    return place(dataset.x if isinstance(dataset, Rows) else dataset.X, device)


@final
class TensorBatches:
    """Float32 batches of rows, each of at least ``min_rows``, as pairs (rows, rows).

    A generator, on the device of ``x``, draws a new order for every pass; None keeps the order.
    """

    def __init__(
        self, x: TrainingRows, batch_size: int, min_rows: int, generator: torch.Generator | None
    ) -> None:
        self.x = x
        self.generator = generator
        self.bounds = batch_bounds(len(x), batch_size, min_rows)

    def __len__(self) -> int:
        return len(self.bounds)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        order = None
        if self.generator is not None:
            order = torch.randperm(len(self.x), generator=self.generator, device=self.x.device)
        for rows in lazy(self.x).batches(order, self.bounds):
            yield rows, rows


def batch_bounds(n_rows: int, batch_size: int, min_rows: int) -> list[tuple[int, int]]:
    """Return start and stop of every batch.

    A remainder of one row, which has no variance, or of fewer than ``min_rows`` joins the batch
    before it.
    """
    if n_rows < min_rows:
        raise ValueError(
            f"The divergence in use needs {min_rows} rows at a time. Got {n_rows} rows to train "
            "or validate on; give more, or change how net_params splits them."
        )
    starts = list(range(0, n_rows, batch_size))
    if len(starts) > 1 and n_rows - starts[-1] < max(min_rows, min(2, batch_size)):
        starts.pop()
    return list(zip(starts, [*starts[1:], n_rows], strict=True))
