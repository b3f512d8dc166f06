"""Statistics of the training rows, from which models start."""

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from skvim.objectives import DataStatistics

__all__ = ["data_statistics", "statistics_of_cells"]

# Squares, and products of a few of them, stay within float32.
_SMALLEST, _LARGEST = 1e-15, 1e15
# A hundred steps of float32.
_RESOLUTION = 1e-5
# By how much float32 may round a constant column, in standard deviations of the others.
_ROUNDED = 1e-2
_SHOWN = 5  # columns in an error
# Rows whose moments are summed in their own precision, in a core's cache; values of a byte chunk.
_MOMENT_ROWS, _CHUNK_VALUES = 1024, 2**22


def data_statistics(x: Tensor, device: torch.device, index: Tensor | None = None) -> DataStatistics:
    """Return statistics of rows (n_samples, n_features) for a model on a device.

    ``index`` has the rows that train, None for all; the range is that of all rows. ValueError when
    float32, the precision of training, cannot hold the rows or tell them apart.
    """
    low, high = (float(value) for value in torch.aminmax(x))
    # No copy of the rows: a variance that over- or underflows here is out of bounds anyway.
    moments = _moments_of_bytes if x.dtype == torch.uint8 else _moments
    variance, mean = moments(x, index)
    spread = math.sqrt(float(variance.mean()))
    largest, wide = max(abs(low), abs(high)), []
    if spread <= _RESOLUTION * largest:
        wide = _too_large(x, spread)
    resolved = not wide
    first = x[0 if index is None else int(index[0])]
    constant = spread < _SMALLEST and all(
        bool((rows == first).all()) for rows in _chunks(x, index, len(x))
    )
    representable = max(abs(low), abs(high)) <= torch.finfo(torch.float32).max
    if not representable or not (constant or (_SMALLEST < spread < _LARGEST and resolved)):
        raise ValueError(
            "X must have a spread that float32 resolves: between 1e-15 and 1e15, and above "
            f"{_RESOLUTION:g} of its largest value, which float32 has to hold. Got values from "
            f"{low:g} to {high:g} with standard deviation {spread:g}{_named(wide, x.shape[1])}. "
            "Rescale X, for example with StandardScaler."
        )
    centre = mean.to(device=device, dtype=torch.float32)
    n_rows = len(x if index is None else index)
    return DataStatistics(centre, 1.0 if constant else spread, low, high, n_rows)


def _too_large(x: Tensor, spread: float) -> list[int]:
    """Return the positions of columns whose values are too large to resolve a spread beside them.

    Columns of equal values need no resolution: less their mean they are 0, if float32 holds it up
    to a tolerance. All rows count, also those that do not train.
    """
    first = x[0]
    rounding = (first.double() - first.float().double()).abs()
    constant, largest = rounding <= _ROUNDED * spread, torch.zeros_like(first)
    for rows in _chunks(x, None, max(1, _CHUNK_VALUES // x.shape[1])):
        constant &= (rows == first).all(0)
        largest = torch.maximum(largest, rows.abs().amax(0))
    varying = largest.masked_fill(constant, 0).double()
    positions: list[int] = (spread <= _RESOLUTION * varying).nonzero()[:, 0].tolist()
    return positions


def _named(wide: list[int], n_columns: int) -> str:
    """Return what an error says of columns that are too large, unless all of them are."""
    if not 0 < len(wide) < n_columns:
        return ""
    more = f" and {len(wide) - _SHOWN} more" if len(wide) > _SHOWN else ""
    shown = ", ".join(map(str, wide[:_SHOWN])) + more
    return f"; too large are the columns {shown} (counted from 0), which may be left out"


def statistics_of_cells(
    x: Tensor, device: torch.device, index: Tensor | None = None
) -> DataStatistics:
    """Return the observed share of every stored number of rows with missing cells.

    ``index`` has the rows that train, None for all. Their values are of unit size already.
    """
    n_rows = len(x if index is None else index)
    observed = torch.zeros(x.shape[1], dtype=torch.float64, device=x.device)
    for rows in _chunks(x, index, max(1, _CHUNK_VALUES // x.shape[1])):
        observed += rows.isnan().logical_not_().sum(0)
    shares = (observed / n_rows).to(device=device, dtype=torch.float32)
    return DataStatistics(torch.zeros_like(shares), 1.0, 0.0, 0.0, n_rows, shares)


def _moments(x: Tensor, index: Tensor | None) -> tuple[Tensor, Tensor]:
    """Return variance and mean of every feature, several times as fast as ``torch.var_mean``."""
    n_rows = len(x if index is None else index)
    total, squares = torch.zeros(2, x.shape[1], dtype=torch.float64, device=x.device)
    for rows in _chunks(x, index, _MOMENT_ROWS):
        total += rows.sum(0)
    mean = total / n_rows
    for rows in _chunks(x, index, _MOMENT_ROWS):
        squares += (rows - mean.to(x.dtype)).square_().sum(0)
    return squares / n_rows, mean


def _moments_of_bytes(x: Tensor, index: Tensor | None) -> tuple[Tensor, Tensor]:
    """Return the same for bytes, from exact sums of integers."""
    n_rows = len(x if index is None else index)
    total, squares = torch.zeros(2, x.shape[1], dtype=torch.int64, device=x.device)
    for rows in _chunks(x, index, max(1, _CHUNK_VALUES // x.shape[1])):
        total += rows.sum(0, dtype=torch.int64)
        squares += rows.to(torch.int64).square().sum(0)
    # n Σ x² − (Σ x)² without rounding, up to 2^31 rows of bytes.
    spread = n_rows * squares - total.square()
    return spread.to(torch.float64) / n_rows**2, total.to(torch.float64) / n_rows


def _chunks(x: Tensor, index: Tensor | None, size: int) -> Iterator[Tensor]:
    """Yield rows, so many at a time: a memory map is not copied as a whole."""
    if index is None:
        yield from torch.split(x, size)
    else:
        yield from (x.index_select(0, part) for part in torch.split(index.to(x.device), size))
