"""Archives that are damaged, hold something else, or unpack to more than the data set has."""

import bz2
import gzip
import io
import lzma
import re
import tarfile
import tracemalloc
import zipfile
from contextlib import contextmanager

import pytest
from PIL import Image

from skvim.datasets import fetch_celeba
from skvim.exceptions import DatasetError

NAMES = ["mnist", "cifar10", "omniglot", "celeba"]


def pack_zip(members, method=zipfile.ZIP_DEFLATED):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def unpack_zip(content):
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def pack_tar(members):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for info, content in members:
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


# Formats of pictures


@pytest.mark.trust("A picture in another format than the data set's own is refused unopened.")
@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("kind", ["BMP", "GIF", "TIFF", "PPM", "WEBP", "other"])
@pytest.mark.parametrize("name", ["omniglot", "celeba"])
def test_pictures_in_other_formats_are_refused(name, kind, packed, make, tmp_path):
    data_set = make(name)
    home = data_set.write(tmp_path)
    path = next((home / name).glob("*.zip"))
    members = unpack_zip(path.read_bytes())
    member = sorted(members)[0]
    own, other = ("PNG", "JPEG") if name == "omniglot" else ("JPEG", "PNG")
    picture = io.BytesIO()
    Image.open(io.BytesIO(members[member])).save(picture, other if kind == "other" else kind)
    members[member] = picture.getvalue()
    if packed:
        path.write_bytes(pack_zip(members))
    else:
        path.unlink()
        for at, content in members.items():
            (home / name / at).parent.mkdir(parents=True, exist_ok=True)
            (home / name / at).write_bytes(content)
    with pytest.raises(
        DatasetError, match=rf"{re.escape(member)} is no {own} picture of .* pixels: the form"
    ):
        data_set.everything(home)
    assert data_set.stored(home) == []


def test_several_pictures_in_one_file_are_refused(make, tmp_path):
    home = make("celeba").write(tmp_path)
    path = home / "celeba" / "img_align_celeba.zip"
    members = unpack_zip(path.read_bytes())
    first, second, *_ = (Image.open(io.BytesIO(content)) for content in members.values())
    picture = io.BytesIO()
    first.save(picture, "MPO", save_all=True, append_images=[second])
    members["img_align_celeba/000001.jpg"] = picture.getvalue()
    path.write_bytes(pack_zip(members))
    with pytest.raises(DatasetError, match=r"000001\.jpg is no JPEG picture .*: MPO, 178 × 218"):
        fetch_celeba(data_home=home)


# Sizes


ZEROS = bytes(64 << 20)  # hardly anything when packed


@contextmanager
def little_memory(most):
    """Fail if more bytes than that are taken at once."""
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < most
    finally:
        tracemalloc.stop()


def oversized(data_set):
    """Return a file of the data set that unpacks to far more than it should."""
    name = next(iter(data_set.files))
    content = data_set.files[name]
    if data_set.name == "mnist":
        return name, gzip.compress(gzip.decompress(content) + ZEROS, 1)
    if data_set.name == "cifar10":
        return name, pack_tar([(tarfile.TarInfo("folder/test_batch.bin"), ZEROS)])
    members = unpack_zip(content)
    members[sorted(members)[0]] += ZEROS
    return name, pack_zip(members)


@pytest.mark.trust("No more of an archive is unpacked than the data set has, whatever it claims.")
@pytest.mark.parametrize("name", NAMES)
def test_members_are_unpacked_up_to_the_size_that_they_should_have(name, make, tmp_path):
    data_set = make(name)
    home = data_set.write(tmp_path)
    at, content = oversized(data_set)
    (home / name / at).write_bytes(content)
    data_set.everything(data_set.write(tmp_path / "good"))  # imports take memory, too
    with little_memory(8 << 20), pytest.raises(DatasetError, match=f"{at} .* more than .* bytes"):
        data_set.everything(home)
    assert data_set.stored(home) == []


@pytest.mark.parametrize("name", NAMES)
def test_unpacked_files_are_read_up_to_the_size_that_they_should_have(name, make, tmp_path):
    data_set = make(name)
    folder = tmp_path / name
    at = {
        "mnist": "train-labels-idx1-ubyte",
        "cifar10": "cifar-10-batches-bin/data_batch_1.bin",
        "omniglot": "images_background/Abc/character01/0177_01.png",
        "celeba": "img_align_celeba/000001.jpg",
    }[name]
    data_set.write(tmp_path)
    for path in folder.glob("*.zip"):
        zipfile.ZipFile(path).extractall(folder)
        path.unlink()
    (folder / at).parent.mkdir(exist_ok=True, parents=True)
    with open(folder / at, "wb") as file:
        file.truncate(1 << 30)  # takes no space
    with little_memory(8 << 20), pytest.raises(DatasetError, match=r"holds more than .* bytes"):
        data_set.everything(tmp_path)


def test_tables_are_read_up_to_a_size_that_they_could_have(make, tmp_path):
    home = make("celeba").write(tmp_path)
    with open(home / "celeba" / "list_attr_celeba.txt", "ab") as file:
        file.truncate(1 << 30)
    with little_memory(8 << 20), pytest.raises(DatasetError, match=r"list_attr.*holds more than"):
        fetch_celeba(data_home=home)


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_compression_without_a_bound_is_refused(method, make, tmp_path):
    data_set = make("omniglot")
    home = data_set.write(tmp_path)
    name = next(iter(data_set.files))
    members = unpack_zip(data_set.files[name])
    (home / "omniglot" / name).write_bytes(pack_zip(members, method))
    message = f"{name} cannot be decoded: .*compression method is not supported .* Delete it"
    with pytest.raises(DatasetError, match=message):
        data_set.everything(home)


@pytest.mark.parametrize("compress", [bz2.compress, lzma.compress])
def test_archives_packed_by_other_programs_are_refused(compress, make, tmp_path):
    for name in ("mnist", "cifar10"):
        data_set = make(name)
        home = data_set.write(tmp_path)
        file = next(iter(data_set.files))
        (home / name / file).write_bytes(compress(gzip.decompress(data_set.files[file])))
        with pytest.raises(DatasetError, match=f"{file} cannot be decoded: Not a gzipped file"):
            data_set.everything(home)


def test_archive_of_countless_headers_is_not_read_on(make, tmp_path):
    home = make("cifar10").write(tmp_path)
    empty = ((tarfile.TarInfo(f"{number}"), b"") for number in range(2000))
    (home / "cifar10" / "cifar-10-binary.tar.gz").write_bytes(pack_tar(empty))
    with pytest.raises(DatasetError, match="it unpacks to more than"):
        make("cifar10").everything(home)


@pytest.mark.parametrize(
    "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.CHRTYPE]
)
def test_members_that_are_no_files_are_not_taken_for_them(kind, make, tmp_path):
    data_set = make("cifar10")
    home = data_set.write(tmp_path)
    info = tarfile.TarInfo("cifar-10-batches-bin/test_batch.bin")
    info.type, info.linkname = kind, "nowhere"
    (home / "cifar10" / "cifar-10-binary.tar.gz").write_bytes(pack_tar([(info, b"")]))
    with pytest.raises(DatasetError, match=r"it lacks data_batch_1\.bin, .*test_batch\.bin\. Del"):
        data_set.everything(home)
