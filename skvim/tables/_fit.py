"""The choice of how a column is stored."""

import numpy as np

from skvim.tables._coding import Coding
from skvim.tables._field import Field
from skvim.tables._labels import fit_categories, fit_ranks
from skvim.tables._numbers import fit_numbers
from skvim.tables._read import Cells

__all__ = ["fit_coding"]


def fit_coding(field: Field, cells: Cells, kind: str | None, max_categories: int) -> Coding:
    """Return how to store a column with at least one observed cell.

    Parameters
    ----------
    field : Field
        Describes the column.
    cells : Cells
        Its cells.
    kind : str or None
        What the user says that it is.
    max_categories : int
        Most levels of labels.

    Raises
    ------
    ValueError
        When the column cannot be of the kind.
    """
    if field.content != "label":
        x = field.numbers(cells)
        return fit_numbers(x[~np.isnan(x)], kind, cells.relative)
    if kind not in (None, "category", "ordered"):
        raise ValueError(
            f"Column {field.name!r} holds labels and cannot be of the kind {kind!r}. Take "
            "'category', or 'ordered' where its type lists the categories."
        )
    if kind == "ordered" and cells.order is None:
        raise ValueError(
            f"Column {field.name!r} cannot be 'ordered', as its type does not list the categories "
            "in their order. Convert it to an ordered categorical type."
        )
    is_ordered = kind == "ordered" or (kind is None and cells.has_order)
    if is_ordered and cells.order is not None and len(cells.order) > 1:
        return fit_ranks(cells.values, cells.order)
    return fit_categories(cells.values, max_categories)
