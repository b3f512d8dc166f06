"""Two ways to a small objective: annealing a smooth stand-in, and switching supposed labels."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, final

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from skvim.semi_supervised._objective import (
    Costs,
    Loss,
    Problem,
    evaluate,
    given_labels,
    smooth_loss,
    thinned,
    transductive_objective,
)
from skvim.semi_supervised._rows import whitened
from skvim.semi_supervised._switching import first_signs, switched

__all__ = ["SAMPLE", "SOLVERS", "Precision", "Solution", "pose", "solve"]

Matrix = NDArray[np.float64]

# From the supervised machine on, each stage starts at the solution of the one before, so that
# the labels decide which of the many local minima is reached.
STAGES = (0.0, 0.01, 0.1, 0.3, 1.0)
# Where the next stage starts need not be known as well as where the last one ends.
COARSENESS = 10.0
# Nor does it take all rows to find the way there, and the minimum of a sample is the whole's up
# to chance only: to follow it closely was measured to lead astray. The supervised start has to be
# closer: so large a gradient hides the few labels of a rare class.
SAMPLE, SAMPLE_COARSENESS = 10_000, 100.0
# Joachims doubles the weight from a value where unlabelled rows hardly count.
DOUBLINGS = tuple(2.0**-k for k in range(10, -1, -1))


@final
@dataclass(frozen=True)
class Precision:
    """When a stage ends: after so many steps, or with a gradient so small.

    Attributes
    ----------
    max_iter : int
        Steps of a stage.
    tol : float
        No coordinate of the whitened gradient exceeds tol √(C l + C* u).
    """

    max_iter: int
    tol: float


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
    history : ndarray of shape (n_stages,)
        J after every stage; the last is the solution's.
    n_iter : int
        Steps of all stages.
    converged : bool
        Whether every stage met its tolerance.
    """

    weights: Matrix
    intercepts: Matrix
    history: Matrix
    n_iter: int
    converged: bool


def solve(
    problem: Problem,
    solver: str,
    precision: Precision,
    start: tuple[Matrix, Matrix] | None = None,
) -> Solution:
    """Find a small J, from the supervised solution or a given one on.

    Parameters
    ----------
    problem : Problem
        The data.
    solver : {"gradient", "switching"}
        Annealing, or Joachims' label switching.
    precision : Precision
        Of every stage.
    start : (weights, intercepts) or None
        Of a similar problem: its last stage alone is solved, from there.

    Returns
    -------
    Solution
        In the coordinates of the features.
    """
    variables = np.zeros(problem.shape).ravel()
    if start is not None:
        variables = problem.joined(*start)
    history, n_iter, converged = [], 0, True
    for found in SOLVERS[solver](problem, variables, precision, start is not None):
        variables = found.x
        n_iter += int(found.nit)
        converged = converged and bool(found.success)
        history.append(transductive_objective(variables, problem))
    coordinates, intercepts = problem.split(variables)
    weights = problem.rows.weights(coordinates)
    offset = intercepts - problem.rows.centre @ weights
    return Solution(weights, offset, np.array(history), n_iter, converged)


def pose(
    features: Any,
    signs: Matrix,
    shares: Matrix | None,
    costs: Costs,
    projection: Matrix | None = None,
) -> Problem:
    """Put features into the form that a problem has.

    Parameters
    ----------
    features : ndarray or csr_array of shape (n_samples, n_columns)
        Labelled rows first, the others in random order; overwritten where dense.
    signs : ndarray of shape (n_labeled, n_problems)
        +1 or -1.
    shares : ndarray of shape (n_problems,) or None
        Share of the column's class.
    costs : Costs
        C and C*.
    projection : ndarray of shape (n_columns, n_features) or None
        What makes the machine's features of these; None where they are.
    """
    n_labeled, n_unlabeled = len(signs), features.shape[0] - len(signs)
    row_weights = np.repeat([2.0 * costs.labeled, costs.unlabeled], [n_labeled, n_unlabeled])
    rows = whitened(features, row_weights, projection)
    return Problem(rows, signs, shares, costs, float(1.0 / np.sqrt(row_weights.sum())))


def _minimum(problem: Problem, loss: Loss, start: Matrix, precision: Precision) -> Any:
    """Return scipy's result for ½‖w‖² plus a loss."""
    costs = problem.costs
    total = costs.labeled * len(problem.signs) + costs.unlabeled * problem.n_unlabeled
    # L-BFGS cannot go on once a step changes the objective by rounding only; its own value of
    # ftol would stop far earlier.
    options = {
        "maxiter": precision.max_iter,
        "gtol": precision.tol * np.sqrt(total),
        "ftol": 10 * np.finfo(float).eps,
    }
    return minimize(
        evaluate, start, args=(problem, loss), jac=True, method="L-BFGS-B", options=options
    )


def _anneal(problem: Problem, variables: Matrix, precision: Precision, warm: bool) -> Iterator[Any]:
    """Minimise the smooth stand-in while C* rises from nothing to its value."""
    both = problem.costs.unlabeled > 0 and problem.n_unlabeled > 0
    stages: tuple[float, ...] = STAGES[-1:] if both else STAGES[:1]
    if both and not warm:
        stages = STAGES
    coarse = replace(precision, tol=precision.tol * COARSENESS)
    sample, ahead, goal = thinned(problem, SAMPLE), stages[:-1], coarse
    if sample is not problem and both and not warm:
        ahead, goal = stages, replace(precision, tol=precision.tol * SAMPLE_COARSENESS)
    # What settles the labels need not be exact where J itself is minimised after it.
    last = (problem, stages[-1], coarse if both else precision)
    way = ((sample, stage, goal if stage else coarse) for stage in ahead)
    for part, stage, limits in (*way, last):
        loss = partial(smooth_loss, problem=part, C_unlabeled=stage * part.costs.unlabeled)
        found = _minimum(part, loss, variables, limits)
        variables = found.x
        yield found
    if both:
        yield from _settle(problem, variables, precision)


def _settle(problem: Problem, variables: Matrix, precision: Precision) -> Iterator[Any]:
    """Minimise J itself from the minimum of the stand-in, with the labels that it supposes.

    Where shares are free, labels follow the scores until none changes; else they are kept, and
    with them the balance that the stand-in has.
    """
    n_labeled = len(problem.signs)
    signs = np.zeros((0,))
    while True:
        scores = problem.scores(variables)[n_labeled:]
        supposed = np.vstack([problem.signs, np.where(scores > 0, 1.0, -1.0)])
        if np.array_equal(signs, supposed) or (len(signs) and problem.shares is not None):
            return
        signs = supposed
        found = _given(problem, signs, problem.costs.unlabeled, variables, precision)
        variables = found.x
        yield found


def _given(
    problem: Problem, signs: Matrix, C_unlabeled: float, start: Matrix, precision: Precision
) -> Any:
    """Return scipy's result of the supervised problem with supposed labels."""
    loss = partial(given_labels, signs=signs, problem=problem, C_unlabeled=C_unlabeled)
    return _minimum(problem, loss, start, precision)


def _switch(problem: Problem, variables: Matrix, precision: Precision, warm: bool) -> Iterator[Any]:
    """Suppose labels, solve the supervised problem, and switch labels while that lowers J."""
    n_labeled, C_unlabeled = len(problem.signs), problem.costs.unlabeled
    both = C_unlabeled > 0 and problem.n_unlabeled > 0
    signs = np.vstack([problem.signs, np.ones((problem.n_unlabeled, problem.shape[1]))])
    if not warm or not both:
        found = _given(problem, signs, 0.0, variables, precision)
        variables = found.x
        yield found
    if not both:
        return
    signs[n_labeled:] = first_signs(problem.scores(variables)[n_labeled:], problem)
    for stage in DOUBLINGS[-1:] if warm else DOUBLINGS:
        n_switched = 1
        while n_switched:
            found = _given(problem, signs, stage * C_unlabeled, variables, precision)
            variables = found.x
            yield found
            scores = problem.scores(variables)[n_labeled:]
            signs[n_labeled:], n_switched = switched(scores, signs[n_labeled:], problem)


#: Ways to solve a problem, by name.
SOLVERS: dict[str, Callable[[Problem, Matrix, Precision, bool], Iterator[Any]]] = {
    "gradient": _anneal,
    "switching": _switch,
}
