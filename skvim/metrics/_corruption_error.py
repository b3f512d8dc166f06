"""Summaries of robustness curves: means, standard errors, errors relative to a baseline."""

import numpy as np
import pandas as pd

from skvim._float_errors import ignore_overflow, numpy_defaults
from skvim._plain_numbers import is_real
from skvim._validation import check_results
from skvim.metrics._corrupted import CLEAN, check_columns

__all__ = ["corruption_errors", "mean_corruption_error", "robustness_summary"]

_COLUMNS = ("corruption", "level", "repeat", "score")


@numpy_defaults()
def robustness_summary(curve: pd.DataFrame) -> pd.DataFrame:
    """Average the repeats of a robustness curve.

    Parameters
    ----------
    curve : DataFrame
        Result of :func:`robustness_curve`. Several may be concatenated if additional columns, such
        as ``estimator`` or ``fit``, identify them; each is averaged separately.

    Returns
    -------
    DataFrame
        One row per point, in the order of the curve, with the additional columns, ``corruption``,
        ``level``, ``n_repeats`` (int), ``mean``, ``std`` (of one repeat, with Bessel's
        correction) and ``standard_error`` (of the mean, ``std / sqrt(n_repeats)``). With a single
        repeat the last two are nan, except on clean rows, where nothing is drawn and they are 0.
        If any score is nan, so are all three.

    Raises
    ------
    TypeError
        If the curve is no DataFrame.
    ValueError
        If columns are missing, a repeat occurs twice, or standard deviations overflow.

    See Also
    --------
    compare_robustness : Standard errors that cover the choice of test rows too.
    skvim.inspection.RobustnessDisplay : Draws means and standard deviations.

    Notes
    -----
    The standard error is that over draws of the noise, for a fixed model and fixed test rows. It
    falls to 0 with the number of repeats, and is 0 for a corruption without random numbers, such as
    blur. Scores also vary with the test rows and with the training; to compare models with the
    variation of test rows included, use :func:`compare_robustness`.

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
    check_columns("curve", curve, _COLUMNS)
    additional = [column for column in curve.columns if column not in _COLUMNS]
    point = [*additional, "corruption", "level"]
    advice = "Identify several curves by another column, for example curve.assign(fit=0)."
    _check_repeats("curve", curve, point, advice)
    groups = curve.groupby(point, sort=False, dropna=False)["score"]
    table = groups.agg(n_repeats="size", mean="mean", std="std", scored="count").reset_index()
    if np.isfinite(curve["score"]).all():
        spread = table.loc[table["n_repeats"] > 1, ["mean", "std"]].to_numpy()
        check_results("robustness_summary", spread, curve["score"], of="a curve")
    undrawn = (table["corruption"] == CLEAN) & (table["n_repeats"] == 1)
    table.loc[undrawn, "std"] = 0.0
    # pandas skips nan, so that the mean would be that of the successful repeats.
    table.loc[table["scored"] < table["n_repeats"], ["mean", "std"]] = np.nan
    table["standard_error"] = table["std"] / np.sqrt(table["n_repeats"])
    return table.drop(columns="scored")


@numpy_defaults()
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
        Score of an estimator without errors: 1 for accuracy, 0 for negated losses.
    relative : bool, default=False
        Whether the error on clean rows is subtracted from every error first: then only the increase
        of the error under corruption counts.

    Returns
    -------
    Series
        Corruption errors by name, in the order of ``curve``; 1 for the baseline, lower is better.

    Raises
    ------
    TypeError
        If a curve is no DataFrame.
    ValueError
        If the curves differ in corruptions or levels, one of them holds several curves, a score
        is above ``best_score`` or not finite, the baseline makes no errors under a corruption (or,
        if relative, loses nothing), or ``relative`` is true and clean scores are missing.

    See Also
    --------
    mean_corruption_error : Their mean.

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
            f"The baseline {done} under {list(names)}, so that no error relative to it is defined. "
            "Use a weaker baseline or higher levels."
        )
    with ignore_overflow():
        ratios = (sums / reference[sums.index]).rename("corruption_error")
    scores = (curve["score"], baseline_curve["score"])
    check_results("corruption_errors", ratios.to_numpy(), *scores, of="a curve")
    return ratios


@numpy_defaults()
def mean_corruption_error(
    curve: pd.DataFrame,
    baseline_curve: pd.DataFrame,
    *,
    best_score: float = 1.0,
    relative: bool = False,
) -> float:
    """Return the mean corruption error relative to a baseline.

    The mean of :func:`corruption_errors` over corruptions, of equal weight whatever their
    difficulty [1]_. There it is in percent, with AlexNet as the baseline.

    Parameters
    ----------
    curve, baseline_curve : DataFrame
        Results of :func:`robustness_curve` with the same score, corruptions and levels.
    best_score : float, default=1.0
        Score of an estimator without errors: 1 for accuracy, 0 for negated losses.
    relative : bool, default=False
        Whether the error on clean rows is subtracted from every error first.

    Returns
    -------
    float
        1 for the baseline itself; lower is better. If relative, an estimator that loses nothing,
        such as a constant one, has 0.

    Raises
    ------
    TypeError, ValueError
        As :func:`corruption_errors`.

    See Also
    --------
    corruption_errors : The error for each corruption.
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
    if not is_real(best_score):
        raise ValueError(f"best_score must be a number. Got {best_score!r} instead.")
    check_columns(name, curve, _COLUMNS)
    advice = "Pass the curve of one estimator and average several results afterwards."
    _check_repeats(name, curve, ["corruption", "level"], advice)
    errors = float(best_score) - curve["score"]
    if not np.isfinite(errors).all() or (errors < 0).any():
        raise ValueError(
            f"Every score of {name} must be finite and at most best_score={best_score!r}, that of "
            f"an estimator without errors. Got scores up to {curve['score'].max():g}; pass "
            "best_score=0 for negated losses."
        )
    clean = curve["corruption"] == CLEAN
    if relative and not clean.any():
        raise ValueError(f"relative=True needs the score on clean rows, which {name} lacks.")
    lost = errors - errors[clean].mean() if relative else errors
    keys = [curve["corruption"][~clean], curve["level"][~clean]]
    points = lost[~clean].groupby(keys, sort=False).mean()
    return points.groupby(level="corruption", sort=False).sum()


def _check_repeats(name: str, curve: pd.DataFrame, point: list[str], advice: str) -> None:
    """Raise ``ValueError`` if a repeat occurs twice, as it does in several concatenated curves."""
    key = [*point, "repeat"]
    twice = curve.duplicated(key)
    if twice.any():
        first = curve.loc[twice, key].iloc[0].to_dict()
        raise ValueError(f"{name} holds the same repeat twice, first {first}. {advice}")


def _check_points(curve: pd.DataFrame, baseline_curve: pd.DataFrame) -> None:
    """Raise ``ValueError`` unless both curves hold the same corruptions at the same levels."""
    own, reference = (
        {
            point
            for point in zip(part["corruption"], part["level"], strict=True)
            if point[0] != CLEAN
        }
        for part in (curve, baseline_curve)
    )
    if not own or own != reference:
        raise ValueError(
            "curve and baseline_curve must hold the same corruptions at the same levels, at "
            f"least one. In one of them only: {sorted(own ^ reference)}."
        )
