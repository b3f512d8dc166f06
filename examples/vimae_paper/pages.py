"""The tables that docs/paper.rst and docs/promises.rst include, from committed results."""

from pathlib import Path

import pandas as pd

from vimae_paper.claims import CLAIMS
from vimae_paper.comparisons import NOT_RUN, difference, highest, interval, verdict
from vimae_paper.plan import FIGURES, TABLES
from vimae_paper.results import Results
from vimae_paper.settings import DATA_SETS
from vimae_paper.tables import PUBLISHED, TEXTS, UNDEFINED, Table, markdown, over_seeds, tables_of

RESULTS = Path(__file__).parent / "results"
FOLDER = Path(__file__).parents[2] / "docs" / "_tables"
_IMAGES = "../examples/vimae_paper/results"  # as the including page sees it
_BASELINES = ("raw", "pca", "pca-ours", "pca-noise")


def write_pages() -> list[Path]:
    """Write what the documentation includes; return the files."""
    pages = {}
    for preset in ("cpu", "gpu"):
        results = Results(RESULTS / f"{preset}.jsonl")
        pages[FOLDER / f"paper-{preset}.md"] = paper_page(preset, results)
        verdicts = (promises(results), beaten(results))
        pages[FOLDER / f"promises-{preset}.md"] = "\n".join(map(markdown, verdicts))
    for path, text in pages.items():
        path.write_text(text.rstrip("\n") + "\n", encoding="utf-8")
    return list(pages)


def paper_page(preset: str, results: Results) -> str:
    """Return all tables and figures of a preset."""
    if not results.cells:
        return f"Preset `{preset}`: {NOT_RUN}."
    parts = [_measured_on(results), ""]
    parts += [markdown(table) for name in TABLES for table in tables_of(results, name)]
    for figure in FIGURES:
        title = TEXTS["figures"][figure]
        files = sorted((RESULTS / preset).glob(f"figure-{figure}*.png"))
        parts += [] if files else [f"**{title}**: {NOT_RUN}.", ""]
        for path in files:
            parts += [f"**{title}**", "", f"![{title}]({_IMAGES}/{preset}/{path.name})", ""]
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
    return (
        f"{len(results.cells)} cells, {seconds / 60:.0f} minutes of computing. Measured on: "
        f"{'; '.join(sorted(machines))}."
    )


def promises(results: Results) -> Table:
    """Return the table of all claims, with verdicts that follow from the results."""
    rows = []
    for claim in CLAIMS:
        comparisons = claim.compare(results)
        reached = verdict(comparisons)
        measured = NOT_RUN if reached == NOT_RUN else "; ".join(map(str, comparisons))
        rows.append((claim.where, claim.says, measured, reached))
    frame = pd.DataFrame(rows, columns=["where", "claim", "measured", "verdict"])
    note = TEXTS["notes"]["promises"]
    return Table("Claims of the paper", frame.set_index("where"), [note], prose=True)


def beaten(results: Results) -> Table:
    """Compare our recipe with the paper's best cell and the best baseline, cell by cell."""
    rows = [
        _compared(results, data_set, column, features)
        for data_set in ("cifar10", "mnist", "omniglot")
        for column in DATA_SETS[data_set].columns
        for features in ("sample", "mean")
    ]
    columns = ["cell", "features", "ours", "paper's best", "best baseline", "difference", "verdict"]
    frame = pd.DataFrame(rows, columns=columns).set_index("cell")
    note = TEXTS["notes"]["beaten"]
    return Table("Ours against the paper and the baselines", frame, [note])


def _compared(results: Results, data_set: str, column: str, features: str) -> tuple[str, ...]:
    """Return a row of the table of comparisons."""
    own, *others = (
        results.accuracy(data_set, model, column, features) for model in ("ours", *_BASELINES)
    )
    # Nothing is beaten as long as one of the opponents is absent.
    absent = any(values.empty for values in others)
    baseline = others[0].iloc[:0] if absent else highest(others)
    known = (data_set, column) in PUBLISHED.index
    best = PUBLISHED.loc[(data_set, column)].max() if known else 0.0
    gap = difference(own, baseline.clip(lower=best))
    cell = f"{DATA_SETS[data_set].title}, {column}, ours"
    kind = "draw" if features == "sample" else "mean"
    paper = f"{best:g}" if known else UNDEFINED
    if gap.empty:
        return cell, kind, over_seeds(own), paper, NOT_RUN, NOT_RUN, NOT_RUN
    reached = interval(gap)
    state = "beaten" if reached.low > 0 else "not beaten" if reached.high < 0 else "open"
    ours, baselines = over_seeds(own[gap.index]), over_seeds(baseline[gap.index])
    return cell, kind, ours, paper, baselines, f"{reached}, n = {reached.n_seeds}", state
