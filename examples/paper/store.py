"""Results as one JSON file for each data set, model and seed; fitted models beside them."""

import contextlib
import json
import os
import runpy
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, final

import skvim
from skvim.exceptions import SkvimError

__all__ = ["Cell", "Store", "measured_on"]

_MACHINE = Path(__file__).parents[2] / "benchmarks" / "machine.py"


# What a cell holds, and each of its parts.
_FIELDS = {"data set": str, "model": str, "seed": int, "key": str, "settings": dict, "parts": dict}
_SETTINGS = {"source": str, "seed": int}
_PART_FIELDS = {"key": str, "seconds": (int, float), "measured on": dict, "values": dict}


class Cell(NamedTuple):
    """What one file of results is about."""

    data_set: str
    model: str
    seed: int

    @property
    def name(self) -> str:
        """Name of its files."""
        return f"{self.data_set}/{self.model}-{self.seed}"


def measured_on() -> dict[str, str | int]:
    """Return versions and machine."""
    return runpy.run_path(str(_MACHINE))["machine"]()


@final
class Store:
    """Files of results and of fitted models.

    Parameters
    ----------
    results : Path
        Folder of the results, which may be committed.
    cache : Path
        Folder of fitted models and features, from which figures are drawn.
    """

    def __init__(self, results: Path, cache: Path) -> None:
        self.results = Path(results)
        self.cache = Path(cache)

    def path(self, cell: Cell) -> Path:
        """Return the file of a cell."""
        return self.results / "cells" / f"{cell.name}.json"

    def read(self, cell: Cell) -> dict[str, Any] | None:
        """Return what is stored; None if nothing is, or what is there is no such cell."""
        return _content(self.path(cell))

    def write(self, cell: Cell, content: dict[str, Any]) -> None:
        """Replace a file as a whole: a reader sees the old or the new one, never a part."""
        path = self.path(cell)
        path.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=True) + "\n"
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=".part")
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            Path(name).chmod(0o644)
            Path(name).replace(path)
        except BaseException:
            with contextlib.suppress(OSError):
                Path(name).unlink()
            raise

    def cells(self) -> list[dict[str, Any]]:
        """Return all cells that are sound, in the order of their names."""
        found = (_content(path) for path in self._paths())
        return [content for content in found if content is not None]

    def damaged(self) -> list[Path]:
        """Return the files that are no cells, or not those that their names say."""
        return [path for path in self._paths() if _content(path) is None]

    def _paths(self) -> list[Path]:
        return sorted((self.results / "cells").glob("*/*.json"))

    def model_path(self, cell: Cell, key: str) -> Path:
        """Return the file of a fitted model."""
        return self.cache / f"{cell.name}-{key}.skvim"

    def load_model(self, cell: Cell, key: str) -> Any | None:
        """Return the fitted model, or None if there is none that can be read."""
        try:
            return skvim.load(self.model_path(cell, key))
        except (OSError, SkvimError):
            return None

    def save_model(self, cell: Cell, key: str, model: Any) -> None:
        """Keep a fitted model."""
        path = self.model_path(cell, key)
        path.parent.mkdir(parents=True, exist_ok=True)
        model.save(path)


def _content(path: Path) -> dict[str, Any] | None:
    """Return a cell, None for what cannot be read, is none, or belongs under another name."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if not _has(found, _FIELDS) or not _has(found["settings"], _SETTINGS):
        return None
    fit = found.get("fit", "absent")  # None where the model was there before the results
    if fit is not None and not _has(fit, {"seconds": (int, float)}):
        return None
    if not all(_has(part, _PART_FIELDS) for part in found["parts"].values()):
        return None
    named = Cell(found["data set"], found["model"], found["seed"]).name
    return found if f"{path.parent.name}/{path.stem}" == named else None


def _has(found: Any, fields: Mapping[str, Any]) -> bool:
    return isinstance(found, dict) and all(
        isinstance(found.get(name), kind) for name, kind in fields.items()
    )
