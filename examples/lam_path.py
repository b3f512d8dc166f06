"""Effect of λ and β: accuracy, reconstruction error and mutual information, on digits.

VIMAE-n and VIMAE-l are fitted for every λ and seed, the β-VAE for every β and seed: each family as
one batched network. Each model is evaluated by the accuracy of a classifier on 100 labelled codes,
the squared error of reconstructions, and the mutual information of codes and rows. Run it with::

    python examples/lam_path.py --out demo

It writes the table OUT/lam_path.csv and the figure OUT/lam_path.png; bands are ± one standard
deviation over seeds.
"""

import argparse
import time
import warnings
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skvim import BetaVAETransformer, VIMAETransformer
from skvim.exceptions import SkvimWarning
from skvim.model_selection import lam_path

N_LABELED, N_TEST, N_COMPONENTS = 100, 360, 8
# Rows on which mutual information is estimated, at a cost quadratic in their number.
N_PAIRED = 400
MEASURES = {
    "accuracy": f"accuracy with {N_LABELED} labels, %",
    "error": "squared error of a test image",
    "information": "information of codes about rows, nats",
}


def families(epochs: int) -> dict[str, tuple[Any, str, np.ndarray]]:
    """Return for each family its model, the name of the varied parameter, and its values."""
    common: dict[str, Any] = {"hidden_layer_sizes": (64, 64), "max_epochs": epochs}
    # Stochastic codes, so that their mutual information with the rows is finite.
    vim = VIMAETransformer(N_COMPONENTS, posterior="gaussian", **common)
    lams, betas = np.geomspace(1, 1000, 7), np.geomspace(0.01, 10, 7)
    return {
        "VIMAE-n": (vim, "lam", lams),
        "VIMAE-l": (VIMAETransformer(**{**vim.get_params(), "prior": "logistic"}), "lam", lams),
        "β-VAE": (BetaVAETransformer(N_COMPONENTS, **common), "beta", betas),
    }


def measure(model: Any, parts: list[np.ndarray], seed: int) -> dict[str, float]:
    """Return accuracy, squared error and mutual information of a fitted model on test rows."""
    X, X_test, y, y_test = parts
    labeled, _ = train_test_split(
        np.arange(len(X)), train_size=N_LABELED, stratify=y, random_state=seed
    )
    classifier = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    classifier.fit(model.transform(X[labeled]), y[labeled])
    return {
        "accuracy": 100 * classifier.score(model.transform(X_test), y_test),
        "error": float(((X_test - model.reconstruct(X_test)) ** 2).sum(1).mean()),
        "information": float(model.information(X_test[:N_PAIRED]).mutual_information),
    }


def run(n_seeds: int, epochs: int) -> pd.DataFrame:
    """Fit all families and return a table with one row per fitted model."""
    images, digits = load_digits(return_X_y=True)
    parts = train_test_split(images / 16, digits, test_size=N_TEST, stratify=digits, random_state=0)
    measured = []
    for name, (model, param, values) in families(epochs).items():
        start = time.perf_counter()
        path = lam_path(model, parts[0], values, param=param, random_states=range(n_seeds))
        taken = time.perf_counter() - start
        print(f"{name}: {len(values) * n_seeds} fits in {taken:.1f} s", flush=True)
        for value, models in zip(values, path, strict=True):
            for seed, fitted in enumerate(models):
                row = {"family": name, "parameter": param, "value": value, "seed": seed}
                measured.append({**row, **measure(fitted, parts, seed)})
    return pd.DataFrame(measured)


def draw(table: pd.DataFrame) -> Any:
    """Plot every measure against λ on the left, against β on the right."""
    figure, axes = plt.subplots(3, 2, figsize=(8, 8), sharex="col", sharey="row")
    for column, (param, label) in enumerate((("lam", "λ"), ("beta", "β"))):
        families_of = table[table.parameter == param].groupby("family", sort=False)
        # The same colour for a family in all panels.
        colors = {name: f"C{i}" for i, name in enumerate(table.family.unique())}
        for axis, (measure_, title) in zip(axes[:, column], MEASURES.items(), strict=True):
            for name, rows in families_of:
                by_value = rows.groupby("value")[measure_]
                mean, spread = by_value.mean(), by_value.std(ddof=0)
                color = colors[name]
                axis.plot(mean.index, mean, marker="o", markersize=3, color=color, label=name)
                band = {"color": color, "alpha": 0.2, "linewidth": 0}
                axis.fill_between(mean.index, mean - spread, mean + spread, **band)
            if measure_ == "information":
                axis.axhline(np.log(N_PAIRED), color="grey", linestyle=":", label="its bound")
                axis.legend(handles=axis.get_lines()[-1:])
            axis.set_xscale("log")
            if column == 0:
                axis.set_ylabel(title, fontsize="small")
        axes[0, column].legend()
        axes[-1, column].set_xlabel(label)
    figure.tight_layout()
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("demo"), help="folder for the results")
    parser.add_argument("--seeds", type=int, default=3, help="number of fits per value")
    parser.add_argument("--epochs", type=int, default=50, help="number of training epochs")
    options = parser.parse_args()
    warnings.simplefilter("ignore", SkvimWarning)  # collapse is an expected result
    table = run(options.seeds, options.epochs)
    options.out.mkdir(parents=True, exist_ok=True)
    table.to_csv(options.out / "lam_path.csv", index=False)
    draw(table).savefig(options.out / "lam_path.png", dpi=150)
    print(
        table.groupby(["family", "value"], sort=False)[list(MEASURES)].mean().round(2).to_string()
    )


if __name__ == "__main__":
    main()
