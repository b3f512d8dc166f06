"""Encodings of frames as arrays by hand: standardised and one-hot, and by quantiles."""

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import norm

from mixed_tables.data import as_floats, from_floats, is_number

__all__ = ["Encoding", "Quantiles"]

Array = NDArray[Any]
_REST = "(rest)"


class Encoding:
    """Numbers standardised, categories one-hot.

    Of a category's values the most frequent have a column each; if there are more, the others
    share one.
    """

    def __init__(self, frame: pd.DataFrame, max_values: int = 50) -> None:
        self.frame = frame
        self.numbers: dict[str, tuple[float, float, float]] = {}
        self.values: dict[str, list[str]] = {}
        self.modes: dict[str, str] = {}
        self.incomplete = [name for name in frame if frame[name].isna().any()]
        for name in frame:
            if is_number(frame[name]):
                x = as_floats(frame[name])
                self.numbers[name] = (np.nanmean(x), np.nanstd(x) or 1.0, np.nanmedian(x))
                continue
            ranked = [str(value) for value in frame[name].value_counts().index]
            rest = ranked[max_values:]
            self.values[name] = ranked[:max_values] + [_REST] * bool(rest)
            self.modes[name] = rest[0] if rest else ranked[0]

    def with_missing(self, frame: pd.DataFrame) -> Array:
        """Return an array with NaN for missing cells, in all columns of a category."""
        blocks = [self._block(frame[name]) for name in self.frame]
        return np.concatenate(blocks, axis=1)

    def complete(self, frame: pd.DataFrame) -> Array:
        """Return an array with medians for missing numbers, and indicators of missing cells.

        There are indicators for columns with missing cells in the rows of the encoding.
        """
        blocks = []
        for name in self.frame:
            block = self._block(frame[name])
            mean, scale, median = self.numbers.get(name, (0.0, 1.0, 0.0))
            blocks.append(np.where(np.isnan(block), (median - mean) / scale, block))
        missing = frame[self.incomplete].isna().to_numpy(float)
        return np.concatenate([*blocks, missing], axis=1)

    def decode(self, array: Array) -> pd.DataFrame:
        """Return a frame; a category is the value with the largest number."""
        columns, start = {}, 0
        for name in self.frame:
            like = self.frame[name]
            if name in self.numbers:
                mean, scale, _ = self.numbers[name]
                columns[name] = from_floats(array[:, start] * scale + mean, like)
                start += 1
                continue
            values = self.values[name]
            best = array[:, start : start + len(values)].argmax(axis=1)
            named = [self.modes[name] if value == _REST else value for value in values]
            columns[name] = pd.Series(np.array(named, dtype=object)[best], name=name)
            start += len(values)
        return pd.DataFrame(columns)

    def as_codes(self, array: Array) -> Array:
        """Return an array with one column for each category: the places of its values."""
        columns = []
        for block in np.split(array, self._ends(), axis=1):
            code = np.where(np.isnan(block[:, 0]), np.nan, np.argmax(block, axis=1))
            columns.append(block[:, 0] if block.shape[1] == 1 else code)
        return np.column_stack(columns)

    def from_codes(self, codes: Array) -> Array:
        """Return the array of codes, rounded to the nearest place."""
        blocks = []
        for name, code in zip(self.frame, codes.T, strict=True):
            width = len(self.values.get(name, "1"))
            places = np.clip(np.round(code), 0, width - 1)
            blocks.append(code[:, None] if width == 1 else places[:, None] == np.arange(width))
        return np.concatenate(blocks, axis=1)

    def _ends(self) -> Array:
        """Return where the columns' blocks end, but for the last."""
        return np.cumsum([len(self.values.get(name, "1")) for name in self.frame])[:-1]

    def _block(self, column: pd.Series) -> Array:
        """Encode a column."""
        name = str(column.name)
        if name in self.numbers:
            mean, scale, _ = self.numbers[name]
            return (as_floats(column) - mean)[:, None] / scale
        values = self.values[name]
        known = column.isin(values) | column.isna()
        pooled = column.astype(object).where(known, _REST)
        block = (pooled.to_numpy()[:, None] == np.array(values, dtype=object)).astype(float)
        block[column.isna().to_numpy()] = np.nan
        return block


class Quantiles:
    """Every column as normal scores, values that repeat spread over their share of [0, 1].

    Missing cells come first, then numbers by size, or categories by frequency.
    """

    def __init__(self, frame: pd.DataFrame, random: np.random.Generator) -> None:
        n_rows = len(frame)
        self.frame = frame
        self.sorted: dict[str, Array] = {}
        scores = []
        for name in frame:
            order = np.lexsort((random.random(n_rows), _key(frame[name])))
            self.sorted[name] = order
            rank = np.empty(n_rows)
            rank[order] = np.arange(n_rows)
            scores.append(norm.ppf((rank + random.random(n_rows)) / n_rows))
        self.scores = np.column_stack(scores)

    def decode(self, scores: Array) -> pd.DataFrame:
        """Return the rows with these normal scores; all values are some of the frame's."""
        n_rows = len(self.frame)
        places = np.minimum((norm.cdf(scores) * n_rows).astype(int), n_rows - 1)
        columns = {
            name: self.frame[name].iloc[self.sorted[name][places[:, i]]].reset_index(drop=True)
            for i, name in enumerate(self.frame)
        }
        return pd.DataFrame(columns)


def _key(column: pd.Series) -> Array:
    """Return numbers by which the cells of a column are sorted."""
    if is_number(column):
        return np.nan_to_num(as_floats(column), nan=-np.inf)
    counts = column.value_counts()
    places = pd.Series(np.arange(1.0, len(counts) + 1), index=counts.index)
    return column.map(places).fillna(0.0).to_numpy(float)
