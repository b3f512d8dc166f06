"""Batches cut from one tensor, without a DataLoader's cost per row."""

from collections.abc import Iterator
from typing import final

import torch
from torch import Tensor
from torch.utils.data import Dataset, Subset

__all__ = ["Rows", "TensorBatches", "batch_bounds", "rows_of"]


@final
class Rows(Dataset[tuple[Tensor, Tensor]]):
    """Rows of one tensor as a torch data set whose target is the row itself.

    Parameters
    ----------
    x : Tensor of shape (n_samples, n_features)
        The rows, on the device where they will be used.
    """

    def __init__(self, x: Tensor) -> None:
        self.x = x

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        return self.x[index], self.x[index]


def rows_of(dataset: "Rows | Subset[tuple[Tensor, Tensor]]") -> Tensor:
    """Return the tensor behind the rows, or behind the part of them that a split kept."""
    if isinstance(dataset, Subset):
        return rows_of(dataset.dataset)[torch.as_tensor(dataset.indices)]  # type: ignore[arg-type]
    return dataset.x


@final
class TensorBatches:
    """Slices of a tensor, in a fresh random order at each pass when a generator is given.

    Parameters
    ----------
    x : Tensor of shape (n_samples, n_features)
        Rows.
    batch_size : int
        Rows in a batch.
    generator : torch.Generator or None
        Shuffles, on the device of ``x``; None keeps the order.
    """

    def __init__(self, x: Tensor, batch_size: int, generator: torch.Generator | None) -> None:
        self.x = x
        self.generator = generator
        self.bounds = batch_bounds(len(x), batch_size)

    def __len__(self) -> int:
        return len(self.bounds)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        order = None
        if self.generator is not None:
            order = torch.randperm(len(self.x), generator=self.generator, device=self.x.device)
        for start, stop in self.bounds:
            rows = self.x[start:stop] if order is None else self.x[order[start:stop]]
            yield rows, rows


def batch_bounds(n_rows: int, batch_size: int) -> list[tuple[int, int]]:
    """Return start and stop of every batch.

    A remainder of one row joins the batch before it: no spread across rows exists for one row.
    """
    starts = list(range(0, n_rows, batch_size))
    if len(starts) > 1 and batch_size > 1 and n_rows - starts[-1] == 1:
        starts.pop()
    return list(zip(starts, [*starts[1:], n_rows], strict=True))
