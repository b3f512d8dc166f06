"""Compare all models and vary the defaults: write docs/_tables/family.md and defaults.md.

The first table has all models with all divergences and both priors, the second the main models with
one default varied at a time; both on digits / 16, standardised wine and, with ``--data-home``, the
first 10,000 training images of MNIST in [0, 1] (gz files in DATA_HOME/mnist). Run it with
``make bench-models`` or::

    python benchmarks/defaults.py [--data-home DIR]

Each result is written to benchmarks/results at once: a run that was stopped resumes, and
``--fresh`` starts anew.
"""

import argparse
import datetime
import json
import os
import platform
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import joblib
import sklearn
import torch
from experiments import DataSet, data_sets, defaults, family
from measures import COLUMNS, measure, pca_error

import skvim

FOLDER = Path(__file__).parents[1] / "docs" / "_tables"
RESULTS = Path(__file__).parent / "results"
HEADER = ("data", "model", "setting", *COLUMNS)
# Epochs on MNIST, whose epochs are long, and on the other data sets, unless a model varies them.
MNIST_EPOCHS, EPOCHS = 15, 100


def jobs(
    sets: list[DataSet], settings: Callable[[str], Iterator[tuple[str, Any]]]
) -> Iterator[tuple[DataSet, str, Any]]:
    """Yield every model on every data set."""
    for data in sets:
        for label, model in settings(data[0]):
            if data[0] == "MNIST":
                model.set_params(max_epochs=MNIST_EPOCHS)
            elif model.max_epochs == "auto":
                model.set_params(max_epochs=EPOCHS)
            yield data, label, model


def row(data: DataSet, label: str, model: Any) -> tuple[str, list[str]]:
    """Measure a model and return its key and its row of the table."""
    name, X, y, n_components = data
    kind = type(model).__name__.removesuffix("Transformer")
    cells = [f"{name}, {n_components}", kind, f"`{label}`" if label else "–"]
    try:
        cells += measure(model, X, y, n_components)
    except Exception as error:
        raise RuntimeError(f"{name}, {kind}, {label}") from error
    return key((data, label, model)), cells


def key(job: tuple[DataSet, str, Any]) -> str:
    """Name a model on a data set."""
    data, label, model = job
    return f"{data[0]} / {type(model).__name__} / {label}"


def measured(name: str, sets: list[DataSet], options: argparse.Namespace) -> dict[str, list[str]]:
    """Measure what has no result yet, save it, and return all rows in the order of the jobs."""
    wanted = list(jobs(sets, {"family": family, "defaults": defaults}[name]))
    kept = RESULTS / f"{name}.json"
    known = json.loads(kept.read_text("utf-8")) if kept.exists() and not options.fresh else {}
    missing = [job for job in wanted if key(job) not in known]
    parallel = joblib.Parallel(n_jobs=options.jobs, return_as="generator")
    for found, cells in parallel(joblib.delayed(row)(*job) for job in missing):
        known[found] = cells
        kept.parent.mkdir(exist_ok=True)
        partial = kept.with_suffix(".partial")
        partial.write_text(json.dumps(known, indent=1, ensure_ascii=False) + "\n", "utf-8")
        partial.replace(kept)
        print(" | ".join(cells), flush=True)
    return {key(job): known[key(job)] for job in wanted}


def table(rows: list[list[str]], sets: list[DataSet]) -> str:
    """Return a table with PCA's errors, date, versions and machine."""
    rule = "| --- | --- | --- |" + " --: |" * len(COLUMNS)
    pca = ", ".join(f"{name} {pca_error(X, k):.3g}" for name, X, _, k in sets)
    versions = f"skvim {skvim.__version__}, torch {torch.__version__}"
    where = (
        f"SSE of a principal component analysis of as many components: {pca}. MNIST: the first "
        f"10,000 training images, {MNIST_EPOCHS} epochs.\n\n"
        f"{datetime.datetime.now(tz=datetime.UTC):%Y-%m-%d}, {versions}, "
        f"scikit-learn {sklearn.__version__}, Python {platform.python_version()}, "
        f"{platform.machine()}, {os.cpu_count()} cores, one thread a model."
    )
    lines = [f"| {' | '.join(cells)} |" for cells in rows]
    return "\n".join([f"| {' | '.join(HEADER)} |", rule, *lines, "", where, ""])


def main() -> None:
    """Measure everything and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--data-home", type=Path, help="folder with mnist/*.gz")
    parser.add_argument("--out", type=Path, default=FOLDER, help="folder to write to")
    parser.add_argument("--tables", nargs="+", default=["family", "defaults"], help="which ones")
    parser.add_argument("--jobs", type=int, default=joblib.cpu_count(only_physical_cores=True))
    parser.add_argument("--fresh", action="store_true", help="ignore earlier results")
    options = parser.parse_args()
    sets = list(data_sets(options.data_home))
    for name in options.tables:
        rows = measured(name, sets, options)
        (options.out / f"{name}.md").write_text(table(list(rows.values()), sets), encoding="utf-8")


if __name__ == "__main__":
    main()
