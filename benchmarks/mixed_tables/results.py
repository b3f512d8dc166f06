"""The file of results: finished cells are kept, and a run goes on where the last one ended."""

import json
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from filelock import FileLock

__all__ = ["Results", "read_cells"]

Cell = dict[str, Any]


class Results:
    """Cells by name, written to a file after each.

    Two runs may write one file at the same time.
    """

    def __init__(self, path: Path, description: dict[str, Any]) -> None:
        self.path = path
        self.description = description

    def forget(self, contenders: Iterable[str], failed: bool = False) -> None:
        """Remove the cells of contenders, and all that failed if so asked."""
        gone = tuple(f"| {name}" for name in contenders)

        def without(cells: dict[str, Cell]) -> dict[str, Cell]:
            return {
                key: cell
                for key, cell in cells.items()
                if not (key.endswith(gone) or (failed and "error" in cell))
            }

        if gone or failed:
            self._change(without)

    def has(self, key: str) -> bool:
        """Whether a cell is finished."""
        return key in read_cells(self.path)

    def add(self, key: str, cell: Cell) -> None:
        """Add a cell."""
        self._change(lambda cells: cells | {key: _rounded(cell)})

    def _change(self, change: Callable[[dict[str, Cell]], dict[str, Cell]]) -> None:
        """Replace the file by one with changed cells."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{self.path}.lock"):
            cells = change(read_cells(self.path))
            lines = [f"  {json.dumps(key)}: {json.dumps(cells[key])}" for key in sorted(cells)]
            head = "".join(
                f"{json.dumps(key)}: {json.dumps(value)},\n"
                for key, value in self.description.items()
            )
            new = self.path.with_suffix(".new")
            new.write_text(f'{{\n{head}"cells": {{\n' + ",\n".join(lines) + "\n}}\n")
            os.replace(new, self.path)


def read_cells(path: Path) -> dict[str, Cell]:
    """Return the cells of a file, none if there is no file."""
    return dict(json.loads(path.read_text())["cells"]) if path.exists() else {}


def _rounded(value: Any) -> Any:
    """Round all numbers to five significant digits."""
    if isinstance(value, dict):
        return {key: _rounded(each) for key, each in value.items()}
    return float(f"{value:.5g}") if isinstance(value, float) else value
