"""Few labels: accuracy with 50 labels of training rows, over many draws of these labels.

From draw to draw the accuracy changes by points, more than between encodings.
"""

import time
from typing import Any

import numpy as np

from mixed_tables import features, learners
from mixed_tables.data import Split
from mixed_tables.elsewhere import Elsewhere

__all__ = ["contenders", "measure"]

N_DRAWS = 20
_NAMES = (
    "raw",
    "PCA",
    "robust-table",
    "robust-table, untrained",
    "raw and robust-table",
    "raw and robust-table, untrained",
)


def contenders(elsewhere: Elsewhere) -> dict[str, features.Represent]:
    """Return the contenders by name."""
    found = features.contenders(elsewhere)
    return {name: found[name] for name in _NAMES}


def measure(represent: features.Represent, split: Split) -> dict[str, Any]:
    """Return the mean accuracy of logistic regression over draws, and seconds of encoding."""
    start = time.perf_counter()
    X, test = represent(split.inputs("train"), [split.inputs("test")], split.number)
    seconds = time.perf_counter() - start
    scale = features.scale(X)
    y, truth = split.classes("train"), split.classes("test")
    accuracies = []
    for draw in range(N_DRAWS):
        random = np.random.default_rng([split.number, 100 + draw])
        rows = learners.few_labels(y, features.FEW, random)
        model = learners.fit("logistic regression", X[rows] / scale, y[rows], split.number)
        accuracies.append(np.mean(model.predict(test / scale) == truth))
    return {"scores": {"accuracy": float(np.mean(accuracies))}, "seconds": seconds}
