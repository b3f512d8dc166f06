"""Memory of a process that fits and scores for a long time."""

import gc
import tracemalloc

import numpy as np
import pytest
from family import SMALL
from sklearn.model_selection import GridSearchCV

from skvim import VAETransformer, VIMAETransformer
from skvim.model_selection import BatchedSearchCV, lam_path
from skvim.semi_supervised import TransductiveSVC

X = np.random.default_rng(0).normal(size=(24, 4))
Y = np.r_[0, 1, 0, 1, np.full(20, -1)]
TINY = {**SMALL, "hidden_layer_sizes": (4,), "max_epochs": 1, "batch_size": 8}
LAMS = {"lam": [0.1, 1.0]}
FITTED = VAETransformer(2, **TINY).fit(X)


def captured_fit():
    model = VIMAETransformer(2, **TINY, acceleration="capture").fit(X)
    assert model.net_.plain_because_ == ""


# Each with how often it is repeated, few or many times: searches take longest.
CYCLES = {
    "captured fit": (captured_fit, 6, 250),
    "lam_path": (lambda: lam_path(VIMAETransformer(2, **TINY), X, LAMS["lam"]), 3, 80),
    "BatchedSearchCV": (
        lambda: BatchedSearchCV(VIMAETransformer(2, **TINY), LAMS, cv=2).fit(X),
        2,
        20,
    ),
    "GridSearchCV": (
        lambda: GridSearchCV(VIMAETransformer(2, **TINY), LAMS, cv=2).fit(X),
        3,
        100,
    ),
    "TransductiveSVC": (lambda: TransductiveSVC(random_state=0).fit(X, Y).predict(X), 6, 800),
    "score_samples": (lambda: FITTED.score_samples(X, n_draws=3), 6, 800),
    "information": (lambda: FITTED.information(X), 6, 950),
}


@pytest.mark.trust("Memory does not grow with the number of fits and scores.")
@pytest.mark.parametrize(("cycle", "few", "many"), CYCLES.values(), ids=CYCLES)
def test_memory_does_not_grow_with_the_number_of_fits(cycle, few, many, amount):
    n_cycles = amount("cycles of fitting", quick=few, full=many)
    cycle()  # what is loaded and cached once
    tracemalloc.start(1)
    try:
        cycle()
        gc.collect()
        before, _ = tracemalloc.get_traced_memory()
        for _ in range(n_cycles):
            cycle()
        gc.collect()
        after, _ = tracemalloc.get_traced_memory()
        largest = tracemalloc.take_snapshot().statistics("lineno")[:5]
    finally:
        tracemalloc.stop()
    # The source of one captured step alone has 16 kB.
    assert after - before < 100_000 + 1_000 * n_cycles, largest
