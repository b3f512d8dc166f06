"""Benchmark the assumption of S4VM: that a low-density labelling is the true one.

S4VM (Li and Zhou, 2015) takes, among all labellings of the unlabelled rows, the one whose least
gain over the supervised machine is largest, if one of several low-density labellings, the
candidates, were true; it is safe if one is. Here candidates are fits of TransductiveSVC from
several starts, with several weights of unlabelled rows and shares of the classes. Its results are
compared with those of ``few_labels.py``. Run it with::

    OMP_NUM_THREADS=1 python benchmarks/s4vm.py --tables FOLDER [--draws N]
"""

import argparse
import os
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from few_labels import LABELS, problems
from few_labels_page import BUILT_FOR
from machine import machine
from mixed_tables.results import Results
from numpy.typing import NDArray
from scipy.optimize import linprog
from scipy.sparse import csr_array
from write_tables import RESULTS, write_tables

from skvim.model_selection import mask_labels
from skvim.semi_supervised import TransductiveSVC

FILE = RESULTS / "s4vm.json"
Labels = NDArray[Any]
N_RANDOM = 4  # candidates of each kind that is drawn at random
LOSS_FACTORS = (1.0, 3.0)  # weights of a row that gets worse against one that gets better


def candidates(X: NDArray[Any], masked: Labels, seed: int) -> list[Labels]:
    """Return classes of the unlabelled rows by transductive machines, of low density first."""
    hidden, generator = masked == -1, np.random.default_rng(seed)
    auto = min(1.0, ((~hidden).sum() / hidden.sum()) ** 0.5)
    counts = np.unique(masked[~hidden], return_counts=True)[1]
    settings: list[dict[str, Any]] = [{}, {"solver": "switching"}, {"class_prior": "free"}]
    settings += [{"C_unlabeled": factor * auto} for factor in (0.1, 0.3)]
    settings += [{"class_prior": generator.dirichlet(counts + 1.0)} for _ in range(N_RANDOM)]
    settings += [{"warm_start": True}] * N_RANDOM  # from the machine of shuffled labels
    found = []
    for setting in settings:
        model = TransductiveSVC(safe=False, random_state=seed).set_params(**setting)
        if "warm_start" in setting:
            shuffled = masked.copy()
            shuffled[~hidden] = generator.permutation(masked[~hidden])
            model.fit(X, shuffled)
        model.fit(X, masked)
        near = np.sum(np.maximum(0.0, 1.0 - np.abs(model.decision_function(X[hidden]))) ** 2)
        objective = model.objective_ + (auto - setting.get("C_unlabeled", auto)) * near
        found.append((objective, model.transduction_[hidden]))
    return [labels for _, labels in sorted(found, key=lambda each: each[0])]


def least_gain(supervised: Labels, among: list[Labels], loss_factor: float) -> Labels:
    """Return the labelling whose least gain over the supervised one is largest.

    If the candidate ŷ is true, it is the number of rows that the supervised machine has wrong and
    the labelling right, less ``loss_factor`` times the number of rows it has wrong and the
    supervised machine right. That is linear in the shares p of the classes of each row; a linear
    program maximises it, and each row gets its class of largest p, or its supervised class if the
    least gain of the result is not positive.
    """
    classes = np.unique([supervised, *among])
    open_rows = np.flatnonzero(np.any(np.stack(among) != supervised, axis=0))
    if not len(open_rows):
        return supervised
    start = np.searchsorted(classes, supervised[open_rows])
    truths = [np.searchsorted(classes, each[open_rows]) for each in among]
    n, k = len(open_rows), len(classes)
    rows = np.arange(n)
    # Variables: p, row by row, and the least gain; gain = weights . p - constant.
    lines, limits = [], []
    for truth in truths:
        weights = np.zeros((n, k))
        weights[rows, truth] = np.where(truth == start, loss_factor, 1.0)
        lines.append(np.append(-weights.ravel(), 1.0))
        limits.append(-loss_factor * np.sum(truth == start))
    sums = csr_array((np.ones(n * k), (np.repeat(rows, k), np.arange(n * k))), (n, n * k + 1))
    bounds = [(0.0, 1.0)] * (n * k) + [(None, None)]
    solved = linprog(
        np.append(np.zeros(n * k), -1.0), np.array(lines), limits, sums, np.ones(n), bounds
    )
    chosen = solved.x[:-1].reshape(n, k).argmax(axis=1)
    gains = [
        np.sum((chosen == truth) & (truth != start))
        - loss_factor * np.sum((chosen != truth) & (truth == start))
        for truth in truths
    ]
    result = supervised.copy()
    if min(gains) > 0:
        result[open_rows] = classes[chosen]
    return result


def measure(X: NDArray[Any], y: Labels, masked: Labels, seed: int) -> dict[str, float]:
    """Return errors in % of the unlabelled rows."""
    hidden = masked == -1
    began = time.process_time()
    among = candidates(X, masked, seed)
    off = TransductiveSVC(C_unlabeled=0.0, random_state=seed).fit(X, masked)
    supervised = off.transduction_[hidden]

    def error(labels: Labels) -> float:
        return 100 * float(np.mean(labels != y[hidden]))

    errors = [error(each) for each in among]
    found = {"supervised": error(supervised), "best": min(errors)}
    found["best low"] = min(errors[: len(errors) // 2])
    found |= {"mean": float(np.mean(errors)), "worst": max(errors)}
    for factor in LOSS_FACTORS:
        for name, some in (("all", among), ("low", among[: len(among) // 2])):
            found[f"maximin {factor:.0f} {name}"] = error(least_gain(supervised, some, factor))
    return found | {"distinct": len(np.unique(among, axis=0)), "s": time.process_time() - began}


def main() -> None:
    """Run the benchmark, and write the results and the page."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--tables", type=Path, help="folder of the tables' CSV files")
    parser.add_argument("--draws", type=int, default=3, help="draws of the labels")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    command = "python benchmarks/s4vm.py --tables DIR"
    about = {"measured on": machine(), "load": os.getloadavg(), "command": command}
    results = Results(FILE, about)
    for seed in range(options.draws):
        for name, make in problems(options.tables, None).items():
            X, y = make(seed) if name not in BUILT_FOR else (np.empty(0), np.empty(0))
            for n_labels in (n for n in LABELS if n < 0.6 * len(y)):
                key = f"{name} | {n_labels} | {seed}"
                masked = mask_labels(y, n_labels, random_state=seed)
                if not results.has(key):
                    results.add(key, measure(X, y, masked, seed))
                    print(key, flush=True)
    write_tables()


if __name__ == "__main__":
    main()
