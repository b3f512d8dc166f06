"""Any damage of any file: the right arrays or DatasetError follow, in bounded memory."""

import os
import zipfile

import numpy as np
import pytest
from damage import mutate
from limits import memory_limit

from skvim.exceptions import DatasetError, SkvimWarning

pytestmark = pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="not Linux")
NAMES = ["mnist", "cifar10", "omniglot", "celeba"]
PROMISE = pytest.mark.trust(
    "Damaged archives give the right arrays or DatasetError, in bounded memory."
)


def fetch_or_refuse(data_set, home):
    """Return all rows, or None after a DatasetError that names a file or folder."""
    with memory_limit(256 << 20):
        try:
            return data_set.everything(home)
        except DatasetError as error:
            message = str(error)
    assert str(home / data_set.name) in message
    assert " object at 0x" not in message
    return None


def forget(data_set, home):
    for name in data_set.stored(home):
        (home / data_set.name / name).unlink()


def assert_right(data_set, bunch):
    # JPEG loses something, though hardly anything of a constant colour.
    tolerance, rows = 0, slice(None)
    if data_set.name == "celeba":
        # An image that is listed no more is a missing one.
        tolerance, rows = 2, [int(name[:6]) - 1 for name in bunch.filenames]
    expected = data_set.images[rows].astype(int)
    np.testing.assert_allclose(bunch.images.astype(int), expected, rtol=0, atol=tolerance)
    np.testing.assert_array_equal(bunch.target, data_set.target[rows])


@PROMISE
@pytest.mark.parametrize("name", NAMES)
def test_archives(name, make, amount, tmp_path):
    data_set = make(name)
    home = data_set.write(tmp_path)
    data_set.everything(home)  # imports what it needs
    archives = [file for file in data_set.files if not file.endswith(".txt")]
    rng = np.random.default_rng(0)
    for number in range(amount("archives mutated", quick=40, full=1_250)):
        forget(data_set, home)
        file = archives[number % len(archives)]
        path = home / name / file
        path.write_bytes(mutate(data_set.files[file], rng))
        bunch = fetch_or_refuse(data_set, home)
        if bunch is None:
            assert data_set.stored(home) == []
        else:
            assert_right(data_set, bunch)
        path.write_bytes(data_set.files[file])


@PROMISE
@pytest.mark.parametrize("name", ["omniglot", "celeba"])
def test_pictures_in_a_folder(name, make, amount, tmp_path):
    data_set = make(name)
    home = data_set.write(tmp_path)
    for path in (home / name).glob("*.zip"):
        zipfile.ZipFile(path).extractall(home / name)
        path.unlink()
    pictures = sorted((home / name).rglob("*.[pj][np]g"))
    rng = np.random.default_rng(0)
    for _ in range(amount("pictures mutated", quick=30, full=1_000)):
        forget(data_set, home)
        path = pictures[rng.integers(len(pictures))]
        good = path.read_bytes()
        path.write_bytes(mutate(good, rng))
        bunch = fetch_or_refuse(data_set, home)
        # Nothing is known by which to tell that a face has changed.
        if bunch is not None and name == "omniglot":
            assert_right(data_set, bunch)
        path.write_bytes(good)


@PROMISE
def test_tables(make, amount, tmp_path):
    data_set = make("celeba")
    home = data_set.write(tmp_path)
    data_set.everything(home)
    parts = "".join(f"{name} {number % 3}\n" for number, name in enumerate(data_set.archive.names))
    tables = {
        "list_eval_partition.txt": parts.encode(),
        "list_attr_celeba.txt": data_set.files["list_attr_celeba.txt"],
    }
    rng = np.random.default_rng(0)
    for number in range(amount("tables mutated", quick=100, full=4_000)):
        file = list(tables)[number % 2]
        (home / "celeba" / file).write_bytes(mutate(tables[file], rng))
        bunch = fetch_or_refuse(data_set, home)
        if bunch is not None:
            assert len(bunch.target) == len(bunch.partition) == 12
            assert set(np.unique(bunch.target)) <= {0, 1}
            assert set(bunch.partition) <= {0, 1, 2}
        (home / "celeba" / file).write_bytes(tables[file])


@pytest.mark.trust("A stored array of which any byte has changed is noticed and built again.")
@pytest.mark.parametrize("name", NAMES)
def test_stored_arrays(name, make, amount, tmp_path):
    data_set = make(name)
    home = data_set.write(tmp_path)
    data_set.everything(home)
    paths = [home / name / file for file in data_set.stored(home)]
    contents = {path: path.read_bytes() for path in paths}
    rng = np.random.default_rng(0)
    for number in range(amount("stored arrays damaged", quick=20, full=500)):
        path = paths[number % len(paths)]
        damaged = bytearray(contents[path])
        damaged[rng.integers(len(damaged))] ^= 1 << rng.integers(8)
        if number % 4 == 3:
            damaged = mutate(contents[path], rng)
        if damaged == contents[path]:
            continue
        path.write_bytes(damaged)
        with (
            memory_limit(256 << 20),
            pytest.warns(SkvimWarning, match="is damaged and is built again"),
        ):
            bunch = data_set.everything(home)
        assert_right(data_set, bunch)
        assert path.read_bytes() == contents[path]
