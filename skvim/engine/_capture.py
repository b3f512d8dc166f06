"""Training steps that are worked out once and then only repeated."""

import warnings
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from inspect import Parameter, signature
from typing import Any, final

import torch
from torch import Tensor, nn, optim

from skvim.engine._simplify import Program, simplify
from skvim.engine._trace import Draw, NotTraceableError, Traced, run_eagerly, trace
from skvim.engine._update import Update, make_update
from skvim.objectives import Autoencoder, Losses, Objective

__all__ = ["CapturedStep", "TrainingStep", "capture", "compare", "is_own"]

# Sums in another order differ by this share of a tensor's largest entry, in float32 or coarser.
_TOLERANCE = 1e-3
# Other weights and rows to try a program on, as multiples of those that there are.
_SHRINK, _BLEND = 0.9, 0.75


@final
class TrainingStep(nn.Module):
    """From a batch to its losses: a model under its objective.

    Parameters
    ----------
    model : Autoencoder
        In training mode.
    objective : Objective
        What it is trained by.
    noise : Generator
        Source of what both draw.
    """

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

    def signature(self) -> tuple[Any, ...]:
        """Return what a captured step takes for granted: memory, modes and settings."""
        memory = [(id(t), t.data_ptr(), t.requires_grad) for t in self.tensors().values()]
        settings = [_settings(part) for part in (*self.modules(), *self.parts())]
        parts = (self.model.posterior, self.objective.prior, self.model.corruption)
        return (*memory, *settings, *(id(part) for part in (*parts, *self.hooks())))

    def parts(self) -> list[Any]:
        """Return the settings of likelihood and terms."""
        return [self.model.likelihood.settings, *self.objective.settings]

    def hooks(self) -> list[Any]:
        """Return what torch calls when modules run and when parameters get gradients."""
        tensors = ("_backward_hooks", "_post_accumulate_grad_hooks")
        modules = ("_forward_pre_hooks", "_forward_hooks", "_backward_pre_hooks", "_backward_hooks")
        found = [getattr(parameter, name) for parameter in self.parameters() for name in tensors]
        found += [getattr(module, name) for module in self.modules() for name in modules]
        return [hook for hooks in found if hooks for hook in hooks.values()]

    def is_own(self) -> bool:
        """Whether all that it computes is torch's or skvim's own code."""
        prior = self.objective.prior
        parts: list[Any] = [*self.modules(), *self.parts(), self.model.posterior, prior]
        parts.append(getattr(prior, "distribution", None))
        corruption = self.model.corruption
        if corruption is not None:
            parts.append(getattr(corruption, "__self__", corruption))
        return all(is_own(part) for part in parts)


@final
class CapturedStep:
    """A training step without Python's and autograd's share of the work.

    Parameters
    ----------
    function : callable
        From a batch and draws to loss and terms, stacked, and gradients.
    draws : sequence of Draw
        Makes the random numbers of one step.
    update : callable
        Takes the gradients and moves the parameters.
    """

    def __init__(self, function: Callable[..., Any], draws: Iterable[Draw], update: Update) -> None:
        self.function = function
        self.draws = tuple(draws)
        self.update = update

    def __call__(self, x: Tensor) -> Tensor:
        """Train on a batch and return its loss and terms, of shape (n_terms,)."""
        self.update.follow()
        with torch.no_grad():
            terms, gradients = self.compute(x)
            self.update(gradients)
        return terms

    def compute(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Return loss and terms of a batch, and the gradients; to be called without autograd."""
        terms, *gradients = self.function(x, *[draw() for draw in self.draws])
        return terms, gradients


def capture(
    step: TrainingStep, x: Tensor, optimizer: optim.Optimizer, *, compiled: bool = False
) -> CapturedStep:
    """Return a step that does as an eager one, for batches of one shape and type.

    Parameters
    ----------
    step : TrainingStep
        Its parameters and buffers are read and written where they are, now and later.
    x : Tensor of shape (n_samples, n_features)
        A batch to work it out with; nothing is trained on it.
    optimizer : Optimizer
        Which has taken a step before.
    compiled : bool, default=False
        Whether torch's compiler makes kernels of the operations.

    Raises
    ------
    NotTraceableError
        When the step is no fixed sequence of torch's operations, torch's compiler fails, or what
        was worked out does not give the eager step's losses, gradients and buffers.
    """
    _check_calls(step, optimizer)
    traced = trace(step, x)
    live = step.tensors()
    examples = [tensor.clone() for tensor in traced.inputs]
    parameters = dict(step.named_parameters())
    trained = [parameters[name] for name in traced.trained]
    program = simplify(traced.graph, list(live.values()), examples, [None, *trained])
    inputs = tuple(value.clone() for value in traced.inputs[len(live) :])
    with torch.no_grad():
        try:
            function, outputs = _run_first(program, inputs, compiled=compiled)
            compare("outputs", outputs, traced.outputs)
            compare("state", live.values(), traced.state)
            _check_elsewhere(step, traced, function)
        finally:
            _restore(step, traced)
    return CapturedStep(function, traced.draws, make_update(optimizer, trained))


def _run_first(
    program: Program, inputs: tuple[Tensor, ...], *, compiled: bool
) -> tuple[Callable[..., Any], Any]:
    """Return a program, as torch's compiler makes it or as it is, and what it returns first."""
    if not compiled:
        return program.function, program.function(*inputs)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of torch about torch
            function = partial(torch.compile(program.graph, dynamic=False), *program.known)
            return function, function(*inputs)
    except Exception as error:  # compilers and their drivers fail in ways of their own
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise NotTraceableError(f"torch.compile failed: {reason[0][:300]}") from error


def _restore(step: TrainingStep, traced: Traced) -> None:
    """Put parameters and buffers back to where they were before a step was traced."""
    for tensor, value in zip(step.tensors().values(), traced.inputs, strict=False):
        tensor.copy_(value)


def _check_elsewhere(
    step: TrainingStep, traced: Traced, function: Callable[..., Sequence[Tensor]]
) -> None:
    """Raise unless the program follows the step to other rows, weights, draws and progress.

    Numbers that left torch on the way, through NumPy say, are constants of a program.
    """
    for name, tensor, value in zip(
        traced.names, step.tensors().values(), traced.inputs, strict=False
    ):
        tensor.copy_(value * _SHRINK if name in traced.trained else value)
    progress = step.objective.progress
    progress.copy_((progress + 0.37) % 1)
    x = traced.inputs[len(traced.names)]
    x = _BLEND * x + (1 - _BLEND) * x.roll(1, 0)  # within any range, and no two rows alike
    try:
        eager = run_eagerly(step, x)
    except Exception as error:  # rows between two rows, and users' code, may be anything
        raise NotTraceableError(f"it fails on other rows: {str(error).strip()[:300]}") from error
    sources = [draw.generator for draw in traced.draws]
    if eager.trained != traced.trained or sources != [d.generator for d in eager.draws]:
        raise NotTraceableError("it does not do the same every time.")
    compare("outputs for other rows", function(x.clone(), *eager.values), eager.outputs)
    compare("state", step.tensors().values(), eager.state)


def compare(what: str, found: Iterable[Tensor], wanted: Iterable[Tensor]) -> None:
    """Raise unless tensors agree to the rounding of sums."""
    for one, other in zip(found, wanted, strict=True):
        if not other.is_floating_point():
            if not torch.equal(one, other):
                raise NotTraceableError(f"its {what} differ from those of an eager step.")
            continue
        size = float(other.abs().max()) if other.numel() else 0.0
        atol = _TOLERANCE * size if size < float("inf") else 0.0
        if one.shape != other.shape or not torch.allclose(one, other, 0.0, atol, equal_nan=True):
            raise NotTraceableError(f"its {what} differ from those of an eager step.")


def _check_calls(step: TrainingStep, optimizer: optim.Optimizer) -> None:
    """Raise if a step calls what is to be called at every step, and is no part of a graph."""
    if not all(is_own(hook) for hook in step.hooks()):
        raise NotTraceableError("hooks are registered with its modules or parameters.")
    closure = signature(optimizer.step).parameters.get("closure")
    if closure is not None and closure.default is Parameter.empty:
        raise NotTraceableError(f"{type(optimizer).__name__} computes losses more than once.")


def _settings(part: Any) -> tuple[Any, ...]:
    """Return the plain values among a part's attributes, a module's ``training`` included."""
    plain = (int, float, str, tuple, list, torch.dtype, type(None))
    found = vars(part).items()
    return tuple((name, repr(value)) for name, value in found if isinstance(value, plain))


def is_own(part: Any) -> bool:
    """Whether an object's class, or a function, is torch's or skvim's."""
    module = part.__module__ if callable(part) and not isinstance(part, nn.Module) else None
    module = type(part).__module__ if module is None else module
    return part is None or module.split(".")[0] in {"skvim", "torch"}
