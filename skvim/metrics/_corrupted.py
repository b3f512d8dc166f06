"""Corrupted rows, the same for whatever is measured on them."""

import hashlib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from numbers import Integral, Real
from typing import Any, Protocol, TypeAlias, TypeVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.utils.parallel import Parallel, delayed

from skvim._layout import flatten
from skvim._validation import check_rows

__all__ = [
    "CLEAN",
    "Corruption",
    "Corruptions",
    "check_images_or_rows",
    "check_labels",
    "evaluate",
    "named",
]

CLEAN = "none"  # what the column "corruption" says of uncorrupted rows

Result = TypeVar("Result")


class Corruption(Protocol):
    """What a corruption has to offer; every transformer of :mod:`skvim.noise` does."""

    @property
    def level(self) -> float:
        """Strength of the corruption."""

    def corrupt(self, x: NDArray[Any], generator: np.random.Generator, /) -> NDArray[Any]:
        """Return corrupted values in a new array of the same shape and dtype."""


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
    """Measure something on clean rows and on each repeat of each corruption.

    Parameters
    ----------
    measure : callable
        Of rows, which it may change.
    X : array-like or DataFrame of shape (n_samples, ...)
        What the user gave: rows reach ``measure`` as a DataFrame if this is one.
    rows : ndarray of shape (n_samples, ...)
        The same, as :func:`check_images_or_rows` returns it.
    corruptions : sequence of (str, corruption)
        As :func:`named` returns them.
    n_repeats : int
        How often each corruption is drawn.
    seed : int
        Where the noise comes from.
    n_jobs : int or None
        As in joblib. Corrupted rows are made where they are used.

    Returns
    -------
    list of (name, level, repeat, result)
        Clean rows first, then in the order of ``corruptions``.
    """
    _check_jobs(n_jobs)
    dress = partial(pd.DataFrame, columns=X.columns, index=X.index) if _is_frame(X) else np.asarray
    tasks = [(name, noise, repeat) for name, noise in corruptions for repeat in range(n_repeats)]
    pool = Parallel(n_jobs=n_jobs)
    results = pool(
        delayed(_measure)(measure, dress, rows, noise, repeat, seed)
        for noise, repeat in [(None, 0), *(task[1:] for task in tasks)]
    )
    keys = [(CLEAN, 0.0, 0), *((name, float(noise.level), i) for name, noise, i in tasks)]
    return [(*key, result) for key, result in zip(keys, results, strict=True)]


def _measure(
    measure: Callable[[Any], Result],
    dress: Callable[[Any], Any],
    rows: NDArray[Any],
    noise: Corruption | None,
    repeat: int,
    seed: int,
) -> Result:
    """Measure on one draw of a corruption; module-level, so that processes can be sent it."""
    if noise is None:
        # A copy: a step that works in place would otherwise change the rows to be corrupted.
        return measure(dress(rows.copy()))
    return measure(dress(noise.corrupt(rows, _generator(seed, noise, repeat))))


def _is_frame(X: Any) -> bool:
    return isinstance(X, pd.DataFrame)


def _check_jobs(n_jobs: Any) -> None:
    """Raise ``ValueError`` unless joblib can make sense of it."""
    whole = isinstance(n_jobs, Integral) and not isinstance(n_jobs, bool) and n_jobs != 0
    if n_jobs is not None and not whole:
        raise ValueError(
            "n_jobs must be an int other than 0, -1 for all processors, or None. "
            f"Got {n_jobs!r} instead."
        )


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


def named(corruptions: Any) -> list[tuple[str, Corruption]]:
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


def check_images_or_rows(estimator: Any, X: Any) -> NDArray[Any]:
    """Return finite rows in a floating-point type, images in the shape that they have."""
    flat, axes = flatten(X)
    rows = check_rows(estimator, flat, reset=False)
    return rows.reshape(len(rows), *axes) if axes else rows


def check_labels(rows: NDArray[Any], y: Any) -> None:
    """Raise unless there is one label per row, or none at all."""
    if y is not None and len(y) != len(rows):
        raise ValueError(
            f"X and y have to be of one length. Got {len(rows)} rows in X and {len(y)} in y."
        )
