"""Precision, recall, density and coverage against cases that are known."""

import math

import numpy as np
import pytest

from skvim.metrics import _neighbours, precision_recall


def column(*values):
    return np.array(values, dtype=float)[:, None]


def figures(found):
    return found.precision, found.recall, found.density, found.coverage


@pytest.mark.parametrize(
    ("x", "y", "k", "expected"),
    [
        # Neighbourhoods of radius 1: bounds are inside, what lies beyond is not.
        (column(0, 1, 2), column(3, 4), 1, (0.5, 1 / 3, 0.5, 1 / 3)),
        (column(0, 1, 2), column(3.01, 5), 1, (0.0, 1 / 3, 0.0, 0.0)),
        # Real rows reach 2, 1 and 2 far, and the generated ones 10, 5.5 and 10.
        (column(0, 1, 2), column(-1, 3.5, 9), 2, (2 / 3, 1.0, 1 / 3, 2 / 3)),
        # One of two modes, and a row between them.
        (column(0, 1, 10, 11), column(0, 1), 1, (1.0, 0.5, 2.0, 0.5)),
        (column(0, 1, 10, 11), column(0, 1, 5), 1, (2 / 3, 0.5, 4 / 3, 0.5)),
    ],
)
def test_rows_on_a_line_have_the_figures_counted_by_hand(x, y, k, expected):
    found = precision_recall(x, y, n_neighbors=k)
    assert figures(found) == pytest.approx(expected)
    assert (found.n_samples, found.n_neighbors) == ((len(x), len(y)), k)


def by_definition(x, y, k):
    """Count as the definitions say, row by row."""
    reach_x, reach_y = (
        [sorted(np.linalg.norm(rows - row, axis=1))[k] for row in rows] for rows in (x, y)
    )
    in_x = np.array([[math.dist(a, b) <= r for a, r in zip(x, reach_x, strict=True)] for b in y])
    in_y = np.array([[math.dist(a, b) <= r for b, r in zip(y, reach_y, strict=True)] for a in x])
    shares = in_x.any(1).mean(), in_y.any(1).mean(), in_x.sum(1).mean() / k, in_x.any(0).mean()
    return tuple(float(share) for share in shares)


@pytest.mark.numerics
@pytest.mark.parametrize("k", [1, 5])
@pytest.mark.parametrize("d", [1, 30])
@pytest.mark.parametrize("offset", [0.0, 1e5])
def test_random_rows_have_the_figures_of_the_definition(d, k, offset, monkeypatch):
    source = np.random.default_rng(d)
    x, y = source.normal(size=(60, d)) + offset, source.normal(0.3, 0.9, size=(40, d)) + offset
    expected = by_definition(x, y, k)
    assert figures(precision_recall(x, y, n_neighbors=k)) == pytest.approx(expected)
    monkeypatch.setattr(_neighbours, "_BLOCK_VALUES", 200)
    assert figures(precision_recall(x, y, n_neighbors=k)) == pytest.approx(expected)
    swapped = precision_recall(y, x, n_neighbors=k)
    assert (swapped.recall, swapped.precision) == pytest.approx(expected[:2])


@pytest.mark.numerics
@pytest.mark.parametrize(("n", "m", "k", "d"), [(40, 40, 1, 1), (40, 25, 3, 8), (20, 30, 5, 1)])
def test_rows_of_one_law_have_the_published_expectations(n, m, k, d):
    source = np.random.default_rng(k)
    runs = []
    for _ in range(150):
        x, y = source.gamma(1.0, size=(n, d)), source.gamma(1.0, size=(m, d))
        found = precision_recall(x, y, n_neighbors=k)
        runs.append((found.coverage, found.density))
    coverage = 1 - math.prod((n - i) / (m + n - i) for i in range(1, k + 1))
    errors = np.std(runs, axis=0) / math.sqrt(len(runs))
    assert (np.abs(np.mean(runs, axis=0) - (coverage, 1)) < 4 * errors).all()


def test_lost_modes_cost_recall_and_strange_rows_precision():
    source = np.random.default_rng(0)
    modes = 10.0 * np.arange(10)
    x = source.normal(size=(500, 2)) + modes[np.arange(500) % 10, None]
    some = source.normal(size=(500, 2)) + modes[np.arange(500) % 3, None]
    lost, strange = precision_recall(x, some), precision_recall(some, x)
    assert lost.precision > 0.95
    assert lost.recall == pytest.approx(0.3, abs=0.03)
    assert lost.coverage == pytest.approx(0.3, abs=0.03)
    assert strange.precision == pytest.approx(0.3, abs=0.03)
    assert strange.recall > 0.95
    assert strange.coverage == pytest.approx(1 - (500 / 650) ** 3, abs=0.06)


def test_an_outlier_raises_precision_but_hardly_density():
    """The toy case of the authors of density: real N(0, I), generated N(1, I), an outlier at 1."""
    source = np.random.default_rng(0)
    x, y = source.normal(size=(500, 64)), source.normal(1.0, size=(500, 64))
    alone = precision_recall(x, y, n_neighbors=5)
    joined = precision_recall(np.vstack([x, np.full((1, 64), 3.0)]), y, n_neighbors=5)
    assert alone.precision < 0.1
    assert joined.precision > 0.9
    assert joined.density - alone.density < 0.25


@pytest.mark.numerics
@pytest.mark.parametrize("offset", [0.0, 1e6])
def test_equal_sets_are_perfect_also_with_copies_of_rows(offset):
    x = np.repeat(np.random.default_rng(0).normal(size=(30, 20)), 5, axis=0) + offset
    found = precision_recall(x, x[::-1], n_neighbors=2)
    assert figures(found)[:2] == (1.0, 1.0)
    assert found.coverage == 1.0


@pytest.mark.parametrize(
    ("n", "k", "message"),
    [(3, 3, "minimum of 4"), (3, 0, r"n_neighbors must be an int in \[1")],
)
def test_refuses_neighbours_that_there_are_none_of(n, k, message):
    with pytest.raises(ValueError, match=message):
        precision_recall(np.eye(n), np.eye(3), n_neighbors=k)


@pytest.mark.numerics
@pytest.mark.parametrize("where", ["x", "y"])
def test_one_huge_row_leaves_the_figures_of_all_others(where):
    source = np.random.default_rng(0)
    x, y = source.normal(size=(60, 3)), source.normal(8.0, size=(60, 3))
    (x if where == "x" else y)[0] = 1e8
    assert figures(precision_recall(x, y)) == pytest.approx(by_definition(x, y, 3))
