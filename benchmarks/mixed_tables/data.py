"""Tables of the benchmark: their columns, targets and splits."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

__all__ = ["TABLES", "Split", "Table", "as_floats", "is_number", "is_time", "read", "split"]

# Rows of a split at most, for training and for testing, to bound the time.
_LARGEST = (8000, 4000)


@dataclass(frozen=True)
class Description:
    """What a file does not say about its columns.

    The target counts as classes by its values, or by whether it is above one of ``cuts``
    ("median", or numbers). ``coded`` are categories written as numbers; ``left_out`` are
    identifiers, consequences of the target, and columns with nearly a value of its own in each row.
    """

    target: str
    cuts: tuple[float | str, ...] = ()
    coded: tuple[str, ...] = ()
    times: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()

    @property
    def is_numeric(self) -> bool:
        """Whether the target is a number."""
        return bool(self.cuts)


_COLIC = """surgery age temperature_of_extremities peripheral_pulse mucous_membranes
capillary_refill_time pain peristalsis abdominal_distension nasogastric_tube nasogastric_reflux
rectal_examination_feces abdomen abdominocentesis_appearance surgical_lesion"""
_COLIC_OUT = "hospital_number outcome lesion_type_1 lesion_type_2 lesion_type_3 cp_data"

TABLES = {
    "penguins": Description("species"),
    "horse-colic": Description(
        "surgical_lesion", coded=tuple(_COLIC.split()), left_out=tuple(_COLIC_OUT.split())
    ),
    "auto-mpg": Description("mpg", ("median",), left_out=("name",)),
    "credit-a": Description("class"),
    "cylinder-bands": Description(
        "band_type",
        coded=("press", "unit_number", "plating_tank"),
        left_out=("timestamp", "customer", "job_number"),
    ),
    "titanic": Description("survived", coded=("survived", "pclass"), left_out=("name", "ticket")),
    "abalone": Description("rings", ("median",)),
    "phoneme": Description("class", coded=("class",)),
    "winequality-white": Description("quality", (5, 6)),
    "taxis": Description("tip", ("median",), times=("pickup", "dropoff"), left_out=("total",)),
    "mushroom": Description("class"),
    "adult": Description("income", left_out=("fnlwgt",)),
}


@dataclass(frozen=True)
class Table:
    """All rows of a table, with the target's column, and the target as classes from 0 on."""

    name: str
    frame: pd.DataFrame
    target: str
    is_numeric: bool
    classes: NDArray[np.int64]

    def classes_of(self, frame: pd.DataFrame) -> NDArray[np.int64]:
        """Return the classes of rows by their values of the target."""
        return _classes(TABLES[self.name], frame[self.target], self.frame[self.target])


@dataclass(frozen=True)
class Split:
    """Rows to train and to test on, the target's column and classes apart."""

    table: Table
    number: int
    train: NDArray[np.int64]
    test: NDArray[np.int64]

    def rows(self, part: str) -> pd.DataFrame:
        """Return the rows of "train" or "test" with all columns."""
        return self.table.frame.iloc[getattr(self, part)].reset_index(drop=True)

    def inputs(self, part: str) -> pd.DataFrame:
        """Return the rows without the target."""
        return self.rows(part).drop(columns=self.table.target)

    def classes(self, part: str) -> NDArray[np.int64]:
        """Return the classes of the rows."""
        return self.table.classes[getattr(self, part)]

    def numbers(self, part: str) -> NDArray[np.float64]:
        """Return the target as numbers."""
        return self.rows(part)[self.table.target].to_numpy(float)


def read(folder: Path, name: str) -> Table:
    """Read a table: numbers as int64 or float64, categories as strings, times as datetime64."""
    known = TABLES[name]
    text = dict.fromkeys(known.coded, str)
    path = folder / f"{name}.csv"
    frame = pd.read_csv(path, keep_default_na=False, na_values=[""], dtype=text)
    frame = frame.drop(columns=list(known.left_out))
    for column in known.times:
        frame[column] = pd.to_datetime(frame[column])
    target = frame[known.target]
    return Table(name, frame, known.target, known.is_numeric, _classes(known, target, target))


def _classes(known: Description, target: pd.Series, of_table: pd.Series) -> NDArray[np.int64]:
    """Return the classes of rows."""
    if not known.is_numeric:
        values = np.sort(of_table.unique())
        return np.searchsorted(values, target.to_numpy(values.dtype))
    cuts = [of_table.median() if cut == "median" else float(cut) for cut in known.cuts]
    return np.searchsorted(cuts, target.to_numpy(float), side="left")


def split(table: Table, number: int) -> Split:
    """Split the rows: two thirds to train on, stratified by class, one third to test on."""
    random = np.random.default_rng([number, 1])
    parts: tuple[list[NDArray[np.int64]], list[NDArray[np.int64]]] = ([], [])
    share = min(1.0, sum(_LARGEST) / len(table.frame))
    for label in np.unique(table.classes):
        rows = random.permutation(np.flatnonzero(table.classes == label))
        rows = rows[: round(share * len(rows))]
        n_train = round(2 / 3 * len(rows))
        parts[0].append(rows[:n_train])
        parts[1].append(rows[n_train:])
    train, test = (random.permutation(np.concatenate(part)) for part in parts)
    return Split(table, number, train, test)


def is_time(column: pd.Series) -> bool:
    """Whether a column has times."""
    return pd.api.types.is_datetime64_any_dtype(column)


def is_number(column: pd.Series) -> bool:
    """Whether a column has numbers or times."""
    return pd.api.types.is_numeric_dtype(column) or is_time(column)


def as_floats(column: pd.Series) -> NDArray[np.float64]:
    """Return numbers, or days since 1970 for times, with NaN where they are missing."""
    if not is_time(column):
        return column.to_numpy(np.float64, na_value=np.nan)
    days = (column - pd.Timestamp(0)) / pd.Timedelta(days=1)
    return days.to_numpy(np.float64, na_value=np.nan)


def from_floats(values: NDArray[np.float64], like: pd.Series) -> pd.Series:
    """Return floats as a column of the same kind: times again, numbers as float64."""
    if not is_time(like):
        return pd.Series(values, name=like.name)
    times = pd.to_datetime(pd.Series(values * 86400e9).round(), unit="ns")
    return times.astype(like.dtype).rename(like.name)
