"""Python functions of graphs: one statement an operation."""

import math
from collections.abc import Callable
from typing import Any, final

from torch import fx

__all__ = ["function_of"]

# Arguments that are written as they are printed.
_PRINTED = (bool, int, str, type(None))


def function_of(graph: fx.Graph) -> Callable[..., Any]:
    """Return a function of the graph's inputs, in their order, that returns its outputs.

    Names of nodes must differ. Each result is dropped after its last use. torch's own function of a
    graph takes several times as long to make, and its source stays in caches of the process.
    """
    writer = _Writer()
    for node, last in zip(graph.nodes, _last_uses(graph), strict=True):
        writer.add(node, last)
    return writer.function()


def _last_uses(graph: fx.Graph) -> list[list[fx.Node]]:
    """Return for every node those results that no later node uses, its own included."""
    seen: set[fx.Node] = set()
    found = []
    for node in reversed(graph.nodes):
        last = [n for n in (*node.all_input_nodes, node) if n not in seen]
        seen.update(last)
        found.append([n for n in last if n.op != "placeholder"])
    return found[::-1]


@final
class _Writer:
    """Source of a function, and the values that it names."""

    def __init__(self) -> None:
        self.inputs: list[str] = []
        self.lines: list[str] = []
        self.values: dict[str, Any] = {}
        self._names: dict[int, str] = {}

    def add(self, node: fx.Node, last: list[fx.Node]) -> None:
        """Write the statement of a node, after which others are no longer needed."""
        if node.op == "placeholder":
            self.inputs.append(node.name)
            return
        if node.op == "output":
            self.lines.append(f"return {self._text(node.args[0])}")
            return
        arguments = [self._text(value) for value in node.args]
        arguments += [f"{name}={self._text(value)}" for name, value in node.kwargs.items()]
        self.lines.append(f"{node.name} = {self._name(node.target)}({', '.join(arguments)})")
        if last:
            self.lines.append(f"del {', '.join(n.name for n in last)}")

    def function(self) -> Callable[..., Any]:
        """Compile the function."""
        body = "\n    ".join(self.lines)
        source = f"def step({', '.join(self.inputs)}):\n    {body}\n"
        exec(compile(source, "<captured step>", "exec"), self.values)
        function: Callable[..., Any] = self.values.pop("step")
        return function

    def _text(self, value: Any) -> str:
        """Return an argument as source."""
        if isinstance(value, fx.Node):
            return value.name
        if isinstance(value, tuple | list):
            items = "".join(f"{self._text(item)}, " for item in value)
            return f"({items})" if isinstance(value, tuple) else f"[{items}]"
        if type(value) in _PRINTED or (type(value) is float and math.isfinite(value)):
            return repr(value)
        return self._name(value)

    def _name(self, value: Any) -> str:
        """Return the name of a value in the source."""
        name = self._names.setdefault(id(value), f"v{len(self._names)}")
        self.values[name] = value  # the value keeps its id from being reused
        return name
