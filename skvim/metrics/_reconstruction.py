"""Reconstruction error in four units."""

import math
from dataclasses import dataclass, field
from typing import Any, final

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.pipeline import Pipeline

from skvim._float_errors import ignore_overflow
from skvim._layout import flatten
from skvim._modes import own_modes
from skvim._validation import check_is_fitted, check_matrix, check_results, count_rows
from skvim.metrics._standard_error import standard_error

__all__ = ["ReconstructionError", "reconstruction_error"]

# Factor of squared errors in the reference code of Wasserstein autoencoders.
_TABLE_II = 0.05
_ADVICE = " and its reconstructions by the same factor"
# Differences in memory at once.
_BLOCK_VALUES = 2**22


@final
@dataclass(frozen=True, eq=False, repr=False)
class ReconstructionError:
    """Errors of reconstructions x̂ of rows x, in four units.

    Printing it gives a table, :meth:`to_frame` a data frame. All but ``norm_per_sample`` differ by
    constant factors only.

    Attributes
    ----------
    squared_errors : ndarray of shape (n_samples,)
        ‖x − x̂‖² of every row, summed over features.
    n_features : int
        Number of values per row.

    See Also
    --------
    reconstruction_error : Computes it.
    """

    squared_errors: NDArray[np.float64] = field(repr=False)
    n_features: int

    @property
    def n_samples(self) -> int:
        """Number of rows."""
        return len(self.squared_errors)

    @property
    def sse_per_sample(self) -> float:
        """Mean over rows of ‖x − x̂‖², summed over features; in squared units of X."""
        return float(self.squared_errors.mean())

    @property
    def norm_per_sample(self) -> float:
        """Mean over rows of the Euclidean norm ‖x − x̂‖₂; in units of X."""
        return float(np.sqrt(self.squared_errors).mean())

    @property
    def mse_per_value(self) -> float:
        """Mean over rows and features of (x − x̂)²; in squared units of X."""
        return self.sse_per_sample / self.n_features

    @property
    def table_ii(self) -> float:
        """0.05 times ``sse_per_sample``: the cost in the Wasserstein autoencoders' code."""
        return _TABLE_II * self.sse_per_sample

    def to_frame(self) -> pd.DataFrame:
        """Return the errors in all units with their standard errors.

        Returns
        -------
        DataFrame
            Columns "mean" and "standard_error"; one row per unit, with the attribute's name as its
            index. The standard error is that of the mean over rows, NaN for one row.
        """
        rows = {
            "sse_per_sample": self.squared_errors,
            "norm_per_sample": np.sqrt(self.squared_errors),
            "mse_per_value": self.squared_errors / self.n_features,
            "table_ii": _TABLE_II * self.squared_errors,
        }
        table = {
            unit: (getattr(self, unit), standard_error(values)) for unit, values in rows.items()
        }
        return pd.DataFrame.from_dict(table, orient="index", columns=["mean", "standard_error"])

    def __repr__(self) -> str:
        """Return the table as text."""
        lines = [f"Reconstruction error of {self.n_samples} rows of {self.n_features} values"]
        for unit, mean, error in self.to_frame().itertuples():
            lines.append(f"  {unit:<15}  {mean:.4g} ± {error:.2g}")
        return "\n".join(lines)


@own_modes()
def reconstruction_error(estimator: Any, X: Any) -> ReconstructionError:
    """Compute the reconstruction error of rows under a fitted model.

    Parameters
    ----------
    estimator : estimator, or array-like of the shape of X
        A fitted model of skvim; any other fitted estimator or pipeline with ``transform`` and
        ``inverse_transform``, which are then applied in turn; or the reconstructions themselves.
        Errors of a pipeline are in the units of its input, before any scaling.
    X : array-like of shape (n_samples, n_features) or (n_samples, height, width[, channels])
        Rows or images of any numeric dtype; bytes are compared without overflow.

    Returns
    -------
    ReconstructionError
        ``sse_per_sample``, ``norm_per_sample``, ``mse_per_value`` and ``table_ii``.

    Raises
    ------
    sklearn.exceptions.NotFittedError
        If the estimator is not fitted.
    TypeError
        If the estimator has no ``inverse_transform``.
    ValueError
        If X and the reconstructions differ in shape, either holds NaN or infinity, or squared
        errors are beyond the range of float64.

    See Also
    --------
    information : Its ``distortion`` is −log p(x|z), in nats.

    Notes
    -----
    Models of skvim decode the posterior mean, as ``reconstruct`` does, whatever their ``output``.

    ``table_ii`` is what Table II of the paper most likely reports: it is headed ‖·‖₂, but its
    values are those of the cost 0.05 ‖x − x̂‖² of the reference code [1]_, whose settings the paper
    uses, and far too small for norms. Two more conditions must agree in a comparison:

    - The range of values. In the reference code grey images are in [0, 1] and colour images in
      [−1, 1], where squared errors are 4 times those of [0, 1].
    - The rows: the table uses 100 test rows; ``to_frame`` shows the standard error.

    References
    ----------
    .. [1] I. Tolstikhin, O. Bousquet, S. Gelly and B. Schölkopf (2018). Wasserstein auto-encoders.
       International Conference on Learning Representations, arXiv:1711.01558.

    Examples
    --------
    >>> from skvim.metrics import reconstruction_error
    >>> error = reconstruction_error([[3.0, 4.0], [0.0, 0.0]], [[0.0, 0.0], [0.0, 0.0]])
    >>> error.sse_per_sample, error.norm_per_sample, error.mse_per_value, error.table_ii
    (12.5, 2.5, 6.25, 0.625)
    """
    count_rows("X", X)
    decoded = _reconstruct(estimator, X) if _is_estimator(estimator) else estimator
    rows, copies = np.asarray(flatten(X)[0]), np.asarray(flatten(decoded)[0])
    if rows.shape != copies.shape:
        raise ValueError(
            "X and its reconstructions must have the same shape. Got "
            f"{np.shape(X)} and {np.shape(decoded)}."
        )
    size = max(1, _BLOCK_VALUES // max(1, math.prod(rows.shape[1:])))
    # In blocks, so that bytes or float32 are never converted to float64 as a whole.
    parts = [
        _squared_errors(rows[start : start + size], copies[start : start + size])
        for start in range(0, max(1, len(rows)), size)
    ]
    errors = np.concatenate(parts)
    with ignore_overflow():
        total = errors.sum()
    check_results("reconstruction_error", np.asarray(total), rows, copies, advice=_ADVICE)
    return ReconstructionError(errors, rows.shape[1])


def _is_estimator(candidate: Any) -> bool:
    """Whether it is an estimator rather than an array; raise if it cannot reconstruct."""
    if not isinstance(candidate, BaseEstimator):
        return False
    if not hasattr(candidate, "transform") or not hasattr(candidate, "inverse_transform"):
        raise TypeError(
            "reconstruction_error takes a fitted estimator that has transform and "
            f"inverse_transform, or reconstructions. Got {candidate!r} instead."
        )
    check_is_fitted(candidate)
    return True


def _reconstruct(estimator: Any, X: Any) -> Any:
    """Return the reconstructions of rows by an estimator or pipeline."""
    if isinstance(estimator, Pipeline) and len(estimator) > 1:
        before = estimator[:-1]
        return before.inverse_transform(_reconstruct(estimator[-1], before.transform(X)))
    if isinstance(estimator, Pipeline):
        return _reconstruct(estimator[-1], X)
    if estimator in (None, "passthrough"):
        return X
    if hasattr(estimator, "reconstruct"):
        return estimator.reconstruct(X)
    return estimator.inverse_transform(estimator.transform(X))


def _squared_errors(rows: NDArray[Any], copies: NDArray[Any]) -> NDArray[np.float64]:
    """Return the squared norm of each row's difference."""
    rows, copies = check_matrix("X", rows), check_matrix("reconstructions", copies)
    with ignore_overflow():
        difference = rows - copies
        squares: NDArray[np.float64] = np.einsum("ij,ij->i", difference, difference)
    return squares
