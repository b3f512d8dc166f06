"""Training rows, test rows and labels of a seed.

Without a data home, stand-ins take the place of the real images: scikit-learn's digits in other
clothes. They have the shapes and the structure of the real data and nothing else in common with
them: figures measured on them say that the programs run, and no more.
"""

from collections.abc import Iterator
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from sklearn import datasets as bundled
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

from skvim import datasets
from skvim.model_selection import mask_labels
from vimae_paper.settings import DATA_SETS, PRESETS, TABULAR, Run

_HELD_OUT = 5  # one in so many characters, for validation
_DRAWINGS, _ROTATIONS, _CHARACTERS = 20, 4, 5

Parts = list[tuple[Any, Any]]  # images and labels, for training and for testing


class Problem(NamedTuple):
    """What the classifier learns: -1 in ``y`` has no label."""

    X: np.ndarray
    y: np.ndarray
    X_test: np.ndarray
    y_test: np.ndarray


class Task(NamedTuple):
    """Rows in [0, 1], or standardised ones of a table; clean all of them."""

    X: np.ndarray
    X_test: np.ndarray
    target: np.ndarray | None = None  # all labels of X, for the classifier of the Fréchet distance
    problems: tuple[Problem, ...] = ()


def source_of(run: Run, data_set: str) -> str | None:
    """Say where rows come from: "official", "bundled", "stand-in", or None for nowhere."""
    if data_set in TABULAR:
        return "bundled"
    tiny = run.preset == "tiny"
    # Without --data-home the real sets may lie in the usual place; tiny runs take what they name.
    looked = run.data_home is not None or not tiny
    if looked and Path(datasets.get_data_home(run.data_home), data_set).is_dir():
        return "official"
    # Nothing may download CelebA.
    return None if data_set == "celeba" else "stand-in" if tiny else "official"


@lru_cache(maxsize=1)
def load(run: Run, data_set: str, seed: int) -> Task:
    """Return the rows of a data set; the subset for training and the labels follow the seed."""
    if data_set in TABULAR:
        return _table(data_set, seed, run.validation)
    amount, n_labeled = PRESETS[run.preset], DATA_SETS[data_set].n_labeled
    if source_of(run, data_set) == "stand-in":
        parts = standin(data_set)
    else:
        fetch = getattr(datasets, f"fetch_{data_set}")
        bunches = [fetch(data_home=run.data_home, subset=part) for part in ("train", "test")]
        parts = [(bunch.images, bunch.target) for bunch in bunches]
    if run.validation:
        parts = _held_out(*parts[0], data_set, amount.n_test or 10_000)
    (X, target), (X_test, y_test) = parts
    chosen = np.random.default_rng([seed, 1]).permutation(len(X))[: amount.n_train or None]
    tested = np.random.default_rng(0).permutation(len(X_test))[: amount.n_test or None]
    X, X_test = _flat(X[chosen]), _flat(X_test[tested])
    if target is None:
        return Task(X, X_test)
    target = target[chosen]
    if not n_labeled:
        return Task(X, X_test, target, tuple(_characters(run, seed, parts[1])))
    y = mask_labels(target, min(n_labeled, len(X) // 2), random_state=seed)
    return Task(X, X_test, target, (Problem(X, y, X_test, np.asarray(y_test[tested])),))


def _flat(images: np.ndarray) -> np.ndarray:
    """Return rows in [0, 1]."""
    rows = images.reshape(len(images), -1)
    scale = 255 if rows.dtype == np.uint8 else 1
    return np.ascontiguousarray(rows, dtype=np.float32) / np.float32(scale)


def _held_out(images: Any, target: Any, data_set: str, n_test: int) -> Parts:
    """Split training images for validation: by character for Omniglot, else by row."""
    if data_set == "omniglot" and len(np.unique(target)) > 2 * _HELD_OUT:
        held = target % _HELD_OUT == 0
    else:
        n_held = min(n_test, len(images) // 3)
        held = np.random.default_rng(2).permutation(len(images)).argsort() < n_held
    return [(images[m], None if target is None else target[m]) for m in (~held, held)]


def _characters(run: Run, seed: int, test: tuple[Any, Any]) -> Iterator[Problem]:
    """Yield the five-character problems of a seed, every row labelled."""
    official = source_of(run, "omniglot") == "official"
    for number in range(1000 * seed, 1000 * seed + PRESETS[run.preset].n_tasks):
        if official and not run.validation:
            fetch = partial(datasets.fetch_omniglot, data_home=run.data_home, random_state=number)
            bunches = [fetch(subset=side, task="five-characters") for side in ("train", "test")]
            (X, y), (X_test, y_test) = ((bunch.images, bunch.target) for bunch in bunches)
        else:
            (X, y), (X_test, y_test) = five_characters(*test, number)
        yield Problem(_flat(X), y, _flat(X_test), y_test)


def _table(data_set: str, seed: int, validation: bool) -> Task:
    """Return a bundled table, standardised by its training rows."""
    X, y = getattr(bundled, f"load_{data_set.replace('-', '_')}")(return_X_y=True)
    if data_set == "diabetes":
        y = np.digitize(y, np.quantile(y, [1 / 3, 2 / 3]))
    parts = train_test_split(X, y, test_size=1 / 3, stratify=y, random_state=seed)
    if validation:
        parts = train_test_split(parts[0], parts[2], test_size=1 / 3, random_state=seed)
    X, X_test, target, y_test = parts
    scaler = StandardScaler().fit(X)
    X, X_test = scaler.transform(X), scaler.transform(X_test)
    y = mask_labels(target, DATA_SETS[data_set].n_labeled, random_state=seed)
    return Task(X, X_test, target, (Problem(X, y, X_test, y_test),))


def standin(name: str) -> Parts:
    """Return images of shape (n, height, width, channels) and labels."""
    images, digits = bundled.load_digits(return_X_y=True)
    grey = (images.reshape(-1, 8, 8, 1) / 16).astype(np.float32)
    # Pixels are repeated, and a margin added.
    size = 32 if name == "cifar10" else 28
    factor, margin = divmod(size, 8)
    edge = (margin // 2, margin - margin // 2)
    large = grey.repeat(factor, axis=1).repeat(factor, axis=2)
    pictures = np.pad(large, ((0, 0), edge, edge, (0, 0)))
    if name == "cifar10":
        ink, paper = np.random.default_rng(0).random((2, len(grey), 1, 1, 3), dtype=np.float32)
        pictures = pictures * ink + (1 - pictures) * paper
    train = digits < _CHARACTERS if name == "omniglot" else np.arange(len(digits)) < 1300
    return [(pictures[train], digits[train]), (pictures[~train], digits[~train])]


def five_characters(images: np.ndarray, target: np.ndarray, seed: int) -> Parts:
    """Return a task of five characters: a quarter of the drawings test, in all four rotations."""
    generator = np.random.default_rng(seed)
    characters = np.sort(generator.choice(np.unique(target), _CHARACTERS, replace=False))
    parts: tuple[list[np.ndarray], ...] = ([], [])
    for character in characters:
        drawings = generator.permutation(np.flatnonzero(target == character))[:_DRAWINGS]
        for part, rows in zip(parts, np.split(drawings, [3 * len(drawings) // 4]), strict=True):
            turned = [np.rot90(images[rows], k, axes=(1, 2)) for k in range(_ROTATIONS)]
            part.append(np.concatenate(turned))
    # All characters have equally many drawings.
    return [(np.concatenate(p), np.repeat(range(_CHARACTERS), len(p[0]))) for p in parts]
