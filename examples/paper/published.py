"""The figures that the paper prints, by table, data set, model and column."""

from typing import NamedTuple

__all__ = ["PAPER", "cell"]

_MODELS = ("vae", "beta-h", "beta-a", "vimae-n", "vimae-l")
_NOISES = ("clean", "gaussian 0.2", "gaussian 0.4", "masking 0.2", "masking 0.5")


class Printed(NamedTuple):
    """One column of a table, in the order of the models; None where the paper has none."""

    data_set: str
    column: str
    values: tuple[float | None, ...]


def _rows(data_set: str, columns: tuple[str, ...], *rows: tuple[float, ...]) -> list[Printed]:
    """Turn the rows of a table into its columns."""
    turned = zip(*rows, strict=True)
    return [Printed(data_set, c, values) for c, values in zip(columns, turned, strict=True)]


_ROBUSTNESS = {
    "3": _rows(
        "cifar10",
        ("clean", "gaussian 0.3", "masking 0.2"),
        (30, 25, 16),
        (29, 26, 19),
        (31, 31, 18),
        (29, 28, 23),
        (32, 34, 23),
    ),
    "4": _rows(
        "mnist",
        _NOISES,
        (80, 77, 70, 72, 52),
        (92, 86, 82, 91, 84),
        (93, 66, 13, 85, 65),
        (93, 92, 86, 92, 86),
        (93, 92, 88, 92, 87),
    ),
    "5": _rows(
        "omniglot",
        _NOISES,
        (22, 22, 17, 22, 16),
        (21, 21, 22, 19, 17),
        (22, 22, 21, 21, 24),
        (22, 23, 24, 22, 22),
        (24, 23, 20, 23, 22),
    ),
}
PAPER = {
    "1": [
        Printed("mnist", "nll", (1158, 1113, 1123, 1169, 1171)),
        Printed("omniglot", "nll", (1224, 1254, 1228, 1190, 1223)),
        Printed("cifar10", "frechet", (168, 262, 174, 103, 104)),
        Printed("celeba", "frechet", (82, None, 89, 56, 55)),
    ],
    "2": [
        Printed("mnist", "table_ii", (0.51, 0.62, 0.5, 0.47, 0.48)),
        Printed("omniglot", "table_ii", (0.75, 0.75, 5.7, 0.75, 0.76)),
        Printed("cifar10", "table_ii", (8.29, 9.8, 89, 4.74, 4.85)),
        Printed("celeba", "table_ii", (17.29, None, 17.6, 16.65, 16.74)),
    ],
    **_ROBUSTNESS,
}


def cell(table: str, data_set: str, model: str, column: str) -> float | None:
    """Return what the paper prints, None if it prints nothing."""
    if model not in _MODELS:
        return None
    for printed in PAPER.get(table, ()):
        if (printed.data_set, printed.column) == (data_set, column):
            return printed.values[_MODELS.index(model)]
    return None


def best(table: str, data_set: str, column: str) -> float | None:
    """Return the paper's best accuracy in a column."""
    found = [cell(table, data_set, model, column) for model in _MODELS]
    known = [value for value in found if value is not None]
    return max(known) if known else None
