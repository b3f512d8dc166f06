"""Filling: errors in cells that were taken out of a table."""

import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.experimental import enable_iterative_imputer  # noqa: F401
from sklearn.impute import IterativeImputer, KNNImputer

from mixed_tables.corrupt import MECHANISMS, punch
from mixed_tables.data import Split, as_floats, is_number
from mixed_tables.elsewhere import Elsewhere
from mixed_tables.encode import Encoding
from mixed_tables.ours import FILLING

__all__ = ["contenders", "measure"]

Array = NDArray[Any]
# From rows with holes and a seed to the same rows, or an array, with none.
Fill = Callable[[pd.DataFrame, int], pd.DataFrame]
_LARGEST = 2000  # rows, to bound the time
_VALUES = 20  # of a category that have a column each
# As in MIWAE's article; the package's default is one hidden unit and one latent variable.
_MIWAE = {"n_hidden": 128, "latent_size": 10}


def by_array(fill: Callable[[Array, int], Array]) -> Fill:
    """Return a contender that fills standardised numbers and one-hot categories."""

    def fill_frame(frame: pd.DataFrame, seed: int) -> pd.DataFrame:
        encoding = Encoding(frame, _VALUES)
        return encoding.decode(fill(encoding.with_missing(frame), seed))

    return fill_frame


def by_codes(fill: Callable[[Array, int], Array]) -> Fill:
    """Return a contender that fills standardised numbers and places of categories."""

    def fill_frame(frame: pd.DataFrame, seed: int) -> pd.DataFrame:
        encoding = Encoding(frame, _VALUES)
        codes = fill(encoding.as_codes(encoding.with_missing(frame)), seed)
        return encoding.decode(encoding.from_codes(codes))

    return fill_frame


def mean(array: Array, seed: int) -> Array:
    """Fill means, and so the most frequent value of a category."""
    return np.where(np.isnan(array), np.nanmean(array, axis=0), array)


def neighbours(array: Array, seed: int) -> Array:
    """Fill means of five nearest neighbours."""
    return np.asarray(KNNImputer(keep_empty_features=True).fit_transform(array))


def iterative(array: Array, seed: int) -> Array:
    """Fill by linear regressions in turn."""
    model = IterativeImputer(random_state=seed, keep_empty_features=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return np.asarray(model.fit_transform(array))


def contenders(elsewhere: Elsewhere) -> dict[str, Fill]:
    """Return the contenders by name."""
    found = {
        "mean, mode": by_array(mean),
        "KNNImputer": by_array(neighbours),
        # The columns of a category sum to 1, which tells each from the others' means.
        "IterativeImputer, one-hot": by_array(iterative),
        "IterativeImputer, codes": by_codes(iterative),
    }
    if elsewhere:
        for name, candidates in (("miceforest", 5), ("miceforest, best guess", 0)):
            found[name] = _forest(elsewhere, candidates)
        found["MIWAE"] = _miwae(elsewhere)
    return found | {name: _fill_by(make) for name, make in FILLING.items()}


def _forest(elsewhere: Elsewhere, candidates: int) -> Fill:
    """Return miceforest, with rare values of categories in one."""

    def fill(frame: pd.DataFrame, seed: int) -> pd.DataFrame:
        pooled = _pooled(frame)
        return elsewhere.run("miceforest", train=pooled, seed=seed, candidates=candidates)

    return fill


def _pooled(frame: pd.DataFrame) -> pd.DataFrame:
    """Replace rare values of categories by the most frequent of them."""
    encoding, pooled = Encoding(frame, _VALUES), frame.copy()
    for name, values in encoding.values.items():
        rare = ~frame[name].isin(values) & frame[name].notna()
        pooled[name] = frame[name].mask(rare, encoding.modes[name])
    return pooled


def _miwae(elsewhere: Elsewhere) -> Fill:
    """Return MIWAE."""
    return by_array(
        lambda array, seed: elsewhere.run("miwae", array=array, seed=seed, options=_MIWAE)
    )


def _fill_by(make: Callable[[int], Any]) -> Fill:
    """Return a model of the package."""
    return lambda frame, seed: make(seed).fit(frame).impute(frame)


def measure(fill: Fill, split: Split) -> dict[str, Any]:
    """Return errors by mechanism: of numbers in standard deviations, and shares of right values."""
    whole = pd.concat([split.rows("train"), split.rows("test")], ignore_index=True)
    whole = whole.iloc[:_LARGEST]
    scores, seconds = {}, 0.0
    for i, mechanism in enumerate(MECHANISMS):
        random = np.random.default_rng([split.number, 3, i])
        frame, holes = punch(whole, mechanism, random)
        start = time.perf_counter()
        filled = fill(frame, split.number)
        seconds += time.perf_counter() - start
        for name, value in _errors(whole, filled, holes).items():
            scores[f"{mechanism}, {name}"] = value
    return {"scores": scores, "seconds": seconds / len(MECHANISMS)}


def _errors(whole: pd.DataFrame, filled: pd.DataFrame, holes: Array) -> dict[str, float]:
    """Return means over columns of errors and of shares of right values."""
    errors, right = [], []
    for i, name in enumerate(whole):
        hole = holes[:, i]
        if not hole.any():
            continue
        if is_number(whole[name]):
            x = as_floats(whole[name])
            difference = (as_floats(filled[name]) - x)[hole] / (np.nanstd(x) or 1.0)
            errors.append(np.sqrt(np.mean(difference**2)))
        else:
            same = filled[name].astype(object).to_numpy() == whole[name].astype(object).to_numpy()
            right.append(np.mean(same[hole]))
    found = {}
    if errors:
        found["RMSE"] = float(np.mean(errors))
    if right:
        found["accuracy"] = float(np.mean(right))
    if not np.isfinite(list(found.values())).all():
        raise ArithmeticError("cells are still missing")
    return found
