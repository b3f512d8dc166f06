"""One training step: from a batch to losses and gradients, and its trace as a graph."""

from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor, fx, nn
from torch.func import functional_call

from skvim.engine.capture._recorder import Draw, DrawRecorder, OperationRecorder
from skvim.objectives import Autoencoder, Losses, Objective

__all__ = ["StepResult", "Trace", "TrainingStep", "is_library_code", "run_step", "trace_step"]


@final
class TrainingStep(nn.Module):
    """Losses of a batch: a model under its objective, which both draw from ``noise``."""

    def __init__(self, model: Autoencoder, objective: Objective, noise: torch.Generator) -> None:
        super().__init__()
        self.model = model
        self.objective = objective
        self.noise = noise

    def forward(self, x: Tensor) -> Losses:
        """Return the losses of a batch of shape (n_samples, n_features)."""
        losses: Losses = self.objective(self.model, self.model(x, self.noise), self.noise)
        return losses

    def tensors(self) -> dict[str, Tensor]:
        """Return parameters and buffers by name."""
        return {**dict(self.named_parameters()), **dict(self.named_buffers())}

    def is_library_code(self) -> bool:
        """Tell whether all that it computes is code of torch and skvim."""
        prior, corruption = self.objective.prior, self.model.corruption
        parts: list[Any] = [*self.modules(), self.model.posterior, prior]
        parts += [self.model.likelihood.settings, *self.objective.settings]
        parts += [getattr(prior, "distribution", None)]
        parts += [getattr(corruption, "__self__", corruption)]
        return all(map(is_library_code, parts))


def is_library_code(part: Any) -> bool:
    """Tell whether a function, or the class of an object, is torch's or skvim's; None counts."""
    by_itself = callable(part) and hasattr(part, "__module__") and not isinstance(part, nn.Module)
    module = part.__module__ if by_itself else type(part).__module__
    return part is None or module.split(".")[0] in {"skvim", "torch"}


@final
@dataclass(frozen=True)
class StepResult:
    """Result of one step that left parameters, buffers and generators as they were."""

    trained: tuple[str, ...]  # parameters that the loss depends on
    draws: list[Draw]  # calls that drew random numbers, in order
    values: list[Tensor]  # the numbers that they returned
    outputs: list[Tensor]  # loss and terms, stacked, and the gradients of the trained parameters
    state: list[Tensor]  # parameters and buffers after the step


@final
@dataclass(frozen=True)
class Trace:
    """A training step as a graph: from parameters and buffers, batch and draws to the outputs."""

    graph: fx.GraphModule
    names: tuple[str, ...]  # of parameters and buffers
    inputs: list[Tensor]  # values of the graph's inputs before the step
    result: StepResult  # for these values


def run_step(step: TrainingStep, x: Tensor, *, gradients: bool = True) -> StepResult:
    """Take one eager step on copies of parameters, buffers and batch."""
    tensors = {name: _copy(tensor) for name, tensor in step.tensors().items()}
    return _run(step, tensors, x.clone(), None, gradients)


def trace_step(step: TrainingStep, x: Tensor, *, gradients: bool = True) -> Trace:
    """Take one eager step on copies and record its operations, for batches of this shape.

    NotTraceableError when the step reads values of tensors, or draws with tensors for parameters.
    """
    recorder = OperationRecorder()
    tensors = {name: _copy(tensor) for name, tensor in step.tensors().items()}
    before = [tensor.detach().clone() for tensor in tensors.values()]
    batch = x.clone()
    for tensor in (*tensors.values(), batch):
        recorder.add_input(tensor)
    result = _run(step, tensors, batch, recorder, gradients)
    graph = recorder.finish(result.outputs)
    return Trace(graph, tuple(tensors), [*before, x.clone(), *result.values], result)


def _run(
    step: TrainingStep,
    tensors: dict[str, Tensor],
    x: Tensor,
    recorder: OperationRecorder | None,
    gradients: bool,
) -> StepResult:
    """Take a step with these tensors in place of its own."""
    draws = DrawRecorder(recorder)
    with torch.set_grad_enabled(gradients), recorder or nullcontext():
        try:
            with draws:
                losses: Losses = functional_call(step, tensors, (x,))
        finally:
            draws.rewind()
        of_trained = _gradients(losses.target, tensors) if gradients else {}
        terms = torch.stack([value.detach() for value in losses.values])
    state = [tensor.detach() for tensor in tensors.values()]
    outputs = [terms, *of_trained.values()]
    return StepResult(tuple(of_trained), draws.draws, draws.values, outputs, state)


def _gradients(loss: Tensor, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the gradients of the tensors that a loss depends on, by name."""
    names = [name for name, tensor in tensors.items() if tensor.requires_grad]
    gradients = torch.autograd.grad(loss, [tensors[name] for name in names], allow_unused=True)
    return {name: g for name, g in zip(names, gradients, strict=True) if g is not None}


def _copy(tensor: Tensor) -> Tensor:
    """Return a leaf of autograd with the values, layout and role of a tensor."""
    return tensor.detach().clone().requires_grad_(tensor.requires_grad)
