"""The command line: runs the cells that are missing, then writes tables and figures."""

import argparse
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import matplotlib
import torch
from joblib import Parallel, delayed
from tqdm import tqdm

import vimae_paper
from vimae_paper.cells import FIGURES, TABLES, Job, attempt, jobs_of, missing
from vimae_paper.figures import draw
from vimae_paper.results import Results, tidy
from vimae_paper.settings import MODELS, PRESETS, Cell, Run
from vimae_paper.tables import RESULTS, write_pages, write_tables

_AGAIN = "The same command goes on from here."


def main(arguments: Sequence[str] | None = None) -> int:
    """Run, then write tables and figures; return 1 if something has failed."""
    matplotlib.use("Agg")
    options = parse(arguments)
    if options.pages:
        print(*write_pages(), sep="\n")
        return 0
    if options.preset == "gpu" and not torch.cuda.is_available():
        print("There is no GPU here: the networks of this preset will take days.", flush=True)
    start, run = time.perf_counter(), run_of(options)
    jobs = jobs_of(run, options.table, options.figure, options.seeds, options.models)
    folder = run.results.with_suffix("")
    try:
        for number in Results(run.results).damaged:
            print(f"{run.results}:{number} is no cell of results, and counts as missing")
        tidy(run.results)  # and find out now, not after the first training, whether it can be
        failed = execute(run, jobs, options.jobs)
        tidy(run.results)
        folder.mkdir(exist_ok=True)
        results = Results(run.results)
        written = write_tables(results, options.table, folder)
        written += draw(run, results, options.figure, folder)
    except OSError as error:
        print(f"stopped: {str(error).rstrip('.')}. {_AGAIN}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"stopped. {_AGAIN}", file=sys.stderr)
        return 130
    print(f"{(time.perf_counter() - start) / 60:.1f} min in all; in {folder}:")
    print("  " + ", ".join(path.name for path in written))
    for cell, error in failed.items():
        print(f"failed: {cell}: {error.splitlines()[0]}")
    return 1 if failed else 0


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    n_cores, n_jobs = os.cpu_count() or 1, "processes; 2, or with a GPU up to 4 of them"
    # On a GPU the classifiers, which run beside it, take most of the time.
    default_jobs = max(1, min(4, n_cores // 4)) if torch.cuda.is_available() else min(2, n_cores)
    held_out = "test on rows held out of the training set, to choose settings; into OUT/validation"
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=vimae_paper.__doc__, formatter_class=form)
    add = parser.add_argument
    add("--table", action="append", choices=TABLES, default=[])
    add("--figure", action="append", choices=FIGURES, default=[])
    add("--all", action="store_true", help="all tables and figures")
    add("--pages", action="store_true", help="write docs/_tables from the committed results")
    add("--preset", choices=tuple(PRESETS), default="cpu", help="how much is run")
    add("--data-home", help="folder of the data sets; tiny can do without")
    add("--seeds", type=_count, help="repetitions; if not given the preset's number")
    add("--epochs", type=_count, help="epochs of training, likewise")
    add("--models", nargs="+", choices=tuple(MODELS), metavar="NAME", help="run only these rows")
    add("--jobs", type=_count, default=default_jobs, help=n_jobs)
    add("--out", type=Path, help="folder of the results; demo/paper for tiny")
    add("--validation", action="store_true", help=held_out)
    options = parser.parse_args(arguments)
    if options.all:
        options.table, options.figure = TABLES, FIGURES
    if not (options.table or options.figure or options.pages):
        parser.error("nothing to do: give --table, --figure, --all or --pages")
    home = options.data_home
    if home is not None and not Path(home).expanduser().is_dir():
        parser.error(f"--data-home has to be a folder, and {home} is none")
    return options


def _count(text: str) -> int:
    if int(text) < 1:
        raise argparse.ArgumentTypeError(f"has to be 1 or more, not {text}")
    return int(text)


def run_of(options: argparse.Namespace) -> Run:
    """Return where and how much is run."""
    preset, tiny = options.preset, options.preset == "tiny"
    out = options.out or (Path("demo/paper") if tiny else RESULTS)
    cache = (RESULTS.with_name("cache") if out == RESULTS else out / "cache") / preset
    if options.validation:
        out, cache = out / "validation", cache / "validation"
    more = (options.data_home, options.epochs, options.validation)
    return Run(preset, out / f"{preset}.jsonl", cache, *more)


def execute(run: Run, jobs: list[Job], n_processes: int) -> dict[Cell, str]:
    """Do what is missing and return what has failed, with the errors."""
    results = Results(run.results)
    left = [rest for job in jobs if (rest := missing(run, results, job)) is not None]
    print(f"{len(jobs)} cells, {len(jobs) - len(left)} of them done before", flush=True)
    failed, parallel = {}, Parallel(n_jobs=n_processes, return_as="generator")
    ended = tqdm(parallel(delayed(attempt)(run, job) for job in left), total=len(left), unit="cell")
    for job, (seconds, error) in zip(left, ended, strict=True):
        said = f"{seconds:.1f} s" if error is None else f"failed, {error}"
        tqdm.write(f"{job.cell}: {said}")
        sys.stdout.flush()
        if error is not None:
            failed[job.cell] = error
    return failed
