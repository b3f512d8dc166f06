"""Write the documentation's tables of time and memory from the results of the benchmarks."""

import json
import statistics
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from few_labels_page import page, page_of_s4vm
from markdown_lines import header
from mixed_tables.pages import measured_on, pages

__all__ = ["LEAN", "LOOP", "RESULTS", "row", "short_row", "write_tables"]

RESULTS = Path(__file__).parent / "results"
FOLDER = Path(__file__).parents[1] / "docs" / "_tables"
# The first columns of the tables of trainings; ratios are to the first.
LEAN, LOOP = "lean loop", "loop, skvim's modules"
_COLUMNS = (LEAN, LOOP, "skorch", "pythae", "jax", "skvim, plain steps", "skvim")


def row(run: dict[str, Any], names: Iterable[str]) -> str:
    """Return a line: milliseconds per step, half of the range, and the ratio to the lean loop."""
    cells = [_cell(run["seconds"], name, run["steps"]) for name in names]
    return f"| {run['job']} | {' | '.join(cells)} |"


def short_row(run: dict[str, Any]) -> str:
    """Return a line: milliseconds of a fit, cold and warm, with the ratio to the lean loop."""
    cells = [_cell(run[kind], name) for kind in ("cold", "warm") for name in (LEAN, "skvim")]
    return f"| {run['job']}, {run['steps']:,} steps | {' | '.join(cells)} |"


def _cell(seconds: dict[str, list[float]], name: str, steps: int = 1) -> str:
    """Format the milliseconds of a step; "" for a contender that was not timed."""
    if name not in seconds:
        return ""
    middle = statistics.median(seconds[name])
    spread = 50 * (max(seconds[name]) - min(seconds[name])) / middle
    ratio = f" ({middle / statistics.median(seconds[LEAN]):.2f}×)" if LEAN in seconds else ""
    return f"{1e3 * middle / steps:.{3 if steps > 1 else 1}f} ±{spread:.0f} %{ratio}"


def write_tables() -> None:
    """Write the tables of all benchmarks that have results."""
    speed = RESULTS / "speed.json"
    if speed.exists():
        _write("speed.md", _speed(json.loads(speed.read_text())))
    parts = {
        "resources": _resources,
        "metrics": _metrics,
        "transductive": _transductive,
        "paths": _paths,
        "scores": _scores,
    }
    for part, table in parts.items():
        path = RESULTS / f"{part}.json"
        if path.exists():
            _write(f"{part}.md", table(json.loads(path.read_text())))
    few = RESULTS / "few_labels.json"
    if few.exists():
        measured = json.loads(few.read_text())["measured on"]
        _write("few_labels.md", [*page(few), "", _machine(measured)])
    s4vm = RESULTS / "s4vm.json"
    if few.exists() and s4vm.exists():
        measured = json.loads(s4vm.read_text())["measured on"]
        _write("s4vm.md", [*page_of_s4vm(s4vm, few), "", _machine(measured)])
    mixed = RESULTS / "tables.json"
    for part, lines in pages(mixed).items():
        _write(f"mixed_{part}.md", [*lines, "", _machine(measured_on(mixed))])


def _speed(found: dict[str, Any]) -> list[str]:
    """Return the lines of the tables of long and short trainings."""
    timed = {name for run in found["runs"] for name in run["seconds"]}
    names = [name for name in _COLUMNS if name in timed]
    compiled = [run.get("seconds to compile", {}).get("jax") for run in found["runs"]]
    limits = _limits()
    last = [
        *(["jax compiles, s"] if any(compiled) else []),
        *(["limit: products, memory"] * bool(limits)),
    ]
    lines = [header("milliseconds a step", [*names, *last])]
    for run, seconds in zip(found["runs"], compiled, strict=True):
        cells = [f"{statistics.median(seconds):.1f}" if seconds else ""] * any(compiled)
        cells += [limits.get(run["job"], "")] * bool(limits)
        lines.append(" ".join([row(run, names), *(f"{cell} |" for cell in cells)]))
    absent = [name for name in _COLUMNS if name not in timed]
    if absent:
        lines += ["", f"Not measured: {', '.join(absent)}."]
    lines += ["", _machine(found["measured on"])]
    path = RESULTS / "short_fits.json"
    return [*lines, "", *_short_fits(json.loads(path.read_text()))] if path.exists() else lines


def _short_fits(found: dict[str, Any]) -> list[str]:
    """Return the lines of the table of short trainings."""
    kinds = [f"{kind}: {name}" for kind in ("cold", "warm") for name in (LEAN, "skvim")]
    lines = [header("milliseconds a fit", kinds), *map(short_row, found["runs"])]
    return [*lines, "", _machine(found["measured on"])]


def _limits() -> dict[str, str]:
    """Return by job the lower bounds of products and memory traffic, as shares of skvim's time."""
    path = RESULTS / "limits.json"
    runs = json.loads(path.read_text())["runs"] if path.exists() else []
    return {
        run["job"]: f"{run['shares']['arithmetic']:.0%}, {run['shares']['traffic']:.0%}"
        for run in runs
    }


def _resources(found: dict[str, Any]) -> list[str]:
    """Return the lines of the table of searches, imports, inference and memory."""
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
    """Return the lines of the table of metrics."""
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


def _transductive(found: dict[str, Any]) -> list[str]:
    """Return the lines of the tables of the transductive SVM, one for each part."""
    parts = {
        "published": _published,
        "elsewhere": _elsewhere,
        "mnist": _mnist,
        "scale": _scale,
        "optimum": _optimum,
    }
    lines = []
    for name, table in parts.items():
        if name in found and found[name]["runs"]:
            lines += [*table(found[name]["runs"]), "", _machine(found[name]["measured on"]), ""]
    return lines[:-1]


def _published(runs: list[dict[str, Any]]) -> list[str]:
    """Return errors with C chosen on the labels, with the best C, and as published."""
    cells: dict[str, list[list[str]]] = {}
    for run in runs:
        by = [
            [run["errors"][str(C)][draw] for draw, C in enumerate(run[choice])]
            for choice in ("chosen", "chosen by loss")
        ]
        best = min(run["errors"].values(), key=statistics.mean)
        cells.setdefault(run["problem"], []).append([_percent(of) for of in (*by, best)])
    known = {run["problem"]: run["published"] for run in runs}
    models = list(dict.fromkeys(run["model"] for run in runs))
    choices = ("C by accuracy", "C by loss", "best C")
    names = [f"{model}, {choice}" for choice in choices for model in models]
    lines = [header("error in %: data, labels", [*names, "published"])]
    for problem, of in cells.items():
        figures = [each[choice] for choice in range(3) for each in of]
        lines.append(f"| {problem} | {' | '.join(figures)} | {known[problem] or ''} |")
    return [*lines, "", f"Mean ± standard error of {len(runs[0]['chosen'])} draws."]


def _elsewhere(runs: list[dict[str, Any]]) -> list[str]:
    """Return errors of LAMDA-SSL's TSVM with the best C, and seconds of a fit."""
    by_problem: dict[str, list[dict[float, tuple[float, float]]]] = {}
    for run in runs:
        fits = {C: (error, seconds) for C, error, seconds in run["fits"]}
        by_problem.setdefault(run["problem"], []).append(fits)
    names = ["draws", "error in %, best C", "seconds a fit"]
    lines = [header("LAMDA-SSL's TSVM: data, labels", names)]
    for problem, draws in by_problem.items():
        shared = set.intersection(*map(set, draws))
        if not shared:
            lines.append(f"| {problem} | {len(draws)} | no fit ended within 300 s | |")
            continue
        errors = {C: [fits[C][0] for fits in draws] for C in sorted(shared)}
        best = min(errors.values(), key=statistics.mean)
        seconds = statistics.median(fits[C][1] for fits in draws for C in shared)
        lines.append(f"| {problem} | {len(draws)} | {_percent(best)} | {seconds:.1f} |")
    return lines


def _paths(found: dict[str, Any]) -> list[str]:
    """Return the lines of the table of searches over λ."""
    runs = found["runs"]
    names = list(runs[0]["seconds"])
    lines = [header("seconds: network, values of λ, epochs", [*names, "against n_jobs=2"])]
    for run in runs:
        medians = [statistics.median(run["seconds"][name]) for name in names]
        figures = [f"{middle:.2f}" for middle in medians]
        figures.append(f"{medians[-1] / medians[0]:.1f}×")
        lines.append(
            f"| {run['network']}, {run['values']}, {run['epochs']} | {' | '.join(figures)} |"
        )
    turns = min(len(run["seconds"][names[0]]) for run in runs)
    of = f"{found['rows']:,} rows, {runs[0]['folds']} folds; medians of {turns} turns or more."
    return [*lines, "", of, _machine(found["measured on"])]


def _scores(found: dict[str, Any]) -> list[str]:
    """Return the lines of the table of log-likelihoods of rows."""
    names = ["seconds per 1,000 rows", "root mean square error", "bias", "stated error, median"]
    shares = ["within 95 % intervals", "rows with half the draws effective", "of these within"]
    lines = [header("8 codes: model, draws", [*names, *shares])]
    for run in found["runs"]:
        nats = " | ".join(f"{run[key]:.3f}" for key in ("rmse", "bias", "stated"))
        parts = [f"{run[key]:.0%}" for key in ("covered", "fit", "covered fit")]
        share = " | ".join("" if part == "nan%" else part for part in parts)
        lines.append(
            f"| {run['model']}, {run['draws']} | {run['seconds']:.2f} | {nats} | {share} |"
        )
    of = f"{found['rows']} rows, 10 seeds; long runs of {found['long']:,} draws."
    return [*lines, "", of, _machine(found["measured on"])]


def _percent(errors: list[float]) -> str:
    """Format the mean, and for several errors the standard error, in %."""
    mean = f"{100 * statistics.mean(errors):.1f}"
    if len(errors) == 1:
        return mean
    return f"{mean} ± {100 * statistics.stdev(errors) / len(errors) ** 0.5:.1f}"


def _mnist(runs: list[dict[str, Any]]) -> list[str]:
    """Return errors on the test rows."""
    models = list(dict.fromkeys(run["model"] for run in runs))
    cells: dict[str, dict[str, list[dict[str, Any]]]] = {}
    for run in runs:
        of = cells.setdefault(f"{run['codes']}, {run['labels']:,}", {})
        of.setdefault(run["model"], []).append(run)
    lines = [header("error in %: MNIST's codes, labels", models)]
    for name, by_model in cells.items():
        figures = [_percent([run["error"] for run in by_model[model]]) for model in models]
        lines.append(f"| {name} | {' | '.join(figures)} |")
    return [*lines, "", f"Draws: {len({run['seed'] for run in runs})}."]


def _scale(runs: list[dict[str, Any]]) -> list[str]:
    """Return time, memory and accuracy of fits."""
    names = ["seconds", "MiB beyond X", "accuracy in %", "of SVC", "seconds with safe=True"]
    lines = [header("features, unlabelled rows", names)]
    for run in runs:
        memory, accuracies = run["bytes beyond"] / 2**20, (run["accuracy"], run["accuracy of SVC"])
        figures = [
            f"{run['seconds']:.1f}",
            f"{memory:.0f}",
            *(f"{100 * a:.1f}" for a in accuracies),
            f"{run['seconds, safe']:.1f}",
        ]
        lines.append(f"| {run['features']}, {run['unlabelled']:,} | {' | '.join(figures)} |")
    return lines


def _optimum(runs: list[dict[str, Any]]) -> list[str]:
    """Return how often, and how far, the objective J is above its global minimum."""
    lines = [header("J above the optimum, in %", ["instances within 1 %", "median", "largest"])]
    for run in runs:
        gaps = run["gaps"]
        near = sum(gap <= 0.01 for gap in gaps) / len(gaps)
        middle = abs(100 * statistics.median(gaps))  # rounding may put it below zero
        figures = f"{near:.0%} | {middle:.1f} | {100 * max(gaps):.1f}"
        lines.append(f"| {run['solver']}, C={run['C']:g}, shares {run['shares']} | {figures} |")
    return [*lines, "", f"Instances: {len(runs[0]['gaps'])}."]


def _machine(measured_on: dict[str, Any]) -> str:
    """Format date, versions and machine."""
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
