"""Single values of columns, given by hand."""

from numbers import Real
from typing import Any

import numpy as np
import pandas as pd

from skvim.tables._field import Field
from skvim.tables._labels import labels_of, objects
from skvim.tables._read import Cells

__all__ = ["cells_of"]


def cells_of(field: Field, value: Any) -> Cells:
    """Return a value as the one cell of a column.

    Raises
    ------
    ValueError
        When it is missing, or the column cannot hold it as it is.
    TypeError
        When it is of another type than the column's values.
    """
    if bool(np.all(pd.isna(value))):
        raise ValueError(
            f"given must hold values. Got {value!r} for column {field.name!r} instead."
        )
    observed = np.zeros(1, dtype=bool)
    try:
        if field.content == "label":
            return Cells("label", labels_of(objects([value]), observed), observed, field.dtype)
        cells = _time(field, value) if field.unit else _number(field, value)
        field.exact(cells)  # an error for what the column cannot hold
        return cells
    except TypeError as error:
        raise TypeError(
            f"given must hold values of the types of their columns. Got {value!r} for column "
            f"{field.name!r} instead."
        ) from error
    except (ValueError, OverflowError) as error:
        raise ValueError(f"given holds {value!r} for column {field.name!r}: {error}") from error


def _number(field: Field, value: Any) -> Cells:
    """Return a number; ``TypeError`` for anything else."""
    if not isinstance(value, Real) or isinstance(value, bool | np.bool_):
        raise TypeError(type(value).__name__)
    number = np.array([value if isinstance(value, int | np.integer) else float(value)])
    content = "float" if number.dtype.kind == "f" else "integer"
    return Cells(content, number, np.zeros(1, dtype=bool), field.dtype)


def _time(field: Field, value: Any) -> Cells:
    """Return a date or duration; times without a zone are in UTC."""
    if field.content == "duration":
        time: Any = pd.Timedelta(value).to_timedelta64()
    else:
        stamp = pd.Timestamp(value)
        if stamp.tzinfo is not None:
            stamp = stamp.tz_convert("UTC").tz_localize(None)
        time = stamp.to_datetime64()
    return Cells(field.content, np.array([time]), np.zeros(1, dtype=bool), field.dtype)
