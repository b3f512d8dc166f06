"""Warnings after training: posterior collapse, dead dimensions, divergences that do not fall."""

import math
from collections.abc import Sequence
from statistics import fmean, pstdev
from typing import Any, cast

import torch

from skvim.exceptions import (
    DeadDimensionsWarning,
    PosteriorCollapseWarning,
    PriorMismatchWarning,
    SkvimWarning,
)
from skvim.objectives._objective import Objective
from skvim.objectives._posteriors import Moments
from skvim.objectives._priors import Prior
from skvim.objectives._terms import Divergence

__all__ = ["concatenate", "diagnose", "rows_to_diagnose"]

# After less training, or on fewer rows, a model may be about to learn what it does not know yet.
_MIN_EPOCHS, _MIN_STEPS, _MIN_ROWS = 10, 150, 30
# Bounds of the number of rows to look at, and its share of the rows that training has seen.
_LEAST_ROWS, _MOST_ROWS, _SHARE_OF_TRAINING = 100, 4096, 0.01
# A dimension with fewer nats carries nothing about rows. Up to this share of such dimensions is in
# order: a rate prunes some.
_MIN_NATS, _DEAD_SHARE = 0.1, 0.5
# Variance below which codes are constant: relative to the prior's variance, to the widest
# dimension's, and absolute (rows as the encoder sees them have unit variance).
_OF_PRIOR, _OF_WIDEST, _OF_ROWS = 1e-2, 1e-4, 1e-6
# "Far from the prior" are codes with this share of its standard deviation. A divergence below a
# fifth of theirs is small, and one that lost less than a tenth does not fall.
_NARROW, _SMALL, _FALLEN = 0.1, 0.2, 0.9


def rows_to_diagnose(history: Any, n_rows: int) -> int:
    """Return how many rows to diagnose in 1 % of the time of training, or 0 if it was too short."""
    if len(history) < _MIN_EPOCHS or n_rows < _MIN_ROWS:
        return 0
    if sum(history[:, "train_batch_count"]) < _MIN_STEPS:
        return 0
    affordable = int(_SHARE_OF_TRAINING * n_rows * len(history))
    return min(_MOST_ROWS, max(_LEAST_ROWS, affordable))


def concatenate(parts: Sequence[Moments]) -> Moments:
    """Return the posteriors of several chunks of rows as one."""
    scales = [part.scale for part in parts if part.scale is not None]
    loc = torch.cat([part.loc for part in parts])
    return Moments(loc, torch.cat(scales) if scales else None, parts[0].base)


def diagnose(
    objective: Objective, q: Moments, history: Any, generator: torch.Generator
) -> list[SkvimWarning]:
    """Return warnings, each with a remedy, given the posteriors of training rows."""
    warnings = [_check_dimensions(q, objective.prior)]
    if objective.prior is not None:
        for weight, term in zip(objective.weights, objective.settings, strict=True):
            if weight > 0 and isinstance(term, Divergence) and term.should_decrease:
                values = cast("list[float]", history[:, f"train_{term.name}"])
                warnings.append(_check_decrease(term, values, q, objective.prior, generator))
    return [warning for warning in warnings if warning is not None]


def _check_dimensions(q: Moments, prior: Prior | None) -> SkvimWarning | None:
    """Warn if no dimension, or less than half of them, tells rows apart."""
    variance = q.loc.var(0, correction=0)  # (k,)
    if prior is not None:
        dead = variance < _OF_PRIOR * torch.as_tensor(prior.variances, device=variance.device)
    elif q.scale is None:
        dead = variance < (_OF_WIDEST * variance.max()).clamp(min=_OF_ROWS)
    else:
        dead = torch.ones_like(variance, dtype=torch.bool)
    collapsed = bool(dead.all())
    if q.scale is not None:
        # Rate of a Gaussian channel with this signal and noise.
        power = variance + q.scale.square().mean(0)
        uninformed = 0.5 * power.log() - q.scale.log().mean(0) < _MIN_NATS
        dead, collapsed = dead & uninformed, bool(uninformed.all())
    n_dead, n_components = int(dead.sum()), len(variance)
    if collapsed:
        return PosteriorCollapseWarning(_COLLAPSE.format(n_components=n_components))
    if n_dead <= _DEAD_SHARE * n_components:
        return None
    return DeadDimensionsWarning(
        _DEAD.format(n_dead=n_dead, n_components=n_components, enough=n_components - n_dead)
    )


def _check_decrease(
    term: Divergence, values: Sequence[float], q: Moments, prior: Prior, generator: torch.Generator
) -> SkvimWarning | None:
    """Warn if a divergence is not small, nor lower in the last quarter than in the second."""
    # Quarters of the epochs: in the first, codes are still finding their scale, and critics theirs.
    quarter = len(values) // 4
    early, late = values[quarter : 2 * quarter], values[-quarter:]
    level = fmean(late) - pstdev(late)
    if level <= max(0.0, _FALLEN * fmean(early)):
        return None
    if level <= _SMALL * _narrow_divergence(term, q, prior, generator):
        return None
    return PriorMismatchWarning(
        _MISMATCH.format(name=term.name, late=fmean(late), early=fmean(early))
    )


def _narrow_divergence(
    term: Divergence, q: Moments, prior: Prior, generator: torch.Generator
) -> float:
    """Return the divergence of codes that hardly leave the prior's centre."""
    if term.adversarial:
        # Its critic has not learned such codes. KL(N(0, s²) ‖ N(0, 1)) at this share s is on the
        # scale of its nats; of one dimension, as critics are smooth and see little of the others.
        return 0.5 * (_NARROW**2 - 1) - math.log(_NARROW)
    shape = (max(_LEAST_ROWS, term.min_rows), q.loc.shape[1])
    loc = torch.zeros_like(q.loc[:1]) + torch.as_tensor(prior.centre).to(q.loc)
    scale = _NARROW * torch.as_tensor(prior.variances).to(q.loc).sqrt()
    loc, scale = loc.expand(shape), scale.expand(shape)
    z = torch.addcmul(loc, scale, q.base.draw(shape, generator, q.loc.dtype))
    narrow = Moments(loc, None if q.scale is None else scale, q.base)
    return float(term(narrow, z, prior, generator))


_COLLAPSE = (
    "The posterior has collapsed: none of {n_components} latent dimensions tells rows apart (each "
    "carries below 0.1 nats, or has codes that are all the same). Give the divergence or penalty "
    "a smaller weight (beta, lam, gamma); use likelihood='gaussian', whose variance is learned, or "
    "a Gaussian of smaller variance; or let the rate set in slowly (warmup)."
)
_DEAD = (
    "{n_dead} of {n_components} latent dimensions are dead: they carry below 0.1 nats about the "
    "rows, or codes that are all the same. n_components={enough} would do; this may be ignored "
    "where a rate is meant to prune dimensions. To use more of them, give the divergence or "
    "penalty a smaller weight (beta, lam, gamma)."
)
_MISMATCH = (
    "The divergence of the codes from the prior does not fall: {name} is {late:.3g} in the last "
    "quarter of the epochs and was {early:.3g} in the second. Samples will not look like the data. "
    "Give it a greater weight (lam), or use a smaller lr, a larger batch_size or more epochs."
)
