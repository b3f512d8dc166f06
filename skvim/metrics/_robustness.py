"""Scores of a fitted estimator on corrupted data."""

import hashlib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from numbers import Real
from typing import Any, Protocol, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator
from sklearn.metrics import check_scoring

from skvim._validation import check_count, check_is_fitted, check_rows, draw_seed

__all__ = ["CLEAN", "Corruption", "Corruptions", "robustness_curve"]

CLEAN = "none"  # what the column "corruption" says of uncorrupted rows


class Corruption(Protocol):
    """What a corruption has to offer; every transformer of :mod:`skvim.noise` does."""

    @property
    def level(self) -> float:
        """Strength of the corruption."""

    def corrupt(self, x: NDArray[Any], generator: np.random.Generator, /) -> NDArray[Any]:
        """Return corrupted values in a new array of the same shape and dtype."""


Corruptions: TypeAlias = Sequence[Corruption] | Mapping[str, Corruption | Sequence[Corruption]]


def robustness_curve(
    estimator: BaseEstimator,
    X: Any,
    y: ArrayLike | None,
    corruptions: Corruptions,
    *,
    scoring: str | Callable[..., float] | None = None,
    n_repeats: int = 5,
    random_state: Any = None,
) -> pd.DataFrame:
    """Score a fitted estimator on clean rows and on seeded corruptions of them.

    The noise of a corruption, level and repeat follows from ``random_state`` and the shape and
    dtype of ``X`` alone: not from the estimator, nor from the other corruptions asked for. With
    one int, all estimators are compared on identical corrupted rows.

    Parameters
    ----------
    estimator : estimator
        A fitted pipeline or estimator. It is neither refitted nor changed.
    X : array-like or DataFrame of shape (n_samples, n_features)
        Rows not used in training, finite numbers. A DataFrame reaches the estimator as a
        DataFrame with the same columns and index; float32 stays float32, else float64.
    y : array-like of shape (n_samples,) or None
        What ``scoring`` compares the predictions with. None for scores that need no labels.
    corruptions : sequence of transformers, or mapping of str to one or several of them
        Transformers of :mod:`skvim.noise`, unfitted ones too; their ``when`` and
        ``random_state`` play no part. In a sequence each bears the name of its class without
        "Noise", ``"gaussian"`` for ``GaussianNoise``; a mapping names them.
    scoring : str, callable or None, default=None
        One score as in scikit-learn, higher is better. None uses ``estimator.score``.
    n_repeats : int, default=5
        How often each corruption is drawn, at least 1.
    random_state : int, RandomState instance or None, default=None
        Where the noise comes from; None takes fresh entropy.

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
        If something among the corruptions is none.
    ValueError
        If ``X`` and ``y`` differ in length, ``n_repeats`` is below 1, or ``corruptions`` is
        empty or holds the same name and level twice.

    See Also
    --------
    skvim.inspection.RobustnessDisplay : Draws such curves.
    active_units : Counts the latent dimensions in use.

    Notes
    -----
    A noise transformer inside the pipeline corrupts the rows once more, clean ones included.

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
    check_count("n_repeats", n_repeats)
    named = _named(corruptions)
    check_is_fitted(estimator)
    rows = check_rows(estimator, X, reset=False)
    _check_labels(rows, y)
    score = _scorer(estimator, scoring)
    seed = draw_seed(random_state)
    # A copy: a step that works in place would otherwise change the rows to be corrupted.
    records = [(CLEAN, 0.0, 0, score(estimator, _like(X, rows.copy()), y))]
    for name, noise in named:
        for repeat in range(n_repeats):
            corrupted = noise.corrupt(rows, _generator(seed, noise, repeat))
            result = score(estimator, _like(X, corrupted), y)
            records.append((name, float(noise.level), repeat, result))
    return pd.DataFrame(records, columns=["corruption", "level", "repeat", "score"])


def _generator(seed: int, noise: Corruption, repeat: int) -> np.random.Generator:
    """Derive the stream of one corruption, level and repeat from nothing but these.

    The class is named, not the user's label: renaming a corruption does not redraw it.
    """
    key = f"{_class_name(noise)} {float(noise.level)!r} {repeat}"
    # Python's own hash of a string differs from process to process.
    digest = hashlib.sha256(key.encode()).digest()
    return np.random.default_rng([seed, int.from_bytes(digest[:16], "big")])


def _class_name(noise: Corruption) -> str:
    """Turn ``GaussianNoise`` into "gaussian" and ``SaltPepperNoise`` into "salt_pepper"."""
    stem = type(noise).__name__.removesuffix("Noise")
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", stem).lower()


def _named(corruptions: Any) -> list[tuple[str, Corruption]]:
    """List (name, corruption) in the order given, and refuse anything else."""
    if isinstance(corruptions, Mapping):
        named = [pair for name, given in corruptions.items() for pair in _labelled(name, given)]
    elif isinstance(corruptions, Iterable):
        named = [(_class_name(noise), noise) for noise in map(_check_corruption, corruptions)]
    else:
        raise TypeError(
            "corruptions has to be a sequence of noise transformers or a mapping of names to "
            f"them. Got {corruptions!r} instead; write [GaussianNoise(0.2)] for a single one."
        )
    if not named:
        raise ValueError(
            "corruptions is empty. Name at least one, for example [GaussianNoise(0.2)]."
        )
    _check_distinct(named)
    return named


def _labelled(name: Any, given: Any) -> list[tuple[str, Corruption]]:
    """List the corruptions that a mapping holds under one name."""
    if not isinstance(name, str) or name == CLEAN:
        raise ValueError(
            f"The names in corruptions have to be strings other than {CLEAN!r}, which stands for "
            f"clean rows. Got {name!r} instead."
        )
    several = given if isinstance(given, Iterable) else [given]
    named = [(name, _check_corruption(noise)) for noise in several]
    if not named:
        raise ValueError(f"corruptions[{name!r}] is empty. Name at least one noise transformer.")
    return named


def _check_corruption(noise: Any) -> Corruption:
    """Return the object if it is an instance that can corrupt and knows its level."""
    level = getattr(noise, "level", None)
    if not callable(getattr(noise, "corrupt", None)) or not isinstance(level, Real):
        raise TypeError(
            "corruptions has to hold noise transformers such as GaussianNoise(0.2). "
            f"Got {noise!r} instead."
        )
    corruption: Corruption = noise
    return corruption


def _check_distinct(named: list[tuple[str, Corruption]]) -> None:
    """Refuse two corruptions that the result could not tell apart."""
    seen = set()
    for name, noise in named:
        key = (name, float(noise.level))
        if key in seen:
            raise ValueError(
                f"corruptions holds {name!r} at level {key[1]:g} twice. Give them different "
                "names with a mapping, or drop one."
            )
        seen.add(key)


def _check_labels(rows: NDArray[Any], y: Any) -> None:
    """Raise unless there is one label per row, or none at all."""
    if y is not None and len(y) != len(rows):
        raise ValueError(
            f"X and y have to be of one length. Got {len(rows)} rows in X and {len(y)} in y."
        )


def _scorer(estimator: BaseEstimator, scoring: Any) -> Callable[..., float]:
    """Return the one score that is asked for."""
    if scoring is not None and not isinstance(scoring, str) and not callable(scoring):
        raise ValueError(
            "scoring has to name a single score: a string, a callable or None. "
            f"Got {scoring!r} instead; call robustness_curve once per score."
        )
    scorer: Callable[..., float] = check_scoring(estimator, scoring=scoring)
    return scorer


def _like(X: Any, rows: NDArray[Any]) -> Any:
    """Return the rows as a DataFrame if ``X`` is one, so that feature names are kept."""
    if isinstance(X, pd.DataFrame):
        return pd.DataFrame(rows, columns=X.columns, index=X.index)
    return rows
