"""Odd rows: how well scores tell rows of a rare class, among rows without labels."""

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.ensemble import IsolationForest
from sklearn.metrics import average_precision_score, roc_auc_score
from sklearn.mixture import GaussianMixture
from sklearn.neighbors import LocalOutlierFactor

from mixed_tables.data import Split
from mixed_tables.elsewhere import Elsewhere
from mixed_tables.encode import Encoding
from mixed_tables.ours import ODD

__all__ = ["contenders", "measure"]

Array = NDArray[Any]
# From training rows, test rows and a seed to scores, low for odd rows, and seconds of scoring.
Score = Callable[[pd.DataFrame, pd.DataFrame, int], tuple[Array, float]]
_SHARE = 0.05
_RIDGE = 1e-3  # added to variances of one-hot columns, which have no full rank


def by_array(make: Callable[[int], Any]) -> Score:
    """Return a contender that scores standardised numbers and one-hot categories."""

    def score(train: pd.DataFrame, test: pd.DataFrame, seed: int) -> tuple[Array, float]:
        encoding = Encoding(train, 20)
        model = make(seed).fit(encoding.complete(train))
        return _timed(model, encoding.complete(test))

    return score


def by_frame(make: Callable[[int], Any]) -> Score:
    """Return a model of the package; which cells are missing counts."""
    return lambda train, test, seed: _timed(make(seed).fit(train), test, missing=True)


def _timed(model: Any, rows: Any, **options: Any) -> tuple[Array, float]:
    """Return scores and the seconds they took."""
    start = time.perf_counter()
    scores = model.score_samples(rows, **options)
    return scores, time.perf_counter() - start


def contenders(elsewhere: Elsewhere) -> dict[str, Score]:
    """Return the contenders by name."""
    mixture = lambda n, seed: GaussianMixture(n, reg_covar=_RIDGE, random_state=seed)
    found = {
        "IsolationForest": by_array(lambda seed: IsolationForest(random_state=seed)),
        "one gaussian": by_array(lambda seed: mixture(1, seed)),
        "mixture of 10 gaussians": by_array(lambda seed: mixture(10, seed)),
        "LOF": by_array(lambda seed: LocalOutlierFactor(novelty=True)),
    }
    return found | {name: by_frame(make) for name, make in ODD.items()}


def measure(score: Score, split: Split) -> dict[str, Any] | None:
    """Return AUC, average precision, and seconds of scores; None for tables without classes."""
    if split.table.is_numeric:
        return None
    random = np.random.default_rng([split.number, 4])
    frames, odd = {}, {}
    for part in ("train", "test"):
        classes = split.classes(part)
        normal = np.flatnonzero(classes == np.bincount(split.table.classes).argmax())
        others = np.setdiff1d(np.arange(len(classes)), normal)
        n_odd = max(2, round(_SHARE / (1 - _SHARE) * len(normal)))
        rows = np.concatenate([normal, random.choice(others, n_odd, replace=False)])
        rows = random.permutation(rows)
        frames[part] = split.inputs(part).iloc[rows].reset_index(drop=True)
        odd[part] = ~np.isin(rows, normal)
    start = time.perf_counter()
    found, scoring = score(frames["train"], frames["test"], split.number)
    scores = {
        "AUC": float(roc_auc_score(odd["test"], -found)),
        "average precision": float(average_precision_score(odd["test"], -found)),
        "seconds per 1,000 rows": 1000 * scoring / len(found),
    }
    return {"scores": scores, "seconds": time.perf_counter() - start}
