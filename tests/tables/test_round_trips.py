"""Tables come back from their parts as they were, for every kind of column and every library."""

import pickle

import numpy as np
import pandas as pd
import pytest
from tables.tables import as_polars, as_pyarrow, draws_of, mixed_frame

from skvim.tables import Columns, Table

ROUNDED = {
    "skewed",
    "wage",
    "tiny",
    "narrow",
    "nullable_float",
    "gain",
}  # up to a float's last bits


def pandas_backed_by_arrow(n=300, seed=0):
    pyarrow = pytest.importorskip("pyarrow")
    frame = mixed_frame(n, seed)[["count", "word", "flag", "moment", "wage"]]
    types = [pyarrow.int32(), pyarrow.string(), pyarrow.bool_(), pyarrow.timestamp("ms", "UTC")]
    types.append(pyarrow.float64())
    backed = frame.astype(dict(zip(frame, map(pd.ArrowDtype, types), strict=True)))
    return backed.assign(day=backed["moment"].dt.date.astype(pd.ArrowDtype(pyarrow.date32())))


def polars_frame():
    pytest.importorskip("polars")
    pytest.importorskip("pyarrow")
    return as_polars()


def pyarrow_table():
    pytest.importorskip("pyarrow")
    return as_pyarrow()


MAKERS = [mixed_frame, pandas_backed_by_arrow, polars_frame, pyarrow_table]


def names_of(table):
    return list(getattr(table, "column_names", None) or table.columns)


def column(table, name):
    return table[[name]] if isinstance(table, pd.DataFrame) else table.select([name])


def assert_same(found, expected, *, exact=True):
    if isinstance(expected, pd.DataFrame):
        pd.testing.assert_frame_equal(found, expected, check_exact=exact)
    elif hasattr(expected, "schema") and hasattr(expected, "to_pylist"):
        assert found.schema == expected.schema
        if exact:
            assert found.equals(expected)
        else:
            assert_same(found.to_pandas(), expected.to_pandas(), exact=False)
    else:
        from polars.testing import assert_frame_equal

        assert_frame_equal(found, expected, check_exact=exact)


def assert_same_tables(found, expected, rounded=ROUNDED):
    assert names_of(found) == names_of(expected)
    for name in names_of(expected):
        pair = column(found, name), column(expected, name)
        assert_same(*pair, exact=name not in rounded)


@pytest.mark.parametrize("make", MAKERS)
def test_what_is_encoded_is_decoded_with_types_names_and_categories(make):
    frame = make()
    table = Table.fit(frame, Columns())
    assert_same_tables(table.build(table.decode(draws_of(table.encode(frame)))), frame)


@pytest.mark.parametrize("make", MAKERS)
def test_missing_cells_alone_are_filled(make):
    frame = make()
    table = Table.fit(frame, Columns())
    columns = table.decode(draws_of(table.encode(frame)))
    mask = np.random.default_rng(0).random((300, table.n_columns)) < 0.3
    gaps = table.build(table.with_missing(columns, mask))
    np.testing.assert_array_equal(table.missing(gaps), mask)
    for part, cells in zip(table.parts, table.encode(gaps), strict=True):
        assert np.isnan(cells[mask[:, part.column]]).all()
    # Types that cannot hold missing cells became others.
    refilled = table.fill(gaps, columns)
    keeps = [n for n in names_of(frame) if n not in ("count", "serial", "byte", "code", "flag")]
    columns_of = keeps if isinstance(frame, pd.DataFrame) else names_of(frame)
    for name in columns_of:
        assert_same(column(refilled, name), column(frame, name), exact=name not in ROUNDED)


@pytest.mark.parametrize("make", MAKERS)
def test_equal_tables_are_equal_also_from_pickles_and_states(make):
    table = Table.fit(make(), Columns())
    assert table == Table.fit(make(), Columns())
    assert pickle.loads(pickle.dumps(table)) == table
    assert Table.from_state(table.state()) == table
    assert table != Table.fit(make(), Columns(max_categories=2))


@pytest.mark.parametrize("make", MAKERS)
def test_best_values_have_the_types_of_the_columns(make):
    frame = make()
    table = Table.fit(frame, Columns())
    outputs = [np.full((5, p.n_outputs), 1 / p.n_outputs) * (p.n_outputs > 1) for p in table.parts]
    scales = np.where([p.n_outputs > 1 for p in table.parts], np.nan, 0.5)
    best = table.build(table.best(table.expectations(outputs, scales)))
    schema = [frame.dtypes.to_dict() if isinstance(frame, pd.DataFrame) else frame.schema]
    assert [best.dtypes.to_dict() if isinstance(best, pd.DataFrame) else best.schema] == schema


@pytest.mark.parametrize(
    "X",
    [
        np.random.default_rng(0).normal(size=(50, 3)),
        np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32),
        np.random.default_rng(0).poisson(9, size=(90, 2)),
        np.random.default_rng(0).random((50, 2)) < 0.5,
        np.random.default_rng(0).integers(0, 10**9, (50, 2)).astype("M8[s]"),
        np.array([["a", "bc"], ["d", "bc"]]),
        np.array([[1, "a", 2.5], [2, None, np.nan], [3, True, 1.5]], dtype=object),
        [[1.5, 2.0], [2.5, 2.0], [np.nan, 3.0]],
        [[1, "a"], [2, "b"], [None, "b"]],
    ],
    ids=["float64", "float32", "ints", "bools", "dates", "text", "objects", "numbers", "lists"],
)
def test_arrays_come_back_as_arrays(X):
    table = Table.fit(X, Columns())
    columns = table.decode(draws_of(table.encode(X)))
    is_text = not isinstance(X, np.ndarray) and any(isinstance(v, str) for row in X for v in row)
    expected = np.array(X, dtype=object if is_text else None)
    missing = table.missing(X)
    built = table.build(table.with_missing(columns, missing))
    assert built.dtype == expected.dtype
    np.testing.assert_array_equal(table.missing(built), missing)
    filled = table.fill(X, columns)
    assert filled.dtype == expected.dtype
    for array in (built, filled):
        pairs = zip(array[~missing], expected[~missing], strict=True)
        assert all(
            found == value
            if isinstance(value, str)
            else found == pytest.approx(value, rel=1e-6)
            if isinstance(value, float | np.floating)
            else found == value
            for found, value in pairs
        )


def test_observed_cells_keep_every_bit():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 4)) * [1e-12, 1.0, 1e5, 1e300]
    X[rng.random(X.shape) < 0.2] = np.nan
    table = Table.fit(X, Columns())
    filled = table.fill(X, table.decode(draws_of(table.encode(X, allow_empty=True))))
    observed = ~np.isnan(X)
    assert filled[observed].tobytes() == X[observed].tobytes()
    assert np.isfinite(filled).all()


def test_frames_get_the_index_of_another():
    frame = mixed_frame(20).set_index(pd.Index(range(100, 120), name="id"))
    table = Table.fit(frame, Columns())
    columns = table.decode(draws_of(table.encode(frame)))
    assert table.build(columns, like=frame).index.equals(frame.index)
    frame.loc[105, "wage"] = np.nan
    assert table.fill(frame, columns).index.equals(frame.index)


def test_a_table_reads_other_kinds_of_tables_than_that_in_fit():
    frame = pd.DataFrame({"x": [1.5, 2.5, 4.0, 1.0], "word": ["a", "b", "a", None]})
    table = Table.fit(frame, Columns())
    for other in (frame.astype({"x": "Float64"}), frame.astype({"word": "category"})):
        for found, expected in zip(table.encode(other), table.encode(frame), strict=True):
            np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(table.encode(frame.to_numpy())[0], table.encode(frame)[0])


@pytest.mark.parametrize(("library", "make"), [("polars", "DataFrame"), ("pyarrow", "table")])
def test_columns_without_a_type_get_that_of_fit(library, make):
    make = getattr(pytest.importorskip(library), make)
    columns = {"x": [1.5, 2.5], "word": ["a", "b"]}
    table = Table.fit(make(columns), Columns())
    filled = table.fill(
        make({**columns, "word": [None, None]}), list(map(np.array, columns.values()))
    )
    assert_same_tables(filled, make(columns))
