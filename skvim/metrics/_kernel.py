"""Kernel distance between two sets of rows: unbiased MMD with a cubic kernel."""

from dataclasses import dataclass, field
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from skvim._float_errors import ignore_overflow
from skvim._modes import own_modes
from skvim._validation import check_count, check_results, draw_seed
from skvim.metrics._feature_extraction import extract_features
from skvim.metrics._standard_error import standard_error

__all__ = ["KernelDistance", "kernel_distance"]

# Kernel values in memory at once.
_BLOCK_VALUES = 2**22


@final
@dataclass(frozen=True, eq=False)
class KernelDistance:
    """The squared kernel distance (MMD²) between two sets of rows, without unit.

    Attributes
    ----------
    value : float
        Unbiased estimate of MMD², which may be negative: KID if the features are Inception's.
    standard_error : float
        Its standard error, from the variance between blocks; NaN for one block.
    block_values : ndarray of shape (n_blocks,)
        The estimate of each block; ``value`` is their mean.
    n_samples : (int, int)
        Rows of X and of Y.
    n_features : int
        Number of features compared.
    """

    value: float
    standard_error: float
    block_values: NDArray[np.float64] = field(repr=False)
    n_samples: tuple[int, int]
    n_features: int


@own_modes()
def kernel_distance(
    X: Any,
    Y: Any,
    *,
    features: Any = None,
    n_blocks: int = 10,
    random_state: int | np.random.RandomState | None = 0,
) -> KernelDistance:
    r"""Compute the maximum mean discrepancy of features of two sets of rows; KID for Inception.

    Parameters
    ----------
    X, Y : array-like of shape (n_samples, n_features) or (n_samples, height, width[, channels])
        Rows or images, such as data and samples of a model; at least two of each per block.
    features : None, callable, estimator, torch.nn.Module or "inception", default=None
        Features to compare, as in :func:`frechet_distance`.
    n_blocks : int in [1, inf), default=10
        Random parts that X and Y are split into. Fewer blocks make the estimate slightly more
        precise and take longer; more make its standard error more precise.
    random_state : int, RandomState or None, default=0
        Seed of the split.

    Returns
    -------
    KernelDistance
        The estimate and its standard error.

    Raises
    ------
    TypeError
        If ``features`` is none of these.
    ValueError
        If features of X and Y differ in number or are not finite, a set has fewer than
        ``2 * n_blocks`` rows, or sixth powers of values are beyond the range of float64.

    See Also
    --------
    frechet_distance : Compares means and covariances.

    Notes
    -----
    The kernel is :math:`k(x, y) = (x^\top y / d + 1)^3` for d features [1]_: the distance is 0 if
    and only if the moments up to the third agree. A block with m rows of X and n of Y has

    .. math:: \frac{\sum_{i \ne j} k(x_i, x_j)}{m (m - 1)}
              + \frac{\sum_{i \ne j} k(y_i, y_j)}{n (n - 1)}
              - \frac{2 \sum_{i, j} k(x_i, y_j)}{m n},

    whose expectation is MMD² for any m and n. Blocks are disjoint, and all rows are used, so that
    the standard deviation of the blocks over √n_blocks is a standard error. Other programs draw
    overlapping subsets of 1,000 rows and report their standard deviation, which is not a standard
    error; their mean estimates the same quantity.

    References
    ----------
    .. [1] M. Bińkowski, D. J. Sutherland, M. Arbel and A. Gretton (2018). Demystifying MMD GANs.
       International Conference on Learning Representations, arXiv:1801.01401.

    Examples
    --------
    >>> import numpy as np
    >>> from skvim.metrics import kernel_distance
    >>> source = np.random.default_rng(0)
    >>> X, Y = source.normal(size=(2000, 1)), source.normal(1.0, size=(2000, 1))
    >>> distance = kernel_distance(X, Y)  # of the distributions: 3 · 1² + 3 · 1² + 4² = 22
    >>> bool(abs(distance.value - 22) < 3 * distance.standard_error)
    True
    """
    n_blocks = check_count("n_blocks", n_blocks)
    source = np.random.default_rng(draw_seed(random_state))
    x, y = extract_features(features, X, Y, least=2 * n_blocks)
    parts = (np.array_split(rows[source.permutation(len(rows))], n_blocks) for rows in (x, y))
    with ignore_overflow():
        values = np.array([_discrepancy(a, b) for a, b in zip(*parts, strict=True)])
        mean = values.mean()
    check_results("kernel_distance", np.append(values, mean), x, y, of="X or Y")
    n_samples = len(x), len(y)
    return KernelDistance(float(mean), standard_error(values), values, n_samples, x.shape[1])


def _discrepancy(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    """Return the unbiased estimate of MMD²."""
    return _within(x) + _within(y) - 2 * _kernel_sum(x, y) / (len(x) * len(y))


def _within(x: NDArray[np.float64]) -> float:
    """Return the mean kernel over pairs of different rows."""
    own = float(_kernel(np.einsum("ij,ij->i", x, x), x.shape[1]).sum())
    return (_kernel_sum(x, x) - own) / (len(x) * (len(x) - 1))


def _kernel_sum(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    """Return the sum of the kernel over all pairs."""
    size = max(1, _BLOCK_VALUES // len(y))
    starts = range(0, len(x), size)
    return sum(float(_kernel(x[i : i + size] @ y.T, x.shape[1]).sum()) for i in starts)


def _kernel(products: NDArray[np.float64], n_features: int) -> NDArray[np.float64]:
    """Return the kernel from the scalar products of rows."""
    kernel: NDArray[np.float64] = (products / n_features + 1) ** 3
    return kernel
