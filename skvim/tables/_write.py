"""Columns of arrays and data frames made from arrays of NumPy's."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from skvim._uninterrupted import import_whole
from skvim.tables._dtypes import restore_dtype
from skvim.tables._field import Field, in_unit
from skvim.tables._labels import objects
from skvim.tables._read import Read

__all__ = ["build_table", "fill_table"]


def build_table(
    library: str, fields: tuple[Field, ...], columns: list[NDArray[Any]], like: Any, dtype: str
) -> Any:
    """Return a table of the columns' values, as the kind of table that the fields describe.

    Parameters
    ----------
    library : str
        One of ``LIBRARIES``.
    fields : tuple of Field
        Names and types.
    columns : list of ndarray of shape (n,)
        Values; masked arrays where cells are missing.
    like : DataFrame or None
        Its index is taken over by a frame of pandas'.
    dtype : str
        Of an array; "" for frames.
    """
    if library == "numpy":
        return _build_array(columns, np.dtype(dtype))
    made = [_NATIVE[library](column, field) for column, field in zip(columns, fields, strict=True)]
    names = [field.name for field in fields]
    if library == "pyarrow":
        return import_whole("pyarrow").table(made, names=names)
    if library == "polars":
        named = zip(names, made, strict=True)
        return import_whole("polars").DataFrame([s.alias(name) for name, s in named])
    frame = pd.DataFrame(dict(enumerate(made)))
    frame.columns = pd.Index(names)
    if isinstance(like, pd.DataFrame):
        frame.index = like.index
    return frame


def fill_table(
    library: str,
    read: Read,
    X: Any,
    fields: tuple[Field, ...],
    columns: list[Any],
    missing: NDArray[Any],
) -> Any:
    """Return a copy of a table in which missing cells have values.

    Parameters
    ----------
    library : str
        Of the fields.
    read : Read
        X as it was read.
    X : table
        It stays as it is.
    fields : tuple of Field
        Describe the values.
    columns : list of ndarray of shape (n,)
        Values for all cells.
    missing : ndarray of bool of shape (n, n_columns)
        The cells to be replaced.
    """
    if read.library == "numpy":
        return _fill_array(X, columns, missing)
    filled = X.copy() if read.library == "pandas" else X
    for i in np.flatnonzero(missing.any(axis=0)):
        field = Field.of(fields[i].name, read.columns[i])
        mask = missing[:, i]
        if field.holds == fields[i].holds:
            values = np.ma.MaskedArray(_converted(columns[i], field), mask=~mask)
            filled = _FILL[read.library](filled, int(i), values, field, mask)
        elif mask.all() and library == read.library:  # its type is that of no value
            made = _NATIVE[library](columns[i], fields[i])
            filled = _REPLACE[library](filled, int(i), made)
        else:
            raise TypeError(
                f"Column {field.name!r} of X holds {field.holds} and cannot be filled with "
                f"{fields[i].holds}. Convert it to the type that it had in fit."
            )
    return filled


def _converted(values: NDArray[Any], field: Field) -> NDArray[Any]:
    """Return values as those of a column of another type of the same content."""
    values = np.ma.getdata(values)
    if field.unit:
        return in_unit(values, field.unit)
    if field.content == "integer" and values.dtype.kind == "f":
        values = np.rint(np.clip(values, field.low, field.high)).astype(np.int64)
    return np.asarray(values.astype(np.float64) if field.content == "float" else values)


def _fill_pandas(frame: Any, i: int, values: Any, field: Field, mask: NDArray[Any]) -> Any:
    made = _pandas(values, field, for_dtype=frame.dtypes.iloc[i])
    made.index = frame.index
    frame[frame.columns[i]] = frame.iloc[:, i].astype(made.dtype).where(~mask, made)
    return frame


def _fill_polars(frame: Any, i: int, values: Any, field: Field, mask: NDArray[Any]) -> Any:
    made = _polars(values, field).alias(frame.columns[i])
    mask = import_whole("polars").Series(mask)
    return frame.with_columns(made.zip_with(mask, frame.to_series(i)))


def _fill_pyarrow(table: Any, i: int, values: Any, field: Field, mask: NDArray[Any]) -> Any:
    pyarrow, compute = import_whole("pyarrow"), import_whole("pyarrow.compute")
    old, made = table.column(i), _pyarrow(values, field)
    if pyarrow.types.is_dictionary(old.type):  # if_else would put its labels into another order
        pairs = zip(mask, made.to_pylist(), old.to_pylist(), strict=True)
        plain = [new if is_missing else kept for is_missing, new, kept in pairs]
        made = _pyarrow_labels(plain, old.type, field.listed)
    else:
        made = compute.if_else(pyarrow.array(mask), made, old)
    return table.set_column(i, table.schema.field(i), made)


def _replace_pandas(frame: Any, i: int, made: Any) -> Any:
    made.index = frame.index
    frame[frame.columns[i]] = made
    return frame


_REPLACE: dict[str, Any] = {
    "pandas": _replace_pandas,
    "polars": lambda frame, i, made: frame.with_columns(made.alias(frame.columns[i])),
    "pyarrow": lambda table, i, made: table.set_column(i, table.column_names[i], made),
}
_FILL = {"pandas": _fill_pandas, "polars": _fill_polars, "pyarrow": _fill_pyarrow}


def _parts_of(column: NDArray[Any]) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Return values and where they are missing."""
    return np.ma.getdata(column), np.ma.getmaskarray(column)


def _plain_objects(column: NDArray[Any]) -> NDArray[Any]:
    """Return values of Python's, None where missing."""
    values, missing = _parts_of(column)
    plain = objects(values.tolist())
    plain[missing] = None
    return plain


# Arrays.


def _build_array(columns: list[NDArray[Any]], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return an array; with gaps of floats instead of integers, and of objects instead of bools."""
    has_gaps = any(np.ma.is_masked(column) for column in columns)
    if has_gaps and dtype.kind in "iu":
        dtype = np.dtype(np.float64)
    if dtype.kind in "OU" or (has_gaps and dtype.kind == "b"):
        kind = dtype if dtype.kind == "U" and not has_gaps else np.dtype(object)
        return np.column_stack([_plain_objects(column) for column in columns]).astype(kind)
    array = np.empty((len(columns[0]), len(columns)), dtype=dtype)
    for i, column in enumerate(columns):
        values, missing = _parts_of(column)
        array[:, i] = _in_range(values, dtype)
        if missing.any():
            array[missing, i] = np.nan if dtype.kind == "f" else np.array("NaT", dtype)
    return array


def _fill_array(X: Any, columns: list[Any], missing: NDArray[Any]) -> NDArray[Any]:
    """Return a copy of an array in which missing cells have values."""
    array = np.array(X, dtype=None if isinstance(X, np.ndarray) else object)
    if not isinstance(X, np.ndarray) and np.asarray(X).dtype.kind not in "OSU":
        array = np.array(X)
    for i in np.flatnonzero(missing.any(axis=0)):
        mask = missing[:, i]
        values = np.ma.getdata(columns[i])[mask]
        array[mask, i] = (
            values.tolist() if array.dtype == object else _in_range(values, array.dtype)
        )
    return array


def _in_range(values: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return values in the range of a type of floats; others unchanged."""
    if dtype.kind == "f" and values.dtype.kind == "f":
        limit = float(min(np.finfo(dtype).max, np.finfo(np.float64).max))
        return np.asarray(np.clip(values, -limit, limit))
    return values


# Series of pandas'.


def _pandas(column: NDArray[Any], field: Field, for_dtype: Any = None) -> Any:
    """Return a series of pandas', by default of the field's type."""
    values, missing = _parts_of(column)
    dtype = restore_dtype("pandas", field.dtype) if for_dtype is None else for_dtype
    if field.content == "label" or dtype == np.dtype(object):
        return _pandas_objects(_plain_objects(column), missing, dtype)
    if field.unit:
        series = _pandas_times(values, dtype)
    else:
        if isinstance(dtype, np.dtype) and dtype.kind in "iu" and missing.any():
            dtype = np.dtype(np.float64)
        plain = dtype if isinstance(dtype, np.dtype) else getattr(dtype, "numpy_dtype", None)
        inside = _in_range(values, plain) if isinstance(plain, np.dtype) else values
        series = pd.Series(inside).astype(dtype)
    return series.mask(missing) if missing.any() else series


def _pandas_times(values: NDArray[Any], dtype: Any) -> Any:
    """Return a series of dates or durations."""
    series = pd.Series(values)
    arrow = getattr(dtype, "pyarrow_dtype", None)
    if getattr(dtype, "tz", None) or getattr(arrow, "tz", None):
        series = series.dt.tz_localize("UTC")
    if arrow is not None and str(arrow).startswith("date32"):
        series = series.dt.date
    return series.astype(dtype)


def _pandas_objects(values: NDArray[Any], missing: NDArray[np.bool_], dtype: Any) -> Any:
    """Return labels, or numbers as objects."""
    if isinstance(dtype, pd.CategoricalDtype):
        known = set(dtype.categories)
        new = [value for value in dict.fromkeys(values) if value is not None and value not in known]
        if new:
            dtype = pd.CategoricalDtype([*dtype.categories, *new], dtype.ordered)
        return pd.Series(pd.Categorical(values, dtype=dtype))
    if dtype == np.dtype(bool) and missing.any():
        dtype = np.dtype(object)
    return pd.Series(values, dtype=object).astype(dtype)


# Series of polars' and arrays of pyarrow's.


def _polars(column: NDArray[Any], field: Field) -> Any:
    """Return a series of polars'."""
    polars = import_whole("polars")
    values, missing = _parts_of(column)
    dtype = restore_dtype("polars", field.dtype)
    if field.content == "label":
        return polars.Series(_plain_objects(column).tolist(), dtype=dtype)
    whole = values.view(np.int64) if field.unit else values
    series = polars.Series(whole)
    if str(dtype) == "Date":
        series = series.cast(polars.Int32)
    if missing.any():
        gaps = polars.repeat(None, len(series), dtype=series.dtype, eager=True)
        series = gaps.zip_with(polars.Series(missing), series)
    return series.cast(dtype)


def _pyarrow(column: NDArray[Any], field: Field) -> Any:
    """Return an array of pyarrow's."""
    pyarrow = import_whole("pyarrow")
    values, missing = _parts_of(column)
    dtype = restore_dtype("pyarrow", field.dtype)
    if field.content == "label":
        return _pyarrow_labels(_plain_objects(column).tolist(), dtype, field.listed)
    if field.unit:
        made = pyarrow.array(values.view(np.int64), mask=missing)
        return (made.cast(pyarrow.int32()) if pyarrow.types.is_date(dtype) else made).cast(dtype)
    made = pyarrow.array(values, mask=missing)
    if pyarrow.types.is_decimal(dtype):
        made = import_whole("pyarrow.compute").round(made, ndigits=dtype.scale)
    return made.cast(dtype, safe=False)


def _pyarrow_labels(values: list[Any], dtype: Any, listed: Iterable[Any]) -> Any:
    """Return labels, as a dictionary, with those listed first, where the type is one."""
    pyarrow = import_whole("pyarrow")
    if not pyarrow.types.is_dictionary(dtype):
        return pyarrow.array(values, type=dtype)
    labels = list(dict.fromkeys([*listed, *(value for value in values if value is not None)]))
    at = {label: i for i, label in enumerate(labels)}
    codes = pyarrow.array([at.get(value) for value in values], type=dtype.index_type)
    dictionary = pyarrow.array(labels, type=dtype.value_type)
    return pyarrow.DictionaryArray.from_arrays(codes, dictionary, ordered=dtype.ordered)


_NATIVE: dict[str, Any] = {"pandas": _pandas, "polars": _polars, "pyarrow": _pyarrow}
