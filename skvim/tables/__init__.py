"""Tables with mixed and missing cells as rows of numbers, and back."""

from skvim.tables._columns import Columns
from skvim.tables._table import Table

__all__ = ["Columns", "Table"]
