"""Choice of how training steps are run: eagerly, captured, compiled or as a CUDA graph."""

import warnings
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, final

from torch import Tensor, optim

from skvim.engine.capture._captured import Capture, CapturedStep, capture, load_kernels
from skvim.engine.capture._graphs import GraphedStep, warn_of_no_graph
from skvim.engine.capture._recorder import NotTraceableError
from skvim.engine.capture._training_step import TrainingStep, is_library_code
from skvim.exceptions import AccelerationWarning

__all__ = ["ACCELERATIONS", "Accelerator"]

#: Ways to run training steps other than eagerly.
ACCELERATIONS = ("auto", "capture", "compile")

# Steps from which on a capture pays. Measured on one core of an AMD EPYC, tracing included: it is
# made up for after 40 steps of networks of 64 to 256 units, and costs two steps of wide or
# convolutional ones, which hardly become faster. A program that is kept is made up for after ten,
# but the number is the same for it: results do not depend on earlier fits.
_WORTHWHILE = 100

FastStep = CapturedStep | GraphedStep
# From a batch to its loss and terms.
Step = Callable[[Tensor], Tensor]


@final
class Accelerator:
    """The captured steps of one training, by the shape of the batch.

    Mode "auto" captures where all code is skvim's and torch's and enough steps are to come, and
    prints failures if verbose; "capture" and "compile" always try and warn of failures. ``reason``
    says why steps have to run eagerly.
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
        known = step.is_library_code() and is_library_code(optimizer)
        if mode == "auto" and not (reason or known):
            self.reason = "parts of the model are neither skvim's nor torch's"
        self._steps: dict[tuple[int, ...], FastStep] = {}
        self._chosen: set[int] = set()

    def begin_epoch(self, sizes: Mapping[int, int], n_epochs: int) -> None:
        """Choose the batch sizes worth a capture, from their numbers of batches an epoch."""
        enough = 1 if self.mode != "auto" else _WORTHWHILE
        self._chosen = {size for size, count in sizes.items() if count * n_epochs >= enough}

    def captured(self, x: Tensor) -> Step | None:
        """Return what trains on batches like this one, or None to train eagerly."""
        known = self._steps.get(tuple(x.shape))
        if known is not None or self.reason or len(x) not in self._chosen:
            return known
        made = self._capture(x)
        return None if made is None else partial(self._first, made)

    def plain_because(self) -> str:
        """Return why steps run eagerly, or "" if some are captured."""
        if self._steps or self.reason:
            return "" if self._steps else self.reason
        if not self._chosen:
            return f"fewer than {_WORTHWHILE} steps with batches of one size were to come"
        return "no batch has come as yet of a size with enough steps to come"

    def state(self) -> dict[str, Any]:
        """Return what was decided so far, as values for a checkpoint."""
        sizes = [shape[0] for shape in self._steps]
        return {"mode": self.mode, "reason": self.reason, "sizes": sizes}

    def resume(self, state: dict[str, Any], batches: Callable[[int], Tensor]) -> None:
        """Capture the steps that had been captured, on batches of given sizes.

        They were checked when they were captured first; later weights could fail the same checks.
        """
        self.mode, self.reason = state["mode"], state["reason"]
        for size in state["sizes"]:
            x = batches(size)
            made = self._capture(x, checked=False)
            if made is not None:
                load_kernels(made, x)
                self._add(made, x)

    def _capture(self, x: Tensor, *, checked: bool = True) -> Capture | None:
        """Capture the step for a size of batches, or keep the reason why it cannot be."""
        try:
            return self._compiled(x, checked=checked) or capture(
                self.step, x, self.optimizer, checked=checked
            )
        except Exception as error:  # torch's internals raise errors of any type
            self.reason = f"{type(error).__name__}: {error}"
            self._report(f"Training runs without acceleration: {error}")
            return None

    def _first(self, made: Capture, x: Tensor) -> Tensor:
        """Train on the first batch of a size."""
        terms = made.first(x)
        self._add(made, x)
        return terms

    def _add(self, made: Capture, x: Tensor) -> None:
        """Use a captured step from now on, in the fastest form there is."""
        captured = made.captured()
        step: FastStep = captured
        if x.device.type == "cuda":
            try:
                step = GraphedStep(captured, x)
            except RuntimeError as error:
                warn_of_no_graph(self.mode, error)
        self._steps[tuple(x.shape)] = step

    def _compiled(self, x: Tensor, *, checked: bool) -> Capture | None:
        """Return the compiled step, or None where it is not asked for or fails."""
        if self.mode != "compile":
            return None
        try:
            return capture(self.step, x, self.optimizer, compiled=True, checked=checked)
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
