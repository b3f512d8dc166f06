"""Shares of the classes among all rows: their estimate from labels, and scores that match them."""

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit, gammaln, logsumexp, softmax

__all__ = ["estimate_shares", "offsets_for_shares", "part_of_the_way", "soft_shares"]

Matrix = NDArray[np.float64]

EQUAL_PROBABILITY = 0.2  # before any label is seen, that all classes are equally frequent
CONCENTRATION = 2.0  # of the Dirichlet prior of unequal shares, in labels
SOFTNESS = 0.1  # temperature of soft shares, in standard deviations of the scores of a class
MAX_STEP = 0.5  # of the way to estimated shares, which are uncertain as well
# Chi-squared per degree of freedom at which half of that is gone; by chance its mean is 1.
HALF_STEP = 2.0


def estimate_shares(counts: Matrix) -> Matrix:
    """Return the posterior mean of class shares, given the numbers of labels of the classes.

    Before labels are seen, all K shares are 1/K with probability 1/5, else they have a symmetric
    Dirichlet distribution whose concentrations sum to 2. The mean of the posterior is
    p/K + (1 - p) (n_k + 2/K) / (n + 2), where p is the posterior probability of equal shares, by
    the multinomial likelihood of the counts and the Dirichlet-multinomial [1]_.

    Parameters
    ----------
    counts : ndarray of shape (n_classes,)
        Number of labelled rows of each class.

    Returns
    -------
    ndarray of shape (n_classes,)
        Estimates with sum 1.

    References
    ----------
    .. [1] Good, I. J. (1967). "A Bayesian significance test for multinomial distributions".
           Journal of the Royal Statistical Society B 29, 399-431.
    """
    n, n_classes = counts.sum(), len(counts)
    prior = np.full(n_classes, CONCENTRATION / n_classes)
    # Both without the multinomial coefficient, which cancels.
    equal = -n * np.log(n_classes)
    unequal = gammaln(CONCENTRATION) - gammaln(n + CONCENTRATION)
    unequal += np.sum(gammaln(counts + prior) - gammaln(prior))
    odds = np.log(EQUAL_PROBABILITY) - np.log1p(-EQUAL_PROBABILITY) + equal - unequal
    p = expit(odds)
    shares: Matrix = p / n_classes + (1.0 - p) * (counts + prior) / (n + CONCENTRATION)
    return shares


def part_of_the_way(own: Matrix, estimated: Matrix, n_labels: int) -> float:
    """Return which part of the way from a machine's class shares to estimated ones to go.

    It is T / (2 T + 4 (K - 1)), where T = n Σ (r_k - p_k)² / r_k is Pearson's chi-squared of n
    labels for the estimates r and the machine's shares p of K classes: little if chance alone
    explains the difference, and half of the way if it does not.

    Parameters
    ----------
    own, estimated : ndarray of shape (n_classes,)
        p, and r, which is positive.
    n_labels : int
        n.
    """
    statistic = n_labels * np.sum((estimated - own) ** 2 / estimated)
    return float(MAX_STEP * statistic / (statistic + HALF_STEP * (len(own) - 1)))


def soft_shares(
    scores: Matrix, offsets: Matrix | float = 0.0, row_weights: Matrix | None = None
) -> Matrix:
    """Return the mean over rows of the softmax of scores, with a tenth of their spread as unit.

    Parameters
    ----------
    scores : ndarray of shape (n_samples, n_classes)
        A score for each class.
    offsets : ndarray of shape (n_classes,), default=0.0
        Added to the scores.
    row_weights : ndarray of shape (n_samples,) or None, default=None
        How many rows each stands for; None is 1.

    Returns
    -------
    ndarray of shape (n_classes,)
        Shares with sum 1.
    """
    soft = softmax((scores + offsets) / _temperature(scores), axis=1)
    return np.average(soft, axis=0, weights=row_weights)


def offsets_for_shares(scores: Matrix, shares: Matrix, row_weights: Matrix | None = None) -> Matrix:
    """Return what to add to the scores of each class so that soft shares are those given.

    They minimise Σ_rows τ log Σ_k exp((f_k + b_k)/τ) - n Σ_k r_k b_k, which is convex in the
    offsets b and has the gradient n (soft share - r).

    Parameters
    ----------
    scores : ndarray of shape (n_samples, n_classes)
        A score f for each class.
    shares : ndarray of shape (n_classes,)
        Shares r with sum 1. Those below a tenth of a row count as such, which keeps b finite.
    row_weights : ndarray of shape (n_samples,) or None, default=None
        As for :func:`soft_shares`.

    Returns
    -------
    ndarray of shape (n_classes,)
        Offsets b with mean 0.
    """
    unit = _temperature(scores)
    scaled = scores / unit
    shares = np.maximum(shares, 0.1 / len(scores))
    shares = shares / shares.sum()

    def loss(offsets: Matrix) -> tuple[float, Matrix]:
        logs = logsumexp(scaled + offsets, axis=1)
        soft = softmax(scaled + offsets, axis=1)
        value = float(np.average(logs, weights=row_weights) - shares @ offsets)
        return value, np.average(soft, axis=0, weights=row_weights) - shares

    found = minimize(loss, np.zeros(len(shares)), jac=True, method="L-BFGS-B")
    offsets: Matrix = unit * (found.x - found.x.mean())
    return offsets


def _temperature(scores: Matrix) -> float:
    """Return the temperature of soft shares: a tenth of the spread of a class's scores."""
    return SOFTNESS * float((scores - scores.mean(axis=0)).std()) or 1.0
