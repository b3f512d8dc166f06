"""Private names of torch: all that skvim uses, in one place.

A release of torch may change any of them. ``tests/test_private_names.py`` then names what is gone.
"""

import ctypes
import itertools
import linecache
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any, cast, final

import torch
from torch import Tensor, fx, nn, optim
from torch._ops import OpOverload
from torch.distributions import Distribution, Transform
from torch.distributions.transforms import _InverseTransform as InverseTransform
from torch.distributions.utils import lazy_property
from torch.fx import graph_module
from torch.nn.modules.dropout import _DropoutNd as DropoutLayer
from torch.optim import optimizer as optimizer_module
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only

__all__ = [
    "FUSED_KERNELS",
    "IMPORTED_BY_COMPILE",
    "IMPORTED_ON_USE",
    "READ_VALUE",
    "USED",
    "DispatchMode",
    "DropoutLayer",
    "Graph",
    "GraphModule",
    "InverseTransform",
    "OpOverload",
    "ScriptGraph",
    "argument_checks",
    "checks_arguments",
    "distribution_state",
    "draw_gamma",
    "given_parameter",
    "has_hooks",
    "has_step_hooks",
    "increment_all",
    "kept_argument_checks",
    "linear_map",
    "mkl_setter",
    "outside_transforms",
    "schema",
    "set_argument_checks",
    "set_given_parameter",
    "transform_state",
    "tree_map_only",
    "version",
]

#: Names that the functions below look up when they are called.
USED = (
    "torch._C._DisableFuncTorch",
    "torch._C.Graph",
    "torch._C.TensorType.get",
    "torch._C.TupleType",
    "torch._C._create_function_from_graph",
    "torch._C._get_graph_executor_optimize",
    "torch._C._set_graph_executor_optimize",
    "torch._dynamo",
    "torch._foreach_add_",
    "torch._fused_adam_",
    "torch._fused_adamw_",
    "torch._standard_gamma",
    "torch.Tensor._version",
    "torch.nn.Module._forward_hooks",
    "torch.nn.Module._forward_pre_hooks",
    "torch.nn.Module._backward_hooks",
    "torch.nn.Module._backward_pre_hooks",
    "torch.nn.modules.module._global_forward_hooks",
    "torch.nn.modules.module._global_forward_pre_hooks",
    "torch.nn.modules.module._global_backward_hooks",
    "torch.nn.modules.module._global_backward_pre_hooks",
    "torch.nn.Parameter._backward_hooks",
    "torch.nn.Parameter._post_accumulate_grad_hooks",
    "torch.optim.Adam._optimizer_step_pre_hooks",
    "torch.optim.Adam._optimizer_step_post_hooks",
    "torch.fx.Graph._find_nodes_lookup_table",
    "torch.fx.Graph._insert",
    "torch.fx.Graph._len",
    "torch.optim.optimizer._global_optimizer_pre_hooks",
    "torch.optim.optimizer._global_optimizer_post_hooks",
    "torch.fx.graph_module._loader.eval_cache",
    "torch.distributions.AffineTransform._inv",
    "torch.distributions.AffineTransform._cache_size",
    "torch.distributions.AffineTransform._cached_x_y",
    "torch.distributions.Categorical._param",
    "torch.distributions.Categorical._validate_args",
    "torch.distributions.Distribution._validate_args",
    "torch.ops.aten._local_scalar_dense.default._schema",
)

#: Kernels of fused optimizers, by class; None where this torch has none.
FUSED_KERNELS: dict[type[optim.Optimizer], Callable[..., Any] | None] = {
    optim.Adam: getattr(torch, "_fused_adam_", None),
    optim.AdamW: getattr(torch, "_fused_adamw_", None),
}
#: The operation that reads the value of a tensor: ``Tensor.item`` and ``bool(tensor)``.
READ_VALUE = torch.ops.aten._local_scalar_dense.default

#: Modules that torch imports, with hundreds of others, when the first optimizer or the first layer
#: without weights is made, and when something is first compiled.
IMPORTED_ON_USE, IMPORTED_BY_COMPILE = "torch._dynamo", "torch._inductor.compile_fx"

# In the order of their numbers.
_MEMORY_FORMATS = [
    torch.contiguous_format,
    torch.preserve_format,
    torch.channels_last,
    torch.channels_last_3d,
]
_HOOKS_OF_MODULES = (
    "_forward_pre_hooks",
    "_forward_hooks",
    "_backward_pre_hooks",
    "_backward_hooks",
)
_HOOKS_OF_PARAMETERS = ("_backward_hooks", "_post_accumulate_grad_hooks")


# Operations and optimizers.


def schema(operation: OpOverload) -> Any:
    """Return the schema of an operation: its name, arguments and what it writes to."""
    return operation._schema


def increment_all(tensors: list[Tensor]) -> None:
    """Add 1 to every tensor, in place, in one call."""
    torch._foreach_add_(tensors, 1)


@cache
def _onednn_linear() -> Callable[..., Tensor] | None:
    """Return oneDNN's product with a weight; None where this torch has none."""
    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return None
    return getattr(torch.ops.mkldnn, "_linear_pointwise", None)


def linear_map(x: Tensor, weight: Tensor, bias: Tensor | None, *, relu: bool = False) -> Tensor:
    """Return x Wᵀ + b of matrices, on request with negative values set to 0.

    In float32 on a CPU and without gradients it is oneDNN's: MKL's, which torch uses otherwise,
    takes twice as long on processors of AMD.
    """
    fast = _onednn_linear() if x.dtype == torch.float32 and x.device.type == "cpu" else None
    if fast is not None and torch.backends.mkldnn.enabled and not torch.is_grad_enabled():
        result: Tensor = fast(x, weight, bias, "relu" if relu else "none", [], "")
        return result
    result = torch.nn.functional.linear(x, weight, bias)
    return result.relu_() if relu else result


def draw_gamma(shape: Tensor, generator: torch.Generator) -> Tensor:
    """Draw from gamma distributions of these shape parameters and rate 1."""
    return torch._standard_gamma(shape, generator=generator)


def has_hooks(module: nn.Module) -> bool:
    """Tell whether hooks are registered with a module, its parts and parameters, or all modules."""
    on_modules = ((m, name) for m in module.modules() for name in _HOOKS_OF_MODULES)
    on_parameters = ((p, name) for p in module.parameters() for name in _HOOKS_OF_PARAMETERS)
    on_all = ((nn.modules.module, f"_global{name}") for name in _HOOKS_OF_MODULES)
    every = (on_modules, on_parameters, on_all)
    return any(getattr(owner, name) for of in every for owner, name in of)


def has_step_hooks(optimizer: optim.Optimizer) -> bool:
    """Tell whether hooks of ``step`` are registered with an optimizer, or with all of them."""
    own = (optimizer._optimizer_step_pre_hooks, optimizer._optimizer_step_post_hooks)
    of_all = (
        optimizer_module._global_optimizer_pre_hooks,
        optimizer_module._global_optimizer_post_hooks,
    )
    return any(map(bool, own + of_all))


def version(tensor: Tensor) -> int:
    """Return how often a tensor was changed in place."""
    return tensor._version


@cache
def mkl_setter() -> Callable[[int], int]:
    """Return what sets MKL's number of threads in the calling thread and returns the one before.

    Zero is none: MKL then follows OpenMP, as it does until ``torch.set_num_threads`` is called.
    threadpoolctl does not see the MKL inside torch. A function without effect where there is none.
    """
    try:
        setter = ctypes.CDLL(torch._C.__file__).MKL_Set_Num_Threads_Local
    except (AttributeError, OSError):
        return lambda number: 0
    return cast("Callable[[int], int]", setter)


@contextmanager
def outside_transforms() -> Iterator[None]:
    """Leave ``torch.inference_mode`` and the transforms of ``torch.func`` for a while.

    Tensors that are made inside them can be used inside them alone.
    """
    with torch.inference_mode(False), torch._C._DisableFuncTorch():
        yield


# Graphs.


class DispatchMode(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """torch's mode that sees each operation, without what keeps ``torch.compile`` out of it.

    That takes as long as the recording of an operation.
    """

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False


@final
class Graph(fx.Graph):
    """torch's graph, to which nodes are added in a tenth of the time.

    Inputs have the names that they are given, which must differ; other nodes are numbered.
    """

    def __init__(self) -> None:
        super().__init__()
        self._numbers = itertools.count()

    def create_node(
        self,
        op: str,
        target: Any,
        args: Any = None,
        kwargs: Any = None,
        name: str | None = None,
        type_expr: Any = None,
    ) -> fx.Node:
        """Append a node (torch's hook)."""
        name = target if op == "placeholder" else f"n{next(self._numbers)}"
        node = fx.Node(self, name, op, target, args or (), kwargs or {}, type_expr)
        self._insert(node)
        self._find_nodes_lookup_table.insert(node)
        self._len += 1
        return node


@final
class GraphModule(fx.GraphModule):
    """torch's module of a graph, whose generated source is forgotten when it is no longer used.

    torch keeps the source of every graph until the process ends, for tracebacks.
    """

    def recompile(self) -> Any:
        """Generate the source of ``forward`` from the graph (torch's hook)."""
        source = super().recompile()
        key = type(self).forward.__code__.co_filename
        weakref.finalize(self, _forget_source, key).atexit = False
        return source


def _forget_source(key: str) -> None:
    """Remove generated source from the caches of torch and of tracebacks."""
    graph_module._loader.eval_cache.pop(key, None)
    linecache.cache.pop(key, None)


@final
class ScriptGraph:
    """A graph for torch's script interpreter, which calls operations without Python.

    ``add_input``, ``call`` and ``item`` return values of the graph. TypeError or RuntimeError
    for what the interpreter does not know.
    """

    def __init__(self) -> None:
        self._graph: Any = torch._C.Graph()

    def add_input(self) -> Any:
        """Add a tensor as an input."""
        value = self._graph.addInput()
        value.setType(torch._C.TensorType.get())
        return value

    def call(self, operation: OpOverload, args: Sequence[Any], options: dict[str, Any]) -> Any:
        """Add a call with values and constants: its result, or results if it returns several."""
        inputs = []
        for i, argument in enumerate(schema(operation).arguments):
            given = args[i] if i < len(args) else options.get(argument.name, argument.default_value)
            inputs.append(self._value(given, argument.type))
        types = [result.type for result in schema(operation).returns]
        node = self._insert(schema(operation).name, inputs, types)
        if not node.schema().startswith("aten::"):
            raise TypeError(f"There is no {operation} for these arguments.")
        results = list(node.outputs())
        return results[0] if len(results) == 1 else results

    def item(self, results: Any, i: int) -> Any:
        """Return one of an operation's results, which are several or a list."""
        if isinstance(results, list):
            return results[i]
        place = self._graph.insertConstant(i)
        kind = torch._C.TensorType.get()
        return self._insert("aten::__getitem__", [results, place], [kind]).output()

    def function(self, outputs: Sequence[Any]) -> Callable[..., Any]:
        """Return a function of the inputs that returns these values as a tuple."""
        of_outputs = torch._C.TupleType([value.type() for value in outputs])
        node = self._insert("prim::TupleConstruct", list(outputs), [of_outputs])
        self._graph.registerOutput(node.output())
        function: Any = torch._C._create_function_from_graph("program", self._graph)

        def run(*inputs: Tensor) -> Any:
            # Of the calling thread: torch's own optimisation takes longer than it saves.
            before = torch._C._get_graph_executor_optimize()
            torch._C._set_graph_executor_optimize(False)
            try:
                return function(*inputs)
            finally:
                torch._C._set_graph_executor_optimize(before)

        return run

    def _insert(self, name: str, inputs: list[Any], types: Sequence[Any]) -> Any:
        """Append a node and return it."""
        node = self._graph.insertNode(self._graph.create(name, inputs, len(types)))
        for value, kind in zip(node.outputs(), types, strict=True):
            value.setType(kind)
        return node

    def _value(self, given: Any, kind: Any) -> Any:
        """Return the value of an argument, which is one already or a constant."""
        if isinstance(given, torch._C.Value):
            return given
        if given is not None and kind.kind() == "OptionalType":
            kind = kind.getElementType()
        if kind.kind() == "ListType" and isinstance(given, list | tuple):
            if not given or any(isinstance(item, torch._C.Value) for item in given):
                items = [self._value(item, kind.getElementType()) for item in given]
                return self._insert("prim::ListConstruct", items, [kind]).output()
            given = list(given)
        if isinstance(given, torch.memory_format):
            given = _MEMORY_FORMATS.index(given)
        if kind.kind() == "FloatType" and isinstance(given, int):
            given = float(given)
        return self._graph.insertConstant(given)


# Distributions.


def distribution_state(value: Distribution) -> dict[str, Any]:
    """Return a distribution's attributes without those that were worked out from others."""
    state = vars(value)
    given = state.get("_param")
    lazy = {
        name
        for name in state
        if isinstance(getattr(type(value), name, None), lazy_property) and state[name] is not given
    }
    return {name: entry for name, entry in state.items() if name not in lazy}


def transform_state(value: Transform) -> dict[str, Any]:
    """Return a transform's attributes without cached values, but with what it inverts.

    torch's own state drops the transform that an inverse inverts.
    """
    state = vars(value) | {"_cache_size": 0, "_cached_x_y": (None, None)}
    if not isinstance(value, InverseTransform):  # any other keeps its inverse for speed
        state["_inv"] = None
    return state


def argument_checks(value: Distribution) -> bool | None:
    """Return whether a distribution was told to check its arguments; None for torch's default."""
    checked: bool | None = vars(value).get("_validate_args")
    return checked


def checks_arguments() -> bool:
    """Return torch's default: whether distributions check their arguments."""
    return Distribution._validate_args


@contextmanager
def kept_argument_checks() -> Iterator[None]:
    """Set torch's default for the arguments of distributions back at the end.

    The first ``torch.compile`` of a process turns the checks off and leaves them so.
    """
    before = checks_arguments()
    try:
        yield
    finally:
        Distribution.set_default_validate_args(before)


def set_argument_checks(value: Distribution, checked: bool) -> None:
    """Let a distribution check its arguments, or not, in place."""
    value._validate_args = checked


def given_parameter(value: Distribution) -> str:
    """Return whether "probs" or "logits" was given to a distribution that takes either, or ""."""
    state = vars(value)
    if "_param" not in state:
        return ""
    return "probs" if state.get("probs") is state["_param"] else "logits"


def set_given_parameter(value: Distribution, name: str, parameter: Tensor) -> None:
    """Set "probs" or "logits" as they are: constructors normalise, which may change a last bit."""
    vars(value)[name] = vars(value)["_param"] = parameter
