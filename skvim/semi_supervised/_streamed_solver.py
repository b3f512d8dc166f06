"""Minimisation over all rows where their features are streamed: L-BFGS with few passes.

A pass over the rows computes all kernel values, so that iterations are costly. Each one-vs-rest
problem therefore has a preconditioner of its own, the Hessian at the start: rows beyond the margin
do not count in it, and most rows of a problem are.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cholesky, solve_triangular
from scipy.optimize import OptimizeResult, minimize
from sklearn.utils import gen_batches

from skvim._validation import check_results
from skvim.semi_supervised._feature_maps import stored_values
from skvim.semi_supervised._streamed_features import StreamedFeatures
from skvim.semi_supervised._svm_objective import (
    Problem,
    soft_signs,
    supervised_loss,
    surrogate_loss,
    transductive_loss,
)

__all__ = [
    "minimize_streamed_supervised",
    "minimize_streamed_surrogate",
    "streamed_objectives",
]

Matrix = NDArray[np.float64]
#: Function from variables to a loss of all rows, and its gradient by coordinates and intercepts.
StreamedLoss = Callable[[Matrix], tuple[float, Matrix, Matrix]]

_SURROGATE_ITERATIONS = 10
_ROUNDING = 1e-6  # relative
_HESSIAN_ROWS = 3  # for every direction; more were measured not to save iterations
_MAX_FACTORS = 2**26  # entries of the factors of problems that are solved together
# The intercept has no penalty; where no row is within the margin its curvature would be 0.
_INTERCEPT_PENALTY = 1e-3
_MAX_SELECTED = 2**22  # entries of features of selected rows held at once


def _features(problem: Problem) -> StreamedFeatures:
    """Return the problem's features, which have to be streamed ones."""
    if not isinstance(problem.features, StreamedFeatures):
        raise TypeError("The problem's features are not streamed.")
    return problem.features


def _labeled_part(problem: Problem, block: slice) -> Problem:
    """Return the problem of a block of rows, without class balance."""
    weights = problem.loss_weights.of(block)
    return replace(problem, signs=problem.signs[block], shares=None, loss_weights=weights)


def streamed_supervised(
    variables: Matrix, problem: Problem, positive: NDArray[np.bool_], C_unlabeled: float
) -> tuple[float, Matrix, Matrix]:
    """Return :func:`supervised_loss` in one pass, with its gradient.

    ``positive``, of shape (n_samples, n_problems), tells which labels are +1.
    """
    coordinates, intercepts = problem.unpack(variables)
    values = []

    def respond(block: slice, scores: Matrix) -> Matrix:
        signs = np.where(positive[block], 1.0, -1.0)
        part = _labeled_part(problem, block)
        value, by_scores = supervised_loss(scores + intercepts, signs, part, C_unlabeled)
        values.append(value)
        return by_scores

    products, sums = _features(problem).contract(coordinates, respond)
    return float(np.sum(values)), products, sums


def streamed_surrogate(
    variables: Matrix, problem: Problem, C_unlabeled: float
) -> tuple[float, Matrix, Matrix]:
    """Return :func:`surrogate_loss` in one pass, with its gradient.

    The gradient of the class balance penalty is a multiple, known after the pass, of that of the
    mean soft sign.
    """
    coordinates, intercepts = problem.unpack(variables)
    n_rows, n_problems = problem.features.n_rows, problem.shape[1]
    values, balance = [], np.zeros(n_problems)

    def respond(block: slice, scores: Matrix) -> Matrix:
        nonlocal balance
        scores = scores + intercepts
        value, by_scores = surrogate_loss(scores, _labeled_part(problem, block), C_unlabeled)
        values.append(value)
        if problem.shares is None:
            return by_scores
        signs, slopes = soft_signs(scores)
        balance = balance + signs.sum(axis=0)
        return np.hstack([by_scores, slopes / n_rows])

    products, sums = _features(problem).contract(coordinates, respond)
    if problem.shares is None:
        return float(np.sum(values)), products, sums
    imbalance = balance / n_rows - (2.0 * problem.shares - 1.0)
    weight = problem.balance_weight
    value = float(np.sum(values)) + 0.5 * weight * float(np.sum(imbalance**2))
    by_balance = weight * imbalance
    own, rest = slice(n_problems), slice(n_problems, None)
    return (
        value,
        products[:, own] + by_balance * products[:, rest],
        sums[own] + by_balance * sums[rest],
    )


def streamed_objectives(points: list[Matrix], problem: Problem) -> list[float]:
    """Return the objective J at several points, in one pass."""
    parts = [problem.unpack(point) for point in points]
    values = [0.5 * float(np.sum(problem.features.penalty[:, None] * v**2)) for v, _ in parts]
    width = problem.shape[1]

    def respond(block: slice, scores: Matrix) -> Matrix:
        for i, (_, intercepts) in enumerate(parts):
            own = scores[:, i * width : (i + 1) * width] + intercepts
            values[i] += transductive_loss(own, _labeled_part(problem, block))
        return scores[:, :0]

    _features(problem).contract(np.hstack([v for v, _ in parts]), respond)
    return values


def supervised_curvature(
    scores: Matrix, problem: Problem, positive: NDArray[np.bool_], C_unlabeled: float
) -> Matrix:
    """Return second derivatives of the loss of every row: those within the margin count."""
    rows = np.where(np.where(positive, scores, -scores) < 1.0, 2.0, 0.0)
    n_labeled = len(problem.signs)
    rows[:n_labeled] *= problem.loss_weights.labeled
    rows[n_labeled:] *= C_unlabeled
    return rows


def hessian_factors(problem: Problem, curvature: Matrix) -> list[Matrix]:
    """Return the Cholesky factor L of each problem's Hessian L Lᵀ, of ½‖w‖² and the loss.

    It is a preconditioner only, for which sums of features in single precision suffice.
    """
    factors = []
    for row_weights in curvature.T:
        hessian = np.diag(np.append(problem.features.penalty, _INTERCEPT_PENALTY))
        rows, weights = _hessian_rows(row_weights, len(problem.signs), problem.shape[0])
        unit = float(np.sqrt(weights.max(initial=0.0)))  # keeps single precision in its range
        for part in gen_batches(len(rows), _MAX_SELECTED // problem.shape[0] + 1):
            features = _features(problem).select(rows[part], unit)
            ones = np.full((len(features), 1), unit * problem.intercept_scale, dtype=np.float32)
            features = np.hstack([features, ones])
            features *= (np.sqrt(weights[part]) / unit).astype(np.float32)[:, None]
            hessian += features.T @ features
        # The rounding errors of these sums must not make it indefinite.
        diagonal = np.einsum("ii->i", hessian)
        diagonal += _ROUNDING * diagonal.max()
        X = stored_values(_features(problem).rows.X)
        check_results("TransductiveSVC.fit", hessian, X, advice=" or reduce C")
        factors.append(cholesky(hessian, lower=True))
    return factors


def _hessian_rows(
    weights: Matrix, n_labeled: int, n_directions: int
) -> tuple[NDArray[np.intp], Matrix]:
    """Return the first rows of positive weight, and weights with which they represent all."""
    rows, kept = [], []
    for part in (slice(0, n_labeled), slice(n_labeled, None)):
        counted = np.flatnonzero(weights[part] > 0) + part.start
        few = counted[: _HESSIAN_ROWS * n_directions]
        total = float(weights[few].sum())
        scale = float(weights[counted].sum()) / total if total > 0 else 1.0
        rows.append(few)
        kept.append(weights[few] * scale)
    return np.concatenate(rows), np.concatenate(kept)


def minimize_streamed_surrogate(
    problem: Problem, C_unlabeled: float, start: Matrix, limits: Any
) -> Any:
    """Minimise the smooth surrogate of all rows; return SciPy's OptimizeResult.

    It starts near the minimum of a sample, and ends after ten iterations: more were measured to
    give more errors, as does a small tolerance on the sample.
    """
    loss = partial(streamed_surrogate, problem=problem, C_unlabeled=C_unlabeled)

    def evaluate(variables: Matrix) -> tuple[float, Matrix]:
        value, gradient = _with_penalty(variables, problem, loss)
        return value, gradient.ravel()

    options = {
        "maxiter": min(limits.max_iter, _SURROGATE_ITERATIONS),
        "gtol": limits.tol * np.sqrt(problem.total_weight),
        "ftol": 10 * np.finfo(float).eps,
    }
    found = minimize(evaluate, start, jac=True, method="L-BFGS-B", options=options)
    found.success = found.success or found.nit >= _SURROGATE_ITERATIONS
    return found


def _with_penalty(variables: Matrix, problem: Problem, loss: StreamedLoss) -> tuple[float, Matrix]:
    """Return ½‖w‖² plus a loss, and the gradient by the variables, in their shape."""
    coordinates, _ = problem.unpack(variables)
    value, by_coordinates, by_intercepts = loss(variables)
    penalized = problem.features.penalty[:, None] * coordinates
    by_intercepts = problem.intercept_scale * by_intercepts
    gradient = np.vstack([by_coordinates + penalized, by_intercepts])
    return value + float(0.5 * np.sum(penalized * coordinates)), gradient


def minimize_streamed_supervised(
    problem: Problem, positive: NDArray[np.bool_], scores: Matrix, start: Matrix, limits: Any
) -> Any:
    """Solve the supervised SVM with a label for every row; return SciPy's OptimizeResult.

    Parameters
    ----------
    problem : Problem
        With streamed features.
    positive : ndarray of bool of shape (n_samples, n_problems)
        Which labels, given or assigned, are +1.
    scores : ndarray of shape (n_samples, n_problems)
        f at the start.
    start : ndarray of shape (n_variables,)
        Initial variables.
    limits : StoppingCriteria
        Stopping criteria.
    """
    C_unlabeled = problem.loss_weights.unlabeled
    found = []
    for columns, part in _groups(problem):
        own = np.ascontiguousarray(start.reshape(problem.shape)[:, columns]).ravel()
        labels = positive[:, columns]
        curvature = supervised_curvature(scores[:, columns], part, labels, C_unlabeled)
        loss = partial(streamed_supervised, problem=part, positive=labels, C_unlabeled=C_unlabeled)
        found.append(minimize_streamed(part, loss, hessian_factors(part, curvature), own, limits))
    return _joined(found, problem)


def _groups(problem: Problem) -> Iterator[tuple[slice, Problem]]:
    """Yield the one-vs-rest problems in groups whose factors fit in the memory limit."""
    n_together = max(1, _MAX_FACTORS // problem.shape[0] ** 2)
    for columns in gen_batches(problem.shape[1], n_together):
        shares = None if problem.shares is None else problem.shares[columns]
        yield columns, replace(problem, signs=problem.signs[:, columns], shares=shares)


def _joined(found: list[Any], problem: Problem) -> Any:
    """Return one result of the results of all groups."""
    n_directions = problem.shape[0]
    return OptimizeResult(
        x=np.hstack([part.x.reshape(n_directions, -1) for part in found]).ravel(),
        fun=float(sum(part.fun for part in found)),
        nit=sum(int(part.nit) for part in found),
        success=all(part.success for part in found),
    )


def minimize_streamed(
    problem: Problem, loss: StreamedLoss, factors: list[Matrix], start: Matrix, limits: Any
) -> Any:
    """Minimise ½‖w‖² plus a loss by L-BFGS in coordinates in which the Hessian is near identity.

    Parameters
    ----------
    problem : Problem
        With streamed features.
    loss : StreamedLoss
        The loss.
    factors : list of ndarray
        Of :func:`hessian_factors`.
    start : ndarray of shape (n_variables,)
        Initial variables.
    limits : StoppingCriteria
        As for stages without streaming: the gradient is that by the variables.

    Returns
    -------
    scipy.optimize.OptimizeResult
        ``fun`` is the minimum, ``x`` the variables, ``success`` whether the tolerance was met.
    """
    goal = limits.tol * np.sqrt(problem.total_weight)
    last = {"largest": np.inf}

    def evaluate(variables: Matrix) -> tuple[float, Matrix]:
        value, gradient = _with_penalty(variables, problem, loss)
        last["largest"] = float(np.abs(gradient).max())
        return value, _solve(factors, gradient)

    value, gradient = evaluate(start)
    if last["largest"] <= goal:
        return OptimizeResult(x=start, fun=value, nit=0, success=True)
    # L-BFGS's first step has length 1 at most; in this unit it is that of Newton's method.
    unit = float(np.linalg.norm(gradient))
    first = _to_factored(factors, start.reshape(problem.shape)).ravel() / unit
    known = {first.tobytes(): (value, gradient)}

    def scaled(point: Matrix) -> tuple[float, Matrix]:
        found = known.pop(point.tobytes(), None)
        if found is None:
            found = evaluate(_from_factored(factors, unit * point, problem.shape))
        return found[0] / unit**2, found[1].ravel() / unit

    def stop(_: Matrix) -> None:
        if last["largest"] <= goal:
            raise StopIteration

    options = {"maxiter": limits.max_iter, "gtol": 0.0, "ftol": 10 * np.finfo(float).eps}
    found = minimize(scaled, first, jac=True, method="L-BFGS-B", options=options, callback=stop)
    found.success = found.success or last["largest"] <= goal
    found.x = _from_factored(factors, unit * found.x, problem.shape)
    found.fun *= unit**2
    return found


def _solve(factors: list[Matrix], columns: Matrix) -> Matrix:
    """Return L⁻¹ times each column."""
    pairs = zip(factors, columns.T, strict=True)
    return np.stack([solve_triangular(L, c, lower=True) for L, c in pairs], axis=1)


def _to_factored(factors: list[Matrix], columns: Matrix) -> Matrix:
    """Return Lᵀ times each column."""
    return np.stack([L.T @ c for L, c in zip(factors, columns.T, strict=True)], axis=1)


def _from_factored(factors: list[Matrix], point: Matrix, shape: tuple[int, int]) -> Matrix:
    """Return L⁻ᵀ times each column, as variables of the problem."""
    pairs = zip(factors, point.reshape(shape).T, strict=True)
    parts = [solve_triangular(L, c, lower=True, trans="T") for L, c in pairs]
    return np.stack(parts, axis=1).ravel()
