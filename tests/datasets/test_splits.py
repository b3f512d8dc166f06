"""The rows of the reference code's splits, against its own procedure and against the generators."""

import numpy as np
import pytest

from skvim.datasets import fetch_celeba, fetch_cifar10, fetch_mnist
from skvim.datasets._result import numpy_order, python_2_order


def mersenne_twister(state):
    """Return the 32-bit numbers of a generator in the given state, as its authors publish them."""
    bits = np.random.MT19937()
    bits.state = {"bit_generator": "MT19937", "state": {"key": state[1], "pos": state[2]}}
    return lambda: int(bits.random_raw())


def test_numpy_order_is_what_seed_and_shuffle_gave_to_images_and_labels():
    n = 2000
    images, labels = np.arange(n, dtype=float).reshape(n, 1, 1, 1), np.arange(n)
    np.random.RandomState(123).shuffle(images)
    np.random.RandomState(123).shuffle(labels)
    np.testing.assert_array_equal(numpy_order(n), images.ravel())
    np.testing.assert_array_equal(numpy_order(n), labels)


def test_numpy_order_is_the_legacy_algorithm():
    # Fisher-Yates from the end; each number is masked to the smallest power of two that holds the
    # last index, and drawn again while too large.
    n = 500
    draw = mersenne_twister(np.random.RandomState(123).get_state())
    order = list(range(n))
    for last in range(n - 1, 0, -1):
        mask = (1 << last.bit_length()) - 1
        while (other := draw() & mask) > last:
            pass
        order[last], order[other] = order[other], order[last]
    assert numpy_order(n).tolist() == order


def test_python_2_order_is_the_old_algorithm():
    # Python seeds by an array of one number and makes a double of 27 and 26 bits.
    n = 500
    draw = mersenne_twister(np.random.RandomState([123]).get_state())
    order = list(range(n))
    for last in range(n - 1, 0, -1):
        uniform = ((draw() >> 5) * 2**26 + (draw() >> 6)) / 2**53
        other = int(uniform * (last + 1))
        order[last], order[other] = order[other], order[last]
    assert python_2_order(n).tolist() == order


@pytest.mark.parametrize(
    ("fetch", "order"),
    [
        (fetch_mnist, numpy_order),
        (fetch_cifar10, numpy_order),
        (fetch_celeba, python_2_order),
    ],
)
def test_wae_split_is_the_shuffled_data_and_its_last_rows(fetch, order, make, tmp_path):
    data_set = make(fetch.__name__.removeprefix("fetch_"))
    home = data_set.write(tmp_path)
    rows = order(len(data_set.images))
    n_test = data_set.archive.n_wae_test
    everything = fetch(data_home=home, subset="all")
    parts = {"all": rows, "train": rows[:-n_test], "test": rows[-n_test:]}
    for subset, part in parts.items():
        bunch = fetch(data_home=home, subset=subset, split="wae")
        np.testing.assert_array_equal(bunch.images, everything.images[part])
        np.testing.assert_array_equal(bunch.target, everything.target[part])
        assert np.shares_memory(bunch.data, bunch.images)
