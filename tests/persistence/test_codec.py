"""Encoding values as JSON and arrays, and decoding them unchanged."""

import json
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from skvim._persistence._codec import Reader, Writer
from skvim._persistence._kinds import KINDS
from skvim._persistence._registry import public_class, public_name
from skvim.exceptions import FileFormatError, UnsavableError

DTYPES = st.one_of(
    arrays.boolean_dtypes(),
    arrays.integer_dtypes(endianness="<"),
    arrays.unsigned_integer_dtypes(endianness="<"),
    arrays.floating_dtypes(endianness="<", sizes=(16, 32, 64)),
    arrays.unicode_string_dtypes(endianness="<"),
)
ARRAYS = arrays.arrays(DTYPES, arrays.array_shapes(min_dims=0, min_side=0, max_side=4))
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(),
    DTYPES.filter(lambda d: d.itemsize),
)
LEAVES = st.one_of(SCALARS, ARRAYS, ARRAYS.map(np.asfortranarray))
KEYS = st.one_of(st.text(), st.integers(), st.booleans(), st.tuples(st.integers(), st.text()))
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=4).map(tuple),
        st.dictionaries(KEYS, inner, max_size=4),
    ),
    max_leaves=12,
)


def there_and_back(value):
    """Write a value through JSON text, as in a file, and read it."""
    writer = Writer(KINDS)
    text = json.dumps(writer.write(value, "value"), allow_nan=False)
    assert all(isinstance(array, np.ndarray) for array in writer.arrays.values())
    copies = {name: array.copy() for name, array in writer.arrays.items()}
    reader = Reader(KINDS, copies, torch.device("cpu"))
    found = reader.read(json.loads(text))
    reader.finish()
    return found


def assert_identical(first, second):
    assert type(first) is type(second)
    if isinstance(first, dict):
        assert list(first) == list(second)
        first, second = list(first.values()), list(second.values())
    if isinstance(first, (list, tuple)):
        assert len(first) == len(second)
        for a, b in zip(first, second, strict=True):
            assert_identical(a, b)
    elif isinstance(first, np.ndarray):
        assert first.dtype == second.dtype
        assert first.shape == second.shape
        np.testing.assert_array_equal(first, second)
        # Sums over numbers depend on their order in memory.
        assert first.dtype.kind == "U" or first.strides == second.strides
    elif isinstance(first, float):
        assert math.isnan(first) == math.isnan(second)
        assert math.isnan(first) or (first.hex(), repr(first)) == (second.hex(), repr(second))
    else:
        assert first == second


@given(VALUES)
def test_values_come_back_as_they_were(value):
    assert_identical(value, there_and_back(value))


@given(
    arrays.from_dtype(np.dtype("f4"))
    | arrays.from_dtype(np.dtype("f8"))
    | arrays.from_dtype(np.dtype("i2"))
)
def test_scalars_of_numpy_keep_their_type(value):
    found = there_and_back(value)
    assert type(found) is type(value)
    assert found.tobytes() == value.tobytes() or (np.isnan(found) and np.isnan(value))


@given(
    st.lists(st.one_of(st.none(), st.text(), st.integers(), st.floats(allow_nan=False)), max_size=6)
)
def test_arrays_of_objects_come_back(items):
    array = np.empty(len(items), dtype=object)
    array[:] = items
    found = there_and_back(array)
    assert found.dtype == object
    assert_identical(items, found.tolist())


@pytest.mark.parametrize(
    "value",
    [float, str, np.float32, np.int64, slice(1, None, 2), slice("a", "b"), torch.optim.Adam],
)
def test_types_and_slices_come_back(value):
    assert there_and_back(value) == value


@pytest.mark.skipif(not hasattr(np.dtypes, "StringDType"), reason="NumPy 1 has no such text")
def test_text_without_a_width_comes_back():
    array = np.array(["a", "", "größer"], dtype=np.dtypes.StringDType())
    found = there_and_back(array)
    assert found.dtype == array.dtype
    assert found.tolist() == array.tolist()


def test_big_endian_and_strided_arrays_keep_their_values():
    array = np.arange(24, dtype=">f8").reshape(4, 6)[::-1, ::2]
    np.testing.assert_array_equal(there_and_back(array), array)


def test_what_is_read_can_be_written_to():
    found = there_and_back(np.arange(3.0))
    assert found.flags.writeable
    found[0] = 5
    np.testing.assert_array_equal(found, [5, 1, 2])


def itself():
    value = []
    value.append(value)
    return value


@pytest.mark.parametrize(
    "value",
    [
        {1, 2},
        b"bytes",
        1j,
        object(),
        len,
        lambda: None,
        np.array([1j]),
        np.array(["2020"], dtype="M8[Y]"),
        np.ma.array([1.0]),
        np.zeros(2, dtype=[("a", "f8")]),
        np.array([len], dtype=object),
        torch.zeros(2, dtype=torch.bfloat16),
        itself(),
        range(3),
    ],
    ids=lambda value: type(value).__name__,
)
def test_other_values_are_refused(value):
    with pytest.raises(UnsavableError, match=r"^here\.x"):
        Writer(KINDS).write({"x": value}, "here")


@pytest.mark.parametrize(
    ("cls", "name"),
    [
        (dict, None),
        (Writer, None),
        (torch.nn.Linear, None),
        (torch.optim.Adam, "torch.optim.Adam"),
        (type("Normal", (), {"__module__": "skvim.objectives"}), None),
    ],
)
def test_only_public_classes_have_names(cls, name):
    assert public_name(cls) == name


@pytest.mark.parametrize(
    "name",
    [
        None,
        3,
        "",
        "eval",
        "builtins.eval",
        "os.system",
        "skvim",
        "skvim.",
        "skvim.load",
        "skvim.os",
        "skvim.objectives.make_prior",
        "skvim.objectives.Prior",
        "skvim.objectives._priors.Normal",
        "skvim.networks.torch",
        "sklearn.base.BaseEstimator",
        "sklearn.ensemble.RandomForestClassifier",
        "torch.load",
        "subprocess.Popen",
    ],
)
def test_names_outside_the_list_are_refused(name):
    with pytest.raises(FileFormatError, match="no public object"):
        public_class(name, object)
