"""What the files of results say, over seeds."""

import csv
import json
import math
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, final

import numpy as np
from keys import fingerprint
from scipy import stats
from store import Store

__all__ = ["Interval", "Results", "difference", "interval", "write_csv"]

BySeed = dict[int, float]
_ROUNDING = 1e-9


class Interval(NamedTuple):
    """A mean over seeds with its interval of 95 % by Student's t; infinite where nothing varies."""

    mean: float
    low: float
    high: float
    n_seeds: int


def interval(values: BySeed) -> Interval:
    """Return mean and interval.

    Accuracies are counts of rows: two seeds may agree by chance to the last digit, and that says
    nothing about the spread of others.
    """
    numbers = np.array(list(values.values()), dtype=float)
    mean, n_seeds = float(numbers.mean()), len(numbers)
    if n_seeds < 2 or np.ptp(numbers) < _ROUNDING * max(1.0, abs(mean)):
        return Interval(mean, -math.inf, math.inf, n_seeds)
    half = float(stats.t.ppf(0.975, n_seeds - 1) * numbers.std(ddof=1) / math.sqrt(n_seeds))
    return Interval(mean, mean - half, mean + half, n_seeds)


def difference(first: BySeed, second: BySeed | float) -> BySeed:
    """Return first − second seed by seed, for the seeds that both have."""
    if not isinstance(second, Mapping):
        return {seed: value - second for seed, value in first.items()}
    return {seed: first[seed] - second[seed] for seed in first if seed in second}


@final
class Results:
    """The cells of one folder.

    Parameters
    ----------
    folder : Path
        Where a run wrote them.
    """

    def __init__(self, folder: Path) -> None:
        self.cells: dict[tuple[str, str], dict[int, dict[str, Any]]] = defaultdict(dict)
        for content in Store(folder, folder).cells():
            self.cells[content["data set"], content["model"]][content["seed"]] = content

    def __bool__(self) -> bool:
        """Tell whether there is anything."""
        return bool(self.cells)

    def part(self, data_set: str, model: str, part: str) -> dict[int, dict[str, Any]]:
        """Return what was measured, by seed."""
        found = self.cells.get((data_set, model), {})
        return {
            seed: content["parts"][part]["values"]
            for seed, content in sorted(found.items())
            if part in content["parts"]
        }

    def values(self, data_set: str, model: str, part: str, *path: str) -> BySeed:
        """Return one figure by seed; seeds that lack it are left out."""
        values = {}
        for seed, value in self.part(data_set, model, part).items():
            for key in path:
                value = value.get(key) if isinstance(value, dict) else None
            if value is not None:
                values[seed] = float(value)
        return values

    def accuracy(self, data_set: str, model: str, column: str, features: str) -> BySeed:
        """Return accuracies; for point posteriors a draw is the mean."""
        found = self.values(data_set, model, "robustness", features, column)
        return found or self.values(data_set, model, "robustness", "mean", column)

    def failed(self, data_set: str, model: str) -> list[int]:
        """Return the seeds whose training diverged."""
        found = self.cells.get((data_set, model), {})
        return [seed for seed, content in found.items() if "failed" in (content["fit"] or {})]

    def sources(self, data_set: str) -> set[str]:
        """Return where the rows came from."""
        return {
            content["settings"]["source"]
            for (name, _), by_seed in self.cells.items()
            for content in by_seed.values()
            if name == data_set
        }

    def validated(self) -> bool:
        """Tell whether rows held out of the training set stand for test rows."""
        cells = (content for by_seed in self.cells.values() for content in by_seed.values())
        return any(content["settings"].get("validation") for content in cells)

    def mixed(self) -> list[str]:
        """Return rows whose seeds were not run under the same settings."""
        found = []
        for (data_set, model), by_seed in self.cells.items():
            if len({_without_seed(content["settings"]) for content in by_seed.values()}) > 1:
                found.append(f"{data_set} {model}")
        return found


def _without_seed(settings: dict[str, Any]) -> str:
    """Return a hash of settings in which no seed counts."""
    text = json.dumps(settings, sort_keys=True)
    seed = settings["seed"]
    text = text.replace(f'"random_state": {seed}', "").replace(f'"seed": {seed}', "")
    return fingerprint(text)


def write_csv(results: Results, path: Path) -> None:
    """Write every figure with mean, standard deviation, seeds, seconds, versions and machine."""
    names = ("data set", "model", "part", "quantity", "mean", "standard deviation", "seeds")
    more = ("seconds", "date", "machine", "cores", "gpu", "python", "torch", "sklearn", "skvim")
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([*names, *more])
        for line in _lines(results):
            writer.writerow([line.get(name, "") for name in (*names, *more)])


def _lines(results: Results) -> Iterator[dict[str, Any]]:
    """Yield what the lines of the CSV file hold."""
    for (data_set, model), by_seed in sorted(results.cells.items()):
        figures: dict[tuple[str, str], BySeed] = defaultdict(dict)
        for seed, content in sorted(by_seed.items()):
            for part, found in content["parts"].items():
                for quantity, value in _flat(found["values"]):
                    figures[part, quantity][seed] = value
        for (part, quantity), values in figures.items():
            found = [by_seed[seed]["parts"][part] for seed in values]
            numbers = list(values.values())
            yield {
                "data set": data_set,
                "model": model,
                "part": part,
                "quantity": quantity,
                "mean": f"{np.mean(numbers):.6g}",
                "standard deviation": f"{np.std(numbers, ddof=1):.3g}" if len(numbers) > 1 else "",
                "seeds": " ".join(map(str, values)),
                "seconds": f"{np.mean([f['seconds'] for f in found]):.3g}",
                **found[-1]["measured on"],
            }


def _flat(values: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, float]]:
    """Yield the numbers of nested figures by their path."""
    for name, value in values.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}: ")
        elif isinstance(value, (int, float)):
            yield f"{prefix}{name}", float(value)
