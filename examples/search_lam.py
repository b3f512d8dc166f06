"""Grid search over λ for a classifier with few labels, in a Pipeline on partly labelled data.

A Pipeline of a VIMAE and a transductive SVM learns from all rows, of which 1,000 (on digits 100)
have a label; test folds hold labelled rows only. GridSearchCV tries values of λ with both priors.
Run it on MNIST, which is downloaded unless it is in DIR, or on scikit-learn's digits::

    python examples/search_lam.py --data-home DIR --out demo
    python examples/search_lam.py --digits --out demo

It writes the table OUT/search_lam.csv and the figure OUT/search_lam.png: accuracy on held-out
labels ± one standard deviation over folds, and, as crosses, accuracy on test rows that the search
never sees.
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
    """Training rows, their labels, most of them -1, and test rows."""

    X: Any
    y: Any
    X_test: Any
    y_test: Any


def mnist(data_home: Path | None) -> Data:
    """Return 5,000 training rows of MNIST with 1,000 labels, and all test rows."""
    # All test rows, because their first half is harder than the second.
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
    """Fit a grid search over both priors and all λ."""
    model = Pipeline(
        [
            ("vim", VIMAETransformer(16, max_epochs=epochs, random_state=0)),
            ("classify", TransductiveSVC(10.0, random_state=0, safe=False)),
        ]
    )
    grid = {"vim__prior": list(PRIORS), "vim__lam": list(lams)}
    return GridSearchCV(model, grid, cv=MaskedStratifiedKFold(FOLDS)).fit(data.X, data.y)


def tabulate(fitted_search: GridSearchCV, data: Data) -> pd.DataFrame:
    """Return a row per candidate with its accuracies in %; refit it to score the test rows."""
    results = fitted_search.cv_results_
    rows = []
    for number, parameters in enumerate(results["params"]):
        fitted = clone(fitted_search.estimator).set_params(**parameters).fit(data.X, data.y)
        rows.append(
            {
                "prior": parameters["vim__prior"],
                "lam": parameters["vim__lam"],
                "held out": 100 * results["mean_test_score"][number],
                "spread": 100 * results["std_test_score"][number],
                "test": 100 * fitted.score(data.X_test, data.y_test),
            }
        )
    return pd.DataFrame(rows)


def draw(table: pd.DataFrame) -> Any:
    """Draw accuracy against λ."""
    figure, axis = plt.subplots(figsize=(5.5, 4), layout="constrained")
    for number, (prior, rows) in enumerate(table.groupby("prior", sort=False)):
        shifted = rows["lam"] * 1.1**number  # so that error bars do not overlap
        bars = axis.errorbar(
            shifted, rows["held out"], rows["spread"], marker="o", label=PRIORS[str(prior)]
        )
        axis.plot(shifted, rows["test"], "x", color=bars.lines[0].get_color())
    axis.plot([], [], "kx", label="test rows")
    axis.set(xscale="log", xlabel="λ", ylabel="accuracy, %")
    axis.set_xticks(lams := sorted(set(table["lam"])), [f"{lam:g}" for lam in lams])
    axis.legend()
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("demo"), help="folder for the results")
    parser.add_argument("--data-home", type=Path, help="folder of the data sets")
    parser.add_argument(
        "--digits", action="store_true", help="use digits instead of MNIST; takes a minute"
    )
    parser.add_argument("--epochs", type=int, default=20, help="number of training epochs")
    options = parser.parse_args()
    warnings.simplefilter("ignore", SkvimWarning)  # collapse is an expected result
    data = digits() if options.digits else mnist(options.data_home)
    fitted_search = search(data, options.epochs, LAMS)
    table = tabulate(fitted_search, data)
    options.out.mkdir(parents=True, exist_ok=True)
    table.to_csv(options.out / "search_lam.csv", index=False)
    draw(table).savefig(options.out / "search_lam.png", dpi=100, metadata={"Software": None})
    print(table.round(1).to_string(index=False))
    print("best by held-out labels:", fitted_search.best_params_)


if __name__ == "__main__":
    main()
