"""Estimates of information from codes: q(z) as the mixture of the rows' posteriors."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from skvim.objectives._divergences import rates
from skvim.objectives._posteriors import Moments
from skvim.objectives._priors import Prior

__all__ = [
    "Estimate",
    "InformationEstimates",
    "count_active_units",
    "effective_rank",
    "estimate_information",
    "mixture_log_density",
]

# Entries of a block of pairs times dimensions: a few such blocks stay in a core's own cache.
_BLOCK_VALUES = 2**17
# Beside a draw's own posterior this adds nothing, and numbers too small to be normal are slow.
_NEGLIGIBLE = -600.0


class Estimate(NamedTuple):
    """A mean over rows.

    Attributes
    ----------
    value : float
        The mean, in nats per row.
    error : float or None
        Its standard error; None for an infinite mean, and for one row.
    """

    value: float
    error: float | None


class InformationEstimates(NamedTuple):
    """Estimates of the information in codes that have a density, in nats per row.

    Attributes
    ----------
    mutual_information : Estimate
        I(X; Z), between 0 and log n.
    total_correlation : float
        KL(q(z) ‖ Π q(z_j)).
    rate : Estimate or None
        E KL(q(z|x) ‖ p(z)); None without a prior, like the two that follow.
    aggregated_kl : Estimate or None
        KL(q(z) ‖ p(z)) = rate − mutual information.
    marginal_kl : Tensor of shape (n_components,) or None
        KL(q(z_j) ‖ p(z_j)).
    """

    mutual_information: Estimate
    total_correlation: float
    rate: Estimate | None = None
    aggregated_kl: Estimate | None = None
    marginal_kl: Tensor | None = None


def estimate_information(q: Moments, z: Tensor, prior: Prior | None) -> InformationEstimates:
    """Estimate mutual information, rate, aggregated and marginal KL and total correlation.

    Parameters
    ----------
    q : Moments
        Posteriors of n rows, with a spread.
    z : Tensor of shape (n, n_components)
        One draw from each.
    prior : Prior or None
        p(z); None for a model without one.

    Returns
    -------
    InformationEstimates
        Rate = mutual information + aggregated KL, and aggregated KL = total correlation + sum of
        the marginal KLs wherever these are finite, up to rounding.

    Raises
    ------
    ValueError
        For point masses, which have no density.

    Notes
    -----
    The mixture q_n(z) = 1/n Σ_j q(z|x_j), each row's own posterior included, stands for q(z):

    - I ≈ mean_i log q(z_i|x_i) − log q_n(z_i). No summand exceeds log n. For the n rows as they are
      the estimate is without bias; for the population that they come from it is too low, and the
      aggregated KL too high by as much, because KL is convex.
    - KL(q(z) ‖ p(z)) ≈ mean_i log q_n(z_i) − log p(z_i), likewise in every dimension.

    The rate is known without draws, and so the difference between it and its own estimate from
    them, of mean zero, serves as control variate: its share a in [0, 1], which takes most variance
    out of the first estimate, goes to that one and the share 1 − a to the second. It is 0 where I
    has reached log n and 1 where q(z) = p(z); either estimate is then free of noise.
    """
    n_rows = len(z)
    own = q.log_density(z).sum(-1)  # (n,)
    joint, marginals = mixture_log_density(q, z)  # (n,), (n, k)
    information = own - joint
    correlation = (joint - marginals.sum(-1)).mean()
    if prior is None:
        bounded = _estimate(_bounded(information, n_rows))
        return InformationEstimates(bounded, float(correlation))
    every_rate = torch.cat([rates(part, prior) for part in _parts(q)])  # (n, k)
    rate = every_rate.sum(-1)
    log_prior = prior.log_density(z)  # (n, k)
    marginal_kl = (marginals - log_prior).mean(0)
    # I of a dimension is finite: where its rate is infinite, so is its KL, whatever the draws say.
    marginal_kl = torch.where(every_rate.mean(0).isinf(), math.inf, marginal_kl)
    residual = rate - (own - log_prior.sum(-1))
    information = _bounded(information + _control(information, residual), n_rows)
    aggregated = _estimate(rate - information)
    if math.isfinite(aggregated.value):
        correlation = aggregated.value - marginal_kl.sum()
    return InformationEstimates(
        mutual_information=_estimate(information),
        total_correlation=float(correlation),
        rate=_estimate(rate),
        aggregated_kl=aggregated,
        marginal_kl=marginal_kl,
    )


def mixture_log_density(q: Moments, z: Tensor) -> tuple[Tensor, Tensor]:
    """Return the log-density of codes under the mixture of all posteriors, and of each dimension.

    Parameters
    ----------
    q : Moments
        Posteriors of n rows, with a spread.
    z : Tensor of shape (n, n_components)
        One draw from each.

    Returns
    -------
    joint : Tensor of shape (n,)
        log 1/n Σ_j q(z_i|x_j), in nats.
    marginals : Tensor of shape (n, n_components)
        log 1/n Σ_j q(z_ik|x_j) of every dimension k, in nats.

    Notes
    -----
    n² pairs are visited in blocks: memory beyond that of the codes does not grow with n.
    """
    if q.scale is None:
        raise ValueError("A mixture of posteriors without a spread has no density.")
    n_rows, n_components = z.shape
    size = max(1, min(n_rows, _BLOCK_VALUES // n_components))
    height = max(1, _BLOCK_VALUES // (n_components * size))
    precision = 1 / q.scale
    log_volume = q.scale.log().sum(-1)  # (n,)
    ones = z.new_ones(n_components)
    joint = torch.full_like(log_volume, -math.inf)
    sums = torch.zeros_like(z)
    for top in range(0, n_rows, height):
        i = slice(top, top + height)
        for left in range(0, n_rows, size):
            j = slice(left, left + size)
            # (height, size, k), without the volume, so that the exponentials serve both results.
            density = q.base.log_density((z[i, None] - q.loc[j]).mul_(precision[j]))
            pairs = density @ ones - log_volume[j]
            joint[i] = torch.logaddexp(joint[i], pairs.logsumexp(1))
            density.clamp_(min=_NEGLIGIBLE)
            sums[i] += density.exp_().mul_(precision[j]).sum(1)
    # In one dimension a draw's own posterior keeps the sum above zero.
    return joint - math.log(n_rows), sums.log() - math.log(n_rows)


def effective_rank(codes: Tensor) -> float | None:
    """Return exp of the entropy of the normalised eigenvalues of the codes' covariance.

    Parameters
    ----------
    codes : Tensor of shape (n_samples, n_components)
        Posterior means.

    Returns
    -------
    float or None
        Between 1 and n_components: as many equal and uncorrelated dimensions have the same
        entropy. None for codes that are all the same.

    References
    ----------
    O. Roy and M. Vetterli, *The effective rank: A measure of effective dimensionality*, EUSIPCO
    2007; the matrix is the covariance, whose singular values are its eigenvalues.

    Examples
    --------
    >>> import torch
    >>> from skvim.objectives import effective_rank
    >>> square = torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])
    >>> round(effective_rank(square), 4), round(effective_rank(square[:2]), 4)
    (2.0, 1.0)
    """
    centred = codes - codes.mean(0)
    # torch sums n values in blocks, so that means err by about log2(n) ε at most, below 64 ε.
    rounding = (64 * torch.finfo(codes.dtype).eps) ** 2 * codes.square().sum()
    if not bool(centred.square().sum() > rounding):
        return None
    share = torch.linalg.eigvalsh(centred.T @ centred).clamp(min=0)  # (k,)
    share = share / share.sum()
    return float(torch.special.entr(share).sum().exp())


def count_active_units(codes: Tensor, threshold: Tensor | float = 0.01) -> int:
    """Return the number of latent dimensions whose posterior mean varies over the rows.

    Parameters
    ----------
    codes : Tensor of shape (n_samples, n_components)
        Posterior means.
    threshold : Tensor of shape () or (n_components,) or float, default=0.01
        Variance above which a dimension is active; the default suits a prior of variance 1.

    Returns
    -------
    int
        Between 0 and n_components: dimensions with ``Var_x(E[z_j | x]) > threshold``, the variance
        being that of the given rows, divided by their number.

    References
    ----------
    Y. Burda, R. Grosse and R. Salakhutdinov, *Importance weighted autoencoders*, ICLR 2016,
    arXiv:1509.00519, section 4.2.

    Examples
    --------
    >>> import torch
    >>> from skvim.objectives import count_active_units
    >>> count_active_units(torch.tensor([[1.0, 0.01, 5.0], [-1.0, 0.02, 5.0]]))
    1
    """
    return int((codes.var(0, correction=0) > threshold).sum())


def _control(estimate: Tensor, residual: Tensor) -> Tensor | float:
    """Return a residual of mean zero times the share in [0, 1] that reduces variance most."""
    centred = residual - residual.mean()
    variance = centred.square().mean()
    if not bool(residual.isfinite().all()) or not bool(variance > 0):
        return 0.0
    return (-(centred * estimate).mean() / variance).clamp(0, 1) * residual


def _parts(q: Moments) -> list[Moments]:
    """Split posteriors into few rows each: quadrature needs a hundred values for every entry."""
    if q.scale is None:
        return [q]
    size = max(1, _BLOCK_VALUES // (16 * q.loc.shape[1]))
    pairs = zip(torch.split(q.loc, size), torch.split(q.scale, size), strict=True)
    return [Moments(loc, scale, q.base) for loc, scale in pairs]


def _bounded(information: Tensor, n_rows: int) -> Tensor:
    """Shift rows' information so that its mean is between 0 and log n, as the truth is."""
    mean = information.mean()
    return information + (mean.clamp(0, math.log(n_rows)) - mean)


def _estimate(values: Tensor) -> Estimate:
    """Return the mean of rows and its standard error."""
    value = float(values.mean())
    if len(values) < 2 or not math.isfinite(value):
        return Estimate(value, None)
    return Estimate(value, float(values.std()) / math.sqrt(len(values)))
