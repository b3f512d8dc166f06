"""Solvers of the TSVM objective: annealing of a smooth surrogate, and label switching."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, final

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from skvim.semi_supervised._feature_maps import FeatureMap, KernelRows, NystroemMap
from skvim.semi_supervised._label_switching import initial_labels, switch_labels
from skvim.semi_supervised._preconditioning import (
    ROWS_PER_DIRECTION,
    PreconditionedFeatures,
    precondition,
    precondition_again,
)
from skvim.semi_supervised._streamed_features import StreamedFeatures, stream
from skvim.semi_supervised._streamed_solver import (
    minimize_streamed_supervised,
    minimize_streamed_surrogate,
    streamed_objectives,
)
from skvim.semi_supervised._svm_objective import (
    Loss,
    LossWeights,
    Problem,
    objective_and_gradient,
    subsample_unlabeled,
    supervised_loss,
    surrogate_loss,
    transductive_objective,
)

__all__ = [
    "MAX_SAMPLE",
    "SOLVERS",
    "Solution",
    "StoppingCriteria",
    "build_problem",
    "is_streamed",
    "minimize_supervised",
    "objectives",
    "solve",
    "solve_supervised",
]

Matrix = NDArray[np.float64]

# Factors of C*. Each stage starts at the solution of the one before, the first being the
# supervised SVM, so that the labels decide which of the many local minima is reached.
ANNEALING_STAGES = (0.0, 0.01, 0.1, 0.3, 1.0)
# The start of the next stage need not be as accurate as the final solution.
STAGE_TOL_FACTOR = 10.0
# Annealing uses a sample of at most 10,000 unlabelled rows, whose minimum differs from that of all
# rows by sampling error: minimising it accurately was measured to give worse results. The
# supervised stage needs the smaller tolerance, or the few labels of a rare class would not count.
MAX_SAMPLE, SAMPLE_TOL_FACTOR = 10_000, 100.0
# Factors of C*: Joachims doubles the weight from a value at which unlabelled rows hardly count.
SWITCHING_STAGES = tuple(2.0**-k for k in range(10, -1, -1))


@final
@dataclass(frozen=True)
class StoppingCriteria:
    """Stopping criteria of L-BFGS in each stage.

    Attributes
    ----------
    max_iter : int
        Maximum number of iterations.
    tol : float
        Maximum entry of the preconditioned gradient, relative to √(C l + C* u).
    """

    max_iter: int
    tol: float


@final
@dataclass(frozen=True)
class Solution:
    """Result of a solver.

    Attributes
    ----------
    weights : ndarray of shape (n_features, n_problems)
        w.
    intercepts : ndarray of shape (n_problems,)
        b, for the original, uncentred features.
    history : ndarray of shape (n_stages,)
        J after every stage; the last is that of the solution.
    n_iter : int
        L-BFGS iterations of all stages.
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
    stopping: StoppingCriteria,
    start: tuple[Matrix, Matrix] | None = None,
) -> Solution:
    """Minimise J locally, starting from the supervised solution or a given one.

    Parameters
    ----------
    problem : Problem
        Data and weights.
    solver : {"gradient", "switching"}
        Annealing, or Joachims' label switching.
    stopping : StoppingCriteria
        Stopping criteria of every stage.
    start : (weights, intercepts) or None
        Warm start, from which only the last stage is solved.

    Returns
    -------
    Solution
        For the original features.
    """
    variables = np.zeros(problem.shape).ravel()
    if start is not None:
        variables = problem.pack(*start)
    points, n_iter, converged = [], 0, True
    for stage in SOLVERS[solver](problem, variables, stopping, start is not None):
        variables = stage.x
        n_iter += int(stage.nit)
        converged = converged and bool(stage.success)
        points.append(variables)
    return Solution(*_original(variables, problem), objectives(points, problem), n_iter, converged)


def solve_supervised(problem: Problem, stopping: StoppingCriteria) -> Solution:
    """Fit the supervised SVM of the labelled rows; J, too, is that of the labelled rows."""
    part = _labeled_part(problem)
    start = np.zeros(part.shape).ravel()
    result = minimize_supervised(part, part.signs, 0.0, start, stopping)
    history = np.array([float(result.fun)])
    original = _original(result.x, part)
    return Solution(*original, history, int(result.nit), bool(result.success))


def _labeled_part(problem: Problem) -> Problem:
    """Return the problem of the labelled rows alone, preconditioned by their Hessian."""
    n_labeled = len(problem.signs)
    weights = 2.0 * np.broadcast_to(problem.loss_weights.labeled, (n_labeled, 1)).ravel()
    features = precondition_again(problem.features.first(n_labeled), weights)
    scale = float(1.0 / np.sqrt(weights.sum()))
    return replace(problem, features=features, intercept_scale=scale)


def _original(variables: Matrix, problem: Problem) -> tuple[Matrix, Matrix]:
    """Return w and b for the original features."""
    coordinates, intercepts = problem.unpack(variables)
    weights = problem.features.weights(coordinates)
    return weights, intercepts - problem.features.centre @ weights


def objectives(points: list[Matrix], problem: Problem) -> Matrix:
    """Return J at every point."""
    if isinstance(problem.features, StreamedFeatures):
        return np.array(streamed_objectives(points, problem))
    return np.array([transductive_objective(point, problem) for point in points])


def is_streamed(feature_map: FeatureMap, solver: str, n_unlabeled: int) -> bool:
    """Whether kernel values of all rows are computed in blocks rather than stored.

    They are if annealing and preconditioning use a sample of the rows only.
    """
    if not isinstance(feature_map, NystroemMap) or solver != "gradient":
        return False
    return n_unlabeled > max(MAX_SAMPLE, ROWS_PER_DIRECTION * len(feature_map.projection))


def build_problem(
    features: Any,
    signs: Matrix,
    shares: Matrix | None,
    loss_weights: LossWeights,
    projection: Matrix | None = None,
) -> Problem:
    """Build the optimisation problem: precondition features and intercepts.

    Parameters
    ----------
    features : ndarray, csr_array or KernelRows of shape (n_samples, n_columns)
        Labelled rows first, the others in random order; overwritten if dense.
    signs : ndarray of shape (n_labeled, n_problems)
        +1 or -1.
    shares : ndarray of shape (n_problems,) or None
        Share of each problem's positive class among all rows; None: no balance penalty.
    loss_weights : LossWeights
        C and C*.
    projection : ndarray of shape (n_columns, n_features) or None
        The model's features are ``features @ projection``; None is the identity.
    """
    n_labeled, n_unlabeled = len(signs), features.shape[0] - len(signs)
    C = np.broadcast_to(loss_weights.labeled, (n_labeled, 1))
    row_weights = np.append(2.0 * C, np.full(n_unlabeled, loss_weights.unlabeled))
    preconditioned: PreconditionedFeatures | StreamedFeatures
    if isinstance(features, KernelRows):
        projection = features.feature_map.projection
        preconditioned = stream(features, row_weights, projection, n_labeled + MAX_SAMPLE)
    else:
        preconditioned = precondition(features, row_weights, projection)
    intercept_scale = float(1.0 / np.sqrt(row_weights.sum()))
    return Problem(preconditioned, signs, shares, loss_weights, intercept_scale)


def _minimize(problem: Problem, loss: Loss, start: Matrix, stopping: StoppingCriteria) -> Any:
    """Minimise ½‖w‖² plus a loss by L-BFGS; return SciPy's OptimizeResult."""
    # SciPy's default ftol would stop long before gtol is reached; this one stops only when a step
    # changes the objective by rounding errors.
    options = {
        "maxiter": stopping.max_iter,
        "gtol": stopping.tol * np.sqrt(problem.total_weight),
        "ftol": 10 * np.finfo(float).eps,
    }
    return minimize(
        objective_and_gradient,
        start,
        args=(problem, loss),
        jac=True,
        method="L-BFGS-B",
        options=options,
    )


def _anneal(
    problem: Problem, variables: Matrix, stopping: StoppingCriteria, warm: bool
) -> Iterator[Any]:
    """Minimise the smooth surrogate while C* rises from 0 to its value, then J itself."""
    uses_unlabeled = problem.loss_weights.unlabeled > 0 and problem.n_unlabeled > 0
    stages: tuple[float, ...] = ANNEALING_STAGES if uses_unlabeled else ANNEALING_STAGES[:1]
    if uses_unlabeled and warm:
        stages = ANNEALING_STAGES[-1:]
    coarse = replace(stopping, tol=stopping.tol * STAGE_TOL_FACTOR)
    sample = subsample_unlabeled(problem, MAX_SAMPLE)
    on_sample, sample_stopping = stages[:-1], coarse
    if sample is not problem and len(stages) > 1:
        on_sample = stages
        sample_stopping = replace(stopping, tol=stopping.tol * SAMPLE_TOL_FACTOR)
    schedule = [(sample, stage, sample_stopping if stage else coarse) for stage in on_sample]
    # With unlabelled rows, the last stage only determines the labels; J is minimised after it.
    # Without, those that are not streamed count nothing.
    streamed = isinstance(problem.features, StreamedFeatures)
    complete = sample if streamed and not uses_unlabeled else problem
    schedule.append((complete, stages[-1], coarse if uses_unlabeled else stopping))
    for part, stage, limits in schedule:
        result = _minimize_surrogate(part, stage * part.loss_weights.unlabeled, variables, limits)
        variables = result.x
        yield result
    if uses_unlabeled:
        yield from _refine(problem, variables, stopping)


def _minimize_surrogate(
    problem: Problem, C_unlabeled: float, start: Matrix, stopping: StoppingCriteria
) -> Any:
    """Minimise the smooth surrogate."""
    if isinstance(problem.features, StreamedFeatures):
        return minimize_streamed_surrogate(problem, C_unlabeled, start, stopping)
    loss = partial(surrogate_loss, problem=problem, C_unlabeled=C_unlabeled)
    return _minimize(problem, loss, start, stopping)


def _refine(problem: Problem, variables: Matrix, stopping: StoppingCriteria) -> Iterator[Any]:
    """Minimise J itself, starting at the minimum of the surrogate, with labels fixed to its signs.

    With class shares this is done once, which keeps the class balance of the surrogate; without,
    it is repeated with the new signs until no label changes.
    """
    n_labeled, C_unlabeled = len(problem.signs), problem.loss_weights.unlabeled
    positive = None
    while True:
        scores = problem.scores(variables)
        assigned = np.vstack([problem.signs > 0, scores[n_labeled:] > 0])
        if positive is not None and (
            problem.shares is not None or np.array_equal(positive, assigned)
        ):
            return
        positive = assigned
        if isinstance(problem.features, StreamedFeatures):
            result = minimize_streamed_supervised(problem, positive, scores, variables, stopping)
        else:
            signs = np.where(positive, 1.0, -1.0)
            result = minimize_supervised(problem, signs, C_unlabeled, variables, stopping)
        variables = result.x
        yield result


def minimize_supervised(
    problem: Problem, signs: Matrix, C_unlabeled: float, start: Matrix, stopping: StoppingCriteria
) -> Any:
    """Solve the supervised SVM with a label for every row; return SciPy's OptimizeResult.

    Parameters
    ----------
    problem : Problem
        Data and weights.
    signs : ndarray of shape (n_samples, n_problems)
        Labels ±1 of all rows, given or assigned.
    C_unlabeled : float
        Weight of the rows whose labels are assigned.
    start : ndarray of shape (n_variables,)
        Initial variables.
    stopping : StoppingCriteria
        Stopping criteria.

    Returns
    -------
    scipy.optimize.OptimizeResult
        ``fun`` is the minimum, ``x`` the variables.
    """
    loss = partial(supervised_loss, signs=signs, problem=problem, C_unlabeled=C_unlabeled)
    return _minimize(problem, loss, start, stopping)


def _switch(
    problem: Problem, variables: Matrix, stopping: StoppingCriteria, warm: bool
) -> Iterator[Any]:
    """Joachims' algorithm: alternate supervised fits and label switches while J decreases."""
    n_labeled, C_unlabeled = len(problem.signs), problem.loss_weights.unlabeled
    uses_unlabeled = C_unlabeled > 0 and problem.n_unlabeled > 0
    signs = np.vstack([problem.signs, np.ones((problem.n_unlabeled, problem.shape[1]))])
    if not warm or not uses_unlabeled:
        result = minimize_supervised(problem, signs, 0.0, variables, stopping)
        variables = result.x
        yield result
    if not uses_unlabeled:
        return
    signs[n_labeled:] = initial_labels(problem.scores(variables)[n_labeled:], problem)
    for stage in SWITCHING_STAGES[-1:] if warm else SWITCHING_STAGES:
        n_switched = 1
        while n_switched:
            result = minimize_supervised(problem, signs, stage * C_unlabeled, variables, stopping)
            variables = result.x
            yield result
            scores = problem.scores(variables)[n_labeled:]
            signs[n_labeled:], n_switched = switch_labels(scores, signs[n_labeled:], problem)


#: Solvers by name.
SOLVERS: dict[str, Callable[[Problem, Matrix, StoppingCriteria, bool], Iterator[Any]]] = {
    "gradient": _anneal,
    "switching": _switch,
}
