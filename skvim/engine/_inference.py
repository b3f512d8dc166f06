"""Running a trained model over many rows, in chunks of bounded memory."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from skvim.engine._net import AutoencoderNet
from skvim.engine._threads import bounded_threads, pass_work
from skvim.objectives import Autoencoder

__all__ = ["map_rows", "to_tensor", "working_dtype"]

_TORCH_DTYPES = {"float32": torch.float32, "float64": torch.float64}
# Rows of a chunk: the activations of one chunk stay in the tens of megabytes.
_CHUNK_VALUES = 2**21
# On a CPU no product is faster for more rows, and their activations stay in its cache.
_ENOUGH_ROWS = 1024
# Where rows are short, a call for a chunk costs as much as its arithmetic unless it has so many.
_ENOUGH_VALUES = 2**17


def map_rows(
    net: AutoencoderNet,
    function: Callable[[Autoencoder, Tensor], Sequence[Tensor]],
    X: NDArray[Any],
    *,
    values_per_row: int,
) -> list[NDArray[Any]]:
    """Apply a function of (model, rows) to chunks of rows and join what it returns.

    Parameters
    ----------
    net : AutoencoderNet
        Trained.
    function : callable
        Returns tensors with one row for each row given.
    X : ndarray of shape (n_samples, n_columns)
        float32 or float64, the precision that the model runs in; or bytes, which run in float64.
    values_per_row : int
        Size of the largest intermediate result for one row, which sets the chunks' length. Where
        memory does not suffice for a chunk, half as many rows are tried, down to one.

    Returns
    -------
    list of ndarray
        One for each tensor that the function returns, in that precision.
    """
    model = net.in_precision(_TORCH_DTYPES[working_dtype(X).name])
    width = max(values_per_row, X.shape[1])
    chunk = max(1, _CHUNK_VALUES // width)
    if model.mean.device.type == "cpu":
        chunk = min(chunk, max(_ENOUGH_ROWS, _ENOUGH_VALUES // width))
    # Draws pass as rows do, and count in the values of a row.
    passes = min(chunk, len(X)) * max(1, values_per_row // model.mean.numel())
    with bounded_threads(pass_work(model, passes)):
        return _map_chunks(model, function, X, chunk)


def _map_chunks(
    model: Autoencoder,
    function: Callable[[Autoencoder, Tensor], Sequence[Tensor]],
    X: NDArray[Any],
    chunk: int,
) -> list[NDArray[Any]]:
    """Apply the function to chunks of so many rows, or of fewer where memory does not suffice."""
    dtype = working_dtype(X)
    joined: list[NDArray[Any]] = []
    start = 0
    while start < len(X):
        rows = X[start : start + chunk].astype(dtype, copy=False)
        try:
            parts = _run(model, function, rows)
        except (MemoryError, RuntimeError) as error:
            if not _is_out_of_memory(error) or len(rows) == 1:
                raise
            chunk = len(rows) // 2
            continue
        if not joined:
            joined = [np.empty((len(X), *part.shape[1:]), dtype=dtype) for part in parts]
        for whole, part in zip(joined, parts, strict=True):
            whole[start : start + len(part)] = part
        start += len(rows)
    return joined


def _run(
    model: Autoencoder,
    function: Callable[[Autoencoder, Tensor], Sequence[Tensor]],
    rows: NDArray[Any],
) -> list[NDArray[Any]]:
    """Apply the function to one chunk, in main memory again when it returns."""
    with torch.no_grad():
        found = function(model, to_tensor(rows, device=model.mean.device))
    return [part.cpu().numpy() for part in found]


def _is_out_of_memory(error: BaseException) -> bool:
    """Tell the want of memory, of which torch has no type of its own on a CPU."""
    known = isinstance(error, MemoryError | torch.cuda.OutOfMemoryError)
    return known or "not enough memory" in str(error) or "can't allocate memory" in str(error)


def working_dtype(X: NDArray[Any]) -> np.dtype[Any]:
    """Return the precision in which rows are worked on: float64 for bytes."""
    return np.dtype(np.float64) if X.dtype == np.uint8 else X.dtype


def to_tensor(X: NDArray[Any], *, device: torch.device, dtype: torch.dtype | None = None) -> Tensor:
    """Return an array as a tensor, copied only where it has to be.

    torch takes no array that runs backwards, and warns of one that must not be written to, such as
    a memory map. That is copied: a module of the user's may write to its input, and only chunks of
    rows come here. Rows as a whole, which are only read, go through ``as_rows``.
    """
    if min(X.strides, default=0) < 0:
        X = np.ascontiguousarray(X)
    if X.flags.writeable:
        return torch.as_tensor(X, dtype=dtype, device=device)
    return torch.tensor(X, dtype=dtype, device=device)
