"""Does VIMAE keep its promises? Every claim of the paper, what was measured, and a verdict.

Verdicts follow from the results by the rule of :func:`verdict`; nobody writes them.
"""

import math
from collections.abc import Callable, Iterator, Sequence

from promised import CLAIMS
from published import best
from render import NOT_RUN, UNDEFINED, Table, over_seeds
from results import BySeed, Interval, Results, difference, interval
from rules import Comparison, highest
from settings import DATA_SETS, OURS

__all__ = ["beaten", "promises", "verdict"]

_BASELINES = ("raw", "pca", "pca-ours", "pca-noise")
_TABLES = {"3": "cifar10", "4": "mnist", "5": "omniglot"}


def verdict(comparisons: Sequence[Comparison]) -> str:
    """Return "holds", "holds in part", "does not hold", "not shown" or "not run".

    A comparison supports a claim when its whole interval of 95 % lies in the claimed range, and
    contradicts it when no part of the interval does. All support: it holds. Some: in part. None,
    and at least one contradicts: it does not hold. What is left is open: the seeds are too few.
    """
    run = [comparison for comparison in comparisons if comparison.measured is not None]
    if not run:
        return NOT_RUN
    supported = [comparison for comparison in run if comparison.supports]
    if len(supported) == len(run):
        return "holds"
    if supported:
        return "holds in part"
    contradicted = any(comparison.contradicts for comparison in run)
    return "does not hold" if contradicted else "not shown"


def promises(results: Results) -> Table:
    """Return the table of all claims."""
    rows = []
    for claim in CLAIMS:
        comparisons = claim.compare(results)
        reached = verdict(comparisons)
        texts = [_text(c) for c in comparisons] if reached != NOT_RUN else [NOT_RUN]
        rows.append((claim.where, (claim.says, "; ".join(texts), reached)))
    notes = [
        "Measured: mean over seeds, and in brackets its interval of 95 % (Student's t), of paired "
        "differences where two models are compared. The claimed range stands beside it. All "
        "intervals within the claimed range: the claim holds; some: in part; none, and one of "
        "them wholly outside: it does not hold; else the seeds are too few to show it. Each "
        "interval stands for itself, and one in twenty misses by chance. What is not run does not "
        "count."
    ]
    columns = ("claim", "measured", "verdict")
    return Table("Claims of the paper", columns, rows, notes, first="where", prose=True)


def _text(comparison: Comparison) -> str:
    """Return a comparison for readers."""
    if comparison.measured is None:
        return f"{comparison.what}: {NOT_RUN}"
    claimed = _range(comparison.low, comparison.high)
    return f"{comparison.what}: {written(comparison.measured)} (claimed {claimed})"


def written(found: Interval, digits: int = 3) -> str:
    """Return mean and interval."""
    # Differences of equal figures are nothing but rounding.
    mean, low, high = (f"{round(value, 9):.{digits}g}" for value in found[:3])
    if found.low == found.high:
        return f"{mean} (exact)"
    if found.n_seeds < 2:
        return f"{mean} (one seed, no interval)"
    if math.isinf(found.high):
        return f"{mean} (equal in {found.n_seeds} seeds, no interval)"
    return f"{mean} [{low}, {high}]"


def _range(low: float, high: float) -> str:
    if math.isinf(high):
        return f"> {low:g}"
    return f"< {high:g}" if math.isinf(low) else f"{low:g} to {high:g}"


def beaten(results: Results) -> Table:
    """Compare our recipes with the paper's best cell and the best baseline, cell by cell."""
    rows = [
        row
        for table, data_set in _TABLES.items()
        for column in DATA_SETS[data_set].columns
        for features in ("sample", "mean")
        for row in _beaten_rows(results, table, data_set, column, features)
    ]
    columns = ("features", "ours", "paper's best", "best baseline", "difference", "verdict")
    notes = [
        "Accuracies in %. The difference is ours less the higher of the paper's best cell and the "
        "best of raw pixels and the PCA rows, paired over seeds, with its interval of 95 %. "
        "Beaten: the interval lies above 0; open: it holds 0. Where the paper has no such cell "
        "(–), the baselines alone are the bar. n is the number of seeds. Each interval stands for "
        "itself, and one in twenty misses by chance.",
    ]
    return Table("Ours against the paper and the baselines", columns, rows, notes, first="cell")


def _beaten_rows(
    results: Results, table: str, data_set: str, column: str, features: str
) -> Iterator[tuple[str, Sequence[str]]]:
    accuracy: Callable[[str], BySeed] = lambda m: results.accuracy(data_set, m, column, features)
    found = [accuracy(model) for model in _BASELINES]
    # Nothing is beaten as long as one of the opponents is absent.
    baseline = highest(found) if all(found) else {}
    printed = best(table, data_set, column)
    for recipe in OURS:
        own = accuracy(recipe)
        name = f"{DATA_SETS[data_set].title}, {column}, {recipe}"
        bar = {seed: max(value, printed or 0.0) for seed, value in baseline.items()}
        gap = difference(own, bar)
        reached = interval(gap) if gap else None
        cells = (
            "draw" if features == "sample" else "mean",
            over_seeds({seed: own[seed] for seed in gap} or own),
            UNDEFINED if printed is None else f"{printed:g}",
            over_seeds({seed: baseline[seed] for seed in gap}),
            NOT_RUN if reached is None else f"{written(reached)}, n = {reached.n_seeds}",
            NOT_RUN if reached is None else _state(reached),
        )
        yield name, cells


def _state(found: Interval) -> str:
    if found.low > 0:
        return "beaten"
    return "not beaten" if found.high < 0 else "open"
