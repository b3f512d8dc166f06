"""Batches of rows cut from one tensor, without a DataLoader's cost per row."""

import math
from collections.abc import Iterator
from typing import Any, final

import torch
from torch import Tensor
from torch.utils.data import Subset

from skvim.engine._placement import Rows, place

__all__ = ["TensorBatches", "batch_bounds", "epochs_for", "rows_of"]

# What max_epochs="auto" stands for at least: an epoch of a small table has few steps.
_LEAST_EPOCHS, _LEAST_STEPS = 100, 2000


def rows_of(dataset: Any, device: torch.device) -> Rows:
    """Return the rows of a data set: Rows, a Subset of a split, or the user's skorch Dataset."""
    if isinstance(dataset, Subset):
        return rows_of(dataset.dataset, device).select(torch.as_tensor(dataset.indices))
    return dataset if isinstance(dataset, Rows) else place(dataset.X, device)


@final
class TensorBatches:
    """Float32 batches of rows, each of at least ``min_rows``, as pairs (rows, rows).

    A generator, on the device of ``x``, draws a new order for every pass; None keeps the order.
    """

    def __init__(
        self, x: Rows, batch_size: int, min_rows: int, generator: torch.Generator | None
    ) -> None:
        self.x = x
        self.generator = generator
        self.bounds = batch_bounds(len(x), batch_size, min_rows)
        self.n_skipped = 0  # batches to leave out at the beginning of the next pass

    def __len__(self) -> int:
        return len(self.bounds)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        order = None
        if self.generator is not None:
            order = torch.randperm(len(self.x), generator=self.generator, device=self.x.device)
        bounds, self.n_skipped = self.bounds[self.n_skipped :], 0
        for rows in self.x.batches(order, bounds):
            yield rows, rows


def batch_bounds(n_rows: int, batch_size: int, min_rows: int) -> list[tuple[int, int]]:
    """Return start and stop of every batch; a remainder that is too small joins the last one."""
    if n_rows < min_rows:
        raise ValueError(
            f"The divergence in use needs {min_rows} rows at a time. Got {n_rows} rows to train "
            "or validate on; give more, or change how net_params splits them."
        )
    starts = list(range(0, n_rows, batch_size))
    # One row has no variance.
    if len(starts) > 1 and n_rows - starts[-1] < max(min_rows, min(2, batch_size)):
        starts.pop()
    return list(zip(starts, [*starts[1:], n_rows], strict=True))


def epochs_for(n_rows: int | None, batch_size: int, min_rows: int) -> int:
    """Return the number of epochs that ``max_epochs="auto"`` stands for.

    Parameters
    ----------
    n_rows : int or None
        Number of rows that are trained on beside rows set aside; None if none are set aside.
    batch_size : int
        Rows of a batch.
    min_rows : int
        Least number of rows of a batch, see ``batch_bounds``.

    Returns
    -------
    int
        100; where rows are set aside, as many as have 2,000 steps, one per batch, if that is more.

    Examples
    --------
    >>> from skvim.engine._batches import epochs_for
    >>> epochs_for(150, 100, 1), epochs_for(5000, 100, 1)
    (1000, 100)
    >>> epochs_for(None, 100, 1)
    100
    """
    if n_rows is None:
        return _LEAST_EPOCHS
    # Too few rows are refused later, for what needs them.
    n_batches = len(batch_bounds(max(n_rows, min_rows, 1), batch_size, min_rows))
    return max(_LEAST_EPOCHS, math.ceil(_LEAST_STEPS / n_batches))
