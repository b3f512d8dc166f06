"""Robustness curves made by hand."""

import pandas as pd


def curve(scores: dict[tuple[str, float], list[float]]) -> pd.DataFrame:
    """Build a curve from {(corruption, level): scores}."""
    records = [
        (name, level, repeat, score)
        for (name, level), several in scores.items()
        for repeat, score in enumerate(several)
    ]
    return pd.DataFrame(records, columns=["corruption", "level", "repeat", "score"])
