"""After training: whether codes tell rows apart, use their dimensions and approach the prior."""

import math
from collections.abc import Sequence
from statistics import fmean, pstdev
from typing import Any, cast

import torch
from torch import Tensor

from skvim.exceptions import (
    DeadDimensionsWarning,
    PosteriorCollapseWarning,
    PriorMismatchWarning,
    SkvimWarning,
)
from skvim.objectives import Divergence, Moments, Objective, Prior

__all__ = ["diagnose", "joined", "rows_to_diagnose", "some_rows"]

# Less training, or fewer rows, and a model may be about to learn what it does not know yet.
_MIN_EPOCHS, _MIN_STEPS, _MIN_ROWS = 10, 150, 30
# Rows to look at: some, not many, and a hundredth of what training has seen in between.
_LEAST_ROWS, _MOST_ROWS, _SHARE_OF_TRAINING = 100, 4096, 0.01
# Nats below which a dimension says nothing of the rows, and more than this share of dimensions:
# a rate prunes some of them in fits that are in order.
_NOTHING = 0.1
_DEAD_SHARE = 0.5
# Variance of codes below which they are all the same: in units of the prior's variance, of the
# widest dimension's, and of the rows as the encoder sees them.
_OF_PRIOR, _OF_WIDEST, _OF_ROWS = 1e-2, 1e-4, 1e-6
# Codes at rest, with this share of the prior's spread, are what "far from the prior" means; a
# divergence below a fifth of theirs is small, and one that lost less than a tenth does not fall.
_REST, _SMALL, _FALLEN = 0.1, 0.2, 0.9


def rows_to_diagnose(history: Any, n_rows: int) -> int:
    """Return how many training rows :func:`diagnose` should see; 0 after too little training.

    Parameters
    ----------
    history : skorch.history.History
        Record of the training.
    n_rows : int
        Number of training rows.

    Returns
    -------
    int
        Few enough for 1 % of the time of training, and at most 4096.
    """
    n_epochs = len(history)
    if n_epochs < _MIN_EPOCHS or n_rows < _MIN_ROWS:
        return 0
    if sum(history[:, "train_batch_count"]) < _MIN_STEPS:
        return 0
    affordable = int(_SHARE_OF_TRAINING * n_rows * n_epochs)
    return min(_MOST_ROWS, max(_LEAST_ROWS, affordable))


def some_rows(n_rows: int, n_wanted: int, generator: torch.Generator) -> Tensor | slice:
    """Return an index of ``n_wanted`` rows drawn with replacement, or of all if there are fewer."""
    if n_rows <= n_wanted:
        return slice(None)
    return torch.randint(n_rows, (n_wanted,), generator=generator, device=generator.device)


def joined(parts: Sequence[Moments]) -> Moments:
    """Return the posteriors of several chunks of rows as one."""
    scales = [part.scale for part in parts if part.scale is not None]
    loc = torch.cat([part.loc for part in parts])
    return Moments(loc, torch.cat(scales) if scales else None, parts[0].base)


def diagnose(
    objective: Objective, q: Moments, history: Any, generator: torch.Generator
) -> list[SkvimWarning]:
    """Return a warning for each thing that went wrong in training, with a remedy.

    Parameters
    ----------
    objective : Objective
        What was minimised.
    q : Moments
        Posteriors of training rows.
    history : skorch.history.History
        Record of the training.
    generator : torch.Generator
        Source of every random number used.

    Returns
    -------
    list of SkvimWarning
        Collapse or dead dimensions, and divergences from the prior that do not fall; mostly none.
    """
    found = [_idle_dimensions(q, objective.prior)]
    if objective.prior is not None:
        for weight, term in zip(objective.weights, objective.settings, strict=True):
            if weight > 0 and isinstance(term, Divergence) and term.should_decrease:
                values = cast("list[float]", history[:, f"train_{term.name}"])
                found.append(_rising(term, values, q, objective.prior, generator))
    return [warning for warning in found if warning is not None]


def _idle_dimensions(q: Moments, prior: Prior | None) -> SkvimWarning | None:
    """Warn if no dimension, or only the lesser part of them, tells rows apart."""
    variance = q.loc.var(0, correction=0)  # (k,)
    if prior is not None:
        idle = variance < _OF_PRIOR * torch.as_tensor(prior.variances, device=variance.device)
    elif q.scale is None:
        idle = variance < (_OF_WIDEST * variance.max()).clamp(min=_OF_ROWS)
    else:
        idle = torch.ones_like(variance, dtype=torch.bool)
    collapsed = bool(idle.all())
    if q.scale is not None:
        # What a gaussian channel of this signal and noise transmits.
        power = variance + q.scale.square().mean(0)
        uninformed = 0.5 * power.log() - q.scale.log().mean(0) < _NOTHING
        idle, collapsed = idle & uninformed, bool(uninformed.all())
    n_idle, n_components = int(idle.sum()), len(variance)
    if collapsed:
        return PosteriorCollapseWarning(_COLLAPSE.format(n_components=n_components))
    if n_idle <= _DEAD_SHARE * n_components:
        return None
    return DeadDimensionsWarning(
        _DEAD.format(n_idle=n_idle, n_components=n_components, enough=n_components - n_idle)
    )


def _rising(
    term: Divergence,
    values: Sequence[float],
    q: Moments,
    prior: Prior,
    generator: torch.Generator,
) -> SkvimWarning | None:
    """Warn if a divergence neither falls nor is small.

    The last quarter of the epochs is compared with the second: in the first, codes are still
    finding their scale, and critics theirs.
    """
    quarter = len(values) // 4
    early, late = values[quarter : 2 * quarter], values[-quarter:]
    level = fmean(late) - pstdev(late)
    if level <= max(0.0, _FALLEN * fmean(early)):
        return None
    if level <= _SMALL * _at_rest(term, q, prior, generator):
        return None
    return PriorMismatchWarning(
        _MISMATCH.format(name=term.name, late=fmean(late), early=fmean(early))
    )


def _at_rest(term: Divergence, q: Moments, prior: Prior, generator: torch.Generator) -> float:
    """Return the divergence of codes that hardly leave the prior's centre."""
    if term.adversarial:
        # Its critic knows other codes only. KL(N(0, s²) ‖ N(0, 1)) at this share s is on the scale
        # of its nats; of one dimension, as critics are smooth and see little of the others.
        return 0.5 * (_REST**2 - 1) - math.log(_REST)
    shape = (max(_LEAST_ROWS, term.min_rows), q.loc.shape[1])
    loc = torch.zeros_like(q.loc[:1]) + torch.as_tensor(prior.centre).to(q.loc)
    scale = _REST * torch.as_tensor(prior.variances).to(q.loc).sqrt()
    loc, scale = loc.expand(shape), scale.expand(shape)
    z = torch.addcmul(loc, scale, q.base.draw(shape, generator, q.loc.dtype))
    at_rest = Moments(loc, None if q.scale is None else scale, q.base)
    return float(term(at_rest, z, prior, generator))


_COLLAPSE = (
    "The posterior has collapsed: none of {n_components} latent dimensions tells rows apart (each "
    "carries below 0.1 nats, or has codes that are all the same). Give the divergence or penalty "
    "a smaller weight (beta, lam, gamma); use likelihood='gaussian', whose variance is learned, or "
    "a Gaussian of smaller variance; or let the rate set in slowly (warmup)."
)
_DEAD = (
    "{n_idle} of {n_components} latent dimensions are dead: they carry below 0.1 nats about the "
    "rows, or codes that are all the same. n_components={enough} would do; this may be ignored "
    "where a rate is meant to prune dimensions. To use more of them, give the divergence or "
    "penalty a smaller weight (beta, lam, gamma)."
)
_MISMATCH = (
    "The divergence of the codes from the prior does not fall: {name} is {late:.3g} in the last "
    "quarter of the epochs and was {early:.3g} in the second. Samples will not look like the data. "
    "Give it a greater weight (lam), or use a smaller lr, a larger batch_size or more epochs."
)
