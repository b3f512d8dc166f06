"""Compare early stopping with longer training: write docs/_tables/early_stopping.md.

Each model at its defaults is fitted twice to each standardised table, with 1,500 epochs at most: by
early stopping at its defaults, and until 100 epochs brought no gain. The same for the patience in
epochs alone. Losses are those of the rows that fits set aside. Tables are scikit-learn's small ones
and, with ``--tables FOLDER``, the numeric columns of the CSV files there. Run it with::

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

PAGE = Path(__file__).parents[1] / "docs" / "_tables" / "early_stopping.md"
RESULTS = Path(__file__).parent / "results" / "early_stopping.json"
MODELS = {"AE": AETransformer, "VAE": VAETransformer, "VIMAE": VIMAETransformer}
BUNDLED = ("iris", "wine", "diabetes", "breast_cancer")
RULES: dict[str, dict[str, Any]] = {
    "reference": {"n_iter_no_change": 100, "n_steps_no_change": 0, "tol": 0.0},
    "epochs": {"n_steps_no_change": 0},
    "default": {},
}
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
    """Scale the columns that vary to mean 0 and variance 1."""
    scaled: NDArray[Any] = StandardScaler().fit_transform(X[:, X.std(axis=0) > 0])
    return scaled


def fitted(name: str, X: NDArray[Any], rule: str, seed: int) -> dict[str, Any]:
    """Fit a model by a rule; return its validation losses and seconds."""
    model = MODELS[name](early_stopping=True, max_epochs=1500, random_state=seed, **RULES[rule])
    start = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of inactive dimensions
        model.fit(X)
    seconds = time.perf_counter() - start
    curve = [epoch["valid_loss"] for epoch in model.history_]
    best = int(np.argmin(curve))
    return {"first": curve[0], "lowest": curve[best], "best": best + 1, "n": len(curve)} | {
        "seconds": round(seconds, 2)
    }


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
    header = ("model", "patience", "fits", "lost", "≤ 2 %", "at most", "epochs", "epochs, early")
    lines = ["| " + " | ".join(header) + " |", "| --- " * len(header) + "|"]
    for name in (*MODELS, "all"):
        found = [fits for key, fits in results.items() if name in ("all", key.split(" / ")[1])]
        for rule, label in (("epochs", "10 epochs"), ("default", "default")):
            cells = [name, label, str(len(found)), *summary(found, rule)]
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
                    results[key] = {rule: fitted(name, X, rule, seed) for rule in RULES}
                    RESULTS.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
                    print(key, {rule: fit["n"] for rule, fit in results[key].items()}, flush=True)
    PAGE.write_text(page(results), encoding="utf-8")
    print(page(results))


if __name__ == "__main__":
    main()
