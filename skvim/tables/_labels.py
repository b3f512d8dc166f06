"""Columns of labels: text, booleans, categories, and mixtures of them."""

from collections.abc import Iterable
from typing import Any, ClassVar, final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from skvim.objectives._parts import Categorical, Interval, Part
from skvim.tables._averages import Floats
from skvim.tables._coding import Coding
from skvim.tables._grid import Grid

__all__ = [
    "Categories",
    "Label",
    "Labels",
    "Ranks",
    "check_labels",
    "fit_categories",
    "fit_ranks",
    "labels_of",
    "objects",
]

Label = str | bool | int | float


@final
class Labels:
    """Cells with labels: the position of each cell's label, −1 where it is missing."""

    def __init__(self, codes: NDArray[np.intp], labels: list[Label]) -> None:
        self.codes = codes
        self.labels = labels


def labels_of(values: NDArray[Any], missing: NDArray[np.bool_]) -> Labels:
    """Return the labels of cells in an array of objects, told apart by value and type.

    Raises
    ------
    TypeError
        For anything but text, bools and real numbers; its argument is the type.
    """
    observed = values[~missing]
    types = set(map(type, observed))
    codes = np.full(len(values), -1, dtype=np.intp)
    if types <= {str}:
        found, different = pd.factorize(observed)
        codes[~missing] = found
        return Labels(codes, different.tolist())
    known: dict[Any, int] = {}
    labels: list[Label] = []
    for i in np.flatnonzero(~missing):
        label = _plain(values[i])
        position = known.setdefault(_key(label), len(labels))
        if position == len(labels):
            labels.append(label)
        codes[i] = position
    return Labels(codes, labels)


def _plain(value: Any) -> Label:
    """Return a label as a plain value of Python's."""
    if isinstance(value, np.generic):
        value = value.item()
    if not isinstance(value, str | bool | int | float):
        raise TypeError(f"objects of type {type(value).__name__}")
    return str(value) if isinstance(value, str) else value


def _key(label: Label) -> Any:
    """Return what tells labels apart: 1, True and "1" differ, 1 and 1.0 do not."""
    return (isinstance(label, bool), label)


@final
class Categories(Coding):
    """A column of labels without an order.

    Parameters
    ----------
    labels : ndarray of objects of shape (n_labels,)
        The labels that have a level of their own, most frequent first.
    pooled : ndarray of objects of shape (n_pooled,)
        Rarer labels, which share one further level; most frequent first.
    probabilities : tuple of float
        Of the levels.
    """

    cells: ClassVar[str] = "labels"

    def __init__(
        self, labels: NDArray[Any], pooled: NDArray[Any], probabilities: tuple[float, ...]
    ) -> None:
        self.labels = labels
        self.pooled = pooled
        self.probabilities = probabilities

    @property
    def kind(self) -> str:
        """What the column is: "boolean" or "category"."""
        every = [*self.labels, *self.pooled]
        return "boolean" if all(isinstance(label, bool) for label in every) else "category"

    @property
    def n_expected(self) -> int:
        """Number of levels."""
        return len(self.probabilities)

    def check(self) -> None:
        """Raise ``ValueError`` when an attribute is invalid."""
        n_levels = len(self.labels) + (len(self.pooled) > 0)
        if n_levels != len(self.probabilities) or not n_levels:
            raise ValueError("each level has one probability.")
        check_labels(self.labels, self.pooled)

    def parts(self, column: int) -> tuple[Part, ...]:
        """Return which level."""
        return (Categorical(column, self.probabilities),)

    def encode(self, cells: Labels) -> tuple[list[Floats], NDArray[Any]]:
        """Return the level of each cell."""
        levels = {_key(label): level for level, label in enumerate(self.labels)}
        levels.update(dict.fromkeys(map(_key, self.pooled), len(self.labels)))
        return _encoded(cells, levels)

    def expectation(self, parameters: list[Floats], scales: list[float]) -> Floats:
        """Return the probabilities."""
        return parameters[0]

    def best(self, expectation: Floats) -> NDArray[Any]:
        """Return the most probable label."""
        return take(self._representatives, expectation.argmax(axis=1))

    def decode(self, draws: list[Floats]) -> NDArray[Any]:
        """Return labels; the most frequent of the pooled ones stands for all of them."""
        return take(self._representatives, draws[0][:, 0])

    def spread(
        self, cells: NDArray[Any], draws: list[Floats], generator: np.random.Generator
    ) -> NDArray[Any]:
        """Return labels; each of the pooled ones is as likely as another."""
        pooled = draws[0][:, 0] == len(self.labels)
        if len(self.pooled) and pooled.any():
            cells = cells.copy()
            cells[pooled] = self.pooled[generator.integers(len(self.pooled), size=pooled.sum())]
        return cells

    @property
    def _representatives(self) -> NDArray[Any]:
        return np.concatenate([self.labels, self.pooled[:1]])


@final
class Ranks(Coding):
    """A column of ordered labels.

    Parameters
    ----------
    labels : ndarray of objects of shape (n_labels,)
        All labels, in order; at least 2.
    grid : Grid
        Of their ranks 0, 1, ….
    """

    cells: ClassVar[str] = "labels"

    def __init__(self, labels: NDArray[Any], grid: Grid) -> None:
        self.labels = labels
        self.grid = grid

    @property
    def kind(self) -> str:
        """What the column is: "ordered"."""
        return "ordered"

    @property
    def n_expected(self) -> int:
        """Number of labels."""
        return len(self.labels)

    def check(self) -> None:
        """Raise ``ValueError`` when an attribute is invalid."""
        check_labels(self.labels)
        if not isinstance(self.grid, Grid):
            raise TypeError("ranks have a grid.")
        self.grid.check()
        if not np.array_equal(self.grid.values, np.arange(len(self.labels))):
            raise ValueError("each label has one rank.")
        if self.grid.closed != (True, True):
            raise ValueError("ranks have two closed ends.")

    def parts(self, column: int) -> tuple[Part, ...]:
        """Return the interval of the rank."""
        return (Interval(column),)

    def encode(self, cells: Labels) -> tuple[list[Floats], NDArray[Any]]:
        """Return the intervals of the ranks."""
        (ranks,), unknown = _encoded(cells, {_key(v): i for i, v in enumerate(self.labels)})
        observed = ~np.isnan(ranks[:, 0])
        stored = np.full((len(ranks), 3), np.nan)
        stored[observed] = np.column_stack(self.grid.forward(ranks[observed, 0]))
        return [stored], unknown

    def expectation(self, parameters: list[Floats], scales: list[float]) -> Floats:
        """Return the probabilities."""
        return self.grid.probabilities(parameters[0][:, 0], scales[0])

    def best(self, expectation: Floats) -> NDArray[Any]:
        """Return the most probable label."""
        return take(self.labels, expectation.argmax(axis=1))

    def decode(self, draws: list[Floats]) -> NDArray[Any]:
        """Return labels."""
        return take(self.labels, self.grid.inverse(draws[0][:, 0]))


def fit_categories(cells: Labels, max_categories: int) -> Categories:
    """Describe labels; where there are more than ``max_categories``, rare ones share a level.

    Those are the labels that are not among the ``max_categories − 1`` most frequent ones, or that
    occur once: what was seen once tells a model nothing.
    """
    counts = np.bincount(cells.codes[cells.codes >= 0], minlength=len(cells.labels))
    order = np.argsort(-counts, kind="stable")
    n_kept = int((counts > 0).sum())
    order = order[:n_kept]
    if n_kept > max_categories:
        n_kept = min(max_categories - 1, int((counts > 1).sum()))
    shares = counts[order[:n_kept]].tolist()
    if n_kept < len(order):
        shares.append(int(counts[order[n_kept:]].sum()))
    labels = objects([cells.labels[i] for i in order])
    probabilities = tuple(share / sum(shares) for share in shares)
    return Categories(labels[:n_kept], labels[n_kept:], probabilities)


def fit_ranks(cells: Labels, order: list[Label]) -> Ranks:
    """Describe labels of a known order, of which some may not occur."""
    rank = {_key(label): i for i, label in enumerate(order)}
    ranks = np.array([rank[_key(label)] for label in cells.labels], dtype=np.intp)
    counts = np.bincount(ranks[cells.codes[cells.codes >= 0]], minlength=len(order))
    values = np.arange(len(order), dtype=np.float64)
    weights = counts + 0.5 * (counts > 0).sum() / len(order)
    return Ranks(objects(order), Grid.fit(values, weights, 1.0, (True, True)))


def objects(items: Iterable[Any]) -> NDArray[Any]:
    """Return a one-dimensional array of objects."""
    listed = list(items)
    array = np.empty(len(listed), dtype=object)
    array[:] = listed
    return array


def take(labels: NDArray[Any], positions: NDArray[Any]) -> NDArray[Any]:
    """Return the labels at positions, which may be floats."""
    return np.asarray(labels[positions.astype(np.intp)])


def check_labels(*arrays: NDArray[Any]) -> None:
    """Raise ``ValueError`` unless all are different and of types that columns may hold."""
    if any(array.dtype != object or array.ndim != 1 for array in arrays):
        raise ValueError("labels are in arrays of objects.")
    labels = [label for array in arrays for label in array]
    if any(type(label) not in (str, bool, int, float) for label in labels):
        raise ValueError("labels are text, bools or numbers.")
    if len(set(map(_key, labels))) < len(labels):
        raise ValueError("labels differ from each other.")


def _encoded(cells: Labels, levels: dict[Any, int]) -> tuple[list[Floats], NDArray[Any]]:
    """Return the level of each cell (n, 1), NaN where it has none, and where that is unknown."""
    found = [levels.get(_key(label), np.nan) for label in cells.labels]
    by_code = np.array([*found, np.nan])  # the last for code −1
    stored = by_code[cells.codes]
    return [stored[:, None]], np.isnan(stored) & (cells.codes >= 0)
