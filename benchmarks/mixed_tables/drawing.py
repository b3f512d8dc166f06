"""Drawing: how much drawn rows look like rows that the contender has not seen."""

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import roc_auc_score
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.neighbors import NearestNeighbors

from mixed_tables import learners
from mixed_tables.data import Split, as_floats, is_number
from mixed_tables.elsewhere import Elsewhere
from mixed_tables.encode import Encoding, Quantiles
from mixed_tables.ours import DRAWING

__all__ = ["contenders", "measure"]

Array = NDArray[Any]
# From training rows, a number of rows and a seed to drawn rows.
Draw = Callable[[pd.DataFrame, int, int], pd.DataFrame]
_NEAR = 5  # in %: rows of the holdout that count as near a training row
_RIDGE = 1e-3  # added to the variances of a mixture


def training_rows(train: pd.DataFrame, n_rows: int, seed: int) -> pd.DataFrame:
    """Draw training rows themselves, each once: what copies score."""
    return train.sample(n_rows, random_state=seed, ignore_index=True)


def independent(train: pd.DataFrame, n_rows: int, seed: int) -> pd.DataFrame:
    """Draw every column by itself."""
    columns = {
        name: train[name].sample(n_rows, replace=True, random_state=seed + i, ignore_index=True)
        for i, name in enumerate(train)
    }
    return pd.DataFrame(columns)


def mixture(n_gaussians: int) -> Draw:
    """Return a mixture of gaussians on normal scores: one gaussian is the gaussian copula."""

    def draw(train: pd.DataFrame, n_rows: int, seed: int) -> pd.DataFrame:
        quantiles = Quantiles(train, np.random.default_rng(seed))
        model = GaussianMixture(n_gaussians, reg_covar=_RIDGE, random_state=seed)
        scores, _ = model.fit(quantiles.scores).sample(n_rows)
        return quantiles.decode(np.random.default_rng(seed).permutation(scores))

    return draw


def contenders(elsewhere: Elsewhere) -> dict[str, tuple[Draw, Elsewhere]]:
    """Return the contenders by name, with sdmetrics' measures where its environment is there."""
    found: dict[str, Draw] = {
        "training rows": training_rows,
        "independent columns": independent,
        "gaussian copula": mixture(1),
        "mixture of 10 gaussians": mixture(10),
    }
    if elsewhere:
        for name, job in (("TVAE", "tvae"), ("TabularARGN", "argn")):
            found[name] = _foreign(elsewhere, job)
    found |= {name: _by_model(make) for name, make in DRAWING.items()}
    return {name: (draw, elsewhere) for name, draw in found.items()}


def _foreign(elsewhere: Elsewhere, job: str) -> Draw:
    """Return a contender of another package."""
    return lambda train, n_rows, seed: elsewhere.run(job, train=train, n_rows=n_rows, seed=seed)


def _by_model(make: Callable[[int], Any]) -> Draw:
    """Return a model of the package."""
    return lambda train, n_rows, seed: (
        make(seed).fit(train).sample(n_rows, missing=True, random_state=seed)
    )


def measure(how: tuple[Draw, Elsewhere], split: Split) -> dict[str, Any]:
    """Return how well drawn rows are told from test rows, and what they are worth."""
    draw, elsewhere = how
    train, test = split.rows("train"), split.rows("test")
    start = time.perf_counter()
    drawn = draw(train, len(train), split.number)
    seconds = time.perf_counter() - start
    drawn = drawn[list(train)]
    scores = {"AUC": _two_sample(train, test, drawn[: len(test)], split.number)}
    scores["accuracy"] = _trained_on(drawn, split)
    scores |= _copies(train, test, drawn[: len(test)])
    if elsewhere:
        found = elsewhere.run("trends", train=test, drawn=drawn[: len(test)])
        scores |= {"column shapes": found["shapes"], "pair trends": found["pairs"]}
    return {"scores": scores, "seconds": seconds}


def _codes(frame: pd.DataFrame, train: pd.DataFrame) -> Array:
    """Return numbers as the nearest of the training rows', and categories by their places.

    A value of a category that no training row has becomes that of a random training row.
    """
    random, columns = np.random.default_rng(0), []
    for name in train:
        if not is_number(train[name]):
            values = train[name].value_counts().index
            codes = pd.Categorical(frame[name], categories=values).codes.astype(float)
            known = pd.Categorical(train[name].dropna(), categories=values).codes
            new = (codes < 0) & frame[name].notna().to_numpy()
            codes[new] = random.choice(known, new.sum())
            columns.append(codes)
            continue
        columns.append(_snapped(as_floats(frame[name]), as_floats(train[name].dropna())))
    return np.column_stack(columns)


def _snapped(x: Array, known: Array) -> Array:
    """Return the nearest known numbers, NaN where x is NaN."""
    grid = np.unique(known)
    right = np.clip(np.searchsorted(grid, x), min(1, len(grid) - 1), len(grid) - 1)
    left = np.maximum(right - 1, 0)
    nearest = np.where(x - grid[left] <= grid[right] - x, grid[left], grid[right])
    return np.where(np.isnan(x), np.nan, nearest)


def _two_sample(train: pd.DataFrame, test: pd.DataFrame, drawn: pd.DataFrame, seed: int) -> float:
    """Return the area under the curve of boosting that tells test rows from drawn ones."""
    X = np.concatenate([_codes(test, train), _codes(drawn, train)])
    y = np.repeat([0, 1], [len(test), len(drawn)])
    folds = StratifiedKFold(5, shuffle=True, random_state=seed)
    model = HistGradientBoostingClassifier(random_state=seed)
    chances = cross_val_predict(model, X, y, cv=folds, method="predict_proba")[:, 1]
    return float(roc_auc_score(y, chances))


def _trained_on(drawn: pd.DataFrame, split: Split) -> float:
    """Return the accuracy on test rows of boosting trained on drawn rows."""
    target, train = split.table.target, split.inputs("train")
    drawn = drawn[drawn[target].notna()]
    y, truth = split.table.classes_of(drawn), split.classes("test")
    X, test = (_codes(frame, train) for frame in (drawn, split.inputs("test")))
    if len(np.unique(y)) < 2:
        return float(np.mean(truth == y[0]))
    model = learners.boosting(X, y, split.number)
    return float(np.mean(model.predict(test) == truth))


def _copies(train: pd.DataFrame, test: pd.DataFrame, drawn: pd.DataFrame) -> dict[str, float]:
    """Return shares of drawn rows that are near training rows, and of test rows beside them.

    Near is what 5 % of the test rows are at least, which may be more where distances repeat. And
    the share of drawn rows that are nearer to as many training rows as there are test rows than to
    the test rows, 1/2 if training rows are not copied.
    """
    encoding = Encoding(train)
    known, held_out, rows = (encoding.complete(frame) for frame in (train, test, drawn))
    of_test, of_drawn = _distances(held_out, known), _distances(rows, known)
    bound = np.percentile(of_test, _NEAR)
    to_some, to_test = _distances(rows, known[: len(test)]), _distances(rows, held_out)
    nearer = np.mean(to_some < to_test) + np.mean(to_some == to_test) / 2
    return {
        "near copies": float(np.mean(of_drawn <= bound)),
        "near copies among test rows": float(np.mean(of_test <= bound)),
        "nearer to training rows": float(nearer),
    }


def _distances(rows: Array, to: Array) -> Array:
    """Return distances to the nearest row, rounded so that equal ones are equal."""
    model = NearestNeighbors(n_neighbors=1, algorithm="brute").fit(to)
    return np.round(model.kneighbors(rows)[0][:, 0], 6)
