"""Pretraining of the encoder: moment matching between codes and the prior."""

from itertools import chain, repeat

import torch
from torch import Tensor, optim

from skvim.engine._batches import TensorBatches
from skvim.engine._placement import Rows
from skvim.objectives import Autoencoder, Prior

__all__ = ["pretrain_encoder"]

# Rows of a step, draws that stand for the prior, the distance that will do, and Adam's rate.
_ROWS, _DRAWS, _CLOSE, _LR = 1000, 10_000, 0.1, 1e-3


def pretrain_encoder(
    model: Autoencoder, prior: Prior, x: Rows, *, steps: int, generator: torch.Generator
) -> list[float]:
    """Take at most so many Adam steps on the encoder towards the prior's mean and covariance.

    Returns the distance at every step: squared differences of mean and covariance in units of the
    prior's standard deviations, summed and divided by the latent dimensions. The last is the first
    below 0.1. The model is in training mode, and the generator on the device of the rows.

    The reference code of the Wasserstein autoencoder averages over all entries of the covariance
    instead, and so hardly sees a wrong variance where there are many dimensions.
    """
    weights = [weight for weight in model.encoder.parameters() if weight.requires_grad]
    if not weights:
        return []
    optimizer = optim.Adam(weights, lr=_LR)
    batches = TensorBatches(x, _ROWS, min(_ROWS, len(x)), generator)
    endless = chain.from_iterable(repeat(batches))  # in a new order at every pass
    target: tuple[Tensor, Tensor] | None = None
    distances: list[float] = []
    while len(distances) < steps and not (distances and distances[-1] < _CLOSE):
        rows, _ = next(endless)
        seen = model.likelihood.inputs(rows)
        if model.corruption is not None:
            seen = model.corruption(seen, generator)
        codes = model.posterior.draw(model.encode_inputs(seen), generator)
        if target is None:
            target = _spread(prior.draw((_DRAWS, codes.shape[1]), generator, codes.dtype))
        distance = _distance(_spread(codes), target)
        optimizer.zero_grad()
        distance.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        distances.append(distance.item())
    return distances


def _spread(z: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean (k,) and covariance (k, k) of codes (n, k)."""
    mean = z.mean(0)
    centred = z - mean
    return mean, centred.T @ centred / (len(z) - 1)


def _distance(codes: tuple[Tensor, Tensor], target: tuple[Tensor, Tensor]) -> Tensor:
    """Return the distance between two means and covariances, a scalar without a unit."""
    mean, covariance = target
    unit = covariance.diagonal().sqrt()  # (k,)
    shift = ((codes[0] - mean) / unit).square().sum()
    stretch = ((codes[1] - covariance) / unit.outer(unit)).square().sum()
    return (shift + stretch) / len(mean)
