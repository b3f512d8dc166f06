"""Inference: a trained model applied to many rows, in chunks of bounded memory."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from skvim.engine._net import AutoencoderNet
from skvim.engine._placement import as_rows
from skvim.engine._threads import bounded_threads, one_thread, pass_work
from skvim.objectives import Autoencoder

__all__ = ["encode_moments", "map_rows", "to_tensor", "working_dtype"]

Function = Callable[[Autoencoder, Tensor], Sequence[Tensor]]

_TORCH_DTYPES = {
    np.dtype(np.float32): torch.float32,
    np.dtype(np.float64): torch.float64,
}
_BYTES = np.dtype(np.uint8)
# Values of a chunk, whose activations are then tens of megabytes.
_CHUNK_VALUES = 2**21
# On a CPU no product is faster for more rows, whose activations stay in its cache, unless rows are
# so short that the call for a chunk costs as much as its arithmetic.
_ENOUGH_ROWS, _ENOUGH_VALUES = 1024, 2**17
# MKL rounds products of fewer rows in another way in each number of threads.
_FEW_PASSES = 64


def map_rows(
    net: AutoencoderNet, function: Function, X: NDArray[Any], *, values_per_row: int
) -> list[NDArray[Any]]:
    """Apply a function of (model, rows) to chunks of rows and join each tensor that it returns.

    ``X`` is float32 or float64, in which the model runs, or bytes, for which it runs in float64.
    ``values_per_row`` is the size of the largest intermediate result for one row. A chunk that does
    not fit into memory is halved, down to one row.
    """
    dtype = working_dtype(X)
    model = net.in_precision(_TORCH_DTYPES[dtype])
    device = model.mean.device
    width = max(values_per_row, X.shape[1])
    chunk = max(1, _CHUNK_VALUES // width)
    if device.type == "cpu":
        chunk = min(chunk, max(_ENOUGH_ROWS, _ENOUGH_VALUES // width))
    # A row may stand for several draws, which all pass through the model.
    n_passes = max(1, values_per_row // model.mean.numel())
    results: list[NDArray[Any]] = []
    start = 0
    with torch.no_grad():
        while start < len(X):
            rows = X[start : start + chunk].astype(dtype, copy=False)
            try:
                with _threads(model, len(rows) * n_passes):
                    tensors = function(model, to_tensor(rows, device=device))
                parts = [tensor.cpu().numpy() for tensor in tensors]
            except (MemoryError, RuntimeError) as error:
                if not _is_out_of_memory(error) or len(rows) == 1:
                    raise
                chunk = len(rows) // 2
                continue
            if not results:
                results = [np.empty((len(X), *part.shape[1:]), dtype=dtype) for part in parts]
            for result, part in zip(results, parts, strict=True):
                result[start : start + len(part)] = part
            start += len(rows)
    return results


def _threads(model: Autoencoder, n_passes: int) -> AbstractContextManager[None]:
    """Return a context with no more threads than the work has use for."""
    if torch.get_num_threads() == 1:
        return nullcontext()
    if n_passes < _FEW_PASSES:
        return one_thread()
    return bounded_threads(pass_work(model, n_passes))


def _is_out_of_memory(error: BaseException) -> bool:
    """Tell whether memory did not suffice, for which torch has no type of error on a CPU."""
    known = isinstance(error, MemoryError | torch.cuda.OutOfMemoryError)
    return known or "not enough memory" in str(error) or "can't allocate memory" in str(error)


def working_dtype(X: NDArray[Any]) -> np.dtype[Any]:
    """Return the precision in which the model runs on rows: float64 for bytes."""
    return X.dtype if X.dtype != _BYTES else np.dtype(np.float64)


def to_tensor(X: NDArray[Any], *, device: torch.device) -> Tensor:
    """Return an array as a tensor that a user's module may write to, copied if read-only."""
    rows, writeable = as_rows(X), X.flags.writeable
    return rows if writeable and device.type == "cpu" else rows.to(device, copy=not writeable)


def encode_moments(model: Autoencoder, x: Tensor) -> tuple[Tensor, Tensor]:
    """Return posterior mean and standard deviation."""
    loc, scale, _ = model.encode(x)
    return loc, torch.zeros_like(loc) if scale is None else scale
