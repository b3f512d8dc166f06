"""Rows in coordinates in which the objective curves about equally in all directions."""

from dataclasses import dataclass
from typing import Any, final

import numpy as np
from numpy.linalg import eigh
from numpy.typing import NDArray
from scipy.sparse import csr_array, issparse
from sklearn.utils import gen_batches

__all__ = ["Rows", "Whitening", "whiten", "whitened"]

Matrix = NDArray[np.float64]

_CHUNK = 2**20  # entries of the rows that are worked on at once
_HEAD = 10_000  # rows of the last kind that the basis is computed from, or ten per feature


@final
@dataclass(frozen=True)
class Whitening:
    """A basis w = basis · v in which the objective curves about equally in all directions.

    Attributes
    ----------
    basis : ndarray of shape (n_features, n_directions)
        Orthogonal columns.
    penalty : ndarray of shape (n_directions,)
        Their squared lengths: ‖w‖² = Σ penalty · v².
    """

    basis: Matrix
    penalty: Matrix


def whiten(features: Matrix, row_weights: Matrix) -> Whitening:
    """Return the eigenvectors of H = I + Zᵀ diag(row_weights) Z as a basis with vᵀHv = 1.

    H stands for the Hessian of the objective; in this basis L-BFGS needs several times fewer
    steps. With more features than rows, only the directions in which rows vary are kept: the
    best w has no part in the others.

    Parameters
    ----------
    features : ndarray of shape (n_samples, n_features)
        Centred rows Z.
    row_weights : ndarray of shape (n_samples,)
        Curvature of each row's loss, not negative.

    Returns
    -------
    Whitening
        With at most min(n_samples, n_features) directions.
    """
    n_samples, n_features = features.shape
    if n_features <= n_samples:
        gram = np.zeros((n_features, n_features))
        for part in gen_batches(n_samples, _CHUNK // max(1, n_features) + 1):
            rows = features[part] * np.sqrt(row_weights[part])[:, None]
            gram += rows.T @ rows
        curvature, directions = eigh(gram)
    else:
        rows = features * np.sqrt(row_weights)[:, None]
        curvature, combinations = eigh(rows @ rows.T)
        kept = curvature > curvature[-1] * len(curvature) * np.finfo(float).eps
        curvature = curvature[kept]
        directions = rows.T @ (combinations[:, kept] / np.sqrt(curvature))
    penalty = 1.0 / (1.0 + np.maximum(curvature, 0.0))
    return Whitening(directions * np.sqrt(penalty), penalty)


@final
@dataclass(frozen=True)
class Rows:
    """Centred features in the coordinates v of w = basis · v.

    Attributes
    ----------
    matrix : ndarray or csr_array of shape (n_samples, n_directions)
        Features times basis. Sparse ones are not centred, which would fill them.
    shift : ndarray of shape (n_directions,) or None
        What the matrix lacks of being centred: its mean; None where it is.
    basis : ndarray of shape (n_features, n_directions) or (n_features,)
        A matrix, or the diagonal of one.
    penalty : ndarray of shape (n_directions,)
        ‖w‖² = Σ penalty · v².
    centre : ndarray of shape (n_features,)
        Mean of the features.
    """

    matrix: Any
    shift: Matrix | None
    basis: Matrix
    penalty: Matrix
    centre: Matrix

    def scores(self, coordinates: Matrix) -> Matrix:
        """Return the product of centred rows and w, of shape (n_samples, n_problems)."""
        # A few columns as rows of the product: BLAS then takes half the time.
        product: Matrix = (coordinates.T @ self.matrix.T).T
        if self.shift is not None:
            product -= self.shift @ coordinates
        return product

    def gradient(self, by_scores: Matrix) -> Matrix:
        """Return the derivative by the coordinates from the one by the scores."""
        product: Matrix = (by_scores.T @ self.matrix).T
        if self.shift is not None:
            product -= np.outer(self.shift, by_scores.sum(axis=0))
        return product

    def weights(self, coordinates: Matrix) -> Matrix:
        """Return w of shape (n_features, n_problems)."""
        if self.basis.ndim == 1:
            return self.basis[:, None] * coordinates
        return self.basis @ coordinates

    def coordinates(self, weights: Matrix) -> Matrix:
        """Return the coordinates of w, as far as the basis reaches it."""
        if self.basis.ndim == 1:
            return weights / self.basis[:, None]
        return (self.basis.T @ weights) / self.penalty[:, None]


def whitened(features: Any, row_weights: Matrix, projection: Matrix | None = None) -> Rows:
    """Return rows in the basis that :func:`whiten` finds, or in a diagonal one where sparse.

    Parameters
    ----------
    features : ndarray or csr_array of shape (n_samples, n_columns)
        Overwritten where dense.
    row_weights : ndarray of shape (n_samples,)
        Curvature of each row's loss, not negative. Rows of the last one's kind follow all
        others, in random order.
    projection : ndarray of shape (n_columns, n_features) or None
        The rows are ``features @ projection``; None takes them as they are. Dense rows only.

    Returns
    -------
    Rows
        Dense ones may use the memory of ``features``.
    """
    if issparse(features):
        return _scaled(features, row_weights)
    centre = features.mean(axis=0)
    features -= centre
    head = _head(row_weights, 10 * features.shape[1])
    rows = features[: len(head)]
    found = whiten(rows if projection is None else rows @ projection, head)
    basis = found.basis
    if projection is not None:
        centre, basis = centre @ projection, projection @ basis
    if basis.shape[0] != basis.shape[1]:
        return Rows(features @ basis, None, found.basis, found.penalty, centre)
    for part in gen_batches(len(features), _CHUNK // max(1, features.shape[1]) + 1):
        features[part] = features[part] @ basis
    return Rows(features, None, found.basis, found.penalty, centre)


def _head(row_weights: Matrix, n_rows: int) -> Matrix:
    """Return weights of the first rows that curve the objective about as all rows do.

    Enough of them tell the directions apart; the rows left out lend them their weight.
    """
    last = row_weights == row_weights[-1]
    n_kept = int((~last).sum()) + max(n_rows, _HEAD)
    if n_kept >= len(row_weights):
        return row_weights
    head = row_weights[:n_kept].copy()
    head[last[:n_kept]] *= last.sum() / last[:n_kept].sum()
    return head


def _scaled(features: Any, row_weights: Matrix) -> Rows:
    """Return sparse rows, each feature divided by the root of its own curvature."""
    centre = np.asarray(features.mean(axis=0)).ravel()
    squares = np.asarray(features.multiply(features).T @ row_weights)
    # Σ w (x - c)² for the mean c of all rows: row weights take two values only.
    products = np.asarray(features.T @ row_weights)
    spread = squares - 2 * centre * products + row_weights.sum() * centre**2
    penalty = 1.0 / (1.0 + np.maximum(spread, 0.0))
    basis = np.sqrt(penalty)
    matrix = csr_array(features.multiply(basis[None, :]))
    return Rows(matrix, centre * basis, basis, penalty, centre)
