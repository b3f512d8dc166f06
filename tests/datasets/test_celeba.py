"""CelebA from a copy of the user's: generated faces stand in for it."""

import io
import sys
import zipfile

import numpy as np
import pytest
from PIL import Image

from skvim.datasets import fetch_celeba
from skvim.exceptions import DatasetError, SkvimWarning


@pytest.fixture
def faces(make):
    return make("celeba")


@pytest.fixture
def home(faces, tmp_path):
    return faces.write(tmp_path)


def write_face(folder, pixels, name="000001.jpg"):
    (folder / "celeba" / "img_align_celeba").mkdir(parents=True, exist_ok=True)
    path = folder / "celeba" / "img_align_celeba" / name
    Image.fromarray(pixels).save(path, "JPEG", quality=100, subsampling=0)


def test_centre_is_cropped(tmp_path):
    # Ten times the coordinates, so that a shift of one pixel shows.
    pixels = np.zeros((218, 178, 3), np.uint8)
    pixels[..., 0] = np.arange(218)[:, None]
    pixels[..., 1] = np.arange(178)
    write_face(tmp_path, pixels)
    (image,) = fetch_celeba(data_home=tmp_path, subset="all").images
    # Pixel k of 64 covers 140/64 pixels from 39 (or 19) on, and its mean is the middle of them.
    middle = (np.arange(64) + 0.5) * 140 / 64 - 0.5
    inner = slice(3, -3)  # the filter is cut at the edges
    np.testing.assert_allclose(image[inner, 32, 0], 39 + middle[inner], atol=1.5)
    np.testing.assert_allclose(image[32, inner, 1], 19 + middle[inner], atol=1.5)
    assert abs(np.mean(image[inner, inner, 0] - (39 + middle[inner])[:, None])) < 0.4
    assert abs(np.mean(image[inner, inner, 1] - (19 + middle[inner]))) < 0.4


def test_fine_stripes_are_averaged_and_not_aliased(tmp_path):
    pixels = np.zeros((218, 178, 3), np.uint8)
    pixels[:, ::2] = 255
    write_face(tmp_path, pixels)
    (image,) = fetch_celeba(data_home=tmp_path, subset="all").images
    assert np.abs(image[:, 3:-3].astype(float) - 127.5).max() < 30
    assert abs(image.mean() - 127.5) < 1


def test_attributes_and_names(home, faces):
    bunch = fetch_celeba(data_home=home, subset="all")
    np.testing.assert_array_equal(bunch.target, faces.target)
    assert bunch.target_names.tolist() == [f"Attribute_{number}" for number in range(40)]
    assert bunch.filenames.tolist() == faces.archive.names


def test_official_parts_follow_from_the_numbers(home):
    bunch = fetch_celeba(data_home=home, subset="all")
    assert bunch.partition.tolist() == [0] * 6 + [1] * 2 + [2] * 4
    assert fetch_celeba(data_home=home, subset="test").filenames[0] == "000009.jpg"


def test_partition_file_wins(home):
    parts = [2, 0, 1] * 4
    rows = [f"{number:06d}.jpg {part}" for number, part in enumerate(parts, start=1)]
    (home / "celeba" / "list_eval_partition.txt").write_text("\n".join(rows[::-1]))
    everything = fetch_celeba(data_home=home, subset="all")
    assert everything.partition.tolist() == parts
    for subset, part in (("train", 0), ("test", 2)):
        bunch = fetch_celeba(data_home=home, subset=subset)
        np.testing.assert_array_equal(bunch.images, everything.images[np.equal(parts, part)])
        np.testing.assert_array_equal(bunch.target, everything.target[np.equal(parts, part)])


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("{name} 1\n{name} 1", "has several rows for some of the images"),
        ("{name}", r"should have numbers out of \[0, 1, 2\]"),
        ("{name} 3", r"should have numbers out of \[0, 1, 2\]"),
        ("{name} 0.5", r"should have numbers out of \[0, 1, 2\]"),
        ("{name} test", r"should have numbers out of \[0, 1, 2\]"),
    ],
)
def test_tables_that_do_not_give_each_image_its_numbers(row, message, home, faces):
    rows = [row.format(name=name) for name in faces.archive.names]
    (home / "celeba" / "list_eval_partition.txt").write_text("\n".join(rows))
    with pytest.raises(DatasetError, match=rf"list_eval_partition\.txt .*{message}"):
        fetch_celeba(data_home=home)


def test_attributes_of_an_image_are_given_once(home):
    path = home / "celeba" / "list_attr_celeba.txt"
    path.write_text(path.read_text() + path.read_text().splitlines()[-1])
    with pytest.raises(DatasetError, match="has several rows for some of the images"):
        fetch_celeba(data_home=home)


def test_images_without_attributes(home):
    (home / "celeba" / "list_attr_celeba.txt").unlink()
    bunch = fetch_celeba(data_home=home)
    assert bunch.target is None
    assert bunch.target_names is None
    with pytest.raises(DatasetError, match=r"return_X_y=True .* put list_attr_celeba.txt .* into"):
        fetch_celeba(data_home=home, return_X_y=True)


def test_nothing_there_says_how_to_get_it(tmp_path, monkeypatch):
    for module in ("pooch", "requests"):
        monkeypatch.setitem(sys.modules, module, None)
    message = r"holds no images. skvim may not download CelebA. Agree to its terms .* put img_align"
    with pytest.raises(DatasetError, match=message):
        fetch_celeba(data_home=tmp_path)
    assert not list(tmp_path.iterdir())


def test_part_of_the_images_works_and_later_ones_are_noticed(home):
    path = home / "celeba" / "img_align_celeba.zip"
    with zipfile.ZipFile(path) as archive:
        archive.extractall(home / "celeba")
    path.unlink()
    last = home / "celeba" / "img_align_celeba" / "000012.jpg"
    content = last.read_bytes()
    last.unlink()
    few = fetch_celeba(data_home=home, subset="all")
    assert len(few.images) == len(few.target) == len(few.filenames) == 11
    with pytest.raises(ValueError, match=r"split='wae' shuffles all 12 images, and .* has 11"):
        fetch_celeba(data_home=home, split="wae")
    last.write_bytes(content)
    assert len(fetch_celeba(data_home=home, subset="all").images) == 12


def test_stored_images_are_enough_until_they_are_damaged(home, faces):
    fetch_celeba(data_home=home)
    (home / "celeba" / "img_align_celeba.zip").unlink()
    assert len(fetch_celeba(data_home=home, subset="all").images) == 12
    (home / "celeba" / faces.stored(home)[0]).write_bytes(b"")
    with (
        pytest.warns(SkvimWarning, match="damaged"),
        pytest.raises(DatasetError, match=r"holds no images\. skvim may not download CelebA"),
    ):
        fetch_celeba(data_home=home)
    write_face(home, np.zeros((218, 178, 3), np.uint8))
    with (
        pytest.warns(SkvimWarning, match="damaged"),
        pytest.raises(DatasetError, match=r"it lacks 000002\.jpg. skvim may not download CelebA"),
    ):
        fetch_celeba(data_home=home)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("list_attr_celeba.txt", "1\nA B\n000001.jpg 1 -1\n", "lacks 11 .* such as 000002.jpg"),
        ("list_attr_celeba.txt", "1\nA\n" + "000001.jpg 7\n", "lacks 11"),
        ("list_attr_celeba.txt", "", "No columns"),
        ("list_eval_partition.txt", "000001.jpg 0\n", "lacks 11"),
        ("list_eval_partition.txt", "000001.jpg a\n", "lacks 11"),
    ],
)
def test_wrong_lists_are_refused(name, content, message, home):
    (home / "celeba" / name).write_text(content)
    with pytest.raises(DatasetError, match=rf"{name} cannot be decoded: .*{message}.* put {name}"):
        fetch_celeba(data_home=home)


def test_attributes_are_minus_one_or_one(home, faces):
    text = faces.files["list_attr_celeba.txt"].decode().replace(" -1", " 0")
    (home / "celeba" / "list_attr_celeba.txt").write_text(text)
    with pytest.raises(DatasetError, match=r"should have numbers out of \[-1, 1\]"):
        fetch_celeba(data_home=home)


@pytest.mark.parametrize("fault", ["size", "cut", "text"])
def test_wrong_images_are_named(fault, tmp_path):
    jpeg = io.BytesIO()
    shape = (218, 178, 3) if fault == "cut" else (218, 100, 3)
    Image.fromarray(np.zeros(shape, np.uint8)).save(jpeg, "JPEG")
    content = jpeg.getvalue()
    content = {"size": content, "cut": content[: len(content) // 2], "text": b"face"}[fault]
    folder = tmp_path / "celeba" / "img_align_celeba"
    folder.mkdir(parents=True)
    (folder / "000001.jpg").write_bytes(content)
    with pytest.raises(DatasetError, match=r"000001.jpg is no JPEG picture of 178 × 218 pixels"):
        fetch_celeba(data_home=tmp_path)


def test_folder_without_images_is_refused(tmp_path):
    (tmp_path / "celeba" / "img_align_celeba").mkdir(parents=True)
    with pytest.raises(DatasetError, match=r"each image 000001\.jpg to 202599\.jpg once"):
        fetch_celeba(data_home=tmp_path)
