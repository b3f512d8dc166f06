"""Columns of arrays and data frames of any library, as arrays of NumPy's."""

from collections.abc import Hashable
from datetime import date, timedelta
from decimal import Decimal
from numbers import Integral, Real
from typing import Any, final

import narwhals as nw
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse

from skvim.tables._dtypes import LIBRARIES, describe_dtype
from skvim.tables._labels import Label, Labels, labels_of

__all__ = ["Cells", "Read", "read_table"]

# What converts objects, in a frame, to a type of columns that is read.
_CONVERSIONS: list[tuple[tuple[type, ...], str]] = [
    ((date,), "in a data frame to dates by pd.to_datetime(column), with utc=True for time zones"),
    ((timedelta,), "in a data frame to durations by pd.to_timedelta(column)"),
    ((Decimal,), "to numbers by column.astype(float)"),
]


@final
class Cells:
    """The cells of one column.

    Attributes
    ----------
    content : {"integer", "float", "datetime", "duration", "label", "nothing"}
        What is in the cells.
    values : ndarray or Labels
        Integers, float64, datetime64 or timedelta64; anything where missing.
    missing : ndarray of bool
        Which cells are missing.
    dtype : object
        Description of the type in its library.
    order : list or None
        All labels in their order, of a type that lists them.
    has_order : bool
        Whether the type says that the order means something.
    relative : float
        Relative rounding error of numbers.
    """

    def __init__(self, content: str, values: Any, missing: NDArray[np.bool_], dtype: Any) -> None:
        self.content = content
        self.values = values
        self.missing = missing
        self.dtype = dtype
        self.order: list[Label] | None = None
        self.has_order = False
        self.relative = float(np.finfo(np.float64).eps)

    @classmethod
    def nothing(cls, n: int, dtype: Any) -> "Cells":
        """Return n missing cells."""
        codes = np.full(n, -1, dtype=np.intp)
        return cls("nothing", Labels(codes, []), np.ones(n, dtype=bool), dtype)


@final
class Read:
    """A table that was read."""

    def __init__(
        self, library: str, names: list[Hashable] | None, columns: list[Cells], n_rows: int
    ) -> None:
        self.library = library
        self.names = names
        self.columns = columns
        self.n_rows = n_rows

    @property
    def n_columns(self) -> int:
        """Number of columns."""
        return len(self.columns)

    @property
    def labels(self) -> list[Any]:
        """Names of columns, or their positions."""
        return list(range(len(self.columns))) if self.names is None else list(self.names)


def read_table(X: Any) -> Read:
    """Read an array, a nested list or a data frame.

    Raises
    ------
    TypeError
        For sparse matrices, frames of other libraries and types of columns that are not supported.
    ValueError
        Unless it has two dimensions, at least one row and one column, and names that differ.
    """
    if sparse.issparse(X):
        raise TypeError(
            "Sparse data was passed, but dense data is required: an array or a data frame. Use "
            "'.toarray()' to convert it."
        )
    frame = nw.from_native(X, pass_through=True)
    if isinstance(frame, nw.LazyFrame):
        raise TypeError("Lazy frames are not supported. Collect it first.")
    read = _read_frame(frame) if isinstance(frame, nw.DataFrame) else _read_array(X)
    if not read.columns or not read.n_rows:
        shape = read.n_rows, len(read.columns)
        what = "feature(s)" if not read.columns else "sample(s)"
        raise ValueError(
            f"Found array with 0 {what} (shape={shape}) while a minimum of 1 is required."
        )
    return read


def _read_frame(frame: nw.DataFrame[Any]) -> Read:
    """Read a frame of any library that narwhals knows."""
    library = str(frame.implementation.value)
    if library not in LIBRARIES:
        raise TypeError(
            f"Data frames of {library} are not supported. Convert it to pandas, polars or pyarrow."
        )
    names = [*frame.columns]
    odd = [name for name in names if type(name) not in (str, int)]
    if odd:
        raise TypeError(f"Names of columns must be str or int. Got {odd!r} instead.")
    # frame[name] would take a name that is an int for the position of a row.
    pairs = zip(names, frame.iter_columns(), strict=True)
    columns = [_named(_read_series, series, library, name=name) for name, series in pairs]
    return Read(library, list(names), columns, len(frame))


def _read_array(X: Any) -> Read:
    """Read an array or what makes one."""
    if isinstance(X, np.ma.MaskedArray):
        raise TypeError("Masked arrays are not supported. Fill it with NaN or None.")
    array = np.asarray(X)
    if array.dtype.kind in "OSU" and not isinstance(X, np.ndarray):
        array = np.asarray(X, dtype=object)  # keeps numbers beside text
    if array.dtype.kind == "c":
        raise ValueError("Complex data not supported: a table holds real numbers.")
    if array.ndim != 2:
        raise ValueError(
            f"Expected 2D array, got {array.ndim}D array instead. Reshape your data either using "
            "array.reshape(-1, 1) if your data has a single feature or array.reshape(1, -1) if it "
            "contains a single sample."
        )
    columns = [_named(_read_values, column, name=i) for i, column in enumerate(array.T)]
    return Read("numpy", None, columns, len(array))


def _named(read: Any, *arguments: Any, name: Hashable) -> Cells:
    """Read a column; an error names it."""
    try:
        cells: Cells = read(*arguments)
    except TypeError as error:
        what, *remedies = error.args
        remedy = "".join(remedies) or "to numbers, text, categories, booleans, dates or times"
        raise TypeError(
            f"Column {name!r} holds {what}, which is not supported. Convert it {remedy}."
        ) from error
    return cells


def _read_values(values: NDArray[Any]) -> Cells:
    """Read a column of an array, by its dtype or, of objects and text, by the values."""
    kind = values.dtype.kind
    dtype = values.dtype.str
    none = np.zeros(len(values), dtype=bool)
    if kind == "b":
        return Cells("label", Labels(values.astype(np.intp), [False, True]), none, dtype)
    if kind in "iu":
        return Cells("integer", values, none, dtype)
    if kind == "f":
        return _floats(values, none, dtype)
    if kind in "Mm":
        content = "datetime" if kind == "M" else "duration"
        return Cells(content, values, np.isnat(values), dtype)
    if kind in "OU":
        return _read_objects(values.astype(object), dtype)
    raise TypeError(f"values of dtype {values.dtype}")


def _read_objects(values: NDArray[Any], dtype: Any) -> Cells:
    """Read objects: numbers if all are, else labels."""
    missing = np.asarray(pd.isna(values), dtype=bool)
    observed = values[~missing]
    types = set(map(type, observed))
    numeric = bool(types) and all(_is_number(kind) for kind in types)
    if numeric and all(issubclass(kind, Integral) for kind in types):
        numbers = np.array([int(value) for value in observed], dtype=object)
        if all(-(2**63) <= number < 2**63 for number in numbers):
            whole = np.zeros(len(values), dtype=np.int64)
            whole[~missing] = numbers
            return Cells("integer", whole, missing, dtype)
    if numeric:
        floats = np.full(len(values), np.nan)
        floats[~missing] = [float(value) for value in observed]
        return Cells("float", floats, missing, dtype)
    _check_types(types)
    return Cells("label", labels_of(values, missing), missing, dtype)


def _check_types(types: set[type]) -> None:
    """Raise ``TypeError`` with a remedy for objects that a type of columns holds."""
    for kinds, remedy in _CONVERSIONS:
        found = sorted(kind.__name__ for kind in types if issubclass(kind, kinds))
        if found and all(issubclass(kind, kinds) or _is_number(kind) for kind in types):
            raise TypeError(f"objects of type {' and '.join(found)}", remedy)


def _is_number(kind: type) -> bool:
    return issubclass(kind, Real) and not issubclass(kind, bool | np.bool_)


def _floats(values: NDArray[Any], missing: NDArray[np.bool_], dtype: Any) -> Cells:
    """Return cells of floats; NaN is missing too."""
    cells = Cells("float", values.astype(np.float64), missing | np.isnan(values), dtype)
    cells.relative = max(cells.relative, float(np.finfo(values.dtype).eps))
    return cells


def _read_series(series: nw.Series[Any], library: str) -> Cells:
    """Read a column of a frame."""
    native, dtype = series.to_native(), series.dtype
    type_of = getattr(native, "type" if library == "pyarrow" else "dtype", None)
    described = describe_dtype(library, type_of)
    if library == "pandas" and _is_object(type_of):
        return _read_objects(native.to_numpy(), described)
    if isinstance(type_of, pd.SparseDtype):
        raise TypeError(f"values of dtype {type_of}")
    missing = series.is_null().to_numpy()
    for kinds, reader in _READERS:
        if isinstance(dtype, kinds):
            cells: Cells = reader(series, missing, described)
            cells.order, cells.has_order = _order_of(series, type_of)
            return cells
    if dtype.is_integer() and not isinstance(dtype, nw.Int128 | nw.UInt128):
        return Cells("integer", series.fill_null(0).to_numpy(), missing, described)
    if dtype.is_float():
        return _floats(_filled(series, missing), missing, described)
    if missing.all():  # types without values
        return Cells.nothing(len(missing), described)
    raise TypeError(f"values of type {type_of}")


def _is_object(dtype: Any) -> bool:
    return isinstance(dtype, np.dtype) and dtype.kind == "O"


def _filled(series: nw.Series[Any], missing: NDArray[np.bool_]) -> NDArray[Any]:
    """Return numbers as they are, NaN where missing."""
    values = series.fill_null(0.0).to_numpy() if missing.any() else series.to_numpy()
    return np.where(missing, np.nan, values).astype(values.dtype)


def _booleans(series: nw.Series[Any], missing: NDArray[np.bool_], dtype: Any) -> Cells:
    codes = series.fill_null(False).to_numpy().astype(np.intp)
    return Cells("label", Labels(np.where(missing, -1, codes), [False, True]), missing, dtype)


def _texts(series: nw.Series[Any], missing: NDArray[np.bool_], dtype: Any) -> Cells:
    values = series.to_numpy().astype(object)
    return Cells("label", labels_of(values, missing), missing, dtype)


def _categories(series: nw.Series[Any], missing: NDArray[np.bool_], dtype: Any) -> Cells:
    native = series.to_native()
    if not isinstance(native, pd.Series):
        return _texts(series, missing, dtype)
    # Codes: an array of categories that are integers would hold floats where some are missing.
    codes = native.cat.codes.to_numpy().astype(np.intp)
    used = np.unique(codes[codes >= 0])
    labels = native.cat.categories.to_numpy().astype(object)[used]
    known = labels_of(labels, np.zeros(len(used), dtype=bool))
    position = np.full(len(native.cat.categories) + 1, -1, dtype=np.intp)
    position[used] = known.codes
    return Cells("label", Labels(position[codes], known.labels), missing, dtype)


def _times(series: nw.Series[Any], missing: NDArray[np.bool_], dtype: Any) -> Cells:
    values: Any = series.to_numpy()
    if _is_object(values.dtype):
        values = _parsed(np.where(missing, np.array(None), values), series.dtype)
    content = "datetime" if values.dtype.kind == "M" else "duration"
    return Cells(content, values, missing, dtype)


def _parsed(values: NDArray[Any], dtype: Any) -> NDArray[Any]:
    """Return objects that stand for dates, moments or durations, None where missing."""
    if isinstance(dtype, nw.Date):
        return values.astype("M8[D]")
    unit = dtype.time_unit
    if isinstance(dtype, nw.Duration):
        return pd.to_timedelta(values).to_numpy().astype(f"m8[{unit}]")
    return pd.to_datetime(values, utc=True).tz_localize(None).to_numpy().astype(f"M8[{unit}]")


def _decimals(series: nw.Series[Any], missing: NDArray[np.bool_], dtype: Any) -> Cells:
    return _floats(_filled(series.cast(nw.Float64), missing), missing, dtype)


_READERS: list[tuple[Any, Any]] = [
    (nw.Boolean, _booleans),
    (nw.String, _texts),
    ((nw.Categorical, nw.Enum), _categories),
    ((nw.Datetime, nw.Date, nw.Duration), _times),
    (nw.Decimal, _decimals),
]


def _order_of(series: nw.Series[Any], dtype: Any) -> tuple[list[Label] | None, bool]:
    """Return all labels of a type that lists them, and whether it says that they have an order."""
    native = series.to_native()
    if isinstance(dtype, pd.CategoricalDtype):
        labels = dtype.categories.to_numpy().astype(object)
        return labels_of(labels, np.zeros(len(labels), dtype=bool)).labels, bool(dtype.ordered)
    if hasattr(dtype, "value_type") and hasattr(native, "unify_dictionaries"):
        chunks = native.unify_dictionaries().chunks
        listed = chunks[0].dictionary.to_pylist() if chunks else None
        return listed, bool(dtype.ordered)
    # The order of an Enum of polars' is that of its declaration, which often means nothing.
    return (list(series.dtype.categories) if isinstance(series.dtype, nw.Enum) else None), False
