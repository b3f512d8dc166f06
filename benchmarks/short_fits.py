"""Time of short fits against the lean loop, in new processes and in one that has trained before.

Cold: every fit runs in a process of its own. Imports and one step of the lean loop come before the
clock starts, the first use of skvim after. Warm: fits alternate in one process, in random order,
each with another seed and other rows. Figures are medians. Run it with ``make bench-speed`` or::

    python benchmarks/short_fits.py [--only 100] [--cold 3] [--warm 2]
"""

import argparse
import json
import random
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from contenders import Job, skvim_fit
from lean import lean_loop
from machine import machine
from write_tables import LEAN, RESULTS, short_row, write_tables

STEPS = {(20, 64, 64, 8): (20, 100, 400, 5_000), (784, 256, 256, 16): (100, 400)}
BATCH, MAX_STEPS_PER_EPOCH = 100, 100
CONTENDERS = {LEAN: lean_loop, "skvim": skvim_fit}

Seconds = dict[str, list[float]]


def jobs() -> list[tuple[int, Job]]:
    """Return all fits by their steps."""
    found = []
    for sizes, numbers in STEPS.items():
        for steps in numbers:
            per_epoch = min(steps, MAX_STEPS_PER_EPOCH)
            job = Job("", sizes, per_epoch * BATCH, BATCH, steps // per_epoch)
            found += [(steps, replace(job, model=model)) for model in ("vae", "mmd")]
    return found


def once(contender: str, job: Job) -> float:
    """Time a fit as the first of this process, after one step of the lean loop."""
    torch.set_num_threads(1)
    lean_loop(replace(job, rows=job.batch, epochs=1))
    return CONTENDERS[contender](job)


def in_new_process(contender: str, job: Job) -> float:
    """Time a fit in a process of its own."""
    command = [sys.executable, __file__, "--once", contender, "--job", json.dumps(asdict(job))]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def cold(job: Job, repeats: int) -> Seconds:
    """Time fits in turns, each in a process of its own."""
    seconds: Seconds = {name: [] for name in CONTENDERS}
    for turn in range(repeats):
        for name in random.sample(list(CONTENDERS), len(CONTENDERS)):
            seconds[name].append(in_new_process(name, replace(job, seed=turn)))
    return seconds


def warm(job: Job, repeats: int) -> Seconds:
    """Time fits in turns in this process, after one untimed fit of each."""
    torch.set_num_threads(1)
    for fit in CONTENDERS.values():
        fit(replace(job, seed=repeats))
    seconds: Seconds = {name: [] for name in CONTENDERS}
    for turn in range(repeats):
        for name in random.sample(list(CONTENDERS), len(CONTENDERS)):
            seconds[name].append(CONTENDERS[name](replace(job, seed=turn)))
    return seconds


def arguments() -> argparse.Namespace:
    """Return the command's arguments."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--cold", type=int, default=7, help="processes of each contender")
    parser.add_argument("--warm", type=int, default=7, help="fits of each contender in one process")
    parser.add_argument("--only", type=int, nargs="+", help="the numbers of steps to measure anew")
    parser.add_argument("--out", type=Path, default=RESULTS / "short_fits.json", help="to write")
    parser.add_argument("--once", choices=CONTENDERS, help=argparse.SUPPRESS)
    parser.add_argument("--job", type=json.loads, help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    """Time everything, print the table and write the results."""
    options = arguments()
    if options.once:
        sizes = tuple(options.job.pop("sizes"))
        print(once(options.once, Job(sizes=sizes, **options.job)))
        return
    found: dict[tuple[str, int], Any] = {}
    if options.only and options.out.exists():
        kept = json.loads(options.out.read_text())["runs"]
        found = {(run["job"], run["steps"]): run for run in kept}
    for steps, job in jobs():
        if options.only and steps not in options.only:
            continue
        timed = {"cold": cold(job, options.cold), "warm": warm(job, options.warm)}
        run = {"job": job.name, "steps": steps, **timed}
        found[job.name, steps] = run
        print(short_row(run), flush=True)
        results = {"measured on": machine(), "runs": list(found.values())}
        options.out.write_text(json.dumps(results, indent=1) + "\n")
    write_tables()


if __name__ == "__main__":
    main()
