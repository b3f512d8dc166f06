"""Prints by how many bytes memory grows while a process repeats something.

Run as ``python long_running.py NAME N_CYCLES``.
"""

import gc
import sys
import tracemalloc
import warnings

import numpy as np
from sklearn.model_selection import GridSearchCV

from skvim import VAETransformer, VIMAETransformer
from skvim.model_selection import BatchedSearchCV, lam_path
from skvim.semi_supervised import TransductiveSVC

X = np.random.default_rng(0).normal(size=(24, 4))
Y = np.r_[0, 1, 0, 1, np.full(20, -1)]
TINY = {"hidden_layer_sizes": (4,), "max_epochs": 1, "batch_size": 8, "random_state": 0}
LAMS = {"lam": [0.1, 1.0]}


def captured_fit():
    model = VIMAETransformer(2, **TINY, acceleration="capture").fit(X)
    assert model.net_.plain_because_ == ""


def cycles():
    """Return what is repeated, by name."""
    fitted, vim = VAETransformer(2, **TINY).fit(X), VIMAETransformer(2, **TINY)
    return {
        "captured fit": captured_fit,
        "lam_path": lambda: lam_path(vim, X, LAMS["lam"]),
        "BatchedSearchCV": lambda: BatchedSearchCV(vim, LAMS, cv=2).fit(X),
        "GridSearchCV": lambda: GridSearchCV(vim, LAMS, cv=2).fit(X),
        "TransductiveSVC": lambda: TransductiveSVC(random_state=0, safe=False).fit(X, Y).predict(X),
        "score_samples": lambda: fitted.score_samples(X, n_draws=3),
        "information": lambda: fitted.information(X),
    }


def growth(cycle, n_cycles):
    """Return by how many bytes Python's memory grows, after what is loaded and cached once."""
    cycle()
    tracemalloc.start(1)
    cycle()
    gc.collect()
    before, _ = tracemalloc.get_traced_memory()
    for _ in range(n_cycles):
        cycle()
    gc.collect()
    after, _ = tracemalloc.get_traced_memory()
    return after - before


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    print(growth(cycles()[sys.argv[1]], int(sys.argv[2])))
