"""Time and memory: parallel searches, import, inference, and scaling.

Alternatives run in turns, and figures are medians. Each part prints a table; results go to
``results/resources.json``, a figure of the scaling to ``results/resources.svg``. Run it on an idle
machine, with ``make bench-resources`` or::

    python benchmarks/resources.py [--only PART]
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
from contextlib import redirect_stdout
from functools import partial
from io import StringIO
from pathlib import Path
from typing import Any

import joblib
import torch
from contenders import Job, skvim_fit
from machine import machine
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from write_tables import RESULTS, write_tables

SMALL, LARGE = (20, 64, 64, 8), (784, 256, 256, 16)
ROWS = 20_000
# Calls with one row that are timed together.
CALLS = 100
IMPORTS = {"baseline": "import torch, sklearn, skorch", "skvim": "import skvim"}
# Rows of the smallest data set for memory, and multiples of it.
MEMORY_ROWS, TIMES = 5_000, (1, 4, 16)
# Sizes of a training, of which GROWTH varies one at a time.
BASE = {"n": 10_000, "d": 64, "batch": 100, "latent": 8}
GROWTH = {
    "n": (5_000, 10_000, 20_000, 40_000),
    "d": (16, 64, 256, 1024),
    "batch": (32, 100, 320, 1000),
    "latent": (2, 8, 32, 128),
}

Seconds = dict[str, list[float]]


def turns(contenders: dict[str, Callable[[], Any]], repeats: int) -> Seconds:
    """Time alternatives in turns, after one untimed turn of each."""
    seconds: Seconds = {name: [] for name in contenders}
    for turn in range(repeats + 1):
        for name, contender in contenders.items():
            start = time.perf_counter()
            contender()
            if turn:
                seconds[name].append(time.perf_counter() - start)
    return seconds


def report(title: str, seconds: Seconds) -> dict[str, Any]:
    """Print medians and their ratios to the first, and return all times."""
    medians = {name: statistics.median(taken) for name, taken in seconds.items()}
    base = next(iter(medians.values()))
    cells = [
        f"{name} {1e3 * middle:.1f} ms ({middle / base:.2f}×)" for name, middle in medians.items()
    ]
    print(f"| {title} | {' | '.join(cells)} |", flush=True)
    ratios = {name: middle / base for name, middle in medians.items()}
    return {"what": title, "ratios": ratios, "seconds": seconds}


def final_loss(estimator: Any, X: Any, y: Any = None) -> float:
    """Score a model by its training loss, at no cost: a search then measures its fits."""
    return -float(estimator.loss_curve_[-1])


def searches(repeats: int) -> list[dict[str, Any]]:
    """Time searches with two workers and without."""

    def search(job: Job, n_jobs: int, backend: str) -> None:
        grid = GridSearchCV(
            job.estimator, {"lr": [1e-3, 2e-3, 4e-3, 8e-3]}, cv=3, n_jobs=n_jobs, scoring=final_loss
        )
        with joblib.parallel_config(backend):
            grid.fit(job.data)

    found = []
    for sizes, epochs in ((SMALL, 16), (LARGE, 1)):
        job = Job("vae", sizes, ROWS, 100, epochs)
        contenders = {
            "n_jobs=1": lambda job=job: search(job, 1, "loky"),
            "n_jobs=2": lambda job=job: search(job, 2, "loky"),
            "n_jobs=2, threads": lambda job=job: search(job, 2, "threading"),
        }
        found.append(report(f"GridSearchCV, {job.name}", turns(contenders, repeats)))
    return found


def imports(repeats: int) -> list[dict[str, Any]]:
    """Time the import in new processes, from bytecode, as that of installed packages."""
    cached = {k: value for k, value in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    contenders = {
        name: lambda code=code: subprocess.run([sys.executable, "-c", code], check=True, env=cached)
        for name, code in IMPORTS.items()
    }
    return [report("import", turns(contenders, max(repeats, 15)))]


def use(repeats: int) -> list[dict[str, Any]]:
    """Time ``transform`` and ``sample`` against a forward pass of encoder or decoder."""
    found = []
    for sizes in (LARGE, SMALL):
        job = Job("vae", sizes, ROWS, 100, 1)
        X, model = job.data, job.estimator.fit(job.data[:2000])
        x, z = torch.from_numpy(X), torch.randn(ROWS, sizes[-1])
        nets = model.net_.autoencoder

        def bare(network: torch.nn.Module, rows: torch.Tensor) -> None:
            with torch.inference_mode():
                network(rows)

        pairs = {
            "transform": (partial(bare, nets.encoder, x), partial(model.transform, X)),
            "sample": (partial(bare, nets.decoder, z), partial(model.sample, ROWS)),
        }
        for name, (pass_, method) in pairs.items():
            seconds = turns({"bare": pass_, "skvim": method}, 3 * repeats)
            found.append(report(f"{name}, {'-'.join(map(str, sizes))}", seconds))
        found += one_row(job, 3 * repeats)
    return found


def one_row(job: Job, repeats: int) -> list[dict[str, Any]]:
    """Time calls with single rows, alone and in a pipeline, against PCA in the model's place."""
    X, row = job.data[:2000], job.data[:1]
    labels = X[:, 0] > X[:, 0].mean()
    models = {"PCA": PCA(job.sizes[-1]), "skvim": clone(job.estimator)}
    calls, predictions = {}, {}
    for name, model in models.items():
        calls[name] = partial(many_times, model.fit(X).transform, row)
        pipeline = make_pipeline(StandardScaler(), clone(model), LogisticRegression())
        predictions[name] = partial(many_times, pipeline.fit(X, labels).predict, row)
    sizes = "-".join(map(str, job.sizes))
    return [
        report(f"{CALLS} calls of transform, one row, {sizes}", turns(calls, repeats)),
        report(f"{CALLS} predictions, pipeline, one row, {sizes}", turns(predictions, repeats)),
    ]


def many_times(method: Callable[[Any], Any], row: Any) -> None:
    """Call a method ``CALLS`` times."""
    for _ in range(CALLS):
        method(row)


def peak() -> int:
    """Return the peak memory of this process so far, in bytes."""
    import resource  # not on Windows

    unit = 1 if sys.platform == "darwin" else 1024
    return unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def memory_of(method: str, rows: int) -> int:
    """Return the peak memory of a method beyond its input and output, in bytes."""
    job = Job("vae", LARGE, rows, 100, 1)
    X = job.data
    model = job.estimator.fit(X[:200])
    model.transform(X[:200])
    before = peak()
    returned = getattr(model, method)(X)
    return peak() - before - (returned.nbytes if method == "transform" else 0)


def memory(repeats: int) -> list[dict[str, Any]]:
    """Measure memory in a separate process for each method and size."""
    found = []
    for method in ("fit", "transform"):
        for times in TIMES:
            arguments = ["--memory", method, "--rows", str(times * MEMORY_ROWS)]
            command = [sys.executable, __file__, *arguments]
            extra = int(subprocess.run(command, check=True, capture_output=True).stdout)
            data = times * MEMORY_ROWS * LARGE[0] * 4
            print(f"| {method} | X {data / 2**20:.0f} MiB | beyond {extra / 2**20:.1f} MiB |")
            found.append({"method": method, "X bytes": data, "bytes beyond": extra})
    return found


def growth(repeats: int) -> list[dict[str, Any]]:
    """Time an epoch while one size of the training varies."""
    found = []
    for axis, values in GROWTH.items():
        for value in values:
            size = {**BASE, axis: value}
            job = Job("vae", (size["d"], 64, 64, size["latent"]), size["n"], size["batch"], 1)
            seconds = turns({"epoch": lambda job=job: skvim_fit(job)}, min(repeats, 3))
            report(f"{axis} = {value}", seconds)
            found.append({"axis": axis, "value": value, "seconds": seconds["epoch"]})
    plot(found, RESULTS / "resources.svg")
    return found


def plot(found: list[dict[str, Any]], path: Path) -> None:
    """Plot medians against each size."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 3), layout="constrained")
    for axes, axis in zip(figure.subplots(1, len(GROWTH), sharey=True), GROWTH, strict=True):
        points = [run for run in found if run["axis"] == axis]
        middles = [statistics.median(run["seconds"]) for run in points]
        axes.loglog([run["value"] for run in points], middles, "o-")
        axes.set_xlabel(axis)
    figure.supylabel("seconds an epoch")
    figure.savefig(path)


PARTS = {"searches": searches, "imports": imports, "use": use, "memory": memory, "growth": growth}


def main() -> None:
    """Measure everything, print the tables and write the results."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--repeats", type=int, default=5, help="timed turns of each contender")
    parser.add_argument("--only", choices=PARTS, help="the one part to measure")
    parser.add_argument("--out", type=Path, default=RESULTS / "resources.json", help="to write")
    parser.add_argument("--memory", choices=["fit", "transform"], help=argparse.SUPPRESS)
    parser.add_argument("--rows", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    # Models after so few epochs collapse, with warnings.
    warnings.simplefilter("ignore")
    os.environ["PYTHONWARNINGS"] = "ignore"
    if options.memory:
        with redirect_stdout(StringIO()):
            extra = memory_of(options.memory, options.rows)
        print(extra)
        return
    options.out.parent.mkdir(exist_ok=True)
    results = json.loads(options.out.read_text()) if options.out.exists() else {}
    for name, part in PARTS.items():
        if options.only in (None, name):
            results[name] = {"measured on": machine(), "runs": part(options.repeats)}
            results[name]["load"] = os.getloadavg() if hasattr(os, "getloadavg") else None
            options.out.write_text(json.dumps(results, indent=1) + "\n")
    write_tables()


if __name__ == "__main__":
    main()
