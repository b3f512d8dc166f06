"""Tables other than that in fit, given values, and files."""

import joblib
import narwhals as nw
import numpy as np
import pandas as pd
import pytest
from tables.tables import mixed_frame

from skvim.tables import Columns, Table


@pytest.fixture(scope="module")
def frame():
    return mixed_frame()


@pytest.fixture(scope="module")
def table(frame):
    return Table.fit(frame, Columns())


def small():
    return pd.DataFrame({"age": [31.5, 45.0, 20.25, 31.0], "sex": ["f", "m", "f", "f"]})


def test_names_are_known(table, frame):
    assert table.n_columns == frame.shape[1]
    assert table.feature_names.tolist() == list(frame)
    assert table.feature_names.dtype == object
    assert Table.fit(small().to_numpy(), Columns()).feature_names is None
    numbered = frame.set_axis(range(frame.shape[1]), axis=1)
    assert Table.fit(numbered, Columns()).feature_names is None
    built = Table.fit(numbered, Columns())
    assert list(built.kinds) == list(range(frame.shape[1]))


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda X: X.rename(columns={"age": "years"}), "unseen at fit time:\n- years\n"),
        (lambda X: X.rename(columns={"age": "years"}), "yet now missing:\n- age\n"),
        (lambda X: X[["sex", "age"]], "must be in the same order as they were in fit"),
        (lambda X: X[["sex"]], "yet now missing:\n- age\n"),
        (lambda X: X.to_numpy()[:, :1], "X has 1 features, but Table is expecting 2 features"),
        (lambda X: X.assign(age=[np.inf, 1, 2, 3]), "Infinity is in 'age'"),
        (lambda X: X.assign(age=np.nan, sex=None), r"4 rows have none; .* \[0, 1, 2, 3\]"),
        (
            lambda X: X.mask([[i == 2] * 2 for i in range(4)]),
            r"1 rows have none; the first are at positions \[2\]",
        ),
    ],
)
def test_other_tables_are_refused(change, match):
    table = Table.fit(small(), Columns())
    with pytest.raises(ValueError, match=match):
        table.encode(change(small()))


def test_other_contents_are_refused():
    table = Table.fit(small().assign(day=pd.Timestamp("2020-01-01")), Columns())
    X = small().assign(day=pd.Timestamp("2020-01-01"))
    with pytest.raises(TypeError, match="Column 'age' held numbers in fit, but holds labels now"):
        table.encode(X.assign(age="old"))
    with pytest.raises(TypeError, match="Column 'day' held dates in fit, but holds numbers now"):
        table.encode(X.assign(day=1))
    with pytest.raises(TypeError, match="Column 'sex' held labels in fit, but holds dates now"):
        table.encode(X.assign(sex=X["day"]))


def test_rows_with_nothing_observed_may_be_allowed():
    table = Table.fit(small(), Columns())
    empty = pd.DataFrame({"age": [np.nan], "sex": [None]})
    assert all(np.isnan(part).all() for part in table.encode(empty, allow_empty=True))


def test_unknown_categories_are_missing_or_an_error():
    X = pd.DataFrame({"age": [20.0, 30.0], "sex": ["x", "f"]})
    _, sex = Table.fit(small(), Columns()).encode(X)
    np.testing.assert_array_equal(sex, [[np.nan], [0.0]])
    table = Table.fit(small(), Columns(handle_unknown="error"))
    with pytest.raises(ValueError, match=r"has not seen: 'sex' \('x'\)"):
        table.encode(X)
    # They are observed all the same: nothing fills them.
    assert not table.missing(X).any()
    filled = table.fill(X, [np.zeros(2), np.array(["f", "f"], dtype=object)])
    pd.testing.assert_frame_equal(filled, X)


def test_columns_without_a_value_get_the_type_of_fit():
    table = Table.fit(small(), Columns())
    X = small().assign(sex=np.nan)
    values = [np.full(4, 20.0), np.array(list("fmfm"), dtype=object)]
    filled = table.fill(X, values)
    assert filled["sex"].tolist() == list("fmfm")
    assert filled.dtypes.equals(small().dtypes)
    assert X["sex"].isna().all()
    with pytest.raises(TypeError, match="Column 'sex' of X holds numbers and cannot be filled"):
        table.fill(X.assign(sex=[1.0, np.nan, 2.0, 3.0]), values)


def test_given_values_alone_are_observed(table, frame):
    given = {
        "wage": 1e5,
        "code": 2,
        "flag": True,
        "word": "red",
        "moment": "2021-01-01",
        "span": pd.Timedelta(days=3),
        "size": "M",
        "mixture": "1",
    }
    stored = table.encode_given(given, 3)
    for part, values in zip(table.parts, stored, strict=True):
        observed = table.feature_names[part.column] in given
        assert values.shape == (3, part.n_stored)
        assert np.isnan(values).all() != observed
    columns = {name: [value] for name, value in given.items()}
    columns["moment"] = pd.to_datetime(columns["moment"])
    row = frame.iloc[:1].assign(**columns).astype({"size": frame["size"].dtype})
    for expected, values in zip(table.encode(row), stored, strict=True):
        if not np.isnan(values).any():
            np.testing.assert_array_equal(np.repeat(expected, 3, axis=0), values)


@pytest.mark.parametrize(
    ("given", "error", "match"),
    [
        ({"height": 1}, ValueError, "given names the column 'height'"),
        ({"word": "pink"}, ValueError, r"has not seen: 'word' \('pink'\)"),
        ({"code": 17}, ValueError, r"has not seen: 'code' \(17\)"),
        ({"flag": 1}, ValueError, "has not seen: 'flag'"),
        ({"wage": "much"}, TypeError, "types of their columns. Got 'much' for column 'wage'"),
        ({"wage": True}, TypeError, "types of their columns"),
        ({"wage": np.nan}, ValueError, "given must hold values. Got nan for column 'wage'"),
        ({"wage": np.inf}, ValueError, "Infinity is in 'wage'"),
        ({"moment": "never"}, ValueError, "given holds 'never' for column 'moment'"),
        ({"word": None}, ValueError, "given must hold values. Got None for column 'word'"),
        ({"word": ["red"]}, TypeError, "types of their columns"),
    ],
)
def test_wrong_given_values_are_refused(table, given, error, match):
    with pytest.raises(error, match=match):
        table.encode_given(given, 2)


def test_arrays_take_positions():
    table = Table.fit(np.array([[1.5, 2.0], [2.5, 4.0], [5.0, 2.0]]), Columns())
    values = table.encode_given({1: 4.0}, 2)
    assert np.isnan(values[0]).all()
    assert values[1].tolist() == [[1.0], [1.0]]
    with pytest.raises(ValueError, match=r"given names the column 2, .* It has 2 columns"):
        table.encode_given({2: 4.0}, 2)


def test_averages_of_expectations_are_expectations(table):
    rng = np.random.default_rng(0)
    outputs = [
        rng.dirichlet(np.ones(p.n_outputs), 4) if p.n_outputs > 1 else rng.normal(size=(4, 1))
        for p in table.parts
    ]
    outputs = [
        np.ones((4, 1)) if type(p).__name__ == "Categorical" and p.n_outputs == 1 else o
        for p, o in zip(table.parts, outputs, strict=True)
    ]
    scales = np.full(len(table.parts), 0.4)
    expected = table.expectations(outputs, scales)
    found = table.best([e.mean(axis=0, keepdims=True) for e in expected])
    for values, e, field in zip(found, expected, table.fields, strict=True):
        if field.content == "float":
            np.testing.assert_allclose(values, e.mean())
        elif field.content == "label":
            np.testing.assert_allclose(e.sum(axis=1), 1)


def test_equal_tables_hash_alike(table, frame):
    again = Table.fit(frame, Columns())
    assert hash(again) == hash(table)
    assert joblib.hash(again) == joblib.hash(table)
    assert Columns({"a": "grid"}) == Columns({"a": "grid"}) != Columns({"a": "values"})


def damaged(value, rng):
    """Return a state with one changed value, at random."""
    if isinstance(value, dict | tuple) and len(value):
        keys = list(value) if isinstance(value, dict) else range(len(value))
        key = keys[int(rng.integers(len(keys)))]
        new = damaged(value[key], rng)
        if isinstance(value, dict):
            return {**value, key: new}
        return (*value[:key], new, *value[key + 1 :])
    if isinstance(value, np.ndarray) and rng.random() < 0.7:
        changed = [value[::-1], value[:-1], value[:0], value[None], value.astype(str)]
        return changed[int(rng.integers(len(changed)))]
    wrong = ["x", -7, 2.5, None, np.nan, (), {}, True, np.array([[1.0]]), np.array(["a"])]
    return wrong[int(rng.integers(len(wrong)))]


def refusal(state):
    """Return the message by which a state is refused, None if it describes a table."""
    try:
        Table.from_state(state).check()
    except ValueError as error:
        return str(error)
    return None


@pytest.mark.trust("A damaged description of a table is refused by a ValueError, or is a table.")
def test_damaged_states_are_refused(table, amount):
    rng = np.random.default_rng(0)
    n = amount("descriptions of tables damaged", quick=300, full=20_000)
    messages = [refusal(damaged(table.state(), rng)) for _ in range(n)]
    refused = [message for message in messages if message is not None]
    assert all(message.startswith("The state of a table is invalid") for message in refused)
    assert len(refused) > 0.9 * n


@pytest.mark.parametrize("library", ["polars", "pyarrow"])
def test_states_name_no_functions(library):
    table = Table.fit(pd.DataFrame({"x": [1.5, 2.5]}), Columns())
    state = table.state()
    field = {**state["fields"][0], "dtype": ("read_csv", "/etc/passwd")}
    with pytest.raises(ValueError, match="'read_csv' is no type of a column"):
        Table.from_state({**state, "library": library, "fields": (field,)})


def test_dates_beyond_the_range_of_the_unit_are_refused():
    days = pd.date_range("2020", periods=9).astype("M8[ns]")
    table = Table.fit(pd.DataFrame({"day": days}), Columns())
    for day in ("1300-01-01", "9999-12-31"):
        late = pd.DataFrame({"day": np.array([day, "NaT"], "M8[s]")})
        with pytest.raises(ValueError, match=r"'day'.*out of the range"):
            table.encode(late, allow_empty=True)
    coarse = pd.DataFrame({"day": days.astype("M8[s]")})
    for one, other in zip(
        table.encode(coarse), table.encode(pd.DataFrame({"day": days})), strict=True
    ):
        np.testing.assert_array_equal(one, other)


def test_filled_dates_beyond_the_range_of_the_unit_are_refused():
    old = pd.DataFrame({"day": np.array(["1300-01-01", "1301-02-03"], "M8[s]"), "x": [1.0, 2.0]})
    table = Table.fit(old, Columns())
    holes = pd.DataFrame({"day": np.array(["2020-01-01", "NaT"], "M8[ns]"), "x": [1.0, 2.0]})
    with pytest.raises(ValueError, match="out of the range"):
        table.fill(holes, [old["day"].to_numpy(), old["x"].to_numpy()])


def test_given_values_are_not_rounded():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "wide": rng.integers(-(2**63), 2**63 - 1, 30),
            "unsigned": rng.integers(0, 2**64 - 1, 30, dtype=np.uint64),
            "day": pd.date_range("2020", periods=30).astype("M8[s]"),
        }
    )
    table = Table.fit(frame, Columns())
    given = {
        "wide": int(frame["wide"][0]),
        "unsigned": frame["unsigned"][0],
        "day": "2020-01-01 05:30",
    }
    values = table.values_given(given, 2)
    assert values[0].tolist() == [given["wide"]] * 2
    assert values[1].tolist() == [int(given["unsigned"])] * 2
    assert (values[2] == np.datetime64("2020-01-01T05:30")).all()


@pytest.mark.parametrize("value", [128, -129, 2.5, 2**70, np.inf])
def test_given_values_that_a_column_of_integers_cannot_hold_are_refused(value):
    table = Table.fit(pd.DataFrame({"n": np.arange(30, dtype=np.int8)}), Columns())
    for method in (table.encode_given, table.values_given):
        with pytest.raises(ValueError, match=r"'n'.*integers from -128 to 127"):
            method({"n": value}, 1)


LINE = np.linspace(0, 1, 30)


def floats_of_pandas(dtype):
    """Return frames with a column of floats."""
    plain = pd.DataFrame({0: LINE.astype(dtype)})
    return [plain, *([plain.astype(dtype.title())] if dtype != "float16" else [])]


def floats_of_polars(dtype):
    """Return frames with a column of floats, or of decimals."""
    pl = pytest.importorskip("polars")
    if dtype == "decimal":
        return [pl.DataFrame({"x": pl.Series(LINE).cast(pl.Decimal(6, 2))})]
    return [pl.DataFrame({"x": LINE.astype(dtype)})] if dtype != "float16" else []


def floats_of_pyarrow(dtype):
    """Return tables and frames with a column of floats, or of decimals."""
    pa = pytest.importorskip("pyarrow")
    if dtype == "decimal":
        column = pa.array(LINE).cast(pa.decimal128(6, 2), safe=False)
    else:
        column = pa.array(LINE.astype(dtype))
    series = pd.Series(column, dtype=pd.ArrowDtype(column.type))
    return [pa.table({"x": column}), pd.DataFrame({0: series})]


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "decimal"])
@pytest.mark.parametrize(
    "make",
    [
        lambda dtype: [] if dtype == "decimal" else [LINE[:, None].astype(dtype)],
        lambda dtype: [] if dtype == "decimal" else floats_of_pandas(dtype),
        floats_of_polars,
        floats_of_pyarrow,
    ],
    ids=["numpy", "pandas", "polars", "pyarrow"],
)
def test_given_values_that_a_column_of_floats_cannot_hold_are_refused(make, dtype):
    if dtype == "float16" and not hasattr(nw, "Float16"):
        pytest.skip("this narwhals knows no float16")
    limit = 9999.99 if dtype == "decimal" else float(np.finfo(dtype).max)
    refused = [1.01 * limit, -1e300] if limit < 1e308 else []
    for frame in make(dtype):
        table = Table.fit(frame, Columns())
        for value in (limit, -limit, 0.1):
            assert table.values_given({0: value}, 1)[0].tolist() == [value]
        for method in (table.encode_given, table.values_given):
            for value in refused:
                with pytest.raises(ValueError, match=r"given holds .*column holds numbers from"):
                    method({0: value}, 1)


@pytest.mark.parametrize("scale", [1e-310, 1e-300, 1.0])
def test_numbers_far_beyond_those_of_fit_are_encoded_as_finite_ones(scale):
    x = np.random.default_rng(0).normal(size=50) * scale
    table = Table.fit(pd.DataFrame({"x": x}), Columns())
    far = pd.DataFrame({"x": [1e10, 1e300, -1.7e308]})
    for part in table.encode(far, values=True):
        assert np.isfinite(part).all()


def test_given_dates_without_a_time_zone_are_in_utc():
    days = pd.date_range("2020-06-01", periods=30, tz="Europe/Rome")
    table = Table.fit(pd.DataFrame({"day": days}), Columns())
    (value,) = table.values_given({"day": "2020-06-05"}, 1).values()
    assert value[0] == np.datetime64("2020-06-05T00:00")
