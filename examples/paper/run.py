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
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

from figures import draw
from joblib import Parallel, delayed
from plan import FIGURES, TABLES, jobs_of
from render import write_tables
from settings import PRESETS
from work import Job, Run, missing, work

HERE = Path(__file__).parent
_DEFAULT_OUT = {name: HERE / "results" / name for name in PRESETS} | {"tiny": Path("demo/paper")}


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
    parser.add_argument("--seeds", type=int, help="repetitions; the preset's number if not given")
    parser.add_argument("--epochs", type=int, help="epochs of training, likewise")
    parser.add_argument("--models", nargs="+", help="only these rows")
    parser.add_argument("--jobs", type=int, help="processes; 2, or with a GPU 4 of them")
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
    return options


def run_of(options: argparse.Namespace) -> Run:
    """Return where and how much is run."""
    out = options.out or _DEFAULT_OUT[options.preset]
    cache = options.cache or (
        out / "cache" if options.preset == "tiny" else HERE / "cache" / options.preset
    )
    if options.validation:
        out, cache = out / "validation", cache / "validation"
    return Run(options.preset, out, cache, options.data_home, options.epochs, options.validation)


def execute(run: Run, jobs: list[Job], n_jobs: int) -> None:
    """Do what is missing, and say how long the rest will take."""
    left = [rest for job in jobs if (rest := missing(run, job)) is not None]
    print(f"{len(jobs)} cells, {len(jobs) - len(left)} of them done before", flush=True)
    parallel = Parallel(n_jobs=n_jobs, return_as="generator")
    finished = parallel(delayed(work)(run, job) for job in left)
    for line in progress(finished, len(left)):
        print(line, flush=True)


def progress(finished: Iterator[tuple[Job, float]], n_jobs: int) -> Iterator[str]:
    """Yield a line for each job that is done."""
    start = time.perf_counter()
    for number, (job, seconds) in enumerate(finished, start=1):
        rest = (time.perf_counter() - start) / number * (n_jobs - number)
        name = f"{job.cell.data_set} {job.cell.model} seed {job.cell.seed}"
        yield f"[{number}/{n_jobs}] {name}: {seconds:.1f} s, about {in_words(rest)} left"


def in_words(seconds: float) -> str:
    """Return a duration for a reader."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def n_processes(options: argparse.Namespace) -> int:
    """Return how many cells run side by side."""
    import torch

    n_cores = os.cpu_count() or 1
    # On a GPU the classifiers, which run beside it, take most of the time.
    most = max(1, n_cores // 4) if torch.cuda.is_available() else n_cores
    return options.jobs or min(4 if torch.cuda.is_available() else 2, most)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run, then write tables and figures."""
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
    execute(run, jobs, n_processes(options))
    written = write_tables(run.results, options.table)
    written += draw(run, options.figure, options.models)
    print(f"{in_words(time.perf_counter() - start)} in all; in {run.results}:")
    print("  " + ", ".join(path.name for path in written))


if __name__ == "__main__":
    main()
