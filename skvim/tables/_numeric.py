"""Columns of numbers: continuous, grids, few values, and values with a probability of their own."""

from typing import Any, ClassVar, final

import numpy as np
from numpy.typing import NDArray

from skvim.objectives._parts import Categorical, Continuous, Interval, Part
from skvim.tables._averages import Floats
from skvim.tables._coding import Coding
from skvim.tables._grid import Grid, positions
from skvim.tables._lattice import Lattice, check_lattice, find_lattice, lattice_points, snap
from skvim.tables._smooth import Smooth

__all__ = ["KINDS_OF_NUMBERS", "Numbers", "fit_numbers"]

#: What a user may say that a column of numbers is.
KINDS_OF_NUMBERS = ("values", "grid", "ordered", "continuous")

_FEW = 10  # values that are categories with a mean
_REPEATED = 2.0  # mean number of rows per value from which on a column is a grid
_END_SHARE = 0.2  # share of a value at an end of the range that has a probability of its own
_INNER_SHARE = 0.1  # and of any value of a continuous column
_MOST_POINTS = 2000  # of a grid that is enumerated
_LONGEST = 1e307  # step of a grid


@final
class Numbers(Coding):
    """A column of numbers.

    Parameters
    ----------
    atoms : ndarray of shape (n_atoms,)
        Increasing values that have a probability of their own.
    probabilities : tuple of float
        Of the atoms and, last, of the rest where there is one; empty without atoms.
    rest : Grid, Smooth or None
        All other values; None where there are none.
    lattice : tuple of int or None
        Decimal numbers to which draws are rounded.
    low, high : float
        Range of draws.
    """

    cells: ClassVar[str] = "numbers"

    def __init__(
        self,
        atoms: Floats,
        probabilities: tuple[float, ...],
        rest: Grid | Smooth | None,
        lattice: Lattice | None,
        low: float,
        high: float,
    ) -> None:
        self.atoms = atoms
        self.probabilities = probabilities
        self.rest = rest
        self.lattice = lattice
        self.low = low
        self.high = high

    @property
    def kind(self) -> str:
        """What the column is; grids and continuous ones also "... with atoms"."""
        if self.rest is None:
            return "values"
        name = "grid" if isinstance(self.rest, Grid) else "continuous"
        return f"{name} with atoms" if len(self.atoms) else name

    @property
    def n_expected(self) -> int:
        """1, the mean."""
        return 1

    def check(self) -> None:
        """Raise ``ValueError`` when an attribute is invalid."""
        if self.atoms.dtype != np.float64 or self.atoms.ndim != 1:
            raise ValueError("values must be a float64 array.")
        if not np.isfinite(self.atoms).all() or not (np.diff(self.atoms) > 0).all():
            raise ValueError("values must be finite and increase.")
        has_rest = self.rest is not None
        if len(self.probabilities) != (len(self.atoms) + has_rest if len(self.atoms) else 0):
            raise ValueError("each value has one probability.")
        if not has_rest and not len(self.atoms):
            raise ValueError("a column has values.")
        if type(self.low) is not float or type(self.high) is not float or not self.low < self.high:
            raise ValueError("the range of a column is two floats.")
        if isinstance(self.rest, Grid | Smooth):
            self.rest.check()
        elif has_rest:
            raise TypeError("the rest of a column is a grid or a smooth map.")
        check_lattice(self.lattice)

    def parts(self, column: int) -> tuple[Part, ...]:
        """Return which atom, and the distribution of other values."""
        atoms = (Categorical(column, self.probabilities),) if len(self.atoms) else ()
        if self.rest is None:
            return atoms
        return (*atoms, (Interval if isinstance(self.rest, Grid) else Continuous)(column))

    def encode(self, cells: Floats) -> tuple[list[Floats], NDArray[Any]]:
        """Return stored parts; values are unknown where there are atoms alone."""
        observed = ~np.isnan(cells)
        stored, others = [], observed
        if len(self.atoms):
            at = positions(self.atoms, cells)
            others = observed & (at < 0)
            index = np.where(others, float(len(self.atoms)), at)
            known = observed if self.rest is not None else observed & ~others
            stored.append(np.where(known, index, np.nan)[:, None])
        if self.rest is None:
            return stored, others
        columns = self.rest.forward(cells[others])
        rest = np.full((len(cells), len(columns)), np.nan)
        rest[others] = np.column_stack(columns)
        return [*stored, rest], np.zeros(len(cells), dtype=bool)

    def expectation(self, parameters: list[Floats], scales: list[float]) -> Floats:
        """Return the mean."""
        if self.rest is None:
            return parameters[0] @ self.atoms[:, None]
        mean = self.rest.mean(parameters[-1][:, 0], scales[-1])[:, None]
        if not len(self.atoms):
            return mean
        return parameters[0][:, :-1] @ self.atoms[:, None] + parameters[0][:, -1:] * mean

    def best(self, expectation: Floats) -> Floats:
        """Return the mean."""
        return expectation[:, 0]

    def decode(self, draws: list[Floats]) -> Floats:
        """Return values, rounded as those of the column are."""
        if self.rest is None:
            return self.atoms[draws[0][:, 0].astype(np.intp)]
        x = snap(np.clip(self.rest.inverse(draws[-1][:, 0]), self.low, self.high), self.lattice)
        if not len(self.atoms):
            return x
        index = draws[0][:, 0].astype(np.intp)
        return np.where(index < len(self.atoms), self.atoms[index % len(self.atoms)], x)


def fit_numbers(x: Floats, kind: str | None, relative: float) -> Numbers:
    """Describe a column by its observed values.

    Parameters
    ----------
    x : ndarray of shape (n,)
        Finite; at least one.
    kind : str or None
        One of ``KINDS_OF_NUMBERS``; None to find it.
    relative : float
        Relative rounding error of the values.
    """
    values, counts = np.unique(x, return_counts=True)
    few = len(values) <= 2 or (len(values) <= _FEW and len(x) >= 3 * len(values))
    if len(values) == 1 or kind == "values" or (kind is None and few):
        shares = tuple((counts / len(x)).tolist())
        return Numbers(values, shares, None, None, -np.inf, np.inf)
    lattice = find_lattice(values, relative)
    atom = _atoms(values, counts, kind)
    low, high = _range(values, atom)
    rest: Grid | Smooth
    if _is_grid(values[~atom], counts[~atom], kind):
        closed = (
            bool(atom[0] or low == values[~atom][0]),
            bool(atom[-1] or high == values[~atom][-1]),
        )
        rest = _fit_grid(values[~atom], counts[~atom], lattice, closed)
    else:
        rest = Smooth.fit(x[~np.isin(x, values[atom])])
    numbers = np.append(counts[atom], counts[~atom].sum())
    shares = tuple((numbers / len(x)).tolist()) if atom.any() else ()
    return Numbers(values[atom], shares, rest, lattice, low, high)


def _range(values: Floats, atom: NDArray[np.bool_]) -> tuple[float, float]:
    """Return the range of draws: up to atoms at the ends, and to 0 where all lie on one side."""
    low = float(values[0]) if atom[0] else (0.0 if values[0] >= 0 else -np.inf)
    high = float(values[-1]) if atom[-1] else (0.0 if values[-1] <= 0 else np.inf)
    return low, high


def _is_grid(values: Floats, counts: NDArray[np.intp], kind: str | None) -> bool:
    """Tell whether values repeat so often that they are those of a grid."""
    if kind is not None:
        return kind in ("grid", "ordered")
    return bool(counts.sum() >= _REPEATED * len(values))


def _points(values: Floats, lattice: Lattice | None) -> Floats | None:
    """Return all points of a lattice between the ends, None if there are too many."""
    if lattice is None:
        return None
    return lattice_points(lattice, float(values[0]), float(values[-1]), _MOST_POINTS)


def _atoms(values: Floats, counts: NDArray[np.intp], kind: str | None) -> NDArray[np.bool_]:
    """Return which values have a probability of their own."""
    atom = np.zeros(len(values), dtype=bool)
    if kind is not None or len(values) <= _FEW + 1:
        return atom
    for end in (0, -1):
        if counts[end] >= _END_SHARE * counts.sum() and len(values) - atom.sum() > _FEW + 1:
            atom[end] = True
    inner = counts >= _INNER_SHARE * counts.sum()
    is_grid = _is_grid(values[~atom], counts[~atom], kind)
    if not is_grid and len(values) - inner.sum() > _FEW:
        atom |= inner
    return atom


def _fit_grid(
    values: Floats, counts: NDArray[np.intp], lattice: Lattice | None, closed: tuple[bool, bool]
) -> Grid:
    """Fit a grid: all points of the lattice between the ends, or the values seen if too many."""
    points = _points(values, lattice)
    if points is None:
        step = min(2 * float(np.median(np.diff(values / 2))), _LONGEST)
        return Grid.fit(values, counts.astype(float), step, closed)
    seen = np.rint((values - points[0]) / (points[1] - points[0])).astype(np.intp)
    # Half a row in all for each value seen, spread over all points.
    weights = np.full(len(points), 0.5 * len(values) / len(points))
    weights[seen] += counts
    step = float(points[1] - points[0])
    return Grid.fit(points, weights, step, closed)
