"""Which λ serves a classifier that has few labels? A search over λ with a partly labelled Pipeline.

A Pipeline of a VIMAE and a transductive classifier learns from all rows, of which 1,000 (on digits
100) have a label; folds leave out labelled rows alone. GridSearchCV tries values of λ with both
priors. Run it on MNIST, which is fetched unless DIR holds it, or on scikit-learn's digits::

    python examples/search_lam.py --data-home DIR --out demo
    python examples/search_lam.py --digits --out demo

It writes the search's table, OUT/search_lam.csv, and the picture OUT/search_lam.png: accuracy on
held-out labels with one standard deviation over folds to either side, and, as crosses, accuracy on
test rows that the search never sees.
"""

import argparse
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.pipeline import Pipeline

from skvim import VIMAETransformer
from skvim.datasets import fetch_mnist
from skvim.exceptions import SkvimWarning
from skvim.model_selection import MaskedStratifiedKFold, mask_labels
from skvim.semi_supervised import TransductiveSVC

LAMS = (0.1, 1.0, 10.0, 100.0)
PRIORS = {"normal": "VIMAE-n", "logistic": "VIMAE-l"}
FOLDS = 5


class Data(NamedTuple):
    """Training rows, labels of which most are -1, and test rows."""

    X: Any
    y: Any
    X_test: Any
    y_test: Any


def mnist(data_home: Path | None) -> Data:
    """Return 5,000 rows with 1,000 labels, and all test rows; their first half is harder."""
    X, y = fetch_mnist(data_home=data_home, subset="train", return_X_y=True)
    X_test, y_test = fetch_mnist(data_home=data_home, subset="test", return_X_y=True)
    rows = np.random.default_rng(0).permutation(len(X))[:5000]
    labels = mask_labels(y[rows], 1000, random_state=0)
    return Data(X[rows], labels, X_test, y_test)


def digits() -> Data:
    """Return scikit-learn's digits with 100 labels."""
    images, classes = load_digits(return_X_y=True)
    parts = train_test_split(images / 16, classes, test_size=360, random_state=0)
    return Data(parts[0], mask_labels(parts[2], 100, random_state=0), parts[1], parts[3])


def search(data: Data, epochs: int, lams: tuple[float, ...]) -> GridSearchCV:
    """Search both priors and all λ."""
    model = Pipeline(
        [
            ("vim", VIMAETransformer(16, max_epochs=epochs, random_state=0)),
            ("classify", TransductiveSVC(10.0, random_state=0)),
        ]
    )
    grid = {"vim__prior": list(PRIORS), "vim__lam": list(lams)}
    found = GridSearchCV(model, grid, cv=MaskedStratifiedKFold(FOLDS))
    return found.fit(data.X, data.y)


def tabulate(found: GridSearchCV, data: Data) -> pd.DataFrame:
    """Return a row for each candidate, in %, with its accuracy on test rows."""
    rows = []
    for number, parameters in enumerate(found.cv_results_["params"]):
        fitted = clone(found.estimator).set_params(**parameters).fit(data.X, data.y)
        rows.append(
            {
                "prior": parameters["vim__prior"],
                "lam": parameters["vim__lam"],
                "held out": 100 * found.cv_results_["mean_test_score"][number],
                "spread": 100 * found.cv_results_["std_test_score"][number],
                "test": 100 * fitted.score(data.X_test, data.y_test),
            }
        )
    return pd.DataFrame(rows)


def draw(table: pd.DataFrame) -> Any:
    """Draw accuracy against λ."""
    figure, axis = plt.subplots(figsize=(5.5, 4), layout="constrained")
    for number, (prior, rows) in enumerate(table.groupby("prior", sort=False)):
        beside = rows["lam"] * 1.1**number  # so that no bar hides another
        bars = axis.errorbar(
            beside, rows["held out"], rows["spread"], marker="o", label=PRIORS[str(prior)]
        )
        axis.plot(beside, rows["test"], "x", color=bars.lines[0].get_color())
    axis.plot([], [], "kx", label="test rows")
    axis.set(xscale="log", xlabel="λ", ylabel="accuracy, %")
    axis.set_xticks(lams := sorted(set(table["lam"])), [f"{lam:g}" for lam in lams])
    axis.legend()
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("demo"), help="folder for the results")
    parser.add_argument("--data-home", type=Path, help="folder of the data sets")
    parser.add_argument("--digits", action="store_true", help="digits in place of MNIST; a minute")
    parser.add_argument("--epochs", type=int, default=20, help="passes over the rows")
    options = parser.parse_args()
    warnings.simplefilter("ignore", SkvimWarning)  # collapse is part of the picture
    data = digits() if options.digits else mnist(options.data_home)
    found = search(data, options.epochs, LAMS)
    table = tabulate(found, data)
    options.out.mkdir(parents=True, exist_ok=True)
    table.to_csv(options.out / "search_lam.csv", index=False)
    draw(table).savefig(options.out / "search_lam.png", dpi=100, metadata={"Software": None})
    print(table.round(1).to_string(index=False))
    print("best by held-out labels:", found.best_params_)


if __name__ == "__main__":
    main()
