"""What is computed for every batch as CUDA graphs: one launch for all kernels."""

import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Generic, TypeVar, final

import torch
from torch import Tensor

from skvim.engine._capture import CapturedStep
from skvim.exceptions import AccelerationWarning

__all__ = ["Graphed", "GraphedStep", "report_no_graph"]

Result = TypeVar("Result")

_LOCK = Lock()
_STREAMS: dict[torch.device, torch.cuda.Stream] = {}


@final
class Graphed(Generic[Result]):
    """A function of a batch that a CUDA graph repeats.

    Parameters
    ----------
    function : callable
        On a CUDA device; its kernels must have run before, so that libraries are loaded.
    x : Tensor
        A batch of the shape to graph.
    generators : iterable of Generator
        What the function draws from.

    Notes
    -----
    A graph reads and writes memory where it was when it was made: batches are copied to one place,
    generators are registered with it, and what it returns is valid until the next call.
    """

    def __init__(
        self,
        function: Callable[[Tensor], Result],
        x: Tensor,
        generators: Iterable[torch.Generator],
    ) -> None:
        self.x = x.clone()
        self.function = function  # it has constants that the kernels read
        self.graph = torch.cuda.CUDAGraph()
        for generator in set(generators):
            self.graph.register_generator_state(generator)
        with torch.no_grad(), _captured(self.graph, x.device):
            self.result = function(self.x)

    def __call__(self, x: Tensor) -> Result:
        """Return what the function gives for a batch."""
        self.x.copy_(x)
        self.graph.replay()
        return self.result


@final
class GraphedStep:
    """A captured step that a CUDA graph repeats.

    Parameters
    ----------
    step : CapturedStep
        On a CUDA device.
    x : Tensor of shape (n_samples, n_features)
        A batch of the shape to graph; nothing is trained on it.

    Notes
    -----
    Learning rates lie on the device. Where the optimizer is not one that stays there, it steps
    outside of the graph.
    """

    def __init__(self, step: CapturedStep, x: Tensor) -> None:
        self.update = step.update
        self.inside = inside = step.update.on_device

        # It knows nothing of this object: a cycle would hold the device's memory for a while.
        def compute(x: Tensor) -> tuple[Tensor, list[Tensor]]:
            terms, gradients = step.compute(x)
            if inside:
                step.update(gradients)
            return terms, gradients

        self.compute = Graphed(compute, x, [draw.generator for draw in step.draws])

    def __call__(self, x: Tensor) -> Tensor:
        """Train on a batch and return its loss and terms, valid until the next call."""
        self.update.follow()
        terms, gradients = self.compute(x)
        if not self.inside:
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
        # A capture that fails does not go back to the stream where it came from.
        with torch.cuda.stream(torch.cuda.current_stream()), capturing:
            yield


def report_no_graph(mode: str | None, error: RuntimeError) -> None:
    """Warn, where acceleration was asked for, that a step is no CUDA graph, with the reason."""
    if mode != "auto":
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        message = f"Training runs without a CUDA graph: {reason}"
        warnings.warn(message, AccelerationWarning, stacklevel=2)
