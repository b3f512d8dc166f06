"""The rows that every contender trains on, in whichever environment it runs."""

import numpy as np

__all__ = ["make_rows"]

_FACTORS = 8


def make_rows(n_rows: int, n_features: int) -> np.ndarray:
    """Draw rows of about unit variance that eight factors and noise explain, in float32."""
    source = np.random.default_rng(0)
    loadings = source.standard_normal((_FACTORS, n_features), dtype=np.float32) / _FACTORS**0.5
    factors = source.standard_normal((n_rows, _FACTORS), dtype=np.float32)
    noise = source.standard_normal((n_rows, n_features), dtype=np.float32)
    return factors @ loadings + 0.3 * noise
