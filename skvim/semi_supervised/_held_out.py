"""Evidence for or against the unlabelled rows: loss of held-out labels, and agreement of fits."""

import itertools
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import final

import numpy as np
from numpy.typing import NDArray

from skvim.semi_supervised._calibration import class_scores
from skvim.semi_supervised._solver import (
    SOLVERS,
    StoppingCriteria,
    solve_supervised,
)
from skvim.semi_supervised._svm_objective import Problem

__all__ = ["Evidence", "held_out_evidence", "held_out_folds", "squared_hinge"]

Matrix = NDArray[np.float64]
#: Function from the classes of labelled rows to the class shares of a problem.
EstimateShares = Callable[[NDArray[np.intp]], Matrix | None]

N_FOLDS = 5
MAX_ROWS = 5000  # unlabelled rows of the fits that hold labels out
TOL_FACTOR = 10.0  # these fits are compared, not used
# The gain has to exceed this over the square root of the number of labels held out.
LEAST_GAIN = 0.06
# The same for the loss alone, over the root of the supervised machine's loss, as the deviation of
# a mean of losses is: from here on the transductive machine counts most.
CLEAR_LOSS_GAIN = 0.7
WEIGHTS = (0.2, 0.8)  # of the transductive machine in the average, if its gain is not or is clear
# Loss of a label at most, that of the score -1: one label must not decide.
MAX_LOSS = 4.0


@final
@dataclass(frozen=True)
class Evidence:
    """What fits without a part of the labels say of the two machines.

    Attributes
    ----------
    loss : tuple of float
        Mean squared hinge loss of the held-out labels, of each at most 4, of the supervised and of
        the transductive machine.
    disagreement : tuple of float
        Share of unlabelled rows whose predicted classes differ between two such fits, on average.
    n_held : int
        Number of labels that were held out.
    """

    loss: tuple[float, float]
    disagreement: tuple[float, float]
    n_held: int

    @property
    def gain(self) -> float:
        """Half of what the transductive machine saves of the loss, and of the disagreement."""
        saved = [before - after for before, after in (self.loss, self.disagreement)]
        return 0.5 * sum(saved)

    @property
    def unlabeled_weight(self) -> float:
        """Weight of the transductive machine: 0 without a gain, 0.8 if the loss saved is clear."""
        if not self.gain > LEAST_GAIN / np.sqrt(self.n_held):  # NaN is no gain
            return 0.0
        before, after = self.loss
        return WEIGHTS[bool(before - after > CLEAR_LOSS_GAIN * np.sqrt(before / self.n_held))]


def squared_hinge(scores: Matrix, codes: NDArray[np.intp]) -> Matrix:
    """Return max(0, 1 - m/2)² of each row, m the true class's score less the best other one.

    With two classes it is the machine's own squared hinge loss max(0, 1 - s f)².

    Parameters
    ----------
    scores : ndarray of shape (n_samples, n_classes)
        A score for each class.
    codes : ndarray of int of shape (n_samples,)
        The true classes.
    """
    rows = np.arange(len(codes))
    others = scores.copy()
    others[rows, codes] = -np.inf
    margin = scores[rows, codes] - others.max(axis=1)
    loss: Matrix = np.maximum(0.0, 1.0 - margin / 2.0) ** 2
    return loss


def held_out_folds(
    codes: NDArray[np.intp], generator: np.random.Generator
) -> list[NDArray[np.intp]]:
    """Return up to five disjoint sets of labelled rows, none with all labels of a class.

    Parameters
    ----------
    codes : ndarray of int of shape (n_labeled,)
        Classes; rows that are alone in their class are in no set.
    generator : numpy.random.Generator
        Chooses the rows.

    Returns
    -------
    list of ndarray of int
        Row numbers; empty unless rows of at least two classes can be held out: one class tells
        nothing of a boundary.
    """
    repeated = np.flatnonzero(np.bincount(codes) > 1)
    if len(repeated) < 2:
        return []
    classes = [generator.permutation(np.flatnonzero(codes == k)) for k in repeated]
    rows = np.concatenate(classes)
    return [rows[start::N_FOLDS] for start in range(min(N_FOLDS, len(rows)))]


def held_out_evidence(
    problem: Problem,
    codes: NDArray[np.intp],
    estimate_shares: EstimateShares,
    solver: str,
    stopping: StoppingCriteria,
    generator: np.random.Generator,
) -> Evidence | None:
    """Fit both machines without each fold of the labels, to at most 5,000 unlabelled rows.

    Parameters
    ----------
    problem : Problem
        Of all labels.
    codes : ndarray of int of shape (n_labeled,)
        Class of each labelled row, in the order of the problem.
    estimate_shares : callable
        Function from the classes of labelled rows to class shares.
    solver : {"gradient", "switching"}
        Solver of the transductive machine.
    stopping : StoppingCriteria
        Stopping criteria of the final fit; here they are coarser.
    generator : numpy.random.Generator
        Chooses the folds.

    Returns
    -------
    Evidence or None
        None if no labels of two classes can be held out.
    """
    folds = held_out_folds(codes, generator)
    if not folds:
        return None
    coarse = replace(stopping, tol=TOL_FACTOR * stopping.tol)
    n_hidden = problem.features.n_stored - len(codes)
    hidden = len(codes) + np.sort(generator.permutation(n_hidden)[:MAX_ROWS])
    losses, predicted = [], []
    for held in folds:
        kept = np.delete(np.arange(len(codes)), held)
        part = _part(problem, kept, hidden, estimate_shares(codes[kept]))
        rows = np.concatenate([held, hidden])
        for variables in _both(part, solver, coarse):
            scores = class_scores(_with_rows(problem, rows).scores(variables))
            loss = squared_hinge(scores[: len(held)], codes[held])
            losses.append(float(np.sum(np.minimum(loss, MAX_LOSS))))
            predicted.append(scores[len(held) :].argmax(axis=1))
    n_held = sum(map(len, folds))
    mean = [sum(losses[machine::2]) / n_held for machine in (0, 1)]
    differ = [_disagreement(predicted[machine::2]) for machine in (0, 1)]
    return Evidence((mean[0], mean[1]), (differ[0], differ[1]), n_held)


def _both(part: Problem, solver: str, stopping: StoppingCriteria) -> tuple[Matrix, Matrix]:
    """Return the variables of the supervised and of the transductive machine."""
    alone = solve_supervised(part, stopping)
    start = np.zeros(part.shape).ravel()
    *_, last = SOLVERS[solver](part, start, stopping, False)
    return part.pack(alone.weights, alone.intercepts), last.x


def _part(
    problem: Problem, kept: NDArray[np.intp], hidden: NDArray[np.intp], shares: Matrix | None
) -> Problem:
    """Return the problem of some labels and unlabelled rows, which weigh as much as all."""
    multiplicity = problem.n_unlabeled / len(hidden)
    weights = problem.loss_weights.of(kept)
    return replace(
        _with_rows(problem, np.concatenate([kept, hidden])),
        signs=problem.signs[kept],
        shares=shares,
        loss_weights=replace(weights, unlabeled=weights.unlabeled * multiplicity),
        multiplicity=problem.multiplicity * multiplicity,
    )


def _with_rows(problem: Problem, rows: NDArray[np.intp]) -> Problem:
    """Return the problem with the features of some rows."""
    first = problem.features.first(int(rows.max()) + 1)
    return replace(problem, features=replace(first, matrix=first.matrix[rows]))


def _disagreement(predicted: list[NDArray[np.intp]]) -> float:
    """Return the share of rows on which two of the predictions differ, on average over pairs."""
    pairs = itertools.combinations(predicted, 2)
    return float(np.mean([np.mean(one != other) for one, other in pairs]))
