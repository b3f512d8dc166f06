"""Tables in Markdown and LaTeX, from the file of results."""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from vimae_paper.cells import is_current
from vimae_paper.comparisons import NOT_RUN, difference
from vimae_paper.measures import parts_of
from vimae_paper.plan import SWEEP_SET, TABLE_PARTS, rows_of
from vimae_paper.results import Results
from vimae_paper.settings import DATA_SETS, MODELS, SWEEP, VARIANTS, models_of, read_toml

UNDEFINED = "–"
TEXTS = read_toml("texts.toml")
_NOTES = TEXTS["notes"]
_TITLES = {name: data.title for name, data in DATA_SETS.items()}
# What the paper prints, by data set and column.
PUBLISHED = pd.read_csv(
    Path(__file__).with_name("published.csv"), index_col=["data set", "column"]
).drop(columns="table")


class Table(NamedTuple):
    """Cells as text, in rows whose titles are the index; one title in ** heads those below it."""

    title: str
    frame: pd.DataFrame
    notes: Sequence[str] = ()
    prose: bool = False  # cells hold sentences


def markdown(table: Table) -> str:
    """Return a table in Markdown, with its title and notes."""
    align = "left" if table.prose else "right"
    aligned = ("left", *[align] * table.frame.shape[1])
    text = table.frame.to_markdown(disable_numparse=True, colalign=aligned)
    text = re.sub("(?<= ) +|(?<=---)-+", "", text)  # columns as wide as their widest cell
    return "\n\n".join([f"**{table.title}**", text, *table.notes]) + "\n"


def latex(table: Table) -> str:
    """Return a table in LaTeX that reads Unicode, for the packages booktabs and graphicx."""
    caption = re.sub("([&%_#$~^])", r"\\\1", " ".join([f"{table.title}.", *table.notes]))
    frame = table.frame.reset_index()
    text = frame.to_latex(index=False, escape=True, caption=caption)
    resized = text.replace(r"\begin{tabular}", "\\resizebox{\\textwidth}{!}{%\n\\begin{tabular}")
    resized = resized.replace(r"\end{tabular}", r"\end{tabular}}")
    return re.sub(r"\*\*(.*?)\*\*", r"\\textbf{\1}", resized)


def write_tables(results: Results, tables: Iterable[str], folder: Path) -> list[Path]:
    """Write tables; return the files."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name in tables:
        for suffix, form in ((".md", markdown), (".tex", latex)):
            path = folder / f"table-{name}{suffix}"
            path.write_text("\n".join(map(form, tables_of(results, name))), encoding="utf-8")
            written.append(path)
    return written


def tables_of(results: Results, table: str) -> list[Table]:
    """Return a table of the paper in one or more parts."""
    whole = {"1": generation, "2": reconstruction, "ablation": ablation}
    if table in whole:
        return [whole[table](results)]
    return [
        robustness(results, table, data_set, features)
        for data_set in TABLE_PARTS[table]
        for features in ("sample", "mean")
    ]


def over_seeds(values: pd.Series, digits: int = 1, paper: float | None = None) -> str:
    """Return mean and standard deviation over seeds, and in brackets what the paper prints."""
    if values.empty:
        return NOT_RUN
    text = f"{values.mean():.{digits}f}"
    if len(values) > 1:
        text += f" ± {values.std():.{digits}f}"
    return text if paper is None else f"{text} [{paper:g}]"


def printed(data_set: str, model: str, column: str) -> float | None:
    """Return what the paper prints, None if it prints nothing."""
    if model not in PUBLISHED or (data_set, column) not in PUBLISHED.index:
        return None
    value = PUBLISHED.loc[(data_set, column), model]
    return None if pd.isna(value) else float(value)


def _frame(rows: dict[str, dict[str, str]]) -> pd.DataFrame:
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("model")


def generation(results: Results) -> Table:
    """Return Table I: likelihoods of the grey sets, Fréchet distances of the coloured ones."""
    rows: dict[str, dict[str, str]] = {}
    for name, model in models_of("mnist").items():
        for data_set in TABLE_PARTS["1"] if model.cls is not None else ():
            rows.setdefault(model.title, {}).update(_generation_cells(results, data_set, name))
    features = {
        f"{values['rows']:,} samples and test rows, features: {values['features']}"
        for row in results.rows
        for values in results.part(*row, "frechet").values()
    }
    notes = [
        _NOTES["likelihood"],
        *_short_of_annealing(results),
        _NOTES["frechet"].format(features="; ".join(sorted(features)) or NOT_RUN),
        *_common_notes(results, "1"),
    ]
    return Table(TEXTS["titles"]["1"], _frame(rows), notes)


def _generation_cells(results: Results, data_set: str, model: str) -> dict[str, str]:
    """Return the cells of a row of Table I that are about a data set."""
    part = TABLE_PARTS["1"][data_set]
    values = lambda *path: results.values(data_set, model, part, *path)
    if part == "frechet":
        distance = over_seeds(values("value"), 2, printed(data_set, model, "frechet"))
        cells = {"Fréchet distance": distance}
    else:
        importance = over_seeds(-values("importance", "nats"))
        ais = over_seeds(-values("ais", "nats"))
        if importance != NOT_RUN:
            paper = printed(data_set, model, "nll")
            importance += f" (s.e. {values('importance', 'standard error').mean():.1f})"
            importance += "" if paper is None else f" [{paper:g}]"
            ais += f" ({-values('ais', 'importance').mean():.1f})"
        cells = {
            "−log p(x), importance sampling": importance,
            "−log p(x), AIS, few rows (importance sampling of the same rows)": ais,
            "σ²": over_seeds(values("variance"), 4),
        }
    if part not in parts_of(data_set, model):
        cells = dict.fromkeys(cells, UNDEFINED)
    return {f"{_TITLES[data_set]}: {what}": text for what, text in cells.items()}


def _short_of_annealing(results: Results) -> list[str]:
    """Name the models whose importance sampling annealing has shown to fall short."""
    short = []
    for data_set in ("mnist", "omniglot"):
        for name, model in models_of(data_set).items():
            nats, importance, error = (
                results.values(data_set, name, "likelihood", "ais", what)
                for what in ("nats", "importance", "monte carlo error")
            )
            missed = difference(nats, importance).mean()
            if missed > 1 + 4 * error.mean():
                short.append(f"{_TITLES[data_set]}, {model.title}, by {missed:.0f} nats")
    return [_NOTES["annealing"].format(models="; ".join(short))] if short else []


def reconstruction(results: Results) -> Table:
    """Return Table II."""
    rows: dict[str, dict[str, str]] = {}
    for name, model in models_of("mnist").items():
        if "reconstruction" in parts_of("mnist", name):
            rows[model.title] = {}
            for data_set in TABLE_PARTS["2"]:
                error = lambda what: results.values(data_set, name, "reconstruction", what)  # noqa: B023
                rows[model.title] |= {
                    f"{_TITLES[data_set]}: 0.05·SSE": over_seeds(
                        error("table_ii"), 3, printed(data_set, name, "table_ii")
                    ),
                    f"{_TITLES[data_set]}: SSE": over_seeds(error("sse"), 2),
                }
    notes = [_NOTES["reconstruction"], *_common_notes(results, "2")]
    return Table(TEXTS["titles"]["2"], _frame(rows), notes)


def robustness(results: Results, table: str, data_set: str, features: str) -> Table:
    """Return Table III, IV, V or one of a table data set, for one kind of features."""
    title = TEXTS["titles"][data_set if table == "tabular" else table]
    kind = "z ~ q(z|x + ν)" if features == "sample" else "posterior mean"
    notes = _accuracy_notes(results, table, [data_set], features)
    return Table(f"{title} {kind}", _accuracies(results, table, data_set, features), notes)


def ablation(results: Results) -> Table:
    """Return the table of our recipe and of what is left of it, a block for each data set."""
    blocks, same = [], []
    for data_set in TABLE_PARTS["ablation"]:
        frame = _accuracies(results, "ablation", data_set, "mean")
        blocks += [pd.DataFrame("", [f"**{_TITLES[data_set]}**"], frame.columns), frame]
        absent = sorted(set(VARIANTS) - rows_of("ablation", data_set).keys())
        same += [f"{_TITLES[data_set]} {MODELS[name].title}" for name in absent]
    notes = [
        _NOTES["ablation"],
        *([_NOTES["same"].format(models=", ".join(same))] if same else []),
        *_accuracy_notes(results, "ablation", list(TABLE_PARTS["ablation"]), "mean"),
    ]
    return Table(TEXTS["titles"]["ablation"], pd.concat(blocks).rename_axis("model"), notes)


def _accuracies(results: Results, table: str, data_set: str, features: str) -> pd.DataFrame:
    """Return mean accuracies of all rows over a data set's columns."""
    data, rows = DATA_SETS[data_set], {}
    for name, model in rows_of(table, data_set).items():
        cells = {}
        for column in data.columns:
            paper = printed(data_set, name, column) if features == "sample" else None
            found = results.accuracy(data_set, name, column, features)
            cells[column] = over_seeds(found, paper=paper)
        if features == "mean":
            knowing = results.values(data_set, name, "robustness", "corrupted", data.known_noise)
            column = f"does not count: {data.known_noise}, classifier knows it"
            cells[column] = over_seeds(knowing)
        rows[model.title] = cells
    return _frame(rows)


# Notes


def _accuracy_notes(
    results: Results, table: str, data_sets: Sequence[str], features: str
) -> list[str]:
    """Say how accuracies came about, and over how many seeds."""
    labels, seeds = [], []
    several = len(data_sets) > 1
    for data_set in data_sets:
        numbers: set[int] = set()
        rows: dict[int, list[str]] = {}
        for name, model in rows_of(table, data_set).items():
            found = results.part(data_set, name, "robustness")
            numbers |= {values["labelled rows"] for values in found.values()}
            if found:
                rows.setdefault(len(found), []).append(model.title)
        text = " or ".join(f"{number:,}" for number in sorted(numbers)) or NOT_RUN
        labels.append(f"{_TITLES[data_set]} {text}" if several else text)
        ranked = sorted(rows.items(), key=lambda item: len(item[1]))
        texts = [f"{n_seeds} of {', '.join(titles)}" for n_seeds, titles in ranked[:-1]]
        texts += [f"{n} of {'the others' if texts else 'all'}" for n, _ in ranked[-1:]]
        where = f", {_TITLES[data_set]}" if several else ""
        seeds += [f"Seeds{where}: {'; '.join(texts)}."] if texts else []
    protocol = _NOTES["protocol"].format(labels="; ".join(labels))
    protocol += "." if table == "ablation" else ", in brackets the paper."
    protocol += f" {_NOTES['knowing']}" if features == "mean" else ""
    return [protocol, *seeds, *_common_notes(results, table, data_sets)]


def _common_notes(results: Results, table: str, data_sets: Sequence[str] = ()) -> list[str]:
    """Say what readers must know of the rows."""
    contents = results.cells.values()
    notes = [_NOTES["validation"]] if any(c["settings"]["validation"] for c in contents) else []
    outdated = []
    for data_set in data_sets or TABLE_PARTS[table]:
        title, sources = _TITLES[data_set], set()
        swept = SWEEP if data_set == SWEEP_SET and table != "ablation" else {}
        for name, model in (rows_of(table, data_set) | swept).items():
            by_seed = results.rows.get((data_set, name), {})
            sources |= {content["settings"]["source"] for content in by_seed.values()}
            if failed := results.failed(data_set, name):
                seeds = ", ".join(map(str, failed))
                notes.append(_NOTES["diverged"].format(title=title, model=model.title, seeds=seeds))
            if not all(map(is_current, by_seed.values())):
                outdated.append(f"{title} {model.title}")
        notes += [_NOTES["standin"].format(title=title)] if "stand-in" in sources else []
    return notes + ([_NOTES["outdated"].format(models=", ".join(outdated))] if outdated else [])
