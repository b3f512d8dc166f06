"""Private names of torch: all that skvim uses, in one place.

A release of torch may change any of them. ``tests/test_private_names.py`` then names what is gone.
"""

import ctypes
import linecache
import weakref
from collections.abc import Callable, Iterator
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
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only

__all__ = [
    "FUSED_KERNELS",
    "IMPORTED_BY_COMPILE",
    "IMPORTED_ON_USE",
    "READ_VALUE",
    "USED",
    "DropoutLayer",
    "GraphModule",
    "InverseTransform",
    "OpOverload",
    "TorchDispatchMode",
    "argument_checks",
    "distribution_state",
    "draw_gamma",
    "given_parameter",
    "has_hooks",
    "has_step_hooks",
    "increment_all",
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
    "torch.nn.Parameter._backward_hooks",
    "torch.nn.Parameter._post_accumulate_grad_hooks",
    "torch.optim.Adam._optimizer_step_pre_hooks",
    "torch.optim.Adam._optimizer_step_post_hooks",
    "torch.fx.graph_module._loader.eval_cache",
    "torch.distributions.AffineTransform._inv",
    "torch.distributions.AffineTransform._cache_size",
    "torch.distributions.AffineTransform._cached_x_y",
    "torch.distributions.Categorical._param",
    "torch.distributions.Categorical._validate_args",
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
    """Return x Wᵀ + b of matrices without gradient, on request with negative values set to 0.

    In float32 on a CPU it is oneDNN's: MKL's, which torch uses otherwise, takes twice as long on
    processors of AMD.
    """
    fast = _onednn_linear() if x.dtype == torch.float32 and x.device.type == "cpu" else None
    if fast is not None and torch.backends.mkldnn.enabled:
        result: Tensor = fast(x, weight, bias, "relu" if relu else "none", [], "")
        return result
    result = torch.nn.functional.linear(x, weight, bias)
    return result.relu_() if relu else result


def draw_gamma(shape: Tensor, generator: torch.Generator) -> Tensor:
    """Draw from gamma distributions of these shape parameters and rate 1."""
    return torch._standard_gamma(shape, generator=generator)


def has_hooks(module: nn.Module) -> bool:
    """Tell whether hooks are registered with a module, its parts or their parameters."""
    on_modules = ((m, name) for m in module.modules() for name in _HOOKS_OF_MODULES)
    on_parameters = ((p, name) for p in module.parameters() for name in _HOOKS_OF_PARAMETERS)
    return any(getattr(owner, name) for of in (on_modules, on_parameters) for owner, name in of)


def has_step_hooks(optimizer: optim.Optimizer) -> bool:
    """Tell whether hooks of ``step`` are registered with an optimizer."""
    return bool(optimizer._optimizer_step_pre_hooks or optimizer._optimizer_step_post_hooks)


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
