"""One training step as a graph of torch's operations: losses and gradients without autograd."""

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, final

import torch
from torch import Tensor, fx, nn
from torch.func import functional_call
from torch.overrides import TorchFunctionMode

from skvim.objectives import Losses

__all__ = [
    "Draw",
    "Eager",
    "NotTraceableError",
    "Traced",
    "evaluate",
    "run_eagerly",
    "trace",
    "trace_losses",
]

# While it traces, torch.fx changes nn.Module for all threads; changes have to be undone in turn.
_TRACING = threading.Lock()


@final
class NotTraceableError(Exception):
    """A training step does not reduce to a fixed sequence of torch's operations; it says why."""


@final
@dataclass(frozen=True)
class Draw:
    """A call that draws random numbers from a generator, to be made again for every batch.

    Attributes
    ----------
    function : callable
        Of torch, or a method that fills a tensor.
    args, options : tuple, dict
        Its arguments, none a tensor; the generator is among the options.
    blank : Tensor or None
        For a method, a tensor of the shape, type and layout to fill.
    """

    function: Callable[..., Tensor]
    args: tuple[Any, ...]
    options: dict[str, Any]
    blank: Tensor | None

    def __call__(self) -> Tensor:
        """Return fresh numbers."""
        if self.blank is None:
            return self.function(*self.args, **self.options)
        return self.function(torch.empty_like(self.blank), *self.args, **self.options)

    @property
    def generator(self) -> torch.Generator:
        """Where the numbers come from."""
        generator: torch.Generator = self.options["generator"]
        return generator


@final
@dataclass(frozen=True)
class Traced:
    """A training step as a graph, beside what one eager step gave.

    Attributes
    ----------
    graph : GraphModule
        Inputs are the tensors of ``names``, the batch and one tensor a draw; outputs are the loss
        and its terms, stacked, and the gradients of the parameters in ``trained``.
    names, trained : tuple of str
        Parameters and buffers, and those parameters that the loss depends on.
    draws : tuple of Draw
        In the order in which the step makes them.
    inputs : list of Tensor
        State, batch and draws of the eager step, as they were before it.
    outputs, state : list of Tensor
        What the eager step returned, and the tensors of ``names`` after it.
    """

    graph: fx.GraphModule
    names: tuple[str, ...]
    trained: tuple[str, ...]
    draws: tuple[Draw, ...]
    inputs: list[Tensor]
    outputs: list[Tensor]
    state: list[Tensor]


class Eager(NamedTuple):
    """What one eager step did, without a trace left in its parameters, buffers and generators.

    Attributes
    ----------
    trained : tuple of str
        Parameters that the loss depends on.
    draws : list of Draw
        What it drew, in order.
    values : list of Tensor
        The numbers that came.
    outputs, state : list of Tensor
        As :class:`Traced` has them.
    """

    trained: tuple[str, ...]
    draws: list[Draw]
    values: list[Tensor]
    outputs: list[Tensor]
    state: list[Tensor]


class _Intercepted(TorchFunctionMode, ABC):
    """While it is entered, a subclass sees to the calls that draw from a generator."""

    @abstractmethod
    def numbers(self, func: Callable[..., Any], args: tuple[Any, ...], options: Any) -> Tensor:
        """Return what a call draws."""

    @final
    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Call a function of torch (torch's hook)."""
        options = kwargs or {}
        if options.get("generator") is None:
            return func(*args, **options)
        values = self.numbers(func, args, options)
        return args[0].copy_(values) if _fills(func, args) else values


@final
class _Recorded(_Intercepted):
    """Writes down what is drawn and how; generators can be taken back."""

    def __init__(self) -> None:
        super().__init__()
        self.draws: list[Draw] = []
        self.values: list[Tensor] = []
        self.before: dict[torch.Generator, Tensor] = {}

    def numbers(self, func: Callable[..., Any], args: tuple[Any, ...], options: Any) -> Tensor:
        """Draw, and keep a copy."""
        generator = options["generator"]
        self.before.setdefault(generator, generator.get_state())
        draw = _draw(func, args, options)
        values = draw()
        self.draws.append(draw)
        self.values.append(values.clone())
        return values

    def rewind(self) -> None:
        """Set generators back to where they were."""
        for generator, state in self.before.items():
            generator.set_state(state)


@final
class _Replayed(_Intercepted):
    """Gives numbers that are there already."""

    def __init__(self, values: Sequence[Tensor]) -> None:
        super().__init__()
        self.values = iter(values)

    def numbers(self, func: Callable[..., Any], args: tuple[Any, ...], options: Any) -> Tensor:
        """Take the next."""
        return next(self.values)


def trace(
    step: nn.Module,
    x: Tensor,
    tracer: Callable[[Callable[..., Any], list[Tensor]], fx.GraphModule] | None = None,
) -> Traced:
    """Return one step as a graph; parameters, buffers and generators stay as they are.

    Parameters
    ----------
    step : Module
        From a batch to :class:`~skvim.objectives.Losses`.
    x : Tensor of shape (n_samples, n_features)
        A batch; the graph is for batches of its shape and type.
    tracer : callable or None, default=None
        From a function and its inputs to a graph; None takes torch's.

    Raises
    ------
    NotTraceableError
        When what the step does depends on values, or what it draws depends on data.
    """
    live = {**dict(step.named_parameters()), **dict(step.named_buffers())}
    x = x.clone()  # steps of users may write to it
    eager = run_eagerly(step, x)
    trained = eager.trained

    def flat(*inputs: Tensor) -> tuple[Tensor, ...]:
        named = dict(zip(live, inputs, strict=False))
        with _Replayed(inputs[len(live) + 1 :]):
            losses = functional_call(step, named, (inputs[len(live)],))
        return _outputs(losses, [named[name] for name in trained])

    inputs = [_copy(tensor) for tensor in live.values()]
    values = [*inputs, x.clone(), *(v.clone() for v in eager.values)]
    graph = _make_graph(flat, values, tracer)
    kept = [*(_copy(tensor).detach() for tensor in live.values()), x, *eager.values]
    return Traced(graph, tuple(live), trained, tuple(eager.draws), kept, eager.outputs, eager.state)


def run_eagerly(step: nn.Module, x: Tensor) -> Eager:
    """Take one eager step on copies of everything."""
    live = {**dict(step.named_parameters()), **dict(step.named_buffers())}
    tensors = {name: _copy(tensor) for name, tensor in live.items()}
    recorded = _Recorded()
    try:
        with torch.enable_grad(), recorded:
            losses = functional_call(step, tensors, (x.clone(),))
    finally:
        recorded.rewind()
    parameters = [name for name, tensor in tensors.items() if tensor.requires_grad]
    gradients = torch.autograd.grad(
        losses.target, [tensors[name] for name in parameters], allow_unused=True
    )
    found = {n: g for n, g in zip(parameters, gradients, strict=True) if g is not None}
    outputs = [_terms(losses), *found.values()]
    state = [tensor.detach() for tensor in tensors.values()]
    return Eager(tuple(found), recorded.draws, recorded.values, outputs, state)


def evaluate(step: nn.Module, x: Tensor) -> tuple[Tensor, list[Tensor]]:
    """Return loss and terms of a batch, of shape (n_terms,), and the numbers drawn for them."""
    recorded = _Recorded()
    with torch.no_grad(), recorded:
        losses = step(x.clone())
    return _terms(losses), recorded.values


def trace_losses(
    step: nn.Module,
    x: Tensor,
    drawn: Sequence[Tensor],
    tracer: Callable[[Callable[..., Any], list[Tensor]], fx.GraphModule],
) -> tuple[fx.GraphModule, tuple[str, ...]]:
    """Return what a step does to come to losses and terms, without gradients, as a graph.

    Parameters
    ----------
    step : Module
        From a batch to :class:`~skvim.objectives.Losses`.
    x : Tensor of shape (n_samples, n_features)
        A batch.
    drawn : sequence of Tensor
        What the step draws.
    tracer : callable
        From a function and its inputs to a graph.

    Returns
    -------
    graph : GraphModule
        From parameters and buffers, batch and draws to loss and terms, stacked.
    names : tuple of str
        Parameters and buffers.
    """
    live = {**dict(step.named_parameters()), **dict(step.named_buffers())}

    def flat(*inputs: Tensor) -> tuple[Tensor]:
        named = dict(zip(live, inputs, strict=False))
        with _Replayed(inputs[len(live) + 1 :]):
            losses = functional_call(step, named, (inputs[len(live)],))
        return (_terms(losses),)

    inputs = [tensor.detach().clone() for tensor in (*live.values(), x, *drawn)]
    with torch.no_grad():
        return tracer(flat, inputs), tuple(live)


def _make_graph(
    function: Callable[..., Any],
    inputs: list[Tensor],
    tracer: Callable[[Callable[..., Any], list[Tensor]], fx.GraphModule] | None,
) -> fx.GraphModule:
    """Run a function once and return the operations that it came to."""
    if tracer is not None:
        with torch.enable_grad():
            return tracer(function, inputs)
    # Slow to import, and of use to long trainings only.
    from torch.fx.experimental.proxy_tensor import make_fx

    try:
        with _TRACING, torch.enable_grad():
            return make_fx(function)(*inputs)
    except NotTraceableError:
        raise
    except Exception as error:  # a step may do anything, and torch has no one type for refusals
        raise NotTraceableError(f"torch cannot trace it: {str(error).strip()[:300]}") from error


def _outputs(losses: Losses, parameters: list[Tensor]) -> tuple[Tensor, ...]:
    """Return the terms of a loss, stacked, and the gradients of parameters."""
    return (_terms(losses), *torch.autograd.grad(losses.target, parameters))


def _terms(losses: Losses) -> Tensor:
    """Return the values that the history holds, of shape (n_terms,)."""
    return torch.stack([value.detach() for value in losses.values])


def _copy(tensor: Tensor) -> Tensor:
    """Return a leaf with the values, the layout and the role of a tensor."""
    return tensor.detach().clone().requires_grad_(tensor.requires_grad)


def _fills(function: Callable[..., Any], args: tuple[Any, ...]) -> bool:
    """Whether a call that draws fills a tensor that exists."""
    in_place = function.__name__.endswith("_") and not function.__name__.startswith("__")
    return in_place and bool(args) and isinstance(args[0], Tensor)


def _draw(function: Callable[..., Any], args: tuple[Any, ...], options: dict[str, Any]) -> Draw:
    """Write down a call that draws."""
    blank = None
    if _fills(function, args):
        blank, args = torch.empty_like(args[0]), args[1:]
    if any(isinstance(value, Tensor) for value in (*args, *options.values())):
        raise NotTraceableError(f"{function.__name__} draws with tensors for parameters.")
    return Draw(function, args, options, blank)
