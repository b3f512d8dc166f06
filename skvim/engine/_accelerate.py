"""Which training steps are captured, and when."""

import warnings
from collections.abc import Mapping
from typing import final

from torch import Tensor, optim

from skvim.engine._capture import CapturedStep, TrainingStep, capture, is_own
from skvim.engine._graphs import GraphedStep, report_no_graph
from skvim.engine._modes import has_graphs
from skvim.engine._trace import NotTraceableError
from skvim.exceptions import AccelerationWarning
from skvim.objectives import Autoencoder, Objective

__all__ = ["ACCELERATIONS", "Accelerator"]

Repeated = CapturedStep | GraphedStep

#: Ways to run training steps beside the plain one.
ACCELERATIONS = ("auto", "capture", "compile")

# Steps after which capturing one has paid: a second or less, at a saving of half a millisecond.
_WORTHWHILE = 2000


@final
class Accelerator:
    """The captured steps of one training, by the shape of the batch.

    Parameters
    ----------
    mode : {"auto", "capture", "compile"} or None
        "auto" captures where the code is skvim's and torch's own and steps enough are to come.
    step : TrainingStep
        What to capture.
    optimizer : Optimizer
        What moves its parameters.
    reason : str, default=""
        Why steps have to run eagerly, if they have to.

    Attributes
    ----------
    reason : str
        Why steps cannot be captured, or nothing.
    """

    def __init__(
        self, mode: str | None, step: TrainingStep, optimizer: optim.Optimizer, reason: str = ""
    ) -> None:
        self.mode = mode
        self.step = step
        self.optimizer = optimizer
        self.steps: dict[tuple[int, ...], Repeated] = {}
        self.reason = reason or ("" if mode else "acceleration is None")
        if mode == "auto" and not (reason or (step.is_own() and is_own(optimizer))):
            self.reason = "parts of the model are neither skvim's nor torch's"
        self.signature: tuple[object, ...] = ()
        self.chosen: set[int] = set()
        self.n_eager = 0

    def is_for(self, model: Autoencoder, objective: Objective, own: optim.Optimizer) -> bool:
        """Whether these are what it was made for."""
        step = self.step
        return step.model is model and step.objective is objective and self.optimizer is own

    def begin_epoch(self, sizes: Mapping[int, int], n_epochs: int) -> None:
        """Forget captured steps if what they took for granted has changed.

        Parameters
        ----------
        sizes : mapping from int to int
            How many batches of the epoch have how many rows.
        n_epochs : int
            Epochs to come, this one included.
        """
        if self.steps and self._signature() != self.signature:
            self.steps.clear()
        enough = 1 if self.mode != "auto" else _WORTHWHILE
        self.chosen = {size for size, count in sizes.items() if count * n_epochs >= enough}

    def captured(self, x: Tensor) -> Repeated | None:
        """Return the step for batches like this one, or None to run it eagerly."""
        key = tuple(x.shape)
        known = self.steps.get(key)
        if known is not None or self.reason or key[0] not in self.chosen:
            return known
        # The optimizer makes its state in its first step.
        self.n_eager += 1
        return self._capture(x) if self.n_eager > 1 else None

    def plain_because(self) -> str:
        """Say why steps run eagerly; nothing if some are captured."""
        if self.steps or self.reason:
            return "" if self.steps else self.reason
        if not self.chosen:
            return f"fewer than {_WORTHWHILE} steps with batches of one size were to come"
        return "the optimizer had yet to take its first step"

    def _capture(self, x: Tensor) -> Repeated | None:
        """Capture a step, or keep the reason why it is not possible."""
        try:
            step: Repeated = self._captured(x)
        except Exception as error:  # what torch's tracer does changes from release to release
            self.reason = f"{type(error).__name__}: {error}"
            self._report(f"Training runs without acceleration: {error}")
            return None
        self.signature = self._signature()
        self.steps[tuple(x.shape)] = step
        return step

    def _captured(self, x: Tensor) -> Repeated:
        """Return the fastest form of the step that there is here."""
        step = self._compiled(x) if self.mode == "compile" else None
        if step is None:
            step = capture(self.step, x, self.optimizer)
        if not has_graphs(x.device):
            return step
        try:
            return GraphedStep(step, x)
        except RuntimeError as error:
            report_no_graph(self.mode, error)
            return step

    def _compiled(self, x: Tensor) -> CapturedStep | None:
        """Return the step as torch's compiler makes it, if it does."""
        try:
            return capture(self.step, x, self.optimizer, compiled=True)
        except NotTraceableError as error:
            self._report(f"Training steps are captured, but not compiled: {error}")
            self.mode = "capture"
            return None

    def _report(self, message: str) -> None:
        """Say what does not go as it was asked for."""
        if self.mode != "auto":
            warnings.warn(message, AccelerationWarning, stacklevel=2)

    def _signature(self) -> tuple[object, ...]:
        """Return what captured steps take for granted."""
        settings = [
            (name, repr(value))
            for group in self.optimizer.param_groups
            for name, value in group.items()
            if name not in {"params", "lr"}
        ]
        own = self.optimizer
        hooks = (*own._optimizer_step_pre_hooks.values(), *own._optimizer_step_post_hooks.values())
        changed = (*map(id, hooks), id(vars(own).get("step")))
        return (*self.step.signature(), *map(id, own.state.values()), *changed, *settings)
