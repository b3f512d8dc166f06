"""Choice of how training steps are run: eagerly, captured, compiled or as a CUDA graph."""

import warnings
from collections.abc import Mapping
from typing import final

from torch import Tensor, optim

from skvim.engine.capture._captured import CapturedStep, capture
from skvim.engine.capture._graphs import GraphedStep, warn_of_no_graph
from skvim.engine.capture._recorder import NotTraceableError
from skvim.engine.capture._step import TrainingStep, is_library_code
from skvim.exceptions import AccelerationWarning

__all__ = ["ACCELERATIONS", "Accelerator"]

#: Ways to run training steps other than eagerly.
ACCELERATIONS = ("auto", "capture", "compile")

# Steps from which on a capture pays: it takes as long as hundreds of eager steps.
_WORTHWHILE = 2000


@final
class Accelerator:
    """The captured steps of one training, by the shape of the batch.

    Parameters
    ----------
    mode : {"auto", "capture", "compile"} or None
        "auto" captures where all code is skvim's and torch's and enough steps are to come.
    step : TrainingStep
        What to capture.
    optimizer : Optimizer
        What moves its parameters.
    reason : str, default=""
        Why steps have to run eagerly, if they have to.
    verbose : int, default=0
        Whether a capture that fails is printed in mode "auto".

    Attributes
    ----------
    reason : str
        Why steps cannot be captured, or "".
    """

    def __init__(
        self,
        mode: str | None,
        step: TrainingStep,
        optimizer: optim.Optimizer,
        reason: str = "",
        verbose: int = 0,
    ) -> None:
        self.mode = mode
        self.step = step
        self.optimizer = optimizer
        self.verbose = verbose
        self.reason = reason or ("" if mode else "acceleration is None")
        if mode == "auto" and not (
            reason or (step.is_library_code() and is_library_code(optimizer))
        ):
            self.reason = "parts of the model are neither skvim's nor torch's"
        self._steps: dict[tuple[int, ...], CapturedStep | GraphedStep] = {}
        self._chosen: set[int] = set()
        self._n_eager = 0

    def begin_epoch(self, sizes: Mapping[int, int], n_epochs: int) -> None:
        """Choose the batch sizes that are worth a capture.

        Parameters
        ----------
        sizes : mapping from int to int
            Number of batches of the epoch for each number of rows.
        n_epochs : int
            Epochs to come, this one included.
        """
        enough = 1 if self.mode != "auto" else _WORTHWHILE
        self._chosen = {size for size, count in sizes.items() if count * n_epochs >= enough}

    def captured(self, x: Tensor) -> CapturedStep | GraphedStep | None:
        """Return the step for batches like this one, or None to run it eagerly."""
        key = tuple(x.shape)
        known = self._steps.get(key)
        if known is not None or self.reason or key[0] not in self._chosen:
            return known
        # The optimizer makes its state in its first step.
        self._n_eager += 1
        return self._capture(x) if self._n_eager > 1 else None

    def plain_because(self) -> str:
        """Return why steps run eagerly, or "" if some are captured."""
        if self._steps or self.reason:
            return "" if self._steps else self.reason
        if not self._chosen:
            return f"fewer than {_WORTHWHILE} steps with batches of one size were to come"
        return "the optimizer had yet to take its first step"

    def _capture(self, x: Tensor) -> CapturedStep | GraphedStep | None:
        """Capture a step, or keep the reason why it is not possible."""
        try:
            step = self._fastest(x)
        except Exception as error:  # torch's internals raise errors of any type
            self.reason = f"{type(error).__name__}: {error}"
            self._report(f"Training runs without acceleration: {error}")
            return None
        self._steps[tuple(x.shape)] = step
        return step

    def _fastest(self, x: Tensor) -> CapturedStep | GraphedStep:
        """Return the fastest form of the step that can be had."""
        step = self._compiled(x) if self.mode == "compile" else None
        if step is None:
            step = capture(self.step, x, self.optimizer)
        if x.device.type != "cuda":
            return step
        try:
            return GraphedStep(step, x)
        except RuntimeError as error:
            warn_of_no_graph(self.mode, error)
            return step

    def _compiled(self, x: Tensor) -> CapturedStep | None:
        """Return the compiled step, or None where ``torch.compile`` fails."""
        try:
            return capture(self.step, x, self.optimizer, compiled=True)
        except NotTraceableError as error:
            self._report(f"Training steps are captured, but not compiled: {error}")
            self.mode = "capture"
            return None

    def _report(self, message: str) -> None:
        """Warn where acceleration was asked for, else print if verbose."""
        if self.mode != "auto":
            warnings.warn(message, AccelerationWarning, stacklevel=2)
        elif self.verbose:
            print(message)
