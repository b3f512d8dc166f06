"""Early stopping by the loss on validation rows."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, final

import torch
from torch import Tensor

from skvim.engine._streams import child_seed

__all__ = ["EarlyStopper", "Split", "Stopping", "rises", "split_rows"]

_ROUNDING = 1e-12
# Most epochs that are waited for to reach a patience in steps, after an improvement before them.
_MOST_EPOCHS = 30
# By how much recent losses exceed the lowest where a model overfits: share of the decrease so far,
# and nats per row and feature. They are the losses of this many times the patience in epochs, the
# lowest of which counts: single losses are far above those around them.
_CLEAR_SHARE, _CLEAR_NATS, _RECENT = 0.05, 0.05, 2


@final
@dataclass(frozen=True)
class Stopping:
    """Settings of early stopping."""

    fraction: float  # of the rows to validate on, in (0, 1)
    patience: int  # epochs without an improvement that end training
    tol: float  # what an improvement has to exceed, in nats per row
    step_patience: int = 0  # steps that those epochs have, unless they are many or losses rise

    def n_valid(self, n_rows: int) -> int:
        """Return the number of validation rows, rounded up."""
        # 0.07 · 100 is above 7 in floating point.
        return math.ceil(self.fraction * n_rows * (1 - _ROUNDING))

    def n_train(self, n_rows: int) -> int:
        """Return the number of rows that are left to train on."""
        return n_rows - self.n_valid(n_rows)


class Split(NamedTuple):
    """Positions of training and validation rows, sorted."""

    train: Tensor  # (n_train,)
    valid: Tensor  # (n_valid,)


def split_rows(stopping: Stopping, n_rows: int, seed: int, needed: tuple[int, int]) -> Split:
    """Split rows at random, by the seed alone; ValueError if parts are smaller than ``needed``."""
    n_valid = stopping.n_valid(n_rows)
    least_train, least_valid = max(2, needed[0]), needed[1]
    if n_rows - n_valid < least_train or n_valid < least_valid:
        raise ValueError(
            f"validation_fraction must leave at least {least_train} rows to train on and "
            f"{least_valid} to validate on. Got validation_fraction={stopping.fraction!r} for "
            f"{n_rows} rows, which is {n_valid} to validate on. Give more rows or another "
            "fraction, or set early_stopping=False."
        )
    # On the CPU, so that the split does not depend on the device.
    generator = torch.Generator().manual_seed(child_seed(seed, "validation rows"))
    order = torch.randperm(n_rows, generator=generator)
    return Split(order[n_valid:].sort().values, order[:n_valid].sort().values)


def rises(first: float, lowest: float, recent: Sequence[float], n_features: int) -> bool:
    """Tell whether all recent losses are clearly above the lowest one.

    Parameters
    ----------
    first, lowest : float
        Losses in nats per row.
    recent : sequence of float
        Losses of the last epochs.
    n_features : int
        Number of features of a row.
    """
    return min(recent) > lowest + max(_CLEAR_SHARE * (first - lowest), _CLEAR_NATS * n_features)


@final
class EarlyStopper:
    """State of early stopping: losses, epochs waited and the best tensors."""

    def __init__(self, stopping: Stopping, n_features: int) -> None:
        self.stopping = stopping
        self.n_features = n_features
        self.n_steps = 1  # of an epoch
        self.first_loss = math.inf
        self.best_loss = math.inf
        self.recent_losses: list[float] = []  # of the last epochs, twice as many as the patience
        self.n_epochs = 0
        self.n_waited = 0  # epochs since a loss was more than tol below the lowest before it
        self.best_tensors: list[Tensor] = []

    @property
    def n_to_wait(self) -> int:
        """Epochs after which training ends if none of them is an improvement; 0 ends it now.

        It ends sooner if the losses rise clearly.
        """
        patience, step_patience = self.stopping.patience, self.stopping.step_patience
        if self.n_waited >= _RECENT * patience and self._rises():
            return 0
        to_wait = patience
        if step_patience:
            by_steps = min(math.ceil(step_patience / self.n_steps), _MOST_EPOCHS)
            to_wait = max(patience, by_steps, self.n_epochs - self.n_waited)
        return max(0, to_wait - self.n_waited)

    def update(self, loss: float, n_steps: int) -> bool:
        """Take the loss after an epoch of some steps; return whether it is the lowest so far."""
        if not self.recent_losses:
            self.first_loss = loss
        self.n_steps = n_steps
        self.n_epochs += 1
        self.recent_losses = [*self.recent_losses, loss][-_RECENT * self.stopping.patience :]
        improved = loss < self.best_loss - self.stopping.tol
        self.n_waited = 0 if improved else self.n_waited + 1
        is_lowest = loss < self.best_loss
        self.best_loss = min(self.best_loss, loss)
        return is_lowest

    def _rises(self) -> bool:
        """Tell whether the recent losses are clearly above the lowest."""
        return rises(self.first_loss, self.best_loss, self.recent_losses, self.n_features)

    def save(self, tensors: Iterable[Tensor]) -> None:
        """Copy the values of tensors as the best ones."""
        self.best_tensors = [tensor.detach().clone() for tensor in tensors]

    def restore(self, tensors: Iterable[Tensor]) -> None:
        """Set tensors to the best values, if any were saved."""
        if self.best_tensors:
            with torch.no_grad():
                for tensor, value in zip(tensors, self.best_tensors, strict=True):
                    tensor.copy_(value)
