"""Graphs of torch's operations made short: what is known beforehand is not computed every time."""

import operator
from collections.abc import Callable, Sequence
from functools import partial
from types import BuiltinFunctionType
from typing import Any, NamedTuple, final

import torch
from torch import Tensor, fx, nn
from torch._ops import OpOverload

from skvim.engine._trace import NotTraceableError

__all__ = ["Program", "simplify"]

# torch types the arguments of a node as a union of all that may be one.
Node = Any

_aten = torch.ops.aten
# Operations whose result has nothing to do with the values that they are given.
_FILLED = {"ones_like", "zeros_like", "full_like", "new_zeros", "new_ones", "new_full"}
# Results that share memory with the first argument, though their schema does not say so.
_SILENT_VIEWS = {"_unsafe_view", "_reshape_alias"}
_COPIES = {"clone", "_to_copy", "lift_fresh_copy"}
_SAME = {"detach", "alias", "lift_fresh", "expand", "view", "_unsafe_view", "reshape"}
# Pointwise operations with a number for second argument, and the number that changes nothing.
_NEUTRAL = {"mul": 1, "div": 1, "add": 0, "sub": 0, "pow": 1}


class Program(NamedTuple):
    """A graph ready to run.

    Attributes
    ----------
    function : callable
        From batch and draws to the outputs of the graph.
    graph : GraphModule
        The same with every tensor that is known beforehand as an input before these.
    known : tuple of Tensor
        Those tensors: parameters, buffers and views of them, and constants.
    """

    function: Callable[..., Sequence[Tensor]]
    graph: fx.GraphModule
    known: tuple[Tensor, ...]


def simplify(
    traced: fx.GraphModule,
    persistent: Sequence[Tensor],
    examples: Sequence[Tensor],
    layouts: Sequence[Tensor | None],
) -> Program:
    """Return a graph that does the same with fewer operations.

    Parameters
    ----------
    traced : GraphModule
        A flat sequence of calls of torch's operations.
    persistent : sequence of Tensor
        Its first inputs, each a tensor whose memory stays where it is from run to run.
    examples : sequence of Tensor
        All of its inputs with values to try it on, which may change.
    layouts : sequence of Tensor or None
        For every output a tensor whose layout in memory it has to have, or None.

    Notes
    -----
    Views of persistent memory are made once. What depends on shapes and numbers alone is computed
    once. Equal operations on equal inputs are done once. What an operation in place writes to is
    left alone, with everything that reads it, in the order of the graph.
    """
    builder = _Builder(traced, persistent)
    with torch.no_grad():
        for node, example in zip(_inputs(traced), examples, strict=True):
            builder.examples[node] = example
        for node in traced.graph.nodes:
            if node.op == "output":
                return builder.finish(node, layouts)
            if node.op != "placeholder":
                builder.add(node)
    raise NotTraceableError("the graph has no output.")


@final
class _Builder:
    """Copies a graph node by node, and leaves out what it can.

    Every node of the old graph becomes a tensor that is known or a node of the new graph.
    """

    def __init__(self, traced: fx.GraphModule, persistent: Sequence[Tensor]) -> None:
        self.traced = traced
        self.graph = fx.Graph()
        self.examples: dict[Node, Any] = {}
        self.nodes: dict[Node, fx.Node] = {}
        self.known: dict[Node, Tensor] = {}
        self.constants: set[Node] = set()
        self.written = _written(traced.graph)
        self.computed: dict[Any, fx.Node] = {}
        self.inputs: dict[int, tuple[Node, Tensor]] = {}
        self.numbers: dict[Any, Tensor] = {}
        placeholders = _inputs(traced)
        self.known.update(zip(placeholders, persistent, strict=False))
        for node in placeholders[len(persistent) :]:
            self.nodes[node] = self.graph.placeholder(node.name)

    def add(self, node: Node) -> None:
        """Take over one node."""
        if node.op == "get_attr":
            self._set_constant(node, operator.attrgetter(str(node.target))(self.traced))
            return
        if isinstance(node.target, OpOverload):
            if torch.Tag.nondeterministic_seeded in node.target.tags:
                raise NotTraceableError(f"{node.target} draws without a generator.")
            node = self._rewritten(node)
        example = self.examples[node] = _run(node, self.examples)
        touched = any(_root(n) in self.written for n in (node, *node.all_input_nodes))
        if self._is_view_of_known(node):
            self._set_view(node)
        elif touched or not isinstance(example, Tensor):
            self.nodes[node] = self._copied(node)
        elif _name(node) in _FILLED or all(n in self.constants for n in node.all_input_nodes):
            self._set_constant(node, example)
        elif self._is_identity(node):
            self._replace(node, node.args[0])
        else:
            self.nodes[node] = self._computed(node)

    def finish(self, output: Node, layouts: Sequence[Tensor | None]) -> Program:
        """Close the graph and return it."""
        results: list[fx.Node] = []
        for node, layout in zip(output.args[0], layouts, strict=True):
            result = self._resolve(node)
            moved = layout is not None and layout.stride() != self.examples[node].stride()
            # Whoever takes them may write to them, and kernels go through memory as it lies.
            if moved or node in self.known or result in results:
                options: dict[str, Any] = {"memory_format": _format(layout)} if moved else {}
                result = self.graph.call_function(_aten.clone.default, (result,), options)
            results.append(result)
        self.graph.output(tuple(results))
        _drop_unused(self.graph)
        found = {node: tensor for node, tensor in self.inputs.values() if node.users}
        for node in [node for node, _ in self.inputs.values() if node not in found]:
            self.graph.erase_node(node)
        known = tuple(found[node] for node in self.graph.nodes if node in found)
        graph = fx.GraphModule(nn.Module(), self.graph)
        return Program(partial(graph.forward, *known), graph, known)

    def _rewritten(self, node: Node) -> Node:
        """Write a node as one that gives the same and takes less time."""
        if node.target is _aten.pow.Tensor_Scalar and node.args[1] == 2:
            node.target = _aten.mul.Tensor
            node.args = (node.args[0], node.args[0])
        elif _name(node) in {"view", "_unsafe_view", "squeeze"} and _keeps_axes(node.args[0]):
            summed, axes, _ = node.args[0].args
            without = self.examples[summed].sum(axes).shape
            if without == _run(node, self.examples).shape:
                node.target, node.args = _aten.sum.dim_IntList, (summed, axes)
        return node

    def _is_view_of_known(self, node: Node) -> bool:
        """Whether a node only looks at memory that is known in another way."""
        inputs = node.all_input_nodes
        known = bool(inputs) and all(source in self.known for source in inputs)
        return known and _is_view(node) and isinstance(self.examples[node], Tensor)

    def _is_identity(self, node: Node) -> bool:
        """Whether a node returns what it is given."""
        source, example = node.args[0] if node.args else None, self.examples[node]
        if not isinstance(source, fx.Node):
            return False
        given = self.examples[source]
        if not isinstance(given, Tensor) or _kind(given) != _kind(example):
            return False
        name = _name(node)
        if name in _COPIES:
            return bool(given.stride() == example.stride())
        neutral = name in _NEUTRAL and len(node.args) > 1 and not node.kwargs
        return name in _SAME or (neutral and _is_number(node.args[1], _NEUTRAL[name]))

    def _computed(self, node: Node) -> Node:
        """Return the node of the new graph that has the values of this one."""
        if _name(node) == "t" and _name(node.args[0]) == "t":
            source = node.args[0].args[0]
            return self._resolve(source)
        copied = self._copied(node)
        key = (copied.target, _hashable(copied.args), _hashable(copied.kwargs))
        if key in self.computed:
            self.graph.erase_node(copied)
            return self.computed[key]
        self.computed[key] = copied
        return copied

    def _copied(self, node: Node) -> Node:
        """Append a node to the new graph, in the form that is fastest to call."""
        args = fx.node.map_arg(node.args, self._resolve)
        kwargs = fx.node.map_arg(node.kwargs, self._resolve)
        example = self.examples[node]
        if _name(node) in {"mul", "div", "add", "sub"} and isinstance(example, Tensor):
            args = self._numbers_as_tensors(args, kwargs, example)
        return self.graph.call_function(_fastest(node.target), args, kwargs)

    def _numbers_as_tensors(
        self, args: tuple[Any, ...], kwargs: dict[str, Any], example: Tensor
    ) -> tuple[Any, ...]:
        """Spare the operation from making a tensor of its number at every call, on a CPU."""
        # Numbers beside coarser types are not rounded to them.
        exact = example.device.type == "cpu" and example.dtype in {torch.float32, torch.float64}
        if not exact or kwargs or len(args) != 2 or not isinstance(args[1], int | float):
            return args
        key = (float(args[1]).hex(), example.dtype)
        if key not in self.numbers:
            self.numbers[key] = torch.tensor(args[1], dtype=example.dtype)
        return (args[0], self._input(self.numbers[key]))

    def _replace(self, node: Node, source: Node) -> None:
        """Let a node be another."""
        if source in self.known:
            self.known[node] = self.known[source]
        else:
            self.nodes[node] = self.nodes[source]

    def _set_view(self, node: Node) -> None:
        """Make a view of known memory once."""
        if all(source in self.constants for source in node.all_input_nodes):
            self.constants.add(node)
        self.known[node] = _run(node, self.known)

    def _set_constant(self, node: Node, value: Tensor) -> None:
        """Keep the value of a node that never changes."""
        if _root(node) in self.written:
            raise NotTraceableError(f"it writes to a constant, {node.name}.")
        self.examples[node] = self.known[node] = value
        self.constants.add(node)

    def _resolve(self, node: Node) -> Node:
        """Return what stands for a node of the old graph in the new one."""
        return self._input(self.known[node]) if node in self.known else self.nodes[node]

    def _input(self, tensor: Tensor) -> Node:
        """Return the input of the new graph for a tensor that is known."""
        if id(tensor) not in self.inputs:
            with self.graph.inserting_before():  # what there is
                node = self.graph.placeholder(f"known_{len(self.inputs)}")
            self.inputs[id(tensor)] = (node, tensor)  # the tensor keeps its id from being reused
        return self.inputs[id(tensor)][0]


def _run(node: Node, values: dict[Node, Any]) -> Any:
    """Return the result of a node for values of its inputs."""
    args = fx.node.map_arg(node.args, values.__getitem__)
    kwargs = fx.node.map_arg(node.kwargs, values.__getitem__)
    return node.target(*args, **kwargs)


def _inputs(traced: fx.GraphModule) -> list[Node]:
    """Return the inputs of a graph in their order."""
    return [node for node in traced.graph.nodes if node.op == "placeholder"]


def _name(node: Any) -> str:
    """Return the name of a node's operation without namespace and variant, or nothing."""
    target = getattr(node, "target", None)
    return target._schema.name.split("::")[1] if isinstance(target, OpOverload) else ""


def _kind(tensor: Tensor) -> tuple[Any, ...]:
    """Return what a tensor is but for its values and layout."""
    return tensor.shape, tensor.dtype, tensor.device


def _format(layout: Tensor | None) -> torch.memory_format:
    """Return the name of a tensor's layout."""
    if layout is not None and layout.is_contiguous():
        return torch.contiguous_format
    if layout is not None and layout.is_contiguous(memory_format=torch.channels_last):
        return torch.channels_last
    raise NotTraceableError("a parameter lies in memory in an order without a name.")


def _is_number(value: Any, number: int) -> bool:
    """Whether an argument is this number."""
    return isinstance(value, int | float) and value == number


def _is_view(node: Node) -> bool:
    """Whether an operation returns a look at memory, and writes to none."""
    target = node.target
    if not isinstance(target, OpOverload) or target._schema.is_mutable:
        return False
    return any(result.alias_info is not None for result in target._schema.returns)


def _keeps_axes(node: Node) -> bool:
    """Whether a node sums and leaves axes of length 1."""
    return _name(node) == "sum" and len(node.args) == 3 and node.args[2] is True


def _shared(node: Node, *, written: bool) -> list[Node]:
    """Return the arguments whose memory a node's result shares, or those that it writes to."""
    if node.target is operator.getitem or _name(node) in _SILENT_VIEWS:
        return [] if written else node.all_input_nodes[:1]
    if not isinstance(node.target, OpOverload):
        return []
    found: list[Node] = []
    for i, argument in enumerate(node.target._schema.arguments):
        alias = argument.alias_info
        if alias is None or (written and not alias.is_write):
            continue
        value = node.args[i] if i < len(node.args) else node.kwargs.get(argument.name)
        fx.node.map_arg(value, found.append)
    return found


def _root(node: Node) -> Node:
    """Return the node whose memory a node's result lies in."""
    while shared := _shared(node, written=False):
        node = shared[0]
    return node


def _written(graph: fx.Graph) -> set[Node]:
    """Return the nodes whose memory some operation writes to."""
    return {_root(source) for node in graph.nodes for source in _shared(node, written=True)}


def _hashable(value: Any) -> Any:
    """Return arguments of a node as a key of what they say, in which 1, 1.0 and True differ."""
    if isinstance(value, fx.Node):
        return value
    if isinstance(value, dict):
        return tuple((key, _hashable(value[key])) for key in sorted(value))
    if isinstance(value, list | tuple):
        return tuple(_hashable(entry) for entry in value)
    return type(value), repr(value)


def _fastest(target: Any) -> Any:
    """Return torch's own function for an operation where there is one: calls of it cost less."""
    if not isinstance(target, OpOverload) or target._schema.is_mutable:
        return target
    namespace, name = target._schema.name.split("::")
    function = getattr(torch, name, None)
    return function if namespace == "aten" and _is_builtin(function) else target


def _is_builtin(function: Any) -> bool:
    """Whether a function is compiled, and so takes an operation's own arguments."""
    return isinstance(function, BuiltinFunctionType)


def _drop_unused(graph: fx.Graph) -> None:
    """Remove nodes that nobody needs, but for those that write."""
    for node in reversed(graph.nodes):
        mutable = isinstance(node.target, OpOverload) and node.target._schema.is_mutable
        silent = "batch_norm" in str(node.target)  # writes to its averages, and does not say so
        if node.op == "call_function" and not node.users and not mutable and not silent:
            graph.erase_node(node)
