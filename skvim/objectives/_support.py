"""Where a prior has its mass: coordinates without bounds for one with bounds."""

from typing import final

import torch
from torch import Tensor
from torch.nn import functional

from skvim.objectives._priors import Prior

__all__ = ["Chart", "is_unbounded"]

# Draws are taken for no nearer to a bound than this share of the support, or of the deviation.
_MARGIN = 1e-9
_N_DRAWS = 1000


def is_unbounded(prior: Prior) -> bool:
    """Tell whether every dimension of the prior has the real line for its support."""
    return all(bool(torch.as_tensor(bound).isinf().all()) for bound in prior.support)


@final
class Chart:
    """A map y ↦ z from the real line to the prior's support, dimension by dimension.

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
        self.identical = not self.bounded.any()
        if not self.identical:
            draws = prior.draw((_N_DRAWS, len(low)), torch.Generator().manual_seed(0), like.dtype)
            spread = self.inverse(draws.to(like.device)).var(0)
            self.variances = torch.where(self.bounded, spread, variances)

    def __call__(self, y: Tensor) -> Tensor:
        """Return z: shape (..., n_components)."""
        share = torch.where(self.both, y.sigmoid(), -functional.logsigmoid(-y))
        return torch.where(self.bounded, self.start + self.sign * self.width * share, y)

    def log_slope(self, y: Tensor) -> Tensor:
        """Return log abs(dz/dy) of every entry: shape (..., n_components)."""
        # d sigmoid = sigmoid(y) sigmoid(−y), d softplus = sigmoid(y).
        rise = functional.logsigmoid(y)
        fall = torch.where(self.both, functional.logsigmoid(-y), torch.zeros_like(y))
        return torch.where(self.bounded, self.width.log() + rise + fall, torch.zeros_like(y))

    def log_density(self, prior: Prior, y: Tensor) -> Tensor:
        """Return the log-density of y for z ~ p(z), summed over dimensions: shape (...)."""
        return (prior.log_density(self(y)) + self.log_slope(y)).sum(-1)

    def inverse(self, z: Tensor, margin: float = _MARGIN) -> Tensor:
        """Return y; codes within a margin of a bound, or beyond it, are moved to the margin."""
        share = (self.sign * (z - self.start) / self.width).clamp(min=margin)
        logit = torch.logit(share.clamp(max=1 - margin))
        y = torch.where(self.both, logit, share + (-(-share).expm1()).log())
        return torch.where(self.bounded, y, z)
