"""Compare early stopping with longer training: write docs/_tables/early_stopping.md.

Each model at its defaults is fitted to each standardised table until 100 epochs brought no gain,
with 1,500 epochs at most, 300 on tables of 1,000 rows or more, of which 2,000 are used. When early
stopping at its defaults, or the patience in epochs alone, ends the same training follows from its
losses. They are those of the rows that fits set aside. Tables are scikit-learn's and, with
``--tables FOLDER``, the numeric columns of the CSV files there. Run it with::

    OMP_NUM_THREADS=1 python benchmarks/early_stopping.py [--tables FOLDER] [--seeds N]

Each result is written to benchmarks/results/early_stopping.json at once: a run that was stopped
resumes, and ``--fresh`` starts anew.
"""

import argparse
import json
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn import datasets
from sklearn.preprocessing import StandardScaler

from skvim import AETransformer, VAETransformer, VIMAETransformer
from skvim.engine._stopping import EarlyStopper, Stopping

PAGE = Path(__file__).parents[1] / "docs" / "_tables" / "early_stopping.md"
RESULTS = Path(__file__).parent / "results" / "early_stopping.json"
MODELS = {"AE": AETransformer, "VAE": VAETransformer, "VIMAE": VIMAETransformer}
BUNDLED = ("iris", "wine", "diabetes", "breast_cancer", "digits")
REFERENCE: dict[str, Any] = {"n_iter_no_change": 100, "n_steps_no_change": 0, "tol": 0.0}
RULES: dict[str, dict[str, Any]] = {"epochs": {"n_steps_no_change": 0}, "default": {}}
# Rows from which a table is large, and those that are used of it; most epochs of either.
LARGE, MOST_ROWS, EPOCHS, EPOCHS_LARGE = 1000, 2000, 1500, 300
# The reference has its lowest loss before this share of its time.
EARLY = 0.6


def tables(folder: Path | None) -> Iterator[tuple[str, NDArray[Any]]]:
    """Yield names and standardised rows."""
    for name in BUNDLED:
        yield name, _standardised(getattr(datasets, f"load_{name}")().data)
    for path in sorted(folder.glob("*.csv")) if folder else ():
        frame = pd.read_csv(path, keep_default_na=False, na_values=[""])
        numbers = frame.select_dtypes("number").dropna(axis=1, thresh=int(0.7 * len(frame)))
        if numbers.shape[1] >= 3:
            yield path.stem, _standardised(numbers.dropna().to_numpy(float))


def _standardised(X: NDArray[Any]) -> NDArray[Any]:
    """Scale the columns that vary to mean 0 and variance 1; return some rows of a large table."""
    scaled: NDArray[Any] = StandardScaler().fit_transform(X[:, X.std(axis=0) > 0])
    if len(scaled) > MOST_ROWS:
        scaled = scaled[np.random.default_rng(0).permutation(len(scaled))[:MOST_ROWS]]
    return scaled


def fitted(name: str, X: NDArray[Any], seed: int) -> dict[str, Any]:
    """Fit a model for long; return what its validation losses are, by rule."""
    epochs = EPOCHS_LARGE if len(X) >= LARGE else EPOCHS
    model = MODELS[name](early_stopping=True, max_epochs=epochs, random_state=seed, **REFERENCE)
    start = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of inactive dimensions
        model.fit(X)
    seconds = time.perf_counter() - start
    curve, n_steps = model.validation_loss_curve_, model.history_[0]["train_batch_count"]
    found = {"n_rows": len(X), "seconds": round(seconds, 2), "reference": ended(curve, len(curve))}
    for rule, options in RULES.items():
        n = stop(MODELS[name](**options), curve, n_steps, X.shape[1])
        found[rule] = ended(curve, n)
    return found


def stop(model: Any, losses: list[float], n_steps: int, n_features: int) -> int:
    """Return after how many epochs of so many steps a model's early stopping ends a training."""
    patience = model.n_iter_no_change, model.tol, model.n_steps_no_change
    stopper = EarlyStopper(Stopping(model.validation_fraction, *patience), n_features)
    for n, loss in enumerate(losses, start=1):
        stopper.update(loss, n_steps)
        if stopper.n_to_wait == 0:
            return n
    return len(losses)


def ended(curve: list[float], n: int) -> dict[str, Any]:
    """Return what is known of a training of n epochs."""
    best = int(np.argmin(curve[:n]))
    return {"first": curve[0], "lowest": curve[best], "best": best + 1, "n": n}


def summary(found: list[dict[str, Any]], rule: str) -> list[str]:
    """Return the cells of a rule: what is lost of the decrease, and the share of the epochs."""
    lost, share, early = [], [], []
    for fits in found:
        reference, fit = fits["reference"], fits[rule]
        lost.append(
            (fit["lowest"] - reference["lowest"]) / (reference["first"] - reference["lowest"])
        )
        share.append(fit["n"] / reference["n"])
        if reference["best"] <= EARLY * reference["n"]:
            early.append(share[-1])
    return [
        f"{100 * np.mean(lost):.1f} %",
        f"{np.mean(np.array(lost) <= 0.02):.0%}".replace("%", " %"),
        f"{100 * np.max(lost):.0f} %",
        f"{np.mean(share):.2f}",
        f"{np.mean(early):.2f} ({len(early)})" if early else "–",
    ]


def page(results: dict[str, dict[str, Any]]) -> str:
    """Return the table of all results."""
    header = ("rows", "model", "patience", "fits", "lost", "≤ 2 %", "at most", "epochs")
    lines = ["| " + " | ".join((*header, "epochs, early")) + " |"]
    lines += ["| --- " * (len(header) + 1) + "|"]
    for size, is_large in (("< 1,000", False), ("≥ 1,000", True)):
        of_size = {k: fits for k, fits in results.items() if (fits["n_rows"] >= LARGE) == is_large}
        for name in (*MODELS, "all") if of_size else ():
            found = [fits for key, fits in of_size.items() if name in ("all", key.split(" / ")[1])]
            for rule, label in (("epochs", "10 epochs"), ("default", "default")):
                cells = [size, name, label, str(len(found)), *summary(found, rule)]
                lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure what has no result yet, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tables", type=Path)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--fresh", action="store_true")
    options = parser.parse_args()
    results = {}
    if RESULTS.exists() and not options.fresh:
        results = json.loads(RESULTS.read_text(encoding="utf-8"))
    for seed in range(options.seeds):
        for table, X in tables(options.tables):
            for name in MODELS:
                key = f"{table} / {name} / {seed}"
                if key not in results:
                    results[key] = fitted(name, X, seed)
                    RESULTS.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
                    print(key, {rule: results[key][rule]["n"] for rule in RULES}, flush=True)
    PAGE.write_text(page(results), encoding="utf-8")
    print(page(results))


if __name__ == "__main__":
    main()
