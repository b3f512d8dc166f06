"""The file of results, one line of JSON for each cell, and its figures by seed."""

import json
import os
from collections import defaultdict
from pathlib import Path
from typing import Any, final

import pandas as pd
from filelock import FileLock

from vimae_paper.settings import Cell

_FIELDS = {"data set", "model", "seed", "preset", "settings", "fit", "parts", "measured on"}


@final
class Results:
    """The cells of a file of results.

    Of several lines about a cell the last one counts, and what earlier ones measured under the same
    settings. Lines that are damaged count as missing, as does the file.
    """

    def __init__(self, path: Path) -> None:
        cells: dict[Cell, dict[str, Any]] = {}
        self.damaged: list[int] = []  # numbers of lines
        lines = path.read_bytes().splitlines() if path.exists() else []
        for number, line in enumerate(lines, start=1):
            content = _parsed(line)
            if content is None:
                self.damaged.append(number)
                continue
            before = cells.get(cell_of(content))
            if before is not None and before["settings"] == content["settings"]:
                content["parts"] = before["parts"] | content["parts"]
            cells[cell_of(content)] = content
        self.cells = dict(sorted(cells.items()))
        self.rows: dict[tuple[str, str], dict[int, dict[str, Any]]] = defaultdict(dict)
        for cell, content in self.cells.items():
            self.rows[cell.data_set, cell.model][cell.seed] = content

    def part(self, data_set: str, model: str, part: str) -> dict[int, dict[str, Any]]:
        """Return what was measured, by seed."""
        by_seed = self.rows.get((data_set, model), {})
        return {seed: c["parts"][part] for seed, c in by_seed.items() if part in c["parts"]}

    def values(self, data_set: str, model: str, part: str, *path: str) -> pd.Series:
        """Return one figure by seed; seeds that lack it are left out."""
        values = {}
        for seed, value in self.part(data_set, model, part).items():
            for key in path:
                value = value.get(key) if isinstance(value, dict) else None
            if value is not None:
                values[seed] = value
        return pd.Series(values, dtype=float)

    def accuracy(self, data_set: str, model: str, column: str, features: str) -> pd.Series:
        """Return accuracies in %; for point posteriors a draw is the mean."""
        values = self.values(data_set, model, "robustness", features, column)
        mean = self.values(data_set, model, "robustness", "mean", column)
        return mean if values.empty else values

    def failed(self, data_set: str, model: str) -> list[int]:
        """Return the seeds whose training diverged."""
        by_seed = self.rows.get((data_set, model), {})
        return [seed for seed, content in by_seed.items() if "failed" in content["fit"]]


def cell_of(content: dict[str, Any]) -> Cell:
    """Return what a line of results is about."""
    return Cell(content["data set"], content["model"], content["seed"])


def append(path: Path, content: dict[str, Any]) -> None:
    """Add the line of a cell; whoever is killed on the way leaves at most a damaged line."""
    line = _line(content)
    with _locked(path), path.open("ab+") as file:
        if file.tell():
            file.seek(-1, os.SEEK_END)
            if file.read(1) != b"\n":  # the end of a damaged line
                line = b"\n" + line
        file.write(line)
        file.flush()
        os.fsync(file.fileno())


def tidy(path: Path) -> None:
    """Leave one line for each cell, in order, and no damaged ones."""
    with _locked(path):
        text = b"".join(map(_line, Results(path).cells.values()))
        if path.exists() and path.read_bytes() != text:
            part = path.with_suffix(".part")
            part.write_bytes(text)
            part.replace(path)


def _locked(path: Path) -> FileLock:
    path.parent.mkdir(parents=True, exist_ok=True)
    return FileLock(path.with_suffix(".lock"))


def _line(content: dict[str, Any]) -> bytes:
    return json.dumps(content, ensure_ascii=False).encode() + b"\n"


def _parsed(line: bytes) -> dict[str, Any] | None:
    """Return a cell, None for what is none."""
    try:
        content = json.loads(line)
    except ValueError:
        return None
    return content if isinstance(content, dict) and content.keys() >= _FIELDS else None
