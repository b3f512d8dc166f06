"""Means over tables, paired differences and ranks, from the file of results."""

import copy
import json
import math
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from scipy.stats import rankdata, t

__all__ = ["Scores", "difference", "mean_ranks"]

# By contender, and table and split, the scores of a cell.
Cells = dict[str, dict[tuple[str, int], dict[str, Any]]]


class Scores:
    """Finished cells of one part of the benchmark."""

    def __init__(self, path: Path, part: str) -> None:
        self.cells: Cells = {}
        self.failed: dict[str, dict[str, str]] = {}
        for key, cell in json.loads(path.read_text())["cells"].items():
            of_part, table, number, contender = key.split(" | ")
            if of_part != part:
                continue
            if "error" in cell:
                self.failed.setdefault(contender, {})[table] = cell["error"]
                continue
            of_contender = self.cells.setdefault(contender, {})
            of_contender[table, int(number)] = cell["scores"] | {"seconds": cell["seconds"]}

    def only(self, tables: Sequence[str]) -> "Scores":
        """Return the cells of some tables."""
        found = copy.copy(self)
        found.cells = {
            contender: {key: cell for key, cell in cells.items() if key[0] in tables}
            for contender, cells in self.cells.items()
        }
        return found

    @property
    def tables(self) -> list[str]:
        """Names of all tables."""
        return sorted({table for cells in self.cells.values() for table, _ in cells})

    @property
    def complete(self) -> list[str]:
        """Contenders with results for all tables."""
        wanted = set(self.tables)
        return [name for name, cells in self.cells.items() if {key[0] for key in cells} == wanted]

    def by_table(self, contender: str, score: str) -> dict[str, float]:
        """Return means over splits, for the tables that have the score."""
        return _by_table(
            {key: cell[score] for key, cell in self.cells[contender].items() if score in cell}
        )

    def mean(self, contender: str, score: str) -> float:
        """Return the mean over tables, NaN if no table has the score."""
        means = self.by_table(contender, score).values()
        return statistics.mean(means) if means else math.nan


def difference(
    scores: Scores, contender: str, score: str, bases: list[str]
) -> tuple[float, float, int, int]:
    """Return the mean difference from the best of some contenders in each table.

    And half of its 95 % interval over tables, the number of tables where it is positive, and the
    number of tables. Only splits that all have count.
    """
    of, others = scores.cells[contender], [scores.cells[base] for base in bases]
    shared = [k for k in of if score in of[k] and all(k in other for other in others)]
    mine = _by_table({key: of[key][score] for key in shared})
    theirs = [_by_table({key: other[key][score] for key in shared}) for other in others]
    found = [value - max(each[table] for each in theirs) for table, value in mine.items()]
    if len(found) < 2:
        return math.nan, math.nan, 0, len(found)
    half = t.ppf(0.975, len(found) - 1) * statistics.stdev(found) / math.sqrt(len(found))
    return statistics.mean(found), float(half), sum(x > 0 for x in found), len(found)


def mean_ranks(scores: Scores, is_error: Callable[[str], bool]) -> dict[str, float]:
    """Return mean ranks, 1 for the best, over tables and scores of contenders with all tables."""
    names = scores.complete
    ranks: dict[str, list[float]] = {name: [] for name in names}
    measures = dict.fromkeys(s for n in names for c in scores.cells[n].values() for s in c)
    for measure in (m for m in measures if m != "seconds"):
        sign = 1 if is_error(measure) else -1
        for table in scores.tables:
            keys = [
                key
                for key, cell in scores.cells[names[0]].items()
                if key[0] == table and measure in cell
            ]
            shared = [k for k in keys if all(k in scores.cells[name] for name in names)]
            if not shared:
                continue
            means = [
                sign * statistics.mean(scores.cells[name][k][measure] for k in shared)
                for name in names
            ]
            for name, rank in zip(names, rankdata(means), strict=True):
                ranks[name].append(float(rank))
    return {name: statistics.mean(of) for name, of in ranks.items() if of}


def _by_table(values: dict[tuple[str, int], float]) -> dict[str, float]:
    """Return means over splits."""
    found: dict[str, list[float]] = {}
    for (table, _), value in values.items():
        found.setdefault(table, []).append(value)
    return {table: statistics.mean(of) for table, of in found.items()}
