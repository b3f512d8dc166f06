"""Which cells tables and figures need, what each depends on, and how it is run."""

import inspect
import os
import platform
import time
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import joblib
import sklearn
import torch

import skvim
from skvim.exceptions import DatasetError, SkvimError, TrainingDivergedError
from vimae_paper import settings
from vimae_paper.data import load, source_of
from vimae_paper.measures import PARTS, VERSION, part_settings, parts_of
from vimae_paper.results import Results, append, cell_of
from vimae_paper.settings import MODELS, PICTURES, PRESETS, TABLE_PARTS, Cell, Run, build, models_of

TABLES = tuple(TABLE_PARTS)
FIGURES = (*PICTURES, "noise", "plane")


class Job(NamedTuple):
    """A cell and what is wanted of it."""

    cell: Cell
    parts: frozenset[str]
    keep: bool = False  # whether the fitted model has to be in the cache, for a figure


def rows_of(table: str, data_set: str) -> dict[str, Any]:
    """Return the rows of a table about a data set, by name."""
    return settings.ablation_of(data_set) if table == "ablation" else models_of(data_set)


def jobs_of(
    run: Run, tables: Any, figures: Any, n_seeds: int | None = None, models: Any = None
) -> list[Job]:
    """Return each cell once, with all that is wanted of it; seed by seed, so that tables fill."""
    jobs: dict[Cell, Job] = {}
    amount = PRESETS[run.preset]
    for data_set, model, parts, keep in (*_of_tables(tables), *_of_figures(figures)):
        if model in (models or MODELS) and source_of(run, data_set) is not None:
            # Tables are small, and a seed of variants takes two thirds as long as one of all else.
            default = amount.n_tabular_seeds if data_set in settings.TABULAR else amount.n_seeds
            for seed in range(n_seeds or (1 if model in settings.VARIANTS else default)):
                cell = Cell(data_set, model, seed)
                _, before, kept = jobs.get(cell, (cell, frozenset(), False))
                wanted = before | (parts & parts_of(data_set, model))
                jobs[cell] = Job(cell, wanted, kept or (keep and seed == 0))
    wanted_jobs = [job for job in jobs.values() if job.parts or job.keep]
    return sorted(wanted_jobs, key=lambda job: (job.cell.seed, job.cell.data_set))


def _of_tables(tables: Any) -> Iterator[tuple[str, str, set[str], bool]]:
    """Yield data sets, models, parts, and whether the fitted model is to be kept."""
    for data_set, part, table in ((*i, t) for t in tables for i in TABLE_PARTS[t].items()):
        # What the codes know takes no time beside errors, and claims are judged by it.
        parts = {part, "information"} if part == "reconstruction" else {part}
        for model in rows_of(table, data_set):
            if part in parts_of(data_set, model):
                yield data_set, model, parts, False


def _of_figures(figures: Any) -> Iterator[tuple[str, str, set[str], bool]]:
    for data_set in (PICTURES[figure] for figure in figures if figure in PICTURES):
        for name, model in models_of(data_set).items():
            yield data_set, name, {"blur"}, model.cls is not None
    for data_set in settings.LABELED if "noise" in figures else ():
        for model in models_of(data_set):
            yield data_set, model, {"robustness"}, False
    for model in ("vae", "vimae-n", "vimae-l", *settings.SWEEP) if "plane" in figures else ():
        yield "mnist", model, {"information", "reconstruction", "robustness"}, False


# Parameters that are kept elsewhere or change no result.
_NO_EFFECT = ("random_state", "checkpoint")
# Parameters added since the stored results, which hold for these values of them.
_ADDED = {
    "class_weight": None,
    "code_density": "auto",
    "groups": None,
    "n_steps_no_change": 2000,
    "safe": False,
}
# Of presets: they choose seeds, or show in the model.
_NO_SIZES = ("n_seeds", "n_tabular_seeds", "epochs", "default_epochs", "hidden", "width")


def describe(value: Any) -> Any:
    """Return settings as JSON holds them: an object is its class and all of its parameters.

    Of other libraries' classes those that differ from the defaults: theirs are no news. The seed is
    left out, which is the cell's, what changes no result, and parameters that older results lack at
    the values that these have.
    """
    if value is None or isinstance(value, (str, bool, int, float)):
        return value
    if isinstance(value, Mapping):
        return {str(k): describe(item) for k, item in value.items() if k not in _NO_EFFECT}
    if isinstance(value, (list, tuple)):
        return [describe(item) for item in value]
    if isinstance(value, type):
        return value.__name__
    parameters = inspect.signature(type(value)).parameters
    given = describe({name: getattr(value, name) for name in parameters})
    if type(value).__module__.partition(".")[0] != "skvim":
        given = {k: item for k, item in given.items() if item != describe(parameters[k].default)}
    given = {k: item for k, item in given.items() if k not in _ADDED or item != _ADDED[k]}
    return {"class": type(value).__name__, **given}


def settings_of(run: Run, cell: Cell) -> dict[str, Any]:
    """Return all that the results of a cell depend on, but the seed."""
    parts = sorted(parts_of(cell.data_set, cell.model))
    return {
        "version": VERSION,
        "model": describe(build(run, cell)),
        "sizes": {k: n for k, n in vars(PRESETS[run.preset]).items() if k not in _NO_SIZES},
        "source": source_of(run, cell.data_set),
        "validation": run.validation,
        "parts": {part: describe(part_settings(part, cell.data_set)) for part in parts},
    }


def is_current(content: dict[str, Any]) -> bool:
    """Tell whether a cell was run as its preset says now, wherever its rows come from."""
    before = content["settings"]
    run = Run(content["preset"], Path(), Path(), validation=before["validation"])
    return before == settings_of(run, cell_of(content)) | {"source": before["source"]}


def reusable(run: Run, results: Results, cell: Cell) -> dict[str, Any]:
    """Return what is stored of a cell if it was made with the settings of this run."""
    content, current = results.cells.get(cell), settings_of(run, cell)
    if content is not None and content["settings"] == current:
        return content
    names = dict(zip(("data set", "model", "seed"), cell, strict=True))
    empty = {"fit": {}, "parts": {}, "measured on": measured_on()}
    return {**names, "preset": run.preset, "settings": current, **empty}


def missing(run: Run, results: Results, job: Job) -> Job | None:
    """Return what is left to do of a job, None if nothing is."""
    content = reusable(run, results, job.cell)
    if "failed" in content["fit"]:
        return None  # it would fail again
    parts = job.parts - content["parts"].keys()
    keep = job.keep and load_model(run, job.cell) is None
    return job._replace(parts=parts, keep=keep) if parts or keep else None


def attempt(run: Run, job: Job) -> tuple[float, str | None]:
    """Do a job; an error in it stops no other, but where files cannot be written all end."""
    try:
        return work(run, job), None
    except Exception as error:
        if isinstance(error, OSError) and not isinstance(error, DatasetError):
            raise
        return 0.0, f"{type(error).__name__}: {error}"


def work(run: Run, job: Job) -> float:
    """Do a job, write the line of its cell, and return the seconds it took."""
    start, cell = time.perf_counter(), job.cell
    content = reusable(run, Results(run.results), cell)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of few rows and few steps, chosen knowingly
        try:
            _measure(run, job, content)
        except TrainingDivergedError as error:
            content["fit"] = {"failed": str(error), "seconds": _since(start)}
    append(run.results, content)
    return _since(start)


def _measure(run: Run, job: Job, content: dict[str, Any]) -> None:
    """Fit or load the model of a job, measure its parts, and note both."""
    cell, task = job.cell, load(run, job.cell.data_set, job.cell.seed)
    model = load_model(run, cell)
    if model is None:
        start, model = time.perf_counter(), build(run, cell).fit(task.X)
        # One that is fitted once more for a figure does not stand for what was measured before.
        if not content["parts"]:
            content["fit"] = {"seconds": _since(start), "epochs": getattr(model, "n_iter_", None)}
        if MODELS[cell.model].cls is not None:
            model_path(run, cell).parent.mkdir(parents=True, exist_ok=True)
            model.save(model_path(run, cell))
    for part in sorted(job.parts):
        start, values = time.perf_counter(), PARTS[part](model, task, run, cell)
        content["parts"][part] = {"seconds": _since(start), **values}
        content["measured on"] = measured_on()


def model_path(run: Run, cell: Cell) -> Path:
    """Return the file of a fitted model, whose name changes with the settings."""
    names = ("model", "source", "validation")
    key = joblib.hash([PRESETS[run.preset].n_train, *map(settings_of(run, cell).get, names)])
    return run.cache / cell.data_set / f"{cell.model}-{cell.seed}-{key[:16]}.skvim"


def load_model(run: Run, cell: Cell) -> Any | None:
    """Return the fitted model of a cell, or None if there is none that can be read."""
    try:
        return skvim.load(model_path(run, cell))
    except (OSError, SkvimError):
        return None


def _since(start: float) -> float:
    return round(time.perf_counter() - start, 2)


def measured_on() -> dict[str, str | int]:
    """Return versions and machine."""
    return {
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "machine": platform.machine(),
        "cores": os.cpu_count() or 0,
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else "none",
        "python": platform.python_version(),
        **{module.__name__: module.__version__ for module in (torch, sklearn, skvim)},
    }
