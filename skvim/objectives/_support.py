"""Supports of priors: their bounds, and a transform from the real line onto them."""

import math
from typing import Any, final

import torch
from torch import Tensor
from torch.distributions import (
    ComposeTransform,
    Distribution,
    Transform,
    TransformedDistribution,
)
from torch.nn import functional

from skvim.objectives._priors import Prior

__all__ = ["SupportTransform", "is_unbounded", "support_bounds"]

# Draws are moved away from a bound to this share of the support, or of the standard deviation.
_MARGIN = 1e-9
_N_DRAWS = 1000


def is_unbounded(prior: Prior) -> bool:
    """Tell whether every dimension of the prior has the real line for its support."""
    return all(bool(torch.as_tensor(bound).isinf().all()) for bound in prior.support)


def support_bounds(distribution: Distribution) -> tuple[Tensor, Tensor]:
    """Return lower and upper bounds of the support, each in the batch shape.

    torch gives a transformed distribution the whole range of its last transform; here the bounds
    of its base are carried through all of them.
    """
    own: Any = getattr(type(distribution), "support", None)
    if own is TransformedDistribution.support:  # of no subclass that knows its support
        low, high = support_bounds(distribution.base_dist)  # type: ignore[attr-defined]
        low, high = _image(ComposeTransform(distribution.transforms), low, high)  # type: ignore[attr-defined]
    else:
        low, high = _bounds(distribution.support)
    return low.expand(distribution.batch_shape), high.expand(distribution.batch_shape)


def _image(transform: Transform, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
    """Return the bounds of an interval's image."""
    if isinstance(transform, ComposeTransform):
        for part in transform.parts:
            low, high = _image(part, low, high)
        return low, high
    (first, last), (least, most) = _bounds(transform.domain), _bounds(transform.codomain)
    rises = torch.as_tensor(transform.sign) > 0
    # At the end of its domain a transform may return what it can represent, not the limit.
    at_low = torch.where(low <= first, torch.where(rises, least, most), transform(low))
    at_high = torch.where(high >= last, torch.where(rises, most, least), transform(high))
    return torch.minimum(at_low, at_high), torch.maximum(at_low, at_high)


def _bounds(constraint: Any) -> tuple[Tensor, Tensor]:
    """Return the bounds that a constraint of torch stands for."""
    low = getattr(constraint, "lower_bound", -math.inf)
    high = getattr(constraint, "upper_bound", math.inf)
    first, last = (torch.as_tensor(bound, dtype=torch.float64) for bound in (low, high))
    return first, last


@final
class SupportTransform:
    """Transform y ↦ z from the real line onto the prior's support, dimension by dimension.

    With bounds a and b and the prior's standard deviation s it is z = a + (b − a)/(1 + exp(−y))
    between two bounds, z = a + s log(1 + exp y) above one, z = b − s log(1 + exp y) below one, and
    z = y without.

    Parameters
    ----------
    prior : Prior
        Whose support it is.
    like : Tensor of shape (..., n_components)
        Codes, for their width, dtype and device.
    """

    def __init__(self, prior: Prior, like: Tensor) -> None:
        low, high, variances = (
            torch.as_tensor(value, dtype=like.dtype, device=like.device).expand(like.shape[-1])
            for value in (*prior.support, prior.variances)
        )
        self.below, self.above = low.isfinite(), high.isfinite()
        self.both, self.bounded = self.below & self.above, self.below | self.above
        # What each branch multiplies is finite, so that no gradient of an unused one is undefined.
        self.start = torch.where(self.below, low, high.masked_fill(~self.above, 0))
        self.width = torch.where(self.both, high - low, variances.sqrt())
        self.sign = torch.where(self.above & ~self.below, -1.0, 1.0).to(like.dtype)
        self.variances = variances
        self.is_identity = not bool(self.bounded.any())
        if not self.is_identity:
            draws = prior.draw((_N_DRAWS, len(low)), torch.Generator().manual_seed(0), like.dtype)
            sample_variances = self.inverse(draws.to(like.device)).var(0)
            self.variances = torch.where(self.bounded, sample_variances, variances)

    def __call__(self, y: Tensor) -> Tensor:
        """Return z: shape (..., n_components)."""
        if self.is_identity:
            return y
        share = torch.where(self.both, y.sigmoid(), -functional.logsigmoid(-y))
        return torch.where(self.bounded, self.start + self.sign * self.width * share, y)

    def log_derivative(self, y: Tensor) -> Tensor:
        """Return log abs(dz/dy) of every entry: shape (..., n_components)."""
        if self.is_identity:
            return torch.zeros_like(y)
        # d sigmoid = sigmoid(y) sigmoid(−y), d softplus = sigmoid(y).
        rise = functional.logsigmoid(y)
        fall = torch.where(self.both, functional.logsigmoid(-y), torch.zeros_like(y))
        return torch.where(self.bounded, self.width.log() + rise + fall, torch.zeros_like(y))

    def log_density(self, prior: Prior, y: Tensor) -> Tensor:
        """Return the log-density of y for z ~ p(z), summed over dimensions: shape (...)."""
        if self.is_identity:
            return prior.log_density(y).sum(-1)
        return (prior.log_density(self(y)) + self.log_derivative(y)).sum(-1)

    def inverse(self, z: Tensor, margin: float = _MARGIN) -> Tensor:
        """Return y; codes within a margin of a bound, or beyond it, are moved to the margin."""
        if self.is_identity:
            return z
        share = (self.sign * (z - self.start) / self.width).clamp(min=margin)
        logit = torch.logit(share.clamp(max=1 - margin))
        y = torch.where(self.both, logit, share + (-(-share).expm1()).log())
        return torch.where(self.bounded, y, z)
