"""Measure what stands behind the defaults and write docs/_tables/defaults.md.

Each default is varied alone on digits / 16, standardised wine and, with ``--data-home``, the first
10,000 training images of MNIST in [0, 1] (its four gz files in DATA_HOME/mnist). Run it with
``make bench`` or::

    python benchmarks/defaults.py [--data-home DIR]
"""

import argparse
import datetime
import gzip
import os
import platform
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import sklearn
import torch
from numpy.typing import NDArray
from sklearn.datasets import load_digits, load_wine
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler

import skvim
from skvim import AETransformer, BetaVAETransformer, VAETransformer, VIMAETransformer
from skvim.metrics import active_units
from skvim.objectives import Gaussian

TABLE = Path(__file__).parents[1] / "docs" / "_tables" / "defaults.md"
HEADER = "| data | model | setting | SSE | PCA's SSE | active units | spread | log p(x) | seconds |"


def data_sets(data_home: Path | None) -> Iterator[tuple[str, NDArray[Any], int]]:
    """Yield name, rows and number of components."""
    yield "digits", load_digits().data / 16, 16
    yield "wine", StandardScaler().fit_transform(load_wine().data), 8
    if data_home is not None:
        with gzip.open(data_home / "mnist" / "train-images-idx3-ubyte.gz") as file:
            pixels = np.frombuffer(file.read(), np.uint8, offset=16).reshape(-1, 784)
        yield "MNIST", (pixels[:10_000] / 255).astype(np.float32), 16


def settings(name: str) -> Iterator[tuple[str, Any]]:
    """Yield every model at its defaults, then each default varied alone."""
    yield "default", AETransformer()
    yield "default", VAETransformer()
    yield "default", BetaVAETransformer()
    yield "default", VIMAETransformer()
    yield "prior='logistic'", VIMAETransformer(prior="logistic")
    yield "posterior='gaussian'", VIMAETransformer(posterior="gaussian")
    yield "beta=4", BetaVAETransformer(beta=4.0)
    for lam in (1.0, 100.0, 1000.0):
        yield f"lam={lam:g}", VIMAETransformer(lam=lam)
    if name == "MNIST":
        return
    for variance in (1.0, 10.0):
        likelihood = Gaussian(variance=variance)
        yield f"Gaussian(variance={variance:g})", VAETransformer(likelihood=likelihood)
        fixed = {"likelihood": likelihood, "posterior": "gaussian"}
        label = f"Gaussian(variance={variance:g}), posterior='gaussian'"
        yield label, VIMAETransformer(**fixed)
    for epochs in (50, 200):
        yield f"max_epochs={epochs}", VIMAETransformer(max_epochs=epochs)
        yield f"max_epochs={epochs}", VAETransformer(max_epochs=epochs)
    for batch_size in (32, 500):
        yield f"batch_size={batch_size}", VIMAETransformer(batch_size=batch_size)


def measure(model: Any, X: NDArray[Any], n_components: int) -> list[str]:
    """Train on two thirds of the rows and measure on the rest."""
    order = np.random.default_rng(0).permutation(len(X))
    train, test = np.split(X[order], [2 * len(X) // 3])
    test = test[:1000]
    model.set_params(n_components=n_components, random_state=0)
    start = time.perf_counter()
    model.fit(train)
    seconds = time.perf_counter() - start
    codes = model.transform(train)
    spread = codes.std(axis=0)
    prior_spread = np.sqrt(model.prior_.variance) if hasattr(model, "prior_") else None
    relative = spread / prior_spread if prior_spread else spread
    return [
        f"{squared_error(model.reconstruct(train), train):.3g}",
        f"{pca_error(train, n_components):.3g}",
        str(active_units(codes)),
        f"{relative.min():.2f}–{relative.max():.2f}" if prior_spread else "–",
        f"{model.score(test):.1f}" if prior_spread else "–",
        f"{seconds:.1f}",
    ]


def squared_error(X_hat: NDArray[Any], X: NDArray[Any]) -> float:
    """Return the mean over rows of ‖x − x̂‖²."""
    return float(((X - X_hat) ** 2).sum(axis=1).mean())


def pca_error(X: NDArray[Any], n_components: int) -> float:
    """Return the squared error of PCA with as many components."""
    pca = PCA(n_components).fit(X)
    return squared_error(pca.inverse_transform(pca.transform(X)), X)


def provenance() -> str:
    """Say where and when the figures were measured."""
    versions = f"skvim {skvim.__version__}, torch {torch.__version__}"
    return (
        f"{datetime.datetime.now(tz=datetime.UTC):%Y-%m-%d}, {versions}, "
        f"scikit-learn {sklearn.__version__}, Python {platform.python_version()}, "
        f"{platform.machine()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads."
    )


def main() -> None:
    """Measure everything and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--data-home", type=Path, help="folder with mnist/*.gz")
    parser.add_argument("--out", type=Path, default=TABLE, help="file to write")
    options = parser.parse_args()
    lines = [HEADER, "| --- | --- | --- | --: | --: | --: | --: | --: | --: |"]
    print("\n".join(lines), flush=True)
    for name, X, n_components in data_sets(options.data_home):
        for label, model in settings(name):
            cells = measure(model, X, n_components)
            row = [f"{name}, {n_components}", type(model).__name__, f"`{label}`", *cells]
            lines.append(f"| {' | '.join(row)} |")
            print(lines[-1], flush=True)
    options.out.write_text("\n".join([*lines, "", provenance(), ""]), encoding="utf-8")


if __name__ == "__main__":
    main()
