"""Which kind a column has, and what is refused, by name."""

import datetime
import decimal

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from tables.tables import draws_of, mixed_columns

from skvim.tables import Columns, Table

rng = np.random.default_rng(0)

KINDS = {
    "wage": "continuous",
    "skewed": "continuous",
    "decimal": "grid",
    "count": "grid",
    "code": "values",
    "gain": "continuous with atoms",
    "constant": "values",
    "flag": "boolean",
    "word": "category",
    "moment": "continuous",
    "zoned": "continuous",
    "span": "continuous",
}


def test_kinds_are_found_from_types_and_values():
    found = Table.fit(pd.DataFrame(mixed_columns()), Columns()).kinds
    assert {name: found[name] for name in KINDS} == KINDS


@pytest.mark.parametrize(
    ("kind", "shown"),
    [("category", "category"), ("values", "values"), ("continuous", "continuous")],
)
def test_kinds_are_overridden(kind, shown):
    frame = pd.DataFrame({"x": rng.poisson(5, 300), "y": rng.normal(size=300)})
    assert Table.fit(frame, Columns({"x": kind})).kinds["x"] == shown
    assert Table.fit(frame, Columns({0: kind})).kinds["x"] == shown
    assert Table.fit(frame.to_numpy(), Columns({0: kind})).kinds[0] == shown


def test_the_best_guess_of_values_is_their_mean_and_of_categories_the_most_probable_one():
    frame = pd.DataFrame({"x": np.repeat([0.0, 1.0, 5.0], [30, 30, 40])})
    shares = [np.array([[0.3, 0.3, 0.4]])]
    for kind, expected in (("values", 2.3), ("category", 5.0)):
        table = Table.fit(frame, Columns({"x": kind}))
        order = [0, 1, 2] if kind == "values" else [2, 0, 1]  # the most frequent first
        found = table.best(table.expectations([shares[0][:, order]], np.array([np.nan])))
        assert found[0] == pytest.approx(expected)


def test_ordered_needs_an_order():
    frame = pd.DataFrame({"x": ["a", "b", "c"]})
    with pytest.raises(ValueError, match="Column 'x' cannot be 'ordered'"):
        Table.fit(frame, Columns({"x": "ordered"}))
    listed = frame.astype(pd.CategoricalDtype(["c", "b", "a"]))
    assert Table.fit(listed, Columns()).kinds == {"x": "category"}
    assert Table.fit(listed, Columns({"x": "ordered"})).kinds == {"x": "ordered"}


@pytest.mark.parametrize(
    ("columns", "error", "match"),
    [
        (Columns({"z": "grid"}), ValueError, "kinds names the column 'z', .* Columns are 'x', 'y'"),
        (Columns({"x": "wrong"}), ValueError, "kinds must be among .* Got 'wrong' for column 'x'"),
        (Columns("grid"), TypeError, "kinds must be a mapping"),
        (Columns({"y": "grid"}), ValueError, "Column 'y' holds labels and cannot be .* 'grid'"),
        (Columns(max_categories=1), ValueError, r"max_categories must be an int in \[2, inf\)"),
        (Columns(max_categories=2.5), ValueError, "max_categories must be an int"),
        (Columns({"x": "values"}, max_categories=2), ValueError, "Column 'x' has more than"),
        (Columns(handle_unknown="ignore"), ValueError, "handle_unknown must be .* Got 'ignore'"),
    ],
)
def test_wrong_settings_are_refused(columns, error, match):
    frame = pd.DataFrame({"x": [1.0, 2.0, 3.5], "y": ["a", "b", "c"]})
    with pytest.raises(error, match=match):
        Table.fit(frame, columns)


def bad_columns():
    good = {"good": [1.0, 2.0]}
    yield {**good, "a": [np.nan] * 2, "b": [None] * 2}, ValueError, "All cells of 'a', 'b' are miss"
    yield {**good, "a": [1.0, np.inf], "b": [-np.inf, 0]}, ValueError, "Infinity is in 'a', 'b'"
    yield {**good, "a": [1j, 2.0]}, TypeError, "Column 'a' holds .*complex"
    yield {**good, "a": [[1], [2]]}, TypeError, "Column 'a' holds objects of type list"
    yield {**good, "a": [b"x", b"y"]}, TypeError, "Column 'a' holds objects of type bytes"
    day = datetime.date(2020, 1, 1)
    both, gap, text = [day, datetime.datetime(2020, 1, 2)], [day, None], [day, "x"]
    yield {**good, "a": both}, TypeError, r"'a' holds .* date and datetime.*pd\.to_datetime\(column"
    yield {**good, "a": gap}, TypeError, r"'a' holds objects of type date.*pd\.to_datetime\(column"
    yield {**good, "a": text}, TypeError, "'a' holds .* date.* to numbers, text, categories"
    spans = pd.Series([datetime.timedelta(1), datetime.timedelta(2)], dtype=object)
    yield {**good, "a": spans}, TypeError, r"'a' holds .* timedelta.*pd\.to_timedelta\(column"
    prices = [decimal.Decimal("1.50"), 2]
    yield {**good, "a": prices}, TypeError, r"'a' holds .* Decimal.*column\.astype\(float\)"
    yield {**good, "a": pd.interval_range(0, 2)}, TypeError, "Column 'a' holds"
    yield {**good, "a": pd.cut([1, 2], 2)}, TypeError, "Column 'a' holds"
    yield {**good, "a": pd.arrays.SparseArray([0.0, 1.0])}, TypeError, "Column 'a' holds .*Sparse"
    yield {("a", "b"): [1.0, 2.0]}, TypeError, "Names of columns must be str or int"


@pytest.mark.parametrize(
    ("objects", "convert"),
    [
        ([datetime.date(2020, 1, 1), datetime.date(2020, 2, 1), None], pd.to_datetime),
        ([datetime.timedelta(1), datetime.timedelta(2), None], pd.to_timedelta),
        ([decimal.Decimal("1.50"), 2, None], lambda column: column.astype(float)),
    ],
)
def test_what_an_error_says_of_objects_makes_a_column_that_is_read(objects, convert):
    column = pd.Series(objects, dtype=object)
    with pytest.raises(TypeError, match="Convert it"):
        Table.fit(pd.DataFrame({"a": column}), Columns())
    assert Table.fit(pd.DataFrame({"a": convert(column)}), Columns()).n_columns == 1


@pytest.mark.parametrize(("columns", "error", "match"), list(bad_columns()))
def test_bad_columns_are_named(columns, error, match):
    with pytest.raises(error, match=match):
        Table.fit(pd.DataFrame(columns), Columns())


@pytest.mark.parametrize(
    ("X", "error", "match"),
    [
        (sparse.csr_array(np.eye(3)), TypeError, "Sparse data was passed"),
        (np.ma.masked_equal(np.eye(3), 0), TypeError, "Masked arrays are not supported"),
        (np.arange(3.0), ValueError, "Expected 2D array, got 1D array instead"),
        (np.array(3.0), ValueError, "Expected 2D array, got 0D array instead"),
        (np.empty((0, 3)), ValueError, r"Found array with 0 sample\(s\) \(shape=\(0, 3\)\)"),
        (np.empty((3, 0)), ValueError, r"Found array with 0 feature\(s\) \(shape=\(3, 0\)\)"),
        (pd.DataFrame(), ValueError, "Found array with 0"),
        (pd.Series([1.0, 2.0]), ValueError, "Expected 2D array"),
        (pd.DataFrame(np.eye(2), columns=["a", "a"]), ValueError, "nique column names"),
    ],
)
def test_what_is_no_table_is_refused(X, error, match):
    with pytest.raises(error, match=match):
        Table.fit(X, Columns())


def test_labels_differ_by_type():
    frame = pd.DataFrame({"x": pd.Series([1, True, "1", "True", None] * 20, dtype=object)})
    table = Table.fit(frame, Columns())
    assert [part.n_outputs for part in table.parts] == [4]
    back = table.decode(draws_of(table.encode(frame.iloc[:4])))[0]
    assert [(type(value), value) for value in back] == [
        (type(v), v) for v in (1, True, "1", "True")
    ]


def test_rare_categories_share_a_level():
    words = np.repeat(["a", "b", "c", "d", "e"], [50, 40, 3, 2, 1])
    table = Table.fit(pd.DataFrame({"x": words}), Columns(max_categories=3))
    assert table.parts[0].probabilities == pytest.approx((50 / 96, 40 / 96, 6 / 96))
    assert table.decode([np.array([[0.0], [1.0], [2.0]])])[0].tolist() == ["a", "b", "c"]
    encoded = table.encode(pd.DataFrame({"x": ["e", "d", "c", "a"]}))
    assert encoded[0][:, 0].tolist() == [2, 2, 2, 0]


def test_words_of_one_row_each_are_one_level():
    frame = pd.DataFrame({"id": [f"row {i}" for i in range(200)]})
    table = Table.fit(frame, Columns())
    assert table.parts[0].probabilities == (1.0,)
    assert (table.encode(frame)[0] == 0).all()


@pytest.mark.parametrize("kind", ["text", "numbers", "categories"])
def test_many_categories_take_little_time_and_memory(kind):
    numbers = np.tile(np.arange(100_000), 2)
    words = pd.Series(numbers).map("word {}".format)
    x = {"text": words, "numbers": numbers, "categories": words.astype("category")}[kind]
    frame = pd.DataFrame({"x": x})
    table = Table.fit(frame, Columns({"x": "category"}))
    assert table.parts[0].n_outputs == 100
    assert (table.encode(frame)[0] <= 99).all()
    assert Table.from_state(table.state()) == table


def test_integers_and_times_stay_in_the_range_of_their_types():
    start = np.datetime64("2020-01-01", "ns")
    frame = pd.DataFrame(
        {
            "byte": rng.integers(0, 256, 300).astype(np.uint8),
            "large": rng.integers(2**63, 2**64 - 1, 300, dtype=np.uint64),
            "moment": start + rng.integers(0, 10**18, 300).astype("m8[ns]"),
        }
    )
    table = Table.fit(frame, Columns(dict.fromkeys(frame, "continuous")))
    for y in (-1e15, -30.0, 30.0, 1e15):
        built = table.build(table.decode([np.full((2, 1), y)] * 3))
        assert built.dtypes.equals(frame.dtypes)
        assert (built["byte"] == (0 if y < 0 else 255)).all()
    assert (built["large"] == 2**64 - 1).all()
    assert built["moment"].iloc[0] > pd.Timestamp("2262-01-01")


def test_dates_are_drawn_as_the_data_are():
    days = np.datetime64("2020-01-01") + rng.integers(0, 10_000, 300)
    table = Table.fit(pd.DataFrame({"day": days.astype("M8[ns]")}), Columns())
    drawn = table.decode([rng.normal(size=(100, 1))])[0]
    assert (drawn == drawn.astype("M8[D]")).all()


def test_draws_are_rounded_as_the_data_are():
    prices = np.round(np.exp(rng.normal(2, 1, size=500)), 2)
    table = Table.fit(prices[:, None], Columns())
    assert table.kinds == {0: "continuous"}
    drawn = table.decode([rng.normal(size=(500, 1))])[0]
    np.testing.assert_array_equal(drawn, np.round(drawn, 2))


def test_labels_that_share_a_level_are_drawn_evenly():
    labels = ["a"] * 50 + ["b"] * 40 + [f"rare {i}" for i in range(10)]
    table = Table.fit(pd.DataFrame({"x": labels}), Columns(max_categories=3))
    positions = np.full((5000, 1), 2.0)
    (guessed,) = table.decode([positions])
    assert len(set(guessed)) == 1
    (drawn,) = table.decode([positions], np.random.default_rng(0))
    values, counts = np.unique(drawn.astype(str), return_counts=True)
    assert list(values) == [f"rare {i}" for i in range(10)]
    np.testing.assert_allclose(counts / 5000, 0.1, atol=0.02)
    (others,) = table.decode([positions * 0], np.random.default_rng(0))
    assert set(others) == {"a"}
