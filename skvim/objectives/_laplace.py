"""The Laplace approximation of p(z|x) for every row: its mode and its curvature."""

import math
from typing import NamedTuple, final

import torch
from torch import Tensor

from skvim.objectives._curvature import cholesky_factor, exact_step, inexact_rows
from skvim.objectives._decoding import Decoding
from skvim.objectives._priors import Prior
from skvim.objectives._support import SupportTransform

__all__ = ["Laplace", "laplace_proposal"]

# Four suffice for most rows; corrupted ones lie far from what the encoder was trained on.
_N_STEPS = 10
# Lengths of steps that are tried where a whole one does not raise the density.
_DAMPING = (0.0, 0.5, 0.25, 0.1)
# A shorter step, in standard deviations of the approximation, is the last one.
_SHORT = 0.5
# A step that raises the density by fewer nats is the last one, too.
_GAIN = 1.0
# How often the search for the mode starts anew, from a point that is denser than the mode found by
# so many nats.
_N_RESTARTS, _DENSER = 4, 0.5
# Where the density is compared with the approximation, in its standard deviations; bounds of what
# these are multiplied by; and by how much more they are where the approximation is not exact.
_PROBE, _FACTORS, _WIDER = 2.0, (0.7, 3.0), 0.15
# Share of these distances at which densities differ by rounding alone.
_TINY = 1e-3
# Mean logarithm of factors from which on the approximation counts as not exact.
_INEXACT = 0.1
# The search starts no nearer to a bound of the prior, where slopes vanish, than this share.
_MARGIN = 0.1


class Laplace(NamedTuple):
    """An approximation of p(y|x) by a normal distribution for every row.

    Attributes
    ----------
    centre : Tensor of shape (n, n_components)
        Where log p(x, y) is largest among the points tried, but for a last step of less than half
        a standard deviation.
    factor : Tensor of shape (n, n_components, n_components)
        Lower Cholesky factor L of Λ = I/σ_p² + Jᵀ F J, σ_p² the prior's variance of y, J the
        Jacobian of y ↦ z ↦ decoder's output where the last step began and F the likelihood's Fisher
        information.
    low, high : Tensor of shape (n, n_components)
        Standard deviations below and above the centre along the columns of L⁻ᵀ, in their units:
        between 0.7 and 3.45.
    """

    centre: Tensor
    factor: Tensor
    low: Tensor
    high: Tensor


class _Points(NamedTuple):
    """Log-densities (n,) at points, Gauss–Newton steps (n, k), their lengths and the factors."""

    log_joint: Tensor
    step: Tensor
    length: Tensor
    factor: Tensor


class _Probes(NamedTuple):
    """Points (n, 4 + 2 k, k) around centres, log-densities there and at the centres (n,)."""

    points: Tensor
    log_joint: Tensor
    of_centre: Tensor


@final
class _Search:
    """Functions of codes y of rows: log p(x, y), and Gauss–Newton steps."""

    def __init__(self, decoding: Decoding, prior: Prior, transform: SupportTransform) -> None:
        self.decoding, self.prior, self.transform = decoding, prior, transform
        self.likelihood = decoding.model.likelihood

    def log_joint(self, y: Tensor, x: Tensor) -> Tensor:
        """Return log p(x, y), (n, n_codes), for codes (n, n_codes, k) and rows (n, d)."""
        log_likelihood = self.decoding.log_likelihood(x, self.transform(y))
        return log_likelihood + self.transform.log_density(self.prior, y)

    def points(self, y: Tensor, x: Tensor) -> _Points:
        """Return densities, steps and curvatures at codes (n, k)."""
        transform = self.transform
        output, jacobian = self.decoding.with_jacobian(transform(y))
        if not transform.is_identity:
            jacobian = jacobian * transform.log_derivative(y).exp().unsqueeze(-1)
        with torch.enable_grad():
            y, output = y.detach().requires_grad_(), output.detach().requires_grad_()
            log_prior = transform.log_density(self.prior, y)
            log_likelihood = self.likelihood.evaluate(x, output)
            (slope,) = torch.autograd.grad(log_likelihood.sum(), output)
            (gradient,) = torch.autograd.grad(log_prior.sum(), y)
        information = self.likelihood.information(x, output.detach(), jacobian)
        precision = 1 / transform.variances
        factor = cholesky_factor(*information, precision)
        total = gradient + (jacobian @ slope.unsqueeze(-1)).squeeze(-1)
        step = torch.cholesky_solve(total.unsqueeze(-1), factor).squeeze(-1).nan_to_num()
        i = inexact_rows(factor).nonzero().squeeze(-1)
        if len(i) > 0 and information[0] is jacobian:  # as many outputs as slopes
            parts = (jacobian[i], information[1][i], precision, slope[i], gradient[i])
            step[i] = exact_step(*parts).nan_to_num()
        gradient = total
        length = (gradient * step).sum(-1).clamp(min=0).sqrt()
        return _Points((log_prior + log_likelihood).detach(), step, length, factor)

    def moved(self, y: Tensor, at: _Points, x: Tensor) -> Tensor:
        """Return the points that steps lead to, shorter ones where a whole one does not help."""
        whole = y + at.step
        worse = ~(self.log_joint(whole.unsqueeze(1), x).squeeze(1) >= at.log_joint)  # also NaN
        i = worse.nonzero().squeeze(-1)
        if len(i) > 0:
            damping = torch.tensor(_DAMPING, dtype=x.dtype, device=x.device)
            tried = y[i].unsqueeze(1) + damping.unsqueeze(1) * at.step[i].unsqueeze(1)
            # The best of them, row by row; damping 0 keeps a row that no step improves.
            best = self.log_joint(tried, x[i]).nan_to_num(nan=-math.inf).argmax(1)
            whole[i] = tried[torch.arange(len(i), device=x.device), best]
        return whole


def laplace_proposal(
    decoding: Decoding, prior: Prior, x: Tensor, transform: SupportTransform
) -> Laplace:
    """Return the Laplace approximation of p(y|x) at a mode near the encoder's posterior mean.

    y are the codes in coordinates without bounds, y = z where the prior has none. Damped
    Gauss–Newton steps from e(x) give the centre, the curvature there the spread. In a linear
    gaussian model this is the exact posterior, wherever the encoder points and however wide it
    claims to be.

    The density two standard deviations from the centre on either side of each axis gives that of
    the half-normal that falls as far: 1 in a linear gaussian model. Where they are not 1, all are
    up to 15 % larger, since draws from a proposal that is too narrow do not show that it is. From
    one of these points that is denser than the centre the search starts anew.

    Parameters
    ----------
    decoding : Decoding
        Of a model in evaluation mode.
    prior : Prior
        p(z).
    x : Tensor of shape (n, n_features)
        Rows.
    transform : SupportTransform
        y ↦ z.

    Returns
    -------
    Laplace
        Of every row.

    Notes
    -----
    A row leaves the search after a short step, and where no step helps: what is computed for a row
    depends on it alone.

    References
    ----------
    J. Geweke, *Bayesian inference in econometric models using Monte Carlo integration*,
    Econometrica 57, 1989 (split normal importance densities).
    """
    search = _Search(decoding, prior, transform)
    centre, factor = _mode(search, transform.inverse(decoding.model.encode(x).loc, _MARGIN), x)
    probes = _probe(search, centre, factor, x)
    rows = torch.arange(len(x), device=x.device)
    for _ in range(_N_RESTARTS):
        best = probes.log_joint[rows].nan_to_num(nan=-math.inf).max(1)
        denser = best.values > probes.of_centre[rows] + _DENSER
        rows, start = rows[denser], best.indices[denser]
        if len(rows) == 0:
            break
        found = _mode(search, probes.points[rows, start], x[rows])
        new = _probe(search, *found, x[rows])
        better = new.of_centre > probes.of_centre[rows]
        rows = rows[better]
        for whole, part in zip((centre, factor, *probes), (*found, *new), strict=True):
            whole[rows] = part[better]
    return Laplace(centre, factor, *_standard_deviations(probes))


def _mode(search: _Search, centre: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    """Return where steps from a point (n, k) lead to, and the factor where the last one began."""
    at = search.points(centre, x)
    centre, factor = centre.clone(), at.factor.clone()
    rows = torch.arange(len(x), device=x.device)
    for _ in range(_N_STEPS):
        far = at.length >= _SHORT
        near = rows[~far]
        centre[near] = centre[near] + at.step[~far]
        rows, at = rows[far], _Points(*(part[far] for part in at))
        if len(rows) > 0:
            before, reached = centre[rows], at.log_joint
            centre[rows] = search.moved(before, at, x[rows])
            rows, reached = (part[(centre[rows] != before).any(-1)] for part in (rows, reached))
        if len(rows) == 0:
            break
        at = search.points(centre[rows], x[rows])
        factor[rows] = at.factor
        rising = ~(at.log_joint - reached < _GAIN)  # also NaN
        rows, at = rows[rising], _Points(*(part[rising] for part in at))
    return centre, factor


def _probe(search: _Search, centre: Tensor, factor: Tensor, x: Tensor) -> _Probes:
    """Return densities along the axes of approximations: the columns of L⁻ᵀ, L the factor.

    They are at two standard deviations below and above the centre on each axis, and, on two of
    them, at distances where they differ by rounding alone.
    """
    n, k = centre.shape
    eye = torch.eye(k, dtype=x.dtype, device=x.device).expand(n, -1, -1)
    axes = _PROBE * torch.linalg.solve_triangular(factor.mT, eye, upper=True).mT  # (n, k, k)
    ends = axes[:, [0, -1]] * _TINY
    offsets = torch.cat([torch.zeros_like(axes[:, :1]), -axes, axes, -ends, ends], 1)
    points = offsets + centre.unsqueeze(1)
    log_joint = search.log_joint(points, x)
    return _Probes(points[:, 1:], log_joint[:, 1:], log_joint[:, 0])


def _standard_deviations(probes: _Probes) -> tuple[Tensor, Tensor]:
    """Return standard deviations below and above centres along axes that were probed."""
    k = probes.points.shape[-1]
    falls = probes.of_centre.unsqueeze(1) - probes.log_joint
    fall, noise = falls[:, : 2 * k], falls[:, 2 * k :].abs().amax(1, keepdim=True)
    # Rounding leaves nothing of a fall that is small beside the densities, or beside what nearly no
    # distance makes of them: rows far larger than the noise of the model lose digits.
    largest = probes.log_joint.abs().amax(1, keepdim=True)
    rounding = 1e3 * torch.finfo(fall.dtype).eps * largest
    rounding = torch.maximum(rounding, 10 * noise)
    inexact = (2 * fall / _PROBE**2 - 1).abs() > rounding
    ratio = torch.where(inexact, _PROBE / (2 * fall.clamp(min=0)).sqrt(), 1.0)
    ratio = ratio.nan_to_num(nan=1.0).clamp(*_FACTORS)
    degree = (ratio.log().abs().mean(1, keepdim=True) / _INEXACT).clamp(max=1)
    low, high = (ratio * (1 + _WIDER * degree)).chunk(2, 1)
    return low, high
