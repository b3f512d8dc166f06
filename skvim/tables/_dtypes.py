"""Types of the columns of data frames as plain values, and back."""

from typing import Any

import numpy as np
import pandas as pd

from skvim._uninterrupted import import_whole
from skvim.tables._labels import check_labels, objects

__all__ = ["LIBRARIES", "check_dtype", "describe_dtype", "largest_number", "restore_dtype"]

#: Kinds of tables that a model can return.
LIBRARIES = ("numpy", "pandas", "polars", "pyarrow")

_INTEGERS = tuple(f"{sign}Int{bits}" for sign in ("", "U") for bits in (8, 16, 32, 64))
# Types of polars' and pyarrow's that columns may have, with the attributes that make them. A file
# that names anything else is refused.
_POLARS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys((*_INTEGERS, "Float32", "Float64", "Boolean", "String", "Date"), ()),
    "Categorical": (),
    "Datetime": ("time_unit", "time_zone"),
    "Decimal": ("precision", "scale"),
    "Duration": ("time_unit",),
    "Enum": ("categories",),
}
_ARROW: dict[str, tuple[str, ...]] = {
    **dict.fromkeys((name.lower() for name in _INTEGERS), ()),
    **dict.fromkeys(("float16", "float32", "float64", "bool_", "date32"), ()),
    **dict.fromkeys(("string", "large_string", "string_view"), ()),
    "decimal128": ("precision", "scale"),
    "decimal256": ("precision", "scale"),
    "duration": ("unit",),
    "timestamp": ("unit", "tz"),
}
# Names that pyarrow shows instead of those of its functions.
_SHOWN = {"halffloat": "float16", "float": "float32", "double": "float64", "bool": "bool_"}


def describe_dtype(library: str, dtype: Any) -> Any:
    """Return a type as text, or as a tuple of text, numbers, None and arrays."""
    if library == "polars":
        name = type(dtype).__name__
        values = [getattr(dtype, attribute) for attribute in _POLARS.get(name, ())]
        return (name, *(objects(v) if hasattr(v, "to_list") else v for v in values))
    if library == "pyarrow":
        return _describe_arrow(dtype)
    if isinstance(dtype, pd.CategoricalDtype):
        labels = dtype.categories
        inner = describe_dtype(library, labels.dtype)
        return ("category", objects(labels), inner, bool(dtype.ordered))
    if isinstance(dtype, pd.StringDtype):
        return ("string", dtype.storage, getattr(dtype, "na_value", pd.NA) is pd.NA)
    if isinstance(dtype, pd.ArrowDtype):
        return ("arrow", _describe_arrow(dtype.pyarrow_dtype))
    return str(dtype)


def _describe_arrow(dtype: Any) -> tuple[Any, ...]:
    """Describe a type of pyarrow's."""
    shown = str(dtype)
    if shown.startswith("dictionary"):
        inner = (dtype.index_type, dtype.value_type)
        return ("dictionary", *map(_describe_arrow, inner), bool(dtype.ordered))
    name = shown.partition("[")[0].partition("(")[0]
    name = _SHOWN.get(name, name)
    return (name, *(getattr(dtype, attribute) for attribute in _ARROW.get(name, ())))


def largest_number(described: Any) -> float:
    """Return the largest number of a type of floats or decimals, at most that of float64."""
    while isinstance(described, tuple) and described[0] == "arrow":
        described = described[1]
    name, *values = (described,) if isinstance(described, str) else described
    if "decimal" in name.lower():
        precision, scale = values
        return float(10 ** (precision - scale) - 10.0**-scale)
    try:
        dtype = np.dtype(name.lower())
    except TypeError:
        dtype = np.dtype(np.float64)
    limit = np.finfo(dtype if dtype.kind == "f" else np.float64).max
    return float(min(limit, np.finfo(np.float64).max))


def restore_dtype(library: str, described: Any) -> Any:
    """Return the type that :func:`describe_dtype` described."""
    if library == "polars":
        return _restore_polars(described)
    if library == "pyarrow":
        return _restore_arrow(described)
    if isinstance(described, str):
        return pd.api.types.pandas_dtype(described)
    name, *values = described
    if name == "category":
        labels, inner, ordered = values
        return pd.CategoricalDtype(pd.Index(labels, dtype=restore_dtype(library, inner)), ordered)
    if name == "string":
        storage, has_na = values
        return pd.StringDtype(storage) if has_na else pd.StringDtype(storage, na_value=np.nan)
    return pd.ArrowDtype(_restore_arrow(values[0]))


def _restore_polars(described: tuple[Any, ...]) -> Any:
    """Return a type of polars'."""
    name, *values = described
    made = getattr(import_whole("polars"), _known(name, _POLARS))
    return made(*(list(v) if isinstance(v, np.ndarray) else v for v in values))


def _restore_arrow(described: tuple[Any, ...]) -> Any:
    """Return a type of pyarrow's."""
    name, *values = described
    pyarrow = import_whole("pyarrow")
    if name == "dictionary":
        index, label, ordered = values
        return pyarrow.dictionary(_restore_arrow(index), _restore_arrow(label), ordered)
    return getattr(pyarrow, _known(name, _ARROW))(*values)


def _known(name: Any, known: dict[str, tuple[str, ...]]) -> str:
    """Return a name that is known, or raise ``ValueError``."""
    if type(name) is not str or name not in known:
        raise ValueError(f"{name!r} is no type of a column.")
    return name


def check_dtype(library: str, described: Any) -> None:
    """Raise ``ValueError`` or ``TypeError`` for what describes no type of a column.

    It does without polars and pyarrow, which may be missing where a file is read.
    """
    if isinstance(described, str) and library in ("numpy", "pandas"):
        np.dtype(described) if library == "numpy" else pd.api.types.pandas_dtype(described)
        return
    name, *values = described
    if library == "polars":
        _check_values(name, values, _POLARS)
    elif library == "pyarrow":
        _check_arrow(name, values)
    elif name == "arrow":
        _check_arrow(values[0][0], list(values[0][1:]))
    elif name == "category":
        labels, inner, ordered = values
        check_labels(labels)
        check_dtype(library, inner)
        if type(ordered) is not bool:
            raise TypeError("ordered is a bool.")
    elif name != "string" or values[0] not in ("python", "pyarrow") or type(values[1]) is not bool:
        raise ValueError(f"{name!r} is no type of a column.")


def _check_arrow(name: Any, values: list[Any]) -> None:
    """Raise ``ValueError`` or ``TypeError`` for what is no type of pyarrow's."""
    if name != "dictionary":
        return _check_values(name, values, _ARROW)
    index, label, ordered = values
    for inner_name, *inner in (index, label):
        _check_values(inner_name, inner, _ARROW)
    if type(ordered) is not bool:
        raise TypeError("ordered is a bool.")
    return None


def _check_values(name: Any, values: list[Any], known: dict[str, tuple[str, ...]]) -> None:
    """Raise ``ValueError`` unless a type is known and has as many attributes as given."""
    attributes = known[_known(name, known)]
    if len(attributes) != len(values):
        raise ValueError(f"{name} has other attributes.")
    for attribute, value in zip(attributes, values, strict=True):
        if attribute == "categories":
            check_labels(value)
        elif not isinstance(value, int if attribute in ("precision", "scale") else str | None):
            raise ValueError(f"{attribute} of {name} is invalid.")
