"""The Laplace approximation of p(z|x) for every row: its mode and its curvature."""

import math
from typing import NamedTuple, final

import torch
from torch import Tensor

from skvim.objectives._decoding import Decoding
from skvim.objectives._priors import Prior
from skvim.objectives._support import SupportTransform

__all__ = ["cholesky_factor", "laplace_proposal", "standard_deviations"]

# Few suffice on clean rows; corrupted ones lie far from what the encoder was trained on.
_N_STEPS = 4
# Lengths of steps that are tried where a whole one does not raise the density.
_DAMPING = (0.0, 0.5, 0.25, 0.1)
# A shorter step, in standard deviations of the approximation, is the last one.
_SHORT = 0.1
# Where the density is compared with the approximation, in its standard deviations; bounds of what
# these are multiplied by; and by how much more they are where the approximation is not exact.
_PROBE, _FACTORS, _WIDER = 2.0, (0.7, 3.0), 0.15
# Share of these distances at which densities differ by rounding alone.
_TINY = 1e-3
# Mean logarithm of factors from which on the approximation counts as not exact.
_INEXACT = 0.1
# The search starts no nearer to a bound of the prior, where slopes vanish, than this share.
_MARGIN = 0.1


class _Points(NamedTuple):
    """Log-densities (n,) at points, Gauss–Newton steps (n, k), their lengths and the factors."""

    log_joint: Tensor
    step: Tensor
    length: Tensor
    factor: Tensor


@final
class _Search:
    """Functions of codes y of rows: log p(x, y), and Gauss–Newton steps."""

    def __init__(self, decoding: Decoding, prior: Prior, transform: SupportTransform) -> None:
        self.decoding, self.prior, self.transform = decoding, prior, transform
        self.likelihood = decoding.model.likelihood

    def log_joint(self, y: Tensor, x: Tensor) -> Tensor:
        """Return log p(x, y) for codes (..., n, k) and rows (n, d)."""
        likelihood: Tensor = self.likelihood(x, self.decoding(self.transform(y)))
        return likelihood + self.transform.log_density(self.prior, y)

    def points(self, y: Tensor, x: Tensor) -> _Points:
        """Return densities, steps and curvatures at codes (n, k)."""
        transform = self.transform
        output, jacobian = self.decoding.with_jacobian(transform(y))
        jacobian = jacobian * transform.log_derivative(y).exp().unsqueeze(-1)
        with torch.enable_grad():
            y, output = y.detach().requires_grad_(), output.detach().requires_grad_()
            log_prior = transform.log_density(self.prior, y)
            log_likelihood = self.likelihood(x, output)
            (slope,) = torch.autograd.grad(log_likelihood.sum(), output)
            (gradient,) = torch.autograd.grad(log_prior.sum(), y)
        information = self.likelihood.information(x, output.detach(), jacobian)
        precision = 1 / transform.variances
        factor = cholesky_factor(*information, precision)
        total = gradient + (jacobian @ slope.unsqueeze(-1)).squeeze(-1)
        step = torch.cholesky_solve(total.unsqueeze(-1), factor).squeeze(-1).nan_to_num()
        i = _inexact_rows(factor).nonzero().squeeze(-1)
        if len(i) > 0 and information[0] is jacobian:  # as many outputs as slopes
            parts = (jacobian[i], information[1][i], precision, slope[i], gradient[i])
            step[i] = exact_step(*parts).nan_to_num()
        gradient = total
        length = (gradient * step).sum(-1).clamp(min=0).sqrt()
        return _Points((log_prior + log_likelihood).detach(), step, length, factor)

    def moved(self, y: Tensor, at: _Points, x: Tensor) -> Tensor:
        """Return the points that steps lead to, shorter ones where a whole one does not help."""
        whole = y + at.step
        worse = ~(self.log_joint(whole, x) >= at.log_joint)  # also NaN
        i = worse.nonzero().squeeze(-1)
        if len(i) > 0:
            damping = torch.tensor(_DAMPING, dtype=x.dtype, device=x.device)
            tried = y[i] + damping.view(-1, 1, 1) * at.step[i]  # (n_damping, n, k)
            # The best of them, row by row; damping 0 keeps a row that no step improves.
            best = self.log_joint(tried, x[i]).nan_to_num(nan=-math.inf).argmax(0)
            whole[i] = tried[best, torch.arange(len(i), device=x.device)]
        return whole


def laplace_proposal(
    decoding: Decoding, prior: Prior, x: Tensor, transform: SupportTransform
) -> tuple[Tensor, Tensor]:
    """Return the Laplace approximation of p(y|x) at the mode near the encoder's posterior mean.

    y are the codes in coordinates without bounds, y = z where the prior has none. Damped
    Gauss–Newton steps from e(x) give the centre, the curvature there the spread. In a linear
    gaussian model this is the exact posterior, wherever the encoder points and however wide it
    claims to be.

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
    centre : Tensor of shape (n, n_components)
        Where log p(x, y) is largest among the points tried, but for a last step of less than a
        tenth of a standard deviation.
    factor : Tensor of shape (n, n_components, n_components)
        Lower Cholesky factor of Λ = I/σ_p² + Jᵀ F J, σ_p² the prior's variance of y, J the Jacobian
        of y ↦ z ↦ decoder's output where the last step began and F the likelihood's Fisher
        information.

    Notes
    -----
    A row leaves the search after a short step, and where no step helps: what is computed for a row
    depends on it alone.
    """
    search = _Search(decoding, prior, transform)
    centre = transform.inverse(decoding.model.encode(x).loc, _MARGIN)
    at = search.points(centre, x)
    factor = at.factor.clone()
    rows = torch.arange(len(x), device=x.device)
    for _ in range(_N_STEPS if transform.is_identity else 2 * _N_STEPS):
        far = at.length >= _SHORT
        near = rows[~far]
        centre[near] = centre[near] + at.step[~far]
        rows, at = rows[far], _Points(*(part[far] for part in at))
        if len(rows) > 0:
            before = centre[rows]
            centre[rows] = search.moved(before, at, x[rows])
            rows = rows[(centre[rows] != before).any(-1)]
        if len(rows) == 0:
            break
        at = search.points(centre[rows], x[rows])
        factor[rows] = at.factor
    return centre, factor


def standard_deviations(
    decoding: Decoding,
    prior: Prior,
    x: Tensor,
    transform: SupportTransform,
    centre: Tensor,
    factor: Tensor,
) -> tuple[Tensor, Tensor]:
    """Return standard deviations below and above the centre along the axes of an approximation.

    The axes are the columns of L⁻ᵀ, L the factor. The density two standard deviations from the
    centre on either side gives that of the half-normal that falls as far: 1 in a linear gaussian
    model. Where they are not 1, all are up to 15 % larger, since draws from a proposal that is too
    narrow do not show that it is.

    Parameters
    ----------
    decoding, prior, x, transform
        As in :func:`laplace_proposal`.
    centre, factor : Tensor of shape (n, n_components), (n, n_components, n_components)
        Its results.

    Returns
    -------
    low, high : Tensor of shape (n, n_components)
        Between 0.7 and 3.45.

    References
    ----------
    J. Geweke, *Bayesian inference in econometric models using Monte Carlo integration*,
    Econometrica 57, 1989 (split normal importance densities).
    """
    n, k = centre.shape
    eye = torch.eye(k, dtype=x.dtype, device=x.device).expand(n, -1, -1)
    axes = _PROBE * torch.linalg.solve_triangular(factor.mT, eye, upper=True).mT  # (n, k, k)
    ends = axes[:, [0, -1]] * _TINY
    offsets = torch.cat([torch.zeros_like(axes[:, :1]), -axes, axes, -ends, ends], 1)
    points = offsets + centre.unsqueeze(1)
    log_joint = _Search(decoding, prior, transform).log_joint(points, x.unsqueeze(1))
    falls = log_joint[:, :1] - log_joint[:, 1:]
    fall, noise = falls[:, : 2 * k], falls[:, 2 * k :].abs().amax(1, keepdim=True)
    # Rounding leaves nothing of a fall that is small beside the densities, or beside what nearly no
    # distance makes of them: rows far larger than the noise of the model lose digits.
    rounding = 1e3 * torch.finfo(x.dtype).eps * log_joint.abs().amax(1, keepdim=True)
    rounding = torch.maximum(rounding, 10 * noise)
    inexact = (2 * fall / _PROBE**2 - 1).abs() > rounding
    ratio = torch.where(inexact, _PROBE / (2 * fall.clamp(min=0)).sqrt(), 1.0)
    ratio = ratio.nan_to_num(nan=1.0).clamp(*_FACTORS)
    degree = (ratio.log().abs().mean(1, keepdim=True) / _INEXACT).clamp(max=1)
    low, high = (ratio * (1 + _WIDER * degree)).chunk(2, 1)
    return low, high


def cholesky_factor(jacobian: Tensor, fisher: Tensor, precision: Tensor) -> Tensor:
    """Return the Cholesky factor of diag(precision) + J F Jᵀ, also for small precisions.

    Parameters
    ----------
    jacobian : Tensor of shape (n, n_components, n_features)
        J of every row.
    fisher : Tensor of shape (n, n_features)
        Diagonal of F.
    precision : Tensor of shape (n_components,)
        Positive.

    Returns
    -------
    Tensor of shape (n, n_components, n_components)
        Lower triangular, with a positive diagonal.
    """
    products = torch.diag(precision) + (jacobian * fisher.unsqueeze(-2)) @ jacobian.mT
    factor: Tensor
    factor, failures = torch.linalg.cholesky_ex(products)
    inexact = (failures > 0) | _inexact_rows(factor)
    if not bool(inexact.any()):
        return factor
    # The products are A Aᵀ. Where Aᵀ = Q R, they are Rᵀ R; and R is as exact as A, whose condition
    # number is the root of that of the products.
    upper = torch.linalg.qr(_root(jacobian, fisher, precision).mT, mode="r").R
    signs = upper.diagonal(dim1=-2, dim2=-1).sign().unsqueeze(-1)
    mended: Tensor = torch.where(inexact.view(-1, 1, 1), (signs * upper).mT, factor)
    return mended


def exact_step(
    jacobian: Tensor, fisher: Tensor, precision: Tensor, slope: Tensor, prior_slope: Tensor
) -> Tensor:
    """Return (diag(precision) + J F Jᵀ)⁻¹ (J s + s_p), where the matrix is nearly singular.

    Parameters
    ----------
    jacobian : Tensor of shape (n, n_components, n_features)
        J of every row.
    fisher : Tensor of shape (n, n_features)
        Diagonal of F.
    precision : Tensor of shape (n_components,)
        Positive.
    slope : Tensor of shape (n, n_features)
        Derivative s of the log-likelihood by the decoder's output.
    prior_slope : Tensor of shape (n, n_components)
        Derivative s_p of the log-density of codes.

    Returns
    -------
    Tensor of shape (n, n_components)
        With A = (J √F, diag(√precision)) it is the least-squares solution of Aᵀ t = b for
        b = (s/√F, s_p/√precision), which QR finds with the condition of A, not with its square.
    """
    roots = fisher.sqrt()
    weighted = torch.where(roots > 0, slope / roots, 0.0)
    target = torch.cat([weighted, prior_slope / precision.sqrt()], -1)
    q, upper = torch.linalg.qr(_root(jacobian, fisher, precision).mT)
    projected = q.mT @ target.unsqueeze(-1)
    step: Tensor = torch.linalg.solve_triangular(upper, projected, upper=True).squeeze(-1)
    return step


def _root(jacobian: Tensor, fisher: Tensor, precision: Tensor) -> Tensor:
    """Return A = (J √F, diag(√precision)), for which A Aᵀ = diag(precision) + J F Jᵀ."""
    own = precision.sqrt().diag().expand(len(jacobian), -1, -1)
    return torch.cat([jacobian * fisher.sqrt().unsqueeze(-2), own], -1)


def _inexact_rows(factor: Tensor) -> Tensor:
    """Return for which rows a Cholesky factor is of a nearly singular matrix, also for NaN."""
    diagonal = factor.diagonal(dim1=-2, dim2=-1)
    least = torch.finfo(factor.dtype).eps ** (1 / 3) * diagonal.amax(-1)
    inexact: Tensor = ~(diagonal.amin(-1) > least)
    return inexact
