"""Synthetic rows for all benchmarks, in any environment."""

import numpy as np

__all__ = ["make_rows"]

_FACTORS = 8
_PART = 1000


def make_rows(n_rows: int, n_features: int, seed: int = 0) -> np.ndarray:
    """Draw float32 rows of about unit variance from a linear model of eight factors and noise."""
    source = np.random.default_rng(seed)
    loadings = source.standard_normal((_FACTORS, n_features), dtype=np.float32) / _FACTORS**0.5
    factors = source.standard_normal((n_rows, _FACTORS), dtype=np.float32)
    rows = source.standard_normal((n_rows, n_features), dtype=np.float32)
    # In place and in parts, because a memory peak here would hide those measured later.
    rows *= 0.3
    for start in range(0, n_rows, _PART):
        rows[start : start + _PART] += factors[start : start + _PART] @ loadings
    return rows
