"""The interface between the values of one column and the parts of a row that stand for it."""

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from skvim._values import ByValue
from skvim.objectives._parts import Part
from skvim.tables._averages import Floats

__all__ = ["Coding"]


class Coding(ByValue, ABC):
    """How a column is stored, and what a model's parameters say of its values.

    Attributes are NumPy arrays, numbers, text and tuples of them.
    """

    #: What the cells are: "numbers" (float64, NaN where missing) or "labels".
    cells: ClassVar[str]

    @property
    @abstractmethod
    def kind(self) -> str:
        """What users are told that the column is."""

    @property
    @abstractmethod
    def n_expected(self) -> int:
        """Numbers per row that :meth:`expectation` returns."""

    @abstractmethod
    def check(self) -> None:
        """Raise ``ValueError`` or ``TypeError`` when an attribute, read from a file, is invalid."""

    @abstractmethod
    def parts(self, column: int) -> tuple[Part, ...]:
        """Return the parts, one or two, of the column at a position."""

    @abstractmethod
    def encode(self, cells: Any) -> tuple[list[Floats], NDArray[Any]]:
        """Return arrays (n, n_stored) per part, NaN where missing, and where values are unknown."""

    @abstractmethod
    def expectation(self, parameters: list[Floats], scales: list[float]) -> Floats:
        """Return the mean (n, 1) in the units of the cells, or probabilities (n, n_expected)."""

    @abstractmethod
    def best(self, expectation: Floats) -> Any:
        """Return cells, none of them missing: the mean or the most probable value."""

    @abstractmethod
    def decode(self, draws: list[Floats]) -> Any:
        """Return cells for draws (n, 1) per part: the position of a value, or y."""

    def spread(self, cells: Any, draws: list[Floats], generator: np.random.Generator) -> Any:
        """Return cells in which labels that share a level are drawn at random (hook)."""
        return cells
