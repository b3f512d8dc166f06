"""Tracer: records the operations that a function runs, gradients included, as a torch.fx graph."""

import operator
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import Any, final

import torch
from torch import Tensor, fx, nn

from skvim._torch_private import READ_VALUE, DispatchMode, Graph, tree_map_only
from skvim.networks._function_mode import FunctionMode

__all__ = ["Draw", "DrawRecorder", "NotTraceableError", "OperationRecorder", "Trace", "record"]


@final
class NotTraceableError(Exception):
    """A training step is no fixed sequence of torch operations; the message gives the reason."""


@final
class Trace(nn.Module):
    """Operations that a function ran, as a graph; its constants are buffers.

    The metadata of a node has its ``result``, with the target and arguments that gave it: the same
    memory, so that values are those of then only where no later operation writes to them.
    """

    def __init__(self) -> None:
        super().__init__()
        self.graph: fx.Graph = Graph()


def record(function: Callable[..., Any], inputs: Sequence[Tensor]) -> Trace:
    """Run a function of distinct tensors and return its operations as a graph of these inputs."""
    recorder = OperationRecorder()
    for tensor in inputs:
        recorder.add_input(tensor)
    with recorder:
        outputs = function(*inputs)
    return recorder.finish(outputs)


@final
class OperationRecorder(DispatchMode):
    """While it is active, each operation that torch dispatches becomes a node of a graph.

    It works below autograd, ``torch.func.vmap`` and autocast, so that it sees the operations of a
    backward pass and of batched code. It takes a sixth of the time of torch's ``make_fx`` and
    imports none of the modules that this needs.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.trace = Trace()
        self.graph = self.trace.graph
        self.is_paused = False
        self._nodes: dict[int, fx.Node] = {}
        self._kept: list[Tensor] = []  # no tensor may receive the id of an earlier one
        self._last_input: fx.Node | None = None
        self._variable: set[fx.Node | None] = set()  # what depends on inputs

    def add_input(self, tensor: Tensor) -> None:
        """Make a tensor the next input of the graph."""
        last, graph = self._last_input, self.graph
        # Draws come in the middle of a graph, whose inputs have to be its first nodes.
        with graph.inserting_after(last) if last is not None else graph.inserting_before():
            self._last_input = graph.placeholder(f"input_{len(self._kept)}")
        self._variable.add(self._last_input)
        self._set_node(tensor, self._last_input)

    def finish(self, outputs: Sequence[Tensor]) -> Trace:
        """Add the outputs and return the graph."""
        self.graph.output(tuple(self._node(tensor) for tensor in outputs))
        return self.trace

    def __torch_dispatch__(
        self,
        func: Any,
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Run an operation and record it (torch's hook)."""
        options = kwargs or {}
        if self.is_paused or (func is READ_VALUE and not self.is_variable(args[0])):
            return func(*args, **options)
        if func is READ_VALUE or torch.Tag.dynamic_output_shape in getattr(func, "tags", ()):
            raise NotTraceableError("it reads the value of a tensor.")
        inputs = (fx.node.map_aggregate(part, self._recorded) for part in (args, options))
        node = self._add_node(func, *inputs)
        result = func(*args, **options)
        node.meta["result"] = (node.target, node.args, result)
        if isinstance(result, Tensor):
            self._set_node(result, node)
        elif isinstance(result, tuple | list):
            for i, part in enumerate(result):
                if isinstance(part, Tensor):
                    self._set_node(part, self._add_node(operator.getitem, (node, i), {}))
        return result

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Record nothing of what happens inside."""
        self.is_paused = True
        try:
            yield
        finally:
            self.is_paused = False

    def is_variable(self, tensor: Any) -> bool:
        """Tell whether a tensor depends on the inputs."""
        return self._nodes.get(id(tensor)) in self._variable

    def _add_node(self, func: Any, args: Any, kwargs: Any) -> fx.Node:
        """Add a call to the graph."""
        node = self.graph.call_function(func, args, kwargs)
        if not self._variable.isdisjoint(node.all_input_nodes):
            self._variable.add(node)
        return node

    def _set_node(self, tensor: Tensor, node: fx.Node) -> None:
        """Remember which node a tensor is the result of."""
        self._kept.append(tensor)
        self._nodes[id(tensor)] = node

    def _recorded(self, value: Any) -> Any:
        """Return the node of a tensor; other arguments are what they are."""
        return self._node(value) if isinstance(value, Tensor) else value

    def _node(self, tensor: Tensor) -> fx.Node:
        """Return the node of a tensor; one that no recorded operation made is a constant."""
        if id(tensor) not in self._nodes:
            name = f"constant_{len(self._kept)}"
            self.trace.register_buffer(name, tensor)
            self._set_node(tensor, self.graph.get_attr(name))
        return self._nodes[id(tensor)]


@final
@dataclass(frozen=True)
class Draw:
    """A call that draws random numbers from a generator, with arguments that stay the same.

    A method that fills a tensor has a ``template`` of the tensor's shape, dtype and layout.
    """

    function: Callable[..., Tensor]
    args: tuple[Any, ...]
    options: dict[str, Any]
    template: Tensor | None

    def __call__(self) -> Tensor:
        """Return fresh numbers."""
        if self.template is None:
            return self.function(*self.args, **self.options)
        return self.function(_empty_as(self.template), *self.args, **self.options)

    @property
    def generator(self) -> torch.Generator:
        """Source of the numbers."""
        generator: torch.Generator = self.options["generator"]
        return generator

    def drawn_from(self, generator: torch.Generator) -> "Draw":
        """Return the same draw from another generator."""
        return replace(self, options={**self.options, "generator": generator})

    def alone(self) -> "Draw":
        """Return the same draw without a generator, and with copies of tensors as arguments."""
        options = {**self.options, "generator": None}
        args, options = tree_map_only(Tensor, torch.clone, (self.args, options))
        return replace(self, args=args, options=options)


@final
class DrawRecorder(FunctionMode):
    """While it is active, records each call with a generator; generators can be rewound.

    The drawn numbers become inputs of the graph of ``recorder``, if there is one.
    """

    def __init__(self, recorder: OperationRecorder | None = None) -> None:
        super().__init__()
        self.recorder = recorder
        self.draws: list[Draw] = []
        self.values: list[Tensor] = []
        self._states: dict[torch.Generator, Tensor] = {}

    def call(self, func: Callable[..., Any], args: tuple[Any, ...], options: dict[str, Any]) -> Any:
        """Call a function of torch, and record it if it draws."""
        generator = options.get("generator")
        if generator is None:
            return func(*args, **options)
        if generator not in self._states:
            self._states[generator] = generator.get_state()
        with torch.no_grad(), self.recorder.paused() if self.recorder else nullcontext():
            draw = self._make_draw(func, args, options)
            values = draw()
            self.values.append(values.clone())
        self.draws.append(draw)
        if self.recorder is not None:
            self.recorder.add_input(values)
        return args[0].copy_(values) if draw.template is not None else values

    def rewind(self) -> None:
        """Set the generators back to their states before the first draw."""
        for generator, state in self._states.items():
            generator.set_state(state)

    def _make_draw(
        self, function: Callable[..., Any], args: tuple[Any, ...], options: dict[str, Any]
    ) -> Draw:
        """Return a call that draws as an object that can repeat it."""
        template = None
        in_place = function.__name__.endswith("_") and not function.__name__.startswith("__")
        if in_place and args and isinstance(args[0], Tensor):
            template, args = _empty_as(args[0]), args[1:]
        given: list[Tensor] = []
        tree_map_only(Tensor, given.append, (args, options))
        if self.recorder is not None and any(map(self.recorder.is_variable, given)):
            raise NotTraceableError(f"{function.__name__} draws with parameters that change.")
        return Draw(function, args, options, template)


def _empty_as(tensor: Tensor) -> Tensor:
    """Return memory with the strides of a tensor, in whose order numbers are drawn."""
    return tensor.new_empty_strided(tensor.size(), tensor.stride())
