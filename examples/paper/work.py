"""One cell: fit or load the model, measure what is missing, keep both."""

import time
import warnings
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from data import Request, Task, load, source_of
from keys import describe, fingerprint
from measures import PARTS, Context, settings_of
from settings import MODELS, PRESETS, build
from store import Cell, Store, measured_on

from skvim.exceptions import TrainingDivergedError

__all__ = ["Job", "Run", "fitted", "missing", "model_settings", "work"]


class Run(NamedTuple):
    """What all cells of a run share."""

    preset: str
    results: Path
    cache: Path
    data_home: str | None = None
    epochs: int | None = None
    validation: bool = False

    @property
    def store(self) -> Store:
        """Where results are."""
        return Store(self.results, self.cache)

    def request(self, cell: Cell) -> Request:
        """Return which rows a cell is about."""
        return Request(cell.data_set, self.preset, cell.seed, self.data_home, self.validation)


class Job(NamedTuple):
    """A cell and what is wanted of it."""

    cell: Cell
    parts: tuple[str, ...]
    keep: bool = False  # whether the fitted model has to be in the cache, for a figure


def model_settings(run: Run, cell: Cell) -> dict[str, Any]:
    """Return all that the fitted model of a cell depends on."""
    model = build(cell.data_set, cell.model, run.preset, cell.seed, run.epochs)
    return {
        "model": describe(model),
        "rows": PRESETS[run.preset].n_train,
        "source": source_of(cell.data_set, run.preset, run.data_home),
        "validation": run.validation,
        "seed": cell.seed,
    }


def part_key(run: Run, cell: Cell, part: str) -> str:
    """Return a hash of what a part depends on beside the model."""
    return fingerprint(describe(settings_of(part, cell.data_set, run.preset)))


def missing(run: Run, job: Job) -> Job | None:
    """Return what is left to do of a job, None if nothing is."""
    key = fingerprint(model_settings(run, job.cell))
    content = run.store.read(job.cell)
    parts = job.parts
    if content is not None and content["key"] == key:
        if "failed" in (content["fit"] or {}):
            return None  # it would fail again
        done = {name: part["key"] for name, part in content["parts"].items()}
        parts = tuple(p for p in parts if done.get(p) != part_key(run, job.cell, p))
    keep = job.keep and run.store.load_model(job.cell, key) is None
    return job._replace(parts=parts, keep=keep) if parts or keep else None


def work(run: Run, job: Job) -> tuple[Job, float]:
    """Do a job, writing after every step, and return its seconds."""
    start = time.perf_counter()
    settings = model_settings(run, job.cell)
    key = fingerprint(settings)
    content = _stored(run, _fresh(run, job.cell, settings, key))
    task = load(run.request(job.cell))
    try:
        model = fitted(run, job.cell, task, key, content)
    except TrainingDivergedError as error:
        content = _stored(run, content)
        content["fit"] = {"failed": str(error), "seconds": round(time.perf_counter() - start, 2)}
        run.store.write(job.cell, content)
        return job, time.perf_counter() - start
    first = partial(load, run.request(job.cell._replace(seed=0)))
    context = Context(job.cell.data_set, run.preset, job.cell.seed, run.cache, first)
    for part in job.parts:
        began = time.perf_counter()
        values = PARTS[part](model, task, context)
        content = _stored(run, content)
        content["parts"][part] = {
            "key": part_key(run, job.cell, part),
            "settings": describe(settings_of(part, job.cell.data_set, run.preset)),
            "seconds": round(time.perf_counter() - began, 2),
            "measured on": measured_on(),
            "values": values,
        }
        run.store.write(job.cell, content)
    return job, time.perf_counter() - start


def _stored(run: Run, content: dict[str, Any]) -> dict[str, Any]:
    """Return what is stored by now, also by another run, if it is under the same settings."""
    cell = Cell(content["data set"], content["model"], content["seed"])
    found = run.store.read(cell)
    if found is None or found["key"] != content["key"]:
        return content
    if found["fit"] is None:
        found["fit"] = content["fit"]
    return found


def _fresh(run: Run, cell: Cell, settings: dict[str, Any], key: str) -> dict[str, Any]:
    """Return an empty cell."""
    return {
        "data set": cell.data_set,
        "model": cell.model,
        "title": MODELS[cell.model].title,
        "seed": cell.seed,
        "preset": run.preset,
        "key": key,
        "settings": settings,
        "fit": None,
        "parts": {},
    }


def fitted(run: Run, cell: Cell, task: Task, key: str, content: dict[str, Any]) -> Any:
    """Return the model of a cell, from the cache if it is there; write down how it was fitted."""
    is_kept = MODELS[cell.model].cls is not None
    model = run.store.load_model(cell, key) if is_kept else None
    if model is not None:
        return model
    model = build(cell.data_set, cell.model, run.preset, cell.seed, run.epochs)
    began = time.perf_counter()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model.fit(task.X)
    # A model that is fitted once more for a figure does not stand for what was measured before.
    if not content["parts"] or content["fit"] is None:
        content["fit"] = {
            "seconds": round(time.perf_counter() - began, 2),
            "rows": len(task.X),
            "epochs": getattr(model, "n_iter_", None),
            "warnings": sorted({warning.category.__name__ for warning in caught}),
            "measured on": measured_on(),
        }
    if is_kept:
        # In this order: a run that is killed in between fits once more, and forgets nothing.
        run.store.write(cell, content)
        run.store.save_model(cell, key, model)
    return model
