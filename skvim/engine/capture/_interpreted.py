"""Optimised graphs as functions that torch's script interpreter runs, without Python."""

import operator
from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor, fx

from skvim._torch_private import OpOverload, ScriptGraph, schema

__all__ = ["describe", "interpreted"]

_aten = torch.ops.aten
# Keys in the ``meta`` of a node: the operation that it calls, in whatever form, and what its result
# looks like in memory.
_OPERATION, _LAYOUT = "operation", "layout"
# Pointwise operations that write to memory that they are given, and the argument's name.
_WITH_OUT = {
    _aten.threshold_backward.default: (_aten.threshold_backward.grad_input, "grad_input"),
    _aten.hardtanh_backward.default: (_aten.hardtanh_backward.grad_input, "grad_input"),
}


def describe(node: fx.Node, operation: Any, example: Any) -> None:
    """Note which operation a node calls, and an example of its result."""
    node.meta[_OPERATION] = operation
    if isinstance(example, Tensor):
        node.meta[_LAYOUT] = (example.dtype, example.shape, example.stride())


def interpreted(graph: fx.Graph) -> Callable[..., Any] | None:
    """Return a function of the graph's inputs that returns a tuple of its outputs.

    A call of an operation takes about half a microsecond less than from Python, and where its first
    argument is not needed any more, it writes to its memory. None for a graph with operations or
    arguments that the interpreter does not know.
    """
    script, values = ScriptGraph(), dict[fx.Node, Any]()
    places = {node: i for i, node in enumerate(graph.nodes)}
    try:
        for node in graph.nodes:
            if node.op == "output":
                return script.function([values[result] for result in node.args[0]])
            values[node] = _value(script, node, values, places)
    except (RuntimeError, TypeError, KeyError):
        return None
    return None


def _value(
    script: ScriptGraph, node: fx.Node, values: dict[fx.Node, Any], places: dict[fx.Node, int]
) -> Any:
    """Add a node to a script and return its value there, or its values."""
    if node.op == "placeholder":
        return script.add_input()
    args: Any = fx.node.map_arg(node.args, values.__getitem__)
    if node.target is operator.getitem:
        return script.item(args[0], args[1])
    options: Any = fx.node.map_arg(node.kwargs, values.__getitem__)
    operation, name = node.meta[_OPERATION], ""
    if _may_overwrite(node, places):
        operation, name = _overwriting(operation)
    if name:
        options = {**options, name: args[0]}
    return script.call(operation, args, options)


def _may_overwrite(node: fx.Node, places: dict[fx.Node, int]) -> bool:
    """Tell whether a result may take the memory of the first argument, which then has no users."""
    source = node.args[0] if node.args else None
    if not isinstance(source, fx.Node) or not _owns_memory(source):
        return False
    alike = source.meta[_LAYOUT] == node.meta.get(_LAYOUT)
    return alike and all(
        places[user] <= places[node] and user.op != "output" and _makes_new(user.meta[_OPERATION])
        for user in source.users
    )


def _owns_memory(node: fx.Node) -> bool:
    """Tell whether the result of a node is new memory."""
    return _LAYOUT in node.meta and _makes_new(node.meta[_OPERATION])


@cache
def _makes_new(operation: Any) -> bool:
    """Tell whether the results of an operation share no memory with its arguments."""
    if not isinstance(operation, OpOverload):
        return False
    is_alias = [r.alias_info is not None for r in schema(operation).returns]
    names_view = schema(operation).name.split("::")[1] in {"_unsafe_view", "_reshape_alias"}
    return not (any(is_alias) or schema(operation).is_mutable or names_view)


@cache
def _overwriting(operation: OpOverload) -> tuple[OpOverload, str]:
    """Return the form of a pointwise operation that writes to its first argument, if there is one.

    The name is that of the argument that takes the memory, or "".
    """
    if operation in _WITH_OUT:
        return _WITH_OUT[operation]
    if torch.Tag.pointwise not in operation.tags:
        return operation, ""
    name, overload = schema(operation).name.split("::")[1], schema(operation).overload_name
    packet = getattr(_aten, f"{name}_", None)
    found = getattr(packet, overload or "default", None)
    return (operation if found is None else found), ""
