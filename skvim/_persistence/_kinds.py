"""Kinds of values of Python, NumPy, torch and skvim that files can hold."""

import math
import re
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, optim
from torch.distributions import (
    Categorical,
    ComposeTransform,
    Distribution,
    Independent,
    MixtureSameFamily,
    Transform,
    TransformedDistribution,
)

from skvim._persistence._codec import Kind, Reader, Writer, refusal
from skvim._persistence._header import DTYPES
from skvim._persistence._registry import part_arguments, part_class, public_class, public_name
from skvim._torch_private import (
    InverseTransform,
    argument_checks,
    given_parameter,
    set_given_parameter,
)

__all__ = ["KINDS"]

_TEXT = re.compile(r"[<>=|]?U\d+|T")
_NUMBERS = set(DTYPES.values())
_BUILTINS: dict[str, type] = {
    "bool": bool,
    "float": float,
    "int": int,
    "object": object,
    "str": str,
}
_NARROWER = "array.astype(object)"
_KEYS = 624  # words of the Mersenne twister
_NOT_FINITE = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}


# Arrays, scalars and dtypes of NumPy.


def _write_array(writer: Writer, value: NDArray[Any], path: str) -> Any:
    """Store numbers as bytes in their memory order, and text and objects as JSON."""
    if value.dtype.name in _NUMBERS:
        by_column = value.flags.f_contiguous and not value.flags.c_contiguous
        stored = value.T if by_column else value
        native = np.ascontiguousarray(stored, dtype=value.dtype.newbyteorder("="))
        # The memory order is kept because rounding of sums depends on it.
        name = writer.keep(native.reshape(stored.shape), path)
        return {"name": name, "order": "F"} if by_column else {"name": name}
    if value.dtype.kind not in "OUT":
        raise refusal(value, path, f"an array of {value.dtype}")
    plain = value.ravel().tolist()
    if value.dtype.kind == "U" and not writer.text.suffices(value.dtype.itemsize, plain):
        raise refusal(value, path, "whose text is much shorter than its width", _NARROWER)
    items = [writer.write(item, f"{path}[{i}]") for i, item in enumerate(plain)]
    dtype = {"O": "object", "T": "T"}.get(value.dtype.kind, value.dtype.str)
    return {"dtype": dtype, "shape": list(value.shape), "items": items}


def _read_array(reader: Reader, node: Any) -> NDArray[Any]:
    if "name" in node:
        stored = reader.take(node["name"])
        return stored.T if node.get("order") == "F" else stored
    items = [reader.read(item) for item in node["items"]]
    dtype = _dtype(node["dtype"])
    if dtype.kind != "O" and not all(isinstance(item, str) for item in items):
        raise ValueError("an array of text holds something else")
    if dtype.kind == "U" and not reader.text.suffices(dtype.itemsize, items):
        raise ValueError("an array of text is much wider than its items")
    array = np.empty(len(items), dtype=dtype)
    # Assigned one by one: an array of them all would have the width of the longest.
    array[:] = _objects(items)
    return array.reshape(node["shape"])


def _objects(items: list[Any]) -> NDArray[Any]:
    """Return a one-dimensional array of objects, sequences included."""
    array = np.empty(len(items), dtype=object)
    for i, item in enumerate(items):
        array[i] = item
    return array


def _dtype(name: Any) -> np.dtype[Any]:
    """Return a dtype by its name, if files may hold it."""
    known = isinstance(name, str) and (name in {*_NUMBERS, "object"} or _TEXT.fullmatch(name))
    if not known:
        raise ValueError(f"{name!r} is no dtype that files may hold")
    dtype: np.dtype[Any] = np.dtype(name)
    return dtype


def _write_scalar(writer: Writer, value: np.generic, path: str) -> Any:
    if value.dtype.name not in _NUMBERS and value.dtype.kind != "U":
        raise refusal(value, path, f"a scalar of {value.dtype}")
    return {
        "dtype": value.dtype.str if value.dtype.kind == "U" else value.dtype.name,
        "value": writer.write(value.item(), path),
    }


def _read_scalar(reader: Reader, node: Any) -> Any:
    return _dtype(node["dtype"]).type(reader.read(node["value"]))


def _write_dtype(writer: Writer, value: np.dtype[Any], path: str) -> str:
    name = value.str if value.kind == "U" else value.name
    if name not in {*_NUMBERS, "object"} and value.kind != "U":
        raise refusal(value, path, "a dtype")
    return name


def _is_type(value: Any) -> bool:
    return isinstance(value, type) and (
        value in _BUILTINS.values()
        or (issubclass(value, np.generic) and value.__name__ in _NUMBERS)
    )


def _write_type(writer: Writer, value: type, path: str) -> str:
    return f"numpy.{value.__name__}" if issubclass(value, np.generic) else value.__name__


def _read_type(reader: Reader, name: str) -> type:
    return _dtype(name.removeprefix("numpy.")).type if "." in name else _BUILTINS[name]


def _write_random_state(writer: Writer, value: np.random.RandomState, path: str) -> Any:
    state: dict[str, Any] = value.get_state(legacy=False)
    if state["bit_generator"] != "MT19937":
        raise refusal(value, path, "which uses another bit generator than MT19937")
    return writer.write(state, path)


def _read_random_state(reader: Reader, node: Any) -> np.random.RandomState:
    state = reader.read(node)
    key, position = state["state"]["key"], state["state"]["pos"]
    # NumPy does not check them, and would read out of bounds.
    if key.shape != (_KEYS,) or key.dtype != np.uint32 or not 0 <= position <= _KEYS:
        raise ValueError("a state of a generator is out of range")
    made = np.random.RandomState(np.random.MT19937())
    made.set_state(state)
    return made


# torch: tensors, optimizers, distributions and their transforms.


def _write_tensor(writer: Writer, value: Tensor, path: str) -> str:
    try:
        array = value.detach().cpu().contiguous().numpy()
    except (TypeError, RuntimeError) as error:
        raise refusal(value, path, f"a tensor of {value.dtype}") from error
    return writer.keep(array, path)


def _read_tensor(reader: Reader, name: str) -> Tensor:
    return torch.from_numpy(reader.take(name))


def _is_optimizer(value: Any) -> bool:
    public = isinstance(value, type) and issubclass(value, optim.Optimizer)
    return public and public_name(value) is not None


def _write_distribution(writer: Writer, value: Distribution, path: str) -> Any:
    cls = public_name(type(value))
    if cls is None:
        raise refusal(value, path, "a distribution that is not torch's")
    names = _distribution_arguments(value)
    arguments = {key: getattr(value, name) for key, name in names.items()}
    checked = argument_checks(value)
    if checked is not None:
        arguments["validate_args"] = checked
    _check_arguments(value, arguments, path)
    return {"class": cls, "arguments": writer.write(arguments, path)}


def _check_arguments(value: Any, arguments: dict[str, Any], path: str) -> None:
    """Raise unless the class can be constructed with these arguments again."""
    try:
        type(value)(**arguments)
    except (AssertionError, TypeError, ValueError) as error:
        raise refusal(value, path, "whose attributes do not give its arguments") from error


def _distribution_arguments(value: Distribution) -> dict[str, str]:
    """Return the attributes that hold a constructor's arguments, by the arguments' names."""
    if isinstance(value, Independent):
        return {
            "base_distribution": "base_dist",
            "reinterpreted_batch_ndims": "reinterpreted_batch_ndims",
        }
    if type(value) is TransformedDistribution:
        return {"base_distribution": "base_dist", "transforms": "transforms"}
    if isinstance(value, MixtureSameFamily):
        return {name: name for name in ("mixture_distribution", "component_distribution")}
    names = set(value.arg_constraints)
    given = given_parameter(value)
    if {"probs", "logits"} <= names and given:
        names = names - {"probs", "logits"} | {given}  # the other is derived lazily
    return {name: name for name in sorted(names)}


def _read_distribution(reader: Reader, node: Any) -> Distribution:
    arguments = reader.read(node["arguments"])
    made: Distribution = public_class(node["class"], Distribution)(**arguments)
    if isinstance(made, Categorical):
        for name in {"probs", "logits"} & set(arguments):
            set_given_parameter(made, name, arguments[name])
    return made


def _write_transform(writer: Writer, value: Transform, path: str) -> Any:
    if isinstance(value, InverseTransform):
        return {"inverse": writer.write(value.inv, path)}
    name = public_name(type(value))
    if name is None:
        raise refusal(value, path, "a transform that is not torch's")
    if isinstance(value, ComposeTransform):
        arguments: dict[str, Any] = {"parts": value.parts}
    else:
        kept = {key.removeprefix("_"): item for key, item in vars(value).items()}
        arguments = {key: kept[key] for key in _TRANSFORMS.get(name.rpartition(".")[2], ())}
    _check_arguments(value, arguments, path)
    return {"class": name, "arguments": writer.write(arguments, path)}


# Arguments of transforms that have some.
_TRANSFORMS = {
    "AffineTransform": ("loc", "scale", "event_dim"),
    "CumulativeDistributionTransform": ("distribution",),
    "IndependentTransform": ("base_transform", "reinterpreted_batch_ndims"),
    "PowerTransform": ("exponent",),
}


def _read_transform(reader: Reader, node: Any) -> Transform:
    if "inverse" in node:
        inner = reader.read(node["inverse"])
        if not isinstance(inner, Transform):
            raise TypeError("the inverse of something that is no transform")
        return inner.inv
    made: Transform = public_class(node["class"], Transform)(**reader.read(node["arguments"]))
    return made


# Parts of skvim's models.


def _write_part(writer: Writer, value: Any, path: str) -> Any:
    name, arguments = part_arguments(value) or ("", {})
    return {"class": name, "arguments": writer.write(arguments, path)}


def _read_part(reader: Reader, node: Any) -> Any:
    return part_class(node["class"])(**reader.read(node["arguments"]))


def _listed(writer: Writer, value: Any, path: str) -> Any:
    """Write a sequence as a list."""
    return writer.write(list(value), path)


KINDS = [
    Kind("float", lambda v: type(v) is float, lambda w, v, p: str(v), lambda r, n: _NOT_FINITE[n]),
    Kind("tuple", lambda v: type(v) is tuple, _listed, lambda r, n: tuple(r.read(n))),
    Kind(
        "dict",
        lambda v: type(v) is dict,
        lambda w, v, p: w.write([list(item) for item in v.items()], p),
        lambda r, n: dict(r.read(n)),
    ),
    Kind(
        "slice",
        lambda v: type(v) is slice,
        lambda w, v, p: w.write([v.start, v.stop, v.step], p),
        lambda r, n: slice(*r.read(n)),
    ),
    Kind("array", lambda v: type(v) in (np.ndarray, np.memmap), _write_array, _read_array),
    Kind("scalar", lambda v: isinstance(v, np.generic), _write_scalar, _read_scalar),
    Kind("dtype", lambda v: isinstance(v, np.dtype), _write_dtype, lambda r, n: _dtype(n)),
    Kind("type", _is_type, _write_type, _read_type),
    Kind(
        "random_state",
        lambda v: isinstance(v, np.random.RandomState),
        _write_random_state,
        _read_random_state,
    ),
    Kind("tensor", lambda v: isinstance(v, Tensor), _write_tensor, _read_tensor),
    Kind(
        "optimizer",
        _is_optimizer,
        lambda w, v, p: public_name(v),
        lambda r, n: public_class(n, optim.Optimizer),
    ),
    Kind(
        "distribution",
        lambda v: isinstance(v, Distribution),
        _write_distribution,
        _read_distribution,
    ),
    Kind("transform", lambda v: isinstance(v, Transform), _write_transform, _read_transform),
    Kind("part", lambda v: part_arguments(v) is not None, _write_part, _read_part),
]
