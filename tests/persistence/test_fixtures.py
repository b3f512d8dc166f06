"""Files that earlier releases have written, and those of other releases of scikit-learn."""

import importlib.util
import io
import tarfile
from pathlib import Path

import numpy as np
import pytest
import sklearn
from sklearn.base import clone

import skvim
from skvim import noise
from skvim._persistence._allowed import SKLEARN
from skvim._persistence._releases import minor
from skvim.exceptions import FileFormatError, FileVersionWarning

FOLDER = Path(__file__).parent / "fixtures"
ARCHIVES = sorted(FOLDER.glob("*.tar.xz"))


def contents(path):
    """Return the files of an archive."""
    with tarfile.open(path) as archive:
        return {member.name: archive.extractfile(member).read() for member in archive}


CONTENTS = {path: contents(path) for path in ARCHIVES}
# Fitted attributes of these changed with scikit-learn 1.8.
CHANGED = {"RidgeClassifier", "RidgeClassifierCV", "SimpleImputer", "SparseCoder"}


def released(archive):
    """Return the release of scikit-learn in the name of an archive."""
    return archive.name.removesuffix(".tar.xz").rpartition("-")[2]


FILES = [
    pytest.param(path, name.removesuffix(".skvim"), id=f"{released(path)}-{name}")
    for path in ARCHIVES
    for name in CONTENTS[path]
    if name.endswith(".skvim")
]


def outputs_of(estimator, X):
    """Return what the script that wrote the files computed."""
    spec = importlib.util.spec_from_file_location("write", FOLDER / "write.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.outputs(estimator, X)


@pytest.fixture
def unpack(tmp_path):
    """Return what writes a file of an archive, and its rows and expected outputs."""

    def unpack(archive, name):
        (tmp_path / "model.skvim").write_bytes(CONTENTS[archive][f"{name}.skvim"])
        expected = np.load(io.BytesIO(CONTENTS[archive][f"{name}.npz"]), allow_pickle=False)
        arrays = dict(expected)
        return tmp_path / "model.skvim", arrays.pop("X"), arrays

    return unpack


def assert_close(found, expected):
    """Compare outputs, with room for the rounding of other processors and libraries."""
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        if values.dtype.kind == "f":
            scale = np.nanmax(np.abs(values))
            np.testing.assert_allclose(found[name], values, rtol=1e-4, atol=1e-6 * scale)
        else:
            np.testing.assert_array_equal(found[name], values)


@pytest.mark.trust(
    "Files that skvim has written once open in later releases, and compute the same; so do those "
    "with estimators of scikit-learn, within the releases that the documentation names."
)
@pytest.mark.filterwarnings("ignore::skvim.exceptions.FileVersionWarning")
@pytest.mark.parametrize(("archive", "name"), FILES)
def test_files_of_other_releases_compute_what_they_did(archive, name, unpack, amount):
    amount("files of other releases opened", quick=1, full=1)
    path, X, expected = unpack(archive, name)
    first, second = sorted([minor(released(archive)), minor(sklearn.__version__)])
    if name in CHANGED and first < (1, 8) <= second:
        with pytest.raises(FileFormatError, match=rf"{released(archive)}, whose fitted attributes"):
            skvim.load(path)
        return
    loaded = skvim.load(path, device="cpu")
    assert_close(outputs_of(loaded, X), expected)
    skvim.save(loaded, path)
    assert_close(outputs_of(skvim.load(path, device="cpu"), X), expected)
    assert type(clone(loaded)) is type(loaded)


def test_there_are_files_of_the_oldest_and_the_newest_scikit_learn():
    assert [minor(released(archive)) for archive in ARCHIVES] == [(1, 7), (1, 9)]
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) < 500_000
    public = [name for name in skvim.__all__ if name.endswith("Transformer")]
    public += [name for name in noise.__all__ if name.endswith("Noise")]
    for files in CONTENTS.values():
        names = {name.partition(".")[0] for name in files}
        assert names >= {*public, "TransductiveSVC"}
        assert names >= {name for group in SKLEARN.values() for name in group}


@pytest.mark.parametrize("archive", ARCHIVES, ids=released)
def test_estimators_of_another_scikit_learn_come_with_a_warning(archive, unpack):
    path, _, _ = unpack(archive, "digits")
    if minor(released(archive)) == minor(sklearn.__version__):
        skvim.load(path)
        return
    with pytest.warns(FileVersionWarning, match=rf"scikit-learn {released(archive)}") as caught:
        skvim.load(path)
    assert caught[0].filename == __file__
