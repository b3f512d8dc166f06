"""The models and the data that several test files share."""

import numpy as np
from sklearn.datasets import load_digits

from skvim import (
    AAETransformer,
    AETransformer,
    BetaVAETransformer,
    CapacityVAETransformer,
    ContractiveAETransformer,
    DenoisingAETransformer,
    InfoVAETransformer,
    UncertaintyAETransformer,
    VAETransformer,
    VIMAETransformer,
    WAETransformer,
)

GENERATIVE = [
    VAETransformer,
    BetaVAETransformer,
    CapacityVAETransformer,
    InfoVAETransformer,
    VIMAETransformer,
    WAETransformer,
    AAETransformer,
]
PLAIN = [
    AETransformer,
    ContractiveAETransformer,
    DenoisingAETransformer,
    UncertaintyAETransformer,
]
MODELS = [*PLAIN, *GENERATIVE]
SMALL = {"hidden_layer_sizes": (16,), "max_epochs": 5, "random_state": 0}


def normal_rows(n: int, d: int, k: int, seed: int = 0) -> np.ndarray:
    """Draw from a probabilistic PCA model with unit noise."""
    source = np.random.default_rng(seed)
    loadings = 2 * source.normal(size=(k, d))
    return source.normal(size=(n, k)) @ loadings + source.normal(size=(n, d)) + 5.0


X = normal_rows(120, 6, 2)
DIGITS = load_digits().data / 16
