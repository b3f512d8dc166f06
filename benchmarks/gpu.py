"""Tests and training times on a GPU, within a budget of time.

First the tests that need a GPU run, for at most a part of the budget. Then trainings are timed:
the lean loop of ``lean.py``, plain skorch, ``fit`` with eager and with captured steps, in float32
and bfloat16, and 16 models together. Every training is timed once before any is timed again. What
no time is left for is left out, and named in the results, which are written after every training.
The package need not be installed. Run it with ``make bench-gpu`` or::

    python benchmarks/gpu.py [--budget 450] [--out benchmarks/results/gpu.json]
"""

import argparse
import json
import re
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402
import torch  # noqa: E402
from contenders import Job, fitted, plain_skorch  # noqa: E402
from lean import lean_loop  # noqa: E402
from machine import machine  # noqa: E402
from markdown_lines import header, line  # noqa: E402
from write_tables import LEAN, RESULTS  # noqa: E402

from skvim.exceptions import SkvimWarning  # noqa: E402
from skvim.model_selection import lam_path  # noqa: E402

# Files with tests that need a GPU, the essential ones first.
TESTS = (
    "tests/engine/test_graphs.py",
    "tests/engine/test_capture.py",
    "tests/engine/test_engine.py",
    "tests/engine/test_placement.py",
    "tests/engine/test_checkpoints.py",
    "tests/test_persistence.py",
    "tests/objectives/test_priors.py",
    "tests/test_tables.py",
)
TESTS_SHARE = 0.4
SMALL = [
    Job(model, sizes, 10_000, 100, 5)
    for sizes in ((20, 64, 64, 8), (784, 256, 256, 16))
    for model in ("vae", "mmd")
]
# The reference's networks for MNIST and CIFAR-10.
FULL = [
    Job("mmd", (n_features, n_components), 5_000, 100, 3, network="full")
    for n_features, n_components in ((784, 8), (3072, 64))
]
TINY = [
    Job("vae", (4, 5, 2), 40, 20, 2),
    Job("mmd", (64, 2), 40, 20, 1, network="small"),
]
TOGETHER = 16
# How often as many epochs captured steps take, so that capture is a small part of the time.
LONGER = 8


@dataclass
class Training:
    """What is timed: a contender at a job, for a number of models, and what it took so far."""

    job: Job
    contender: str
    train: Callable[[Job], tuple[float, str]]  # seconds, and why steps were eager or ""
    models: int = 1
    seconds: list[float] = field(default_factory=list)
    eager: str = ""
    error: str = ""

    @property
    def steps(self) -> int:
        """Steps of a training of one model."""
        return self.job.epochs * -(-self.job.rows // self.job.batch)

    def expected(self) -> float:
        """Seconds that it will surely take, from those before."""
        return max(self.seconds, default=0.0)

    def run(self) -> None:
        """Time a training, the first after a short untimed one; keep the reason if it fails."""
        try:
            if not self.seconds:
                self.train(replace(self.job, epochs=1, rows=2 * self.job.batch))
            taken, self.eager = self.train(self.job)
            self.seconds.append(taken)
        except Exception as error:  # the others are timed all the same
            self.error = f"{type(error).__name__}: {str(error).strip()[:300]}"

    def result(self) -> dict[str, Any]:
        """Return the record of the training."""
        kept = {"job": self.job.name, "contender": self.contender, "models": self.models}
        return kept | {
            "steps": self.steps,
            "seconds": self.seconds,
            "eager because": self.eager,
            "error": self.error,
        }


def by_skvim(job: Job, **options: Any) -> tuple[float, str]:
    """Time ``fit``, and say why steps were eager."""
    seconds, model = fitted(job, **options)
    return seconds, model.net_.plain_because_


def together(job: Job) -> tuple[float, str]:
    """Time the training of many models in one batch."""
    model, X = job.estimator.set_params(acceleration="capture"), job.data
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SkvimWarning)
        start = time.perf_counter()
        path = lam_path(model, X, np.arange(TOGETHER), param="random_state")
        return time.perf_counter() - start, path[0].net_.plain_because_


def trainings(device: str, *, tiny: bool) -> list[Training]:
    """Return all trainings, the most telling first."""

    def plain(loop: Callable[[Job], float], job: Job) -> tuple[float, str]:
        return loop(job), ""

    captured = partial(by_skvim, acceleration="capture")
    found = []
    for job in TINY if tiny else [*SMALL, *FULL]:
        job = replace(job, device=device)
        longer = replace(job, epochs=job.epochs * (LONGER if job.network == "mlp" else 2))
        found += [
            Training(job, LEAN, partial(plain, lean_loop)),
            Training(longer, "skvim, captured", captured),
            Training(job, "skvim, eager", partial(by_skvim, acceleration=None)),
            Training(longer, "skvim, bfloat16", partial(captured, precision="bfloat16")),
            Training(job, "skorch", partial(plain, plain_skorch)),
        ]
    many = [item for item in found if item.contender == "skvim, eager"]
    name = f"skvim, {TOGETHER} together, a model"
    return found + [Training(item.job, name, together, TOGETHER) for item in many]


def run_tests(files: Sequence[str], seconds: float, *options: str) -> dict[str, Any]:
    """Run the tests that need a GPU, and return the outcomes of those that ended in time."""
    command = [sys.executable, "-m", "pytest", "-m", "gpu", "-v", "--color=no", *options, *files]
    begin, ended = time.perf_counter(), True
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT)
        try:
            process.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            ended = False
            process.kill()
            process.wait()
        log.seek(0)
        output = log.read()
    outcomes: dict[str, list[str]] = {}
    for test, outcome in re.findall(r"^(\S+::.+?) (PASSED|FAILED|ERROR|SKIPPED)", output, re.M):
        outcomes.setdefault(outcome.lower(), []).append(test)
    counts = {outcome: len(outcomes.get(outcome, [])) for outcome in ("passed", "skipped")}
    failed = outcomes.get("failed", []) + outcomes.get("error", [])
    taken = time.perf_counter() - begin
    last = output.strip().splitlines()[-1:] if not outcomes else []
    return {**counts, "failed": failed, "ended": ended, "seconds": taken, "output": last}


def table(runs: Sequence[Training]) -> list[str]:
    """Return the table of milliseconds a step, with ratios to the lean loop."""
    names = list(dict.fromkeys(run.contender for run in runs))
    medians: dict[str, dict[str, float]] = {}
    for run in runs:
        if run.seconds:
            step = statistics.median(run.seconds) / run.steps / run.models
            medians.setdefault(run.job.name, {})[run.contender] = 1e3 * step
    lines = [header("milliseconds a step", names)]
    for job, of in medians.items():
        ratio = {name: f" ({of[name] / of[LEAN]:.2f}×)" if LEAN in of else "" for name in of}
        lines.append(line(job, [f"{of[n]:.3f}{ratio[n]}" if n in of else "" for n in names]))
    return lines


def device_facts(device: str) -> dict[str, Any]:
    """Return machine, versions, and those of CUDA."""
    known = machine()
    if device == "cuda":
        known |= {"cuda": torch.version.cuda or "none", "cudnn": torch.backends.cudnn.version()}
    return known


def arguments() -> argparse.Namespace:
    """Return the command's arguments."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--budget", type=float, default=450, help="seconds that all may take")
    parser.add_argument("--repeats", type=int, default=3, help="timed turns of each training")
    parser.add_argument("--device", default="cuda", help="where to train")
    parser.add_argument("--tests", nargs="*", default=TESTS, help="files of tests to run; none")
    parser.add_argument("--tiny", action="store_true", help="seconds of work, to try the script")
    parser.add_argument("--out", type=Path, default=RESULTS / "gpu.json", help="file to write")
    return parser.parse_args()


def main() -> None:
    """Run the tests, time the trainings, print the table and write the results."""
    begin, options = time.perf_counter(), arguments()
    torch.set_num_threads(1)
    known = {"measured on": device_facts(options.device), "budget": options.budget}
    known["command"] = " ".join(["python benchmarks/gpu.py", *sys.argv[1:]])
    tests: dict[str, Any] = {}
    if options.tests:
        tests = run_tests(options.tests, TESTS_SHARE * options.budget)
        print(json.dumps(tests, indent=1), flush=True)
    runs, late = trainings(options.device, tiny=options.tiny), set()
    options.out.parent.mkdir(exist_ok=True)
    for turn in range(options.repeats):
        for run in runs:
            what = f"{run.contender}: {run.job.name}"
            left = options.budget - (time.perf_counter() - begin)
            if left < 1.2 * run.expected() or left <= 0:
                late.add(what)
            elif not run.error:
                run.run()
                print(turn, what, run.seconds[turn:], run.eager, run.error, flush=True)
            found = {**known, "seconds": time.perf_counter() - begin, "tests": tests}
            found |= {"left out": sorted(late), "runs": [run.result() for run in runs]}
            options.out.write_text(json.dumps(found, indent=1) + "\n")
    print("\n".join([*table(runs), "", *(f"Left out: {what}." for what in sorted(late))]))


if __name__ == "__main__":
    main()
