"""Benchmark the transductive SVM: published data sets, MNIST, scaling, and local minima.

Parts are ``scale`` (time and memory against the number of rows), ``published`` (errors on data
sets of the literature), ``elsewhere`` (the same with LAMDA-SSL's TSVM, in a separate environment),
``optimum`` (gap to the global minimum, on problems where it is computable) and ``mnist`` (against
other semi-supervised classifiers). Results go to ``results/transductive.json`` and to the tables of
the documentation, a figure of the scaling to ``results/transductive.svg``. Run it on an idle
machine, with ``make bench-transductive`` or::

    python benchmarks/transductive.py [--only PART] [--draws N] [--data-home FOLDER]
"""

import argparse
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from machine import machine
from resources import peak
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import make_moons
from sklearn.decomposition import PCA
from sklearn.model_selection import GridSearchCV
from sklearn.semi_supervised import LabelSpreading, SelfTrainingClassifier
from sklearn.svm import SVC
from write_tables import RESULTS, write_tables

from skvim import VIMAETransformer
from skvim.datasets import fetch_mnist, make_g50c, make_g241c, make_g241d
from skvim.metrics import squared_hinge_scorer
from skvim.model_selection import MaskedStratifiedKFold, mask_labels
from skvim.semi_supervised import TransductiveSVC
from skvim.semi_supervised._solver import StoppingCriteria, build_problem, minimize_supervised
from skvim.semi_supervised._svm_objective import LossWeights

Runs = list[dict[str, Any]]
Draw = tuple[np.ndarray, np.ndarray]

COSTS = (0.1, 1.0, 10.0, 100.0)
# By which C is chosen on the labels.
SCORES = {"accuracy": "accuracy", "loss": squared_hinge_scorer}
SOLVERS = ("gradient", "switching")
# Published: function that draws the data, number of labels, and published error of the transductive
# SVM in %, if known: Chapelle, Schölkopf and Zien (2006), Semi-Supervised Learning, chapter 21; for
# g50c Chapelle and Zien (2005), AISTATS. The book uses one draw of the rows and several of the
# labels; here each draw has new rows.
PROBLEMS: dict[str, tuple[Callable[[int], Draw], int, float | None]] = {
    "g241c, 10": (lambda seed: make_g241c(random_state=seed), 10, 24.7),
    "g241c, 100": (lambda seed: make_g241c(random_state=seed), 100, 18.5),
    "g241d, 10": (lambda seed: make_g241d(random_state=seed), 10, 50.1),
    "g241d, 100": (lambda seed: make_g241d(random_state=seed), 100, 22.4),
    "g50c, 50": (lambda seed: make_g50c(random_state=seed), 50, 6.9),
    "two moons, 4": (lambda seed: make_moons(300, noise=0.08, random_state=seed), 4, None),
}
# Elsewhere: problems for LAMDA-SSL, and the time limit of a draw in seconds.
ELSEWHERE, PATIENCE = ("g50c, 50", "g241c, 100", "two moons, 4"), 300
# Scale: numbers of labelled rows, unlabelled rows, features and classes.
LABELS, UNLABELED, FEATURES, CLASSES = 1_000, (5_000, 20_000, 59_000), (8, 50), 10
MILLION = (1_000_000, 8)
# Optimum: labelled and unlabelled rows, features and problems; all labellings are tried.
FEW_LABELS, FEW_UNLABELED, FEW_FEATURES, INSTANCES = 6, 8, 4, 50
WEIGHT = min(1.0, (FEW_LABELS / FEW_UNLABELED) ** 0.5)  # default weight of an unlabelled row
# MNIST: labels among the 60,000 rows, C (fixed in advance), components of PCA and of the VIMAE.
DIGIT_LABELS, DIGIT_COST, COMPONENTS, CODES = (100, 600, 1_000, 3_000), 10.0, 50, 32


def published(options: argparse.Namespace) -> Runs:
    """Measure errors on unlabelled rows, for every C and for the C chosen on the labels."""
    models: dict[str, Any] = {"SVC": SVC()}
    for solver in SOLVERS:
        models[solver] = TransductiveSVC(solver=solver, safe=False)
    found = []
    for problem, (make, n_labels, known) in PROBLEMS.items():
        for name, model in models.items():
            start = time.perf_counter()
            draws = [errors_of(model, *make(seed), n_labels, seed) for seed in range(options.draws)]
            run = {"problem": problem, "model": name, "published": known}
            run["errors"] = {str(C): [errors[C] for errors, _ in draws] for C in COSTS}
            run["chosen"] = [chosen["accuracy"] for _, chosen in draws]
            run["chosen by loss"] = [chosen["loss"] for _, chosen in draws]
            run["seconds"] = time.perf_counter() - start
            means = {C: f"{np.mean(errors):.1%}" for C, errors in run["errors"].items()}
            picked = ", ".join(
                f"{np.mean([errors[chosen[score]] for errors, chosen in draws]):.1%} by {score}"
                for score in SCORES
            )
            print(f"| {problem} | {name} | {means} | {picked} | {run['seconds']:.0f} s |")
            sys.stdout.flush()
            found.append(run)
    return found


def errors_of(
    model: Any, X: np.ndarray, y: np.ndarray, n_labels: int, seed: int
) -> tuple[dict[float, float], dict[str, float]]:
    """Return the error on unlabelled rows for every C, and the C chosen by cross-validation."""
    masked = mask_labels(y, n_labels, stratify=True, random_state=seed)
    given = masked != -1
    if isinstance(model, SVC):
        rows, labels = X[given], y[given]
    else:
        rows, labels = X, masked
        model.set_params(random_state=seed)
    n_folds = min(5, int(np.bincount(y[given]).min()))
    folds = MaskedStratifiedKFold(n_folds)
    search = GridSearchCV(model, {"C": list(COSTS)}, cv=folds, scoring=SCORES, refit=False)
    found = search.fit(rows, labels).cv_results_
    # Among equal scores a search takes the first, which is the smallest C.
    chosen = {score: COSTS[int(np.argmax(found[f"mean_test_{score}"]))] for score in SCORES}
    errors = {}
    for C in COSTS:
        predicted = model.set_params(C=C).fit(rows, labels).predict(X[~given])
        errors[C] = round(float(np.mean(predicted != y[~given])), 5)
    return errors, chosen


def elsewhere(options: argparse.Namespace) -> Runs:
    """Measure LAMDA-SSL's TSVM on the same draws, within the time limit."""
    found = []
    for problem in ELSEWHERE if options.lamda else ():
        make, n_labels, _ = PROBLEMS[problem]
        for seed in range(options.draws):
            X, y = make(seed)
            masked = mask_labels(y, n_labels, stratify=True, random_state=seed)
            fits = other_machine(options.lamda, X, y, masked)
            found.append({"problem": problem, "seed": seed, "fits": fits})
            print(f"| {problem} | LAMDA-SSL | {fits} |", flush=True)
            if len(fits) < len(COSTS):
                break
    return found


def other_machine(
    python: Path, X: np.ndarray, y: np.ndarray, masked: np.ndarray
) -> list[list[float]]:
    """Return C, error and seconds of every fit within the time limit."""
    given = masked != -1
    rows = {"labeled": X[given], "labels": y[given], "unlabeled": X[~given], "truth": y[~given]}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "rows.npz"
        np.savez(file, gamma=1 / (X.shape[1] * X.var()), **rows)
        worker = Path(__file__).with_name("lamda_worker.py")
        command = [str(python), str(worker), str(file), *map(str, COSTS)]
        try:
            run = subprocess.run(
                command, check=True, capture_output=True, text=True, timeout=PATIENCE
            )
            output = run.stdout
        except subprocess.TimeoutExpired as late:
            output = (late.stdout or b"").decode()
    return [json.loads(line) for line in output.splitlines() if line.startswith("[")]


def optimum(options: argparse.Namespace) -> Runs:
    """Measure the relative gap of the objective J to its minimum over all labellings."""
    gaps: dict[tuple[float, str, str], list[float]] = {}
    for C in (1.0, 10.0):
        for seed in range(INSTANCES):
            X, y = few_rows(seed)
            least = least_objectives(X, y, C)
            for prior, shares in (("free", "free"), ("given", [0.5, 0.5])):
                for solver in SOLVERS if prior == "free" else ("switching",):
                    model = TransductiveSVC(
                        C, kernel="linear", solver=solver, class_prior=shares, tol=1e-6, safe=False
                    )
                    gap = objective_of(model.fit(X, y), X, prior) / least[prior] - 1.0
                    gaps.setdefault((C, solver, prior), []).append(round(float(gap), 6))
    found = []
    for (C, solver, prior), values in gaps.items():
        near = np.mean(np.array(values) <= 0.01)
        print(f"| C={C:g} | {solver} | {prior} | within 1 %: {near:.0%} | {max(values):.1%} |")
        found.append({"C": C, "solver": solver, "shares": prior, "gaps": values})
    return found


def objective_of(model: TransductiveSVC, X: np.ndarray, prior: str) -> float:
    """Return J; if class shares are given, with half of the unlabelled rows labelled positive.

    J itself takes the label of lower loss for each row, whatever the shares are.
    """
    if prior == "free":
        return model.objective_
    scores = model.decision_function(X[FEW_LABELS:])
    signs = np.where(np.argsort(np.argsort(-scores)) < FEW_UNLABELED // 2, 1.0, -1.0)
    more = np.maximum(0.0, 1.0 - signs * scores) ** 2 - np.maximum(0.0, 1.0 - abs(scores)) ** 2
    return model.objective_ + model.C * WEIGHT * float(more.sum())


def few_rows(seed: int) -> Draw:
    """Draw two overlapping classes; the first rows keep their labels."""
    source = np.random.default_rng(seed)
    n_rows = FEW_LABELS + FEW_UNLABELED
    y = np.arange(n_rows) % 2
    X = source.standard_normal((n_rows, FEW_FEATURES))
    X[:, 0] += 3.0 * (y - 0.5)
    y[FEW_LABELS:] = -1
    return X, y


def least_objectives(X: np.ndarray, y: np.ndarray, C: float) -> dict[str, float]:
    """Return the minimum of J over all labellings, and over those with half of the rows positive.

    For a given labelling J is the convex objective of a supervised SVM.
    """
    signs = np.where(y[:FEW_LABELS, None] > 0, 1.0, -1.0)
    costs = LossWeights(C, C * WEIGHT)
    problem = build_problem(X.copy(), signs, None, costs)
    start, stopping = np.zeros(problem.shape).ravel(), StoppingCriteria(1000, 1e-6)
    least = {"free": np.inf, "given": np.inf}
    for labelling in itertools.product((1.0, -1.0), repeat=FEW_UNLABELED):
        every = np.vstack([signs, np.array(labelling)[:, None]])
        value = minimize_supervised(problem, every, costs.unlabeled, start, stopping).fun
        for prior in ("free", "given") if sum(labelling) == 0 else ("free",):
            least[prior] = min(least[prior], float(value))
    return least


def scale(options: argparse.Namespace) -> Runs:
    """Measure time and memory in a separate process for each number of rows."""
    sizes = [(n, width) for width in FEATURES for n in UNLABELED]
    found = []
    for n, width in [*sizes, MILLION] if options.million else sizes:
        command = [sys.executable, __file__, "--here", str(n), str(width)]
        output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        run = json.loads(output.splitlines()[-1])
        print(f"| {run} |", flush=True)
        found.append(run)
    plot(found, RESULTS / "transductive.svg")
    return found


def blobs(n_rows: int, width: int) -> Draw:
    """Draw overlapping normal clusters, one for each class."""
    source = np.random.default_rng(0)
    centres = source.uniform(-5.0, 5.0, (CLASSES, width))
    y = source.integers(CLASSES, size=n_rows)
    X = source.standard_normal((n_rows, width))
    # In place and in parts, because a memory peak here would hide the one measured later.
    X *= 0.85 * np.sqrt(width)
    for start in range(0, n_rows, 1000):
        X[start : start + 1000] += centres[y[start : start + 1000]]
    return X, y


def cost_of(n_unlabeled: int, width: int) -> dict[str, float]:
    """Return seconds, memory beyond X and accuracies of a fit in this process."""
    X, y = blobs(LABELS + n_unlabeled, width)
    masked = y.copy()
    masked[LABELS:] = -1
    model = TransductiveSVC(10.0, safe=False, random_state=0)
    # A first call with few rows loads lazily imported code.
    model.fit(X[: LABELS + 100], masked[: LABELS + 100])
    before, start = peak(), time.perf_counter()
    model.fit(X, masked)
    seconds, extra = time.perf_counter() - start, peak() - before
    start = time.perf_counter()
    safe = TransductiveSVC(10.0, random_state=0).fit(X, masked)
    seconds_safe = time.perf_counter() - start
    hidden = slice(LABELS, LABELS + 20_000)
    alone = SVC(C=10.0).fit(X[:LABELS], y[:LABELS])
    return {
        "unlabelled": n_unlabeled,
        "features": width,
        "seconds": seconds,
        "seconds, safe": seconds_safe,
        "weight, safe": safe.unlabeled_weight_,
        "X bytes": X.nbytes,
        "bytes beyond": extra,
        "steps": model.n_iter_,
        "accuracy": float(np.mean(model.transduction_[LABELS:] == y[LABELS:])),
        "accuracy of SVC": float(alone.score(X[hidden], y[hidden])),
    }


def plot(found: Runs, path: Path) -> None:
    """Plot seconds against the number of rows."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5, 3), layout="constrained")
    axes = figure.subplots()
    for width in FEATURES:
        runs = [run for run in found if run["features"] == width]
        seconds = [run["seconds"] for run in runs]
        axes.loglog([run["unlabelled"] for run in runs], seconds, "o-", label=f"{width} features")
    axes.set_xlabel("unlabelled rows")
    axes.set_ylabel("seconds a fit")
    axes.legend()
    figure.savefig(path)


def mnist(options: argparse.Namespace) -> Runs:
    """Measure errors on MNIST's test rows, for few labels and a fixed C."""
    home = {"data_home": options.data_home, "return_X_y": True}
    X, y = fetch_mnist(subset="train", **home)
    X_test, y_test = fetch_mnist(subset="test", **home)
    found = []
    for source in ("PCA", "VIMAE") if options.codes else ("PCA",):
        maker = PCA(COMPONENTS, random_state=0)
        if source == "VIMAE":
            maker = VIMAETransformer(CODES, random_state=0)
        train, test = maker.fit_transform(X), maker.transform(X_test)
        width = train.std()  # one scale for all components, because their proportions matter
        train, test = (np.asarray(rows / width, dtype=np.float64) for rows in (train, test))
        for n_labels, seed in itertools.product(DIGIT_LABELS, range(options.draws)):
            masked = mask_labels(y, n_labels, stratify=True, random_state=seed)
            for name, model in classifiers(seed, options.self_training).items():
                start = time.perf_counter()
                model.fit(*part(name, train, masked, seed))
                seconds = time.perf_counter() - start
                error = float(np.mean(model.predict(test) != y_test))
                sizes = {"codes": source, "labels": n_labels, "seed": seed}
                found.append({**sizes, "model": name, "seconds": seconds, "error": error})
                print(f"| {source} | {n_labels} | {name} | {error:.2%} | {seconds:.1f} s |")
                sys.stdout.flush()
    return found


def classifiers(seed: int, self_training: bool) -> dict[str, Any]:
    """Return the classifiers to compare."""
    machine_ = SVC(C=DIGIT_COST)
    found = {
        "SVC": machine_,
        "LabelSpreading": LabelSpreading(kernel="knn", n_neighbors=7),
        "TransductiveSVC": TransductiveSVC(DIGIT_COST, random_state=seed),
    }
    if self_training:
        sure = CalibratedClassifierCV(machine_, ensemble=False, cv=3)
        found["SelfTrainingClassifier"] = SelfTrainingClassifier(sure)
    return found


def part(name: str, X: np.ndarray, masked: np.ndarray, seed: int) -> Draw:
    """Return the rows that a classifier is fitted to: all rows for most of them."""
    given = masked != -1
    if name == "SVC":
        return X[given], masked[given]
    if name == "SelfTrainingClassifier":
        # All rows would take hours.
        hidden = np.random.default_rng(seed).permutation(np.flatnonzero(~given))[:5000]
        rows = np.concatenate([np.flatnonzero(given), hidden])
        return X[rows], masked[rows]
    return X, masked


# Scale is first, because on Linux a process inherits the peak memory of its parent.
PARTS = {
    "scale": scale,
    "published": published,
    "elsewhere": elsewhere,
    "optimum": optimum,
    "mnist": mnist,
}
DRAWS = {"published": 10, "elsewhere": 10, "mnist": 3}


def main() -> None:
    """Run the benchmarks, print the figures and write the results."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--only", choices=PARTS, help="the one part to measure")
    parser.add_argument("--draws", type=int, help=f"draws of the labels, else {DRAWS}")
    parser.add_argument("--data-home", type=Path, help="where MNIST is kept")
    parser.add_argument("--codes", action="store_true", help="MNIST's codes by VIMAE too")
    parser.add_argument("--self-training", action="store_true", help="on MNIST too; slow")
    parser.add_argument("--million", action="store_true", help="a fit to 1,000,000 rows too")
    parser.add_argument("--lamda", type=Path, help="the Python of an environment with LAMDA-SSL")
    parser.add_argument("--out", type=Path, default=RESULTS / "transductive.json", help="to write")
    parser.add_argument("--here", type=int, nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    # A fit to few rows may stop at its iteration limit; the figures show it.
    warnings.simplefilter("ignore")
    if options.here:
        print(json.dumps(cost_of(*options.here)))
        return
    options.out.parent.mkdir(exist_ok=True)
    results = json.loads(options.out.read_text()) if options.out.exists() else {}
    given = options.draws
    for name, measure in PARTS.items():
        if options.only in (None, name):
            options.draws = given or DRAWS.get(name, 1)
            results[name] = {"measured on": machine(), "runs": measure(options)}
            results[name]["load"] = os.getloadavg() if hasattr(os, "getloadavg") else None
            options.out.write_text(json.dumps(results, indent=1) + "\n")
    write_tables()


if __name__ == "__main__":
    main()
