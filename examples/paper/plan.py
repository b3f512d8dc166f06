"""Which cells a table or a figure needs."""

from collections.abc import Iterable, Iterator

from data import available
from measures import parts_of
from settings import PRESETS, SWEEP, TABULAR, VARIANTS, Model, ablation_of, models_of
from store import Cell
from work import Job

__all__ = [
    "FIGURES",
    "FIGURE_SETS",
    "TABLES",
    "TABLE_PARTS",
    "jobs_of",
    "needs_of_figure",
    "needs_of_table",
    "rows_of",
    "seeds_of",
]

_LABELED = ("mnist", "omniglot", "cifar10")

# What stands in each table: data sets, and what is measured of them.
TABLE_PARTS = {
    "1": {
        "mnist": "likelihood",
        "omniglot": "likelihood",
        "cifar10": "frechet",
        "celeba": "frechet",
    },
    "2": dict.fromkeys(("mnist", "omniglot", "cifar10", "celeba"), "reconstruction"),
    "3": {"cifar10": "robustness"},
    "4": {"mnist": "robustness"},
    "5": {"omniglot": "robustness"},
    "tabular": dict.fromkeys(TABULAR, "robustness"),
    "ablation": dict.fromkeys(_LABELED, "robustness"),
}
TABLES = tuple(TABLE_PARTS)
FIGURE_SETS = {"1": "omniglot", "2": "mnist", "3": "cifar10", "4": "celeba"}
FIGURES = (*FIGURE_SETS, "noise", "plane")
SWEEP_SET = "mnist"
# Beside the sweep itself: the ends of its comparisons.
_SWEEP_ENDS = ("vae", "vimae-n", "vimae-l")
_SWEEP_PARTS = ("information", "reconstruction", "robustness")

Need = tuple[str, str, tuple[str, ...], bool]  # data set, model, parts, whether to keep the model


def seeds_of(data_set: str, model: str, preset: str, n_seeds: int | None) -> range:
    """Return the seeds of a model, as many as asked for.

    Else tables, which are small, have more of them, and variants of our recipe one: a seed of them
    takes two thirds as long as one of all else.
    """
    amount = PRESETS[preset]
    default = amount.n_tabular_seeds if data_set in TABULAR else amount.n_seeds
    return range(n_seeds or (1 if model in VARIANTS else default))


def rows_of(table: str, data_set: str) -> dict[str, Model]:
    """Return the rows of a table about a data set, by name."""
    return ablation_of(data_set) if table == "ablation" else models_of(data_set)


def needs_of_table(table: str) -> Iterator[Need]:
    """Yield what a table needs."""
    for data_set, part in TABLE_PARTS[table].items():
        for model in rows_of(table, data_set):
            measurable = parts_of(data_set, model)
            # What the codes know takes no time beside errors, and claims are judged by it.
            wanted = {part, "information"} if part == "reconstruction" else {part}
            if part in measurable:
                yield data_set, model, tuple(wanted.intersection(measurable)), False


def needs_of_figure(figure: str) -> Iterator[Need]:
    """Yield what a figure needs."""
    if figure == "plane":
        for model in (*_SWEEP_ENDS, *SWEEP):
            yield SWEEP_SET, model, _SWEEP_PARTS, False
    for data_set in _LABELED if figure == "noise" else ():
        for model in models_of(data_set):
            yield data_set, model, ("robustness",), False
    if figure in FIGURE_SETS:
        data_set = FIGURE_SETS[figure]
        for model in models_of(data_set):
            if "information" in (measurable := parts_of(data_set, model)):
                yield data_set, model, tuple({"blur"}.intersection(measurable)), True


def jobs_of(
    tables: Iterable[str],
    figures: Iterable[str],
    preset: str,
    *,
    n_seeds: int | None = None,
    data_home: str | None = None,
    models: Iterable[str] | None = None,
) -> list[Job]:
    """Return each cell once, with all that is wanted of it; seed by seed, so that tables fill."""
    wanted: dict[Cell, tuple[set[str], bool]] = {}
    needs = [need for table in tables for need in needs_of_table(table)]
    needs += [need for figure in figures for need in needs_of_figure(figure)]
    chosen = None if models is None else set(models)
    for data_set, model, parts, keep in needs:
        if (chosen and model not in chosen) or not available(data_set, preset, data_home):
            continue
        for seed in seeds_of(data_set, model, preset, n_seeds):
            found, kept = wanted.setdefault(Cell(data_set, model, seed), (set(), False))
            first = keep and seed == 0
            wanted[Cell(data_set, model, seed)] = (found | set(parts), kept or first)
    jobs = [Job(cell, tuple(sorted(parts)), keep) for cell, (parts, keep) in wanted.items()]
    return sorted(
        (job for job in jobs if job.parts or job.keep),
        key=lambda job: (job.cell.seed, job.cell.data_set),
    )
