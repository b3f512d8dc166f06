"""Tables of the documentation, from the file of results."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from markdown_lines import header, line

from mixed_tables.corrupt import CONDITIONS, MECHANISMS
from mixed_tables.learners import CLASSIFIERS
from mixed_tables.summary import Scores, difference, mean_ranks

__all__ = ["measured_on", "pages"]

_LABELS = ("50", "all")
_FILLER = "KNNImputer"
# Tables with one category at most.
_NUMERIC = ("abalone", "auto-mpg", "phoneme", "winequality-white")


def features(path: Path) -> list[str]:
    """Return accuracies by classifier, under noise and by table, and R²."""
    scores = Scores(path, "features")
    if not scores.cells:
        return []
    lines = []
    for title, conditions, classifiers in (
        ("accuracy in %", ["as they are"], list(CLASSIFIERS)),
        ("logistic regression", list(CONDITIONS)[1:], ["logistic regression"]),
    ):
        names = [
            (f"{n} labels, {c if len(classifiers) > 1 else how}", f"{n}, {c}, {how}")
            for n in _LABELS
            for how in conditions
            for c in classifiers
        ]
        lines += [header(title, [name for name, _ in names])]
        for contender in scores.cells:
            cells = [_against(scores, contender, score, ["raw"]) for _, score in names]
            lines.append(line(contender, cells))
        lines.append("")
    lines += _better(scores)
    lines += [header("R² of numeric targets", [f"{n} labels" for n in _LABELS])]
    for contender in scores.cells:
        cells = [f"{scores.mean(contender, f'{n}, R², as they are'):.3f}" for n in _LABELS]
        lines.append(line(contender, cells))
    score = "50, logistic regression, as they are"
    lines += ["", *_per_table(scores, "50 labels, logistic regression", score, 100, 1)]
    return [*lines, "", "In brackets the difference from raw, with its 95 % interval over tables."]


def _better(scores: Scores) -> list[str]:
    """Return differences from the better of raw and PCA in each table, by logistic regression."""
    if not {"raw", "PCA"} <= set(scores.cells):
        return []
    lines = [header("points over the better of raw and PCA", [f"{n} labels" for n in _LABELS])]
    for contender in scores.cells:
        cells = []
        for n_labels in _LABELS:
            score = f"{n_labels}, logistic regression, as they are"
            cells.append(_points(scores, contender, score, ["raw", "PCA"]))
        lines.append(line(contender, cells))
    return [*lines, ""]


def few(path: Path) -> list[str]:
    """Return accuracies with few labels, and differences from raw, and from raw or PCA."""
    scores = Scores(path, "few")
    if not scores.cells:
        return []
    bases = {"− raw": ["raw"], "− better of raw and PCA": ["raw", "PCA"]}
    lines = [header("50 labels, logistic regression", ["accuracy in %", *bases, "tables × splits"])]
    for contender in scores.cells:
        cells = [f"{100 * scores.mean(contender, 'accuracy'):.1f}"]
        cells += [_points(scores, contender, "accuracy", names) for names in bases.values()]
        lines.append(line(contender, [*cells, _n_tables(scores, contender)]))
    score = "accuracy"
    return [*lines, "", *_per_table(scores, "accuracy in %", score, 100, 1), *_failures(scores)]


def filling(path: Path) -> list[str]:
    """Return errors by mechanism, and mean ranks."""
    scores = Scores(path, "filling")
    if not scores.cells:
        return []
    ranks = mean_ranks(scores, lambda measure: measure.endswith("RMSE"))
    measures = [(m, what) for what in ("RMSE", "accuracy") for m in MECHANISMS]
    names = ["mean rank", *(f"{what}, {m}" for m, what in measures)]
    names += [f"RMSE, at random, − {_FILLER}", "seconds", "tables × splits"]
    lines = [header("20 % of cells filled", names)]
    for contender in sorted(scores.cells, key=lambda name: ranks.get(name, math.inf)):
        cells = [f"{ranks[contender]:.1f}" if contender in ranks else "–"]
        cells += [f"{scores.mean(contender, f'{m}, {what}'):.3f}" for m, what in measures]
        cells += [_beside(scores, contender, "at random, RMSE", _FILLER)]
        cells += [_seconds(scores, contender), _n_tables(scores, contender)]
        lines.append(line(contender, cells))
    score = "at random, RMSE"
    return [*lines, "", *_per_table(scores, "RMSE, at random", score, 1, 3), *_failures(scores)]


def drawing(path: Path) -> list[str]:
    """Return what drawn rows are worth, and the area under the curve by table."""
    scores = Scores(path, "drawing")
    if not scores.cells:
        return []
    measures = {
        "AUC": "two-sample AUC",
        "column shapes": "column shapes",
        "pair trends": "pair trends",
        "accuracy": "accuracy of boosting",
        "near copies": "near copies",
        "near copies among test rows": "among test rows",
        "nearer to training rows": "nearer to training rows",
    }
    base = "mixture of 10 gaussians"
    kinds = {"numeric": _NUMERIC, "mixed": [t for t in scores.tables if t not in _NUMERIC]}
    names = [*measures.values(), *(f"AUC − {base}, {kind}" for kind in kinds)]
    lines = [header("drawing", [*names, "seconds", "tables × splits"])]
    for contender in sorted(scores.cells, key=lambda name: scores.mean(name, "AUC")):
        cells = [f"{scores.mean(contender, measure):.3f}" for measure in measures]
        for tables in kinds.values():
            cells.append(_beside(scores.only(tables), contender, "AUC", base))
        cells += [_seconds(scores, contender), _n_tables(scores, contender)]
        lines.append(line(contender, cells))
    of_tables = _per_table(scores, "two-sample AUC", "AUC", 1, 3)
    return [*lines, "", *of_tables, *_failures(scores)]


def odd(path: Path) -> list[str]:
    """Return how well odd rows are told, and the area under the curve by table."""
    scores = Scores(path, "odd")
    if not scores.cells:
        return []
    measures = ("AUC", "average precision", "seconds per 1,000 rows")
    best = max(scores.cells, key=lambda name: scores.mean(name, "AUC"))
    lines = [header("odd rows", [*measures, f"AUC − {best}"])]
    for contender in sorted(scores.cells, key=lambda name: -scores.mean(name, "AUC")):
        cells = [f"{scores.mean(contender, m):.3f}" for m in measures]
        lines.append(line(contender, [*cells, _beside(scores, contender, "AUC", best)]))
    return [*lines, "", *_per_table(scores, "AUC", "AUC", 1, 3), *_failures(scores)]


_PAGES: dict[str, Callable[[Path], list[str]]] = {
    "features": features,
    "few": few,
    "filling": filling,
    "drawing": drawing,
    "odd": odd,
}


def pages(path: Path) -> dict[str, list[str]]:
    """Return by part the lines of its tables, for parts with results."""
    found = {part: page(path) for part, page in _PAGES.items()} if path.exists() else {}
    return {part: lines for part, lines in found.items() if lines}


def measured_on(path: Path) -> dict[str, Any]:
    """Return the machine and the versions of a file of results."""
    return dict(json.loads(path.read_text())["measured on"])


def _against(scores: Scores, contender: str, score: str, bases: list[str]) -> str:
    """Format a mean in %, and its difference from others with its interval."""
    mean = f"{100 * scores.mean(contender, score):.1f}"
    if contender in bases or not set(bases) <= set(scores.cells):
        return mean
    middle, half, _, _ = difference(scores, contender, score, bases)
    return f"{mean} ({100 * middle:+.1f} ± {100 * half:.1f})"


def _points(scores: Scores, contender: str, score: str, bases: list[str]) -> str:
    """Format the difference in points from the best of others in each table."""
    if bases == [contender] or not set(bases) <= set(scores.cells):
        return ""
    mean, half, better, n = difference(scores, contender, score, bases)
    return f"{100 * mean:+.1f} ± {100 * half:.1f}, better on {better} of {n}"


def _beside(scores: Scores, contender: str, score: str, base: str) -> str:
    """Format the difference from another contender with its interval."""
    if contender == base or not {contender, base} <= set(scores.cells):
        return ""
    mean, half, _, n = difference(scores, contender, score, [base])
    return f"{mean:+.3f} ± {half:.3f}" if n > 1 else "–"


def _per_table(scores: Scores, title: str, score: str, unit: float, digits: int) -> list[str]:
    """Return a table with a line for each table of the benchmark."""
    names = list(scores.cells)
    means = {name: scores.by_table(name, score) for name in names}
    lines = [header(title, names)]
    for table in scores.tables:
        figures = [means[name].get(table) for name in names]
        if any(figure is not None for figure in figures):
            cells = ["–" if x is None else f"{unit * x:.{digits}f}" for x in figures]
            lines.append(line(table, cells))
    return lines


def _failures(scores: Scores) -> list[str]:
    """Return a line for each contender that failed."""
    return [
        text
        for contender, errors in scores.failed.items()
        for text in ("", f"{contender} failed on {', '.join(sorted(errors))}.")
    ]


def _seconds(scores: Scores, contender: str) -> str:
    """Format the mean over tables of the seconds."""
    return f"{scores.mean(contender, 'seconds'):.1f}"


def _n_tables(scores: Scores, contender: str) -> str:
    """Format the number of tables, and of splits at most."""
    cells = scores.cells[contender]
    n_tables, n_splits = (len({key[place] for key in cells}) for place in (0, 1))
    return f"{n_tables} × {n_splits}"
