"""When training ends before its last epoch: by its loss on rows that are set aside."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple, final

import torch
from torch import Tensor

from skvim.engine._streams import child_seed

__all__ = ["Split", "Stopping", "Watch", "split_rows"]

_ROUNDING = 1e-12


@final
@dataclass(frozen=True)
class Stopping:
    """When to stop.

    Attributes
    ----------
    fraction : float in (0, 1)
        Share of the rows to set aside, rounded up to whole rows.
    patience : int in [1, inf)
        Epochs without an improvement that end training.
    tol : float in [0, inf)
        What an improvement has to exceed, in nats per row.
    """

    fraction: float
    patience: int
    tol: float

    def n_valid(self, n_rows: int) -> int:
        """Return how many rows are set aside."""
        # 0.07 · 100 is above 7 in floating point.
        return math.ceil(self.fraction * n_rows * (1 - _ROUNDING))


class Split(NamedTuple):
    """Numbers of rows, each in rising order.

    Attributes
    ----------
    train, valid : Tensor of shape (n_train,), (n_valid,)
        Those to train on, and those set aside.
    """

    train: Tensor
    valid: Tensor


def split_rows(stopping: Stopping, n_rows: int, seed: int, needed: tuple[int, int]) -> Split:
    """Set rows aside at random.

    Parameters
    ----------
    stopping : Stopping
        Which share.
    n_rows : int
        Rows that there are.
    seed : int
        Of the training; the split depends on nothing else.
    needed : tuple (n_train, n_valid)
        Fewest rows of each part that the model takes. It trains on no fewer than two.

    Raises
    ------
    ValueError
        When there are fewer.
    """
    n_valid = stopping.n_valid(n_rows)
    least_train, least_valid = max(2, needed[0]), needed[1]
    if n_rows - n_valid < least_train or n_valid < least_valid:
        raise ValueError(
            f"validation_fraction must leave at least {least_train} rows to train on and "
            f"{least_valid} to validate on. Got validation_fraction={stopping.fraction!r} for "
            f"{n_rows} rows, which is {n_valid} to validate on. Give more rows or another "
            "fraction, or set early_stopping=False."
        )
    # On the CPU, so that the rows do not depend on the device.
    generator = torch.Generator().manual_seed(child_seed(seed, "validation rows"))
    order = torch.randperm(n_rows, generator=generator)
    return Split(order[n_valid:].sort().values, order[:n_valid].sort().values)


@final
class Watch:
    """The validation loss of one model, and what the model was when it was lowest.

    Parameters
    ----------
    stopping : Stopping
        When to stop.

    Attributes
    ----------
    best : float
        Lowest loss so far.
    n_waited : int
        Epochs since the last improvement by more than the tolerance on the lowest before it.
    """

    def __init__(self, stopping: Stopping) -> None:
        self.stopping = stopping
        self.best = math.inf
        self.n_waited = 0
        self.kept: list[Tensor] = []

    @property
    def n_to_wait(self) -> int:
        """Epochs that are still to come if none of them is an improvement."""
        return max(0, self.stopping.patience - self.n_waited)

    @property
    def is_over(self) -> bool:
        """Whether training should end."""
        return self.n_to_wait == 0

    def update(self, loss: float) -> bool:
        """Take an epoch's loss, and return whether it is the lowest so far."""
        improved = loss < self.best - self.stopping.tol
        self.n_waited = 0 if improved else self.n_waited + 1
        lowest = loss < self.best
        self.best = min(self.best, loss)
        return lowest

    def keep(self, tensors: Iterable[Tensor]) -> None:
        """Remember the values of tensors as they are."""
        self.kept = [tensor.detach().clone() for tensor in tensors]

    def restore(self, tensors: Iterable[Tensor]) -> None:
        """Give tensors the values that were remembered last, if any were."""
        if self.kept:
            with torch.no_grad():
                for tensor, value in zip(tensors, self.kept, strict=True):
                    tensor.copy_(value)
