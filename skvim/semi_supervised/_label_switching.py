"""Joachims' label switching: initial labels of unlabelled rows, and which labels to switch."""

import numpy as np
from numpy.typing import NDArray

from skvim.semi_supervised._svm_objective import Problem

__all__ = ["initial_labels", "switch_labels"]

Matrix = NDArray[np.float64]

# Smallest decrease of the loss that counts; rounding errors would switch two labels for ever.
_MIN_GAIN = 1e-6


def initial_labels(scores: Matrix, problem: Problem) -> Matrix:
    """Label the highest scores +1, as many as the class has rows, and the rest -1.

    Parameters
    ----------
    scores : ndarray of shape (n_unlabeled, n_problems)
        Scores of the unlabelled rows.
    problem : Problem
        With the class shares among all rows. If None, the signs of the scores are returned.

    Returns
    -------
    ndarray of shape (n_unlabeled, n_problems)
        +1 or -1.
    """
    if problem.shares is None:
        return np.where(scores > 0, 1.0, -1.0)
    n_rows = len(problem.signs) + len(scores)
    wanted = np.rint(problem.shares * n_rows) - (problem.signs > 0).sum(axis=0)
    ranks = np.argsort(np.argsort(-scores, axis=0, kind="stable"), axis=0, kind="stable")
    return np.where(ranks < wanted, 1.0, -1.0)


def switch_labels(scores: Matrix, signs: Matrix, problem: Problem) -> tuple[Matrix, int]:
    """Switch the assigned labels whose switch lowers the squared hinge loss at fixed scores.

    A row with slack ξ = max(0, 1 - s f) has the loss ξ², and after a switch of s the loss
    (2 - ξ)² where ξ < 2. With class shares, labels are exchanged in pairs of a positive and a
    negative row, all pairs that lower the loss at once; without, each label by itself.

    Parameters
    ----------
    scores, signs : ndarray of shape (n_unlabeled, n_problems)
        f and the assigned labels ±1.
    problem : Problem
        With the class shares, or None.

    Returns
    -------
    signs : ndarray of shape (n_unlabeled, n_problems)
        The new labels.
    n_switched : int
        Number of labels that changed.
    """
    slack = 1.0 - signs * scores
    gain = np.maximum(slack, 0.0) ** 2 - np.maximum(2.0 - slack, 0.0) ** 2
    if problem.shares is None:
        change = gain > _MIN_GAIN
    else:
        change = np.zeros(signs.shape, dtype=bool)
        for column in range(signs.shape[1]):
            change[_pairs_to_switch(gain[:, column], signs[:, column]), column] = True
    return np.where(change, -signs, signs), int(change.sum())


def _pairs_to_switch(gain: Matrix, signs: Matrix) -> NDArray[np.intp]:
    """Return the rows of all pairs of opposite sign whose exchange lowers the loss."""
    sides = [np.flatnonzero(signs > 0), np.flatnonzero(signs < 0)]
    up, down = (rows[np.argsort(-gain[rows], kind="stable")] for rows in sides)
    n = min(len(up), len(down))
    n_gaining = int(np.count_nonzero(gain[up[:n]] + gain[down[:n]] > _MIN_GAIN))
    return np.concatenate([up[:n_gaining], down[:n_gaining]])
