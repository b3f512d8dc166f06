"""Precision, recall, density and coverage of generated rows, by nearest neighbours."""

import math
from dataclasses import dataclass
from typing import Any, final

import numpy as np
from numpy.typing import NDArray
from sklearn.neighbors import NearestNeighbors

from skvim._modes import own_modes
from skvim._validation import check_count, largest
from skvim.metrics._feature_extraction import extract_features

__all__ = ["PrecisionRecall", "precision_recall"]

# Values whose squares, and sums of many, are in the range of float64.
_MAX_SIZE, _MIN_EXPONENT = 1e145, -200
# Distances in memory at once.
_BLOCK_VALUES = 2**22
# Rounding of squared distances, in units of the squared norms of the two rows.
_ROUNDING = 1e-12


@final
@dataclass(frozen=True)
class PrecisionRecall:
    """Quality (precision, density) and variety (recall, coverage) of generated rows.

    Attributes
    ----------
    precision : float
        Share of generated rows within a neighbourhood of a real one, in [0, 1].
    recall : float
        Share of real rows within a neighbourhood of a generated one, in [0, 1].
    density : float
        Mean number of real neighbourhoods that contain a generated row, over ``n_neighbors``: 1 on
        average for rows of the real distribution, more where real rows are dense.
    coverage : float
        Share of real rows with a generated row in their neighbourhood, in [0, 1].
    n_samples : (int, int)
        Numbers of real and of generated rows.
    n_neighbors : int
        k, the neighbour that sets the radius of a neighbourhood.
    """

    precision: float
    recall: float
    density: float
    coverage: float
    n_samples: tuple[int, int]
    n_neighbors: int


@own_modes()
def precision_recall(
    X: Any, Y: Any, *, features: Any = None, n_neighbors: int = 3
) -> PrecisionRecall:
    r"""Compute precision, recall, density and coverage of generated rows.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features) or (n_samples, height, width[, channels])
        Real rows or images, more than ``n_neighbors``.
    Y : array-like
        Generated rows or images with the same features, likewise more than ``n_neighbors``. Use as
        many as in X: all values but density depend on the numbers of rows.
    features : None, callable, estimator, torch.nn.Module or "inception", default=None
        Features to compare, as in :func:`frechet_distance`.
    n_neighbors : int in [1, inf), default=3
        k: a row's neighbourhood is the closed ball around it whose radius is the distance to its
        k-th nearest neighbour in its own set. [1]_ uses 3 for precision and recall, [2]_ 5 for
        density and coverage.

    Returns
    -------
    PrecisionRecall
        The four values.

    Raises
    ------
    TypeError
        If ``features`` is none of these.
    ValueError
        If features of X and Y differ in number or are not finite, a set has too few rows, or values
        are above 1e145.

    See Also
    --------
    frechet_distance : A single distance.

    Notes
    -----
    Precision and recall are those of [1]_, density and coverage those of [2]_. For X of N and Y of
    M rows of one distribution, whatever it is, density is 1 on average and coverage

    .. math:: 1 - \frac{(N - 1) \cdots (N - k)}{(M + N - 1) \cdots (M + N - k)},

    about 1 − 2⁻ᵏ for M = N. No such value is known for precision and recall, which a single outlier
    of X, or of Y, may raise because its ball is large.

    References
    ----------
    .. [1] T. Kynkäänniemi, T. Karras, S. Laine, J. Lehtinen and T. Aila (2019). Improved precision
       and recall metric for assessing generative models. Advances in Neural Information Processing
       Systems 32, arXiv:1904.06991.
    .. [2] M. F. Naeem, S. J. Oh, Y. Uh, Y. Choi and J. Yoo (2020). Reliable fidelity and diversity
       metrics for generative models. International Conference on Machine Learning,
       arXiv:2002.09797.

    Examples
    --------
    >>> from skvim.metrics import precision_recall
    >>> real = [[0.0], [1.0], [2.0], [10.0], [11.0], [12.0]]
    >>> quality = precision_recall(real, [[0.1], [0.9], [2.1]], n_neighbors=1)
    >>> quality.precision, quality.recall  # generated rows of one of two clusters
    (1.0, 0.5)
    """
    n_neighbors = check_count("n_neighbors", n_neighbors)
    x, y = extract_features(features, X, Y, least=n_neighbors + 1)
    x, y = _centred_and_scaled(x, y)
    norms_x, norms_y = (np.einsum("ij,ij->i", rows, rows) for rows in (x, y))
    reach_x, reach_y = (_reach(rows, n_neighbors) for rows in (x, y))
    counts = np.empty(len(y))  # real neighbourhoods that a generated row is in
    recalled, covered = np.zeros(len(x), dtype=bool), np.zeros(len(x), dtype=bool)
    size = max(1, _BLOCK_VALUES // len(x))
    for start in range(0, len(y), size):
        block = slice(start, start + size)
        distances = norms_y[block, None] + norms_x
        # Less a bound on rounding, so that a row on the boundary always counts as inside.
        distances -= _ROUNDING * distances + 2 * y[block] @ x.T
        near = distances <= reach_x
        counts[block] = near.sum(axis=1)
        covered |= near.any(axis=0)
        recalled |= (distances <= reach_y[block, None]).any(axis=0)
    return PrecisionRecall(
        precision=float((counts > 0).mean()),
        recall=float(recalled.mean()),
        density=float(counts.mean()) / n_neighbors,
        coverage=float(covered.mean()),
        n_samples=(len(x), len(y)),
        n_neighbors=n_neighbors,
    )


def _centred_and_scaled(
    x: NDArray[np.float64], y: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return rows near 0, scaled where their squares would leave the range of float64."""
    size = largest(x, y)
    if size > _MAX_SIZE:
        raise ValueError(
            "precision_recall compares squared distances, which overflow float64 for values above "
            f"{_MAX_SIZE:g}. Got {size:.3g}; scale X and Y by the same factor."
        )
    # By the median, which a single huge row does not move: squared distances would lose digits to
    # an offset of the data.
    centre = np.median(x, axis=0)
    x, y = x - centre, y - centre
    _, exponent = math.frexp(max(largest(x, y), np.finfo(np.float64).tiny))
    return (x, y) if exponent > _MIN_EXPONENT else (np.ldexp(x, -exponent), np.ldexp(y, -exponent))


def _reach(rows: NDArray[np.float64], n_neighbors: int) -> NDArray[np.float64]:
    """Return the squared distance of every row from its k-th nearest neighbour."""
    distances, _ = NearestNeighbors(n_neighbors=n_neighbors).fit(rows).kneighbors()
    squares: NDArray[np.float64] = distances[:, -1] ** 2
    return squares
