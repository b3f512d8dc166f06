"""Fréchet distance between two sets of rows, extrapolated to infinitely many rows."""

import math
import warnings
from dataclasses import dataclass
from typing import Any, NamedTuple, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from skvim._float_errors import ignore_overflow
from skvim._modes import own_modes
from skvim._validation import check_count, check_results, draw_seed
from skvim.exceptions import UnreliableMeasureWarning
from skvim.metrics._feature_extraction import extract_features

__all__ = ["FrechetDistance", "frechet_distance"]

# Number of rows below which the literature calls the distance unreliable, whatever the features.
_MIN_ROWS = 2048
# Sets are split into 2 to this many parts, each with at least twice as many rows as features if
# possible.
_MAX_PARTS = 5


@final
@dataclass(frozen=True)
class FrechetDistance:
    """The squared Fréchet distance d² between two sets of rows, in squared units of the features.

    Attributes
    ----------
    value : float
        d² between gaussians with the means and the covariances (divisor n − 1) of the two sets:
        FID if the features are those of Inception. Biased upwards by about c/n.
    extrapolated : float
        Estimate of its limit for infinitely many rows of both sets, without that bias; may be
        slightly negative near 0. NaN if not requested or if there are too few rows.
    extrapolated_se : float
        Standard error of ``extrapolated``. NaN likewise, and with one partition.
    mean_part : float
        ‖μ_x − μ_y‖²; the rest of ``value`` is the distance of the covariances.
    n_samples : (int, int)
        Rows of X and of Y.
    n_features : int
        Number of features compared.
    ranks : (int, int)
        Ranks of the covariances of X and of Y, up to rounding.
    """

    value: float
    extrapolated: float
    extrapolated_se: float
    mean_part: float
    n_samples: tuple[int, int]
    n_features: int
    ranks: tuple[int, int]


@own_modes()
def frechet_distance(
    X: Any,
    Y: Any,
    *,
    features: Any = None,
    n_partitions: int = 8,
    random_state: int | np.random.RandomState | None = 0,
) -> FrechetDistance:
    r"""Compute the Fréchet distance between features of two sets of rows; FID for Inception.

    Parameters
    ----------
    X, Y : array-like of shape (n_samples, n_features) or (n_samples, height, width[, channels])
        Rows or images, such as data and samples of a model; at least two in each.
    features : None, callable, estimator, torch.nn.Module or "inception", default=None
        Features to compare:

        - None: the rows themselves;
        - a function of rows that returns an array or tensor (n_samples, n_features);
        - a fitted model of skvim or another transformer: the codes that ``transform`` returns;
        - a fitted ``MLPClassifier`` or ``MLPRegressor``: the last hidden layer;
        - a torch module or a fitted net of skorch: the input of the ``torch.nn.Linear`` that is
          called last, a classifier's penultimate layer. Rows are passed as given, in the dtype of
          its parameters;
        - "inception", or an :class:`InceptionFeatures` with settings.

        In a pipeline, rows are transformed by all steps but the last, to which the same applies.
    n_partitions : int in [0, inf), default=8
        Random partitions for ``extrapolated``, each at the cost of one more distance. 0 skips the
        extrapolation.
    random_state : int, RandomState or None, default=0
        Seed of the partitions.

    Returns
    -------
    FrechetDistance
        The distance, its extrapolation to infinitely many rows and the standard error of that.

    Raises
    ------
    TypeError
        If ``features`` is none of these.
    ValueError
        If features of X and Y differ in number or are not finite, a set has fewer than two rows, or
        squares of values are beyond the range of float64.

    Warns
    -----
    UnreliableMeasureWarning
        If X or Y has fewer than 2,048 rows, or a covariance not of full rank.

    See Also
    --------
    kernel_distance : Unbiased, for fewer rows too.
    precision_recall : Separates quality from variety.

    Notes
    -----
    .. math:: d^2 = \lVert\mu_x - \mu_y\rVert^2
              + \operatorname{tr}(\Sigma_x + \Sigma_y - 2 (\Sigma_x \Sigma_y)^{1/2}),

    the squared 2-Wasserstein distance of two gaussians [1]_ [2]_; of Inception features, FID [3]_.
    With :math:`\Sigma = R^\top R` from a QR decomposition of the centred rows, the eigenvalues of
    :math:`\Sigma_x \Sigma_y` are the squared singular values of :math:`R_x R_y^\top`: their sum
    is the trace of the root, exact to rounding for covariances of any rank.

    The expectation of d² is its limit plus c/n and smaller terms [4]_, where c depends on the
    model, so that FID at a finite n may rank models wrongly. ``extrapolated`` is the intercept of a
    regression on 1/n as in [4]_, for both sets at once: X and Y are split at random into k parts
    each, k from 2 to 5, and the mean distance of the parts estimates that at n/k rows. Every
    partition contains all rows, so that its first-order variation is that of the whole. The excess
    of k parts over the whole has a variance in proportion to k − 1; the line is fitted with these
    weights through the value at n. A part must have more rows than the covariances' rank.

    The squared standard error is the sum of the first-order variance, from the influence of every
    row on d², and the variance of the partitions around the line. In simulations the standard error
    was 0.9 to 1.2 times the true one, too large for X and Y of one distribution; intervals of ±1.96
    standard errors covered the limit in 92 to 98 %. It is least reliable for heavy tails with X and
    Y of very different numbers of rows.

    References
    ----------
    .. [1] D. C. Dowson and B. V. Landau (1982). The Fréchet distance between multivariate normal
       distributions. Journal of Multivariate Analysis 12.
    .. [2] M. Gelbrich (1990). On a formula for the L² Wasserstein metric between measures on
       Euclidean and Hilbert spaces. Mathematische Nachrichten 147.
    .. [3] M. Heusel, H. Ramsauer, T. Unterthiner, B. Nessler and S. Hochreiter (2017). GANs trained
       by a two time-scale update rule converge to a local Nash equilibrium. Advances in Neural
       Information Processing Systems 30, arXiv:1706.08500.
    .. [4] M. J. Chong and D. Forsyth (2020). Effectively unbiased FID and Inception Score and where
       to find them. Computer Vision and Pattern Recognition, arXiv:1911.07023.

    Examples
    --------
    >>> import numpy as np
    >>> from skvim.metrics import frechet_distance
    >>> source = np.random.default_rng(0)
    >>> X, Y = source.normal(size=(3000, 4)), source.normal(1.0, 2.0, size=(3000, 4))
    >>> distance = frechet_distance(X, Y)  # of the distributions: 4 (1 − 0)² + 4 (2 − 1)² = 8
    >>> bool(abs(distance.extrapolated - 8) < 3 * distance.extrapolated_se)
    True
    """
    n_partitions = check_count("n_partitions", n_partitions, least=0)
    seed = draw_seed(random_state)
    x, y = (_tensor(part) for part in extract_features(features, X, Y, least=2))
    whole = _distance(x, y)
    ranks = (_rank(whole.x), _rank(whole.y))
    most = _max_parts(min(len(x), len(y)), max(ranks)) if n_partitions else 1
    _warn_unreliable(len(x), len(y), x.shape[1], ranks, too_few=bool(n_partitions) and most < 2)
    limit_and_error = (math.nan, math.nan)
    if most >= 2:
        generator = torch.Generator().manual_seed(seed)
        parts = [2 + i % (most - 1) for i in range(n_partitions)]
        excess = [_partition(x, y, k, generator) - whole.value for k in parts]
        with ignore_overflow():
            limit_and_error = _extrapolate(whole, np.array(parts), np.array(excess))
        # With a single partition no error is defined.
        defined = np.array(limit_and_error[: min(n_partitions, 2)])
        check_results("frechet_distance", defined, x, y, of="X or Y")
    mean_part = float((whole.x.mean - whole.y.mean).square().sum())
    n_samples = len(x), len(y)
    return FrechetDistance(whole.value, *limit_and_error, mean_part, n_samples, x.shape[1], ranks)


class _Moments(NamedTuple):
    """Mean of rows and R with covariance RᵀR."""

    mean: Tensor
    root: Tensor
    rows: Tensor


class _Distance(NamedTuple):
    """Moments of two sets and the squared distance between them."""

    x: _Moments
    y: _Moments
    value: float


def _tensor(rows: NDArray[np.float64]) -> Tensor:
    """Return rows as a tensor, copied only if torch cannot share their memory."""
    return torch.from_numpy(np.require(rows, requirements=["C", "W"]))


def _moments(rows: Tensor) -> _Moments:
    """Return mean and root of the covariance."""
    mean = rows.mean(0)
    root = torch.linalg.qr(rows - mean, mode="r").R / math.sqrt(len(rows) - 1)
    return _Moments(mean, root, rows)


def _distance(x: Tensor, y: Tensor) -> _Distance:
    """Return the squared distance of two sets of rows."""
    a, b = _moments(x), _moments(y)
    products = a.root @ b.root.T
    check_results("frechet_distance", products.numpy(), x, y, of="X or Y")
    shift = (a.mean - b.mean).square().sum()
    spread = a.root.square().sum() + b.root.square().sum()
    value = shift + spread - 2 * torch.linalg.svdvals(products).sum()
    check_results("frechet_distance", value.numpy(), x, y, of="X or Y")
    # Rounding may make it negative for equal moments.
    return _Distance(a, b, max(0.0, float(value)))


def _rank(moments: _Moments) -> int:
    """Return the rank of a covariance from its root R, up to rounding."""
    # Rounding errs in every column of R in proportion to that feature's root mean square m about
    # 0, whatever its unit: by about ε m for the values themselves and the subtraction of the mean,
    # and by at most about n ε m for the sum of n rows in the mean and for the QR decomposition,
    # whose error is bounded column by column (Higham, Accuracy and Stability of Numerical
    # Algorithms, 2002, theorem 19.4). Of columns over m, the errors of d features have a Frobenius
    # norm of at most max(n, d) ε √d, and no singular value moves by more than that (Weyl).
    n_rows, n_features = moments.rows.shape
    size = (moments.mean.square() + moments.root.square().sum(0)).sqrt()
    relative = moments.root / torch.where(size > 0, size, 1)
    tolerance = max(n_rows, n_features) * math.sqrt(n_features) * torch.finfo(size.dtype).eps
    return int((torch.linalg.svdvals(relative) > tolerance).sum())


def _max_parts(n_rows: int, rank: int) -> int:
    """Return the largest number of parts; 1 if covariances of halves would lose rank."""
    if n_rows // 2 <= rank:
        return 1
    return min(max(2, n_rows // (2 * max(1, rank))), _MAX_PARTS)


def _partition(x: Tensor, y: Tensor, n_parts: int, generator: torch.Generator) -> float:
    """Return the mean distance over the parts of a random partition."""
    pairs = zip(_split(x, n_parts, generator), _split(y, n_parts, generator), strict=True)
    return sum(_distance(a, b).value for a, b in pairs) / n_parts


def _split(rows: Tensor, n_parts: int, generator: torch.Generator) -> tuple[Tensor, ...]:
    """Split rows at random into parts whose sizes differ by at most one."""
    return rows[torch.randperm(len(rows), generator=generator)].tensor_split(n_parts)


def _extrapolate(
    whole: _Distance, n_parts: NDArray[Any], excess: NDArray[Any]
) -> tuple[float, float]:
    """Return the distance for infinitely many rows and its standard error.

    ``excess`` is the mean distance of each partition into k = ``n_parts`` parts minus that of the
    whole. Its expectation is (k − 1) c/n, and its variance (k − 1) times the variance that the
    whole has beyond the first order.
    """
    steps = n_parts - 1.0
    bias = float(excess.sum() / steps.sum())
    limit = whole.value - bias
    if len(steps) < 2:
        return limit, math.nan
    second = float(((excess - steps * bias) ** 2 / steps).sum()) / (len(steps) - 1)
    # Noise in the estimated influences adds two second-order variances.
    first = max(0.0, _first_order_variance(whole) - 2 * second)
    return limit, math.sqrt(first + second * (1 + 1 / steps.sum()))


def _first_order_variance(whole: _Distance) -> float:
    """Return the variance of the distance to first order in the rows' weights.

    The derivative of d² by Σ_x is I − T, T the matrix of optimal transport from x to y, and by the
    mean 2 (μ_x − μ_y). With centred rows √(n−1) Q R and R_x R_yᵀ = U S Vᵀ a row q of Q has
    (n − 1) q U S Uᵀ qᵀ for xᵀ T x, which needs no inverse.
    """
    left, values, right = torch.linalg.svd(whole.x.root @ whole.y.root.T, full_matrices=False)
    shift = whole.x.mean - whole.y.mean
    total = 0.0
    for part, towards, vectors in ((whole.x, shift, left), (whole.y, -shift, right.T)):
        centred = part.rows - part.mean
        q = torch.linalg.qr(centred).Q
        moved = (len(centred) - 1) * (q @ vectors).square() @ values
        influence = 2 * centred @ towards + centred.square().sum(1) - moved
        total += float(influence.var(correction=0)) / len(centred)
    return total


def _warn_unreliable(
    n_x: int, n_y: int, n_features: int, ranks: tuple[int, int], *, too_few: bool
) -> None:
    """Warn of few rows, of covariances without full rank, and of a missing extrapolation."""
    reasons = []
    if min(n_x, n_y) < _MIN_ROWS:
        reasons.append(f"there are {n_x} and {n_y} rows, and {_MIN_ROWS} of each are advised")
    if min(ranks) < n_features:
        reasons.append(
            f"covariances of {n_features} features have ranks {ranks[0]} and {ranks[1]}: too few "
            "rows, or linearly dependent features"
        )
    if too_few:
        reasons.append(
            f"extrapolation needs more than {2 * max(ranks) + 1} rows of each, and is skipped"
        )
    if reasons:
        warnings.warn(
            f"frechet_distance is unreliable: {'; '.join(reasons)}.",
            UnreliableMeasureWarning,
            stacklevel=4,
        )
