"""The objectives of the transductive support vector machine, as functions of arrays.

With f = Zw + b for the rows Z, one column of w and b per one-vs-rest problem, labels s = ±1 and
the share r of the column's class, the objective is, summed over the columns,

    J = ½‖w‖² + C Σ_labelled max(0, 1 - s f)² + C* Σ_unlabelled max(0, 1 - abs(f))²

Annealing minimises a smooth stand-in, which also holds the classes to their shares:

    ½‖w‖² + C Σ_labelled max(0, 1 - s f)² + C* Σ_unlabelled exp(-3 f²)
    + ½ ρ (mean tanh(2 f) - (2 r - 1))²

where the mean is over all rows and ρ = 40 C* u² / (l + u) for l labelled, u unlabelled rows.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import final

import numpy as np
from numpy.typing import NDArray

from skvim.semi_supervised._rows import Rows

__all__ = [
    "Costs",
    "Loss",
    "Problem",
    "balance_loss",
    "balance_weight",
    "cluster_loss",
    "evaluate",
    "gap_loss",
    "given_labels",
    "margin_loss",
    "shrunk_frequencies",
    "smooth_loss",
    "thinned",
    "transductive_objective",
]

Matrix = NDArray[np.float64]
#: From scores to a loss and its derivative by the scores.
Loss = Callable[[Matrix], tuple[float, Matrix]]

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


def gap_loss(scores: Matrix) -> float:
    """Return Σ max(0, 1 - abs(f))², what a row costs that either label may have."""
    return float(np.sum(np.maximum(0.0, 1.0 - np.abs(scores)) ** 2))


def balance_loss(
    scores: Matrix, target: Matrix, n_labeled: int, multiplicity: float
) -> tuple[float, Matrix]:
    """Return Σ_columns ½ (mean tanh(2 f) - target)² and its derivative by the scores f.

    tanh counts on which side a row lies. The mean of f itself, the usual choice, also asks that
    rows far from the boundary come back to it.

    Parameters
    ----------
    scores : ndarray of shape (n_samples, n_problems)
        f.
    target : ndarray of shape (n_problems,)
        2 r - 1.
    n_labeled : int
        The first rows, which count once in the mean.
    multiplicity : float
        How often each of the others counts.
    """
    sides = np.tanh(STEEPNESS * scores)
    n_rows = n_labeled + multiplicity * (len(scores) - n_labeled)
    sums = sides[:n_labeled].sum(axis=0) + multiplicity * sides[n_labeled:].sum(axis=0)
    imbalance = sums / n_rows - target
    by_scores = imbalance * STEEPNESS * (1.0 - sides * sides) / n_rows
    if multiplicity != 1.0:
        by_scores[n_labeled:] *= multiplicity
    return float(0.5 * np.sum(imbalance**2)), by_scores


def balance_weight(C_unlabeled: float, n_labeled: int, n_unlabeled: float) -> float:
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
class Costs:
    """What a labelled and an unlabelled row weigh: C and C*."""

    labeled: float
    unlabeled: float


@final
@dataclass(frozen=True)
class Problem:
    """The data of one fit.

    Attributes
    ----------
    rows : Rows
        Labelled rows first.
    signs : ndarray of shape (n_labeled, n_problems)
        +1 or -1.
    shares : ndarray of shape (n_problems,) or None
        Share r of the column's class among all rows; None leaves it free.
    costs : Costs
        C and C*.
    intercept_scale : float
        Length of a unit step of the intercept's coordinate.
    multiplicity : float
        How many rows each unlabelled one stands for; C* is the weight of all of them.
    """

    rows: Rows
    signs: Matrix
    shares: Matrix | None
    costs: Costs
    intercept_scale: float
    multiplicity: float = 1.0

    @property
    def shape(self) -> tuple[int, int]:
        """Shape of the variables: the coordinates of w, then one row for the intercepts."""
        return len(self.rows.penalty) + 1, self.signs.shape[1]

    @property
    def n_unlabeled(self) -> int:
        """Number of rows without a label."""
        return int(self.rows.matrix.shape[0]) - len(self.signs)

    def split(self, variables: Matrix) -> tuple[Matrix, Matrix]:
        """Return the coordinates of w and the intercepts."""
        matrix = variables.reshape(self.shape)
        return matrix[:-1], self.intercept_scale * matrix[-1]

    def joined(self, weights: Matrix, intercepts: Matrix) -> Matrix:
        """Return the variables of weights and intercepts for features as they came."""
        coordinates = self.rows.coordinates(weights)
        centred = intercepts + self.rows.centre @ weights
        return np.vstack([coordinates, centred / self.intercept_scale]).ravel()

    def scores(self, variables: Matrix) -> Matrix:
        """Return f, of shape (n_samples, n_problems)."""
        coordinates, intercepts = self.split(variables)
        found = self.rows.scores(coordinates)
        found += intercepts
        return found


def thinned(problem: Problem, n_unlabeled: int) -> Problem:
    """Return a problem with the first unlabelled rows alone, which stand for all of them.

    Parameters
    ----------
    problem : Problem
        With unlabelled rows in random order.
    n_unlabeled : int
        How many to keep at most.

    Returns
    -------
    Problem
        Of the same variables, a view of the same rows where these are dense; together the kept
        ones weigh what all do, also in the balance. The problem itself, where it has no more.
    """
    if problem.n_unlabeled <= n_unlabeled:
        return problem
    matrix = problem.rows.matrix[: len(problem.signs) + n_unlabeled]
    multiplicity = problem.n_unlabeled / n_unlabeled
    weight = problem.costs.unlabeled * multiplicity
    return replace(
        problem,
        rows=replace(problem.rows, matrix=matrix),
        costs=replace(problem.costs, unlabeled=weight),
        multiplicity=multiplicity,
    )


def smooth_loss(scores: Matrix, problem: Problem, C_unlabeled: float) -> tuple[float, Matrix]:
    """Return what annealing adds to ½‖w‖², and its derivative by the scores.

    Parameters
    ----------
    scores : ndarray of shape (n_samples, n_problems)
        f.
    problem : Problem
        The data.
    C_unlabeled : float
        C* of the unlabelled rows for now; the class balance keeps its weight.
    """
    n_labeled, costs = len(problem.signs), problem.costs
    margin, by_labeled = margin_loss(scores[:n_labeled], problem.signs)
    cluster, by_unlabeled = cluster_loss(scores[n_labeled:])
    value = costs.labeled * margin + C_unlabeled * cluster
    by_scores = _joined(costs.labeled * by_labeled, C_unlabeled * by_unlabeled, scores)
    if problem.shares is None:
        return value, by_scores
    times = problem.multiplicity
    weight = balance_weight(costs.unlabeled / times, n_labeled, times * problem.n_unlabeled)
    balance, by_sides = balance_loss(scores, 2.0 * problem.shares - 1.0, n_labeled, times)
    by_scores += weight * by_sides
    return value + weight * balance, by_scores


def given_labels(
    scores: Matrix, signs: Matrix, problem: Problem, C_unlabeled: float
) -> tuple[float, Matrix]:
    """Return Σ c max(0, 1 - s f)² and its derivative, where every row has a sign.

    Parameters
    ----------
    scores, signs : ndarray of shape (n_samples, n_problems)
        f and ±1.
    problem : Problem
        The data.
    C_unlabeled : float
        What the rows weigh whose signs are supposed.
    """
    n_labeled = len(problem.signs)
    margin, by_labeled = margin_loss(scores[:n_labeled], signs[:n_labeled])
    supposed, by_unlabeled = margin_loss(scores[n_labeled:], signs[n_labeled:])
    value = problem.costs.labeled * margin + C_unlabeled * supposed
    costs = problem.costs.labeled
    return value, _joined(costs * by_labeled, C_unlabeled * by_unlabeled, scores)


def _joined(labeled: Matrix, unlabeled: Matrix, scores: Matrix) -> Matrix:
    """Return both parts in the order in memory that the scores have."""
    found = np.empty_like(scores)
    found[: len(labeled)] = labeled
    found[len(labeled) :] = unlabeled
    return found


def evaluate(variables: Matrix, problem: Problem, loss: Loss) -> tuple[float, Matrix]:
    """Return ½‖w‖² plus a loss of the scores, and the gradient.

    Parameters
    ----------
    variables : ndarray of shape (n_variables,)
        See :attr:`Problem.shape`.
    problem : Problem
        The data.
    loss : callable
        From scores to loss and derivative.

    Returns
    -------
    value : float
        The sum.
    gradient : ndarray of shape (n_variables,)
        By the variables.
    """
    coordinates, _ = problem.split(variables)
    value, by_scores = loss(problem.scores(variables))
    penalized = problem.rows.penalty[:, None] * coordinates
    by_intercepts = problem.intercept_scale * by_scores.sum(axis=0)
    gradient = np.vstack([problem.rows.gradient(by_scores) + penalized, by_intercepts])
    return value + float(0.5 * np.sum(penalized * coordinates)), gradient.ravel()


def transductive_objective(variables: Matrix, problem: Problem) -> float:
    """Return J at the problem's own C*."""
    coordinates, _ = problem.split(variables)
    scores, n_labeled = problem.scores(variables), len(problem.signs)
    norm = 0.5 * np.sum(problem.rows.penalty[:, None] * coordinates**2)
    margin, _ = margin_loss(scores[:n_labeled], problem.signs)
    gap = gap_loss(scores[n_labeled:])
    return float(norm + problem.costs.labeled * margin + problem.costs.unlabeled * gap)
