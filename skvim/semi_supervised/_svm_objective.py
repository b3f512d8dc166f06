"""Objective of the transductive support vector machine (TSVM), and its smooth surrogate.

With scores f = Zw + b of the features Z, one column of w and b per one-vs-rest problem, labels
s = ±1 and the share r of the positive class, the objective is, summed over the problems,

    J = ½‖w‖² + C Σ_labelled max(0, 1 - s f)² + C* Σ_unlabelled max(0, 1 - abs(f))²

Annealing minimises a smooth surrogate with a class balance constraint as a penalty:

    ½‖w‖² + C Σ_labelled max(0, 1 - s f)² + C* Σ_unlabelled exp(-3 f²)
    + ½ ρ (mean tanh(2 f) - (2 r - 1))²

where the mean is over all rows and ρ = 40 C* u² / (l + u) for l labelled, u unlabelled rows.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import final

import numpy as np
from numpy.typing import NDArray

from skvim.semi_supervised._preconditioning import PreconditionedFeatures
from skvim.semi_supervised._streamed_features import StreamedFeatures

__all__ = [
    "Loss",
    "LossWeights",
    "Problem",
    "class_balance_loss",
    "class_balance_weight",
    "gaussian_loss",
    "objective_and_gradient",
    "soft_signs",
    "squared_hinge_loss",
    "subsample_unlabeled",
    "supervised_loss",
    "surrogate_loss",
    "symmetric_squared_hinge_loss",
    "transductive_loss",
    "transductive_objective",
]

Matrix = NDArray[np.float64]
#: Function from scores to a loss and its gradient by the scores.
Loss = Callable[[Matrix], tuple[float, Matrix]]

GAUSSIAN_RATE = 3.0  # of exp(-3 f²), the usual smooth surrogate of max(0, 1 - |f|)²
TANH_SLOPE = 2.0  # of tanh(2 f), the soft sign of a score, about ±1 beyond the margin
BALANCE_FACTOR = 40.0  # of the balance penalty, against the at most C* u that imbalance can save


def squared_hinge_loss(
    scores: Matrix, signs: Matrix, weights: Matrix | float = 1.0
) -> tuple[float, Matrix]:
    """Return the squared hinge loss Σ c max(0, 1 - s f)² and its gradient by the scores f.

    Weights c are one number or of shape (n_samples, 1).
    """
    slack = np.maximum(0.0, 1.0 - signs * scores)
    weighted = weights * slack
    return float(np.sum(weighted * slack)), -2.0 * signs * weighted


def gaussian_loss(scores: Matrix) -> tuple[float, Matrix]:
    """Return the smooth loss of unlabelled rows, Σ exp(-3 f²), and its gradient by the scores."""
    loss = np.exp(-GAUSSIAN_RATE * scores * scores)
    return float(np.sum(loss)), -2.0 * GAUSSIAN_RATE * scores * loss


def symmetric_squared_hinge_loss(scores: Matrix) -> float:
    """Return Σ max(0, 1 - abs(f))²: the squared hinge loss with the better of both labels."""
    return float(np.sum(np.maximum(0.0, 1.0 - np.abs(scores)) ** 2))


def soft_signs(scores: Matrix) -> tuple[Matrix, Matrix]:
    """Return tanh(2 f) and its derivative by f."""
    signs = np.tanh(TANH_SLOPE * scores)
    return signs, TANH_SLOPE * (1.0 - signs * signs)


def class_balance_loss(
    scores: Matrix, target: Matrix, n_labeled: int, multiplicity: float
) -> tuple[float, Matrix]:
    """Return the class balance penalty Σ_problems ½ (mean tanh(2 f) - target)² and its gradient.

    tanh is a soft count of the rows on either side. The usual constraint on the mean of f itself
    also pulls rows far from the boundary back to it.

    Parameters
    ----------
    scores : ndarray of shape (n_samples, n_problems)
        f.
    target : ndarray of shape (n_problems,)
        2 r - 1.
    n_labeled : int
        Number of labelled rows, which come first and have weight 1 in the mean.
    multiplicity : float
        Weight of each of the other rows.
    """
    signs, slopes = soft_signs(scores)
    n_rows = n_labeled + multiplicity * (len(scores) - n_labeled)
    sums = signs[:n_labeled].sum(axis=0) + multiplicity * signs[n_labeled:].sum(axis=0)
    imbalance = sums / n_rows - target
    by_scores = imbalance * slopes / n_rows
    if multiplicity != 1.0:
        by_scores[n_labeled:] *= multiplicity
    return float(0.5 * np.sum(imbalance**2)), by_scores


def class_balance_weight(C_unlabeled: float, n_labeled: int, n_unlabeled: float) -> float:
    """Return ρ = 40 C* u² / (l + u): large for many unlabelled rows, negligible for few."""
    return BALANCE_FACTOR * C_unlabeled * n_unlabeled**2 / (n_labeled + n_unlabeled)


@final
@dataclass(frozen=True)
class LossWeights:
    """Weights of the losses of labelled and unlabelled rows: C and C*.

    C is one number, or of shape (n_labeled, 1).
    """

    labeled: Matrix | float
    unlabeled: float

    def of(self, rows: slice | NDArray[np.intp]) -> "LossWeights":
        """Return the weights of some of the labelled rows."""
        if not isinstance(self.labeled, np.ndarray):
            return self
        return replace(self, labeled=self.labeled[rows])


@final
@dataclass(frozen=True)
class Problem:
    """Optimisation problem of one fit: data and weights.

    Attributes
    ----------
    features : PreconditionedFeatures or StreamedFeatures
        Labelled rows first.
    signs : ndarray of shape (n_labeled, n_problems)
        +1 or -1.
    shares : ndarray of shape (n_problems,) or None
        Share r of each problem's positive class among all rows; None: no balance penalty.
    loss_weights : LossWeights
        C and C*.
    intercept_scale : float
        Preconditioner of the intercepts: b is this times its variable.
    multiplicity : float
        Number of rows that each unlabelled one represents; C* is the weight of all of them.
    """

    features: PreconditionedFeatures | StreamedFeatures
    signs: Matrix
    shares: Matrix | None
    loss_weights: LossWeights
    intercept_scale: float
    multiplicity: float = 1.0

    @property
    def shape(self) -> tuple[int, int]:
        """Shape of the optimisation variables: coordinates of w, then one row of intercepts."""
        return len(self.features.penalty) + 1, self.signs.shape[1]

    @property
    def n_unlabeled(self) -> int:
        """Number of unlabelled rows."""
        return self.features.n_rows - len(self.signs)

    @property
    def total_weight(self) -> float:
        """Sum of the weights of all rows, C l + C* u."""
        weights = self.loss_weights
        labeled = np.sum(np.broadcast_to(weights.labeled, (len(self.signs), 1)))
        return float(labeled) + weights.unlabeled * self.n_unlabeled

    @property
    def balance_weight(self) -> float:
        """Weight ρ of the class balance penalty."""
        times = self.multiplicity
        C_unlabeled = self.loss_weights.unlabeled / times
        return class_balance_weight(C_unlabeled, len(self.signs), times * self.n_unlabeled)

    def unpack(self, variables: Matrix) -> tuple[Matrix, Matrix]:
        """Split variables into the coordinates of w and the intercepts."""
        matrix = variables.reshape(self.shape)
        return matrix[:-1], self.intercept_scale * matrix[-1]

    def pack(self, weights: Matrix, intercepts: Matrix) -> Matrix:
        """Return the variables of a w and b for the original, uncentred features."""
        coordinates = self.features.coordinates(weights)
        centred = intercepts + self.features.centre @ weights
        return np.vstack([coordinates, centred / self.intercept_scale]).ravel()

    def scores(self, variables: Matrix) -> Matrix:
        """Return f, of shape (n_samples, n_problems)."""
        coordinates, intercepts = self.unpack(variables)
        scores = self.features.scores(coordinates)
        scores += intercepts
        return scores


def subsample_unlabeled(problem: Problem, n_unlabeled: int) -> Problem:
    """Return the problem with only the first unlabelled rows, reweighted to represent all.

    Parameters
    ----------
    problem : Problem
        With unlabelled rows in random order.
    n_unlabeled : int
        Number of unlabelled rows to keep at most.

    Returns
    -------
    Problem
        Same variables; features are a view if dense. The kept rows have the total weight of all,
        also in the class balance. The problem itself if it has no more rows.
    """
    if problem.n_unlabeled <= n_unlabeled:
        return problem
    multiplicity = problem.n_unlabeled / n_unlabeled
    weight = problem.loss_weights.unlabeled * multiplicity
    return replace(
        problem,
        features=problem.features.first(len(problem.signs) + n_unlabeled),
        loss_weights=replace(problem.loss_weights, unlabeled=weight),
        multiplicity=multiplicity,
    )


def surrogate_loss(scores: Matrix, problem: Problem, C_unlabeled: float) -> tuple[float, Matrix]:
    """Return the surrogate objective without ½‖w‖², and its gradient by the scores.

    Parameters
    ----------
    scores : ndarray of shape (n_samples, n_problems)
        f.
    problem : Problem
        The data.
    C_unlabeled : float
        Current C* of the unlabelled rows; the balance penalty keeps its final weight.
    """
    n_labeled, weights = len(problem.signs), problem.loss_weights
    labeled, by_labeled = squared_hinge_loss(scores[:n_labeled], problem.signs, weights.labeled)
    unlabeled, by_unlabeled = gaussian_loss(scores[n_labeled:])
    value = labeled + C_unlabeled * unlabeled
    by_scores = _concatenate(by_labeled, C_unlabeled * by_unlabeled, scores)
    if problem.shares is None:
        return value, by_scores
    target = 2.0 * problem.shares - 1.0
    balance, gradient = class_balance_loss(scores, target, n_labeled, problem.multiplicity)
    by_scores += problem.balance_weight * gradient
    return value + problem.balance_weight * balance, by_scores


def supervised_loss(
    scores: Matrix, signs: Matrix, problem: Problem, C_unlabeled: float
) -> tuple[float, Matrix]:
    """Return Σ c max(0, 1 - s f)² with a label for every row, and its gradient by the scores.

    Parameters
    ----------
    scores, signs : ndarray of shape (n_samples, n_problems)
        f and ±1.
    problem : Problem
        The data.
    C_unlabeled : float
        Weight c of the unlabelled rows, whose signs are assigned ones; C for the others.
    """
    n_labeled = len(problem.signs)
    C = problem.loss_weights.labeled
    labeled, by_labeled = squared_hinge_loss(scores[:n_labeled], signs[:n_labeled], C)
    unlabeled, by_unlabeled = squared_hinge_loss(scores[n_labeled:], signs[n_labeled:])
    value = labeled + C_unlabeled * unlabeled
    return value, _concatenate(by_labeled, C_unlabeled * by_unlabeled, scores)


def _concatenate(labeled: Matrix, unlabeled: Matrix, scores: Matrix) -> Matrix:
    """Stack both parts in the memory layout of the scores."""
    result = np.empty_like(scores)
    result[: len(labeled)] = labeled
    result[len(labeled) :] = unlabeled
    return result


def objective_and_gradient(variables: Matrix, problem: Problem, loss: Loss) -> tuple[float, Matrix]:
    """Return ½‖w‖² plus a loss of the scores, and the gradient by the variables.

    Parameters
    ----------
    variables : ndarray of shape (n_variables,)
        See :attr:`Problem.shape`.
    problem : Problem
        The data.
    loss : callable
        Function from scores to loss and its gradient.

    Returns
    -------
    value : float
        Value of the objective.
    gradient : ndarray of shape (n_variables,)
        Gradient by the variables.
    """
    coordinates, _ = problem.unpack(variables)
    value, by_scores = loss(problem.scores(variables))
    penalized = problem.features.penalty[:, None] * coordinates
    by_intercepts = problem.intercept_scale * by_scores.sum(axis=0)
    gradient = np.vstack([problem.features.gradient(by_scores) + penalized, by_intercepts])
    return value + float(0.5 * np.sum(penalized * coordinates)), gradient.ravel()


def transductive_objective(variables: Matrix, problem: Problem) -> float:
    """Return the objective J of the module docstring at the problem's C*."""
    coordinates, _ = problem.unpack(variables)
    norm = 0.5 * float(np.sum(problem.features.penalty[:, None] * coordinates**2))
    return norm + transductive_loss(problem.scores(variables), problem)


def transductive_loss(scores: Matrix, problem: Problem) -> float:
    """Return J without ½‖w‖²."""
    n_labeled, weights = len(problem.signs), problem.loss_weights
    labeled, _ = squared_hinge_loss(scores[:n_labeled], problem.signs, weights.labeled)
    return labeled + weights.unlabeled * symmetric_squared_hinge_loss(scores[n_labeled:])
