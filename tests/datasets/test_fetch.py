"""What the data sets return, from small archives in the official formats."""

import gzip
import os
import pickle
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from sklearn.utils import Bunch

from skvim.datasets import (
    fetch_celeba,
    fetch_cifar10,
    fetch_mnist,
    fetch_omniglot,
    get_data_home,
)
from skvim.exceptions import DatasetError, SkvimWarning

ALL = {"subset": "all"}


@pytest.fixture(params=["mnist", "cifar10", "omniglot", "celeba"])
def data_set(request, make):
    return make(request.param)


def options(data_set):
    """Return what makes the images those of the archive."""
    return {"image_size": 105} if data_set.name == "omniglot" else {}


def assert_images_equal(data_set, images, expected):
    # JPEG loses something, though hardly anything of a constant colour.
    tolerance = 2 if data_set.name == "celeba" else 0
    np.testing.assert_allclose(images.astype(int), expected.astype(int), rtol=0, atol=tolerance)


# The results


def test_images_and_targets_are_those_of_the_archive(data_set, tmp_path):
    bunch = data_set.fetch(data_home=data_set.write(tmp_path), **ALL, **options(data_set))
    assert isinstance(bunch, Bunch)
    assert bunch.images.dtype == np.uint8
    assert bunch.images.shape == data_set.images.shape
    assert_images_equal(data_set, bunch.images, data_set.images)
    assert bunch.target.dtype == np.int64
    np.testing.assert_array_equal(bunch.target, data_set.target)
    n_names = bunch.target.shape[1] if bunch.target.ndim == 2 else bunch.target.max() + 1
    assert len(bunch.target_names) >= n_names
    assert bunch.target_names.dtype.kind == "U"
    for heading in ("Source", "Licence", "Citation"):
        assert f"\n{heading}\n" in bunch.DESCR


def test_rows_are_flat_views_of_the_images_and_nothing_is_copied(data_set, tmp_path):
    home = data_set.write(tmp_path)
    for subset in ("train", "test", "all"):
        bunch = data_set.fetch(data_home=home, subset=subset)
        n = len(bunch.images)
        assert bunch.data.shape == (n, np.prod(bunch.images.shape[1:]))
        assert np.shares_memory(bunch.data, bunch.images)
        np.testing.assert_array_equal(bunch.data, bunch.images.reshape(n, -1))
        assert type(bunch.data) is np.ndarray
        assert bunch.data.flags.c_contiguous
        # Mapped from the file, which nobody can change by accident.
        assert not bunch.data.flags.writeable
        base = bunch.data
        while isinstance(base, np.ndarray) and not isinstance(base, np.memmap):
            base = base.base
        assert isinstance(base, np.memmap)


def test_subsets_share_out_all_rows(data_set, tmp_path):
    home = data_set.write(tmp_path)
    train, test, everything = (
        data_set.fetch(data_home=home, subset=subset) for subset in ("train", "test", "all")
    )
    n_valid = 2 if data_set.name == "celeba" else 0
    assert len(train.data) == data_set.n_train
    assert len(train.data) + n_valid + len(test.data) == len(everything.data)
    for field in ("data", "target"):
        np.testing.assert_array_equal(train[field], everything[field][: len(train.data)])
        np.testing.assert_array_equal(test[field], everything[field][-len(test.data) :])


def test_return_x_y_and_as_images(data_set, tmp_path):
    home = data_set.write(tmp_path)
    for as_images in (False, True):
        bunch = data_set.fetch(data_home=home, as_images=as_images)
        X, y = data_set.fetch(
            data_home=home, as_images=as_images, return_X_y=True, download_if_missing=False
        )
        np.testing.assert_array_equal(X, bunch.data)
        np.testing.assert_array_equal(y, bunch.target)
        assert (bunch.data.shape == bunch.images.shape) is as_images
        assert np.shares_memory(bunch.data, bunch.images)
        assert bunch.images.ndim >= 3


def test_bunch_survives_pickling(data_set, tmp_path):
    bunch = data_set.fetch(data_home=data_set.write(tmp_path))
    again = pickle.loads(pickle.dumps(bunch))
    np.testing.assert_array_equal(again.images, bunch.images)


@pytest.mark.parametrize(
    ("fetch", "given", "message"),
    [
        (fetch_mnist, {"subset": "val"}, "'subset' parameter of fetch_mnist .* Got 'val'"),
        (fetch_cifar10, {"split": "own"}, "'split' parameter of fetch_cifar10 .* Got 'own'"),
        (fetch_mnist, {"return_X_y": "no"}, "'return_X_y' parameter .* Got 'no'"),
        (fetch_mnist, {"data_home": 3}, "'data_home' parameter .* Got 3"),
        (fetch_omniglot, {"image_size": 106}, r"'image_size' parameter .*\[1, 105\]. Got 106"),
        (fetch_omniglot, {"task": "six"}, "'task' parameter .* Got 'six'"),
        (fetch_omniglot, {"random_state": "x"}, "'random_state' parameter .* Got 'x'"),
        (fetch_celeba, {"subset": "valid"}, "'subset' parameter of fetch_celeba .* Got 'valid'"),
    ],
)
def test_arguments_are_checked_first(fetch, given, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        fetch(**{"data_home": tmp_path, **given})
    assert not list(tmp_path.iterdir())


# Where things are


def test_data_home(monkeypatch, tmp_path):
    monkeypatch.setenv("SKVIM_DATA", str(tmp_path))
    assert get_data_home() == str(tmp_path)
    assert get_data_home("~/x") == str(Path.home() / "x")
    monkeypatch.setenv("SKVIM_DATA", "")
    assert get_data_home() == str(Path.home() / "skvim_data")
    monkeypatch.chdir(tmp_path)
    assert get_data_home(Path("here")) == str(tmp_path / "here")
    assert not list(tmp_path.iterdir())


def test_environment_names_the_data_home(data_set, monkeypatch, tmp_path):
    monkeypatch.setenv("SKVIM_DATA", str(data_set.write(tmp_path / "a path with späces")))
    assert len(data_set.fetch(**ALL).data) == len(data_set.images)


def test_archive_is_needed_once(data_set, tmp_path):
    home = data_set.write(tmp_path)
    first = data_set.fetch(data_home=home)
    for name in data_set.files:
        if name != "list_attr_celeba.txt":
            (home / data_set.name / name).unlink()
    second = data_set.fetch(data_home=home)
    np.testing.assert_array_equal(second.data, first.data)
    np.testing.assert_array_equal(second.target, first.target)


def unpack(data_set, folder):
    """Unpack the official files as their users do, and delete them."""
    for name in data_set.files:
        path = folder / name
        if name.endswith(".zip"):
            zipfile.ZipFile(path).extractall(folder)
        elif name.endswith(".tar.gz"):
            with tarfile.open(path) as archive:
                archive.extractall(folder, filter="data")
        elif name.endswith(".gz"):
            (folder / path.stem).write_bytes(gzip.decompress(path.read_bytes()))
        if not name.endswith(".txt"):
            path.unlink()


def test_unpacked_archives_are_used_as_they_are(data_set, tmp_path):
    home = data_set.write(tmp_path)
    unpack(data_set, home / data_set.name)
    (home / data_set.name / ".DS_Store").touch()
    images = data_set.fetch(data_home=home, **ALL, **options(data_set)).images
    assert_images_equal(data_set, images, data_set.images)


def test_damaged_arrays_are_built_again(data_set, tmp_path):
    home = data_set.write(tmp_path)
    first = np.array(data_set.fetch(data_home=home).data)
    for name in data_set.stored(home):
        path = home / data_set.name / name
        good = path.read_bytes()
        shape = np.load(path).shape
        wrong = {
            "cut short": good[:-1],
            "too long": good + b"\0",
            "empty": b"",
            "no array": b"x" * len(good),
        }
        for content in wrong.values():
            path.write_bytes(content)
            with pytest.warns(SkvimWarning, match=f"{name} is damaged and is built again"):
                again = data_set.fetch(data_home=home).data
            np.testing.assert_array_equal(again, first)
        for other in (np.zeros(shape, np.int8), np.zeros(shape[:1], np.uint8)[:-1]):
            np.save(path, other)
            with pytest.warns(SkvimWarning, match="damaged"):
                np.testing.assert_array_equal(data_set.fetch(data_home=home).data, first)
        assert path.read_bytes() == good


# Archives that are wrong


def test_missing_archive_says_what_to_do(downloaded, tmp_path):
    message = "is missing, and download_if_missing is False. Put the file there"
    with pytest.raises(DatasetError, match=message):
        downloaded.fetch(data_home=tmp_path, download_if_missing=False)
    assert downloaded.stored(tmp_path) == []


def test_truncated_archive_says_what_to_do_and_leaves_nothing(data_set, tmp_path):
    home = data_set.write(tmp_path)
    name = next(iter(data_set.files))
    path = home / data_set.name / name
    content = data_set.files[name]
    for keep in (0.0, 0.6, 0.99):
        path.write_bytes(content[: int(keep * len(content))])
        with pytest.raises(DatasetError, match=f"{name} cannot be decoded: .* (Delete it|put)"):
            data_set.fetch(data_home=home)
        assert data_set.stored(home) == []
        assert not list(path.parent.glob("*.unfinished"))
        assert path.exists()  # the user's file
    path.write_bytes(content)
    assert len(data_set.fetch(data_home=home, **ALL).data) == len(data_set.images)


@pytest.mark.parametrize(
    ("offset", "value", "message"),
    [(8, 1, "is encrypted"), (10, 99, "compression method is not supported"), (6, 99, "version")],
)
def test_zip_files_that_python_cannot_read_are_refused(offset, value, message, make, tmp_path):
    data_set = make("omniglot")
    home = data_set.write(tmp_path)
    path = next((home / "omniglot").glob("*.zip"))
    content = bytearray(path.read_bytes())
    # The last entry of the directory.
    content[content.rindex(b"PK\1\2") + offset] = value
    path.write_bytes(content)
    with pytest.raises(DatasetError, match=f"{path.name} cannot be decoded: .*{message}"):
        data_set.fetch(data_home=home)
    assert data_set.stored(home) == []


def test_other_content_is_refused(downloaded, tmp_path):
    home = downloaded.write(tmp_path)
    unpack(downloaded, home / downloaded.name)
    largest = max((home / downloaded.name).rglob("*[!g]"), key=lambda path: path.stat().st_size)
    if downloaded.name == "omniglot":
        first, second, *_ = sorted((home / "omniglot").rglob("*.png"))
        first.write_bytes(second.read_bytes())
    else:
        content = bytearray(largest.read_bytes())
        content[-1] ^= 1
        largest.write_bytes(content)
    with pytest.raises(DatasetError, match=r"not the official data: its SHA-256 differs\. Delete"):
        downloaded.fetch(data_home=home)
    assert downloaded.stored(home) == []


def test_incomplete_folders_are_refused(make, tmp_path):
    cifar10, omniglot = make("cifar10"), make("omniglot")
    for data_set in (cifar10, omniglot):
        unpack(data_set, data_set.write(tmp_path) / data_set.name)
    (tmp_path / "cifar10" / "cifar-10-batches-bin" / "data_batch_3.bin").unlink()
    with pytest.raises(DatasetError, match=r"cannot be decoded: .*data_batch_3\.bin.* Delete"):
        fetch_cifar10(data_home=tmp_path)
    next((tmp_path / "omniglot" / "images_evaluation").rglob("*_20.png")).unlink()
    with pytest.raises(DatasetError, match=r"20 drawings named NNNN_01\.png .* holds 19\. Delete"):
        fetch_omniglot(data_home=tmp_path)


def test_mnist_of_another_shape_is_refused(make, tmp_path):
    data_set = make("mnist")
    folder = data_set.write(tmp_path) / "mnist"
    # Labels in the place of images.
    os.replace(folder / "t10k-labels-idx1-ubyte.gz", folder / "t10k-images-idx3-ubyte.gz")
    (folder / "t10k-labels-idx1-ubyte.gz").write_bytes(data_set.files["t10k-labels-idx1-ubyte.gz"])
    with pytest.raises(DatasetError, match=r"no IDX file of .* shape \(20, 28, 28\)"):
        fetch_mnist(data_home=tmp_path)
