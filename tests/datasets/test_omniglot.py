"""Omniglot: its smaller sizes, its fields and the task of five characters."""

import numpy as np
import pytest

from skvim.datasets import fetch_omniglot
from skvim.datasets._resize import average_areas


@pytest.fixture
def home(make, tmp_path):
    return make("omniglot").write(tmp_path)


# Averages over areas


@pytest.mark.parametrize(("n", "size"), [(105, 28), (105, 64), (105, 1), (9, 6), (5, 5)])
def test_areas_are_averaged_exactly(n, size):
    # Each pixel repeated size times, areas are whole blocks of n.
    images = np.random.default_rng(0).random((2, n, n)) < 0.3
    fine = images.repeat(size, axis=1).repeat(size, axis=2)
    ink = fine.reshape(2, size, n, size, n).sum(axis=(2, 4))
    expected = np.floor(255 * ink / n**2 + 0.5)
    np.testing.assert_array_equal(average_areas(images, size), expected)


def test_averages_turn_with_the_image():
    images = np.random.default_rng(0).random((3, 105, 105)) < 0.3
    turned = average_areas(np.rot90(images, axes=(1, 2)), 28)
    np.testing.assert_array_equal(turned, np.rot90(average_areas(images, 28), axes=(1, 2)))


@pytest.mark.parametrize("size", [28, 10])
def test_sizes(size, home, make):
    images = fetch_omniglot(data_home=home, subset="all", image_size=size).images
    assert images.shape == (180, size, size)
    assert images.dtype == np.uint8
    original = make("omniglot").images
    np.testing.assert_array_equal(images, average_areas(original, size))
    np.testing.assert_allclose(images.mean(axis=(1, 2)), original.mean(axis=(1, 2)), atol=0.5)


# Fields


def test_characters_alphabets_and_drawers(home):
    bunch = fetch_omniglot(data_home=home, subset="all")
    np.testing.assert_array_equal(bunch.target, np.repeat(np.arange(9), 20))
    np.testing.assert_array_equal(bunch.drawer, np.tile(np.arange(1, 21), 9))
    assert bunch.alphabet_names.tolist() == ["Abc", "Xyz", "Runes_(old)"]
    for character, alphabet in zip(bunch.target, bunch.alphabet, strict=True):
        name, _, rest = bunch.target_names[character].partition("/")
        assert name == bunch.alphabet_names[alphabet]
        assert rest.startswith("character0")


def test_numbers_of_characters_are_the_same_in_every_subset(home):
    train = fetch_omniglot(data_home=home)
    test = fetch_omniglot(data_home=home, subset="test")
    assert set(train.target) == {0, 1, 2}
    assert set(test.target) == {3, 4, 5, 6, 7, 8}
    assert not set(train.alphabet) & set(test.alphabet)
    np.testing.assert_array_equal(train.target_names, test.target_names)
    assert len(test.alphabet) == len(test.drawer) == len(test.data)


# The task


def task(home, subset="all", random_state=0, **options):
    return fetch_omniglot(
        data_home=home,
        subset=subset,
        task="five-characters",
        random_state=random_state,
        **options,
    )


@pytest.mark.parametrize(("subset", "n"), [("train", 60), ("test", 20), ("all", 80)])
def test_task_has_as_many_images_of_each_character(subset, n, home):
    bunch = task(home, subset)
    np.testing.assert_array_equal(np.bincount(bunch.target), [n] * 5)
    assert bunch.data.shape == (5 * n, 784)
    assert np.shares_memory(bunch.data, bunch.images)
    assert len(bunch.target_names) == 5
    for rotation in (0, 90, 180, 270):
        np.testing.assert_array_equal(np.bincount(bunch.target[bunch.rotation == rotation]), n / 4)


def test_task_keeps_a_drawing_on_one_side_and_uses_all(home):
    train, test = task(home, "train"), task(home, "test")
    sides = [set(zip(part.target, part.drawer, strict=True)) for part in (train, test)]
    assert not sides[0] & sides[1]
    assert sides[0] | sides[1] == {(k, drawer) for k in range(5) for drawer in range(1, 21)}
    np.testing.assert_array_equal(train.target_names, test.target_names)
    everything = task(home, "all")
    for field in ("data", "target", "drawer", "rotation", "alphabet"):
        joined = np.concatenate([train[field], test[field]])
        np.testing.assert_array_equal(joined, everything[field])


@pytest.mark.parametrize("size", [28, 105])
def test_task_shows_drawings_of_the_evaluation_set_turned(size, home):
    bunch = task(home, image_size=size)
    known = fetch_omniglot(data_home=home, subset="test", image_size=size)
    for image, k, drawer, rotation in zip(
        bunch.images, bunch.target, bunch.drawer, bunch.rotation, strict=True
    ):
        character = known.target_names.tolist().index(bunch.target_names[k])
        (row,) = np.flatnonzero((known.target == character) & (known.drawer == drawer))
        np.testing.assert_array_equal(image, np.rot90(known.images[row], rotation // 90))


def test_task_follows_its_seed(home):
    first, same = task(home), task(home)
    np.testing.assert_array_equal(first.data, same.data)
    others = [task(home, random_state=seed) for seed in range(1, 9)]
    assert len({tuple(other.target_names) for other in others}) > 1
    assert len({tuple(other.drawer) for other in others}) == 8
    assert not np.array_equal(task(home, random_state=None).drawer, first.drawer)


def test_task_says_what_the_paper_leaves_open(home):
    text = " ".join(task(home).DESCR.split())
    assert "does not say which characters these are, nor how 80 images come" in text


def test_task_returns_rows_and_target_alone(home):
    X, y = task(home, "test", return_X_y=True, as_images=True)
    assert (X.shape, y.shape) == ((100, 28, 28), (100,))
