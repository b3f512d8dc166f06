"""What a user says of the columns of a table."""

from collections.abc import Mapping
from numbers import Integral
from typing import final

from skvim.objectives._settings import Settings

__all__ = ["KINDS", "Columns"]

#: Kinds that a user may give to a column.
KINDS = ("category", "ordered", "values", "grid", "continuous")


@final
class Columns(Settings):
    """How the columns of a table are modelled; compares by value.

    Parameters
    ----------
    kinds : mapping from str or int to str, optional
        Kinds of columns by their names, or by their positions in an array. Those of all other
        columns are found from their types and values.

        - ``"category"``: values without an order, each with its own probability. Text, booleans and
          unordered categories. Of numbers too: then the best guess is the most probable one.
        - ``"ordered"``: categories with an order, as intervals of a normal distribution. Categories
          whose type says that they are ordered.
        - ``"values"``: numbers of which few differ, each with its own probability; the best guess
          is their mean. Numbers with at most two different values, or at most 10 with 3 rows each.
        - ``"grid"``: numbers that repeat, such as counts, as intervals of a normal distribution.
          Numbers with at least 2 rows per value.
        - ``"continuous"``: all other numbers, with a density. Dates and durations are numbers too,
          in the unit of their type, such as nanoseconds.

        A column of the last two kinds for which none was given has *atoms*, with a probability of
        their own, besides: the first or last of its values where at least a fifth of all cells
        holds it, as zero often does, and any value in a tenth of the cells of a continuous column.
    max_categories : int in [2, inf), default=100
        Most levels of a categorical column of labels. Where it has more labels, those that are
        not among the ``max_categories - 1`` most frequent ones, or that occur once, share one
        level. Guesses of it are the most frequent of them, draws any of them.
    handle_unknown : {"missing", "error"}, default="missing"
        What becomes of a category that ``fit`` has not seen: a missing cell or a ``ValueError``.

    Examples
    --------
    >>> from skvim.tables import Columns
    >>> Columns({"postcode": "category"}, max_categories=20)
    Columns(kinds={'postcode': 'category'}, max_categories=20, handle_unknown='missing')
    """

    def __init__(
        self,
        kinds: Mapping[str | int, str] | None = None,
        *,
        max_categories: int = 100,
        handle_unknown: str = "missing",
    ) -> None:
        self.kinds = kinds
        self.max_categories = max_categories
        self.handle_unknown = handle_unknown

    def check(self) -> None:
        """Raise ``ValueError`` or ``TypeError`` when a setting is out of range."""
        if self.kinds is not None and not isinstance(self.kinds, Mapping):
            raise TypeError(
                "kinds must be a mapping from names or positions of columns to kinds, or None. "
                f"Got {self.kinds!r} instead."
            )
        for name, kind in (self.kinds or {}).items():
            if kind not in KINDS:
                raise ValueError(
                    f"kinds must be among {', '.join(map(repr, KINDS))}. Got {kind!r} for column "
                    f"{name!r} instead."
                )
        most = self.max_categories
        if not isinstance(most, Integral) or isinstance(most, bool) or most < 2:
            raise ValueError(f"max_categories must be an int in [2, inf). Got {most!r} instead.")
        if self.handle_unknown not in ("missing", "error"):
            raise ValueError(
                f"handle_unknown must be 'missing' or 'error'. Got {self.handle_unknown!r} instead."
            )
