"""CUDA graphs of training steps: one launch for all kernels."""

import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Generic, TypeVar, final

import torch
from torch import Tensor

from skvim.engine.capture._captured import CapturedStep
from skvim.exceptions import AccelerationWarning

__all__ = ["Graphed", "GraphedStep", "warn_of_no_graph"]

Result = TypeVar("Result")

_LOCK = Lock()
_STREAMS: dict[torch.device, torch.cuda.Stream] = {}


@final
class Graphed(Generic[Result]):
    """A function of a batch on a CUDA device, which draws from generators, as a CUDA graph.

    Its kernels must have run before, so that libraries are loaded. A graph reads and writes the
    memory that was there during capture: batches are copied to one place, generators are registered
    with it, and results are valid until the next call.
    """

    def __init__(
        self,
        function: Callable[[Tensor], Result],
        x: Tensor,
        generators: Iterable[torch.Generator],
    ) -> None:
        self.x = x.clone()
        self.function = function  # it owns constants that the kernels read
        self.graph = torch.cuda.CUDAGraph()
        for generator in set(generators):
            self.graph.register_generator_state(generator)
        with torch.no_grad(), _captured(self.graph, x.device):
            self.result = function(self.x)

    def __call__(self, x: Tensor) -> Result:
        """Return the function's result for a batch."""
        self.x.copy_(x)
        self.graph.replay()
        return self.result


@final
class GraphedStep:
    """A captured step as a CUDA graph; an update that is not all on the device stays outside."""

    def __init__(self, step: CapturedStep, x: Tensor) -> None:
        self.update = step.update
        inside = step.update.on_device

        # No reference to self: a reference cycle would hold the device's memory for a while.
        def compute(x: Tensor) -> tuple[Tensor, list[Tensor]]:
            terms, gradients = step.compute(x)
            if inside:
                step.update(gradients)
            return terms, gradients

        self.compute = Graphed(compute, x, [draw.generator for draw in step.draws])

    def __call__(self, x: Tensor) -> Tensor:
        """Train on a batch and return its loss and terms, valid until the next call."""
        self.update.sync_settings()
        terms, gradients = self.compute(x)
        if not self.update.on_device:
            with torch.no_grad():
                self.update(gradients)
        return terms


@contextmanager
def _captured(graph: torch.cuda.CUDAGraph, device: torch.device) -> Iterator[None]:
    """Capture what is launched on a device; nothing of it runs."""
    # torch captures one graph at a time, on a stream of the device that is the current one.
    with _LOCK, torch.cuda.device(device):
        if device not in _STREAMS:
            _STREAMS[device] = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        # Other threads may use the device meanwhile.
        capturing = torch.cuda.graph(
            graph, stream=_STREAMS[device], capture_error_mode="thread_local"
        )
        # A capture that fails does not restore the current stream.
        with torch.cuda.stream(torch.cuda.current_stream()), capturing:
            yield


def warn_of_no_graph(mode: str | None, error: RuntimeError) -> None:
    """Warn that a step runs without a CUDA graph, where acceleration was asked for."""
    if mode != "auto":
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        message = f"Training runs without a CUDA graph: {reason}"
        warnings.warn(message, AccelerationWarning, stacklevel=2)
