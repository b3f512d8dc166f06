"""Operations written down as they run."""

import operator
from collections.abc import Callable, Iterable, Sequence
from typing import Any, final

from torch import Tensor, fx, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only

__all__ = ["record"]


def record(function: Callable[..., Any], inputs: Sequence[Tensor]) -> fx.GraphModule:
    """Run a function once and return the operations that it came to, gradients included.

    Several times as fast as torch's tracer, and blind to decisions that depend on values: it is for
    the library's own code, which takes none.

    Parameters
    ----------
    function : callable
        From the inputs to a sequence of tensors.
    inputs : sequence of Tensor
        No two the same.
    """
    recorder = _Recorder(inputs)
    with recorder:
        outputs = function(*inputs)
    return recorder.finish(outputs)


@final
class _Recorder(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """While it is entered, every operation becomes a node of a graph."""

    def __init__(self, inputs: Sequence[Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.graph = fx.Graph()
        self.constants = nn.Module()
        self.nodes: dict[int, fx.Node] = {}
        self.kept: list[Tensor] = []  # so that no tensor receives the identity of an earlier one
        for i, tensor in enumerate(inputs):
            self._name(tensor, self.graph.placeholder(f"input_{i}"))

    def finish(self, outputs: Sequence[Tensor]) -> fx.GraphModule:
        """Close the graph and return it."""
        self.graph.output(tuple(self._node(tensor) for tensor in outputs))
        return fx.GraphModule(self.constants, self.graph)

    def __torch_dispatch__(
        self,
        func: Any,
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Call an operation and write it down (torch's hook)."""
        options = kwargs or {}
        known = (tree_map_only(Tensor, self._node, part) for part in (args, options))
        node = self.graph.call_function(func, *known)
        result = func(*args, **options)
        if isinstance(result, Tensor):
            self._name(result, node)
        elif isinstance(result, tuple | list):
            for i, part in enumerate(result):
                if isinstance(part, Tensor):
                    self._name(part, self.graph.call_function(operator.getitem, (node, i)))
        return result

    def _name(self, tensor: Tensor, node: fx.Node) -> None:
        """Remember which node a tensor is the result of."""
        self.kept.append(tensor)
        self.nodes[id(tensor)] = node

    def _node(self, tensor: Tensor) -> fx.Node:
        """Return the node of a tensor; one that nothing has returned is a constant."""
        if id(tensor) not in self.nodes:
            name = f"constant_{len(self.kept)}"
            self.constants.register_buffer(name, tensor)
            self._name(tensor, self.graph.get_attr(name))
        return self.nodes[id(tensor)]
