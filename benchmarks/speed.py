"""Training time of skvim against hand-written torch loops, plain skorch, pythae and JAX.

The implementations run in turns, with the same rows, network, batch size, threads and epochs. The
table has medians, half of the range, and the ratio to the lean loop of ``lean.py``; the second
column is a loop around skvim's modules. pythae and JAX run in environments of their own, if given.
Run it with ``make bench-speed`` or::

    python benchmarks/speed.py [--pythae VENV/bin/python] [--jax VENV/bin/python]
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
    Worker,
    own_modules_loop,
    plain_skorch,
    skvim_coarse,
    skvim_fit,
    skvim_plain,
)
from lean import lean_loop
from machine import machine
from markdown_lines import header
from write_tables import LEAN, LOOP, RESULTS, row, write_tables

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
# A contender that has taken so long in at least so many turns has no more of them: steps of pythae
# with MMD take seconds.
ENOUGH_SECONDS = 45.0
LEAST_TURNS = 2
CONVOLUTIONAL = Job("vae", (784, 16), 2_000, 100, 3, network="small")
# On a GPU also the reference's networks for MNIST and CIFAR-10.
FULL = [
    Job(model, (features, latent), ROWS, 100, 3, network="full")
    for features, latent in ((784, 8), (3072, 64))
    for model in ("vae", "mmd")
]

Contender = Callable[[Job], float]
# Scripts of the implementations with environments of their own, which train perceptrons on a CPU.
WORKERS = {"pythae": "pythae_worker.py", "jax": "jax_worker.py"}


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
    """Time the implementations in turns, after a short untimed training of each.

    Those that are much slower than the others have fewer turns.
    """
    torch.set_num_threads(job.threads)
    if job.network != "mlp":  # other environments have no such networks
        contenders = {name: turn for name, turn in contenders.items() if name not in WORKERS}
    for contender in contenders.values():
        contender(replace(job, epochs=1, rows=min(job.rows, 5 * job.batch)))
    workers = [contender for contender in contenders.values() if isinstance(contender, Worker)]
    for worker in workers:
        worker.compilations.clear()
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(repeats):
        for name, contender in contenders.items():
            if len(seconds[name]) < LEAST_TURNS or sum(seconds[name]) < ENOUGH_SECONDS:
                seconds[name].append(contender(job))
    return seconds


def workers(options: argparse.Namespace) -> tuple[dict[str, Worker], dict[str, str]]:
    """Start the other environments, and return those that run and why others do not."""
    started, reasons = {}, {}
    for name, script in WORKERS.items():
        python = getattr(options, name)
        if options.device != "cpu":
            reasons[name] = "its environment has no support for a GPU"
        elif python is None:
            reasons[name] = f"no --{name} names the Python of its environment"
        elif not python.exists():
            reasons[name] = "the Python of its environment does not exist"
        else:
            started[name] = Worker(python, script, options.threads)
    for name, reason in reasons.items():
        print(f"{name} is left out: {reason}.")
    return started, reasons


def all_contenders(device: str, others: dict[str, Worker]) -> dict[str, Contender]:
    """Return the implementations in the order of the table's columns."""
    contenders: dict[str, Contender] = {LEAN: lean_loop, LOOP: own_modules_loop}
    contenders |= {"skorch": plain_skorch, **others}
    contenders |= {"skvim, plain steps": skvim_plain, "skvim": skvim_fit}
    if device != "cpu":
        contenders["skvim, graphs"] = partial(skvim_fit, acceleration="capture")
        contenders["skvim, graphs, bfloat16"] = skvim_coarse
    return contenders


def arguments() -> argparse.Namespace:
    """Return the command's arguments."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--pythae", type=Path, help="Python of an environment with pythae 0.1.2")
    parser.add_argument("--jax", type=Path, help="Python of an environment with JAX 0.10.2")
    parser.add_argument("--repeats", type=int, default=5, help="timed turns of each contender")
    parser.add_argument("--threads", type=int, default=1, help="threads of every contender")
    parser.add_argument("--device", default="cpu", help="where all but pythae and JAX train")
    parser.add_argument("--only", default="", help="measure anew the jobs with this in their name")
    parser.add_argument("--out", type=Path, default=RESULTS / "speed.json", help="file to write")
    return parser.parse_args()


def main() -> None:
    """Time everything, print the table and write the results."""
    options = arguments()
    others, left_out = workers(options)
    contenders = all_contenders(options.device, others)
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
        if "jax" in seconds:
            run["seconds to compile"] = {"jax": others["jax"].compilations[:]}
        print(row(run, contenders), flush=True)
        found[job.name] = run
        results = {"measured on": machine(), "left out": left_out, "runs": list(found.values())}
        options.out.write_text(json.dumps(results, indent=1) + "\n")
    for worker in others.values():
        worker.close()
    write_tables()


if __name__ == "__main__":
    main()
