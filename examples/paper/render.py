"""Tables in Markdown and LaTeX, from files of results."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from keys import describe, fingerprint
from measures import PARTS, parts_of, settings_of
from plan import TABLE_PARTS, rows_of
from published import cell
from results import BySeed, Results, difference, write_csv
from settings import DATA_SETS, MODELS, PRESETS, TABULAR, VARIANTS, build, models_of

__all__ = ["NOT_RUN", "UNDEFINED", "Table", "latex", "markdown", "tables_of", "write_tables"]

NOT_RUN = "not run"
UNDEFINED = "–"
_NARROW = 4  # columns that fit on a page as they are
_NUMERALS = {"1": "I", "2": "II", "3": "III", "4": "IV", "5": "V"}
_LATEX = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "_": r"\_",
    "#": r"\#",
    "±": r"$\pm$",
    "−": "$-$",
    "–": "--",
    "…": r"\ldots{}",
    "·": r"$\cdot$",
    "~": r"$\sim$",
    "|": r"$\mid$",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "<": r"$<$",
    ">": r"$>$",
    "^": r"\textasciicircum{}",
    "ν": r"$\nu$",
    "β": r"$\beta$",
    "λ": r"$\lambda$",
    "π": r"$\pi$",
    "²": r"$^2$",
    "‖": r"$\Vert$",
}


class Table(NamedTuple):
    """Cells as text; a row that has none is the heading of those below it."""

    title: str
    columns: Sequence[str]
    rows: Sequence[tuple[str, Sequence[str]]]
    notes: Sequence[str] = ()
    first: str = "model"
    prose: bool = False  # cells hold sentences


def over_seeds(values: BySeed, printed: float | None = None, digits: int = 1) -> str:
    """Return mean and standard deviation over seeds, and in brackets what the paper prints."""
    if not values:
        return NOT_RUN
    numbers = list(values.values())
    text = f"{np.mean(numbers):.{digits}f}"
    if len(numbers) > 1:
        text += f" ± {np.std(numbers, ddof=1):.{digits}f}"
    return text if printed is None else f"{text} [{printed:g}]"


def tables_of(results: Results, table: str) -> list[Table]:
    """Return a table of the paper in one or more parts."""
    if table == "1":
        return [generation(results)]
    if table == "2":
        return [reconstruction(results)]
    if table == "ablation":
        return [ablation(results)]
    names = TABULAR if table == "tabular" else tuple(TABLE_PARTS[table])
    return [
        robustness(results, table, name, features)
        for name in names
        for features in ("sample", "mean")
    ]


def generation(results: Results) -> Table:
    """Return Table I: likelihoods of the grey sets, Fréchet distances of the coloured ones."""
    columns, cells = [], []
    for name in ("mnist", "omniglot"):
        rows_of_ais = "AIS, few rows (importance sampling of the same rows)"
        for method, title in (("importance", "importance sampling"), ("ais", rows_of_ais)):
            columns.append(f"{DATA_SETS[name].title}: −log p(x), {title}")
            cells.append((name, method))
        columns.append(f"{DATA_SETS[name].title}: σ²")
        cells.append((name, "variance"))
    for name in ("cifar10", "celeba"):
        columns.append(f"{DATA_SETS[name].title}: Fréchet distance")
        cells.append((name, "frechet"))
    rows = [
        (model.title, [_generation_cell(results, *key, code) for key in cells])
        for code, model in models_of("mnist").items()
        if model.cls is not None
    ]
    features = sorted(_features(results))
    notes = [
        "−log p(x) in nats per row of the test set, under N(x̂(z), σ²I) with the one variance σ² "
        "that is best for the training rows, whatever the objective weighed errors by; mean ± "
        "standard deviation over seeds (mean standard error of an estimate), and in brackets what "
        "the paper prints. Its absolute values cannot be identified: it states neither likelihood "
        "nor variance nor estimator.",
        *_short_of_annealing(results),
        f"Fréchet distance: {'; '.join(features) or NOT_RUN}. – stands where nothing is defined: "
        "an AE has no prior.",
        *_common(results, "1"),
    ]
    return Table("Table I: what is generated (smaller is better)", columns, rows, notes)


def _short_of_annealing(results: Results) -> list[str]:
    """Name the models whose importance sampling annealing has shown to fall short."""
    found = []
    for name in ("mnist", "omniglot"):
        for code, model in models_of(name).items():
            of = lambda *path: results.values(name, code, "likelihood", "ais", *path)  # noqa: B023
            missed = difference(of("nats"), of("importance"))
            errors = of("monte carlo error").values()
            if missed and np.mean(list(missed.values())) > 1 + 4 * np.mean(list(errors)):
                nats = np.mean(list(missed.values()))
                found.append(f"{DATA_SETS[name].title}, {model.title}, by {nats:.0f} nats")
    if not found:
        return []
    return [f"Importance sampling falls short of AIS, the closer one here: {'; '.join(found)}."]


def _generation_cell(results: Results, name: str, what: str, model: str) -> str:
    part = "frechet" if what == "frechet" else "likelihood"
    if part not in parts_of(name, model):
        return UNDEFINED
    if what == "frechet":
        found = results.values(name, model, "frechet", "value")
        return over_seeds(found, cell("1", name, model, "frechet"), 2)
    if what == "variance":
        return over_seeds(results.values(name, model, "likelihood", "variance"), digits=4)

    def negative(quantity: str) -> BySeed:
        nats = results.values(name, model, "likelihood", what, quantity)
        return {seed: -value for seed, value in nats.items()}

    if not negative("nats"):
        return NOT_RUN
    text = over_seeds(negative("nats"))
    if what == "ais":
        return f"{text} ({np.mean(list(negative('importance').values())):.1f})"
    error = -np.mean(list(negative("standard error").values()))
    printed = cell("1", name, model, "nll")
    return f"{text} (s.e. {error:.1f})" + ("" if printed is None else f" [{printed:g}]")


def _features(results: Results) -> set[str]:
    return {
        f"{values['rows']:,} samples and test rows, features: {values['features']}"
        for data_set, model in results.cells
        for values in results.part(data_set, model, "frechet").values()
    }


def reconstruction(results: Results) -> Table:
    """Return Table II."""
    names = tuple(TABLE_PARTS["2"])
    columns = [f"{DATA_SETS[name].title}: {u}" for name in names for u in ("0.05·SSE", "SSE")]
    rows = []
    for code, model in models_of("mnist").items():
        if "reconstruction" not in parts_of("mnist", code):
            continue
        cells = []
        for name in names:
            found = results.values(name, code, "reconstruction", "table_ii")
            cells.append(over_seeds(found, cell("2", name, code, "table_ii"), 3))
            cells.append(over_seeds(results.values(name, code, "reconstruction", "sse"), digits=2))
        rows.append((model.title, cells))
    notes = [
        "SSE = ‖x − x̂‖², summed over pixels and averaged over test rows, on the range [0, 1]. "
        "0.05·SSE is the cost of the Wasserstein autoencoders' code, which the paper's Table II "
        "most probably prints; of colours it is on the range [−1, 1], where SSE is four times "
        "as large. Mean ± standard deviation over seeds, in brackets the paper.",
        *_common(results, "2"),
    ]
    return Table("Table II: reconstruction of test rows (smaller is better)", columns, rows, notes)


def robustness(results: Results, table: str, name: str, features: str) -> Table:
    """Return Table III, IV, V or one of a table data set, for one kind of features."""
    data = DATA_SETS[name]
    kind = "z ~ q(z|x + ν)" if features == "sample" else "posterior mean"
    head = f"Table {_NUMERALS[table]}, " if table in _NUMERALS else ""
    title = f"{head}{data.title}: accuracy in %, features {kind}"
    rows = _robustness_rows(results, table, name, features)
    notes = [
        _protocol(results, table, (name,), features),
        *_seeds(results, table, (name,)),
        *_common(results, table, (name,)),
    ]
    return Table(title, _robustness_columns(name, features), rows, notes)


def ablation(results: Results) -> Table:
    """Return the table of our recipe and of what is left of it, a block for each data set."""
    names = tuple(TABLE_PARTS["ablation"])
    rows: list[tuple[str, Sequence[str]]] = []
    same: list[str] = []
    for name in names:
        absent = VARIANTS.keys() - rows_of("ablation", name).keys()
        same += [f"{DATA_SETS[name].title} {VARIANTS[code].title}" for code in sorted(absent)]
        rows += [(DATA_SETS[name].title, ()), *_robustness_rows(results, "ablation", name, "mean")]
    notes = [
        "Rows below ours differ from it by what they say alone. Perceptrons: two layers of 512 "
        "units for encoder and decoder. Agreement: the contrastive loss. Without warps and light "
        "rows are still masked and noisy in training; without noise there is nothing to agree on, "
        "and no agreement. Rows differ in seeds: a difference has to be one over those in common.",
        *([f"Left out, since ours is so already: {', '.join(same)}."] if same else []),
        _protocol(results, "ablation", names, "mean"),
        *_seeds(results, "ablation", names),
        *_common(results, "ablation"),
    ]
    title = "What makes codes robust: accuracy in %, features posterior mean"
    # The data sets share their columns.
    return Table(title, _robustness_columns(names[0], "mean"), rows, notes)


def _robustness_columns(name: str, features: str) -> list[str]:
    data = DATA_SETS[name]
    known = data.labeled_columns if features == "mean" else ()
    return [*data.columns, *(f"does not count: {c}, classifier knows it" for c in known)]


def _robustness_rows(
    results: Results, table: str, name: str, features: str
) -> list[tuple[str, Sequence[str]]]:
    data = DATA_SETS[name]
    rows: list[tuple[str, Sequence[str]]] = []
    for code, model in rows_of(table, name).items():
        cells = [
            over_seeds(
                results.accuracy(name, code, column, features),
                cell(table, name, code, column) if features == "sample" else None,
            )
            for column in data.columns
        ]
        if features == "mean":
            cells += [
                over_seeds(results.values(name, code, "robustness", "corrupted", column))
                for column in data.labeled_columns
            ]
        rows.append((model.title, cells))
    return rows


def _protocol(results: Results, table: str, names: Sequence[str], features: str) -> str:
    """Say how accuracies came about."""
    several = len(names) > 1
    known = "; ".join(
        (f"{DATA_SETS[name].title} " if several else "") + _labels(results, table, name)
        for name in names
    )
    printed = "" if table == "ablation" else ", in brackets the paper"
    text = (
        f"Transductive SVM; labelled rows: {known}. Encoder and classifier have learned from "
        "clean rows; test rows alone are corrupted, without clipping. Mean ± standard deviation "
        f"over seeds{printed}."
    )
    if features == "mean":
        text += (
            " The last column is of a classifier that has learned from codes with the very noise "
            "of the test rows: it is not part of the protocol and counts nowhere."
        )
    return text


def _labels(results: Results, table: str, name: str) -> str:
    labels = {
        int(values["labelled rows"])
        for model in rows_of(table, name)
        for values in results.part(name, model, "robustness").values()
    }
    return " or ".join(f"{number:,}" for number in sorted(labels)) or NOT_RUN


def _seeds(results: Results, table: str, names: Sequence[str]) -> list[str]:
    """Say over how many seeds, where rows differ."""
    notes = []
    for name in names:
        rows: dict[int, list[str]] = {}
        for code, model in rows_of(table, name).items():
            if n_seeds := len(results.part(name, code, "robustness")):
                rows.setdefault(n_seeds, []).append(model.title)
        ranked = sorted(rows.items(), key=lambda item: len(item[1]))
        texts = [f"{n_seeds} of {', '.join(titles)}" for n_seeds, titles in ranked[:-1]]
        rest = "all" if len(rows) == 1 else "the others"
        texts += [f"{n_seeds} of {rest}" for n_seeds, _ in ranked[-1:]]
        where = f", {DATA_SETS[name].title}" if len(names) > 1 else ""
        notes += [f"Seeds{where}: {'; '.join(texts)}."] if texts else []
    return notes


def _common(results: Results, table: str, names: Sequence[str] = ()) -> list[str]:
    """Say what readers must know of the rows."""
    names = names or tuple(TABLE_PARTS[table])
    notes = ["Test rows are held out of the training set here."] if results.validated() else []
    for name in names:
        for code, model in rows_of(table, name).items():
            if failed := results.failed(name, code):
                seeds = ", ".join(map(str, failed))
                notes.append(
                    f"Training diverged: {DATA_SETS[name].title}, {model.title}, seed {seeds}."
                )
        if "stand-in" in results.sources(name):
            notes.append(f"{DATA_SETS[name].title} is a stand-in made of small digits here.")
    mixed = [row for row in results.mixed() if _concerns(table, names, *row.split())]
    if mixed:
        notes.append(f"Seeds under different settings, to be run again: {', '.join(mixed)}.")
    older = [
        f"{DATA_SETS[name].title} {MODELS[code].title}"
        for name, code in _outdated(results)
        if _concerns(table, names, name, code)
    ]
    if older:
        notes.append(f"Not under the preset's present settings: {', '.join(older)}.")
    return notes


def _concerns(table: str, names: Collection[str], data_set: str, model: str) -> bool:
    """Tell whether a table speaks of a row: of those of the sweep, too, but of no variant."""
    if data_set not in names:
        return False
    return model in rows_of(table, data_set) if table == "ablation" else model not in VARIANTS


def _outdated(results: Results) -> list[tuple[str, str]]:
    """Return the rows that a run without options would run again."""
    found = []
    for (data_set, model), by_seed in results.cells.items():
        if model in MODELS and data_set in DATA_SETS:
            cells = (content for content in by_seed.values() if content.get("preset") in PRESETS)
            if any(not _up_to_date(content) for content in cells):
                found.append((data_set, model))
    return found


def _up_to_date(content: Mapping[str, Any]) -> bool:
    """Tell whether a cell was run under what its preset says now."""
    data_set, preset = content["data set"], content["preset"]
    model = describe(build(data_set, content["model"], preset, content["seed"]))
    settings = content["settings"]
    return (
        fingerprint(settings["model"]) == fingerprint(model)
        and settings["rows"] == PRESETS[preset].n_train
        and all(
            found["key"] == fingerprint(describe(settings_of(part, data_set, preset)))
            for part, found in content["parts"].items()
            if part in PARTS
        )
    )


def markdown(table: Table) -> str:
    """Return a table in Markdown, with its title and notes."""
    align = "---" if table.prose else "--:"
    lines = [
        f"**{table.title}**",
        "",
        _line((table.first, *table.columns)),
        f"| --- |{f' {align} |' * len(table.columns)}",
        *(_row(table, title, cells) for title, cells in table.rows),
        *(f"\n{note}" for note in table.notes),
    ]
    return "\n".join(lines) + "\n"


def _row(table: Table, title: str, cells: Sequence[str]) -> str:
    return _line((title, *cells) if cells else (f"**{title}**", *("" for _ in table.columns)))


def _line(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def latex(table: Table) -> str:
    """Return a table in LaTeX, for the packages booktabs and graphicx."""
    wide = len(table.columns) > _NARROW
    lines = [
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{_escaped(' '.join([table.title + '.', *table.notes]))}}}",
        *([r"\resizebox{\textwidth}{!}{%"] if wide else []),
        rf"\begin{{tabular}}{{l{'r' * len(table.columns)}}}",
        r"\toprule",
        " & ".join([table.first, *map(_escaped, table.columns)]) + r" \\",
        r"\midrule",
        *(_latex_row(table, title, cells) for title, cells in table.rows),
        r"\bottomrule",
        r"\end{tabular}" + ("}" if wide else ""),
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


def _latex_row(table: Table, title: str, cells: Sequence[str]) -> str:
    if cells:
        return " & ".join(map(_escaped, (title, *cells))) + r" \\"
    width = 1 + len(table.columns)
    return rf"\addlinespace\multicolumn{{{width}}}{{l}}{{\textbf{{{_escaped(title)}}}}} \\"


def _escaped(text: str) -> str:
    text = text.replace("x̂", "@")
    escaped = "".join(_LATEX.get(character, character) for character in text)
    return escaped.replace("@", r"$\hat{x}$").replace("σ", r"$\sigma$")


def write_tables(folder: Path, tables: Iterable[str]) -> list[Path]:
    """Write tables and one CSV file of all figures; return the files."""
    results = Results(folder)
    folder.mkdir(parents=True, exist_ok=True)
    written = [folder / "results.csv"]
    write_csv(results, written[0])
    for name in tables:
        parts = tables_of(results, name)
        for suffix, form in ((".md", markdown), (".tex", latex)):
            path = folder / f"table-{name}{suffix}"
            path.write_text("\n".join(form(part) for part in parts), encoding="utf-8")
            written.append(path)
    return written
