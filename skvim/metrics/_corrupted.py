"""Evaluation of a function on clean and on seeded corrupted rows."""

import hashlib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from numbers import Integral
from typing import Any, Protocol, TypeAlias, TypeVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.utils.parallel import Parallel, delayed

from skvim._layout import flatten
from skvim._plain_numbers import is_real
from skvim._validation import check_rows

__all__ = [
    "CLEAN",
    "Corruption",
    "Corruptions",
    "check_columns",
    "check_images_or_rows",
    "check_labels",
    "evaluate",
    "list_corruptions",
]

CLEAN = "none"  # name of uncorrupted rows in the column "corruption"

Result = TypeVar("Result")


class Corruption(Protocol):
    """Interface of a corruption, which all transformers of :mod:`skvim.noise` implement."""

    @property
    def level(self) -> float:
        """Strength of the corruption."""

    def corrupt(self, x: NDArray[Any], generator: np.random.Generator, /) -> NDArray[Any]:
        """Return a corrupted copy of the same shape and dtype."""


Corruptions: TypeAlias = Sequence[Corruption] | Mapping[str, Corruption | Sequence[Corruption]]


def evaluate(
    measure: Callable[[Any], Result],
    X: Any,
    rows: NDArray[Any],
    corruptions: Sequence[tuple[str, Corruption]],
    *,
    n_repeats: int,
    seed: int,
    n_jobs: int | None,
) -> list[tuple[str, float, int, Result]]:
    """Evaluate a function on clean rows and on each repeat of each corruption.

    Parameters
    ----------
    measure : callable
        Function of rows, which it may modify.
    X : array-like or DataFrame of shape (n_samples, ...)
        Rows as given by the user; ``measure`` gets DataFrames if this is one.
    rows : ndarray of shape (n_samples, ...)
        The same rows, as :func:`check_images_or_rows` returns them.
    corruptions : sequence of (str, corruption)
        As :func:`list_corruptions` returns them.
    n_repeats : int
        Draws of each corruption.
    seed : int
        Seed of the noise.
    n_jobs : int or None
        As in joblib. Rows are corrupted in the worker that uses them.

    Returns
    -------
    list of (name, level, repeat, result)
        Clean rows first, then in the order of ``corruptions``.
    """
    _check_jobs(n_jobs)
    is_frame = isinstance(X, pd.DataFrame)
    convert = partial(pd.DataFrame, columns=X.columns, index=X.index) if is_frame else np.asarray
    tasks = [(name, noise, repeat) for name, noise in corruptions for repeat in range(n_repeats)]
    pool = Parallel(n_jobs=n_jobs)
    results = pool(
        delayed(_measure)(measure, convert, rows, noise, repeat, seed)
        for noise, repeat in [(None, 0), *(task[1:] for task in tasks)]
    )
    keys = [(CLEAN, 0.0, 0), *((name, float(noise.level), i) for name, noise, i in tasks)]
    return [(*key, result) for key, result in zip(keys, results, strict=True)]


def _measure(
    measure: Callable[[Any], Result],
    convert: Callable[[Any], Any],
    rows: NDArray[Any],
    noise: Corruption | None,
    repeat: int,
    seed: int,
) -> Result:
    """Evaluate on one draw of a corruption; at module level so that it can be pickled."""
    if noise is None:
        # A copy, since a pipeline step may work in place on rows still to be corrupted.
        return measure(convert(rows.copy()))
    return measure(convert(noise.corrupt(rows, _generator(seed, noise, repeat))))


def _check_jobs(n_jobs: Any) -> None:
    """Raise ``ValueError`` unless it is a valid number of jobs."""
    whole = isinstance(n_jobs, Integral) and not isinstance(n_jobs, bool) and n_jobs != 0
    if n_jobs is not None and not whole:
        raise ValueError(
            "n_jobs must be an int other than 0, -1 for all processors, or None. "
            f"Got {n_jobs!r} instead."
        )


def _generator(seed: int, noise: Corruption, repeat: int) -> np.random.Generator:
    """Return the generator of one corruption, level and repeat, seeded by these and ``seed``.

    The class counts, not the user's label: a renamed corruption has the same draws.
    """
    key = f"{_class_name(noise)} {float(noise.level)!r} {repeat}"
    # Python's own hash of a string differs from process to process.
    digest = hashlib.sha256(key.encode()).digest()
    return np.random.default_rng([seed, int.from_bytes(digest[:16], "big")])


def _class_name(noise: Corruption) -> str:
    """Turn ``GaussianNoise`` into "gaussian" and ``SaltPepperNoise`` into "salt_pepper"."""
    stem = type(noise).__name__.removesuffix("Noise")
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", stem).lower()


def list_corruptions(corruptions: Any) -> list[tuple[str, Corruption]]:
    """Return validated (name, corruption) pairs in the order given."""
    if isinstance(corruptions, Mapping):
        named = [pair for name, given in corruptions.items() for pair in _labelled(name, given)]
    elif isinstance(corruptions, Iterable):
        named = [(_class_name(noise), noise) for noise in map(_check_corruption, corruptions)]
    else:
        raise TypeError(
            "corruptions must be a sequence of noise transformers or a mapping of names to "
            f"them. Got {corruptions!r} instead; write [GaussianNoise(0.2)] for a single one."
        )
    if not named:
        raise ValueError(
            "corruptions is empty. Pass at least one, for example [GaussianNoise(0.2)]."
        )
    _check_distinct(named)
    return named


def _labelled(name: Any, given: Any) -> list[tuple[str, Corruption]]:
    """Return (name, corruption) pairs for one entry of a mapping."""
    if not isinstance(name, str) or name == CLEAN:
        raise ValueError(
            f"The names in corruptions must be strings other than {CLEAN!r}, which stands for "
            f"clean rows. Got {name!r} instead."
        )
    several = given if isinstance(given, Iterable) else [given]
    named = [(name, _check_corruption(noise)) for noise in several]
    if not named:
        raise ValueError(f"corruptions[{name!r}] is empty. Pass at least one noise transformer.")
    return named


def _check_corruption(noise: Any) -> Corruption:
    """Return the object if it has ``corrupt`` and a numeric ``level``, else raise ``TypeError``."""
    level = getattr(noise, "level", None)
    if not callable(getattr(noise, "corrupt", None)) or not is_real(level):
        raise TypeError(
            "corruptions must hold noise transformers such as GaussianNoise(0.2). "
            f"Got {noise!r} instead."
        )
    corruption: Corruption = noise
    return corruption


def _check_distinct(named: list[tuple[str, Corruption]]) -> None:
    """Raise ``ValueError`` if two corruptions have the same name and level."""
    seen = set()
    for name, noise in named:
        key = (name, float(noise.level))
        if key in seen:
            raise ValueError(
                f"corruptions holds {name!r} at level {key[1]:g} twice. Give them different "
                "names in a mapping, or remove one."
            )
        seen.add(key)


def check_images_or_rows(estimator: Any, X: Any) -> NDArray[Any]:
    """Return finite rows in a floating-point dtype, images in their given shape."""
    flat, axes = flatten(X)
    rows = check_rows(estimator, flat, reset=False)
    return rows.reshape(len(rows), *axes) if axes else rows


def check_labels(rows: NDArray[Any], y: Any) -> None:
    """Raise ``ValueError`` unless ``y`` is None or has one label per row."""
    if y is not None and np.ndim(y) == 0:
        raise ValueError(f"y must hold one label per row. Got {y!r} instead.")
    if y is not None and len(y) != len(rows):
        raise ValueError(
            f"X and y must have the same length. Got {len(rows)} rows in X and {len(y)} in y."
        )


def check_columns(name: str, curves: pd.DataFrame, columns: Sequence[str]) -> None:
    """Raise an error unless robustness curves are a data frame that has these columns."""
    if not isinstance(curves, pd.DataFrame):
        raise TypeError(
            f"{name} must be a DataFrame, as robustness_curve returns it. Got {curves!r} instead."
        )
    missing = [column for column in columns if column not in curves.columns]
    if missing:
        raise ValueError(
            f"{name} must have the columns {list(columns)}. Missing: {missing}. Pass what "
            "robustness_curve returns."
        )
