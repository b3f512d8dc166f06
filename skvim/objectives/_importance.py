"""Log-likelihood by importance sampling with a proposal fitted to each row."""

import math

import torch
from torch import Tensor
from torch.func import grad, jacrev, vjp, vmap

from skvim.objectives._model import Autoencoder
from skvim.objectives._priors import Prior

# Few suffice on clean rows; corrupted ones lie far from what the encoder was trained on.
_N_STEPS = 4
_DAMPING = (0.0, 1.0, 0.5, 0.25, 0.1)

__all__ = ["importance_log_likelihood", "laplace_proposal"]


def laplace_proposal(model: Autoencoder, prior: Prior, x: Tensor) -> tuple[Tensor, Tensor]:
    """Return the gaussian approximation of p(z|x) at the mode near the encoder's posterior mean.

    Damped Gauss–Newton steps from e(x) give the centre, the curvature there the spread. In a
    linear gaussian model this is the exact posterior, wherever the encoder points and however wide
    it claims to be.

    Parameters
    ----------
    model : Autoencoder
        In evaluation mode.
    prior : Prior
        p(z).
    x : Tensor of shape (n, n_features)
        Rows.

    Returns
    -------
    centre : Tensor of shape (n, n_components)
        Where log p(x, z) is largest among the points tried.
    factor : Tensor of shape (n, n_components, n_components)
        Lower Cholesky factor of Λ = I/σ_p² + Jᵀ F J, J the decoder's Jacobian at the centre and F
        the likelihood's Fisher information.
    """

    def log_joint(z: Tensor, row: Tensor) -> Tensor:
        density: Tensor = model.likelihood(row, model.decode(z)) + prior.log_density(z).sum(-1)
        return density

    def curvature(z: Tensor) -> Tensor:
        jacobian = transposed_jacobian(model, z)  # (k, n_features)
        fisher = model.likelihood.precision(model.decode(z))  # (n_features,)
        identity = torch.eye(len(z), dtype=z.dtype, device=z.device)
        precision: Tensor = identity / prior.variance
        return precision + (jacobian * fisher) @ jacobian.T

    centre = model.encode(x).loc
    factor = torch.linalg.cholesky(vmap(curvature)(centre))
    for _ in range(_N_STEPS):
        gradient = vmap(grad(log_joint))(centre, x)
        step = torch.cholesky_solve(gradient.unsqueeze(-1), factor).squeeze(-1)
        damping = torch.tensor(_DAMPING, dtype=x.dtype, device=x.device)
        tried = centre + damping.view(-1, 1, 1) * step  # (n_damping, n, k)
        # The best of them, row by row; damping 0 keeps a row that no step improves.
        best = log_joint(tried, x).argmax(0)
        centre = tried[best, torch.arange(len(x), device=x.device)]
        factor = torch.linalg.cholesky(vmap(curvature)(centre))
    return centre, factor


def importance_log_likelihood(model: Autoencoder, prior: Prior, x: Tensor, noise: Tensor) -> Tensor:
    """Return an estimate of log p(x) for every row, in nats.

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
    Tensor of shape (n,)
        log mean_j p(x|z_j) p(z_j)/r(z_j|x) with z_j ~ r, the Laplace proposal.
    """
    centre, factor = laplace_proposal(model, prior, x)
    n_draws, n_components = noise.shape
    # Λ = L Lᵀ, so L⁻ᵀ ε has covariance Λ⁻¹.
    spread = torch.linalg.solve_triangular(factor.mT, noise.T, upper=True)  # (n, k, n_draws)
    z = centre.unsqueeze(1) + spread.mT  # (n, n_draws, k)
    log_proposal = (
        factor.diagonal(dim1=-2, dim2=-1).log().sum(-1, keepdim=True)  # (n, 1)
        - 0.5 * noise.square().sum(-1)  # (n_draws,)
        - 0.5 * n_components * math.log(2 * math.pi)
    )
    log_likelihood = model.likelihood(x.unsqueeze(1), model.decode(z))  # (n, n_draws)
    log_weights = log_likelihood + prior.log_density(z).sum(-1) - log_proposal
    estimate: Tensor = log_weights.logsumexp(-1) - math.log(n_draws)
    return estimate


def transposed_jacobian(model: Autoencoder, z: Tensor) -> Tensor:
    """Return the decoder's Jacobian at one code, transposed: shape (n_components, n_features).

    The pull-back u ↦ Jᵀu is linear in u, so differentiating it gives Jᵀ in as many reverse passes
    as there are latent dimensions. Forward mode would do too, but torch's is not safe in threads.
    """
    output, pull_back = vjp(model.decode, z)  # type: ignore[misc]  # two, without has_aux
    jacobian: Tensor = jacrev(lambda u: pull_back(u)[0])(torch.zeros_like(output))
    return jacobian
