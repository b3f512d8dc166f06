"""Which cells each table and each figure needs, and what has to be measured of them."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from vimae_paper.data import source_of
from vimae_paper.measures import parts_of
from vimae_paper.settings import (
    IMAGES,
    LABELED,
    PRESETS,
    SWEEP,
    TABULAR,
    VARIANTS,
    Cell,
    Model,
    ablation_of,
    models_of,
)

# What stands in each table: data sets, and what is measured of them.
TABLE_PARTS = {
    "1": dict(zip(IMAGES, ("likelihood", "likelihood", "frechet", "frechet"), strict=True)),
    "2": dict.fromkeys(IMAGES, "reconstruction"),
    "3": {"cifar10": "robustness"},
    "4": {"mnist": "robustness"},
    "5": {"omniglot": "robustness"},
    "tabular": dict.fromkeys(TABULAR, "robustness"),
    "ablation": dict.fromkeys(LABELED, "robustness"),
}
TABLES = tuple(TABLE_PARTS)
FIGURE_SETS = {"1": "omniglot", "2": "mnist", "3": "cifar10", "4": "celeba"}
FIGURES = (*FIGURE_SETS, "noise", "plane")
SWEEP_SET = "mnist"

Need = tuple[str, str, set[str], bool]  # data set, model, parts, whether to keep the model


class Job(NamedTuple):
    """A cell and what is wanted of it."""

    cell: Cell
    parts: frozenset[str]
    keep: bool = False  # whether the fitted model has to be in the cache, for a figure


def rows_of(table: str, data_set: str) -> dict[str, Model]:
    """Return the rows of a table about a data set, by name."""
    return ablation_of(data_set) if table == "ablation" else models_of(data_set)


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
    wanted: dict[Cell, Job] = {}
    needs = [need for table in tables for need in _of_table(table)]
    needs += [need for figure in figures for need in _of_figure(figure)]
    for data_set, model, parts, keep in needs:
        is_chosen = models is None or model in models
        if is_chosen and source_of(data_set, preset, data_home) is not None:
            for seed in range(n_seeds or _default_seeds(data_set, model, preset)):
                cell = Cell(data_set, model, seed)
                before = wanted.get(cell, Job(cell, frozenset()))
                together = before.parts | (parts & parts_of(data_set, model))
                wanted[cell] = Job(cell, together, before.keep or (keep and seed == 0))
    jobs = [job for job in wanted.values() if job.parts or job.keep]
    return sorted(jobs, key=lambda job: (job.cell.seed, job.cell.data_set))


def _default_seeds(data_set: str, model: str, preset: str) -> int:
    """Return a preset's number of seeds; more for tables, which are small, and one for variants."""
    amount = PRESETS[preset]
    default = amount.n_tabular_seeds if data_set in TABULAR else amount.n_seeds
    return 1 if model in VARIANTS else default


def _of_table(table: str) -> Iterator[Need]:
    for data_set, part in TABLE_PARTS[table].items():
        # What the codes know takes no time beside errors, and claims are judged by it.
        parts = {part, "information"} if part == "reconstruction" else {part}
        for model in rows_of(table, data_set):
            if part in parts_of(data_set, model):
                yield data_set, model, parts, False


def _of_figure(figure: str) -> Iterator[Need]:
    if figure == "plane":
        for model in ("vae", "vimae-n", "vimae-l", *SWEEP):
            yield SWEEP_SET, model, {"information", "reconstruction", "robustness"}, False
    for data_set in LABELED if figure == "noise" else ():
        for model in models_of(data_set):
            yield data_set, model, {"robustness"}, False
    if figure in FIGURE_SETS:
        data_set = FIGURE_SETS[figure]
        for name, model in models_of(data_set).items():
            yield data_set, name, {"blur"}, model.cls is not None
