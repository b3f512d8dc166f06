"""Features of many rows, computed anew from kernel values in blocks of rows whenever needed.

The features of 1,000,000 rows and 1,000 landmarks would need 8 GB.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from skvim.semi_supervised._feature_maps import KernelRows
from skvim.semi_supervised._preconditioning import (
    ROWS_PER_DIRECTION,
    PreconditionedFeatures,
    basis_row_weights,
    precondition,
)

__all__ = ["StreamedFeatures", "stream"]

Matrix = NDArray[np.float64]
#: Function from a block of rows and its scores to columns that the pass contracts with features.
Respond = Callable[[slice, Matrix], Matrix]


@final
@dataclass(frozen=True)
class StreamedFeatures:
    """Features of all rows in the coordinates of :class:`PreconditionedFeatures`, in blocks.

    Attributes
    ----------
    rows : KernelRows
        All rows, labelled ones first, the others in random order.
    sample : PreconditionedFeatures
        Features of the first rows; all rows have its basis and centre.
    folding : ndarray of shape (n_landmarks, n_directions)
        Kernel values times this, minus ``shift``, are the features.
    shift : ndarray of shape (n_directions,)
        Features of the centre.
    """

    rows: KernelRows
    sample: PreconditionedFeatures
    folding: Matrix
    shift: Matrix

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return self.rows.shape[0]

    @property
    def n_stored(self) -> int:
        """Number of first rows whose features are in memory."""
        return self.sample.n_rows

    @property
    def penalty(self) -> Matrix:
        """Weights of the squared coordinates in ‖w‖²."""
        return self.sample.penalty

    @property
    def centre(self) -> Matrix:
        """Mean of the sample's features before preconditioning."""
        return self.sample.centre

    def first(self, n_rows: int) -> PreconditionedFeatures:
        """Return the features of the first rows, which are part of the sample."""
        return self.sample.first(n_rows)

    def select(self, rows: NDArray[np.intp], unit: float = 1.0) -> NDArray[np.float32]:
        """Return the features of rows times ``unit``, in single precision."""
        folding = (unit * self.folding).astype(np.float32)
        values: NDArray[np.float32] = self.rows.values(rows).astype(np.float32) @ folding
        values -= (unit * self.shift).astype(np.float32)
        return values

    def scores(self, coordinates: Matrix) -> Matrix:
        """Return the centred features times w, of shape (n_samples, n_problems)."""
        scores = np.empty((self.n_rows, coordinates.shape[1]))

        def keep(block: slice, values: Matrix) -> Matrix:
            scores[block] = values
            return values[:, :0]

        self.contract(coordinates, keep)
        return scores

    def gradient(self, by_scores: Matrix) -> Matrix:
        """Return the gradient by the coordinates, given the gradient by the scores."""
        none = np.empty((len(self.shift), 0))
        return self.contract(none, lambda block, _: by_scores[block])[0]

    def contract(self, coordinates: Matrix, respond: Respond) -> tuple[Matrix, Matrix]:
        """Compute scores block by block, and the products of features and responses to them.

        Parameters
        ----------
        coordinates : ndarray of shape (n_directions, n_problems)
            Coordinates of w.
        respond : callable
            Function from the rows of a block, as a slice, and their scores, to an array of shape
            (n_rows_of_block, n_columns).

        Returns
        -------
        products : ndarray of shape (n_directions, n_columns)
            Σ z respondᵀ over all rows z.
        sums : ndarray of shape (n_columns,)
            Sums of the responses.
        """
        folded, offset = self.folding @ coordinates, self.shift @ coordinates
        products: Any = 0.0
        sums: Any = 0.0
        for block, values in self.rows.blocks():
            responses = respond(block, values @ folded - offset)
            if responses.shape[1]:
                products = products + responses.T @ values
                sums = sums + responses.sum(axis=0)
        if isinstance(products, float):
            return np.empty((len(self.shift), 0)), np.empty(0)
        return (products @ self.folding).T - np.outer(self.shift, sums), np.asarray(sums)

    def weights(self, coordinates: Matrix) -> Matrix:
        """Return w of shape (n_features, n_problems)."""
        return self.sample.weights(coordinates)

    def coordinates(self, weights: Matrix) -> Matrix:
        """Return the coordinates of w, projected onto the span of the basis."""
        return self.sample.coordinates(weights)


def stream(
    rows: KernelRows, row_weights: Matrix, projection: Matrix, n_sample: int
) -> StreamedFeatures:
    """Return features of all rows, preconditioned by a sample of them.

    Parameters
    ----------
    rows : KernelRows
        Labelled rows first, the others in random order.
    row_weights : ndarray of shape (n_samples,)
        As for :func:`precondition`.
    projection : ndarray of shape (n_landmarks, n_features)
        The model's features are kernel values times this.
    n_sample : int
        Least number of rows whose features are kept, labelled ones included.
    """
    weights = basis_row_weights(row_weights, ROWS_PER_DIRECTION * projection.shape[0], n_sample)
    sample = precondition(rows.values(slice(0, len(weights))), weights, projection)
    return StreamedFeatures(rows, sample, projection @ sample.basis, sample.centre @ sample.basis)
