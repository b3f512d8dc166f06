"""Last pass over training rows: the likelihood's optimum, and a diagnosis of the codes."""

import math
from collections.abc import Iterator, Sequence
from typing import Any, cast

import torch
from torch import Tensor

from skvim.engine._placement import Rows
from skvim.engine._streams import Streams
from skvim.exceptions import SkvimWarning
from skvim.networks import BatchNormEncoder
from skvim.objectives import Autoencoder, Moments, Objective
from skvim.objectives._diagnosis import concatenate, diagnose, rows_to_diagnose

__all__ = ["diagnose_training", "fit_likelihood", "is_finite"]

# Rows of the pass, which give the mean error to a per cent in a fraction of an epoch's time: at
# least and, where a feature is often missing, at most; and values of a chunk of them.
_ROWS, _MOST_ROWS, _CHUNK_VALUES = 4096, 2**16, 2**22
# Rows whose codes and reconstructions have to be finite.
_CHECKED_ROWS = 100


def fit_likelihood(model: Autoencoder, x: Rows, streams: Streams) -> Moments | None:
    """Set what the likelihood learns to its optimum for some rows; return their posteriors."""
    standardised = isinstance(model.encoder, BatchNormEncoder)
    if not (model.likelihood.learns or standardised):
        return None
    share = model.likelihood.bound().least_observed
    n_rows = _ROWS if share == 1 else min(_MOST_ROWS, math.ceil(_ROWS / max(share, 1e-6)))
    if len(x) > n_rows:
        order = torch.randperm(len(x), generator=streams.shuffle, device=x.device)
        x = x.select(order[:n_rows])
    codes, errors = [], []
    with torch.no_grad():
        if standardised:  # by these rows instead of running averages of batches
            encoder = cast("BatchNormEncoder", model.encoder)
            inputs = (model.likelihood.inputs(rows) for rows in _chunks(x))
            parts = [encoder.encoder(model.standardise(part)) for part in inputs]
            encoder.calibrate(torch.cat(parts))
        for rows in _chunks(x):
            codes.append(model.encode(rows))
            z = model.posterior.draw(codes[-1], streams.noise)
            errors.append(model.likelihood.error(rows, model.decode(z)))
        model.likelihood.settle(torch.cat(errors), x.shape[1])
    return concatenate(codes)


def is_finite(model: Autoencoder, tensors: Sequence[Tensor], x: Rows) -> bool:
    """Tell whether tensors, and codes and reconstructions of some rows, are finite.

    The losses do not show it: they are computed before the last step.
    """
    if len(x) > _CHECKED_ROWS:
        x = x.select(torch.arange(_CHECKED_ROWS, device=x.device))
    with torch.no_grad():
        rows = next(_chunks(x))
        loc, scale, _ = model.encode(rows)
        found = [*tensors, loc, model.likelihood.mean(model.decode(loc))]
        found += [] if scale is None else [scale]
        sums = torch.stack([tensor.sum(dtype=torch.float32) for tensor in found])
    return bool(sums.isfinite().all())


def diagnose_training(
    model: Autoencoder,
    objective: Objective,
    history: Any,
    x: Rows,
    q: Moments | None,
    generator: torch.Generator,
) -> list[SkvimWarning]:
    """Check history and posteriors, which are computed for some rows if ``q`` is None."""
    n_rows = rows_to_diagnose(history, len(x))
    if n_rows == 0:
        return []
    with torch.no_grad():
        if q is None:
            if n_rows < len(x):
                index = torch.randint(len(x), (n_rows,), generator=generator, device=x.device)
                x = x.select(index)
            q = concatenate([model.encode(rows) for rows in _chunks(x)])
        return diagnose(objective, q, history, generator)


def _chunks(x: Rows) -> Iterator[Tensor]:
    """Yield rows in float32 on the model's device, as many at a time as memory allows."""
    return x.split(max(1, _CHUNK_VALUES // x.shape[1]))
