"""Noise on rows, and holes in them."""

from collections.abc import Callable

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mixed_tables.data import as_floats, from_floats, is_number

__all__ = ["CONDITIONS", "MECHANISMS", "disturb", "punch"]

# Noise in standard deviations, share of cells masked, share of cells missing.
CONDITIONS = {"as they are": 0.0, "noise": 0.3, "masking": 0.2, "missing": 0.2}
_SHARE = 0.2
_STEEPNESS = 2.0  # of the probability of a hole, in standard deviations of what it depends on

Mask = NDArray[np.bool_]


def disturb(
    frame: pd.DataFrame, train: pd.DataFrame, condition: str, random: np.random.Generator
) -> pd.DataFrame:
    """Return rows under a condition; scale, median and mode are those of the training rows.

    A cell of each row stays observed.
    """
    amount, columns = CONDITIONS[condition], {}
    if condition == "missing":
        holes = np.column_stack([random.random(len(frame)) < amount for _ in frame.columns])
        # By numbers of its own, so that labels drawn later are the same whichever rows need it.
        return _with_holes(frame, holes, random.spawn(1)[0])[0]
    for name in frame:
        column, known = frame[name], train[name]
        hit = random.random(len(frame)) < amount
        if condition == "noise":
            columns[name] = _add_noise(column, known, amount, random)
        elif condition == "masking":
            middle = known.median() if is_number(known) else known.mode().iloc[0]
            columns[name] = _floats(column).mask(hit, middle)
        else:
            columns[name] = column
    return pd.DataFrame(columns)


def _add_noise(
    column: pd.Series, known: pd.Series, amount: float, random: np.random.Generator
) -> pd.Series:
    """Add normal noise to numbers, none to categories."""
    noise = random.standard_normal(len(column))
    if not is_number(column):
        return column
    return from_floats(as_floats(column) + amount * np.nanstd(as_floats(known)) * noise, column)


def _floats(column: pd.Series) -> pd.Series:
    """Return integers as floats, which have room for NaN and a median between integers."""
    return column.astype(float) if pd.api.types.is_integer_dtype(column) else column


def at_random(frame: pd.DataFrame, random: np.random.Generator) -> Mask:
    """Return holes with the same probability for all cells."""
    return random.random(frame.shape) < _SHARE


def by_other_columns(frame: pd.DataFrame, random: np.random.Generator) -> Mask:
    """Return holes with probabilities that depend on a third of the columns, which have none."""
    scores = _scores(frame, random)
    n_columns = frame.shape[1]
    order = random.permutation(n_columns)
    drivers, others = np.split(order, [max(1, n_columns // 3)])
    holes = np.zeros(frame.shape, dtype=bool)
    share = _SHARE * n_columns / len(others)
    for column in others:
        mixed = scores[:, drivers] @ random.standard_normal(len(drivers))
        holes[:, column] = _draw(mixed, share, random)
    return holes


def by_own_value(frame: pd.DataFrame, random: np.random.Generator) -> Mask:
    """Return holes with probabilities that depend on the cell: more among large numbers."""
    scores = _scores(frame, random)
    return np.column_stack([_draw(column, _SHARE, random) for column in scores.T])


MECHANISMS: dict[str, Callable[[pd.DataFrame, np.random.Generator], Mask]] = {
    "at random": at_random,
    "by other columns": by_other_columns,
    "by own value": by_own_value,
}


def punch(
    frame: pd.DataFrame, mechanism: str, random: np.random.Generator
) -> tuple[pd.DataFrame, Mask]:
    """Return rows with holes in observed cells, and where these are; a cell of each row stays."""
    return _with_holes(frame, MECHANISMS[mechanism](frame, random), random)


def _with_holes(
    frame: pd.DataFrame, holes: Mask, random: np.random.Generator
) -> tuple[pd.DataFrame, Mask]:
    """Empty observed cells, but for one cell of rows that would have none left."""
    observed = frame.notna().to_numpy()
    holes = holes & observed
    for i in np.flatnonzero((holes == observed).all(axis=1)):
        holes[i, random.choice(np.flatnonzero(observed[i]))] = False
    columns = {name: _floats(frame[name]).mask(holes[:, i]) for i, name in enumerate(frame)}
    return pd.DataFrame(columns), holes


def _scores(frame: pd.DataFrame, random: np.random.Generator) -> NDArray[np.float64]:
    """Return ranks of numbers and random numbers for categories, standardised, 0 for missing."""
    scores = []
    for name in frame:
        column = frame[name]
        if is_number(column):
            score = pd.Series(as_floats(column)).rank().to_numpy()
        else:
            values = column.dropna().unique()
            of_value = dict(zip(values, random.standard_normal(len(values)), strict=True))
            score = column.map(of_value).to_numpy(float)
        scores.append(np.nan_to_num((score - np.nanmean(score)) / (np.nanstd(score) or 1.0)))
    return np.column_stack(scores)


def _draw(score: NDArray[np.float64], share: float, random: np.random.Generator) -> Mask:
    """Draw holes in a share of the rows, more of them where the score is high."""
    slope = _STEEPNESS / (score.std() or 1.0)
    low, high = -50.0, 50.0
    for _ in range(60):
        middle = (low + high) / 2
        chances = 1 / (1 + np.exp(-np.clip(slope * score + middle, -500, 500)))
        low, high = (low, middle) if chances.mean() > share else (middle, high)
    return random.random(len(score)) < chances
