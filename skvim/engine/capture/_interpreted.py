"""Optimised graphs as functions that torch's script interpreter runs, without Python."""

import operator
from collections.abc import Callable
from typing import Any

from torch import fx

from skvim._torch_private import ScriptGraph

__all__ = ["OPERATION", "interpreted"]

#: Key in the ``meta`` of a node for the operation that it calls, in whatever form.
OPERATION = "operation"


def interpreted(graph: fx.Graph) -> Callable[..., Any] | None:
    """Return a function of the graph's inputs that returns a tuple of its outputs.

    A call of an operation takes about half a microsecond less than from Python. None for a graph
    with operations or arguments that the interpreter does not know.
    """
    script, values = ScriptGraph(), dict[fx.Node, Any]()
    try:
        for node in graph.nodes:
            if node.op == "output":
                return script.function([values[result] for result in node.args[0]])
            values[node] = _value(script, node, values)
    except (RuntimeError, TypeError, KeyError):
        return None
    return None


def _value(script: ScriptGraph, node: fx.Node, values: dict[fx.Node, Any]) -> Any:
    """Add a node to a script and return its value there, or its values."""
    if node.op == "placeholder":
        return script.add_input()
    args: Any = fx.node.map_arg(node.args, values.__getitem__)
    if node.target is operator.getitem:
        return script.item(args[0], args[1])
    options: Any = fx.node.map_arg(node.kwargs, values.__getitem__)
    return script.call(node.meta[OPERATION], args, options)
