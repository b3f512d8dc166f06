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


# Pairs of rows that are compared at a time: those for all widths of a kernel stay in the cache of a
# core, and fill the cores of another device.
_CACHED, _PARALLEL = 2**16, 2**20
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
    return _distances(_factors(a)[0], _factors(b)[1])


def _factors(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Return (−2x, ‖x‖², 1) for rows x and, as columns, (x, 1, ‖x‖²); products are distances."""
    norms = rows.square().sum(1, keepdim=True)
    ones = torch.ones_like(norms)
    left = torch.cat([-2 * rows, norms, ones], dim=1)
    return left, torch.cat([rows, ones, norms], dim=1).T.contiguous()


def _distances(left: Tensor, right: Tensor) -> Tensor:
    """Return squared distances out of factors of some rows and of others."""
    # The gradient of torch.cdist is undefined at distance 0, as of a row to itself.
    return (left @ right).clamp_min_(0)


def imq_kernel(distances: Tensor, slope: bool, widths: Sequence[float]) -> KernelValues:
    """Return Σ_w w/(w + d²), the inverse multiquadratic kernel."""
    weights = distances.new_tensor(widths)
    ratios = (distances.flatten() + weights.unsqueeze(1)).reciprocal_()  # (n_widths, n_distances)
    value = (weights @ ratios).view_as(distances)
    return KernelValues(value, (-weights @ ratios.square_()).view_as(distances) if slope else None)


def rbf_kernel(distances: Tensor, slope: bool, widths: Sequence[float]) -> KernelValues:
    """Return Σ_w exp(−d²/w), the gaussian kernel."""
    value, steepness = torch.zeros_like(distances), torch.zeros_like(distances) if slope else None
    for chain in _halving_chains(widths):
        term = (distances * (-1 / chain[0])).exp_()
        for width in chain:
            if width != chain[0]:
                term.square_()  # a tenth of the time of an exponential
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
        value, gradient = _with_gradient(a, b, kernel, bool(ctx.needs_input_grad[0]))
        if gradient is not None:
            ctx.save_for_backward(gradient)
        return value

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        """Return the gradient of ``a`` (torch's hook)."""
        (gradient_of_a,) = ctx.saved_tensors
        return gradient * gradient_of_a, None, None


def _with_gradient(
    a: Tensor, b: Tensor, kernel: Kernel, slope: bool
) -> tuple[Tensor, Tensor | None]:
    """Return the estimate and, if ``slope``, its gradient in ``a``."""
    n, m = len(a), len(b)
    rows = torch.cat([a, b])
    left, right = _factors(rows - rows.mean(0))  # far from 0 distances lose digits
    total, gradient = _Total(), _Gradient(right[:-2], n) if slope else None
    for start, stop in _strips(0, n, n + m, a.device.type):
        values, slopes = kernel(_distances(left[start:stop], right[:, start:]), slope)
        total.add_pairs(values[:, : n - start], 1 / (n * (n - 1)))
        total.add(values[:, n - start :], -2 / (n * m))
        if slopes is not None and gradient is not None:
            gradient.add(slopes, start, stop)
    for start, stop in _strips(n, n + m, n + m, a.device.type):
        values = kernel(_distances(left[start:stop], right[:, start:]), False).value
        total.add_pairs(values, 1 / (m * (m - 1)))
    return total.value(), None if gradient is None else gradient.value()


@final
class _Total:
    """A weighted sum of matrices' sums, which may nearly cancel."""

    def __init__(self) -> None:
        self.sums: list[Tensor] = []
        self.weights: list[float] = []

    def add(self, matrix: Tensor, weight: float) -> None:
        """Add the entries of a matrix."""
        self.sums.append(matrix.sum())
        self.weights.append(weight)

    def add_pairs(self, strip: Tensor, weight: float) -> None:
        """Add all ordered pairs of different rows, for a strip (h, w) from its diagonal on."""
        height, width = strip.shape
        self.add(strip[:, :height], weight)
        self.add(strip.diagonal(), -weight)
        if width > height:
            self.add(strip[:, height:], 2 * weight)

    def value(self) -> Tensor:
        """Return the sum."""
        sums = torch.stack(self.sums)
        weights = sums.new_tensor(self.weights, dtype=torch.float64)
        return (sums * weights).sum().to(sums.dtype)


@final
class _Gradient:
    """Gradient of the estimate in the first n of all points (k, n + m), from slopes at pairs.

    A pair within them adds k′(d²)·2(x_i − x_j)·2/(n(n−1)), as it is counted twice, and a pair with
    another one adds −2 k′(d²)·2(x_i − x_j)/(nm).
    """

    def __init__(self, points: Tensor, n: int) -> None:
        self.points = points
        self.n = n
        # Sums over j of k′(d_ij²)·(1, x_j); those of 1, which nearly cancel, in double precision.
        self.sums = points.new_zeros(n, dtype=torch.float64)
        self.products = torch.zeros_like(points[:, :n])

    def add(self, slopes: Tensor, start: int, stop: int) -> None:
        """Add slopes (stop − start, n + m − start), which are overwritten, of a strip."""
        n, points = self.n, self.points
        m = points.shape[1] - n
        # Methods in place, not operators, which would copy a slice once more.
        slopes[:, n - start :].mul_(-(n - 1) / m)
        self.sums[start:stop].add_(slopes.sum(1, dtype=torch.float64))
        self.products[:, start:stop].add_(points[:, start:] @ slopes.T)
        if stop < n:
            later = slopes[:, stop - start : n - start]
            self.sums[stop:].add_(later.sum(0, dtype=torch.float64))
            self.products[:, stop:].add_(points[:, start:stop] @ later)

    def value(self) -> Tensor:
        """Return the gradient (n, k)."""
        n, points = self.n, self.points
        pulls = self.sums.to(points.dtype) * points[:, :n] - self.products
        return pulls.T * (4 / (n * (n - 1)))


def _strips(begin: int, end: int, n_rows: int, device: str) -> list[tuple[int, int]]:
    """Return first and last rows, excluded, of strips to compare with the same and later rows."""
    size = _CACHED if device == "cpu" else _PARALLEL
    strips = []
    while begin < end:
        height = max(size // (n_rows - begin), n_rows // _MAX_STRIPS, 1)
        strips.append((begin, min(begin + height, end)))
        begin += height
    return strips
