"""Types of the columns of data frames as plain values, and back."""

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from skvim._uninterrupted import import_whole
from skvim.tables._labels import objects

__all__ = ["LIBRARIES", "describe_dtype", "restore_dtype"]

#: Kinds of tables that a model can return.
LIBRARIES = ("numpy", "pandas", "polars", "pyarrow")

# Attributes that make a type of polars'.
_POLARS = {
    "Datetime": ("time_unit", "time_zone"),
    "Decimal": ("precision", "scale"),
    "Duration": ("time_unit",),
    "Enum": ("categories",),
}


def describe_dtype(library: str, dtype: Any) -> Any:
    """Return a type as text, or as a tuple of text, numbers and arrays."""
    if library == "polars":
        name = type(dtype).__name__
        values = [getattr(dtype, attribute) for attribute in _POLARS.get(name, ())]
        return (name, *(objects(v) if hasattr(v, "to_list") else v for v in values))
    if library == "pyarrow":
        return ("arrow", _arrow_bytes(dtype))
    if isinstance(dtype, pd.CategoricalDtype):
        labels = dtype.categories
        inner = describe_dtype(library, labels.dtype)
        return ("category", objects(labels), inner, bool(dtype.ordered))
    if isinstance(dtype, pd.StringDtype):
        return ("string", dtype.storage, getattr(dtype, "na_value", pd.NA) is pd.NA)
    if isinstance(dtype, pd.ArrowDtype):
        return ("arrow", _arrow_bytes(dtype.pyarrow_dtype))
    return str(dtype)


def restore_dtype(library: str, described: Any) -> Any:
    """Return the type that :func:`describe_dtype` described."""
    if library == "polars":
        name, *values = described
        made = getattr(import_whole("polars"), name)
        return made(*(list(v) if isinstance(v, np.ndarray) else v for v in values))
    if isinstance(described, str):
        return pd.api.types.pandas_dtype(described)
    name, *values = described
    if name == "category":
        labels, inner, ordered = values
        return pd.CategoricalDtype(pd.Index(labels, dtype=restore_dtype(library, inner)), ordered)
    if name == "string":
        storage, has_na = values
        return pd.StringDtype(storage) if has_na else pd.StringDtype(storage, na_value=np.nan)
    dtype = _arrow_type(values[0])
    return dtype if library == "pyarrow" else pd.ArrowDtype(dtype)


def _arrow_bytes(dtype: Any) -> NDArray[np.uint8]:
    """Return a type of pyarrow's as the bytes of a schema in Arrow's own format."""
    schema = import_whole("pyarrow").schema([("", dtype)])
    return np.frombuffer(schema.serialize(), dtype=np.uint8).copy()


def _arrow_type(raw: NDArray[np.uint8]) -> Any:
    """Return the type of such a schema."""
    pyarrow = import_whole("pyarrow")
    return pyarrow.ipc.read_schema(pyarrow.py_buffer(raw.tobytes())).field(0).type
