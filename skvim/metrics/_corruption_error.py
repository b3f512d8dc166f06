"""Robustness curves in few numbers: means, standard errors, errors relative to a baseline."""

import numpy as np
import pandas as pd

from skvim.metrics._corrupted import CLEAN

__all__ = ["corruption_errors", "mean_corruption_error", "robustness_summary"]

_COLUMNS = ("corruption", "level", "repeat", "score")


def robustness_summary(curve: pd.DataFrame) -> pd.DataFrame:
    """Average the repeats of a robustness curve.

    Parameters
    ----------
    curve : DataFrame
        Result of :func:`robustness_curve`. Several of them may stand one below the other if
        further columns tell them apart, ``estimator`` or ``fit`` say; each is averaged by itself.

    Returns
    -------
    DataFrame
        One row per point, in the order of the curve, with the further columns, ``corruption``,
        ``level``, ``n_repeats`` (int), ``mean``, ``std`` (of one repeat, with Bessel's
        correction) and ``standard_error`` (of the mean, ``std / sqrt(n_repeats)``). With a single
        repeat the last two are nan, but on clean rows 0: nothing was drawn there. Where a score is
        nan, so are all three.

    Raises
    ------
    ValueError
        If columns are missing, or the same repeat is there twice.

    See Also
    --------
    compare_robustness : Errors that also stand for the choice of test rows.
    skvim.inspection.RobustnessDisplay : Draws means and standard deviations.

    Notes
    -----
    The standard error says how far the mean would move with other draws of the noise, the fitted
    model and the test rows being what they are. It falls to 0 with the number of repeats, and is
    0 for a corruption without random numbers, such as blur. Other test rows, or another training,
    move scores too; to compare models in view of other test rows use :func:`compare_robustness`.

    Examples
    --------
    >>> import pandas as pd
    >>> from skvim.metrics import robustness_summary
    >>> points = [("none", 0.0, 0, 0.9), ("blur", 1.0, 0, 0.5), ("blur", 1.0, 1, 0.7)]
    >>> curve = pd.DataFrame(points, columns=["corruption", "level", "repeat", "score"])
    >>> summary = robustness_summary(curve).round(3)
    >>> summary[["mean", "standard_error"]].values.tolist()
    [[0.9, 0.0], [0.6, 0.1]]
    """
    _check_curve("curve", curve)
    further = [column for column in curve.columns if column not in _COLUMNS]
    point = [*further, "corruption", "level"]
    advice = "Tell several curves apart by a further column, for example curve.assign(fit=0)."
    _check_repeats("curve", curve, point, advice)
    groups = curve.groupby(point, sort=False, dropna=False)["score"]
    table = groups.agg(n_repeats="size", mean="mean", std="std", scored="count").reset_index()
    undrawn = (table["corruption"] == CLEAN) & (table["n_repeats"] == 1)
    table.loc[undrawn, "std"] = 0.0
    # pandas leaves nan out, so that the mean would be that of the repeats that went well.
    table.loc[table["scored"] < table["n_repeats"], ["mean", "std"]] = np.nan
    table["standard_error"] = table["std"] / np.sqrt(table["n_repeats"])
    return table.drop(columns="scored")


def corruption_errors(
    curve: pd.DataFrame,
    baseline_curve: pd.DataFrame,
    *,
    best_score: float = 1.0,
    relative: bool = False,
) -> pd.Series:
    """Divide errors under each corruption by those of a baseline.

    With E the error, ``best_score`` less the mean score of the repeats, the corruption error of
    corruption c is the sum of E over its levels, divided by the same sum for the baseline [1]_.

    Parameters
    ----------
    curve, baseline_curve : DataFrame
        Results of :func:`robustness_curve` with the same score, corruptions and levels.
    best_score : float, default=1.0
        Score of an estimator that makes no errors: 1 for accuracy, 0 for negated losses.
    relative : bool, default=False
        Whether the error on clean rows is subtracted from every error beforehand: how much is
        lost to the corruption, rather than how much is wrong.

    Returns
    -------
    Series
        Corruption errors by name, in the order of ``curve``; 1 is the baseline's, less is better.

    Raises
    ------
    ValueError
        If the curves differ in corruptions or levels, either of them holds several curves, a score
        is above ``best_score`` or not finite, the baseline makes no errors under a corruption (or,
        if relative, loses nothing), or clean scores are missing that ``relative`` needs.

    See Also
    --------
    mean_corruption_error : The mean of them.

    References
    ----------
    .. [1] D. Hendrycks and T. Dietterich (2019). Benchmarking neural network robustness to common
       corruptions and perturbations. International Conference on Learning Representations.

    Examples
    --------
    >>> import pandas as pd
    >>> from skvim.metrics import corruption_errors
    >>> points = [("blur", 1.0, 0, 0.8), ("blur", 2.0, 0, 0.6), ("gaussian", 1.0, 0, 0.5)]
    >>> curve = pd.DataFrame(points, columns=["corruption", "level", "repeat", "score"])
    >>> baseline = curve.assign(score=0.2)
    >>> corruption_errors(curve, baseline).round(3).to_dict()
    {'blur': 0.375, 'gaussian': 0.625}
    """
    sums = _summed_errors("curve", curve, best_score, relative)
    reference = _summed_errors("baseline_curve", baseline_curve, best_score, relative)
    _check_points(curve, baseline_curve)
    names = sums.index[reference[sums.index] <= 0]
    if len(names):
        done = "loses nothing" if relative else "makes no errors"
        raise ValueError(
            f"The baseline {done} under {list(names)}, so that nothing can be said relative to it. "
            "Take a weaker baseline or higher levels."
        )
    return (sums / reference[sums.index]).rename("corruption_error")


def mean_corruption_error(
    curve: pd.DataFrame,
    baseline_curve: pd.DataFrame,
    *,
    best_score: float = 1.0,
    relative: bool = False,
) -> float:
    """Return the mean corruption error relative to a baseline.

    The mean of :func:`corruption_errors` over corruptions: each counts as much as another,
    however hard it is [1]_. There it is given in percent, with AlexNet as the baseline.

    Parameters
    ----------
    curve, baseline_curve : DataFrame
        Results of :func:`robustness_curve` with the same score, corruptions and levels.
    best_score : float, default=1.0
        Score of an estimator that makes no errors: 1 for accuracy, 0 for negated losses.
    relative : bool, default=False
        Whether the error on clean rows is subtracted from every error beforehand.

    Returns
    -------
    float
        1 for the baseline itself; less is better. If relative, an estimator that loses nothing
        has 0, the constant one included.

    Raises
    ------
    ValueError
        As :func:`corruption_errors`.

    See Also
    --------
    corruption_errors : One for each corruption.
    skvim.noise.severities : Five documented levels of each corruption.

    References
    ----------
    .. [1] D. Hendrycks and T. Dietterich (2019). Benchmarking neural network robustness to common
       corruptions and perturbations. International Conference on Learning Representations.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.dummy import DummyClassifier
    >>> from sklearn.linear_model import LogisticRegression
    >>> from skvim.metrics import mean_corruption_error, robustness_curve
    >>> from skvim.noise import severities
    >>> X, y = load_iris(return_X_y=True)
    >>> noises = severities("gaussian", value_range=(0, 2)) + severities("missing_features")
    >>> curve, baseline = (
    ...     robustness_curve(model.fit(X[::2], y[::2]), X[1::2], y[1::2], noises, random_state=0)
    ...     for model in (LogisticRegression(max_iter=500), DummyClassifier())
    ... )
    >>> 0 < mean_corruption_error(curve, baseline) < 1
    True
    """
    errors = corruption_errors(curve, baseline_curve, best_score=best_score, relative=relative)
    return float(errors.mean())


def _summed_errors(
    name: str, curve: pd.DataFrame, best_score: float, relative: bool
) -> "pd.Series[float]":
    """Return the errors summed over levels, by corruption in the order of the curve."""
    _check_curve(name, curve)
    advice = "Pass the curve of one estimator; take the mean of several results afterwards."
    _check_repeats(name, curve, ["corruption", "level"], advice)
    errors = best_score - curve["score"]
    if not np.isfinite(errors).all() or (errors < 0).any():
        raise ValueError(
            f"Every score of {name} has to be finite and at most best_score={best_score!r}, that "
            f"of an estimator without errors. Got scores up to {curve['score'].max():g}; pass "
            "best_score=0 for negated losses."
        )
    clean = curve["corruption"] == CLEAN
    if relative and not clean.any():
        raise ValueError(f"relative=True needs the score on clean rows, which {name} lacks.")
    lost = errors - errors[clean].mean() if relative else errors
    keys = [curve["corruption"][~clean], curve["level"][~clean]]
    points = lost[~clean].groupby(keys, sort=False).mean()
    return points.groupby(level="corruption", sort=False).sum()


def _check_curve(name: str, curve: pd.DataFrame) -> None:
    """Raise unless the columns of a robustness curve are there."""
    missing = [column for column in _COLUMNS if column not in curve.columns]
    if missing:
        raise ValueError(
            f"{name} has to have the columns {list(_COLUMNS)}. Missing: {missing}. Pass what "
            "robustness_curve returns."
        )


def _check_repeats(name: str, curve: pd.DataFrame, point: list[str], advice: str) -> None:
    """Raise where a repeat is there twice, which is what several curves in one come to."""
    key = [*point, "repeat"]
    twice = curve.duplicated(key)
    if twice.any():
        first = curve.loc[twice, key].iloc[0].to_dict()
        raise ValueError(f"{name} holds the same repeat twice, first {first}. {advice}")


def _check_points(curve: pd.DataFrame, baseline_curve: pd.DataFrame) -> None:
    """Raise unless both curves hold the same corruptions at the same levels."""
    found, expected = (
        {
            point
            for point in zip(part["corruption"], part["level"], strict=True)
            if point[0] != CLEAN
        }
        for part in (curve, baseline_curve)
    )
    if not found or found != expected:
        raise ValueError(
            "curve and baseline_curve have to hold the same corruptions at the same levels, one "
            f"at least. In one of them only: {sorted(found ^ expected)}."
        )
