"""One training step: from a batch to losses and gradients, and its trace as a graph."""

from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor, nn
from torch.func import functional_call

from skvim.engine.capture._recorder import Draw, DrawRecorder, OperationRecorder, Trace
from skvim.networks._random import streams_of
from skvim.objectives import Autoencoder, Losses, Objective

__all__ = ["StepResult", "TrainingStep", "is_library_code", "run_step", "trace_step"]


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

    def generators(self, device: torch.device) -> list[torch.Generator]:
        """Return the generators that a step on a device draws from, in a fixed order."""
        return [self.noise, *(stream.on(device) for stream in streams_of(self))]

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
    inputs: list[Tensor]  # parameters and buffers before the step, the batch and the draws


def run_step(step: TrainingStep, x: Tensor, *, gradients: bool = True) -> StepResult:
    """Take one eager step on copies of parameters, buffers and batch."""
    return _run(step, x, gradients, None)


def trace_step(
    step: TrainingStep, x: Tensor, *, gradients: bool = True
) -> tuple[Trace, StepResult]:
    """Take one eager step on copies and record its operations, from its inputs to its outputs.

    NotTraceableError when the step reads values of tensors, or draws with changing parameters.
    """
    recorder = OperationRecorder()
    result = _run(step, x, gradients, recorder)
    return recorder.finish(result.outputs), result


def _run(
    step: TrainingStep, x: Tensor, gradients: bool, recorder: OperationRecorder | None
) -> StepResult:
    """Take a step on copies, and record it if there is a recorder."""
    tensors = {name: _copy(tensor) for name, tensor in step.tensors().items()}
    before = [_copy(tensor).detach() for tensor in (*tensors.values(), x)]
    x, draws = x.clone(), DrawRecorder(recorder)
    for tensor in (*tensors.values(), x) if recorder else ():
        recorder.add_input(tensor)  # type: ignore[union-attr]
    with torch.set_grad_enabled(gradients), recorder or nullcontext():
        try:
            with draws:
                losses: Losses = functional_call(step, tensors, (x,))
        finally:
            draws.rewind()
        of_trained = _gradients(losses.target, tensors) if gradients else {}
        terms = torch.stack([value.detach() for value in losses.values])
    return StepResult(
        trained=tuple(of_trained),
        draws=draws.draws,
        values=draws.values,
        outputs=[terms, *of_trained.values()],
        state=[tensor.detach() for tensor in tensors.values()],
        inputs=[*before, *draws.values],
    )


def _gradients(loss: Tensor, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the gradients of the tensors that a loss depends on, by name."""
    names = [name for name, tensor in tensors.items() if tensor.requires_grad]
    gradients = torch.autograd.grad(loss, [tensors[name] for name in names], allow_unused=True)
    return {name: g for name, g in zip(names, gradients, strict=True) if g is not None}


def _copy(tensor: Tensor) -> Tensor:
    """Return a leaf of autograd with the values, layout and role of a tensor."""
    return tensor.detach().clone().requires_grad_(tensor.requires_grad)
