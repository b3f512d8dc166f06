"""Robustness curve: scores of a fitted estimator on corrupted rows."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pandas as pd
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator
from sklearn.metrics import check_scoring

from skvim._float_errors import numpy_defaults
from skvim._validation import check_count, check_is_fitted, draw_seed
from skvim.metrics._corrupted import (
    Corruptions,
    check_images_or_rows,
    check_labels,
    evaluate,
    list_corruptions,
)

__all__ = ["robustness_curve"]


@numpy_defaults()
def robustness_curve(
    estimator: BaseEstimator,
    X: Any,
    y: ArrayLike | None,
    corruptions: Corruptions,
    *,
    scoring: str | Callable[..., float] | None = None,
    n_repeats: int = 5,
    random_state: Any = None,
    n_jobs: int | None = None,
) -> pd.DataFrame:
    """Score a fitted estimator on clean rows and on seeded corruptions of them.

    The noise of a corruption, level and repeat depends only on ``random_state`` and the shape and
    dtype of ``X``, not on the estimator or the other corruptions. With the same int, all
    estimators are scored on identical corrupted rows.

    Parameters
    ----------
    estimator : estimator
        A fitted pipeline or estimator. It is neither refitted nor changed.
    X : array-like or DataFrame of shape (n_samples, n_features), or images
        Finite rows not used in training. A DataFrame is passed to the estimator as a DataFrame with
        the same columns and index; float32 stays float32, other dtypes become float64. Images,
        (n_samples, height, width[, channels]), stay images, for estimators that take them.
    y : array-like of shape (n_samples,) or None
        Labels for ``scoring``; None for scores that need none. Omit rows without a label: -1 would
        count as a class that is never predicted.
    corruptions : sequence of transformers, or mapping of str to one or several of them
        Transformers of :mod:`skvim.noise`, fitted or not; their ``when`` and ``random_state`` are
        ignored. In a sequence each is named by its class without "Noise", ``"gaussian"`` for
        ``GaussianNoise``; a mapping gives names.
    scoring : str, callable or None, default=None
        One score as in scikit-learn, higher is better. None uses ``estimator.score``.
    n_repeats : int, default=5
        Draws of each corruption, at least 1.
    random_state : int, RandomState instance or None, default=None
        Seed of the noise; None takes fresh entropy.
    n_jobs : int or None, default=None
        Number of draws scored in parallel, as in joblib: None is 1, -1 all processors. The noise
        does not depend on it. Processes receive copies of the estimator and of the rows.

    Returns
    -------
    DataFrame
        One row per score, with columns ``corruption`` (str; ``"none"`` in the first row, that of
        the clean ``X``), ``level`` (float, the scale or rate; 0 if clean), ``repeat`` (int from
        0) and ``score`` (float). Rows are in the order of ``corruptions``.

    Raises
    ------
    sklearn.exceptions.NotFittedError
        If the estimator is not fitted.
    TypeError
        If one of the corruptions is not a noise transformer.
    ValueError
        If ``X`` and ``y`` differ in length, ``n_repeats`` is below 1, ``n_jobs`` is 0, or
        ``corruptions`` is empty or holds the same name and level twice.

    See Also
    --------
    robustness_summary : Means and standard errors of such a curve.
    mean_corruption_error : One number, relative to a baseline.
    compare_robustness : Two estimators on the same corrupted rows, with confidence intervals.
    skvim.noise.severities : Five documented levels of each corruption.
    skvim.inspection.RobustnessDisplay : Draws such curves.

    Notes
    -----
    A noise transformer inside the pipeline adds its own corruption, to clean rows too.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.linear_model import LogisticRegression
    >>> from skvim.metrics import robustness_curve
    >>> from skvim.noise import GaussianNoise, MaskingNoise
    >>> X, y = load_iris(return_X_y=True)
    >>> model = LogisticRegression(max_iter=500).fit(X[::2], y[::2])
    >>> noises = [GaussianNoise(0.5), GaussianNoise(2.0), MaskingNoise(0.5)]
    >>> curve = robustness_curve(model, X[1::2], y[1::2], noises, random_state=0)
    >>> means = curve.groupby(["corruption", "level"])["score"].mean()
    >>> bool(means["none", 0] > means["gaussian", 0.5] > means["gaussian", 2])
    True
    """
    n_repeats = check_count("n_repeats", n_repeats)
    listed = list_corruptions(corruptions)
    check_is_fitted(estimator)
    rows = check_images_or_rows(estimator, X)
    check_labels(rows, y)
    measure = partial(_score, _scorer(estimator, scoring), estimator, y)
    seed = draw_seed(random_state)
    records = evaluate(measure, X, rows, listed, n_repeats=n_repeats, seed=seed, n_jobs=n_jobs)
    return pd.DataFrame(records, columns=["corruption", "level", "repeat", "score"])


def _score(scorer: Callable[..., float], estimator: BaseEstimator, y: Any, X: Any) -> float:
    """Call the scorer; X is last, for :func:`functools.partial`."""
    return scorer(estimator, X, y)


def _scorer(estimator: BaseEstimator, scoring: Any) -> Callable[..., float]:
    """Return the scorer for ``scoring``, if that is a single score."""
    if scoring is not None and not isinstance(scoring, str) and not callable(scoring):
        raise ValueError(
            "scoring must be a single score: a string, a callable or None. "
            f"Got {scoring!r} instead; call robustness_curve once per score."
        )
    scorer: Callable[..., float] = check_scoring(estimator, scoring=scoring)
    return scorer
