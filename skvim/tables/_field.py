"""One column of the table that a model was fitted to: its name, its type and its units."""

from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from skvim._values import ByValue
from skvim.tables._averages import Floats
from skvim.tables._dtypes import largest_number
from skvim.tables._labels import Label, Labels, check_labels, labels_of, objects
from skvim.tables._read import Cells

__all__ = ["Field", "in_unit"]

_CONTENTS = {
    "integer": "numbers",
    "float": "numbers",
    "datetime": "dates",
    "duration": "durations",
    "label": "labels",
    "nothing": "nothing",
}
_EXACT = 2**53  # larger integers are not all floats


@final
class Field(ByValue):
    """A column of the table in ``fit``.

    Parameters
    ----------
    name : str or int
        Its name, or its position in an array.
    content : {"integer", "float", "datetime", "duration", "label"}
        What is in the cells.
    dtype : object
        Its type, as ``describe_dtype`` returns it.
    unit : str
        Type of NumPy's for dates and durations, such as "<M8[ns]"; "" for all others.
    origin : int
        What integers, dates and durations count from as floats.
    step : int
        What differences of dates and durations are multiples of; 1 for others.
    low, high : int
        The range of integers.
    listed : tuple
        Labels that the type, or with pyarrow the column, lists.
    """

    def __init__(
        self,
        name: str | int,
        content: str,
        dtype: Any,
        unit: str = "",
        origin: int = 0,
        step: int = 1,
        low: int = 0,
        high: int = 0,
        listed: tuple[Label, ...] = (),
    ) -> None:
        self.name = name
        self.content = content
        self.dtype = dtype
        self.unit = unit
        self.origin = origin
        self.step = step
        self.low = low
        self.high = high
        self.listed = listed

    @classmethod
    def of(cls, name: str | int, cells: Cells) -> "Field":
        """Describe the column that the cells are from."""
        if cells.content in ("label", "float", "nothing"):
            return cls(name, cells.content, cells.dtype, listed=tuple(cells.order or ()))
        is_time = cells.content != "integer"
        unit = cells.values.dtype.str if is_time else ""
        whole = cells.values.view(np.int64) if is_time else cells.values
        observed = whole[~cells.missing]
        first, last = (int(observed.min()), int(observed.max())) if len(observed) else (0, 0)
        origin, step = 0, 1
        if is_time or max(-first, last) > _EXACT:
            # A value of the lattice that the values are on, in the middle of them.
            step = _common_step(observed) if is_time else 1
            origin = first + (last - first) // 2 // step * step
        limits = np.iinfo(whole.dtype)
        least, most = (int(limits.min) + is_time, int(limits.max))  # the least is "not a time"
        if unit.endswith("[D]"):  # polars and Arrow hold 32 bits
            least, most = -(2**31), 2**31 - 1
        return cls(name, cells.content, cells.dtype, unit, origin, step, least, most)

    @property
    def holds(self) -> str:
        """What the cells hold: "numbers", "dates", "durations" or "labels"."""
        return _CONTENTS[self.content]

    def check(self) -> None:
        """Raise ``ValueError`` when an attribute is invalid."""
        if (
            type(self.name) not in (str, int)
            or self.content not in _CONTENTS
            or self.content == "nothing"
        ):
            raise ValueError("a column has a name and a content.")
        numbers = (self.origin, self.step, self.low, self.high)
        if [type(number) for number in numbers] != [int] * 4:
            raise ValueError("the range of a column is ints.")
        if not -(2**63) <= self.low <= self.origin <= self.high < 2**64 or not self.step >= 1:
            raise ValueError("the range of a column is one of 64 bits.")
        if type(self.listed) is not tuple:
            raise TypeError("listed labels are a tuple.")
        check_labels(objects(self.listed))
        if type(self.unit) is not str:
            raise TypeError("a unit is text.")
        kind = {"datetime": "M", "duration": "m"}.get(self.content, "")
        if (np.dtype(self.unit).kind if self.unit else "") != kind:
            raise ValueError("dates and durations have a unit.")

    def numbers(self, cells: Cells) -> Floats:
        """Return cells as float64 counted from the origin, NaN where missing."""
        if cells.missing.all():
            return np.full(len(cells.missing), np.nan)
        self._check_content(cells)
        values = cells.values
        if self.unit:
            values = self._in_unit(values).view(np.int64)
        numbers = _from_origin(values, self.origin)
        return np.where(cells.missing, np.nan, numbers)

    def labels(self, cells: Cells) -> Labels:
        """Return cells as labels; those of numbers are floats counted from the origin."""
        if cells.missing.all():
            return Labels(np.full(len(cells.missing), -1, dtype=np.intp), [])
        if self.content != "label":
            x = self.numbers(cells)
            different, codes = np.unique(x[~cells.missing], return_inverse=True)
            found = Labels(np.full(len(x), -1, dtype=np.intp), different.tolist())
            found.codes[~cells.missing] = codes
            return found
        if cells.content in ("integer", "float"):
            return labels_of(cells.values.astype(object), cells.missing)
        self._check_content(cells)
        labels: Labels = cells.values
        return labels

    def values(self, x: Floats) -> NDArray[Any]:
        """Return floats counted from the origin as values of the column's type."""
        if self.content == "float":
            return x
        if self.step > 1:
            x = np.rint(x / self.step) * self.step
        whole = _to_integers(x, self.origin, self.low, self.high)
        return whole.view(self.unit) if self.unit else whole

    def exact(self, cells: Cells) -> NDArray[Any]:
        """Return observed numbers, dates or durations as the column holds them.

        Integers, dates and durations are not rounded, other numbers are not clipped.

        Raises
        ------
        TypeError
            For cells that are something else than in ``fit``.
        ValueError
            For values that the column cannot hold.
        """
        self._check_content(cells)
        values = cells.values
        if self.content == "float":
            numbers = np.asarray(values, dtype=np.float64)
            limit = largest_number(self.dtype)
            if (np.isfinite(numbers) & (np.abs(numbers) > limit)).any():
                raise ValueError(f"the column holds numbers from {-limit:g} to {limit:g}")
            return numbers
        if self.unit:
            held = in_unit(values, self.unit)
            if (held.astype(values.dtype) != values).any():
                raise ValueError(f"the column holds {self.holds} of type {np.dtype(self.unit)}")
            return held
        if not all(self.low <= v <= self.high and v == int(v) for v in values.tolist()):
            raise ValueError(f"the column holds integers from {self.low} to {self.high}")
        return np.asarray(values.astype(np.int64 if self.high < 2**63 else np.uint64))

    def _in_unit(self, values: NDArray[Any]) -> NDArray[Any]:
        """Return dates or durations in the column's unit."""
        try:
            return in_unit(values, self.unit)
        except ValueError as error:
            raise ValueError(f"Column {self.name!r}: {error}.") from error

    def _check_content(self, cells: Cells) -> None:
        """Raise ``TypeError`` for cells that are something else than in ``fit``."""
        before, now = self.holds, _CONTENTS[cells.content]
        if before != now:
            raise TypeError(f"Column {self.name!r} held {before} in fit, but holds {now} now.")


def in_unit(values: NDArray[Any], unit: str) -> NDArray[Any]:
    """Return dates or durations in another unit; finer ones are rounded down.

    Raises
    ------
    ValueError
        For those out of its range, which NumPy would take for others.
    """
    held = values.astype(unit)
    # From a coarser unit nothing is rounded, and what differs is out of range.
    outside = (held.astype(values.dtype) != values) & ~np.isnat(values)
    if np.can_cast(values.dtype, held.dtype) and outside.any():
        raise ValueError(f"{values[outside][0]!r} is out of the range of {held.dtype}")
    return held


def _common_step(whole: NDArray[np.int64]) -> int:
    """Return what all differences are multiples of; 1 where there are none."""
    if not len(whole) or int(whole.max()) - int(whole.min()) >= 2**63:
        return 1
    return max(int(np.gcd.reduce(whole - whole.min())), 1)


def _from_origin(values: NDArray[Any], origin: int) -> Floats:
    """Return numbers less the origin; of integers exactly where the difference is small."""
    rough = values.astype(np.float64) - float(origin)
    if origin == 0 or values.dtype.kind == "f":
        return rough
    # Wraps around where the difference is large.
    exact = values.astype(np.int64) - np.int64((origin + 2**63) % 2**64 - 2**63)
    return np.where(np.abs(rough) < 2.0**62, exact, rough)


def _to_integers(x: Floats, origin: int, low: int, high: int) -> NDArray[Any]:
    """Return the nearest integers of a range to floats that count from the origin."""
    dtype = np.int64 if high < 2**63 else np.uint64
    if len(x) and np.abs(x).max() >= 2.0**62:
        whole = [min(max(origin + int(np.rint(value)), low), high) for value in x]
        return np.array(whole, dtype=dtype)
    steps = np.rint(x).astype(np.int64)
    # Both differences fit: steps lie within 62 bits.
    least, most = max(low - origin, -(2**62)), min(high - origin, 2**62)
    steps = np.clip(steps, least, most)
    return steps.astype(dtype) + np.asarray(origin).astype(dtype)
