"""Implementations of training to compare: torch loops, plain skorch, pythae, JAX and skvim."""

import json
import math
import os
import subprocess
import time
import warnings
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rows import make_rows
from skorch import NeuralNet
from torch import nn

from skvim import VAETransformer, VIMAETransformer
from skvim.engine import ModelSettings
from skvim.engine._build import build_autoencoder, build_objective
from skvim.engine._statistics import data_statistics
from skvim.exceptions import SkvimWarning
from skvim.networks import Architecture, Convolutional, Perceptrons
from skvim.objectives import Autoencoder, Losses, make_likelihood

__all__ = [
    "Job",
    "Worker",
    "fitted",
    "own_modules_loop",
    "plain_skorch",
    "skvim_coarse",
    "skvim_fit",
    "skvim_plain",
]

# Width of the small convolutional network relative to the reference's.
_WIDTH = 1 / 8


@dataclass(frozen=True)
class Job:
    """A training: model, layer sizes, number of rows, batch size and epochs."""

    model: str
    sizes: tuple[int, ...]
    rows: int
    batch: int
    epochs: int
    threads: int = 1
    network: str = "mlp"
    device: str = "cpu"
    seed: int = 0

    @property
    def name(self) -> str:
        """Name in tables."""
        network = "-".join(map(str, self.sizes))
        if self.network != "mlp":
            network = f"{self.network} convolutions, {'×'.join(map(str, self.shape))}"
        return f"{self.model}, {network}, batch {self.batch}"

    @property
    def data(self) -> np.ndarray:
        """Training rows."""
        return make_rows(self.rows, self.sizes[0], self.seed)

    @property
    def estimator(self) -> Any:
        """The estimator of skvim for the job."""
        cls = VAETransformer if self.model == "vae" else VIMAETransformer
        return cls(
            self.sizes[-1],
            network=self.architecture,
            image_shape=self.shape if self.network != "mlp" else None,
            batch_size=self.batch,
            max_epochs=self.epochs,
            device=self.device,
            random_state=self.seed,
        )

    @property
    def width(self) -> float:
        """Width of convolutional networks relative to the reference's."""
        return 1.0 if self.network == "full" else _WIDTH

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of a row; for convolutions (side, side, 1), or 3 channels if it is no square."""
        if self.network == "mlp":
            return (self.sizes[0],)
        channels = 1 if math.isqrt(self.sizes[0]) ** 2 == self.sizes[0] else 3
        side = math.isqrt(self.sizes[0] // channels)
        return side, side, channels

    @property
    def architecture(self) -> Architecture:
        """Architecture of the networks."""
        if self.network == "mlp":
            return Perceptrons(self.sizes[1:-1])
        return Convolutional(self.width)


def parts(job: Job) -> tuple[Autoencoder, nn.Module, torch.Tensor]:
    """Return new modules of skvim for a job, and its rows."""
    estimator = job.estimator
    settings = ModelSettings(
        shape=job.shape,
        n_components=job.sizes[-1],
        architecture=job.architecture,
        posterior=estimator._make_posterior(),
        likelihood=make_likelihood("gaussian"),
        prior=estimator._make_prior(),
        terms=estimator._make_terms(),
    )
    model, objective = build_autoencoder(settings, 0), build_objective(settings, 0)
    x, device = torch.from_numpy(job.data), torch.device(job.device)
    model.prepare(data_statistics(x, torch.device("cpu")))
    return model.to(device), objective.to(device), x.to(device)


def own_modules_loop(job: Job) -> float:
    """Time a hand-written loop around skvim's modules, with fused Adam."""
    model, objective, x = parts(job)
    noise = torch.Generator(job.device).manual_seed(0)
    start = time.perf_counter()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, fused=True)
    model.train()
    for _ in range(job.epochs):
        order = torch.randperm(len(x), generator=noise, device=x.device)
        total = torch.zeros((), device=x.device)
        for begin in range(0, len(x), job.batch):
            batch = x[order[begin : begin + job.batch]]
            optimizer.zero_grad()
            losses = objective(model, model(batch, noise), noise)
            losses.target.backward()
            optimizer.step()
            total += losses.values[0].detach() * len(batch)
        float(total / len(x))
    return time.perf_counter() - start


class _Plain(NeuralNet):
    """Plain skorch net that passes the arguments of model and objective."""

    def infer(self, x: torch.Tensor, **fit_params: Any) -> Any:
        """Run the model."""
        return self.module_(x, self.noise)

    def get_loss(self, y_pred: Any, y_true: Any, X: Any = None, training: bool = False) -> Any:
        """Run the objective."""
        losses: Losses = self.criterion_(self.module_, y_pred, self.noise)
        return losses.target


def plain_skorch(job: Job) -> float:
    """Time plain skorch around the same modules."""
    model, objective, x = parts(job)
    net = _Plain(
        lambda: model,
        criterion=lambda: objective,
        optimizer=torch.optim.Adam,
        optimizer__fused=True,
        lr=1e-3,
        max_epochs=job.epochs,
        batch_size=job.batch,
        iterator_train__shuffle=True,
        train_split=None,
        verbose=0,
        device=job.device,
    )
    net.noise = torch.Generator(job.device).manual_seed(0)
    x = x.cpu()  # as a DataLoader requires
    start = time.perf_counter()
    net.fit(x, np.zeros(len(x), dtype=np.float32))
    return time.perf_counter() - start


def skvim_fit(job: Job, **options: Any) -> float:
    """Time ``fit``, validation of the data included."""
    return fitted(job, **options)[0]


def fitted(job: Job, **options: Any) -> tuple[float, Any]:
    """Return the seconds of a ``fit`` and the estimator."""
    estimator, X = job.estimator.set_params(**options), job.data
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SkvimWarning)  # few epochs give bad models
        start = time.perf_counter()
        estimator.fit(X)
        return time.perf_counter() - start, estimator


def skvim_plain(job: Job) -> float:
    """Time ``fit`` with eager steps."""
    return skvim_fit(job, acceleration=None)


def skvim_coarse(job: Job) -> float:
    """Time ``fit`` with captured steps and matrix products in bfloat16."""
    return skvim_fit(job, acceleration="capture", precision="bfloat16")


class Worker:
    """Process that trains in a separate environment, reused between jobs.

    ``script`` reads a JSON job a line and answers each by a JSON object: ``seconds``, and
    ``compilation`` if it compiles before it trains.
    """

    def __init__(self, python: Path, script: str, threads: int) -> None:
        self.script = script
        self.compilations: list[float] = []
        # XLA sets its threads up when it is imported.
        xla = "--xla_cpu_multi_thread_eigen=false" if threads == 1 else ""
        limits = {"OMP_NUM_THREADS": str(threads), "NPROC": str(threads), "XLA_FLAGS": xla}
        self.process = subprocess.Popen(
            [str(python), str(Path(__file__).with_name(script))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=os.environ | limits,
        )

    def __call__(self, job: Job) -> float:
        """Return the seconds of a training."""
        if self.process.stdin is None or self.process.stdout is None:
            raise RuntimeError("the worker has no pipes")
        print(json.dumps(asdict(job)), file=self.process.stdin, flush=True)
        answer = self.process.stdout.readline()
        if not answer:
            raise RuntimeError(f"it stopped; run benchmarks/{self.script} by hand to see why")
        found = json.loads(answer)
        if "compilation" in found:
            self.compilations.append(found["compilation"])
        return float(found["seconds"])

    def close(self) -> None:
        """End the process."""
        self.process.terminate()
        self.process.wait()
