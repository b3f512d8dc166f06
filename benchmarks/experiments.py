"""Experiments: data sets, all models, and the defaults varied one at a time."""

import gzip
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_digits, load_wine
from sklearn.preprocessing import StandardScaler

from skvim import (
    AAETransformer,
    AETransformer,
    BetaVAETransformer,
    CapacityVAETransformer,
    ContractiveAETransformer,
    DenoisingAETransformer,
    InfoVAETransformer,
    UncertaintyAETransformer,
    VAETransformer,
    VIMAETransformer,
    WAETransformer,
)
from skvim.objectives import Gaussian

__all__ = ["DataSet", "data_sets", "defaults", "family"]

DataSet = tuple[str, NDArray[Any], NDArray[Any], int]

# Weights of each divergence: the default, and 1 where the divergence is a KL in nats.
WEIGHTS = {
    "mmd": (10.0,),
    "sliced-wasserstein": (10.0,),
    "adversarial": (10.0,),
    "density-ratio": (10.0, 1.0),
    "kl": (10.0, 1.0),
}


def data_sets(data_home: Path | None) -> Iterator[DataSet]:
    """Yield name, rows, classes and number of components."""
    digits, wine = load_digits(), load_wine()
    yield "digits", digits.data / 16, digits.target, 16
    yield "wine", StandardScaler().fit_transform(wine.data), wine.target, 8
    if data_home is not None:
        pixels = unpack(data_home / "mnist" / "train-images-idx3-ubyte.gz", 16).reshape(-1, 784)
        labels = unpack(data_home / "mnist" / "train-labels-idx1-ubyte.gz", 8)
        yield "MNIST", (pixels[:10_000] / 255).astype(np.float32), labels[:10_000], 16


def unpack(path: Path, offset: int) -> NDArray[np.uint8]:
    """Return the bytes of an IDX file after its header."""
    with gzip.open(path) as file:
        return np.frombuffer(file.read(), np.uint8, offset=offset)


def family(name: str) -> Iterator[tuple[str, Any]]:
    """Yield all models, with all divergences and both priors.

    WAE and AAE equal VIMAE with a deterministic posterior: on MNIST they are left out.
    """
    yield "", AETransformer()
    yield "", DenoisingAETransformer()
    yield "", ContractiveAETransformer()
    yield "", UncertaintyAETransformer()
    for prior in ("normal", "logistic"):
        yield prior, VAETransformer(prior=prior)
        yield f"{prior}, beta=0.2", BetaVAETransformer(prior=prior, beta=0.2)
        yield f"{prior}, beta=2", BetaVAETransformer(prior=prior)
        yield prior, CapacityVAETransformer(prior=prior)
        for divergence, weights in WEIGHTS.items():
            for lam in weights:
                label = f"{prior}, {divergence}, lam={lam:g}"
                common = {"prior": prior, "divergence": divergence, "lam": lam}
                yield from _aggregated(label, common, twins=name != "MNIST")


def _aggregated(label: str, common: dict[str, Any], *, twins: bool) -> Iterator[tuple[str, Any]]:
    """Yield the models that compare q(z) with the prior by a divergence."""
    for posterior in ("gaussian", "logistic"):
        yield f"{label}, {posterior}", VIMAETransformer(**common, posterior=posterior)
    yield label, InfoVAETransformer(**common)
    if common["divergence"] == "kl":
        return  # it needs a stochastic posterior
    yield f"{label}, dirac", VIMAETransformer(**common)
    if not twins:
        return
    yield label, WAETransformer(**common)
    if common["divergence"] in {"adversarial", "density-ratio"}:
        yield label, AAETransformer(**common)


def defaults(name: str) -> Iterator[tuple[str, Any]]:
    """Yield the main models at their defaults, then with one default varied at a time."""
    yield "default", AETransformer()
    yield "default", VAETransformer()
    yield "default", BetaVAETransformer()
    yield "default", VIMAETransformer()
    yield "prior='logistic'", VIMAETransformer(prior="logistic")
    yield "posterior='gaussian'", VIMAETransformer(posterior="gaussian")
    yield "likelihood='per-feature'", VAETransformer(likelihood=Gaussian("per-feature"))
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
        yield f"batch_size={batch_size}", VAETransformer(batch_size=batch_size)
    for scale in (0.1, 0.3, 1.0):
        yield f"scale={scale:g}", UncertaintyAETransformer(scale=scale)
    for lam in (0.01, 1.0):
        yield f"lam={lam:g}", ContractiveAETransformer(lam=lam)
