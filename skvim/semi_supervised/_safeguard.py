"""A transductive machine that is its supervised part unless unlabelled rows are seen to help."""

from dataclasses import dataclass, replace
from typing import final

import numpy as np
from numpy.typing import NDArray

from skvim.semi_supervised._calibration import class_scores
from skvim.semi_supervised._class_shares import (
    offsets_for_shares,
    part_of_the_way,
    soft_shares,
)
from skvim.semi_supervised._held_out import (
    EstimateShares,
    Evidence,
    held_out_evidence,
)
from skvim.semi_supervised._solver import (
    Solution,
    StoppingCriteria,
    objectives,
    solve,
    solve_supervised,
)
from skvim.semi_supervised._svm_objective import Problem, subsample_unlabeled

__all__ = [
    "SafeSolution",
    "move_towards_shares",
    "solve_safely",
    "why_not_used",
]

Matrix = NDArray[np.float64]


@final
@dataclass(frozen=True)
class SafeSolution:
    """Solution, with the weight of the transductive machine in it and what spoke for it.

    Attributes
    ----------
    solution : Solution
        w and b.
    unlabeled_weight : float
        Between 0, the supervised machine, and 1, the transductive one.
    evidence : Evidence or None
        None if it was not asked for, or too few labels can be held out.
    """

    solution: Solution
    unlabeled_weight: float = 1.0
    evidence: Evidence | None = None


def solve_safely(
    problem: Problem,
    codes: NDArray[np.intp],
    estimate_shares: EstimateShares,
    solver: str,
    stopping: StoppingCriteria,
    start: tuple[Matrix, Matrix] | None,
    generator: np.random.Generator,
    share_step: float | None = None,
) -> SafeSolution:
    """Return the supervised machine, or its average with the transductive one where that gains.

    Parameters
    ----------
    problem : Problem
        Of all rows.
    codes : ndarray of int of shape (n_labeled,)
        Class of each labelled row, in the order of the problem.
    estimate_shares : callable
        Function from the classes of labelled rows to class shares.
    solver, stopping, start
        As for :func:`solve`.
    generator : numpy.random.Generator
        Chooses which labels are held out.
    share_step : float or None, default=None
        As for :func:`move_towards_shares`.

    Returns
    -------
    SafeSolution
        Without unlabelled rows, or if they have no weight, the supervised machine.
    """
    if not problem.n_unlabeled or not problem.loss_weights.unlabeled:
        return SafeSolution(solve(problem, solver, stopping, start), 0.0)
    evidence = held_out_evidence(problem, codes, estimate_shares, solver, stopping, generator)
    alone = move_towards_shares(solve_supervised(problem, stopping), problem, share_step)
    weight = evidence.unlabeled_weight if evidence else 0.0
    if not weight:
        return SafeSolution(_with_objective(alone, problem, alone.history[:0]), 0.0, evidence)
    found = solve(problem, solver, stopping, start)
    average = replace(
        found,
        weights=(1.0 - weight) * alone.weights + weight * found.weights,
        intercepts=(1.0 - weight) * alone.intercepts + weight * found.intercepts,
        n_iter=alone.n_iter + found.n_iter,
        converged=alone.converged and found.converged,
    )
    return SafeSolution(_with_objective(average, problem, found.history), weight, evidence)


def _with_objective(solution: Solution, problem: Problem, history: Matrix) -> Solution:
    """Return the solution with its own J at the end of a history."""
    point = problem.pack(solution.weights, solution.intercepts)
    return replace(solution, history=np.append(history, objectives([point], problem)))


def move_towards_shares(solution: Solution, problem: Problem, step: float | None) -> Solution:
    """Move intercepts so that class shares are nearer to those of the problem.

    Shares are those of soft predictions for all rows; where features of some only are in memory,
    those stand for the others. Without shares in the problem the solution stays as it is.

    Parameters
    ----------
    solution : Solution
        w and b.
    problem : Problem
        Rows, and shares r.
    step : float or None
        From 0, which changes nothing, to 1, with which the shares are r. None: that of
        :func:`part_of_the_way`.
    """
    if problem.shares is None:
        return solution
    n_labeled = len(problem.signs)
    sample = subsample_unlabeled(problem, problem.features.n_stored - n_labeled)
    row_weights = np.repeat([1.0, sample.multiplicity], [n_labeled, sample.n_unlabeled])
    scores = class_scores(sample.scores(sample.pack(solution.weights, solution.intercepts)))
    binary = problem.shape[1] == 1
    wanted = np.append(1.0 - problem.shares, problem.shares) if binary else problem.shares
    shares = soft_shares(scores, row_weights=row_weights)
    if step is None:
        step = part_of_the_way(shares, wanted, n_labeled)
    offsets = offsets_for_shares(scores, (1.0 - step) * shares + step * wanted, row_weights)
    return replace(solution, intercepts=solution.intercepts + (offsets[1:] if binary else offsets))


def why_not_used(evidence: Evidence | None, shares_used: bool) -> str:
    """Return the text of the warning that unlabelled rows are not used.

    Parameters
    ----------
    evidence : Evidence or None
        Losses and disagreements of fits without a part of the labels; None if there are none.
    shares_used : bool
        Whether they are used for class shares.
    """
    use = "uses the unlabelled rows for class shares only"
    because = "no labels of two classes can be held out to tell whether they help"
    if evidence:
        because = (
            "fits without a part of the labels do not gain by them (unlabeled_gain_ is "
            f"{evidence.gain:.3f}, agreement_ {1.0 - evidence.disagreement[1]:.2f})"
        )
    return (
        f"{use if shares_used else 'does not use the unlabelled rows'}: {because}. With safe=False "
        "they are used all the same. If labels were chosen by class, set class_prior."
    )
