"""Importance sampling with a Laplace proposal for each row, and log-means of weights."""

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.func import grad, jacrev, vjp, vmap

from skvim.objectives._autoencoder import Autoencoder
from skvim.objectives._priors import Prior
from skvim.objectives._support import SupportTransform

# Few suffice on clean rows; corrupted ones lie far from what the encoder was trained on.
_N_STEPS = 4
_DAMPING = (0.0, 1.0, 0.5, 0.25, 0.1)
# The search starts no nearer to a bound of the prior, where slopes vanish, than this share.
_MARGIN = 0.1

__all__ = [
    "LogMean",
    "cholesky_factor",
    "importance_draws",
    "importance_log_weights",
    "laplace_proposal",
    "log_mean",
]


class LogMean(NamedTuple):
    """The logarithm of a mean of independent weights, for every row.

    Attributes
    ----------
    value : Tensor of shape (n,)
        log mean_j w_j.
    error : Tensor of shape (n,)
        Its standard error by the delta method, that of mean_j w_j over mean_j w_j: NaN for one
        weight, and never above 1, which heavy tails would exceed.
    effective : Tensor of shape (n,)
        (Σ w_j)²/Σ w_j², between 1 and the number of weights.
    relative : Tensor of shape (n, n_weights)
        w_j over their mean.
    """

    value: Tensor
    error: Tensor
    effective: Tensor
    relative: Tensor


def log_mean(log_weights: Tensor) -> LogMean:
    """Return the logarithm of the mean of weights along the last axis, with its error.

    Parameters
    ----------
    log_weights : Tensor of shape (n, n_weights)
        log w_j, independent of one another within a row.

    Returns
    -------
    LogMean
        In nats.

    Examples
    --------
    >>> import torch
    >>> from skvim.objectives import log_mean
    >>> mean = log_mean(torch.tensor([[1.0, 3.0]]).log())
    >>> mean.value.exp(), mean.error, mean.effective
    (tensor([2.]), tensor([0.5000]), tensor([1.6000]))
    """
    n_weights = log_weights.shape[-1]
    value = log_weights.logsumexp(-1) - math.log(n_weights)
    relative = (log_weights - value.unsqueeze(-1)).exp()
    # In tensors, one weight gives 0/0, NaN.
    degrees = value.new_tensor(n_weights * (n_weights - 1.0))
    error = ((relative - 1).square().sum(-1) / degrees).sqrt()
    return LogMean(value, error, n_weights / relative.square().mean(-1), relative)


def laplace_proposal(
    model: Autoencoder, prior: Prior, x: Tensor, transform: SupportTransform
) -> tuple[Tensor, Tensor]:
    """Return the Laplace approximation of p(y|x) at the mode near the encoder's posterior mean.

    y are the codes in coordinates without bounds, y = z where the prior has none. Damped
    Gauss–Newton steps from e(x) give the centre, the curvature there the spread. In a linear
    gaussian model this is the exact posterior, wherever the encoder points and however wide it
    claims to be.

    Parameters
    ----------
    model : Autoencoder
        In evaluation mode.
    prior : Prior
        p(z).
    x : Tensor of shape (n, n_features)
        Rows.
    transform : SupportTransform
        y ↦ z.

    Returns
    -------
    centre : Tensor of shape (n, n_components)
        Where log p(x, y) is largest among the points tried.
    factor : Tensor of shape (n, n_components, n_components)
        Lower Cholesky factor of Λ = I/σ_p² + Jᵀ F J, σ_p² the prior's variance of y, J the Jacobian
        of y ↦ z ↦ decoder's output at the centre and F the likelihood's Fisher information.
    """

    def log_joint(y: Tensor, row: Tensor) -> Tensor:
        likelihood: Tensor = model.likelihood(row, model.decode(transform(y)))
        return likelihood + transform.log_density(prior, y)

    def slopes(y: Tensor, row: Tensor) -> tuple[Tensor, Tensor]:
        z = transform(y)
        jacobian = transposed_jacobian(model, z) * transform.log_derivative(y).exp().unsqueeze(-1)
        return model.likelihood.information(row, model.decode(z), jacobian)  # (k, d), (d,)

    centre = transform.inverse(model.encode(x).loc, _MARGIN)
    factor = cholesky_factor(*vmap(slopes)(centre, x), 1 / transform.variances)
    for _ in range(_N_STEPS if transform.is_identity else 2 * _N_STEPS):
        gradient = vmap(grad(log_joint))(centre, x)
        step = torch.cholesky_solve(gradient.unsqueeze(-1), factor).squeeze(-1)
        damping = torch.tensor(_DAMPING, dtype=x.dtype, device=x.device)
        tried = centre + damping.view(-1, 1, 1) * step.nan_to_num()  # (n_damping, n, k)
        # The best of them, row by row; damping 0 keeps a row that no step improves.
        best = log_joint(tried, x).nan_to_num(nan=-math.inf).argmax(0)
        centre = tried[best, torch.arange(len(x), device=x.device)]
        factor = cholesky_factor(*vmap(slopes)(centre, x), 1 / transform.variances)
    return centre, factor


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
    diagonal = factor.diagonal(dim1=-2, dim2=-1)
    least = torch.finfo(factor.dtype).eps ** (1 / 3) * diagonal.amax(-1)
    inexact = (failures > 0) | ~(diagonal.amin(-1) > least)  # also NaN
    if not bool(inexact.any()):
        return factor
    # With A = (J √F, diag(√precision)), the products are A Aᵀ. Where Aᵀ = Q R, they are Rᵀ R; and R
    # is as exact as A, whose condition number is the root of that of the products.
    roots = precision.sqrt().diag().expand(len(jacobian), -1, -1)
    joined = torch.cat([jacobian * fisher.sqrt().unsqueeze(-2), roots], -1)
    upper = torch.linalg.qr(joined.mT, mode="r").R
    signs = upper.diagonal(dim1=-2, dim2=-1).sign().unsqueeze(-1)
    mended: Tensor = torch.where(inexact.view(-1, 1, 1), (signs * upper).mT, factor)
    return mended


def importance_log_weights(model: Autoencoder, prior: Prior, x: Tensor, noise: Tensor) -> Tensor:
    """Return the log-weights of importance sampling, in nats; weights have mean p(x).

    Parameters and distributions are those of :func:`importance_draws`.

    Returns
    -------
    Tensor of shape (n, n_draws)
        log p(x|z_j) p(z_j)/r(z_j|x).
    """
    return importance_draws(model, prior, x, noise)[1]


def importance_draws(
    model: Autoencoder, prior: Prior, x: Tensor, noise: Tensor
) -> tuple[Tensor, Tensor]:
    """Return codes drawn from a proposal for every row, and their log-weights for p(z|x).

    Parameters
    ----------
    model : Autoencoder
        In evaluation mode, in the precision of ``x``.
    prior : Prior
        p(z).
    x : Tensor of shape (n, n_features)
        Rows.
    noise : Tensor of shape (n_draws, n_components)
        Standard normal draws shared by all rows, so that a row's estimate does not depend on the
        others.

    Returns
    -------
    codes : Tensor of shape (n, n_draws, n_components)
        z_j ~ r, the Laplace proposal: gaussian in coordinates without bounds, so that no draw
        leaves the prior's support.
    log_weights : Tensor of shape (n, n_draws)
        log p(x|z_j) p(z_j)/r(z_j|x) in nats.
    """
    transform = SupportTransform(prior, noise)
    centre, factor = laplace_proposal(model, prior, x, transform)
    n_components = noise.shape[-1]
    # Λ = L Lᵀ, so L⁻ᵀ ε has covariance Λ⁻¹.
    spread = torch.linalg.solve_triangular(factor.mT, noise.T, upper=True)  # (n, k, n_draws)
    y = centre.unsqueeze(1) + spread.mT  # (n, n_draws, k)
    log_proposal = (
        factor.diagonal(dim1=-2, dim2=-1).log().sum(-1, keepdim=True)  # (n, 1)
        - 0.5 * noise.square().sum(-1)  # (n_draws,)
        - 0.5 * n_components * math.log(2 * math.pi)
    )
    codes = transform(y)
    log_likelihood = model.likelihood(x.unsqueeze(1), model.decode(codes))  # (n, n_draws)
    log_weights: Tensor = log_likelihood + transform.log_density(prior, y) - log_proposal
    return codes, log_weights


def transposed_jacobian(model: Autoencoder, z: Tensor) -> Tensor:
    """Return the decoder's Jacobian at one code, transposed: shape (n_components, n_outputs).

    The pull-back u ↦ Jᵀu is linear in u, so differentiating it gives Jᵀ in as many reverse passes
    as there are latent dimensions. Forward mode would do too, but torch's is not safe in threads.
    """
    output, pull_back = vjp(model.decode, z)  # type: ignore[misc]  # two, without has_aux
    jacobian: Tensor = jacrev(lambda u: pull_back(u)[0])(torch.zeros_like(output))
    return jacobian
