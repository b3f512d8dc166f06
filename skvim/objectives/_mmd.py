"""Maximum mean discrepancy between two samples, as functions on tensors."""

from collections.abc import Callable

import torch
from torch import Tensor

__all__ = ["imq_kernel", "rbf_kernel", "squared_distances", "unbiased_mmd"]


def squared_distances(a: Tensor, b: Tensor) -> Tensor:
    """Return ‖a_i − b_j‖² of shape (n, m) for rows (n, k) and (m, k), never negative."""
    norms = a.square().sum(-1).unsqueeze(1) + b.square().sum(-1)  # (n, m)
    # cdist's gradient is undefined at distance zero, which a row has to itself.
    return torch.addmm(norms, a, b.T, alpha=-2).clamp_min(0)


def imq_kernel(distances: Tensor, widths: Tensor) -> Tensor:
    """Return Σ_w w/(w + d²), the inverse multiquadratic kernel, in the shape of ``distances``."""
    return (1 + distances / widths.view(-1, 1, 1)).reciprocal().sum(0)


def rbf_kernel(distances: Tensor, widths: Tensor) -> Tensor:
    """Return Σ_w exp(−d²/w), in the shape of ``distances``."""
    return (-distances / widths.view(-1, 1, 1)).exp().sum(0)


def unbiased_mmd(a: Tensor, b: Tensor, kernel: Callable[[Tensor], Tensor]) -> Tensor:
    """Return the unbiased estimate of the squared MMD, which may be negative.

    Parameters
    ----------
    a : Tensor of shape (n, k)
        Sample that gradients flow to; n at least 2.
    b : Tensor of shape (m, k)
        Sample to compare with, a constant; m at least 2.
    kernel : callable
        Kernel as a function of squared distances, entry by entry.

    Returns
    -------
    Tensor
        E k(a, a′) + E k(b, b′) − 2 E k(a, b), a scalar.

    References
    ----------
    A. Gretton et al., *A kernel two-sample test*, JMLR 2012, lemma 6.
    """
    n, m = len(a), len(b)
    within_a = kernel(squared_distances(a, a))
    within_b = kernel(squared_distances(b, b))
    between = kernel(squared_distances(a, b))
    mean_a = (within_a.sum() - within_a.diagonal().sum()) / (n * (n - 1))
    mean_b = (within_b.sum() - within_b.diagonal().sum()) / (m * (m - 1))
    return mean_a + mean_b - 2 * between.mean()
