"""Benchmark classifiers on few labels.

TransductiveSVC at its defaults, without its unlabelled rows and without its safeguard, is compared
with scikit-learn's classifiers, with 20, 50 and 100 labels drawn stratified and at random. Errors
are those of the unlabelled rows. Problems are the classification sets that scikit-learn bundles,
diabetes by its median, the synthetic ones of the literature and, with ``--tables FOLDER``, the
tables of ``mixed_tables``, with numbers standardised and categories one-hot, 2,000 rows of each at
most; with ``--data-home FOLDER`` 3,000 rows of MNIST. Run it with::

    OMP_NUM_THREADS=1 python benchmarks/few_labels.py [--tables FOLDER] [--draws N]

A run that was stopped goes on where it ended; ``--again NAMES`` measures classifiers anew.
"""

import argparse
import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from few_labels_page import DRAWN, LABELS
from machine import machine
from mixed_tables.data import TABLES, read
from mixed_tables.encode import Encoding
from mixed_tables.results import Results
from numpy.typing import NDArray
from sklearn import datasets
from sklearn.calibration import CalibratedClassifierCV
from sklearn.decomposition import PCA
from sklearn.metrics import balanced_accuracy_score
from sklearn.preprocessing import StandardScaler
from sklearn.semi_supervised import LabelSpreading, SelfTrainingClassifier
from sklearn.svm import SVC
from write_tables import RESULTS, write_tables

from skvim.datasets import fetch_mnist, make_g50c, make_g241c, make_g241d
from skvim.model_selection import mask_labels
from skvim.semi_supervised import TransductiveSVC

FILE = RESULTS / "few_labels.json"
Data = tuple[NDArray[Any], NDArray[Any]]
MAX_ROWS = 2000
BUNDLED = ("iris", "wine", "breast_cancer", "diabetes")
BUILT_FOR: dict[str, Callable[[int], Data]] = {
    "g241c": lambda seed: make_g241c(random_state=seed),
    "g241d": lambda seed: make_g241d(random_state=seed),
    "g50c": lambda seed: make_g50c(random_state=seed),
    "two moons": lambda seed: datasets.make_moons(300, noise=0.08, random_state=seed),
    "digits": lambda seed: _standardised(*datasets.load_digits(return_X_y=True)),
}
MODELS: dict[str, Callable[[int], Any]] = {
    "SVC": lambda seed: SVC(),
    "SVC, balanced": lambda seed: SVC(class_weight="balanced"),
    "SelfTrainingClassifier": lambda seed: SelfTrainingClassifier(
        CalibratedClassifierCV(SVC(), ensemble=False, cv=2)
    ),
    "LabelSpreading": lambda seed: LabelSpreading(kernel="knn", n_neighbors=7),
    "TransductiveSVC, C_unlabeled=0": lambda seed: TransductiveSVC(
        C_unlabeled=0.0, random_state=seed
    ),
    "TransductiveSVC, safe=False": lambda seed: TransductiveSVC(safe=False, random_state=seed),
    "switching, safe=False": lambda seed: TransductiveSVC(
        safe=False, solver="switching", random_state=seed
    ),
    "TransductiveSVC": lambda seed: TransductiveSVC(random_state=seed),
}


def _standardised(X: NDArray[Any], y: NDArray[Any]) -> Data:
    """Scale the columns that vary to mean 0 and variance 1; numbers to classes by their median."""
    if len(np.unique(y)) > 20:
        y = (y > np.median(y)).astype(int)
    return StandardScaler().fit_transform(X[:, X.std(axis=0) > 0]), y


def problems(tables: Path | None, data_home: Path | None) -> dict[str, Callable[[int], Data]]:
    """Return the problems: functions from a seed to rows and classes."""
    found: dict[str, Callable[[int], Data]] = {}
    for name in TABLES if tables else ():
        found[name] = lambda seed, name=name: _of_table(tables, name, seed)
    for name in BUNDLED:
        load = getattr(datasets, f"load_{name}")
        found[name] = lambda seed, load=load: _standardised(*load(return_X_y=True))
    found |= BUILT_FOR
    if data_home:
        found["MNIST"] = lambda seed: _digits(data_home, seed)
    return found


def _of_table(folder: Path, name: str, seed: int) -> Data:
    """Return rows of a table, encoded, and their classes."""
    table = read(folder, name)
    frame, y = table.frame.drop(columns=table.target), table.classes
    rows = np.random.default_rng(seed).permutation(len(frame))[:MAX_ROWS]
    frame = frame.iloc[rows].reset_index(drop=True)
    return _standardised(Encoding(frame).complete(frame), y[rows])


def _digits(data_home: Path, seed: int) -> Data:
    """Return 3,000 rows of MNIST: 50 principal components, divided by one scale."""
    X, y = fetch_mnist(subset="train", data_home=data_home, return_X_y=True)
    rows = np.random.default_rng(seed).permutation(len(X))[:3000]
    codes = PCA(50, random_state=0).fit_transform(X[rows])
    return codes / codes.std(), y[rows]


def measure(model: Any, X: NDArray[Any], y: NDArray[Any], masked: NDArray[Any]) -> dict[str, float]:
    """Return error and balanced error on the unlabelled rows, in %."""
    given = masked != -1
    semi_supervised = not isinstance(model, SVC)
    model.fit(*((X, masked) if semi_supervised else (X[given], y[given])))
    predicted, truth = model.predict(X[~given]), y[~given]
    found = {
        "error": 100 * float(np.mean(predicted != truth)),
        "balanced": 100 * (1 - float(balanced_accuracy_score(truth, predicted))),
    }
    return found | {"used": float(getattr(model, "unlabeled_weight_", np.nan) > 0)}


def run(options: argparse.Namespace, results: Results) -> None:
    """Measure all cells that are not finished, draw by draw."""
    for seed in range(options.draws):
        for name, make in problems(options.tables, options.data_home).items():
            X, y = make(seed)
            for n_labels in (n for n in LABELS if n < 0.6 * len(y)):
                for drawn in DRAWN:
                    stratify = drawn == "stratified"
                    masked = mask_labels(y, n_labels, stratify=stratify, random_state=seed)
                    of_draw = f"{name} | {n_labels} | {drawn} | {seed}"
                    run_draw(of_draw, X, y, masked, results)


def run_draw(
    name: str, X: NDArray[Any], y: NDArray[Any], masked: NDArray[Any], results: Results
) -> None:
    """Measure all classifiers on a draw of the labels, unless a class has no label."""
    if len(np.unique(masked[masked != -1])) < len(np.unique(y)):
        return
    for model, make in MODELS.items():
        key = f"{name} | {model}"
        if results.has(key):
            continue
        try:
            cell: dict[str, Any] = measure(make(int(name.rsplit(" ", 1)[1])), X, y, masked)
        except ValueError as error:  # calibration needs two labels of each class
            cell = {"failed": f"{type(error).__name__}: {error}"[:200]}
        results.add(key, cell)
    print(name, flush=True)


def main() -> None:
    """Run the benchmark, and write the results and the page."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--tables", type=Path, help="folder of the tables' CSV files")
    parser.add_argument("--data-home", type=Path, help="where MNIST is kept")
    parser.add_argument("--draws", type=int, default=10, help="draws of the labels")
    parser.add_argument("--again", nargs="+", default=[], help="classifiers to measure again")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    command = "python benchmarks/few_labels.py --tables DIR --data-home DIR"
    description = {"measured on": machine(), "load": os.getloadavg(), "command": command}
    results = Results(FILE, description)
    results.forget(options.again)
    run(options, results)
    write_tables()


if __name__ == "__main__":
    main()
