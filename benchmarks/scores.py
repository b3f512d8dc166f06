"""Log-likelihoods of rows: time of a thousand, errors against long runs, and their intervals.

Models of 8 codes with the default networks, for arrays and for tables. Seconds are CPU time of
``score_samples`` with one thread. "Long" is importance sampling with many draws and other random
numbers, or the closed form where the model is linear. It prints a table and writes
``results/scores.json`` and the table of the documentation. Run it on an idle machine, with
``make bench-scores`` or::

    python benchmarks/scores.py [--tables DIR] [--rows N] [--long DRAWS]
"""

import argparse
import json
import math
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from machine import machine
from mixed_tables.data import read
from rows import make_rows
from scipy import stats
from sklearn.datasets import load_digits
from write_tables import RESULTS, write_tables

from skvim import VIMAETransformer
from skvim.metrics import log_likelihood

SCORED, FITTED, REPEATS = 1000, 1200, 3
DRAWS = (50, 100)
TABLES = ("winequality-white", "abalone", "phoneme", "taxis")
SETTINGS: dict[str, Any] = {"max_epochs": 100, "random_state": 0, "device": "cpu"}

Case = tuple[Any, Any, Callable[[Any], np.ndarray] | None]


def synthetic(n: int) -> pd.DataFrame:
    """Draw a table with numbers, counts, categories and missing cells from two factors."""
    source = np.random.default_rng(0)
    z = source.normal(size=(n, 2))
    numbers = z @ source.normal(size=(2, 8)) + source.normal(size=(n, 8))
    frame = pd.DataFrame(numbers).add_prefix("x")
    frame["income"] = np.exp(z[:, 0] + 0.3 * source.normal(size=n))
    frame["count"] = source.poisson(np.exp(0.5 * z[:, 1]))
    frame["kind"] = np.array(["a", "b", "c"])[np.clip(np.round(z.sum(1)), -1, 1).astype(int)]
    return frame.mask(source.random(frame.shape) < 0.1)


def exact(model: Any) -> Callable[[Any], np.ndarray]:
    """Return the density of a model with an affine decoder, W z + c + σ ε."""
    module = model.net_.in_precision(torch.float64)
    weight = (module.output_scale * module.decoder.layers[-1].weight).detach().numpy()
    centre = module.decode(torch.zeros(1, weight.shape[1], dtype=torch.float64)).detach().numpy()
    covariance = weight @ weight.T + float(module.likelihood.value) * np.eye(len(weight))
    law = stats.multivariate_normal(centre[0], covariance)
    return lambda rows: np.asarray(law.logpdf(rows))


def cases(tables: Path | None) -> dict[str, Callable[[], Case]]:
    """Return functions that fit: to a model, other rows, and their log-likelihood if known."""

    def fit(rows: Any, exactly: bool = False, **options: Any) -> Case:
        model = VIMAETransformer(8, **SETTINGS, **options).fit(rows[:FITTED])
        return model, rows[FITTED:], exact(model) if exactly else None

    def table(name: str) -> Case:
        assert tables is not None
        frame = read(tables, name).frame.sample(frac=1, random_state=0, ignore_index=True)
        return fit(frame[: FITTED + SCORED], likelihood="auto")

    n = FITTED + SCORED
    found: dict[str, Callable[[], Case]] = {
        "linear, 64 features": lambda: fit(make_rows(n, 64), True, hidden_layer_sizes=()),
        "digits, 64 features": lambda: fit(load_digits().data / 16),
        "synthetic table, 11 columns": lambda: fit(synthetic(n), likelihood="auto"),
    }
    if tables is not None:
        found |= {f"table {name}": lambda name=name: table(name) for name in TABLES}  # type: ignore[misc]
    return found


def measure(case: Case, few: Any, truth: np.ndarray, n_draws: int) -> dict[str, float]:
    """Return seconds for a thousand rows, errors against the truth, and shares of intervals."""
    model, rows, _ = case
    many = _repeated(rows)
    seconds = []
    model.score_samples(many[:50])
    for _ in range(REPEATS):
        start = time.process_time()
        model.score_samples(many, n_draws=n_draws)
        seconds.append(time.process_time() - start)
    found = [log_likelihood(model, few, n_draws=n_draws, random_state=seed) for seed in range(10)]
    gaps = np.array([one.values - truth for one in found])
    errors = np.array([one.errors for one in found])
    # Sums and differences of numbers of this size are exact to about this much.
    rounding = 1e-9 * np.abs(truth)
    fit = np.array([one.effective_draws for one in found]) >= n_draws / 2
    inside = np.abs(gaps) <= 1.96 * errors + rounding
    return {
        "seconds": min(seconds),
        "rmse": float(np.sqrt((gaps**2).mean())),
        "bias": float(gaps.mean()),
        "stated": float(np.median(errors)),
        "covered": float(inside.mean()),
        "fit": float(fit.mean()),
        "covered fit": float(inside[fit].mean()) if fit.any() else math.nan,
    }


def _repeated(rows: Any) -> Any:
    """Return as many rows as are scored, of an array or a data frame."""
    index = np.resize(np.arange(len(rows)), SCORED)
    return rows.iloc[index] if isinstance(rows, pd.DataFrame) else rows[index]


def main() -> None:
    """Measure everything, print the table and write the results."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--tables", type=Path, help="folder of the mixed tables")
    parser.add_argument("--rows", type=int, default=60, help="rows that are compared")
    parser.add_argument("--long", type=int, default=30_000, help="draws of the long run")
    parser.add_argument("--out", type=Path, default=RESULTS / "scores.json", help="to write")
    options = parser.parse_args()
    warnings.simplefilter("ignore")  # of collapsed dimensions
    torch.set_num_threads(1)
    runs = []
    for name, make in cases(options.tables).items():
        model, rows, known = case = make()
        few = rows[: options.rows]
        truth = known(few) if known else log_likelihood(model, few, n_draws=options.long).values
        for n_draws in DRAWS:
            found = measure(case, few, truth, n_draws)
            print(name, n_draws, {key: round(part, 3) for key, part in found.items()}, flush=True)
            runs.append({"model": name, "draws": n_draws, **found})
    results = {"measured on": machine(), "rows": options.rows, "long": options.long, "runs": runs}
    options.out.write_text(json.dumps(results, indent=1) + "\n")
    write_tables()


if __name__ == "__main__":
    main()
