"""What a cell depends on, what is missing of it, and how it is run."""

import inspect
import os
import platform
import time
import warnings
from collections.abc import Mapping
from numbers import Integral, Real
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import sklearn
import torch

import skvim
from skvim.exceptions import SkvimError, TrainingDivergedError
from vimae_paper.data import load, source_of
from vimae_paper.measures import measure, part_settings, parts_of
from vimae_paper.plan import Job
from vimae_paper.results import Results, append, cell_of
from vimae_paper.settings import MODELS, PRESETS, Cell, Run, build


def describe(value: Any) -> Any:
    """Return settings as JSON holds them: an object is its class and all of its parameters.

    Of other libraries' classes those that differ from the defaults: theirs are no news. The seed is
    left out, which is the cell's.
    """
    if value is None or isinstance(value, (str, bool)):
        return value
    if isinstance(value, Real):
        return int(value) if isinstance(value, Integral) else float(value)
    if isinstance(value, Mapping):
        return {str(k): describe(item) for k, item in value.items() if k != "random_state"}
    if isinstance(value, (list, tuple, np.ndarray)):
        return [describe(item) for item in value]
    if isinstance(value, type):
        return value.__name__
    parameters = inspect.signature(type(value)).parameters
    given = describe({name: getattr(value, name) for name in parameters})
    if type(value).__module__.partition(".")[0] != "skvim":
        given = {k: item for k, item in given.items() if item != describe(parameters[k].default)}
    return {"class": type(value).__name__, **given}


def settings_of(run: Run, cell: Cell) -> dict[str, Any]:
    """Return all that the results of a cell depend on, but the seed."""
    data_set, model, _ = cell
    parts = sorted(parts_of(data_set, model))
    return {
        "model": describe(build(run, cell)),
        "rows": PRESETS[run.preset].n_train,
        "source": source_of(data_set, run.preset, run.data_home),
        "validation": run.validation,
        "parts": {part: describe(part_settings(part, data_set, run.preset)) for part in parts},
    }


def is_current(content: dict[str, Any]) -> bool:
    """Tell whether a cell was run as its preset says now, wherever its rows come from."""
    before = content["settings"]
    run = Run(content["preset"], Path(), Path(), validation=before["validation"])
    return before == settings_of(run, cell_of(content)) | {"source": before["source"]}


def reusable(run: Run, results: Results, cell: Cell) -> dict[str, Any]:
    """Return what is stored of a cell if it was made with the settings of this run."""
    content, settings = results.cells.get(cell), settings_of(run, cell)
    if content is not None and content["settings"] == settings:
        return content
    names = dict(zip(("data set", "model", "seed"), cell, strict=True))
    return {**names, "preset": run.preset, "settings": settings, "fit": {}, "parts": {}}


def missing(run: Run, results: Results, job: Job) -> Job | None:
    """Return what is left to do of a job, None if nothing is."""
    content = reusable(run, results, job.cell)
    if "failed" in content["fit"]:
        return None  # it would fail again
    parts = job.parts - content["parts"].keys()
    keep = job.keep and load_model(run, job.cell) is None
    return job._replace(parts=parts, keep=keep) if parts or keep else None


def work(run: Run, job: Job) -> float:
    """Do a job, write the line of its cell, and return the seconds it took."""
    start, cell = time.perf_counter(), job.cell
    content = reusable(run, Results(run.results), cell)
    task = load(run, cell.data_set, cell.seed)
    try:
        model = load_model(run, cell)
        if model is None:
            model = fit(run, cell, task.X, content)
        for part in sorted(job.parts):
            began = time.perf_counter()
            values = measure(part, model, task, run, cell)
            content["parts"][part] = {"seconds": _since(began), **values}
    except TrainingDivergedError as error:
        content["fit"] = {"failed": str(error), "seconds": _since(start)}
    if job.parts:
        content["measured on"] = measured_on()
    append(run.results, content)
    return _since(start)


def fit(run: Run, cell: Cell, X: np.ndarray, content: dict[str, Any]) -> Any:
    """Fit the model of a cell, keep it in the cache, and note how it went."""
    model = build(run, cell)
    start = time.perf_counter()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model.fit(X)
    # A model that is fitted once more for a figure does not stand for what was measured before.
    if not content["parts"]:
        content["fit"] = {
            "seconds": _since(start),
            "epochs": getattr(model, "n_iter_", None),
            "warnings": sorted({warning.category.__name__ for warning in caught}),
        }
    if MODELS[cell.model].cls is not None:
        path = model_path(run, cell)
        path.parent.mkdir(parents=True, exist_ok=True)
        model.save(path)
    return model


def model_path(run: Run, cell: Cell) -> Path:
    """Return the file of a fitted model, whose name changes with the settings."""
    settings = settings_of(run, cell)
    del settings["parts"]
    key = joblib.hash(settings)
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
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        **{module.__name__: module.__version__ for module in (torch, sklearn, skvim)},
    }
