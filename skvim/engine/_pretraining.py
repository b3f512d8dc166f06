"""Before training: codes brought to the prior's mean and covariance."""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor, optim

from skvim.engine._batches import TensorBatches
from skvim.engine._placement import TrainingRows
from skvim.objectives import Autoencoder, Prior

__all__ = ["pretrain_encoder"]

# Rows of a step, draws that stand for the prior, and the distance that will do.
_ROWS = 1000
_DRAWS = 10_000
_CLOSE = 0.1
_LR = 1e-3


class _Spread(NamedTuple):
    """Mean (k,) and covariance (k, k) of a sample."""

    mean: Tensor
    covariance: Tensor


def pretrain_encoder(
    model: Autoencoder, prior: Prior, x: TrainingRows, *, steps: int, generator: torch.Generator
) -> list[float]:
    """Take Adam steps on the encoder alone towards codes with the prior's mean and covariance.

    Parameters
    ----------
    model : Autoencoder
        In training mode.
    prior : Prior
        Where codes should lie; draws of it say its mean and covariance.
    x : Tensor of shape (n_samples, n_features), or HeldRows
        Rows, at least two.
    steps : int
        Most steps to take, each on 1000 rows or a few more, or on all where there are fewer.
    generator : torch.Generator
        Source of every random number used, on the device of ``x``.

    Returns
    -------
    list of float
        The distance at every step: squared differences of mean and covariance in units of the
        prior's standard deviations, summed and divided by the latent dimensions. The step below
        0.1 is the last. Empty for an encoder without weights to train.

    Notes
    -----
    The reference code of the Wasserstein autoencoder averages over all entries of the covariance
    instead, and so hardly sees a wrong variance where there are many dimensions.
    """
    weights = [weight for weight in model.encoder.parameters() if weight.requires_grad]
    if not weights:
        return []
    optimizer = optim.Adam(weights, lr=_LR)
    rows = _rows(x, generator)
    target: _Spread | None = None
    distances: list[float] = []
    while len(distances) < steps and not (distances and distances[-1] < _CLOSE):
        codes = _codes(model, next(rows), generator)
        if target is None:
            target = _spread(prior.draw((_DRAWS, codes.shape[1]), generator, codes.dtype))
        distance = _distance(_spread(codes), target)
        optimizer.zero_grad()
        distance.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        distances.append(distance.item())
    return distances


def _rows(x: TrainingRows, generator: torch.Generator) -> Iterator[Tensor]:
    """Yield batches of rows without end, in a fresh order at every pass."""
    batches = TensorBatches(x, _ROWS, min(_ROWS, len(x)), generator)
    while True:
        for batch, _ in batches:
            yield batch


def _codes(model: Autoencoder, x: Tensor, generator: torch.Generator) -> Tensor:
    """Draw codes of rows as the encoder sees them in training."""
    seen = x if model.corruption is None else model.corruption(x, generator)
    return model.posterior.draw(model.encode(seen), generator)


def _spread(z: Tensor) -> _Spread:
    """Measure codes of shape (n, k)."""
    mean = z.mean(0)
    centred = z - mean
    return _Spread(mean, centred.T @ centred / (len(z) - 1))


def _distance(found: _Spread, target: _Spread) -> Tensor:
    """Return the distance between two samples, a scalar without a unit."""
    unit = target.covariance.diagonal().sqrt()  # (k,)
    shift = ((found.mean - target.mean) / unit).square().sum()
    stretch = ((found.covariance - target.covariance) / unit.outer(unit)).square().sum()
    return (shift + stretch) / len(target.mean)
