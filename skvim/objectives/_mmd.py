"""Maximum mean discrepancy between two samples, as functions on tensors."""

from collections.abc import Callable, Iterator, Sequence
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
# Most strips of rows: each is a few dozen operations, however many rows there are.
_MAX_STRIPS = 64


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
    return _distances(a, b.T, a.square().sum(1), b.square().sum(1))


def _distances(rows: Tensor, columns: Tensor, norms: Tensor, other_norms: Tensor) -> Tensor:
    """Return squared distances of rows (n, k) from columns (k, m) with these squared norms."""
    # The gradient of torch.cdist is undefined at distance 0, as of a row to itself.
    return torch.addmm(norms.unsqueeze(1) + other_norms, rows, columns, alpha=-2).clamp_min(0)


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
    for chain in _halving_chains(widths):
        term = (distances * (-1 / chain[0])).exp_()
        for width in chain:
            if width != chain[0]:
                term *= term  # a tenth of the time of an exponential
            value.add_(term)
            if steepness is not None:
                steepness.add_(term, alpha=-1 / width)
    return KernelValues(value, steepness)


def _halving_chains(widths: Sequence[float]) -> list[list[float]]:
    """Divide widths into chains in which each is half of the one before it.

    Of three at most, as a square has twice the relative error.
    """
    chains: list[list[float]] = []
    for width in sorted(widths, reverse=True):
        longer = [chain for chain in chains if chain[-1] == 2 * width and len(chain) < 3]
        if longer:
            longer[0].append(width)
        else:
            chains.append([width])
    return chains


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
        # Distances from norms and products lose digits where the mean is far from 0.
        centre = a.mean(0)
        needs_gradient = bool(ctx.needs_input_grad[0])
        value, gradient = _with_gradient(a - centre, b - centre, kernel, needs_gradient)
        if gradient is not None:
            ctx.save_for_backward(gradient)
        return value + _mean_of_pairs(b - b.mean(0), kernel)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        """Return the gradient of ``a`` (torch's hook)."""
        (gradient_of_a,) = ctx.saved_tensors
        return gradient * gradient_of_a, None, None


def _with_gradient(
    a: Tensor, b: Tensor, kernel: Kernel, slope: bool
) -> tuple[Tensor, Tensor | None]:
    """Return E k(a, a′) − 2 E k(a, b) and, if ``slope``, its gradient in ``a``.

    A pair within ``a`` adds k′(d²)·2(a_i − a_j)·2/(n(n−1)), as it is counted twice, and a pair with
    ``b`` adds −2 k′(d²)·2(a_i − b_j)/(nm).
    """
    n, m = len(a), len(b)
    columns = torch.cat([a, b]).T.contiguous()  # products with a strip are faster than for rows
    ratio = -(n - 1) / m  # of the weight of a pair with b to that of a pair within a
    # Methods in place, not operators, which would copy a slice once more.
    sums, products = torch.zeros_like(columns[0, :n]), torch.zeros_like(columns[:, :n])
    within, between = [], []
    for start, stop, distances in _strips(columns, n):
        values, slopes = kernel(distances, slope)
        within += _sums_of_pairs(values[:, : n - start])
        between.append(values[:, n - start :].sum())
        if slopes is None:
            continue
        slopes[:, n - start :].mul_(ratio)
        sums[start:stop].add_(slopes.sum(1))
        products[:, start:stop].add_(columns[:, start:] @ slopes.T)
        if stop < n:
            later = slopes[:, stop - start : n - start]
            sums[stop:].add_(later.sum(0))
            products[:, stop:].add_(columns[:, start:stop] @ later)
    value = _total(within) / (n * (n - 1)) - _total(between) * (2 / (n * m))
    gradient = (sums.unsqueeze(1) * a - products.T) * (4 / (n * (n - 1)))
    return value, gradient if slope else None


def _mean_of_pairs(rows: Tensor, kernel: Kernel) -> Tensor:
    """Return the mean of a kernel over pairs of different rows."""
    n, sums = len(rows), []
    for _, _, distances in _strips(rows.T.contiguous(), n):
        sums += _sums_of_pairs(kernel(distances, False).value)
    return _total(sums) / (n * (n - 1))


def _strips(columns: Tensor, n: int) -> Iterator[tuple[int, int, Tensor]]:
    """Yield squared distances of the first n rows, a few at a time, to the same and later rows.

    Rows are the columns of a tensor (k, n_rows). A strip has the shape (stop − start,
    n_rows − start) and comes after its ``start`` and ``stop``. On a CPU it stays in the cache for
    all widths of a kernel.
    """
    n_rows, height = columns.shape[1], n
    if columns.device.type == "cpu":
        height = max(_CACHED // n_rows, -(-n // _MAX_STRIPS))
    norms = columns.square().sum(0)
    for start in range(0, n, height):
        own, rest = slice(start, min(start + height, n)), slice(start, None)
        pair = columns[:, own].T, columns[:, rest]
        yield start, own.stop, _distances(*pair, norms[own], norms[rest])


def _sums_of_pairs(strip: Tensor) -> list[Tensor]:
    """Return sums over ordered pairs of different rows, for a strip (h, w) from its diagonal on."""
    height, width = strip.shape
    own = strip[:, :height]
    sums = [own.sum() - own.diagonal().sum()]
    return [*sums, 2 * strip[:, height:].sum()] if width > height else sums


def _total(sums: list[Tensor]) -> Tensor:
    """Return the sum of scalars."""
    return torch.stack(sums).sum() if len(sums) > 1 else sums[0]
