"""A table as the parts of a row, and rows as tables of the same kind."""

from collections.abc import Mapping
from functools import cached_property
from itertools import pairwise
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from skvim._values import ByValue
from skvim.objectives._parts import Part
from skvim.tables import _state
from skvim.tables._averages import Floats
from skvim.tables._checks import (
    check_finite,
    check_names,
    check_observed,
    check_unknown,
    find_column,
    kinds_by_position,
)
from skvim.tables._choice import fit_coding
from skvim.tables._coding import Coding
from skvim.tables._columns import Columns
from skvim.tables._dtypes import LIBRARIES, check_dtype
from skvim.tables._field import Field
from skvim.tables._given import cells_of
from skvim.tables._labels import objects
from skvim.tables._read import Cells, Read, read_table
from skvim.tables._scale import mean_and_spread, standardised
from skvim.tables._write import build_table, fill_table

__all__ = ["Table"]


@final
class Table(ByValue):
    """What ``fit`` learns of a table: how its columns are stored as numbers, and read from them.

    Made by :meth:`fit`. A row is stored as one array per *part*: the value of a category, or a
    number on a scale where it is about normal. Compares by value.

    Parameters
    ----------
    library : {"numpy", "pandas", "polars", "pyarrow"}
        The kind of table in ``fit``; results are of the same kind.
    dtype : str
        Of an array; "" for frames.
    has_names : bool
        Whether columns have names.
    fields : tuple
        Names and types of columns.
    codings : tuple
        How columns are stored.
    handle_unknown : {"missing", "error"}
        As in :class:`Columns`.
    scales : tuple of (float, float)
        Mean and standard deviation of columns of numbers; 0 and 0 for others.

    Examples
    --------
    >>> import pandas as pd
    >>> from skvim.tables import Columns, Table
    >>> frame = pd.DataFrame({"age": [31, 45, None, 31], "sex": ["f", "m", "f", None]})
    >>> table = Table.fit(frame, Columns())
    >>> table.kinds
    {'age': 'values', 'sex': 'category'}
    >>> [part.ravel().tolist() for part in table.encode(frame)]
    [[0.0, 1.0, nan, 0.0], [0.0, 1.0, 0.0, nan]]
    """

    def __init__(
        self,
        library: str,
        dtype: str,
        has_names: bool,
        fields: tuple[Field, ...],
        codings: tuple[Coding, ...],
        handle_unknown: str,
        scales: tuple[tuple[float, float], ...],
    ) -> None:
        self.library = library
        self.dtype = dtype
        self.has_names = has_names
        self.fields = fields
        self.codings = codings
        self.handle_unknown = handle_unknown
        self.scales = scales

    @classmethod
    def fit(cls, X: Any, columns: Columns) -> "Table":
        """Describe a table.

        Parameters
        ----------
        X : array-like or data frame of shape (n, n_columns)
            Numbers, text, booleans, categories, dates and durations; cells may be missing.
        columns : Columns
            What is known of them.

        Raises
        ------
        ValueError
            For columns without an observed cell or with infinite values, and for kinds of columns
            that they cannot have; it names the columns.
        TypeError
            For sparse matrices and for types of cells that are not supported.
        """
        columns.check()
        read = read_table(X)
        names = read.labels
        check_finite(names, read.columns)
        check_observed(names, read.columns)
        kinds = kinds_by_position(columns.kinds or {}, read.names, len(names))
        fields, codings, scales = [], [], []
        for i, (name, cells) in enumerate(zip(names, read.columns, strict=True)):
            fields.append(Field.of(name, cells))
            codings.append(fit_coding(fields[-1], cells, kinds.get(i), columns.max_categories))
            is_number = codings[-1].cells == "numbers"
            scales.append(mean_and_spread(fields[-1].numbers(cells)) if is_number else (0.0, 0.0))
        dtype = read.columns[0].dtype if read.library == "numpy" else ""
        return cls(
            read.library,
            dtype,
            read.names is not None,
            tuple(fields),
            tuple(codings),
            columns.handle_unknown,
            tuple(scales),
        )

    @cached_property
    def parts(self) -> tuple[Part, ...]:
        """Parts of a row, in the order of columns; the column of each is its position."""
        return tuple(part for i, coding in enumerate(self.codings) for part in coding.parts(i))

    @property
    def n_columns(self) -> int:
        """Number of columns."""
        return len(self.fields)

    @property
    def names(self) -> list[str | int]:
        """Names of columns; positions for arrays."""
        return [field.name for field in self.fields]

    @property
    def feature_names(self) -> NDArray[Any] | None:
        """Names of columns, an array of objects; None unless all are text."""
        if not self.has_names or not all(isinstance(name, str) for name in self.names):
            return None
        return np.array(self.names, dtype=object)

    @property
    def kinds(self) -> dict[str | int, str]:
        """Kinds of columns by name: those of :class:`Columns`, "boolean", "... with atoms"."""
        return {field.name: c.kind for field, c in zip(self.fields, self.codings, strict=True)}

    @cached_property
    def _parts_of(self) -> list[slice]:
        """Positions of each column's parts among all."""
        ends = np.cumsum([0, *(len(coding.parts(0)) for coding in self.codings)]).tolist()
        return [slice(start, stop) for start, stop in pairwise(ends)]

    @property
    def value_columns(self) -> list[int]:
        """Positions of the columns of numbers of which not all are equal."""
        return [i for i, (_, spread) in enumerate(self.scales) if spread > 0]

    # From tables to parts.

    def encode(self, X: Any, *, allow_empty: bool = False, values: bool = False) -> list[Floats]:
        """Return the rows of a table as stored parts.

        Parameters
        ----------
        X : array-like or data frame of shape (n, n_columns)
            Columns as in ``fit``.
        allow_empty : bool, default=False
            Whether rows may have no observed cell.
        values : bool, default=False
            Whether to return standardised values of ``value_columns`` too.

        Returns
        -------
        list of ndarray of shape (n, n_stored)
            One per part, float64; NaN where the part is missing. Then, if asked for, one of shape
            (n, 1) per column of ``value_columns``: x less the mean, over the standard deviation s;
            beyond 5 s only its logarithm grows further.

        Raises
        ------
        ValueError
            For other columns than in ``fit``, infinite values, rows with nothing observed, and
            unknown categories with ``handle_unknown="error"``.
        TypeError
            For columns with another kind of cells than in ``fit``.
        """
        read = self._read(X)
        check_finite(self.names, read.columns)
        parts, unknown = self._encode(read.columns)
        if self.handle_unknown == "error":
            check_unknown(self.names, read.columns, unknown)
        if not allow_empty:
            empty = np.logical_and.reduce([np.isnan(part[:, 0]) for part in parts])
            if empty.any():
                raise ValueError(
                    f"Every row needs an observed cell. {int(empty.sum())} rows have none; the "
                    f"first are at positions {np.flatnonzero(empty)[:5].tolist()}."
                )
        return [*parts, *self._standardised(read.columns)] if values else parts

    def encode_given(
        self, given: Mapping[str | int, Any], n: int, *, values: bool = False
    ) -> list[Floats]:
        """Return n equal rows as stored parts in which only some columns are observed.

        Parameters
        ----------
        given : mapping from str or int to object
            Values by names or positions of columns.
        n : int
            Number of rows.
        values : bool, default=False
            As in :meth:`encode`.

        Raises
        ------
        ValueError
            For names that no column has, and values that its column cannot have; it names them.
        TypeError
            For values of another type than the column's, and for anything but a mapping.
        """
        columns = [Cells.nothing(1, field.dtype) for field in self.fields]
        for i, cells in self._cells_given(given).items():
            columns[i] = cells
        check_finite(self.names, columns)
        parts, unknown = self._encode(columns)
        check_unknown(self.names, columns, unknown)
        parts = [*parts, *self._standardised(columns)] if values else parts
        return [np.repeat(part, n, axis=0) for part in parts]

    def _standardised(self, columns: list[Cells]) -> list[Floats]:
        """Return values of each of ``value_columns``, (n, 1), standardised."""
        return [
            standardised(self.fields[i].numbers(columns[i]), *self.scales[i])[:, None]
            for i in self.value_columns
        ]

    def values_given(self, given: Mapping[str | int, Any], n: int) -> dict[int, NDArray[Any]]:
        """Return given values as n values of their columns' types, by position of the column."""
        values: dict[int, NDArray[Any]] = {}
        for i, cells in self._cells_given(given).items():
            field = self.fields[i]
            if field.content == "label":
                values[i] = objects(field.labels(cells).labels * n)
            else:
                values[i] = np.repeat(field.exact(cells), n)
        return values

    def _cells_given(self, given: Mapping[str | int, Any]) -> dict[int, Cells]:
        """Return given values as single cells, by position of the column."""
        if not isinstance(given, Mapping):
            raise TypeError(
                f"given must be a mapping from columns to values. Got {given!r} instead."
            )
        names = self.names if self.has_names else None
        found = {find_column("given", name, names, self.n_columns): name for name in given}
        return {i: cells_of(self.fields[i], given[name]) for i, name in found.items()}

    def missing(self, X: Any) -> NDArray[np.bool_]:
        """Return which cells of a table are missing, (n, n_columns)."""
        return np.column_stack([cells.missing for cells in self._read(X).columns])

    def _read(self, X: Any) -> Read:
        """Read a table with the columns of ``fit``."""
        read = read_table(X)
        check_names(
            self.names if self.has_names else None, read.names, self.n_columns, read.n_columns
        )
        return read

    def _encode(self, columns: list[Cells]) -> tuple[list[Floats], list[NDArray[Any]]]:
        """Return stored parts, and per column which cells are unknown."""
        parts, unknown = [], []
        for field, coding, cells in zip(self.fields, self.codings, columns, strict=True):
            is_number = coding.cells == "numbers"
            stored, odd = coding.encode(field.numbers(cells) if is_number else field.labels(cells))
            parts.extend(stored)
            unknown.append(odd)
        return parts, unknown

    # From parts to values of columns.

    def expectations(self, parameters: list[Floats], scales: Floats) -> list[Floats]:
        """Return means of numbers and probabilities of labels per column.

        Averages of them over draws of the parameters are again expectations.

        Parameters
        ----------
        parameters : list of ndarray of shape (n, n_outputs)
            Per part: probabilities of a ``Categorical``, μ of others.
        scales : ndarray of shape (n_parts,)
            σ of each part, NaN for a ``Categorical``.

        Returns
        -------
        list of ndarray of shape (n, 1) or (n, n_labels)
            Dates, durations and integers beyond 2⁵³ count from an origin of the column's.
        """
        return [
            coding.expectation(
                [np.asarray(p, dtype=np.float64) for p in parameters[own]],
                [float(scale) for scale in scales[own]],
            )
            for coding, own in zip(self.codings, self._parts_of, strict=True)
        ]

    def best(self, expectations: list[Floats]) -> list[NDArray[Any]]:
        """Return values per column: the mean, rounded for integers, or the most probable label."""
        pairs = zip(self.codings, expectations, strict=True)
        return self._values([coding.best(expectation) for coding, expectation in pairs])

    def decode(
        self, draws: list[Floats], generator: np.random.Generator | None = None
    ) -> list[NDArray[Any]]:
        """Return values per column for draws (n, 1) per part.

        Parameters
        ----------
        draws : list of ndarray of shape (n, 1)
            The position of a value for a ``Categorical``, y for others.
        generator : numpy.random.Generator or None, default=None
            Draws among labels that share a level; None takes the most frequent one.
        """
        columns = []
        for coding, own in zip(self.codings, self._parts_of, strict=True):
            cells = coding.decode(draws[own])
            if generator is not None:
                cells = coding.spread(cells, draws[own], generator)
            columns.append(cells)
        return self._values(columns)

    def _values(self, columns: list[Any]) -> list[NDArray[Any]]:
        """Return cells, none of them missing, as values of the columns' types."""
        return [
            cells if field.content == "label" else field.values(cells.astype(np.float64))
            for field, cells in zip(self.fields, columns, strict=True)
        ]

    # From values of columns to tables.

    def with_missing(
        self, columns: list[NDArray[Any]], mask: NDArray[np.bool_]
    ) -> list[NDArray[Any]]:
        """Return columns of which the cells in a mask (n, n_columns) are missing."""
        return [np.ma.MaskedArray(c, mask=mask[:, i].copy()) for i, c in enumerate(columns)]

    def build(self, columns: list[NDArray[Any]], like: Any = None) -> Any:
        """Return a table of the kind, names, order and types of that in ``fit``.

        Integers with missing cells become floats, and booleans objects, where the type has no
        missing values.

        Parameters
        ----------
        columns : list of ndarray of shape (n,)
            Values as :meth:`best`, :meth:`decode` and :meth:`with_missing` return them.
        like : data frame, optional
            A frame of pandas' gets its index.
        """
        return build_table(self.library, self.fields, columns, like, self.dtype)

    def fill(self, X: Any, columns: list[NDArray[Any]]) -> Any:
        """Return a copy of a table in which missing cells have the columns' values.

        Observed cells stay as they are, and types where they can hold the values.

        Raises
        ------
        TypeError
            For columns with another kind of cells than in ``fit``.
        """
        read = self._read(X)
        missing = np.column_stack([cells.missing for cells in read.columns])
        return fill_table(self.library, read, X, self.fields, columns, missing)

    # Files.

    def state(self) -> dict[str, Any]:
        """Return all that the table is as values that files can hold."""
        state: dict[str, Any] = _state.state_of(self, _CLASSES)
        return state

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> "Table":
        """Return the table of a state.

        Raises
        ------
        ValueError
            When the state is none.
        """
        made: Table = _state.object_of(state, cls, _CLASSES)
        return made

    def check(self) -> None:
        """Raise ``ValueError`` or ``TypeError`` when an attribute, read from a file, is invalid."""
        if self.library not in LIBRARIES or self.handle_unknown not in ("missing", "error"):
            raise ValueError("a table is of a known library.")
        if type(self.has_names) is not bool or type(self.dtype) is not str:
            raise TypeError("a table has names or not, and a type.")
        if type(self.fields) is not tuple or type(self.codings) is not tuple or not self.fields:
            raise TypeError("columns are tuples.")
        self._check_columns()
        self._check_scales()

    def _check_scales(self) -> None:
        """Raise ``ValueError`` when a scale is invalid."""
        if type(self.scales) is not tuple or len(self.scales) != len(self.fields):
            raise ValueError("each column has one scale.")
        for (centre, spread), coding in zip(self.scales, self.codings, strict=True):
            least = 0.0 if coding.cells == "numbers" or spread == 0 else np.inf
            if not np.isfinite([centre, spread]).all() or spread < least:
                raise ValueError("a scale is of finite numbers, and 0 for labels.")
            if spread > 0 and np.isinf(centre / spread):
                raise ValueError("a mean is beyond the range of its scale.")

    def _check_columns(self) -> None:
        """Raise ``ValueError`` or ``TypeError`` when a column is invalid."""
        is_array = self.library == "numpy"
        if self.has_names == is_array or self.dtype != (self.fields[0].dtype if is_array else ""):
            raise ValueError("frames have names, and arrays one type.")
        names = self.names
        if len(set(names)) < len(names) or (is_array and names != list(range(len(names)))):
            raise ValueError("names differ, and are positions in arrays.")
        for field, coding in zip(self.fields, self.codings, strict=True):
            if not isinstance(field, Field) or not isinstance(coding, Coding):
                raise TypeError("a column has a field and a coding.")
            check_dtype(self.library, field.dtype)
            if coding.cells != "labels" and field.content == "label":
                raise ValueError("labels are coded as labels.")
        for part in self.parts:
            part.check()


_CLASSES = _state.classes(Table)
