"""The official files, from the data home that SKVIM_TEST_DATA names: skipped without it."""

import gzip
import hashlib
import time

import numpy as np
import pytest

from skvim.datasets import fetch_cifar10, fetch_mnist, fetch_omniglot

# SHA-256 of the decoded images and of the targets as int64, training rows before test rows.
CHECKSUMS = {
    "mnist": (
        "5b92582eb909c82a9bfefcd44acbe9233be3eb5b419a44cf211022ad2bf4bf96",
        "818800b46032126b329f9306cb69a6842cc53ea30318374769bb6f46cc861467",
    ),
    "cifar10": (
        "0ac3ab5c78edb36ac68f69e287fd8f957b2d4f820b80e5fa9bd05c810fc0d95d",
        "5083e6dd0895f94970ae8513f046bf3004b333931aad82b619d23ab76f2e1845",
    ),
    "omniglot": (
        "8167dffec9d3ee72541f00f4f120b260f19aebf40a2a4c142dfc5a700a187882",
        "3ba9c7ac83af3cdd4759eff78073bc60ad8210abe5bb8ebbf4bb210c592e95bf",
    ),
    "omniglot 105": "061691d78adaa9b335b1e4876c121f2cbe4dde34762da3b948fbd8f91dfb85d9",
}
FETCHERS = [fetch_mnist, fetch_cifar10, fetch_omniglot]


def sha256(array):
    return hashlib.sha256(array.tobytes()).hexdigest()


def test_mnist(real_home):
    train, test = (fetch_mnist(data_home=real_home, subset=part) for part in ("train", "test"))
    assert (train.images.shape, test.images.shape) == ((60_000, 28, 28), (10_000, 28, 28))
    # As published with the data.
    counts = [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert np.bincount(train.target).tolist() == counts
    counts = [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert np.bincount(test.target).tolist() == counts
    assert train.target[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
    assert train.images.mean() / 255 == pytest.approx(0.1307, abs=5e-5)
    assert train.images.std() / 255 == pytest.approx(0.3081, abs=5e-5)
    with gzip.open(real_home / "mnist" / "t10k-images-idx3-ubyte.gz") as file:
        assert test.data.tobytes() == file.read()[16:]


def test_cifar10(real_home):
    train, test = (fetch_cifar10(data_home=real_home, subset=part) for part in ("train", "test"))
    assert (train.images.shape, test.images.shape) == ((50_000, 32, 32, 3), (10_000, 32, 32, 3))
    assert np.bincount(train.target).tolist() == [5_000] * 10
    assert np.bincount(test.target).tolist() == [1_000] * 10
    first = train.target_names[train.target[:5]]
    assert first.tolist() == ["frog", "truck", "truck", "deer", "automobile"]
    assert test.target_names[test.target[:3]].tolist() == ["cat", "ship", "ship"]
    # The means and deviations of the colours that everyone normalises with.
    batches = train.images.reshape(50, -1, 3)  # all at once would take gigabytes
    mean, square = (np.mean([np.mean((b / 255) ** k, 0) for b in batches], 0) for k in (1, 2))
    np.testing.assert_allclose(mean, [0.4914, 0.4822, 0.4465], atol=6e-5)
    np.testing.assert_allclose(np.sqrt(square - mean**2), [0.2470, 0.2435, 0.2616], atol=6e-5)


@pytest.mark.slow  # decodes 32,460 pictures
def test_omniglot(real_home):
    train, test = (fetch_omniglot(data_home=real_home, subset=part) for part in ("train", "test"))
    assert (train.images.shape, test.images.shape) == ((19_280, 28, 28), (13_180, 28, 28))
    assert np.bincount(train.target).tolist() == [20] * 964
    assert np.bincount(test.target - 964).tolist() == [20] * 659
    assert (len(set(train.alphabet)), len(set(test.alphabet))) == (30, 20)
    assert len(train.target_names) == 1623
    assert train.alphabet_names[train.alphabet[-1]] == "Tifinagh"
    assert test.target_names[test.target[-1]] == "ULOG/character26"
    task = fetch_omniglot(data_home=real_home, task="five-characters")
    assert task.data.shape == (300, 784)
    assert set(task.target_names) <= set(test.target_names[964:])


@pytest.mark.slow
def test_omniglot_in_both_sizes_is_the_same(real_home):
    small = fetch_omniglot(data_home=real_home, subset="all")
    large = fetch_omniglot(data_home=real_home, subset="all", image_size=105)
    assert set(np.unique(large.images)) == {0, 255}
    means = [bunch.images.mean(axis=(1, 2)) for bunch in (small, large)]
    np.testing.assert_allclose(*means, atol=0.5)
    assert sha256(large.images) == CHECKSUMS["omniglot 105"]


@pytest.mark.slow
@pytest.mark.parametrize("fetch", FETCHERS)
def test_checksums(fetch, real_home):
    bunch = fetch(data_home=real_home, subset="all")
    name = fetch.__name__.removeprefix("fetch_")
    assert (sha256(bunch.images), sha256(bunch.target)) == CHECKSUMS[name]


@pytest.mark.parametrize("fetch", [fetch_mnist, fetch_cifar10])
@pytest.mark.parametrize("subset", ["train", "test"])
def test_wae_split(fetch, subset, real_home):
    data, target = fetch(data_home=real_home, subset=subset, split="wae", return_X_y=True)
    n, n_test = (70_000, 10_000) if fetch is fetch_mnist else (60_000, 1_000)
    assert len(data) == len(target) == (n - n_test if subset == "train" else n_test)
    # The reference code shuffles images and labels one after the other from one seed.
    everything = fetch(data_home=real_home, subset="all", as_images=True)
    labels = everything.target.copy()
    np.random.RandomState(123).shuffle(labels)
    rows = slice(None, -n_test) if subset == "train" else slice(-n_test, None)
    np.testing.assert_array_equal(target, labels[rows])
    if subset == "test":
        images = everything.images.reshape(n, -1).copy()
        np.random.RandomState(123).shuffle(images)
        np.testing.assert_array_equal(data, images[rows])


@pytest.mark.slow
@pytest.mark.parametrize("fetch", FETCHERS)
def test_second_call_takes_less_than_a_second(fetch, real_home):
    fetch(data_home=real_home)
    start = time.perf_counter()
    fetch(data_home=real_home)
    assert time.perf_counter() - start < 1
