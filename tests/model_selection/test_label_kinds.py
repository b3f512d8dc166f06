"""Kinds of partly labelled y: each works, or its error says what to do."""

import numpy as np
import pandas as pd
import pytest
from sklearn.dummy import DummyClassifier

from skvim.metrics import masked_scorer
from skvim.model_selection import MaskedStratifiedKFold, MaskedStratifiedShuffleSplit, mask_labels
from skvim.semi_supervised import TransductiveSVC

CODES = np.array([0, 1, -1] * 6)
HIDDEN = CODES == -1
X = np.random.default_rng(0).normal(size=(18, 2)) + CODES[:, None]
MODEL = DummyClassifier(strategy="constant", constant=0).fit([[0], [0]], [0, 1])


def named(y):
    labels = np.array(["no", "yes"], dtype=object)[y]
    labels[y == -1] = -1
    return labels


def transduced(y):
    model = TransductiveSVC(random_state=0, safe=False).fit(X, y)
    return np.searchsorted(model.classes_, model.transduction_).tolist()


def arrow(y):
    return pytest.importorskip("pyarrow").array(y)


def arrow_strings(y, dtype):
    pytest.importorskip("pyarrow")
    return pd.Series(y, dtype=dtype)


def polars(y):
    return pytest.importorskip("polars").Series(y)


# What reads partly labelled y, each with a result that depends on the labels alone.
READERS = {
    "folds": lambda y: [t.tolist() for _, t in MaskedStratifiedKFold(2).split(y, y)],
    "splits": lambda y: [
        t.tolist() for _, t in MaskedStratifiedShuffleSplit(3, random_state=0).split(X, y)
    ],
    "mask_labels": lambda y: np.flatnonzero(mask_labels(y, 6, random_state=0) != -1).tolist(),
    "masked_scorer": lambda y: masked_scorer(lambda model, rows, labels: len(labels))(MODEL, X, y),
    "TransductiveSVC": lambda y: transduced(y),
}
PARTLY = {
    "float": lambda: CODES.astype(float),
    "float32": lambda: CODES.astype(np.float32),
    "int8": lambda: CODES.astype(np.int8),
    "bool and -1": lambda: np.where(HIDDEN, -1, (CODES == 1).astype(object)),
    "uint8 and -1": lambda: pd.Series([np.uint8(v) if v >= 0 else -1 for v in CODES], dtype=object),
    "strings": lambda: named(CODES),
    "Int8": lambda: pd.Series(CODES, dtype="Int8"),
    "Float64": lambda: pd.Series(CODES, dtype="Float64"),
    "Categorical": lambda: pd.Categorical(named(CODES)),
    "categories of numbers": lambda: pd.Series(CODES).astype("category"),
    "pyarrow": lambda: arrow(CODES),
    "polars": lambda: polars(CODES),
    "pandas backed by pyarrow": lambda: arrow_strings(CODES, "int64[pyarrow]"),
}
WHOLE = {
    "bool": lambda y: y == 1,
    "boolean": lambda y: pd.Series(y == 1, dtype="boolean"),
    "uint8": lambda y: y.astype(np.uint8),
    "uint64": lambda y: y.astype(np.uint64),
    "UInt8": lambda y: pd.Series(y, dtype="UInt8"),
    "<U3": lambda y: named(y).astype(str),
    "str": lambda y: pd.Series(named(y), dtype="str"),
    "string": lambda y: pd.Series(named(y), dtype="string"),
    "string[pyarrow]": lambda y: arrow_strings(named(y), "string[pyarrow]"),
    "polars of strings": lambda y: polars(named(y).tolist()),
    "pyarrow of strings": lambda y: arrow(named(y).tolist()).dictionary_encode(),
}
LARGEST = np.where(HIDDEN, 255, CODES)
WRAPPED = {
    "uint8": lambda: CODES.astype(np.uint8),
    "uint16": lambda: CODES.astype(np.uint16),
    "uint32": lambda: CODES.astype(np.uint32),
    "uint64": lambda: CODES.astype(np.uint64),
    "list": lambda: list(CODES.astype(np.uint8)),
    "Series": lambda: pd.Series(CODES).astype("uint8"),
    "categories": lambda: pd.Series(CODES.astype(np.uint8)).astype("category"),
    "pyarrow": lambda: arrow(CODES.astype(np.uint8)),
    "polars": lambda: polars(CODES.astype(np.uint8)),
}
REFUSED = {
    "NaN": (lambda: np.where(HIDDEN, np.nan, CODES), "NaN"),
    "NA in Int64": (lambda: pd.Series(CODES, dtype="Int64").mask(HIDDEN), "NaN"),
    "NA in boolean": (lambda: pd.Series(CODES == 1, dtype="boolean").mask(HIDDEN), "NaN"),
    "NA in categories": (lambda: pd.Series(named(CODES)).mask(HIDDEN).astype("category"), "NaN"),
    "NaN in str": (lambda: pd.Series(named(CODES)).astype("str").mask(HIDDEN), "NaN"),
    "-1 made a string": (lambda: pd.Series(named(CODES)).astype("str"), 'string "-1"'),
    "dates": (lambda: CODES.astype("datetime64[D]"), "all strings or all numbers"),
    "durations": (lambda: CODES.astype("timedelta64[D]"), "all strings or all numbers"),
    "complex": (lambda: CODES.astype(complex), "Complex data not supported"),
}


@pytest.fixture(params=READERS, ids=str)
def read(request):
    return READERS[request.param]


@pytest.mark.parametrize("kind", PARTLY)
def test_kinds_that_can_hold_the_mark_are_read_alike(read, kind):
    assert read(PARTLY[kind]()) == read(CODES)


@pytest.mark.parametrize("kind", WHOLE)
def test_kinds_that_cannot_hold_the_mark_have_all_labels(read, kind):
    y = np.abs(CODES)
    assert read(WHOLE[kind](y)) == read(y)


@pytest.mark.parametrize("kind", WRAPPED)
def test_an_unsigned_y_that_lost_its_mark_is_an_error(read, kind):
    with pytest.raises(ValueError, match=r"dtype uint.*largest value.*y\.astype\(int\) before"):
        read(WRAPPED[kind]())


@pytest.mark.trust("Unsigned labels in which -1 became the largest value are refused.")
def test_unsigned_labels_are_refused_or_read_as_signed_ones(amount):
    draws = np.random.default_rng(0)
    for _ in range(amount("unsigned y read", quick=40, full=4000)):
        dtype = draws.choice([np.uint8, np.uint16, np.uint32, np.uint64])
        y = draws.integers(0, draws.integers(2, 6), 40) + draws.integers(0, 250)
        y[:20] = y[20:]  # at least two rows of each class
        read = READERS[draws.choice(["folds", "mask_labels"])]
        assert read(y.astype(dtype)) == read(y)
        y[draws.integers(0, 40)] = -1
        with pytest.raises(ValueError, match="largest value"):
            read(y.astype(dtype))


@pytest.mark.parametrize("dtype", ["UInt8", "uint8[pyarrow]"])
@pytest.mark.parametrize("reader", READERS)
def test_an_unsigned_nullable_y_that_lost_its_mark_is_an_error(reader, dtype):
    if "pyarrow" in dtype:
        pytest.importorskip("pyarrow")
    with pytest.raises(ValueError, match=f"{dtype[:5]}.* its largest value"):
        READERS[reader](pd.Series(LARGEST, dtype=dtype))


@pytest.mark.parametrize("kind", REFUSED)
def test_other_kinds_are_refused(read, kind):
    make, message = REFUSED[kind]
    with pytest.raises(ValueError, match=message):
        read(make())


@pytest.mark.parametrize("reader", ["folds", "splits", "mask_labels"])
def test_masked_entries_are_missing_values(reader):
    with pytest.raises(ValueError, match="None, NA or masked"):
        READERS[reader](np.ma.masked_array(CODES, HIDDEN))
    assert READERS[reader](np.ma.masked_array(CODES)) == READERS[reader](CODES)


@pytest.mark.skipif(not hasattr(np.dtypes, "StringDType"), reason="NumPy 2 introduced it")
@pytest.mark.parametrize("reader", ["folds", "splits", "mask_labels"])
def test_strings_of_variable_width_are_labels(reader):
    y = named(np.abs(CODES)).astype(np.dtypes.StringDType())
    assert READERS[reader](y) == READERS[reader](np.abs(CODES))


def test_a_class_of_the_largest_value_is_read_from_signed_numbers(read):
    y = np.where(np.abs(CODES) == 1, 255, 0).astype(np.uint8)
    assert read(y.astype(int)) == read(np.abs(CODES))
