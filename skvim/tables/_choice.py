"""The choice of how a column is stored."""

import numpy as np

from skvim.tables._coding import Coding
from skvim.tables._field import Field
from skvim.tables._labels import fit_categories, fit_ranks
from skvim.tables._numeric import fit_numbers
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
        return _fit_numbers(field, cells, kind, max_categories)
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


def _fit_numbers(field: Field, cells: Cells, kind: str | None, max_categories: int) -> Coding:
    """Return how to store a column of numbers, dates or durations."""
    if kind == "category":
        return fit_categories(field.labels(cells), max_categories)
    x = field.numbers(cells)
    x = x[~np.isnan(x)]
    if kind == "values" and len(np.unique(x)) > max_categories:
        raise ValueError(
            f"Column {field.name!r} has more than max_categories={max_categories} different "
            "values and cannot be of the kind 'values'. Take 'grid', or 'category', which pools "
            "rare values."
        )
    return fit_numbers(x, kind, cells.relative)
