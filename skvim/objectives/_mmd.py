"""Maximum mean discrepancy between two samples, as functions on tensors."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, final

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

__all__ = [
    "Kernel",
    "KernelValues",
    "imq_kernel",
    "rbf_kernel",
    "squared_distances",
    "unbiased_mmd",
]


# Number of distances of which a few copies fit into the cache of a core.
_CACHED = 2**16


class KernelValues(NamedTuple):
    """A kernel at some squared distances.

    Attributes
    ----------
    value : Tensor
        Of the shape of the distances.
    slope : Tensor or None
        Its derivative in the squared distance, if requested.
    """

    value: Tensor
    slope: Tensor | None


#: A kernel of squared distances, entry by entry, with or without its slope.
Kernel = Callable[[Tensor, bool], KernelValues]


def squared_distances(a: Tensor, b: Tensor) -> Tensor:
    """Return ‖a_i − b_j‖² of shape (n, m) for rows (n, k) and (m, k), never negative."""
    norms = a.square().sum(-1).unsqueeze(1) + b.square().sum(-1)  # (n, m)
    # The gradient of torch.cdist is undefined at distance 0, as of a row to itself.
    return torch.addmm(norms, a, b.T, alpha=-2).clamp_min(0)


def imq_kernel(distances: Tensor, slope: bool, widths: Sequence[float]) -> KernelValues:
    """Return Σ_w w/(w + d²), the inverse multiquadratic kernel."""
    value, steepness = torch.zeros_like(distances), torch.zeros_like(distances) if slope else None
    # One width at a time takes less memory and time than all at once.
    for width in widths:
        ratio = (distances + width).reciprocal_()
        value.add_(ratio, alpha=width)
        if steepness is not None:
            steepness.addcmul_(ratio, ratio, value=-width)
    return KernelValues(value, steepness)


def rbf_kernel(distances: Tensor, slope: bool, widths: Sequence[float]) -> KernelValues:
    """Return Σ_w exp(−d²/w), the gaussian kernel."""
    value, steepness = torch.zeros_like(distances), torch.zeros_like(distances) if slope else None
    for width in widths:
        term = (distances * (-1 / width)).exp_()
        value.add_(term)
        if steepness is not None:
            steepness.add_(term, alpha=-1 / width)
    return KernelValues(value, steepness)


def unbiased_mmd(a: Tensor, b: Tensor, kernel: Kernel) -> Tensor:
    """Return the unbiased estimate of the squared MMD, which may be negative.

    Parameters
    ----------
    a : Tensor of shape (n, k)
        Sample; differentiable once in it; n at least 2.
    b : Tensor of shape (m, k)
        Sample, a constant; m at least 2.
    kernel : callable
        Takes squared distances and whether to return the slope, returns :class:`KernelValues`.

    Returns
    -------
    Tensor
        E k(a, a′) + E k(b, b′) − 2 E k(a, b), a scalar.

    References
    ----------
    A. Gretton et al., *A kernel two-sample test*, JMLR 2012, lemma 6.
    """
    estimate: Tensor = _UnbiasedMMD.apply(a, b, kernel)  # type: ignore[no-untyped-call]
    return estimate


@final
class _UnbiasedMMD(torch.autograd.Function):
    """The estimate, with the gradient computed in the forward pass: no matrix is kept."""

    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor, kernel: Kernel) -> Tensor:
        """Return the estimate (torch's hook)."""
        n = len(a)
        needs_gradient = bool(ctx.needs_input_grad[0])
        distances = torch.cat([squared_distances(a, a), squared_distances(a, b)], dim=1)
        value, slope = _blockwise(kernel, distances, needs_gradient)  # (n, n + m)
        within, between = value[:, :n], value[:, n:]
        within_b = _blockwise(kernel, squared_distances(b, b), False).value
        if slope is not None:
            ctx.save_for_backward(_gradient(a, b, slope))
        return _mean_of_pairs(within) + _mean_of_pairs(within_b) - 2 * between.mean()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        """Return the gradient of ``a`` (torch's hook)."""
        (gradient_of_a,) = ctx.saved_tensors
        return gradient * gradient_of_a, None, None


def _blockwise(kernel: Kernel, distances: Tensor, slope: bool) -> KernelValues:
    """Evaluate a kernel, on a CPU in blocks that stay in the cache for all widths."""
    if distances.device.type != "cpu" or distances.numel() <= _CACHED:
        return kernel(distances, slope)
    blocks = [kernel(block, slope) for block in torch.split(distances.flatten(), _CACHED)]
    value = torch.cat([block.value for block in blocks]).view_as(distances)
    slopes = [block.slope for block in blocks if block.slope is not None]
    return KernelValues(value, torch.cat(slopes).view_as(distances) if slopes else None)


def _mean_of_pairs(kernel: Tensor) -> Tensor:
    """Return the mean of a kernel's matrix (n, n) over pairs of different rows."""
    n = len(kernel)
    return (kernel.sum() - kernel.diagonal().sum()) / (n * (n - 1))


def _gradient(a: Tensor, b: Tensor, slope: Tensor) -> Tensor:
    """Return the estimate's gradient in ``a``, from slopes (n, n + m) at pairs with a and b.

    A pair within ``a`` adds k′(d²)·2(a_i − a_j)·2/(n(n−1)), as it is counted twice, and a pair with
    ``b`` adds −2 k′(d²)·2(a_i − b_j)/(nm).
    """
    n, m = len(a), len(b)
    slope[:, :n] *= 4 / (n * (n - 1))
    slope[:, n:] *= -4 / (n * m)
    return slope.sum(1, keepdim=True) * a - slope @ torch.cat([a, b])
