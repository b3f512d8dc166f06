"""Checks of tables; errors name the columns."""

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skvim.tables._labels import Labels
from skvim.tables._read import Cells

__all__ = [
    "check_finite",
    "check_names",
    "check_observed",
    "check_unknown",
    "find_column",
    "kinds_by_position",
]

_SHOWN = 5  # names or values in a message


def check_observed(names: Sequence[Any], columns: list[Cells]) -> None:
    """Raise ``ValueError`` for columns without an observed cell."""
    empty = [repr(name) for name, c in zip(names, columns, strict=True) if c.missing.all()]
    if empty:
        raise ValueError(
            f"Every column needs an observed cell in fit. All cells of {', '.join(empty)} are "
            "missing: leave out these columns."
        )


def check_finite(names: Sequence[Any], columns: list[Cells]) -> None:
    """Raise ``ValueError`` for columns with infinite values."""
    infinite = [
        name
        for name, c in zip(names, columns, strict=True)
        if c.content == "float" and np.isinf(c.values[~c.missing]).any()
    ]
    if infinite:
        raise ValueError(
            f"Numbers must be finite. Infinity is in {_listed(infinite)}: replace it by a number "
            "or by a missing cell."
        )


def check_unknown(
    names: Sequence[Any], columns: list[Cells], unknown: list[NDArray[np.bool_]]
) -> None:
    """Raise ``ValueError`` for columns with categories that ``fit`` has not seen."""
    found = [
        f"{name!r} ({_listed(_some_values(cells, where))})"
        for name, cells, where in zip(names, columns, unknown, strict=True)
        if where.any()
    ]
    if found:
        raise ValueError(f"These columns hold values that fit has not seen: {'; '.join(found)}.")


def _some_values(cells: Cells, where: NDArray[np.bool_]) -> list[Any]:
    """Return the different values of some cells."""
    if isinstance(cells.values, Labels):
        return [cells.values.labels[code] for code in np.unique(cells.values.codes[where])]
    found: list[Any] = np.unique(cells.values[where]).tolist()
    return found


def check_names(
    expected: Sequence[Hashable] | None,
    names: Sequence[Hashable] | None,
    n_expected: int,
    n_columns: int,
) -> None:
    """Raise ``ValueError`` unless names, where both tables have some, and numbers agree."""
    if expected is not None and names is not None and list(expected) != list(names):
        message = "The feature names should match those that were passed during fit.\n"
        unseen = [name for name in names if name not in expected]
        gone = [name for name in expected if name not in names]
        if unseen:
            message += f"Feature names unseen at fit time:\n{_lines(unseen)}"
        if gone:
            message += f"Feature names seen at fit time, yet now missing:\n{_lines(gone)}"
        if not unseen and not gone:
            message += "Feature names must be in the same order as they were in fit.\n"
        raise ValueError(message)
    if n_columns != n_expected:
        raise ValueError(
            f"X has {n_columns} features, but Table is expecting {n_expected} features as input."
        )


def kinds_by_position(
    kinds: Mapping[str | int, str], names: Sequence[Hashable] | None, n_columns: int
) -> dict[int, str]:
    """Return kinds by positions instead of names."""
    return {find_column("kinds", key, names, n_columns): kind for key, kind in kinds.items()}


def find_column(parameter: str, key: Any, names: Sequence[Hashable] | None, n_columns: int) -> int:
    """Return the position of a column, given by its name or, where no name is equal, by this."""
    if names is not None and key in names:
        return list(names).index(key)
    if isinstance(key, int | np.integer) and not isinstance(key, bool) and 0 <= key < n_columns:
        return int(key)
    known = f"Columns are {_listed(names)}" if names is not None else f"It has {n_columns} columns"
    raise ValueError(f"{parameter} names the column {key!r}, which the table has not. {known}.")


def _listed(items: Sequence[Any]) -> str:
    """Return the first items as text."""
    more = f" and {len(items) - _SHOWN} more" if len(items) > _SHOWN else ""
    return ", ".join(map(repr, items[:_SHOWN])) + more


def _lines(names: Sequence[Any]) -> str:
    """Return the first names as lines, as scikit-learn does."""
    shown = [f"- {name}\n" for name in names[:_SHOWN]]
    return "".join([*shown, "- ...\n"] if len(names) > _SHOWN else shown)
