"""Running a trained model over many rows, in chunks of bounded memory."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from skvim.engine._net import AutoencoderNet
from skvim.objectives import Autoencoder

__all__ = ["map_rows", "to_tensor"]

_TORCH_DTYPES = {"float32": torch.float32, "float64": torch.float64}
# Rows of a chunk: the activations of one chunk stay in the tens of megabytes.
_CHUNK_VALUES = 2**21


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
        float32 or float64: the precision that the model runs in.
    values_per_row : int
        Size of the largest intermediate result for one row, which sets the chunks' length.

    Returns
    -------
    list of ndarray
        One for each tensor that the function returns, in the dtype of ``X``.
    """
    model = net.in_precision(_TORCH_DTYPES[X.dtype.name])
    device = model.mean.device
    chunk = max(1, _CHUNK_VALUES // max(values_per_row, X.shape[1]))
    joined: list[NDArray[Any]] = []
    for start in range(0, len(X), chunk):
        with torch.no_grad():
            parts = function(model, to_tensor(X[start : start + chunk], device=device))
        if not joined:
            joined = [np.empty((len(X), *part.shape[1:]), dtype=X.dtype) for part in parts]
        for whole, part in zip(joined, parts, strict=True):
            whole[start : start + len(part)] = part.cpu().numpy()
    return joined


def to_tensor(X: NDArray[Any], *, device: torch.device, dtype: torch.dtype | None = None) -> Tensor:
    """Return an array as a tensor, copied only where it has to be.

    torch warns of arrays that must not be written to, such as joblib's memory maps, and takes none
    that runs backwards.
    """
    if min(X.strides, default=0) < 0:
        X = np.ascontiguousarray(X)
    if X.flags.writeable:
        return torch.as_tensor(X, dtype=dtype, device=device)
    return torch.tensor(X, dtype=dtype, device=device)
