"""Run the experiments of the VIMAE paper: tables I to V, figures 1 to 4, and some of our own.

For example::

    python examples/paper/run.py --table 4 --preset cpu --data-home DIR
    python examples/paper/run.py --figure plane --preset cpu --data-home DIR
    python examples/paper/run.py --all --preset tiny

Every model of a data set is trained once. Its figures go into one file for each data set, model
and seed; what is there already, under the same settings, is not run again, so that a run which was
stopped goes on. Fitted models are kept in a cache folder, from which the figures are drawn.
"""

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import matplotlib
import torch

matplotlib.use("Agg")

from data import obtain
from figures import draw
from joblib import Parallel, delayed
from plan import FIGURES, TABLES, jobs_of
from render import write_tables
from settings import MODELS, PRESETS, TABULAR
from work import Job, Run, missing, work

from skvim.exceptions import DatasetError, MissingExtraError

HERE = Path(__file__).parent
_DEFAULT_OUT = {name: HERE / "results" / name for name in PRESETS} | {"tiny": Path("demo/paper")}
_BAR = 20
# How long a cell takes beside others, roughly: no more than the time left depends on it.
_EFFORT = {**dict.fromkeys(TABULAR, 1), "mnist": 50, "omniglot": 30, "cifar10": 80, "celeba": 100}
_EFFORT_OF_BASELINES = 0.2


class Done(NamedTuple):
    """A job that has ended."""

    job: Job
    seconds: float
    error: str | None = None


def options_of(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--table", action="append", choices=TABLES, default=[])
    parser.add_argument("--figure", action="append", choices=FIGURES, default=[])
    parser.add_argument("--all", action="store_true", help="all tables and figures")
    parser.add_argument("--preset", choices=tuple(PRESETS), default="cpu")
    parser.add_argument("--data-home", help="folder of the data sets; tiny can do without")
    parser.add_argument(
        "--seeds",
        type=_count,
        help="repetitions; if not given the preset's number, and one of the ablation's variants",
    )
    parser.add_argument("--epochs", type=_count, help="epochs of training, likewise")
    parser.add_argument(
        "--models", nargs="+", choices=tuple(MODELS), metavar="NAME", help="run only these rows"
    )
    parser.add_argument("--jobs", type=_count, help="processes; 2, or with a GPU 4 of them")
    parser.add_argument("--out", type=Path, help="folder of the results")
    parser.add_argument("--cache", type=Path, help="folder of the fitted models")
    parser.add_argument(
        "--validation",
        action="store_true",
        help="test on rows held out of the training set, to choose settings; results go into "
        "OUT/validation",
    )
    options = parser.parse_args(arguments)
    if options.all:
        options.table, options.figure = list(TABLES), list(FIGURES)
    if not options.table and not options.figure:
        parser.error("nothing to do: give --table, --figure or --all")
    home = options.data_home
    if home is not None and not Path(home).expanduser().is_dir():
        parser.error(f"--data-home has to be a folder, and {home} is none")
    return options


def _count(text: str) -> int:
    """Return a number from the command line."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"has to be 1 or more, not {text}")
    return number


def run_of(options: argparse.Namespace) -> Run:
    """Return where and how much is run."""
    out = options.out or _DEFAULT_OUT[options.preset]
    cache = options.cache or (
        out / "cache" if options.preset == "tiny" else HERE / "cache" / options.preset
    )
    if options.validation:
        out, cache = out / "validation", cache / "validation"
    return Run(options.preset, out, cache, options.data_home, options.epochs, options.validation)


def execute(run: Run, jobs: list[Job], n_jobs: int) -> list[Done]:
    """Do what is missing, say how long the rest will take, and return what has failed."""
    left = [rest for job in jobs if (rest := missing(run, job)) is not None]
    print(f"{len(jobs)} cells, {len(jobs) - len(left)} of them done before", flush=True)
    left, failed = reachable(run, left)
    parallel = Parallel(n_jobs=n_jobs, return_as="generator")
    finished = parallel(delayed(attempt)(run, job) for job in left)
    for done, line in progress(finished, left):
        print(line, flush=True)
        if done.error is not None:
            failed.append(done)
    return failed


def reachable(run: Run, jobs: list[Job]) -> tuple[list[Job], list[Done]]:
    """Return the jobs whose rows can be had, and the others."""
    errors = {}
    for data_set in sorted({job.cell.data_set for job in jobs}):
        try:
            obtain(data_set, run.preset, run.data_home)
        except (DatasetError, MissingExtraError) as error:
            errors[data_set] = str(error)
            print(f"{data_set} is left out: {error}", flush=True)
    failed = [Done(job, 0.0, errors[d]) for job in jobs if (d := job.cell.data_set) in errors]
    return [job for job in jobs if job.cell.data_set not in errors], failed


def attempt(run: Run, job: Job) -> Done:
    """Do a job; an error in it stops no other, but where files cannot be written all end."""
    start = time.perf_counter()
    try:
        return Done(*work(run, job))
    except OSError:
        raise
    except Exception as error:
        seconds = time.perf_counter() - start
        return Done(job, seconds, f"{type(error).__name__}: {error}")


def progress(finished: Iterator[Done], jobs: Sequence[Job]) -> Iterator[tuple[Done, str]]:
    """Yield what is done with a line about it; the time left follows from the jobs so far."""
    start = time.perf_counter()
    total = sum(map(effort, jobs))
    spent = 0.0
    for number, done in enumerate(finished, start=1):
        spent += effort(done.job)
        rest = (time.perf_counter() - start) * (total - spent) / spent
        bar = "#" * round(_BAR * spent / total)
        cell = done.job.cell
        said = f"{done.seconds:.1f} s" if done.error is None else f"failed, {done.error}"
        yield (
            done,
            f"[{number}/{len(jobs)}] {bar:.<{_BAR}} {cell.data_set} {cell.model} "
            f"seed {cell.seed}: {said}, about {in_words(rest)} left",
        )


def effort(job: Job) -> float:
    """Return how long a job should take, in a unit of its own."""
    whole = _EFFORT[job.cell.data_set]
    return whole * (_EFFORT_OF_BASELINES if MODELS[job.cell.model].cls is None else 1.0)


def in_words(seconds: float) -> str:
    """Return a duration for a reader."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def n_processes(options: argparse.Namespace) -> int:
    """Return how many cells run side by side."""
    n_cores = os.cpu_count() or 1
    # On a GPU the classifiers, which run beside it, take most of the time.
    most = max(1, n_cores // 4) if torch.cuda.is_available() else n_cores
    return options.jobs or min(4 if torch.cuda.is_available() else 2, most)


def check_folders(run: Run) -> None:
    """Find out now, not after the first training, whether results can be kept.

    Raises
    ------
    OSError
        If a folder cannot be made or written to.
    """
    for folder in (run.results, run.cache):
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass


def main(arguments: Sequence[str] | None = None) -> int:
    """Run, then write tables and figures; return 1 if something has failed."""
    options = options_of(arguments)
    run = run_of(options)
    jobs = jobs_of(
        options.table,
        options.figure,
        run.preset,
        n_seeds=options.seeds,
        data_home=run.data_home,
        models=options.models,
    )
    start = time.perf_counter()
    if run.preset == "gpu" and not torch.cuda.is_available():
        print("There is no GPU here: the networks of this preset will take days.", flush=True)
    try:
        check_folders(run)
        for path in run.store.damaged():
            print(f"{path} is no cell of results, and counts as missing")
        failed = execute(run, jobs, n_processes(options))
        written = write_tables(run.results, options.table)
        written += draw(run, options.figure)
    except OSError as error:
        print(
            f"stopped: {str(error).rstrip('.')}. The same command goes on from here.",
            file=sys.stderr,
        )
        return 1
    except KeyboardInterrupt:
        print("stopped. The same command goes on from here.", file=sys.stderr)
        return 130
    print(f"{in_words(time.perf_counter() - start)} in all; in {run.results}:")
    print("  " + ", ".join(path.name for path in written))
    for done in failed:
        cell = done.job.cell
        said = str(done.error).splitlines()[0]
        print(f"failed: {cell.data_set} {cell.model} seed {cell.seed}: {said}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
