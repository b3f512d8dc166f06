"""Curvatures of log-densities of codes: Gauss–Newton matrices, their factors and steps."""

import torch
from torch import Tensor

__all__ = ["cholesky_factor", "exact_step", "inexact_rows"]


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
    inexact = (failures > 0) | inexact_rows(factor)
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


def inexact_rows(factor: Tensor) -> Tensor:
    """Return for which rows a Cholesky factor is of a nearly singular matrix, also for NaN."""
    diagonal = factor.diagonal(dim1=-2, dim2=-1)
    least = torch.finfo(factor.dtype).eps ** (1 / 3) * diagonal.amax(-1)
    inexact: Tensor = ~(diagonal.amin(-1) > least)
    return inexact
