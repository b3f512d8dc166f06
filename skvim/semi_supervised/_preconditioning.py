"""Preconditioning: features in a basis in which the Hessian is close to the identity."""

from dataclasses import dataclass, replace
from typing import Any, final

import numpy as np
from numpy.linalg import eigh
from numpy.typing import NDArray
from scipy.sparse import csr_array, issparse
from sklearn.utils import gen_batches

__all__ = [
    "ROWS_PER_DIRECTION",
    "PreconditionedFeatures",
    "Preconditioner",
    "basis_row_weights",
    "fit_preconditioner",
    "precondition",
    "precondition_again",
]

Matrix = NDArray[np.float64]

ROWS_PER_DIRECTION = 10  # of the rows that determine the basis, at least
_MAX_ENTRIES = 2**20  # entries of the features that are processed at once
_BASIS_ROWS = 10_000  # unlabelled rows that determine the basis, unless ten per feature are more


@final
@dataclass(frozen=True)
class Preconditioner:
    """A change of variables w = basis · v after which the Hessian is close to the identity.

    Attributes
    ----------
    basis : ndarray of shape (n_features, n_directions)
        Orthogonal columns.
    penalty : ndarray of shape (n_directions,)
        Squared lengths of the columns: ‖w‖² = Σ penalty · v².
    """

    basis: Matrix
    penalty: Matrix


def fit_preconditioner(features: Matrix, row_weights: Matrix) -> Preconditioner:
    """Return the eigenvectors of H = I + Zᵀ diag(row_weights) Z, scaled so that vᵀHv = 1.

    H approximates the Hessian of the objective; in this basis L-BFGS needs several times fewer
    iterations. With more features than rows, only the span of the rows is kept: the optimal w
    lies in it.

    Parameters
    ----------
    features : ndarray of shape (n_samples, n_features)
        Centred rows Z.
    row_weights : ndarray of shape (n_samples,)
        Second derivative of each row's loss, not negative.

    Returns
    -------
    Preconditioner
        With at most min(n_samples, n_features) directions.
    """
    n_samples, n_features = features.shape
    if n_features <= n_samples:
        gram = np.zeros((n_features, n_features))
        for batch in gen_batches(n_samples, _MAX_ENTRIES // max(1, n_features) + 1):
            rows = features[batch] * np.sqrt(row_weights[batch])[:, None]
            gram += rows.T @ rows
        curvature, directions = eigh(gram)
    else:
        rows = features * np.sqrt(row_weights)[:, None]
        curvature, combinations = eigh(rows @ rows.T)
        kept = curvature > curvature[-1] * len(curvature) * np.finfo(float).eps
        curvature = curvature[kept]
        directions = rows.T @ (combinations[:, kept] / np.sqrt(curvature))
    penalty = 1.0 / (1.0 + np.maximum(curvature, 0.0))
    return Preconditioner(directions * np.sqrt(penalty), penalty)


@final
@dataclass(frozen=True)
class PreconditionedFeatures:
    """Centred features in the preconditioned coordinates v, where w = basis · v.

    Attributes
    ----------
    matrix : ndarray or csr_array of shape (n_samples, n_directions)
        Features times basis. A sparse matrix is not centred, which would fill it.
    shift : ndarray of shape (n_directions,) or None
        Column means of a matrix that is not centred; None if it is.
    basis : ndarray of shape (n_features, n_directions) or (n_features,)
        A matrix, or the diagonal of a diagonal one.
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

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return int(self.matrix.shape[0])

    @property
    def n_stored(self) -> int:
        """Number of first rows whose features are in memory: all."""
        return self.n_rows

    def first(self, n_rows: int) -> "PreconditionedFeatures":
        """Return the features of the first rows, a view if they are dense."""
        return replace(self, matrix=self.matrix[:n_rows])

    def scores(self, coordinates: Matrix) -> Matrix:
        """Return the centred features times w, of shape (n_samples, n_problems)."""
        # Transposed, the product of a tall matrix and few columns takes half the time in BLAS.
        product: Matrix = (coordinates.T @ self.matrix.T).T
        if self.shift is not None:
            product -= self.shift @ coordinates
        return product

    def gradient(self, by_scores: Matrix) -> Matrix:
        """Return the gradient by the coordinates, given the gradient by the scores."""
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
        """Return the coordinates of w, projected onto the span of the basis."""
        if self.basis.ndim == 1:
            return weights / self.basis[:, None]
        return (self.basis.T @ weights) / self.penalty[:, None]


def precondition(
    features: Any, row_weights: Matrix, projection: Matrix | None = None
) -> PreconditionedFeatures:
    """Precondition features: by the basis of :func:`fit_preconditioner`, diagonally if sparse.

    Parameters
    ----------
    features : ndarray or csr_array of shape (n_samples, n_columns)
        Overwritten if dense.
    row_weights : ndarray of shape (n_samples,)
        Second derivative of each row's loss, not negative. Rows with the weight of the last one
        follow all others, in random order.
    projection : ndarray of shape (n_columns, n_features) or None
        The model's features are ``features @ projection``; None is the identity. Dense only.

    Returns
    -------
    PreconditionedFeatures
        If dense, it may share the memory of ``features``.
    """
    if issparse(features):
        return _precondition_sparse(features, row_weights)
    centre = features.mean(axis=0)
    features -= centre
    weights = basis_row_weights(row_weights, ROWS_PER_DIRECTION * features.shape[1])
    rows = features[: len(weights)]
    fitted = fit_preconditioner(rows if projection is None else rows @ projection, weights)
    basis = fitted.basis
    if projection is not None:
        centre, basis = centre @ projection, projection @ basis
    if basis.shape[0] != basis.shape[1]:
        return PreconditionedFeatures(features @ basis, None, fitted.basis, fitted.penalty, centre)
    for batch in gen_batches(len(features), _MAX_ENTRIES // max(1, features.shape[1]) + 1):
        features[batch] = features[batch] @ basis
    return PreconditionedFeatures(features, None, fitted.basis, fitted.penalty, centre)


def precondition_again(
    features: PreconditionedFeatures, row_weights: Matrix
) -> PreconditionedFeatures:
    """Return the same features in a basis for other row weights, as of a part of the rows.

    Parameters
    ----------
    features : PreconditionedFeatures
        Rows, all of which have weights.
    row_weights : ndarray of shape (n_samples,)
        As for :func:`precondition`.
    """
    if features.shift is not None:
        return _precondition_sparse(features.matrix.multiply(1.0 / features.basis), row_weights)
    lengths = np.sqrt(features.penalty)
    # Columns of the basis are orthogonal: divided by their lengths they keep the norm of w.
    fitted = fit_preconditioner(features.matrix / lengths, row_weights)
    change = fitted.basis / lengths[:, None]
    return PreconditionedFeatures(
        features.matrix @ change, None, features.basis @ change, fitted.penalty, features.centre
    )


def basis_row_weights(row_weights: Matrix, n_rows: int, n_sample: int = 0) -> Matrix:
    """Return row weights for a sample, the first rows, whose Hessian is about that of all rows.

    The weight of the rows left out is shared among those of the same kind in the sample.

    Parameters
    ----------
    row_weights : ndarray of shape (n_samples,)
        Weights of all rows; those with the weight of the last one follow all others.
    n_rows : int
        Least number of rows of the last kind in the sample, if it is not 10,000.
    n_sample : int, default=0
        Least number of all rows in the sample.
    """
    last = row_weights == row_weights[-1]
    n_kept = max(int((~last).sum()) + max(n_rows, _BASIS_ROWS), n_sample)
    if n_kept >= len(row_weights):
        return row_weights
    weights = row_weights[:n_kept].copy()
    weights[last[:n_kept]] *= last.sum() / last[:n_kept].sum()
    return weights


def _precondition_sparse(features: Any, row_weights: Matrix) -> PreconditionedFeatures:
    """Jacobi preconditioning: divide each feature by the root of its diagonal Hessian entry."""
    centre = np.asarray(features.mean(axis=0)).ravel()
    squares = np.asarray(features.multiply(features).T @ row_weights)
    # Σ w (x - c)² for the mean c of all rows.
    products = np.asarray(features.T @ row_weights)
    spread = squares - 2 * centre * products + row_weights.sum() * centre**2
    penalty = 1.0 / (1.0 + np.maximum(spread, 0.0))
    basis = np.sqrt(penalty)
    matrix = csr_array(features.multiply(basis[None, :]))
    return PreconditionedFeatures(matrix, centre * basis, basis, penalty, centre)
