"""Tables in Markdown and LaTeX from the file of results, and the pages of the documentation."""

import csv
import re
from collections.abc import Iterable, Sequence
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from vimae_paper import settings
from vimae_paper.cells import FIGURES, TABLES, is_current, rows_of
from vimae_paper.claims import CLAIMS, NOT_RUN, best, difference, interval, verdict
from vimae_paper.measures import parts_of
from vimae_paper.results import Results
from vimae_paper.settings import DATA_SETS, MODELS, TABLE_PARTS, models_of

UNDEFINED = "–"
RESULTS = Path(__file__).parent / "results"
FOLDER = Path(__file__).parents[2] / "docs" / "_tables"
_IMAGES = "../examples/vimae_paper/results"  # as the including page sees it
_BASELINES = ("raw", "pca", "pca-ours", "pca-noise")
TEXTS = settings.read_toml("texts.toml")
_TITLES = {name: data.title for name, data in DATA_SETS.items()}
with Path(__file__).with_name("published.csv").open(encoding="utf-8") as file:
    # What the paper prints, by data set, column and model.
    PUBLISHED = {
        (row["data set"], row["column"], model): float(value)
        for row in csv.DictReader(file)
        for model, value in row.items()
        if model in MODELS and value
    }


class Table(NamedTuple):
    """Cells as text, in rows whose titles are the index; one title in ** heads those below it."""

    title: str
    frame: pd.DataFrame
    notes: Sequence[str] = ()
    prose: bool = False  # cells hold sentences


def markdown(table: Table) -> str:
    """Return a table in Markdown, with its title and notes."""
    aligned = ["left", *["left" if table.prose else "right"] * table.frame.shape[1]]
    text = table.frame.to_markdown(disable_numparse=True, colalign=aligned)
    text = re.sub("(?<= ) +|(?<=---)-+", "", text)  # columns as wide as their widest cell
    return "\n\n".join([f"**{table.title}**", text, *table.notes]) + "\n"


def latex(table: Table) -> str:
    """Return a table in LaTeX that reads Unicode, for the packages booktabs and graphicx."""
    caption = re.sub("([&%_#$])", r"\\\1", " ".join([f"{table.title}.", *table.notes]))
    text = table.frame.reset_index().to_latex(index=False, escape=True, caption=caption)
    text = text.replace(r"\begin{tabular}", "\\resizebox{\\textwidth}{!}{%\n\\begin{tabular}")
    text = text.replace(r"\end{tabular}", r"\end{tabular}}")
    return re.sub(r"\*\*(.*?)\*\*", r"\\textbf{\1}", text.replace("~", r"$\sim$"))


def write_tables(results: Results, tables: Iterable[str], folder: Path) -> list[Path]:
    """Write tables; return the files."""
    written = []
    for name in tables:
        parts = tables_of(results, name)
        for suffix, form in ((".md", markdown), (".tex", latex)):
            written.append(folder / f"table-{name}{suffix}")
            written[-1].write_text("\n".join(map(form, parts)), encoding="utf-8")
    return written


def tables_of(results: Results, table: str) -> list[Table]:
    """Return a table of the paper in one or more parts."""
    whole = {"1": generation, "2": reconstruction, "ablation": ablation}
    if table in whole:
        return [whole[table](results)]
    parts = product(TABLE_PARTS[table], ("sample", "mean"))
    return [robustness(results, table, *part) for part in parts]


def over_seeds(values: pd.Series, digits: int = 1, paper: float | None = None) -> str:
    """Return mean and standard deviation over seeds, and in brackets what the paper prints."""
    if values.empty:
        return NOT_RUN
    text = f"{values.mean():.{digits}f}"
    text += f" ± {values.std():.{digits}f}" if len(values) > 1 else ""
    return text if paper is None else f"{text} [{paper:g}]"


def _note(name: str, **fields: Any) -> str:
    return TEXTS["notes"][name].format(**fields)


def _frame(rows: dict[str, dict[str, str]]) -> pd.DataFrame:
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("model")


def generation(results: Results) -> Table:
    """Return Table I: likelihoods of the grey sets, Fréchet distances of the coloured ones."""
    rows: dict[str, dict[str, str]] = {}
    for (name, model), data_set in product(models_of("mnist").items(), TABLE_PARTS["1"]):
        if model.cls is not None:
            rows.setdefault(model.title, {}).update(_generated(results, data_set, name))
    features = {
        f"{values['rows']:,} samples and test rows, features: {values['features']}"
        for row in results.rows
        for values in results.part(*row, "frechet").values()
    }
    notes = [_note("likelihood"), *_short_of_annealing(results)]
    notes.append(_note("frechet", features="; ".join(sorted(features)) or NOT_RUN))
    notes += _common_notes(results, "1", TABLE_PARTS["1"])
    return Table(TEXTS["titles"]["1"], _frame(rows), notes)


def _generated(results: Results, data_set: str, model: str) -> dict[str, str]:
    """Return the cells of a row of Table I that are about a data set."""
    part = TABLE_PARTS["1"][data_set]
    values = lambda *path: results.values(data_set, model, part, *path)
    if part == "frechet":
        paper = PUBLISHED.get((data_set, "frechet", model))
        cells = {"Fréchet distance": over_seeds(values("value"), 2, paper)}
    else:
        importance, ais = (over_seeds(-values(method, "nats")) for method in ("importance", "ais"))
        if importance != NOT_RUN:
            paper = PUBLISHED.get((data_set, "nll", model))
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
    for data_set, name in product(("mnist", "omniglot"), models_of("mnist")):
        ais = lambda what: results.values(data_set, name, "likelihood", "ais", what)  # noqa: B023
        missed = difference(ais("nats"), ais("importance")).mean()
        if missed > 1 + 4 * ais("monte carlo error").mean():
            short.append(f"{_TITLES[data_set]}, {MODELS[name].title}, by {missed:.0f} nats")
    return [_note("annealing", models="; ".join(short))] if short else []


def reconstruction(results: Results) -> Table:
    """Return Table II."""
    rows: dict[str, dict[str, str]] = {}
    for (name, model), data_set in product(models_of("mnist").items(), TABLE_PARTS["2"]):
        if "reconstruction" in parts_of(data_set, name):
            error = lambda what: results.values(data_set, name, "reconstruction", what)  # noqa: B023
            paper = PUBLISHED.get((data_set, "table_ii", name))
            cells, title = rows.setdefault(model.title, {}), _TITLES[data_set]
            cells[f"{title}: 0.05·SSE"] = over_seeds(error("table_ii"), 3, paper)
            cells[f"{title}: SSE"] = over_seeds(error("sse"), 2)
    notes = [_note("reconstruction"), *_common_notes(results, "2", TABLE_PARTS["2"])]
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
        absent = sorted(set(settings.VARIANTS) - rows_of("ablation", data_set).keys())
        same += [f"{_TITLES[data_set]} {MODELS[name].title}" for name in absent]
    notes = [_note("ablation")] + ([_note("same", models=", ".join(same))] if same else [])
    notes += _accuracy_notes(results, "ablation", [*TABLE_PARTS["ablation"]], "mean")
    return Table(TEXTS["titles"]["ablation"], pd.concat(blocks).rename_axis("model"), notes)


def _accuracies(results: Results, table: str, data_set: str, features: str) -> pd.DataFrame:
    """Return mean accuracies of all rows over a data set's columns."""
    data, rows = DATA_SETS[data_set], {}
    for name, model in rows_of(table, data_set).items():
        cells = rows[model.title] = {}
        for column in data.columns:
            paper = PUBLISHED.get((data_set, column, name)) if features == "sample" else None
            values = results.accuracy(data_set, name, column, features)
            cells[column] = over_seeds(values, paper=paper)
        if features == "mean":
            knowing = results.values(data_set, name, "robustness", "corrupted", data.known_noise)
            column = f"does not count: {data.known_noise}, classifier knows it"
            cells[column] = over_seeds(knowing)
    return _frame(rows)


def _accuracy_notes(results: Results, table: str, data_sets: Any, features: str) -> list[str]:
    """Say how accuracies came about, and over how many seeds."""
    labels, notes = [], []
    for data_set in data_sets:
        title = _TITLES[data_set] if len(data_sets) > 1 else ""
        numbers: set[int] = set()
        rows: dict[int, list[str]] = {}
        for name, model in rows_of(table, data_set).items():
            if by_seed := results.part(data_set, name, "robustness"):
                numbers |= {values["labelled rows"] for values in by_seed.values()}
                rows.setdefault(len(by_seed), []).append(model.title)
        text = " or ".join(f"{number:,}" for number in sorted(numbers)) or NOT_RUN
        labels.append(f"{title} {text}".strip())
        *few, last = sorted(rows.items(), key=lambda item: len(item[1])) or [(0, [])]
        texts = [f"{n_seeds} of {', '.join(titles)}" for n_seeds, titles in few]
        texts.append(f"{last[0]} of {'the others' if few else 'all'}")
        notes += [f"Seeds{title and ', '}{title}: {'; '.join(texts)}."] if rows else []
    protocol = _note("protocol", labels="; ".join(labels))
    protocol += "." if table == "ablation" else ", in brackets the paper."
    protocol += f" {_note('knowing')}" if features == "mean" else ""
    return [protocol, *notes, *_common_notes(results, table, data_sets)]


def _common_notes(results: Results, table: str, data_sets: Iterable[str]) -> list[str]:
    """Say what readers must know of the rows."""
    contents = results.cells.values()
    notes = [_note("validation")] if any(c["settings"]["validation"] for c in contents) else []
    outdated = []
    for data_set in data_sets:
        title, sources = _TITLES[data_set], set()
        swept = settings.SWEEP if data_set == "mnist" and table != "ablation" else {}
        for name, model in (rows_of(table, data_set) | swept).items():
            by_seed = results.rows.get((data_set, name), {})
            sources |= {content["settings"]["source"] for content in by_seed.values()}
            if failed := results.failed(data_set, name):
                seeds = ", ".join(map(str, failed))
                notes.append(_note("diverged", title=title, model=model.title, seeds=seeds))
            if not all(map(is_current, by_seed.values())):
                outdated.append(f"{title} {model.title}")
        notes += [_note("standin", title=title)] if "stand-in" in sources else []
    return notes + ([_note("outdated", models=", ".join(outdated))] if outdated else [])


def write_pages() -> list[Path]:
    """Write what the documentation includes; return the files."""
    written = []
    for preset in ("cpu", "gpu"):
        results = Results(RESULTS / f"{preset}.jsonl")
        verdicts = "\n".join(map(markdown, (promises(results), beaten(results))))
        for page, text in ("paper", paper_page(preset, results)), ("promises", verdicts):
            written.append(FOLDER / f"{page}-{preset}.md")
            written[-1].write_text(text.rstrip("\n") + "\n", encoding="utf-8")
    return written


def paper_page(preset: str, results: Results) -> str:
    """Return all tables and figures of a preset."""
    if not results.cells:
        return f"Preset `{preset}`: {NOT_RUN}."
    parts = [f"{_measured_on(results)}\n"]
    parts += [markdown(table) for name in TABLES for table in tables_of(results, name)]
    for figure in FIGURES:
        title = TEXTS["figures"][figure]
        files = sorted((RESULTS / preset).glob(f"figure-{figure}*.png"))
        links = [f"![{title}]({_IMAGES}/{preset}/{path.name})" for path in files]
        parts += [f"**{title}**\n\n{link}\n" for link in links] or [f"**{title}**: {NOT_RUN}.\n"]
    return "\n".join(parts)


def _measured_on(results: Results) -> str:
    """Say on what and how long."""
    seconds, machines = 0.0, set()
    for content in results.cells.values():
        done = (content["fit"], *content["parts"].values())
        seconds += sum(part.get("seconds", 0.0) for part in done)
        on = content["measured on"]
        device = f"{on['cores']} cores" if on["gpu"] == "none" else f"GPU {on['gpu']}"
        versions = ", ".join(f"{name} {on[name]}" for name in ("skvim", "torch", "sklearn"))
        machines.add(f"{on['machine']}, {device}, Python {on['python']}, {versions}")
    amount = f"{len(results.cells)} cells, {seconds / 60:.0f} minutes of computing"
    return f"{amount}. Measured on: {'; '.join(sorted(machines))}."


def promises(results: Results) -> Table:
    """Return the table of all claims, with verdicts that follow from the results."""
    rows = []
    for claim in CLAIMS:
        comparisons = claim.compare(results)
        reached = verdict(comparisons)
        measured = NOT_RUN if reached == NOT_RUN else "; ".join(map(str, comparisons))
        rows.append((claim.where, claim.says, measured, reached))
    frame = pd.DataFrame(rows, columns=["where", "claim", "measured", "verdict"])
    return Table("Claims of the paper", frame.set_index("where"), [_note("promises")], prose=True)


def beaten(results: Results) -> Table:
    """Compare our recipe with the paper's best cell and the best baseline, cell by cell."""
    cells = product(
        ("cifar10", "mnist", "omniglot"), DATA_SETS["mnist"].columns, ("sample", "mean")
    )
    rows = [_compared(results, *cell) for cell in cells]
    columns = ["cell", "features", "ours", "paper's best", "best baseline", "difference", "verdict"]
    frame = pd.DataFrame(rows, columns=columns).set_index("cell")
    return Table("Ours against the paper and the baselines", frame, [_note("beaten")])


def _compared(results: Results, data_set: str, column: str, features: str) -> tuple[str, ...]:
    """Return a row of the table of comparisons."""
    own, *others = (results.accuracy(data_set, m, column, features) for m in ("ours", *_BASELINES))
    # Nothing is beaten as long as one of the opponents is absent.
    absent = any(values.empty for values in others)
    baseline = others[0].iloc[:0] if absent else best(others)
    known = [value for key, value in PUBLISHED.items() if key[:2] == (data_set, column)]
    gap = difference(own, baseline.clip(lower=max(known, default=0.0)))
    cell = f"{DATA_SETS[data_set].title}, {column}, ours"
    kind = "draw" if features == "sample" else "mean"
    paper = f"{max(known):g}" if known else UNDEFINED
    if gap.empty:
        return cell, kind, over_seeds(own), paper, NOT_RUN, NOT_RUN, NOT_RUN
    reached = interval(gap)
    state = "beaten" if reached.low > 0 else "not beaten" if reached.high < 0 else "open"
    ours, baselines = over_seeds(own[gap.index]), over_seeds(baseline[gap.index])
    return cell, kind, ours, paper, baselines, f"{reached}, n = {reached.n_seeds}", state
