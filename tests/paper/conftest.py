"""The scripts that run the paper's experiments, and results as they write them."""

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

FOLDER = Path(__file__).parents[2] / "examples" / "paper"
NAMES = sorted(path.stem for path in FOLDER.glob("*.py"))
MACHINE = {
    "machine": "m",
    "cores": 1,
    "gpu": "none",
    "python": "3",
    "date": "2020-01-01",
    "torch": "2",
    "sklearn": "1",
    "skvim": "0",
}


@pytest.fixture(scope="module")
def paper():
    """Import the scripts as they import each other, and leave no trace of their short names."""
    before = set(sys.modules)
    sys.path.insert(0, str(FOLDER))
    try:
        modules = {name: __import__(name) for name in NAMES}
        yield SimpleNamespace(**modules, folder=FOLDER)
    finally:
        sys.path.remove(str(FOLDER))
        for name in set(NAMES) - before:
            sys.modules.pop(name, None)


@pytest.fixture
def cell_of():
    """Return what makes a cell as a run writes it."""

    def make(data_set, model, seed, accuracies, settings=None, **features):
        values = {"mean": accuracies, "labelled rows": 1000, **features}
        part = {"key": "k", "seconds": 2.0, "measured on": MACHINE, "values": values}
        return {
            "data set": data_set,
            "model": model,
            "seed": seed,
            "key": "k",
            "settings": {"source": "official", "seed": seed, "model": settings or {}},
            "fit": {"seconds": 1.0, "measured on": MACHINE},
            "parts": {"robustness": part},
        }

    return make


@pytest.fixture
def stored(paper, tmp_path):
    """Return what writes cells and reads them as results."""

    def write(*cells):
        store = paper.store.Store(tmp_path, tmp_path / "cache")
        for content in cells:
            cell = paper.store.Cell(content["data set"], content["model"], content["seed"])
            store.write(cell, content)
        return paper.results.Results(tmp_path)

    return write
