"""The objective of the transductive support vector machine, as functions of arrays.

With f = Zw + b for the rows Z, one column of w and b per one-vs-rest problem, labels s = ±1 and
the share r of the column's class, the objective sums over the columns

    ½‖w‖² + C Σ_labelled max(0, 1 - s f)² + C* Σ_unlabelled exp(-3 f²)
    + ½ ρ (mean tanh(2 f) - (2 r - 1))²

where the mean is over all rows and ρ = 40 C* u² / (l + u) for l labelled, u unlabelled rows.
"""

from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.linalg import eigh
from numpy.typing import NDArray

__all__ = [
    "Problem",
    "Whitening",
    "balance_loss",
    "balance_weight",
    "cluster_loss",
    "evaluate",
    "margin_loss",
    "shrunk_frequencies",
    "whiten",
]

Matrix = NDArray[np.float64]

SHARPNESS = 3.0  # of exp(-3 f²), the usual smooth stand-in for max(0, 1 - |f|)²
STEEPNESS = 2.0  # of tanh(2 f), which counts a row fully from the margin on
FIRMNESS = 40.0  # of the class balance, against the at most C* u that imbalance can save


def margin_loss(scores: Matrix, signs: Matrix) -> tuple[float, Matrix]:
    """Return Σ max(0, 1 - s f)² and its derivative by the scores f."""
    slack = np.maximum(0.0, 1.0 - signs * scores)
    return float(np.sum(slack * slack)), -2.0 * signs * slack


def cluster_loss(scores: Matrix) -> tuple[float, Matrix]:
    """Return Σ exp(-3 f²), large where the boundary f = 0 meets rows, and its derivative."""
    loss = np.exp(-SHARPNESS * scores * scores)
    return float(np.sum(loss)), -2.0 * SHARPNESS * scores * loss


def balance_loss(scores: Matrix, target: Matrix) -> tuple[float, Matrix]:
    """Return Σ_columns ½ (mean tanh(2 f) - target)² and its derivative by the scores f.

    tanh counts on which side a row lies. The mean of f itself, the usual choice, also asks that
    rows far from the boundary come back to it.
    """
    sides = np.tanh(STEEPNESS * scores)
    imbalance = sides.mean(axis=0) - target
    by_scores = imbalance * STEEPNESS * (1.0 - sides * sides) / len(scores)
    return float(0.5 * np.sum(imbalance**2)), by_scores


def balance_weight(C_unlabeled: float, n_labeled: int, n_unlabeled: int) -> float:
    """Return ρ = 40 C* u² / (l + u): firm for many unlabelled rows, nothing for few."""
    return FIRMNESS * C_unlabeled * n_unlabeled**2 / (n_labeled + n_unlabeled)


def shrunk_frequencies(frequencies: Matrix, n_labeled: int) -> Matrix:
    """Return class frequencies drawn towards equal ones as far as chance explains the difference.

    With q the observed frequencies of K classes among n labels, the result is
    λ/K + (1 - λ) q with λ = (1 - Σ q²) / ((n - 1) Σ (1/K - q)²), at most 1, which estimates the
    mixture of least squared error [1]_.

    Parameters
    ----------
    frequencies : ndarray of shape (n_classes,)
        Observed shares, with sum 1.
    n_labeled : int
        Number of labels they were counted on.

    Returns
    -------
    ndarray of shape (n_classes,)
        Shares with sum 1.

    References
    ----------
    .. [1] Hausser, J. and Strimmer, K. (2009). "Entropy inference and the James-Stein
           estimator, with application to nonlinear gene association networks". Journal of
           Machine Learning Research 10, 1469-1484.
    """
    equal = 1.0 / len(frequencies)
    distance = (n_labeled - 1) * np.sum((frequencies - equal) ** 2)
    chance = 1.0 - np.sum(frequencies**2)
    shrinkage = 1.0 if chance >= distance else chance / distance
    return shrinkage * equal + (1.0 - shrinkage) * frequencies


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
    rows = features * np.sqrt(row_weights)[:, None]
    if rows.shape[1] <= rows.shape[0]:
        curvature, directions = eigh(rows.T @ rows)
    else:
        curvature, combinations = eigh(rows @ rows.T)
        kept = curvature > curvature[-1] * len(curvature) * np.finfo(float).eps
        curvature = curvature[kept]
        directions = rows.T @ (combinations[:, kept] / np.sqrt(curvature))
    penalty = 1.0 / (1.0 + np.maximum(curvature, 0.0))
    return Whitening(directions * np.sqrt(penalty), penalty)


@final
@dataclass(frozen=True)
class Problem:
    """The data of one fit, in whitened coordinates.

    Attributes
    ----------
    rows : ndarray of shape (n_samples, n_directions)
        Centred features in the whitened basis, labelled rows first.
    penalty : ndarray of shape (n_directions,)
        Weight of each squared coordinate in ‖w‖².
    signs : ndarray of shape (n_labeled, n_problems)
        +1 or -1.
    target : ndarray of shape (n_problems,)
        2 r - 1 for the share r of the column's class.
    C : float
        Weight of a labelled row.
    balance : float
        Weight ρ of the class balance.
    intercept_scale : float
        Length of a unit step of the intercept's coordinate.
    """

    rows: Matrix
    penalty: Matrix
    signs: Matrix
    target: Matrix
    C: float
    balance: float
    intercept_scale: float

    @property
    def shape(self) -> tuple[int, int]:
        """Shape of the variables: the coordinates of w, then one row for the intercepts."""
        return len(self.penalty) + 1, len(self.target)

    def split(self, variables: Matrix) -> tuple[Matrix, Matrix]:
        """Return the coordinates of w and the intercepts."""
        matrix = variables.reshape(self.shape)
        return matrix[:-1], self.intercept_scale * matrix[-1]


def evaluate(variables: Matrix, problem: Problem, C_unlabeled: float) -> tuple[float, Matrix]:
    """Return the objective at a weight C* of the unlabelled rows, and its gradient, both flat.

    Parameters
    ----------
    variables : ndarray of shape (n_variables,)
        See :attr:`Problem.shape`.
    problem : Problem
        The data.
    C_unlabeled : float
        C*; the class balance keeps its weight.

    Returns
    -------
    value : float
        The objective.
    gradient : ndarray of shape (n_variables,)
        Its gradient.
    """
    weights, intercepts = problem.split(variables)
    scores = problem.rows @ weights + intercepts
    n_labeled = len(problem.signs)
    margin, by_labeled = margin_loss(scores[:n_labeled], problem.signs)
    cluster, by_unlabeled = cluster_loss(scores[n_labeled:])
    balance, by_sides = balance_loss(scores, problem.target)
    by_scores = problem.balance * by_sides
    by_scores[:n_labeled] += problem.C * by_labeled
    by_scores[n_labeled:] += C_unlabeled * by_unlabeled
    penalized = problem.penalty[:, None] * weights
    value = (
        0.5 * np.sum(penalized * weights)
        + problem.C * margin
        + C_unlabeled * cluster
        + problem.balance * balance
    )
    by_intercepts = problem.intercept_scale * by_scores.sum(axis=0)
    gradient = np.vstack([problem.rows.T @ by_scores + penalized, by_intercepts])
    return float(value), gradient.ravel()
