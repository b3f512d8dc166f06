"""Annealed minimisation of the objective."""

from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from skvim.semi_supervised._objective import Problem, balance_weight, evaluate, whiten

__all__ = ["Costs", "Solution", "pose", "solve"]

Matrix = NDArray[np.float64]

# From the supervised machine on, each stage starts at the solution of the one before, so that
# the labels decide which of the many local minima is reached.
STAGES = (0.0, 0.01, 0.1, 0.3, 1.0)


@final
@dataclass(frozen=True)
class Costs:
    """What a labelled and an unlabelled row weigh."""

    labeled: float
    unlabeled: float


@final
@dataclass(frozen=True)
class Solution:
    """A minimum of the objective.

    Attributes
    ----------
    weights : ndarray of shape (n_features, n_problems)
        w.
    intercepts : ndarray of shape (n_problems,)
        b, for features that are not centred.
    objective : float
        The value reached.
    n_iter : int
        Steps of all stages.
    converged : bool
        Whether every stage met its tolerance.
    """

    weights: Matrix
    intercepts: Matrix
    objective: float
    n_iter: int
    converged: bool


def solve(
    features: Matrix,
    signs: Matrix,
    target: Matrix,
    costs: Costs,
    *,
    max_iter: int,
    tol: float,
) -> Solution:
    """Minimise the objective from the supervised solution on.

    Parameters
    ----------
    features : ndarray of shape (n_samples, n_features)
        Labelled rows first; overwritten.
    signs : ndarray of shape (n_labeled, n_problems)
        +1 or -1.
    target : ndarray of shape (n_problems,)
        2 r - 1 for the share r of the column's class.
    costs : Costs
        C and C*.
    max_iter : int
        Steps allowed in each stage.
    tol : float
        A stage ends when no coordinate of the whitened gradient exceeds tol √(C l + C* u).

    Returns
    -------
    Solution
        In the coordinates of ``features``.
    """
    n_labeled, n_unlabeled = len(signs), len(features) - len(signs)
    scale = np.sqrt(costs.labeled * n_labeled + costs.unlabeled * n_unlabeled)
    # L-BFGS cannot go on once a step changes the objective by rounding only; its own value of
    # ftol would stop far earlier.
    options = {"maxiter": max_iter, "gtol": tol * scale, "ftol": 10 * np.finfo(float).eps}
    centre = features.mean(axis=0)
    features -= centre
    problem, basis = pose(features, signs, target, costs)
    variables = np.zeros(problem.shape).ravel()
    stages = STAGES if costs.unlabeled > 0 and n_unlabeled > 0 else (0.0,)
    n_iter, converged = 0, True
    for stage in stages:
        found = minimize(
            evaluate,
            variables,
            args=(problem, stage * costs.unlabeled),
            jac=True,
            method="L-BFGS-B",
            options=options,
        )
        variables = found.x
        n_iter += int(found.nit)
        converged = converged and bool(found.success)
    coordinates, intercepts = problem.split(variables)
    weights = basis @ coordinates
    return Solution(weights, intercepts - centre @ weights, float(found.fun), n_iter, converged)


def pose(features: Matrix, signs: Matrix, target: Matrix, costs: Costs) -> tuple[Problem, Matrix]:
    """Put centred features into the form that :func:`evaluate` takes.

    Returns
    -------
    problem : Problem
        The data in whitened coordinates.
    basis : ndarray of shape (n_features, n_directions)
        With w = basis · coordinates.
    """
    n_labeled, n_unlabeled = len(signs), len(features) - len(signs)
    balance = balance_weight(costs.unlabeled, n_labeled, n_unlabeled)
    row_weights = np.repeat([2.0 * costs.labeled, costs.unlabeled], [n_labeled, n_unlabeled])
    whitening = whiten(features, row_weights)
    problem = Problem(
        rows=features @ whitening.basis,
        penalty=whitening.penalty,
        signs=signs,
        target=target,
        C=costs.labeled,
        balance=balance,
        intercept_scale=1.0 / np.sqrt(row_weights.sum()),
    )
    return problem, whitening.basis
