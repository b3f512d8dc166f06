"""One-dimensional distributions of torch: quantiles, draws, integrals and supports.

torch's own draws come from its global generator; these do not.
"""

import math
from collections.abc import Callable
from typing import Any, TypeGuard

import torch
from torch import Tensor
from torch.distributions import (
    ComposeTransform,
    Distribution,
    Independent,
    MixtureSameFamily,
    StudentT,
    Transform,
    TransformedDistribution,
)

from skvim.objectives._kl import gauss_legendre

__all__ = ["LEAST", "draw_student", "integrate", "quantile", "support"]

Bounds = tuple[Tensor, Tensor]

#: Quantiles are asked from here to as far below 1: the last number there in float64.
LEAST = 2.0**-53
_N_STEPS = 64
_N_PIECES = 512
_N_NODES = 16
_TAIL = (1e-12, 1e-9)


def quantile(distribution: Distribution, bounds: Bounds, u: Tensor) -> Tensor:
    """Return Q(u), by bisection where the distribution has ``cdf`` but no ``icdf``.

    Parameters
    ----------
    distribution : Distribution
        Of batch shape () or (k,), in float64, with its arguments unchecked.
    bounds : (Tensor, Tensor)
        Its support, in its batch shape.
    u : Tensor of shape (..., k)
        In (0, 1).

    Returns
    -------
    Tensor of shape (..., k)
        To 2⁻⁶⁴ of a bracket around it.

    Raises
    ------
    NotImplementedError
        When it has neither.
    """
    try:
        found: Tensor = distribution.icdf(u)
    except NotImplementedError:
        found = _bisected(distribution, bounds, u)
    return found


def _bisected(distribution: Distribution, bounds: Bounds, u: Tensor) -> Tensor:
    """Return Q(u) from the distribution function alone."""

    def share(z: Tensor) -> Tensor:
        below: Tensor = distribution.cdf(z)
        return below

    share(torch.zeros_like(u))  # NotImplementedError comes before anything else
    lower, upper = (bound.to(u).expand(u.shape) for bound in bounds)
    low = torch.where(lower.isfinite(), lower, (upper - 1).clamp(max=-1))
    high = torch.where(upper.isfinite(), upper, (lower + 1).clamp(min=1))
    # A thousand doublings span all numbers; those of a finite variance need far fewer.
    for _ in range(1000):
        too_high, too_low = (share(low) > u) & lower.isinf(), (share(high) < u) & upper.isinf()
        if not (too_high | too_low).any():
            break
        reach = high - low
        low = torch.where(too_high, low - reach, low)
        high = torch.where(too_low, high + reach, high)
    for _ in range(_N_STEPS):
        middle = 0.5 * (low + high)
        below = share(middle) < u
        low, high = torch.where(below, middle, low), torch.where(below, high, middle)
    return 0.5 * (low + high)


def draw_student(
    distribution: StudentT, shape: tuple[int, ...], generator: torch.Generator
) -> Tensor:
    """Draw from Student's t, loc + scale · ε/√(χ²/ν), on the device of the generator."""
    df, loc, scale = distribution.df, distribution.loc, distribution.scale
    noise = torch.randn(shape, generator=generator, dtype=df.dtype, device=generator.device)
    half = (0.5 * df).expand(shape).contiguous()
    squares = 2 * torch._standard_gamma(half, generator=generator)
    return loc + scale * noise * (df / squares).sqrt()


def integrate(
    distribution: Distribution, bounds: Bounds, function: Callable[[Tensor], Tensor]
) -> Tensor:
    """Return E f(z) = ∫ f(Q(u)) du for every dimension, or ∞ where the variance is infinite.

    Parameters
    ----------
    distribution : Distribution
        Of batch shape () or (k,), in float64.
    bounds : (Tensor, Tensor)
        Its support, in its batch shape.
    function : callable
        f, entry by entry, of at most quadratic growth.

    Returns
    -------
    Tensor of shape () or (k,)
        ∫ p(z) f(z) dz between 512 quantiles, from the 2⁻⁵³-quantile on, by a Gauss–Legendre rule of
        16 nodes from each to the next. Quantiles follow the mass wherever it lies, at any scale.
    """
    reach = -math.log(LEAST)
    levels = torch.special.expit(torch.linspace(-reach, reach, _N_PIECES + 1, dtype=torch.float64))
    u = _column(levels.clamp(LEAST, 1 - LEAST), distribution)
    ends = quantile(distribution, bounds, u)
    nodes, weights = (_column(rule, distribution) for rule in gauss_legendre(_N_NODES))
    widths = ends.diff(dim=0)
    z = ends[:-1] + nodes.unsqueeze(1) * widths  # (n_nodes, n_pieces) or (n_nodes, n_pieces, k)
    masses = weights.unsqueeze(1) * widths * distribution.log_prob(z).exp()
    # Where there is no mass, f may be infinite.
    products = torch.where(masses > 0, masses * function(z), 0.0)
    mean = products.sum((0, 1)) / masses.sum((0, 1))
    return torch.where(_tail_index(distribution, bounds) > 2, mean, math.inf)


def _column(values: Tensor, distribution: Distribution) -> Tensor:
    """Return values of shape (n,) repeated for every dimension: (n,) or (n, k)."""
    shape = distribution.batch_shape
    return values.view(-1, *[1] * len(shape)).expand(-1, *shape)


def _tail_index(distribution: Distribution, bounds: Bounds) -> Tensor:
    """Return α of the heavier tail, P(abs(z) > r) ~ r^−α, for every dimension; ∞ for light ones."""
    ends = [*_TAIL, 0.5, *(1 - u for u in _TAIL)]
    u = _column(torch.tensor(ends, dtype=torch.float64), distribution)
    distances = (quantile(distribution, bounds, u) - quantile(distribution, bounds, u[2])).abs()
    growth = torch.maximum(distances[0] / distances[1], distances[3] / distances[4]).log()
    return math.log(_TAIL[1] / _TAIL[0]) / growth.clamp(min=0)


def support(distribution: Distribution) -> Bounds:
    """Return lower and upper bounds of the support, each in the batch shape.

    torch gives a transformed distribution the whole range of its last transform; here the bounds
    of its base are carried through all of them.
    """
    if isinstance(distribution, MixtureSameFamily):
        low, high = support(distribution.component_distribution)
        low, high = low.amin(-1), high.amax(-1)
    elif isinstance(distribution, Independent):
        low, high = support(distribution.base_dist)
    elif _takes_support_from_transforms(distribution):
        low, high = support(distribution.base_dist)
        for transform in distribution.transforms:
            low, high = _carried(transform, low, high)
    else:
        low, high = _bounds(distribution.support)
    return low.expand(distribution.batch_shape), high.expand(distribution.batch_shape)


def _takes_support_from_transforms(
    distribution: Distribution,
) -> TypeGuard[TransformedDistribution]:
    """Tell whether it is transformed and of no subclass that knows its support."""
    own: Any = getattr(type(distribution), "support", None)
    return own is TransformedDistribution.support


def _carried(transform: Transform, low: Tensor, high: Tensor) -> Bounds:
    """Return the bounds of an interval's image."""
    if isinstance(transform, ComposeTransform):
        for part in transform.parts:
            low, high = _carried(part, low, high)
        return low, high
    first, last = _bounds(transform.domain)
    least, most = _bounds(transform.codomain)
    rises = torch.as_tensor(transform.sign) > 0
    # At the end of its domain a transform may return what it can represent, not the limit.
    at_low = torch.where(low <= first, torch.where(rises, least, most), transform(low))
    at_high = torch.where(high >= last, torch.where(rises, most, least), transform(high))
    return torch.minimum(at_low, at_high), torch.maximum(at_low, at_high)


def _bounds(constraint: Any) -> Bounds:
    """Return the bounds that a constraint of torch stands for."""
    while hasattr(constraint, "base_constraint"):
        constraint = constraint.base_constraint
    low = getattr(constraint, "lower_bound", -math.inf)
    high = getattr(constraint, "upper_bound", math.inf)
    first, last = (torch.as_tensor(bound, dtype=torch.float64) for bound in (low, high))
    return first, last
