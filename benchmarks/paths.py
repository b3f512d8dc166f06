"""Time batched searches over λ against GridSearchCV.

Every search fits K values of λ to three folds and does not refit. Searches run in turns, in
alternating order, and figures are medians. The worker processes of ``n_jobs=2`` are started before,
except for "n_jobs=2, first", whose time includes their start. Results go to ``results/paths.json``,
which keeps those of other networks and numbers of values if measured on the same machine. Run it on
an idle machine, with ``make bench-paths`` or::

    python benchmarks/paths.py [--values K ...] [--sizes SIZES ...] [--share SHARE]
"""

import argparse
import json
import statistics
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from joblib.externals.loky import get_reusable_executor
from machine import machine
from rows import make_rows
from sklearn.model_selection import GridSearchCV
from write_tables import RESULTS, write_tables

from skvim import VIMAETransformer
from skvim.exceptions import SkvimWarning
from skvim.model_selection import BatchedSearchCV

# Epochs of each network, for fits of about a second.
EPOCHS = {"20-64-64-8": 100, "64-128-128-16": 60, "784-256-256-16": 10}
VALUES = (1, 4, 8, 16, 32)
ROWS, FOLDS = 1500, 3


def final_loss(estimator: Any, X: Any, y: Any = None) -> float:
    """Score a model by its training loss, at no cost: a search then measures its fits."""
    return -float(estimator.loss_curve_[-1])


def search(kind: type, sizes: list[int], n_values: int, epochs: int, n_jobs: int | None) -> Any:
    """Run one search and return it."""
    model = VIMAETransformer(
        sizes[-1], hidden_layer_sizes=tuple(sizes[1:-1]), max_epochs=epochs, random_state=0
    )
    grid = {"lam": np.geomspace(0.1, 100, n_values).tolist()}
    options = {"cv": FOLDS, "scoring": final_loss, "refit": False, "n_jobs": n_jobs}
    return kind(model, grid, **options).fit(make_rows(ROWS, sizes[0]))


def contenders(sizes: list[int], n_values: int, epochs: int) -> dict[str, Callable[[], Any]]:
    """Return the searches by name."""

    def first() -> Any:
        get_reusable_executor().shutdown(wait=True)
        return search(GridSearchCV, sizes, n_values, epochs, 2)

    return {
        "together": lambda: search(BatchedSearchCV, sizes, n_values, epochs, 2),
        "n_jobs=1": lambda: search(GridSearchCV, sizes, n_values, epochs, None),
        "n_jobs=2, first": first,
        "n_jobs=2": lambda: search(GridSearchCV, sizes, n_values, epochs, 2),
    }


def race(network: str, n_values: int, repeats: int, share: float) -> dict[str, Any]:
    """Time the searches in turns, after a short untimed one of each."""
    sizes = [int(part) for part in network.split("-")]
    epochs = max(1, round(share * EPOCHS[network]))
    for run in contenders(sizes, 2, 1).values():
        run()
    seconds: dict[str, list[float]] = {}
    turns = list(contenders(sizes, n_values, epochs).items())
    for turn in range(repeats):
        # The search before influences a time a little.
        for name, run in turns if turn % 2 == 0 else turns[::-1]:
            start = time.perf_counter()
            found = run()
            seconds.setdefault(name, []).append(time.perf_counter() - start)
            if name == "together":
                n_together = found.n_batched_fits_
    medians = {name: statistics.median(taken) for name, taken in seconds.items()}
    cells = [f"{name} {middle:.2f} s" for name, middle in medians.items()]
    print(f"| {network}, K = {n_values} | {' | '.join(cells)} |", flush=True)
    return {
        "network": network,
        "values": n_values,
        "folds": FOLDS,
        "epochs": epochs,
        "fits together": n_together,
        "seconds": seconds,
    }


def kept(runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return earlier results from this machine that are not measured again."""
    path = RESULTS / "paths.json"
    before = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {"runs": []}
    if before.get("measured on") != machine() or before.get("rows") != ROWS:
        return []
    again = {(run["network"], run["values"]) for run in runs}
    return [run for run in before["runs"] if (run["network"], run["values"]) not in again]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--values", type=int, nargs="+", default=VALUES, help="numbers of λ")
    parser.add_argument("--sizes", nargs="+", default=list(EPOCHS), choices=list(EPOCHS))
    parser.add_argument("--repeats", type=int, default=4, help="turns of each search")
    parser.add_argument("--share", type=float, default=1.0, help="share of the epochs to train")
    parser.add_argument("--dry", action="store_true", help="write no results")
    options = parser.parse_args()
    warnings.simplefilter("ignore", SkvimWarning)
    runs = [
        race(network, n_values, options.repeats, options.share)
        for network in options.sizes
        for n_values in options.values
    ]
    if not options.dry:
        found = {"measured on": machine(), "rows": ROWS, "runs": kept(runs) + runs}
        found["runs"].sort(key=lambda run: (list(EPOCHS).index(run["network"]), run["values"]))
        (RESULTS / "paths.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
        write_tables()


if __name__ == "__main__":
    main()
