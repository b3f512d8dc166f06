"""Parts of a row with mixed columns: what one distribution of a product likelihood describes."""

import math
from abc import ABC
from collections.abc import Sequence
from numbers import Integral
from typing import ClassVar, final

from skvim._plain_numbers import is_real
from skvim.objectives._settings import Settings

__all__ = ["Categorical", "Continuous", "Interval", "Part", "Value"]


class Part(Settings, ABC):
    """One distribution over one or a few of the numbers by which a row is stored.

    Several parts may belong to one column of a table: where a column has a value of its own
    probability, such as 0, and is continuous elsewhere, a categorical part tells which, and a
    continuous part, missing in rows with that value, describes the others.
    """

    #: Numbers by which a row stores the part; all of them are NaN where it is missing.
    n_stored: ClassVar[int]

    def __init__(self, column: int) -> None:
        self.column = column

    @property
    def n_outputs(self) -> int:
        """Number of parameters that the decoder gives (hook; 1)."""
        return 1

    def check(self) -> None:
        """Raise ``ValueError`` when a setting is out of range."""
        column = self.column
        if not isinstance(column, Integral) or isinstance(column, bool) or column < 0:
            raise ValueError(f"column must be an int in [0, inf). Got {column!r} instead.")


@final
class Continuous(Part):
    """y ~ N(μ, σ²), stored as y and the logarithm of dy/dx.

    Parameters
    ----------
    column : int in [0, inf)
        Column of the table that the part belongs to.

    Notes
    -----
    Its log-density is that of x in the units of the table: log N(y; μ, σ²) + log dy/dx.
    """

    n_stored = 2


@final
class Interval(Part):
    """y ~ N(μ, σ²), of which is known that it lies in an interval, stored as (y, low, high).

    For values of a grid, counts and ordered categories.

    Parameters
    ----------
    column : int in [0, inf)
        Column of the table that the part belongs to.

    Notes
    -----
    The stored y, between low and high, is what the encoder sees. The probability of the value is
    Φ((high − μ)/σ) − Φ((low − μ)/σ); ends may be infinite.
    """

    n_stored = 3


@final
class Value(Part):
    """A number as the encoder sees it, of unit size, beside the parts that have a density.

    Where a column has one, the encoder sees it instead of the y of other parts of the column.

    Parameters
    ----------
    column : int in [0, inf)
        Column of the table that the part belongs to.
    """

    n_stored = 1

    @property
    def n_outputs(self) -> int:
        """0: it has no density."""
        return 0


@final
class Categorical(Part):
    """One of several values, each with its own probability, stored as its position from 0 on.

    Parameters
    ----------
    column : int in [0, inf)
        Column of the table that the part belongs to.
    probabilities : sequence of float in (0, 1]
        Probability of each value before training, which sum to 1.
    seen : bool, default=True
        Whether the encoder sees which value it is, as ones and zeros.
    """

    n_stored = 1

    def __init__(self, column: int, probabilities: Sequence[float], seen: bool = True) -> None:
        super().__init__(column)
        self.probabilities = probabilities
        self.seen = seen

    @property
    def n_outputs(self) -> int:
        """Number of values."""
        return len(self.probabilities)

    def check(self) -> None:
        """Raise ``ValueError`` when a setting is out of range."""
        super().check()
        given = self.probabilities
        positive = len(given) > 0 and all(is_real(p) and 0 < p <= 1 for p in given)
        if not positive or not math.isclose(math.fsum(given), 1.0, rel_tol=1e-6):
            raise ValueError(f"probabilities must be positive and sum to 1. Got {given!r} instead.")
        if not isinstance(self.seen, bool):
            raise ValueError(f"seen must be a bool. Got {self.seen!r} instead.")
