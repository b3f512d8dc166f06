"""Features: accuracy of classifiers on a table's rows, encoded by each contender."""

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler

from mixed_tables import learners
from mixed_tables.corrupt import CONDITIONS, disturb
from mixed_tables.data import Split
from mixed_tables.elsewhere import Elsewhere
from mixed_tables.encode import Encoding
from mixed_tables.ours import FEATURES

__all__ = ["FEW", "Represent", "contenders", "measure", "scale"]

Array = NDArray[Any]
# From training rows, other frames and a seed to the features of all of them.
Represent = Callable[[pd.DataFrame, list[pd.DataFrame], int], list[Array]]
N_COMPONENTS = 16
FEW = 50
# Of 64 standardised codes beside raw columns: their variances then sum to 8, about as the columns'.
WEIGHT = 0.35


def raw(train: pd.DataFrame, others: list[pd.DataFrame], seed: int) -> list[Array]:
    """Return standardised numbers and one-hot categories."""
    encoding = Encoding(train)
    return [encoding.complete(frame) for frame in (train, *others)]


def pca(train: pd.DataFrame, others: list[pd.DataFrame], seed: int) -> list[Array]:
    """Return principal components of the same."""
    rows = raw(train, others, seed)
    model = PCA(min(N_COMPONENTS, *rows[0].shape), random_state=seed).fit(rows[0])
    return [model.transform(X) for X in rows]


def contenders(elsewhere: Elsewhere) -> dict[str, Represent]:
    """Return the contenders by name."""
    found: dict[str, Represent] = {"raw": raw, "PCA": pca}
    if elsewhere:
        found["skrub + PCA"] = lambda train, others, seed: elsewhere.run(
            "skrub", train=train, others=others, n_components=N_COMPONENTS, seed=seed
        )
    for name, make in FEATURES.items():
        found[name] = _represent_by(make)
        if name.startswith("robust-table"):
            found[f"raw and {name}"] = _beside_raw(found[name])
    return found


def _represent_by(make: Callable[[int], Any]) -> Represent:
    """Return the features of a model of the package."""

    def represent(train: pd.DataFrame, others: list[pd.DataFrame], seed: int) -> list[Array]:
        model = make(seed).fit(train)
        return [model.transform(frame) for frame in (train, *others)]

    return represent


def _beside_raw(represent: Represent) -> Represent:
    """Return the raw columns beside standardised features of a smaller weight."""

    def both(train: pd.DataFrame, others: list[pd.DataFrame], seed: int) -> list[Array]:
        features = represent(train, others, seed)
        scaler = StandardScaler().fit(features[0])
        columns = raw(train, others, seed)
        return [
            np.concatenate([X, WEIGHT * scaler.transform(codes)], axis=1)
            for X, codes in zip(columns, features, strict=True)
        ]

    return both


def scale(X: Array) -> float:
    """Return one scale for all features, so that a value of C means much the same to everyone."""
    return float(np.sqrt(X.var(axis=0).mean())) or 1.0


def measure(represent: Represent, split: Split) -> dict[str, Any]:
    """Return accuracies by labels, classifier and condition, R² of numeric targets, seconds."""
    random = np.random.default_rng([split.number, 2])
    train, test = split.inputs("train"), split.inputs("test")
    tests = [disturb(test, train, condition, random) for condition in CONDITIONS]
    start = time.perf_counter()
    X, *under = represent(train, tests, split.number)
    seconds = time.perf_counter() - start
    X, under = X / scale(X), [rows / scale(X) for rows in under]
    few = learners.few_labels(split.classes("train"), FEW, random)
    scores: dict[str, float] = {}
    for amount, rows in ((str(FEW), few), ("all", np.arange(len(X)))):
        for name, value in _scores(split, X, under, rows).items():
            scores[f"{amount}, {name}"] = value
    return {"scores": scores, "seconds": seconds}


def _scores(split: Split, X: Array, under: list[Array], rows: Array) -> dict[str, float]:
    """Return accuracies, and R², with labels for some rows."""
    found = {}
    y, truth = split.classes("train"), split.classes("test")
    for name in learners.CLASSIFIERS:
        model = learners.fit(name, X[rows], y[rows], split.number)
        for condition, test in zip(CONDITIONS, under, strict=True):
            found[f"{name}, {condition}"] = float(np.mean(model.predict(test) == truth))
    if split.table.is_numeric:
        model = learners.regression(X[rows], split.numbers("train")[rows])
        for condition, test in zip(CONDITIONS, under, strict=True):
            found[f"R², {condition}"] = float(model.score(test, split.numbers("test")))
    return found
