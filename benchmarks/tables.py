"""Write the tables of time and memory in the documentation from the results of benchmarks."""

import json
import statistics
from collections.abc import Iterable
from pathlib import Path
from typing import Any

__all__ = ["RESULTS", "header", "row", "write_tables"]

RESULTS = Path(__file__).parent / "results"
FOLDER = Path(__file__).parents[1] / "docs" / "_tables"


def header(first: str, names: Iterable[str]) -> str:
    """Return the head of a table of contenders."""
    names = list(names)
    return f"| {first} | {' | '.join(names)} |\n| --- |" + " --: |" * len(names)


def row(run: dict[str, Any], names: Iterable[str]) -> str:
    """Return a line: milliseconds a step, half the range, and how many times the bare loop's."""
    base = statistics.median(run["seconds"]["loop"])
    cells = []
    for name in names:
        taken = run["seconds"].get(name)
        if taken is None:
            cells.append("")
            continue
        middle = statistics.median(taken)
        spread = 50 * (max(taken) - min(taken)) / middle
        cells.append(f"{1e3 * middle / run['steps']:.3f} ±{spread:.0f} % ({middle / base:.2f}×)")
    return f"| {run['job']} | {' | '.join(cells)} |"


def write_tables() -> None:
    """Write what there are results for."""
    speed, resources, metrics = (
        RESULTS / f"{name}.json" for name in ("speed", "resources", "metrics")
    )
    if speed.exists():
        found = json.loads(speed.read_text())
        names = max((run["seconds"] for run in found["runs"]), key=len)
        limits = _limits()
        last = ["limit: products, memory"] if limits else []
        lines = [header("milliseconds a step", [*names, *last])]
        for run in found["runs"]:
            lines.append(row(run, names) + (f" {limits.get(run['job'], '')} |" if limits else ""))
        _write("speed.md", [*lines, "", _machine(found["measured on"])])
    if resources.exists():
        _write("resources.md", _resources(json.loads(resources.read_text())))
    if metrics.exists():
        _write("metrics.md", _metrics(json.loads(metrics.read_text())))


def _limits() -> dict[str, str]:
    """Return by job the shares of skvim's time that products and memory traffic must take."""
    path = RESULTS / "limits.json"
    runs = json.loads(path.read_text())["runs"] if path.exists() else []
    return {
        run["job"]: f"{run['shares']['arithmetic']:.0%}, {run['shares']['traffic']:.0%}"
        for run in runs
    }


def _resources(found: dict[str, Any]) -> list[str]:
    """Return the lines of the table of searches, imports, use and memory."""
    lines = ["| what | time, in units of the first |", "| --- | --- |"]
    parts = [found[part] for part in ("searches", "imports", "use") if part in found]
    races = [run for part in parts for run in part["runs"]]
    for run in races:
        ratios = ", ".join(f"{name} {ratio:.2f}" for name, ratio in run["ratios"].items())
        lines.append(f"| {run['what']} | {ratios} |")
    lines += ["", "| memory at the peak | beyond X and the output, MiB |", "| --- | --- |"]
    for run in found.get("memory", {"runs": []})["runs"]:
        size, beyond = run["X bytes"] / 2**20, run["bytes beyond"] / 2**20
        lines.append(f"| `{run['method']}`, X of {size:.0f} MiB | {beyond:.0f} |")
    return [*lines, "", _machine(next(iter(found.values()))["measured on"])]


def _metrics(found: dict[str, Any]) -> list[str]:
    """Return the lines of the table of measures."""
    runs = found["runs"]
    widths = sorted({run["features"] for run in runs})
    names = [f"{what}, {width} features" for width in widths for what in ("seconds", "MiB")]
    cells: dict[str, list[str]] = {}
    for run in sorted(runs, key=lambda run: run["features"]):
        seconds, memory = statistics.median(run["seconds"]), max(run["bytes"]) / 2**20
        cells.setdefault(run["measure"], []).extend((f"{seconds:.1f}", f"{memory:.0f}"))
    lines = [f"| `{name}` | {' | '.join(figures)} |" for name, figures in cells.items()]
    n_rows, n_processes = runs[0]["rows"], len(runs[0]["seconds"])
    of = f"{n_rows:,} rows in float32, processes for each figure: {n_processes}."
    threads = f"Threads: {found['measured on']['threads']}."
    if found["load"]:
        threads += f" Load of the machine at the end: {found['load'][0]:.1f}."
    lines += ["", of, _machine(found["measured on"]), threads]
    return [header("measure", names), *lines]


def _machine(measured_on: dict[str, Any]) -> str:
    """Say where and when."""
    versions = ", ".join(f"{name} {measured_on[name]}" for name in ("skvim", "torch", "sklearn"))
    return (
        f"{measured_on['date']}, {versions}, Python {measured_on['python']}, "
        f"{measured_on['machine']}, {measured_on['cores']} cores."
    )


def _write(name: str, lines: list[str]) -> None:
    """Write a table."""
    (FOLDER / name).write_text("\n".join([*lines, ""]), encoding="utf-8")


if __name__ == "__main__":
    write_tables()
