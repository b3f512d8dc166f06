"""Captured training step: a traced and optimised graph in the place of autograd's work."""

from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, final

import torch
from torch import Tensor, nn, optim

from skvim._torch_private import (
    IMPORTED_BY_COMPILE,
    GraphModule,
    has_hooks,
    kept_argument_checks,
)
from skvim._uninterrupted import import_whole
from skvim._values import NotComparableError
from skvim.engine.capture._kept import STORE, KeptProgram
from skvim.engine.capture._optimiser import Program, optimise
from skvim.engine.capture._recorder import Draw, NotTraceableError
from skvim.engine.capture._structure import structure
from skvim.engine.capture._training_step import StepResult, TrainingStep, run_step, trace_step
from skvim.engine.capture._update import Update, needs_closure

__all__ = [
    "Capture",
    "CapturedStep",
    "capture",
    "load_kernels",
    "require_close",
    "require_close_terms",
    "restored",
]

# Share of a tensor's largest entry by which sums in another order may differ in float32.
_TOLERANCE = 1e-3
# Share of the largest term, and of 1, by which a term near 0 may differ: a term such as an MMD is a
# difference of sums near 1, rounded at 1e-7 each.
_ROUNDING = 1e-6
# Other weights and rows on which a program is checked, as multiples of the present ones.
_SHRINK, _BLEND = 0.9, 0.75


@final
@dataclass(frozen=True)
class CapturedStep:
    """A training step without the overhead of Python modules and autograd."""

    function: Callable[..., Any]  # from batch and draws to loss and terms, stacked, and gradients
    draws: Sequence[Draw]
    update: Update

    def __call__(self, x: Tensor) -> Tensor:
        """Train on a batch and return its loss and terms, of shape (n_terms,)."""
        self.update.sync_settings()
        with torch.no_grad():
            terms, gradients = self.compute(x)
            self.update(gradients)
        return terms

    def compute(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Return loss and terms, and the gradients; to be called under ``torch.no_grad``."""
        terms, *gradients = self.function(x, *[draw() for draw in self.draws])
        return terms, gradients


@final
@dataclass(frozen=True)
class Capture:
    """A program for a step, with the optimizer that moves the parameters."""

    step: TrainingStep
    optimizer: optim.Optimizer
    function: Callable[..., Any]
    draws: Sequence[Draw]
    trained: tuple[str, ...]

    def first(self, x: Tensor) -> Tensor:
        """Train on a first batch, at which the optimizer may make its state."""
        terms = self.captured()(x)
        self.optimizer.zero_grad()
        return terms

    def captured(self) -> CapturedStep:
        """Return the step for further batches."""
        parameters = dict(self.step.named_parameters())
        update = Update(self.optimizer, [parameters[name] for name in self.trained])
        return CapturedStep(self.function, self.draws, update)


def capture(
    step: TrainingStep,
    x: Tensor,
    optimizer: optim.Optimizer,
    *,
    compiled: bool = False,
    checked: bool = True,
) -> Capture:
    """Return a program that does what the eager step does, for batches of the shape of ``x``.

    Nothing is trained on ``x``. Where the step is code of skvim and torch alone, its program is
    kept for steps of the same structure. NotTraceableError if the step is no fixed sequence of
    operations, ``torch.compile`` fails or, if ``checked``, the program does not give the eager
    step's losses, gradients and buffers.
    """
    _check_supported(step, optimizer)
    key = None if compiled else _key(step, x)
    kept = None if key is None else STORE.get(key)
    if kept is not None:
        function, draws = kept.bound(step.tensors().values(), step.generators(x.device))
        found = Capture(step, optimizer, function, draws, kept.trained)
        if _is_right(found, x):
            return found
        STORE.drop(key)
    return _traced(step, x, optimizer, key, compiled=compiled, checked=checked)


def load_kernels(found: Capture, x: Tensor) -> None:
    """Run a program once, and change nothing: CUDA loads kernels when they are first called."""
    with torch.no_grad(), restored(list(found.step.tensors().values())):
        found.function(x.clone(), *run_step(found.step, x).values)


def _key(step: TrainingStep, x: Tensor) -> Hashable:
    """Return the structure of a step, or None if it is not known by value."""
    try:
        return structure(step, x)
    except (NotComparableError, ValueError):  # such as that of an empty cell of a closure
        return None


def _is_right(found: Capture, x: Tensor) -> bool:
    """Tell whether a kept program gives what the step gives."""
    try:
        _check_on_other_values(found, x)
    except Exception:  # whatever it raises, the step is then traced, which says what is wrong
        return False
    return True


def _traced(
    step: TrainingStep,
    x: Tensor,
    optimizer: optim.Optimizer,
    key: Hashable,
    *,
    compiled: bool,
    checked: bool,
) -> Capture:
    """Trace a step, and keep its program if it has a key."""
    graph, trace = trace_step(step, x)
    live = step.tensors()
    layouts = [None, *(live[name] for name in trace.trained)]
    examples = [tensor.clone() for tensor in trace.inputs]
    program = optimise(graph, list(live.values()), examples, layouts)
    function: Callable[..., Any] = program.function
    kept = None
    if checked and key is not None:
        sources = step.generators(x.device)
        kept = KeptProgram.of(program, list(live.values()), trace.draws, sources, trace.trained)
    if compiled:
        function = _compiled(program, live.values(), trace.inputs[len(live) :])
    found = Capture(step, optimizer, function, trace.draws, trace.trained)
    if checked:
        _check_on_other_values(found, x)
    if kept is not None:
        STORE.put(key, kept)
    return found


@contextmanager
def restored(tensors: Sequence[Tensor]) -> Iterator[None]:
    """Restore the values of tensors at the end."""
    before = [tensor.clone() for tensor in tensors]
    try:
        yield
    finally:
        for tensor, value in zip(tensors, before, strict=True):
            tensor.copy_(value)


def require_close(what: str, actual: Iterable[Tensor], expected: Iterable[Tensor]) -> None:
    """Raise NotTraceableError unless tensors agree, each to 1e-3 of its largest entry."""
    for one, other in zip(actual, expected, strict=True):
        if torch.equal(one, other):
            continue
        _require(what, other.is_floating_point())
        size = float(other.abs().max()) if other.numel() else 0.0
        atol = _TOLERANCE * size if size < float("inf") else 0.0
        same = one.shape == other.shape and torch.allclose(one, other, 0.0, atol, equal_nan=True)
        _require(what, same)


def require_close_terms(actual: Tensor, expected: Tensor) -> None:
    """Raise NotTraceableError unless losses and terms (..., n_terms) agree, each to 1e-3 of itself.

    A term may also differ by 1e-6 of the largest one, or of 1.
    """
    finite = torch.where(expected.isfinite(), expected.abs(), torch.zeros_like(expected))
    atol = _ROUNDING * (1 + finite.amax(-1, keepdim=True))
    near = (actual - expected).abs() <= atol + _TOLERANCE * expected.abs()
    same = (actual == expected) | (actual.isnan() & expected.isnan())
    _require("losses", actual.shape == expected.shape and bool((near | same).all()))


def _require(what: str, same: bool) -> None:
    """Raise unless something is the same as in an eager step."""
    if not same:
        raise NotTraceableError(f"its {what} differ from those of an eager step.")


def _require_same(outputs: Sequence[Tensor], state: Sequence[Tensor], expected: StepResult) -> None:
    """Raise unless a program gave the outputs and the state of an eager step."""
    require_close_terms(outputs[0], expected.outputs[0])
    require_close("gradients", outputs[1:], expected.outputs[1:])
    require_close("buffers", state, expected.state)


def _check_supported(step: TrainingStep, optimizer: optim.Optimizer) -> None:
    """Raise if a step calls hooks or closures, which are no part of a graph."""
    if has_hooks(step):
        raise NotTraceableError("hooks are registered with its modules or parameters.")
    if needs_closure(optimizer):
        raise NotTraceableError(f"{type(optimizer).__name__} computes losses more than once.")


def _compiled(
    program: Program, live: Iterable[Tensor], inputs: Iterable[Tensor]
) -> Callable[..., Any]:
    """Return a program as ``torch.compile`` makes it at its first run."""
    try:
        import_whole(IMPORTED_BY_COMPILE)
        module = GraphModule(nn.Module(), program.graph)
        with kept_argument_checks(), torch.no_grad(), restored(list(live)):
            function = partial(torch.compile(module, dynamic=False), *program.known)
            function(*(value.clone() for value in inputs))
    except Exception as error:  # compilers and their drivers raise errors of any type
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise NotTraceableError(f"torch.compile failed: {reason[0][:300]}") from error
    return function


def _check_on_other_values(found: Capture, x: Tensor) -> None:
    """Raise unless the program follows the step to other rows, weights, draws and progress.

    Numbers that leave torch on the way, through NumPy for example, are constants of a program.
    """
    step = found.step
    live = step.tensors()
    with torch.no_grad(), restored(list(live.values())):
        for name in found.trained:
            live[name].mul_(_SHRINK)
        progress = step.objective.progress
        progress.copy_((progress + 0.37) % 1)
        x = _BLEND * x + (1 - _BLEND) * x.roll(1, 0)  # within any range, and no two rows alike
        try:
            eager = run_step(step, x)
        except Exception as error:  # users' code may raise anything on rows that it never saw
            reason = str(error).strip()[:300]
            raise NotTraceableError(f"it fails on other rows: {reason}") from error
        sources = [draw.generator for draw in found.draws]
        if eager.trained != found.trained or sources != [d.generator for d in eager.draws]:
            raise NotTraceableError("it does not do the same every time.")
        _require_same(found.function(x.clone(), *eager.values), list(live.values()), eager)
