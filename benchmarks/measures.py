"""Evaluation of a model: trained on two thirds of the rows, tested on the others."""

import time
import warnings
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.neighbors import KNeighborsClassifier

from skvim.exceptions import SkvimWarning
from skvim.metrics import log_likelihood

__all__ = ["COLUMNS", "measure", "pca_error"]

# Columns of the table, in order.
COLUMNS = (
    "SSE",
    "held-out SSE",
    "log p(x) ± s.e.",
    "rate",
    "I(x; z)",
    "KL(q(z) ‖ p)",
    "active units",
    "spread",
    "1-NN",
    "warnings",
    "seconds",
)
_SCORED_ROWS = 500
# Draws per row times features: more draws for shorter rows.
_DRAWN_VALUES = 160_000


def measure(model: Any, X: NDArray[Any], y: NDArray[Any], n_components: int) -> list[str]:
    """Return the columns of a model; raise ``ArithmeticError`` if a figure is not finite."""
    torch.set_num_threads(1)
    order = np.random.default_rng(0).permutation(len(X))
    train, test = np.split(order, [2 * len(X) // 3])
    model.set_params(n_components=n_components, random_state=0)
    start = time.perf_counter()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("ignore")
        warnings.simplefilter("always", SkvimWarning)
        model.fit(X[train])
    seconds = time.perf_counter() - start
    codes = model.transform(X)
    neighbour = KNeighborsClassifier(1).fit(codes[train], y[train])
    found = [
        f"{finite(squared_error(model, X[train])):.3g}",
        f"{finite(squared_error(model, X[test])):.3g}",
        likelihood(model, X[test][:_SCORED_ROWS]),
        *information(model, X[train]),
        spread(model, codes[train]),
        f"{finite(neighbour.score(codes[test], y[test])):.3f}",
        ", ".join(sorted({w.category.__name__.removesuffix("Warning") for w in caught})) or "–",
        f"{seconds:.1f}",
    ]
    return found


def finite(value: float) -> float:
    """Return a figure, or raise ``ArithmeticError`` if it is not finite."""
    if not np.isfinite(value):
        raise ArithmeticError(f"a figure of the benchmark is {value}")
    return value


def likelihood(model: Any, X: NDArray[Any]) -> str:
    """Format the log-likelihood with its standard error, or "–" for a model without a prior."""
    if not hasattr(model, "prior_"):
        return "–"
    found = log_likelihood(model, X, n_draws=min(1000, _DRAWN_VALUES // X.shape[1]))
    return f"{finite(found.mean):.1f} ± {finite(found.standard_error):.1f}"


def information(model: Any, X: NDArray[Any]) -> list[str]:
    """Format rate, mutual information, aggregated KL and active units, or "–" if not defined."""
    known = model.information(X, max_samples=2000)
    values = (known.rate, known.mutual_information, known.aggregated_kl)
    written = ["–" if value is None else f"{finite(value):.2f}" for value in values]
    return [*written, "–" if known.active_units is None else str(known.active_units)]


def spread(model: Any, codes: NDArray[Any]) -> str:
    """Format the range of the codes' standard deviations, in units of the prior's."""
    scale = np.sqrt(model.prior_.variance) if hasattr(model, "prior_") else 1.0
    relative = codes.std(axis=0) / scale
    return f"{finite(relative.min()):.2f}–{finite(relative.max()):.2f}"


def squared_error(model: Any, X: NDArray[Any]) -> float:
    """Return the mean over rows of ‖x − x̂‖²."""
    return float(((X - model.reconstruct(X)) ** 2).sum(axis=1).mean())


def pca_error(X: NDArray[Any], n_components: int) -> float:
    """Return the squared error of PCA with as many components, on the training rows."""
    order = np.random.default_rng(0).permutation(len(X))
    rows = X[order[: 2 * len(X) // 3]]
    pca = PCA(n_components).fit(rows)
    return float(((rows - pca.inverse_transform(pca.transform(rows))) ** 2).sum(axis=1).mean())
