"""Structure of a training step by value: what its program depends on besides its inputs."""

import functools
import hashlib
from collections.abc import Hashable, Iterable, Mapping, Set
from types import BuiltinFunctionType, FunctionType, MethodType
from typing import Any, final

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Transform

from skvim._torch_private import checks_arguments, distribution_state, transform_state
from skvim._values import NotComparableError, attributes
from skvim.engine.capture._training_step import TrainingStep
from skvim.networks._random import RandomStream

__all__ = ["structure"]

# Values that count as themselves, with their type: 1, 1.0 and True make different operations.
_ATOMS = {str, bytes, bool, int, type(None), type(Ellipsis)}
_ATOMS |= {torch.dtype, torch.device, torch.Size, torch.layout, torch.memory_format}
_FUNCTIONS = (type, FunctionType, BuiltinFunctionType)
# Kinds of objects whose attributes are not all that they hold.
_WITH_CONTENT = (str, bytes, bytearray, int, float, complex, torch.Generator)
# Packages whose functions and classes are the same in all fits of a process, and those among them
# whose objects are told by their attributes.
_LIBRARIES = {"builtins", "collections", "functools", "math", "operator", "skvim", "torch"}
_PLAIN = {"skvim", "torch"}
# What every module has; its hooks are no part of a captured step.
_OF_MODULES = set(vars(nn.Module())) - {"training"}
# Kernels of attention, on a CPU too.
_ATTENTION = ("flash", "mem_efficient", "math", "cudnn")
_STATES = ((Distribution, distribution_state), (Transform, transform_state))


def structure(step: TrainingStep, x: Tensor) -> Hashable:
    """Return what the program of a step depends on, for batches like ``x``, hashable and by value.

    Parameters and buffers count by their shapes, layouts and roles, generators by the places where
    the step has them: programs take both as inputs. All other tensors count by their values, all
    other objects by their classes and attributes, and torch's settings count too.
    NotComparableError if some part is code of others than torch and skvim.
    """
    reader = _Reader(step, x.device)
    try:
        return (reader.read(step), _layout(x), *_settings())
    except RecursionError as error:
        raise NotComparableError("A part of the step refers to itself.") from error


def _settings() -> Iterable[Hashable]:
    """Return the settings of torch that choose among operations."""
    return (
        torch.get_default_dtype(),
        torch.get_default_device(),
        torch.get_num_threads(),
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
        torch.is_autocast_cache_enabled(),
        *((torch.is_autocast_enabled(k), torch.get_autocast_dtype(k)) for k in ("cpu", "cuda")),
        torch.is_inference_mode_enabled(),
        torch.backends.cudnn.enabled,
        torch.backends.cudnn.deterministic,
        torch.backends.mkldnn.enabled,
        torch.backends.mha.get_fastpath_enabled(),
        *(getattr(torch.backends.cuda, f"{name}_sdp_enabled")() for name in _ATTENTION),
        checks_arguments(),
    )


def _layout(tensor: Tensor) -> Hashable:
    """Return what operations depend on beside the values of a tensor."""
    if tensor.layout is not torch.strided or tensor.is_conj() or tensor.is_neg():
        raise NotComparableError(f"A tensor has the layout {tensor.layout}.")
    kind = type(tensor)
    if kind not in {Tensor, nn.Parameter, nn.Buffer}:
        raise NotComparableError(f"A tensor is a {kind.__name__}.")
    shape, strides = tuple(tensor.shape), tensor.stride()
    return (shape, strides, tensor.dtype, tensor.device, tensor.requires_grad)


@final
class _Reader:
    """Reads the parts of one step; what occurs twice is told by the number of its first place."""

    def __init__(self, step: TrainingStep, device: torch.device) -> None:
        self._device = device
        self._generators = {id(one): i for i, one in enumerate(step.generators(device))}
        self._modules: dict[int, int] = {}
        self._storages: dict[int, int] = {}

    def read(self, value: Any) -> Hashable:
        """Describe a value of any kind."""
        kind = type(value)
        if kind in _ATOMS:
            return (kind, value)
        if kind is float:
            return (kind, value.hex())  # the sign of 0 counts, NaN equals itself
        if isinstance(value, Tensor):
            return self._read_constant(value)
        if isinstance(value, nn.Module):
            return self._read_module(value)
        if isinstance(value, torch.Generator):
            return self._read_generator(value)
        if isinstance(value, RandomStream):
            return self._read_generator(value.on(self._device))
        if isinstance(value, Mapping | list | tuple | set | frozenset):
            return self._read_container(value)
        return self._read_object(value)

    def _read_module(self, module: nn.Module) -> Hashable:
        """Describe a module by its class, tensors, parts and other attributes."""
        if id(module) in self._modules:
            return ("module", self._modules[id(module)])
        self._modules[id(module)] = len(self._modules)
        own = {name: v for name, v in vars(module).items() if name not in _OF_MODULES}
        tensors = {**dict(module._parameters), **dict(module._buffers)}
        return (
            _known(type(module)),
            *((name, self._read_input(tensor)) for name, tensor in tensors.items()),
            *((name, self.read(part)) for name, part in module._modules.items()),
            *((name, self.read(part)) for name, part in own.items()),
        )

    def _read_input(self, tensor: Tensor | None) -> Hashable:
        """Describe a parameter or buffer without its values."""
        if tensor is None:
            return None
        address = tensor.untyped_storage().data_ptr()
        place = self._storages.setdefault(address, len(self._storages)) if address else -1
        return (place, tensor.storage_offset(), type(tensor), *_layout(tensor))  # type: ignore[misc]

    def _read_constant(self, tensor: Tensor) -> Hashable:
        """Describe a tensor that is no parameter or buffer."""
        layout = _layout(tensor)
        values = tensor.detach().to("cpu", copy=True).contiguous().reshape(-1).view(torch.uint8)
        return ("constant", layout, hashlib.sha256(values.numpy().data).digest())

    def _read_generator(self, generator: torch.Generator) -> Hashable:
        """Describe a generator by its place among those that a step has."""
        if id(generator) not in self._generators:
            raise NotComparableError("A generator belongs to no stream.")
        return ("generator", self._generators[id(generator)])

    def _read_container(self, value: Any) -> Hashable:
        """Describe a mapping, a set or a sequence."""
        kind = _known(type(value))
        if isinstance(value, Mapping):
            return (kind, *((self.read(key), self.read(entry)) for key, entry in value.items()))
        parts = map(self.read, value)
        return (kind, frozenset(parts)) if isinstance(value, set | frozenset) else (kind, *parts)

    def _read_object(self, value: Any) -> Hashable:
        """Describe an object by its class and attributes, a function or class by itself."""
        if isinstance(value, FunctionType) and value.__closure__ is not None:
            held = [cell.cell_contents for cell in value.__closure__]
            rest = (held, value.__defaults__, value.__kwdefaults__)
            return ("closure", _known(value).__code__, self.read(rest))
        if isinstance(value, _FUNCTIONS):
            return (_known(value),)
        if isinstance(value, MethodType):
            return ("method", self.read(value.__self__), _known(value.__func__))
        if isinstance(value, functools.partial):
            return ("partial", *map(self.read, (value.func, value.args, value.keywords)))
        if isinstance(value, _WITH_CONTENT) or not hasattr(value, "__dict__"):
            raise NotComparableError(f"{type(value).__name__} has more than attributes.")
        state = next((of for kind, of in _STATES if isinstance(value, kind)), attributes)
        return (_known(type(value), _PLAIN), self.read(dict(state(value))))


def _known(named: Any, libraries: Set[str] = frozenset(_LIBRARIES)) -> Any:
    """Return a function or class of some libraries; NotComparableError for any other."""
    module = (getattr(named, "__module__", None) or "builtins").split(".")[0]
    if module not in libraries:
        raise NotComparableError(f"{named} is neither skvim's nor torch's.")
    return named
