"""Kullback–Leibler divergences between one-dimensional densities, as functions on tensors."""

import math
from collections.abc import Callable
from functools import lru_cache

import torch
from torch import Tensor

__all__ = ["gauss_hermite", "normal_kl", "quadrature_kl"]


def normal_kl(loc: Tensor, scale: Tensor, prior_scale: float) -> Tensor:
    """Return KL(N(loc, scale²) ‖ N(0, prior_scale²)) of every entry, in nats.

    Parameters
    ----------
    loc, scale : Tensor
        Means and standard deviations, of one shape.
    prior_scale : float
        Standard deviation of the prior.

    Returns
    -------
    Tensor
        ½ (σ²/s² + μ²/s² − 1) − log(σ/s), in the shape of ``loc``.
    """
    ratio = scale / prior_scale
    return 0.5 * (ratio.square() + (loc / prior_scale).square() - 1) - ratio.log()


def quadrature_kl(
    loc: Tensor, scale: Tensor, log_density: Callable[[Tensor], Tensor], n_nodes: int = 64
) -> Tensor:
    """Return KL(N(loc, scale²) ‖ p) of every entry by Gauss–Hermite quadrature, in nats.

    Parameters
    ----------
    loc, scale : Tensor
        Means and standard deviations, of one shape.
    log_density : callable
        log p, entry by entry. For the standard logistic 64 nodes give 1e-6 up to a standard
        deviation of 3, and 16 nodes 1e-9 up to 1.
    n_nodes : int, default=64
        Number of nodes.

    Returns
    -------
    Tensor
        −H(q) − E_q[log p], in the shape of ``loc``.
    """
    nodes, weights = gauss_hermite(n_nodes)
    nodes, weights = nodes.to(loc), weights.to(loc)
    z = loc.unsqueeze(-1) + scale.unsqueeze(-1) * nodes  # (..., n_nodes)
    cross_entropy = -(log_density(z) * weights).sum(-1)  # (...)
    return cross_entropy - scale.log() - 0.5 * math.log(2 * math.pi * math.e)


@lru_cache(maxsize=8)
def gauss_hermite(n_nodes: int) -> tuple[Tensor, Tensor]:
    """Return nodes and weights with E[f(ε)] ≈ Σ w f(node) for ε ~ N(0, 1), in float64.

    The eigenvalues of the Hermite polynomials' Jacobi matrix (Golub and Welsch, 1969).
    """
    off_diagonal = torch.arange(1, n_nodes, dtype=torch.float64).sqrt()
    jacobi = torch.diag(off_diagonal, 1) + torch.diag(off_diagonal, -1)
    nodes, vectors = torch.linalg.eigh(jacobi)
    return nodes, vectors[0].square()
