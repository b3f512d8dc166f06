"""Lines of the documentation on the benchmark of few labels."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from markdown_lines import header
from numpy.typing import NDArray

__all__ = ["DRAWN", "LABELS", "page", "page_of_s4vm"]

LABELS = (20, 50, 100)
DRAWN = ("stratified", "at random")
OFF = "TransductiveSVC, C_unlabeled=0"
# Problems that the transductive machine was built for; means over tables leave them out.
BUILT_FOR = {"g241c", "g241d", "g50c", "two moons", "digits", "MNIST"}


def page(path: Path) -> list[str]:
    """Return the lines of the tables, without those on the machine."""
    cells: dict[tuple[str, int, str, str], dict[str, dict[str, float]]] = {}
    for key, cell in json.loads(path.read_text())["cells"].items():
        problem, n_labels, drawn, seed, model = key.split(" | ")
        cells.setdefault((problem, int(n_labels), drawn, model), {})[seed] = cell
    return [*_of_tables(cells), "", *_of_problems(cells)]


def _mean(cells: Any, key: tuple[str, int, str, str], what: str) -> float:
    """Return the mean of a figure over draws, NaN if a draw has none."""
    values = [cell.get(what, np.nan) for cell in cells.get(key, {}).values()]
    return float(np.mean(values)) if values else float("nan")


def _of_tables(cells: Any) -> list[str]:
    """Return the lines on means over tables, each less that of the machine with the term off."""
    names = sorted({key[0] for key in cells} - BUILT_FOR)
    models = list(dict.fromkeys(key[3] for key in cells))
    columns = [(n, drawn) for n in LABELS for drawn in DRAWN]
    lines = []
    for what, title in (("error", "error in %"), ("balanced", "balanced error in %")):
        lines += [header(title, [f"{n} labels, {drawn}" for n, drawn in columns])]
        for model in models:
            row = []
            for n, drawn in columns:
                mine = np.array([_mean(cells, (name, n, drawn, model), what) for name in names])
                off = np.array([_mean(cells, (name, n, drawn, OFF), what) for name in names])
                row.append(_difference(mine, off, model == OFF))
            lines.append(f"| {model} | {' | '.join(row)} |")
        lines.append("")
    return [*lines, f"Tables: {', '.join(names)}."]


def _difference(mine: NDArray[Any], off: NDArray[Any], alone: bool) -> str:
    """Return a mean over tables, the paired difference, its interval and the share that gains."""
    both = ~np.isnan(mine + off)
    if both.sum() < 2:
        return "–"
    mine, off = mine[both], off[both]
    if alone:
        return f"{mine.mean():.1f}"
    gap = mine - off
    width = 1.96 * gap.std(ddof=1) / np.sqrt(len(gap))
    return f"{mine.mean():.1f} ({gap.mean():+.1f} ± {width:.1f}, lower on {np.mean(gap < 0):.0%})"


def _of_problems(cells: Any) -> list[str]:
    """Return the lines of each problem: errors of the machines, and how often rows were used."""
    shown = ["SVC", OFF, "TransductiveSVC, safe=False", "TransductiveSVC"]
    lines = [
        header("error in %, labels stratified; at random", [*shown, "rows used", "− term off"])
    ]
    for problem, n in sorted({key[:2] for key in cells}):
        row = []
        for model in shown:
            pair = [_mean(cells, (problem, n, drawn, model), "error") for drawn in DRAWN]
            row.append("; ".join("–" if np.isnan(x) else f"{x:.1f}" for x in pair))
        used = [_mean(cells, (problem, n, drawn, "TransductiveSVC"), "used") for drawn in DRAWN]
        row.append("; ".join("–" if np.isnan(x) else f"{x:.0%}" for x in used))
        row.append("; ".join(_paired(cells, problem, n, drawn) for drawn in DRAWN))
        lines.append(f"| {problem}, {n} | {' | '.join(row)} |")
    return lines


def _paired(cells: Any, problem: str, n: int, drawn: str) -> str:
    """Return what the default's error is above that without unlabelled rows, ± 95 % over draws."""
    mine, off = (cells.get((problem, n, drawn, model), {}) for model in ("TransductiveSVC", OFF))
    gaps = [mine[seed]["error"] - off[seed]["error"] for seed in mine if seed in off]
    if len(gaps) < 2:
        return "–"
    return f"{np.mean(gaps):+.1f} ± {1.96 * np.std(gaps, ddof=1) / np.sqrt(len(gaps)):.1f}"


def page_of_s4vm(path: Path, few_labels: Path) -> list[str]:
    """Return the lines of the table on S4VM: counts, and errors less the supervised machine's."""
    ours = json.loads(few_labels.read_text())["cells"]
    cells: dict[int, list[dict[str, Any]]] = {n: [] for n in LABELS}
    for key, cell in json.loads(path.read_text())["cells"].items():
        name, n_labels, seed = key.split(" | ")
        default = ours[f"{name} | {n_labels} | stratified | {seed} | TransductiveSVC"]["error"]
        cells[int(n_labels)].append(cell | {"name": name, "TransductiveSVC": default})
    near = {"best": "near the truth: a candidate", "supervised": "the supervised machine"}
    gaps = {
        "best": "error − supervised: best candidate",
        "mean": "mean of candidates",
        "maximin 3 all": "S4VM's choice",
        "maximin 3 low": "of candidates of low density",
        "TransductiveSVC": "TransductiveSVC",
    }
    lines = [header("labels", [*near.values(), *gaps.values()])]
    for n, found in cells.items():
        counts = [f"{np.mean([each[key] <= 5.0 for each in found]):.0%}" for key in near]
        row = [*counts, *(_above_supervised(found, key) for key in gaps)]
        lines.append(f"| {n} | {' | '.join(row)} |")
    return lines


def _above_supervised(cells: list[dict[str, Any]], key: str) -> str:
    """Return a mean over tables, its interval, and how often it is more than a point above 0."""
    gaps = [cell[key] - cell["supervised"] for cell in cells]
    names = np.array([cell["name"] for cell in cells])
    means = [np.mean(np.array(gaps)[names == name]) for name in np.unique(names)]
    width = 1.96 * np.std(means, ddof=1) / np.sqrt(len(means))
    worse = np.mean(np.array(gaps) > 1.0)
    return f"{np.mean(means):+.1f} ± {width:.1f}, above 1 in {worse:.0%}"
