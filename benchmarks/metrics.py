"""Time and peak memory of each metric, each in a separate process.

Memory is the peak beyond the rows that are passed. It prints a table and writes
``results/metrics.json`` and the table of the documentation. Run it on an idle machine, with
``make bench-metrics`` or::

    python benchmarks/metrics.py [--rows N] [--features D ...] [--only MEASURE]
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from machine import machine
from resources import peak
from rows import make_rows
from write_tables import RESULTS, write_tables

from skvim import VAETransformer
from skvim.metrics import (
    active_units,
    frechet_distance,
    information,
    kernel_distance,
    log_likelihood,
    precision_recall,
    reconstruction_error,
    robustness_curve,
)
from skvim.noise import GaussianNoise

ROWS, FEATURES = 10_000, (784, 2048)
FITTED_ROWS, COMPONENTS = 500, 16

Measure = Callable[[Any, np.ndarray, np.ndarray], object]

# Calls with a fitted model, rows X and as many other rows Y.
MEASURES: dict[str, Measure] = {
    "reconstruction_error": lambda model, X, Y: reconstruction_error(Y, X),
    "reconstruction_error, model": lambda model, X, Y: reconstruction_error(model, X),
    "frechet_distance": lambda model, X, Y: frechet_distance(X, Y),
    "frechet_distance, n_partitions=0": lambda model, X, Y: frechet_distance(X, Y, n_partitions=0),
    "frechet_distance, codes": lambda model, X, Y: frechet_distance(X, Y, features=model),
    "kernel_distance": lambda model, X, Y: kernel_distance(X, Y),
    "precision_recall": lambda model, X, Y: precision_recall(X, Y),
    "log_likelihood, n_draws=10": lambda model, X, Y: log_likelihood(model, X, n_draws=10),
    "information": lambda model, X, Y: information(model, X),
    "active_units": lambda model, X, Y: active_units(model.transform(X)),
    "robustness_curve, 5 repeats": lambda model, X, Y: robustness_curve(
        model, X, None, [GaussianNoise(0.2)], scoring=reconstruction, random_state=0
    ),
}


def reconstruction(model: Any, X: Any, y: Any = None) -> float:
    """Score a model at the cost of one forward pass."""
    return -reconstruction_error(model, X).sse_per_sample


def measure(name: str, n_rows: int, n_features: int) -> dict[str, float]:
    """Return seconds and peak bytes of a metric in this process."""
    both = make_rows(2 * n_rows, n_features)
    X, Y = both[:n_rows], both[n_rows:]
    model = VAETransformer(
        COMPONENTS, hidden_layer_sizes=(256,), max_epochs=1, random_state=0, device="cpu"
    ).fit(X[:FITTED_ROWS])
    # A first call with few rows loads lazily imported code.
    few = min(n_rows, 100)
    MEASURES[name](model, X[:few], Y[:few])
    before = peak()
    start = time.perf_counter()
    MEASURES[name](model, X, Y)
    return {"seconds": time.perf_counter() - start, "bytes": peak() - before}


def measured_apart(name: str, n_rows: int, n_features: int) -> dict[str, float]:
    """Measure in a separate process."""
    sizes = ["--rows", str(n_rows), "--features", str(n_features)]
    command = [sys.executable, __file__, "--here", name, *sizes]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    found: dict[str, float] = json.loads(output.splitlines()[-1])
    return found


def main() -> None:
    """Measure everything, print the table and write the results."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--rows", type=int, default=ROWS, help="rows of either set")
    parser.add_argument("--features", type=int, nargs="+", default=FEATURES, help="their lengths")
    parser.add_argument("--repeats", type=int, default=3, help="processes for each figure")
    parser.add_argument("--only", choices=MEASURES, help="the one measure to take")
    parser.add_argument("--out", type=Path, default=RESULTS / "metrics.json", help="to write")
    parser.add_argument("--here", choices=MEASURES, help=argparse.SUPPRESS)
    options = parser.parse_args()
    # Models after so few epochs collapse, with warnings.
    warnings.simplefilter("ignore")
    if options.here:
        print(json.dumps(measure(options.here, options.rows, options.features[0])))
        return
    runs = []
    print("| measure | rows | features | seconds | MiB |\n| --- | --: | --: | --: | --: |")
    for name in MEASURES if options.only is None else (options.only,):
        for width in options.features:
            found = [measured_apart(name, options.rows, width) for _ in range(options.repeats)]
            seconds, memory = ([run[key] for run in found] for key in ("seconds", "bytes"))
            middle, most = statistics.median(seconds), max(memory) / 2**20
            print(f"| {name} | {options.rows} | {width} | {middle:.2f} | {most:.0f} |", flush=True)
            size = {"rows": options.rows, "features": width}
            runs.append({"measure": name, **size, "seconds": seconds, "bytes": memory})
    load = os.getloadavg() if hasattr(os, "getloadavg") else None
    options.out.parent.mkdir(exist_ok=True)
    results = {"measured on": machine(), "load": load, "runs": runs}
    options.out.write_text(json.dumps(results, indent=1) + "\n")
    write_tables()


if __name__ == "__main__":
    main()
