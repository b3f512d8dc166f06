"""Eager training steps without the work around them: losses, gradients, optimizer update."""

from collections.abc import Sequence
from operator import is_
from typing import final

import torch
from torch import Tensor, optim

from skvim.engine.capture._training_step import TrainingStep
from skvim.engine.capture._update import Update
from skvim.objectives import Losses

__all__ = ["EagerStep"]


@final
class EagerStep:
    """A training step that does what skorch's does, where no callback observes batches.

    The optimizer moves all of its parameters that have gradients, from the second step on by an
    :class:`Update`, which does the work of ``optimizer.step()`` with fewer calls. The optimizer
    must not need a closure.
    """

    def __init__(self, step: TrainingStep, optimizer: optim.Optimizer) -> None:
        self.step = step
        self.optimizer = optimizer
        self.parameters = [p for group in optimizer.param_groups for p in group["params"]]
        self._update: Update | None = None

    def __call__(self, x: Tensor) -> Tensor:
        """Train on a batch and return its loss and terms, of shape (n_terms,)."""
        for parameter in self.parameters:
            parameter.grad = None
        losses: Losses = self.step.forward(x)
        losses.target.backward()  # type: ignore[no-untyped-call]
        with torch.no_grad():
            self._move()
            return torch.stack(losses.values)

    def _move(self) -> None:
        """Move parameters by their gradients."""
        every = [parameter.grad for parameter in self.parameters]
        pairs = zip(self.parameters, every, strict=True)
        trained = [parameter for parameter, gradient in pairs if gradient is not None]
        update = self._update
        if update is None or not _same(trained, update.parameters):
            self.optimizer.step()
            self._update = Update(self.optimizer, trained)
        elif update.on_device:
            update.sync_settings()
            update([gradient for gradient in every if gradient is not None])
        else:
            self.optimizer.step()


def _same(some: Sequence[object], others: Sequence[object]) -> bool:
    """Tell whether two sequences hold the same objects."""
    return len(some) == len(others) and all(map(is_, some, others))
