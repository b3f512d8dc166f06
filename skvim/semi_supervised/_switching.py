"""Supposed labels of unlabelled rows, and which of them to switch."""

import numpy as np
from numpy.typing import NDArray

from skvim.semi_supervised._objective import Problem

__all__ = ["first_signs", "switched"]

Matrix = NDArray[np.float64]

# What a switch has to gain: rounding would let two labels change places for ever.
_LEAST = 1e-6


def first_signs(scores: Matrix, problem: Problem) -> Matrix:
    """Return +1 for the rows of highest score in each column, as many as the class has.

    Parameters
    ----------
    scores : ndarray of shape (n_unlabeled, n_problems)
        Of the unlabelled rows.
    problem : Problem
        With the classes' shares among all rows. Where they are free, the signs of the scores.

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


def switched(scores: Matrix, signs: Matrix, problem: Problem) -> tuple[Matrix, int]:
    """Return labels with which the slacks at these scores are smaller, and how many changed.

    A row with slack ξ = max(0, 1 - s f) costs ξ², and (2 - ξ)² after a switch of s where ξ < 2.
    Where shares are given, labels change places in pairs, of a positive and a negative row, all
    pairs that gain at once; else every label switches that gains.

    Parameters
    ----------
    scores, signs : ndarray of shape (n_unlabeled, n_problems)
        f and the supposed labels.
    problem : Problem
        With the classes' shares.

    Returns
    -------
    signs : ndarray of shape (n_unlabeled, n_problems)
        The new labels.
    n_switched : int
        How many are new.
    """
    slack = 1.0 - signs * scores
    gain = np.maximum(slack, 0.0) ** 2 - np.maximum(2.0 - slack, 0.0) ** 2
    if problem.shares is None:
        change = gain > _LEAST
    else:
        change = np.zeros(signs.shape, dtype=bool)
        for column in range(signs.shape[1]):
            change[_pairs(gain[:, column], signs[:, column]), column] = True
    return np.where(change, -signs, signs), int(change.sum())


def _pairs(gain: Matrix, signs: Matrix) -> NDArray[np.intp]:
    """Return the rows of all pairs, one of each sign, that gain by changing places."""
    sides = [np.flatnonzero(signs > 0), np.flatnonzero(signs < 0)]
    up, down = (rows[np.argsort(-gain[rows], kind="stable")] for rows in sides)
    n = min(len(up), len(down))
    n_gaining = int(np.count_nonzero(gain[up[:n]] + gain[down[:n]] > _LEAST))
    return np.concatenate([up[:n_gaining], down[:n_gaining]])
