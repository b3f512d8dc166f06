"""Training time of skvim against a hand-written torch loop, plain skorch and pythae.

The implementations run in turns, with the same rows, network, batch size, threads and epochs. The
table has medians, half of the range, and the ratio to the hand-written loop. pythae runs in a
separate environment, if one is given. Run it with ``make bench-speed`` or::

    python benchmarks/speed.py [--pythae VENV/bin/python]
    python benchmarks/speed.py --device cuda --out benchmarks/results/speed-cuda.json
"""

import argparse
import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from contenders import (
    Job,
    Pythae,
    bare_loop,
    plain_skorch,
    skvim_coarse,
    skvim_fit,
    skvim_plain,
)
from machine import machine
from markdown_lines import header
from tables import RESULTS, row, write_tables

SIZES = ((20, 64, 64, 8), (64, 128, 128, 16), (784, 256, 256, 16))
ROWS = 20_000
# Epochs: as few as make start and end of a training negligible.
EPOCHS = {
    (20, 100): 15,
    (20, 1024): 5,
    (64, 100): 12,
    (64, 1024): 4,
    (784, 100): 10,
    (784, 1024): 1,
}
CONVOLUTIONAL = Job("vae", (784, 16), 2_000, 100, 3, network="small")
# On a GPU also the reference's networks for MNIST and CIFAR-10.
FULL = [
    Job(model, (features, latent), ROWS, 100, 3, network="full")
    for features, latent in ((784, 8), (3072, 64))
    for model in ("vae", "mmd")
]

Contender = Callable[[Job], float]


def epochs(model: str, n_features: int, batch: int) -> int:
    """Return the epochs of a job: one if a step of pythae takes seconds."""
    return 1 if model == "mmd" and batch > 1000 else EPOCHS[n_features, batch]


def jobs(threads: int, device: str) -> list[Job]:
    """Return all trainings to time."""
    perceptrons = [
        Job(model, sizes, ROWS, batch, epochs(model, sizes[0], batch), threads)
        for sizes in SIZES
        for batch in (100, 1024)
        for model in ("vae", "mmd")
    ]
    found = [*perceptrons, CONVOLUTIONAL, *(FULL if device != "cpu" else [])]
    return [replace(job, threads=threads, device=device) for job in found]


def race(job: Job, contenders: dict[str, Contender], repeats: int) -> dict[str, list[float]]:
    """Time the implementations in turns, after a short untimed training of each."""
    torch.set_num_threads(job.threads)
    if job.network != "mlp":  # pythae has no such modules
        contenders = {name: turn for name, turn in contenders.items() if name != "pythae"}
    for contender in contenders.values():
        contender(replace(job, epochs=1, rows=min(job.rows, 5 * job.batch)))
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(repeats):
        for name, contender in contenders.items():
            seconds[name].append(contender(job))
    return seconds


def main() -> None:
    """Time everything, print the table and write the results."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--pythae", type=Path, help="Python of an environment with pythae 0.1.2")
    parser.add_argument("--repeats", type=int, default=5, help="timed turns of each contender")
    parser.add_argument("--threads", type=int, default=1, help="threads of every contender")
    parser.add_argument("--device", default="cpu", help="where all but pythae train")
    parser.add_argument("--only", default="", help="measure anew the jobs with this in their name")
    parser.add_argument("--out", type=Path, default=RESULTS / "speed.json", help="file to write")
    options = parser.parse_args()
    contenders: dict[str, Contender] = {"loop": bare_loop, "skorch": plain_skorch}
    pythae = Pythae(options.pythae) if options.pythae and options.device == "cpu" else None
    if pythae is not None:
        contenders["pythae"] = pythae
    contenders["skvim, plain steps"] = skvim_plain
    contenders["skvim"] = skvim_fit
    if options.device != "cpu":
        contenders["skvim, graphs"] = partial(skvim_fit, acceleration="capture")
        contenders["skvim, graphs, bfloat16"] = skvim_coarse
    print(header("milliseconds a step", contenders))
    options.out.parent.mkdir(exist_ok=True)
    found: dict[str, Any] = {}
    if options.only and options.out.exists():
        found = {run["job"]: run for run in json.loads(options.out.read_text())["runs"]}
    for job in jobs(options.threads, options.device):
        if options.only not in job.name:
            continue
        seconds = race(job, contenders, options.repeats)
        steps = job.epochs * -(-job.rows // job.batch)
        run = {"job": job.name, "threads": job.threads, "steps": steps, "seconds": seconds}
        print(row(run, contenders), flush=True)
        found[job.name] = run
        results = {"measured on": machine(), "runs": list(found.values())}
        options.out.write_text(json.dumps(results, indent=1) + "\n")
    if pythae is not None:
        pythae.close()
    write_tables()


if __name__ == "__main__":
    main()
