"""Last pass over training rows: the likelihood's optimum, and a diagnosis of the codes."""

from collections.abc import Iterator
from typing import Any, cast

import torch
from torch import Tensor

from skvim.engine._placement import Rows
from skvim.engine._streams import Streams
from skvim.exceptions import SkvimWarning
from skvim.networks import BatchNormEncoder
from skvim.objectives import Autoencoder, Moments, Objective
from skvim.objectives._diagnosis import concatenate, diagnose, rows_to_diagnose

__all__ = ["diagnose_training", "fit_likelihood"]

# Rows of the pass, which give the mean error to a per cent in a fraction of an epoch's time, and
# values of a chunk of them.
_ROWS, _CHUNK_VALUES = 4096, 2**22


def fit_likelihood(model: Autoencoder, x: Rows, streams: Streams) -> Moments | None:
    """Set what the likelihood learns to its optimum for some rows; return their posteriors."""
    standardised = isinstance(model.encoder, BatchNormEncoder)
    if not (model.likelihood.learns or standardised):
        return None
    if len(x) > _ROWS:
        order = torch.randperm(len(x), generator=streams.shuffle, device=x.device)
        x = x.select(order[:_ROWS])
    codes, errors = [], []
    with torch.no_grad():
        if standardised:  # by these rows instead of running averages of batches
            encoder = cast("BatchNormEncoder", model.encoder)
            parts = [encoder.encoder(model.standardise(rows)) for rows in _chunks(x)]
            encoder.calibrate(torch.cat(parts))
        for rows in _chunks(x):
            codes.append(model.encode(rows))
            z = model.posterior.draw(codes[-1], streams.noise)
            errors.append(model.likelihood.error(rows, model.decode(z)))
        model.likelihood.settle(torch.cat(errors), x.shape[1])
    return concatenate(codes)


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
