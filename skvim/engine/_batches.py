"""Batches cut from one tensor, without a DataLoader's cost per row."""

from collections import Counter
from collections.abc import Iterator
from typing import Any, final

import torch
from torch import Tensor
from torch.utils.data import Dataset, Subset

from skvim.engine._placement import TrainingRows, held, place

__all__ = ["Rows", "TensorBatches", "batch_bounds", "rows_of"]


@final
class Rows(Dataset[tuple[Tensor, Tensor]]):
    """Rows of one tensor as a torch data set whose target is the row itself.

    Parameters
    ----------
    x : Tensor of shape (n_samples, n_features), or HeldRows
        The rows, on the device where they will be used or held for it.
    """

    def __init__(self, x: TrainingRows) -> None:
        self.x = x

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        # Nothing of the engine asks for single rows.
        (row,) = next(iter(self.x[index : index + 1].split(1)))
        return row, row


def rows_of(dataset: Any, device: torch.device) -> TrainingRows:
    """Return the rows behind a data set, of float32 or of bytes.

    Parameters
    ----------
    dataset : Rows, Subset or skorch.dataset.Dataset
        Rows, the part of them that a split kept, or validation rows that the user brought.
    device : torch.device
        Where the rows will be used.

    Returns
    -------
    Tensor of shape (n_samples, n_features), or HeldRows
        Placed as ``place`` does; a part of the rows is no copy of them.
    """
    if isinstance(dataset, Subset):
        return held(rows_of(dataset.dataset, device))[torch.as_tensor(dataset.indices)]
    return place(dataset.x if isinstance(dataset, Rows) else dataset.X, device)


@final
class TensorBatches:
    """Slices of a tensor, in a fresh random order at each pass when a generator is given.

    Parameters
    ----------
    x : Tensor of shape (n_samples, n_features), or HeldRows
        Rows, of float32 or of bytes; batches are of float32, on ``x.device``.
    batch_size : int
        Rows in a batch.
    min_rows : int
        Rows that every batch needs.
    generator : torch.Generator or None
        Shuffles, on the device of ``x``, so that the order does not depend on where rows are held;
        None keeps the order.
    """

    def __init__(
        self, x: TrainingRows, batch_size: int, min_rows: int, generator: torch.Generator | None
    ) -> None:
        self.x = x
        self.generator = generator
        self.bounds = batch_bounds(len(x), batch_size, min_rows)

    def __len__(self) -> int:
        return len(self.bounds)

    @property
    def sizes(self) -> Counter[int]:
        """How many batches have how many rows."""
        return Counter(stop - start for start, stop in self.bounds)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        order = None
        if self.generator is not None:
            order = torch.randperm(len(self.x), generator=self.generator, device=self.x.device)
        for rows in held(self.x).batches(order, self.bounds):
            yield rows, rows


def batch_bounds(n_rows: int, batch_size: int, min_rows: int) -> list[tuple[int, int]]:
    """Return start and stop of every batch.

    A remainder of one row, or of fewer than ``min_rows``, joins the batch before it: no spread
    across rows exists for one row.
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
