"""The rows of one seed: what encoders learn from, and problems for the classifier."""

from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from settings import DATA_SETS, PRESETS, TABULAR, DataSet, Preset
from sklearn.datasets import load_breast_cancer, load_diabetes, load_wine
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler
from standins import five_characters, standin

from skvim.datasets import (
    fetch_celeba,
    fetch_cifar10,
    fetch_mnist,
    fetch_omniglot,
    get_data_home,
)
from skvim.model_selection import mask_labels

__all__ = ["Problem", "Request", "Task", "available", "load", "obtain", "source_of"]

_FETCH = {"mnist": fetch_mnist, "cifar10": fetch_cifar10, "celeba": fetch_celeba}
_BUNDLED = {"wine": load_wine, "breast-cancer": load_breast_cancer, "diabetes": load_diabetes}
_HELD_OUT = 5  # one in so many characters, for validation


class Request(NamedTuple):
    """Which rows."""

    data_set: str
    preset: str
    seed: int
    data_home: str | None = None
    validation: bool = False  # test on rows held out of the training set


class Problem(NamedTuple):
    """What the classifier learns: -1 in ``y`` has no label."""

    X: NDArray[Any]
    y: NDArray[Any]
    X_test: NDArray[Any]
    y_test: NDArray[Any]


class Task(NamedTuple):
    """Rows in [0, 1], or standardised ones of a table; clean all of them."""

    X: NDArray[Any]
    X_test: NDArray[Any]
    target: NDArray[Any] | None  # all labels of X, for the classifier of the Fréchet distance
    problems: tuple[Problem, ...]
    source: str


def source_of(data_set: str, preset: str, data_home: str | None) -> str | None:
    """Say where rows come from: "official", "bundled", "stand-in", or None for nowhere."""
    if data_set in TABULAR:
        return "bundled"
    # Without --data-home the real sets may lie in the usual place; tiny runs take what they name.
    looked = data_home is not None or preset != "tiny"
    if looked and Path(get_data_home(data_home), data_set).is_dir():
        return "official"
    if data_set == "celeba":
        return None  # nothing may download it
    return "stand-in" if preset == "tiny" else "official"


def available(data_set: str, preset: str, data_home: str | None) -> bool:
    """Tell whether there is something to run on."""
    return source_of(data_set, preset, data_home) is not None


def obtain(data_set: str, preset: str, data_home: str | None) -> None:
    """Fetch and decode a data set once, before several processes ask for it.

    Raises
    ------
    skvim.exceptions.DatasetError
        If it is neither there nor to be had.
    """
    if data_set not in TABULAR:
        _parts(Request(data_set, preset, 0, data_home), source_of(data_set, preset, data_home))


@lru_cache(maxsize=1)
def load(request: Request) -> Task:
    """Return the rows of one seed; the subset of the training rows and the labels follow it."""
    if request.data_set in TABULAR:
        return _table(request)
    preset, data = PRESETS[request.preset], DATA_SETS[request.data_set]
    source = source_of(request.data_set, request.preset, request.data_home)
    parts = _parts(request, source)
    generator = np.random.default_rng([request.seed, 1])
    if request.validation:
        parts = _validation(parts, request.data_set, preset)
    (X, target), (X_test, y_test) = parts["train"], parts["test"]
    chosen = generator.permutation(len(X))[: preset.n_train]
    tested = np.random.default_rng(0).permutation(len(X_test))[: preset.n_test]
    X, X_test, y_test = X[chosen], X_test[tested], _rows(y_test, tested)
    target = _rows(target, chosen)
    if request.data_set == "omniglot":
        problems = tuple(_characters(request, preset, source, parts["test"]))
    else:
        problems = _one(data, X, target, X_test, y_test, request.seed)
    return Task(_flat(X), _flat(X_test), target, problems, source)


def _rows(values: Any, rows: Any) -> Any:
    return None if values is None else values[rows]


def _flat(images: NDArray[Any]) -> NDArray[Any]:
    """Return rows in [0, 1]."""
    rows = images.reshape(len(images), -1)
    scale = 255 if rows.dtype == np.uint8 else 1
    return np.ascontiguousarray(rows, dtype=np.float32) / np.float32(scale)


def _parts(request: Request, source: str | None) -> dict[str, tuple[Any, Any]]:
    """Return images and labels of the training and the test part."""
    if source == "stand-in":
        return standin(request.data_set)
    fetch = _FETCH.get(request.data_set, fetch_omniglot)
    found = {}
    for part in ("train", "test"):
        bunch = fetch(data_home=request.data_home, subset=part)
        found[part] = (bunch.images, bunch.target)
    return found


def _validation(parts: Any, data_set: str, preset: Preset) -> dict[str, tuple[Any, Any]]:
    """Split the training part: by character for Omniglot, else by row."""
    images, target = parts["train"]
    if data_set == "omniglot" and len(np.unique(target)) > 2 * _HELD_OUT:
        held = target % _HELD_OUT == 0
    else:
        held = np.zeros(len(images), dtype=bool)
        n_held = min(preset.n_test or 10_000, len(images) // 3)
        held[np.random.default_rng(2).permutation(len(images))[:n_held]] = True
    return {
        "train": (images[~held], _rows(target, ~held)),
        "test": (images[held], _rows(target, held)),
    }


def _one(
    data: DataSet, X: Any, target: Any, X_test: Any, y_test: Any, seed: int
) -> tuple[Problem, ...]:
    """Return the problem of the training rows with few labels; none without classes."""
    if data.n_labeled is None:
        return ()
    y = mask_labels(target, min(data.n_labeled, len(X) // 2), random_state=seed)
    return (Problem(_flat(X), y, _flat(X_test), np.asarray(y_test)),)


def _characters(request: Request, preset: Preset, source: str | None, part: Any) -> Any:
    """Yield the five-character problems of a seed, every row labelled."""
    for number in range(preset.n_tasks):
        seed = 1000 * request.seed + number
        if source == "official" and not request.validation:
            home = request.data_home
            sides = [
                fetch_omniglot(
                    data_home=home, subset=side, task="five-characters", random_state=seed
                )
                for side in ("train", "test")
            ]
            train, test = ((side.images, side.target) for side in sides)
        else:
            found = five_characters(*part, seed)
            train, test = found["train"], found["test"]
        yield Problem(_flat(train[0]), train[1], _flat(test[0]), test[1])


def _table(request: Request) -> Task:
    """Return a bundled table, standardised by its training rows."""
    X, y = _BUNDLED[request.data_set](return_X_y=True)
    if request.data_set == "diabetes":
        y = np.digitize(y, np.quantile(y, [1 / 3, 2 / 3]))
    parts = train_test_split(X, y, test_size=1 / 3, stratify=y, random_state=request.seed)
    if request.validation:
        parts = train_test_split(parts[0], parts[2], test_size=1 / 3, random_state=request.seed)
    X, X_test, y_all, y_test = parts
    scaler = StandardScaler().fit(X)
    X, X_test = scaler.transform(X), scaler.transform(X_test)
    y = mask_labels(y_all, DATA_SETS[request.data_set].n_labeled, random_state=request.seed)
    return Task(X, X_test, y_all, (Problem(X, y, X_test, y_test),), "bundled")
