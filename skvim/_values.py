"""Comparison, hashing and pickling by value, for settings that may hold torch's objects.

A pickled tensor carries the address of its storage, so that two equal tensors have different
pickles; torch's distributions and modules have no equality at all. Here both are told by their
types, shapes and bytes.
"""

import copy
import copyreg
import functools
import io
import pickle
from collections import OrderedDict
from collections.abc import Callable, Mapping
from numbers import Integral, Real
from types import BuiltinFunctionType, FunctionType, MethodType
from typing import Any, Self, final

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Transform
from torch.nn.parameter import is_lazy

from skvim._plain_numbers import plain
from skvim._torch_modes import torch_defaults
from skvim._torch_private import distribution_state, transform_state

__all__ = ["ByValue", "NotComparableError", "attributes", "by_bytes", "describe", "itself"]

_ATOMS = (str, bytes, bool, type(None), type(Ellipsis))
_NAMED = (type, FunctionType, BuiltinFunctionType, torch.dtype, torch.device, torch.Size)


@final
class NotComparableError(TypeError):
    """A value has no description by which it could be compared with another."""


class ByValue:
    """Mixin of settings: objects of one class with equal attributes are equal.

    They hash and pickle alike too: ``joblib.hash`` of two equal ones is the same, also in another
    process. Attributes that start with an underscore count like all others; values of a
    ``functools.cached_property``, which follow from the others, do not count and are not pickled.
    """

    def __eq__(self, other: object) -> bool:
        if type(self) is not type(other):
            return NotImplemented
        try:
            return self is other or describe(attributes(self)) == describe(attributes(other))
        except NotComparableError:
            return False

    def __hash__(self) -> int:
        try:
            return hash((type(self), describe(attributes(self))))
        except NotComparableError:
            return hash(type(self))

    @final
    def with_plain_numbers(self) -> Self:
        """Return a copy with Python's numbers in the place of NumPy's; itself if there are none."""
        own = attributes(self)
        converted = {name: plain(value) for name, value in own.items()}
        if all(converted[name] is value for name, value in own.items()):
            return self
        copied = object.__new__(type(self))
        for name, value in converted.items():
            object.__setattr__(copied, name, value)
        return copied

    def __getstate__(self) -> dict[str, Any]:
        return {name: by_bytes(value) for name, value in attributes(self).items()}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        for name, value in state.items():
            object.__setattr__(self, name, itself(value))


def describe(value: Any) -> Any:
    """Return a hashable description of a value: equal values have equal descriptions.

    Parameters
    ----------
    value : object
        Numbers, text, containers, tensors, arrays, torch's distributions and modules, functions
        and classes, and any object that pickle can take apart into such.

    Returns
    -------
    object
        Hashable. Tensors and arrays count by dtype, shape and bytes, tensors also by whether they
        require gradients, functions and classes as themselves, all other objects by their class
        and state.

    Raises
    ------
    NotComparableError
        When a part of the value cannot be described.
    """
    try:
        return _describe(value)
    except RecursionError as error:
        raise NotComparableError(f"{type(value).__name__} refers to itself.") from error


def attributes(value: object) -> dict[str, Any]:
    """Return the attributes of an object, those in slots included but no cached properties."""
    state: Any = object.__getstate__(value)
    parts = state if isinstance(state, tuple) else (state,)
    return {
        name: entry
        for part in parts
        if part
        for name, entry in part.items()
        if not isinstance(getattr(type(value), name, None), functools.cached_property)
    }


def _describe(value: Any) -> Any:
    """Describe a value of any kind."""
    if isinstance(value, _ATOMS):
        return value if not isinstance(value, bool) else ("bool", value)
    if isinstance(value, Real):
        return _describe_number(value)
    if isinstance(value, _NAMED):
        return value
    if isinstance(value, Tensor):
        return ("tensor", *_tensor_parts(value), value.requires_grad)
    if hasattr(value, "tobytes") and hasattr(value, "dtype"):  # an array of NumPy's
        return ("array", str(value.dtype), value.shape, _array_items(value))
    if isinstance(value, Mapping | set | frozenset | list | tuple):
        return _describe_container(value)
    return _describe_object(value)


def _describe_container(value: Any) -> Any:
    """Describe a mapping or set, without an order unless it has one, or a sequence."""
    if isinstance(value, OrderedDict):
        return (type(value), *map(_describe, value.items()))
    if isinstance(value, Mapping):
        return (type(value), frozenset(map(_describe, value.items())))
    if isinstance(value, set | frozenset):
        return (type(value), frozenset(map(_describe, value)))
    return (type(value), *map(_describe, value))


def _describe_number(value: Any) -> Any:
    """Describe a real number, NumPy's included; NaN equals itself here."""
    number = int(value) if isinstance(value, Integral) else float(value)
    return number if number == number else ("nan",)


def _array_items(array: Any) -> Any:
    """Describe the entries of an array of NumPy's."""
    if array.dtype.hasobject:
        return _describe(array.tolist())
    return array.tobytes()


def _describe_object(value: Any) -> Any:
    """Describe an object by its class and state."""
    if isinstance(value, functools.partial):
        return ("partial", _describe((value.func, value.args, value.keywords)))
    if isinstance(value, MethodType):
        return ("method", _describe(value.__self__), value.__func__)
    for kind, state_of in _STATES:
        if isinstance(value, kind):
            return (type(value), _describe(state_of(value)))
    try:
        reduced = value.__reduce_ex__(pickle.HIGHEST_PROTOCOL)
    except Exception as error:  # classes raise whatever they like when they refuse
        raise NotComparableError(f"{type(value).__name__} cannot be compared: {error}") from error
    if isinstance(reduced, str):  # pickle knows it by its name alone
        return value
    if isinstance(value, nn.Module):
        return _describe_module(value, [_listed(part) for part in reduced])
    return (type(value), *map(_describe, map(_listed, reduced)))


# Kinds of objects that are told by other state than pickle's.
_STATES: list[tuple[type, Callable[[Any], Any]]] = [
    (Distribution, distribution_state),
    (Transform, transform_state),
    (ByValue, attributes),
]


def _describe_module(module: nn.Module, parts: list[Any]) -> Any:
    """Describe a module by its class and state, parts that it shares and the order of others."""
    # The order is that in which Sequential calls them.
    names = [name for name, _ in module.named_children()]
    first: dict[int, str] = {}
    own = (*module.named_parameters(remove_duplicate=False), *module.named_buffers())
    shared = [first.setdefault(id(tensor), name) for name, tensor in own]
    state = [_without_hook_keys(part) if isinstance(part, dict) else part for part in parts]
    return (type(module), *names, *shared, *map(_describe, state))


def _without_hook_keys(state: dict[str, Any]) -> dict[str, Any]:
    """Return a module's state without the keys of hooks, which count those of the process."""
    return {
        name: list(entry.values()) if "_hooks" in name and isinstance(entry, Mapping) else entry
        for name, entry in state.items()
    }


def _listed(part: Any) -> Any:
    """Return an iterator, of which pickle's description of an object may have two, as a list."""
    return list(part) if hasattr(part, "__next__") else part


def _tensor_parts(tensor: Tensor) -> tuple[torch.dtype, tuple[int, ...], bytes]:
    """Return dtype, shape and bytes of a tensor."""
    if is_lazy(tensor):
        raise NotComparableError("parameters without a shape as yet cannot be compared.")
    if tensor.layout != torch.strided or tensor.is_quantized:
        raise NotComparableError(f"tensors of layout {tensor.layout} cannot be compared.")
    plain = tensor.detach().cpu().resolve_conj().resolve_neg()
    # A copy: contiguous() leaves the strides of axes of length 1 as they are, even 0.
    plain = plain.clone(memory_format=torch.contiguous_format)
    raw = bytes(plain.reshape(-1).view(torch.uint8).numpy()) if plain.numel() else b""
    return tensor.dtype, tuple(tensor.shape), raw


# Pickles.

# The protocol with which joblib.hash pickles; what is sent to other processes has a later one.
_HASH_PROTOCOL = 3


@final
class _ByBytes:
    """A value that pickles as bytes which are the same for equal values of torch's."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        try:
            raw, is_portable = _pickled(self.value)
        except (pickle.PicklingError, AttributeError, TypeError):
            return _returned, (self.value,)
        # A pickler such as cloudpickle, which joblib's processes use, takes along what other
        # processes cannot import.
        if not is_portable and protocol > _HASH_PROTOCOL:
            return _returned, (self.value,)
        return pickle.loads, (raw,)

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        if isinstance(self.value, Distribution | Transform):
            return pickle.loads(_pickled(self.value)[0])  # torch loses inverses of transforms
        with torch_defaults():
            return copy.deepcopy(self.value, memo)


def by_bytes(value: Any) -> Any:
    """Return what to put into an object's state for ``pickle`` in the place of a value.

    Parameters
    ----------
    value : object
        A setting: a tensor, distribution or module, a container with such, or anything else.

    Returns
    -------
    object
        It comes back from a pickle as the value, with tensors on the CPU, and from ``deepcopy`` as
        a deep copy. ``value`` itself where it holds nothing of torch's.
    """
    return _ByBytes(value) if _holds_torch(value) else value


def itself(value: Any) -> Any:
    """Return the value that :func:`by_bytes` was given, where ``copy.copy`` moved the state."""
    return value.value if isinstance(value, _ByBytes) else value


def _holds_torch(value: Any) -> bool:
    """Tell whether a value is an object of torch's, or a container with one."""
    if isinstance(value, Mapping):
        return any(map(_holds_torch, value.values()))
    if isinstance(value, list | tuple):
        return any(map(_holds_torch, value))
    return isinstance(value, Tensor | Distribution | Transform | nn.Module)


def _returned(value: Any) -> Any:
    """Return a value as it is: what its own pickle is read by."""
    return value


def _pickled(value: Any) -> tuple[bytes, bool]:
    """Return a value as bytes that depend on values alone, and whether others can read them."""
    buffer = io.BytesIO()
    pickler = _Pickler(buffer, protocol=pickle.HIGHEST_PROTOCOL)
    pickler.dump(value)
    return buffer.getvalue(), pickler.is_portable


@final
class _Pickler(pickle._Pickler):
    """Pickles tensors by their bytes, distributions without what they cache."""

    is_portable = True  # whether no class or function of the main program was needed

    def memoize(self, obj: Any) -> None:
        """Remember an object that is written once only (pickle's hook).

        Text and bytes are written each time: unpickling interns some strings and not others, so
        that which of them are one object differs between equal values.
        """
        if not isinstance(obj, str | bytes):
            super().memoize(obj)  # type: ignore[misc]  # typeshed lacks it

    def reducer_override(self, value: Any) -> Any:
        """Return how to rebuild an object (pickle's hook)."""
        if isinstance(value, Tensor):
            is_parameter = isinstance(value, nn.Parameter)
            return _make_tensor, (*_tensor_parts(value), value.requires_grad, is_parameter)
        if isinstance(value, Distribution):
            return _newobj(value, distribution_state(value))
        if isinstance(value, Transform):
            return _newobj(value, transform_state(value))
        if isinstance(value, type | FunctionType) and value.__module__ == "__main__":
            self.is_portable = False
        return NotImplemented


def _newobj(value: Any, state: dict[str, Any]) -> tuple[Any, ...]:
    """Return pickle's recipe for an object of this class with this state."""
    return copyreg.__newobj__, (type(value),), state  # type: ignore[attr-defined]


def _make_tensor(
    dtype: torch.dtype, shape: tuple[int, ...], raw: bytes, requires_grad: bool, is_parameter: bool
) -> Tensor:
    """Return a tensor from its bytes."""
    with torch_defaults():
        tensor = torch.empty(shape, dtype=dtype, device="cpu")
        if raw:
            tensor = torch.frombuffer(bytearray(raw), dtype=dtype).reshape(shape)
        if is_parameter:
            return nn.Parameter(tensor, requires_grad)
        # Inside of torch.func.grad torch refuses even requires_grad_(False).
        return tensor.requires_grad_() if requires_grad else tensor
