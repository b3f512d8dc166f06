"""Documented behaviour of mask_labels."""

import copy

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from skvim.model_selection import mask_labels

UNLABELED = -1


def kept_counts(y, *args, **options):
    masked = mask_labels(y, *args, **options)
    kept = masked != UNLABELED
    np.testing.assert_array_equal(masked[kept], np.asarray(y)[kept])
    return np.bincount(masked[kept].astype(int), minlength=np.max(y) + 1)


@pytest.mark.parametrize("n_labeled", [10, 100, 0.01, 0.5, 1500])
def test_equal_classes_keep_equal_numbers_of_labels(n_labeled):
    y = np.tile(np.arange(5), 300)
    number = n_labeled if isinstance(n_labeled, int) else round(n_labeled * 1500)
    np.testing.assert_array_equal(kept_counts(y, n_labeled, random_state=0), number // 5)


def test_a_thousandth_of_many_labels_keeps_the_shares():
    y = np.repeat([0, 1, 2], [10_000, 20_000, 40_000])
    np.testing.assert_array_equal(kept_counts(y, 0.001, random_state=0), [10, 20, 40])


def test_a_class_of_a_thousandth_keeps_one_label():
    y = np.repeat([0, 1], [9990, 10])
    np.testing.assert_array_equal(kept_counts(y, 100, random_state=0), [99, 1])
    np.testing.assert_array_equal(kept_counts(y, 2, random_state=0), [1, 1])
    np.testing.assert_array_equal(kept_counts(y, 2000, random_state=0), [1998, 2])


def test_rare_classes_keep_one_label_and_frequent_ones_share_the_rest():
    # Exact shares of 20 labels: 13.6, 6.1 and 0.034 ten times; ten go to the rare classes.
    y = np.repeat(np.arange(12), [4000, 1800, *[10] * 10])
    np.testing.assert_array_equal(kept_counts(y, 20, random_state=0), [7, 3, *[1] * 10])


@settings(max_examples=60)
@given(counts=st.lists(st.integers(1, 60), min_size=1, max_size=8), data=st.data())
def test_every_count_is_its_exact_share_rounded(counts, data):
    total = sum(counts)
    n_labeled = data.draw(st.integers(len(counts), total))
    y = np.repeat(np.arange(len(counts)), counts)
    kept = kept_counts(y, n_labeled, random_state=data.draw(st.integers(0, 99)))
    exact = n_labeled * np.array(counts) / total
    assert kept.sum() == n_labeled
    assert (kept >= 1).all()
    assert (kept <= counts).all()
    assert (kept < exact + 1).all()
    if np.maximum(np.floor(exact), 1).sum() <= n_labeled:
        assert (kept > exact - 1).all()


def test_every_row_of_a_class_is_as_likely_to_keep_its_label():
    y = np.repeat([0, 1], [6, 18])
    times = sum(mask_labels(y, 8, random_state=seed) != UNLABELED for seed in range(600))
    assert chisquare(times[:6]).pvalue > 1e-3
    assert chisquare(times[6:]).pvalue > 1e-3
    np.testing.assert_array_equal([times[:6].sum(), times[6:].sum()], [1200, 3600])


def test_equal_remainders_are_decided_by_chance():
    y = np.tile([0, 1], 50)
    first = [int(kept_counts(y, 5, random_state=seed)[0]) for seed in range(40)]
    assert set(first) == {2, 3}


def test_without_stratification_counts_are_those_of_a_draw_without_replacement():
    y = np.repeat([0, 1], [30, 10])
    kept = [kept_counts(y, 8, stratify=False, random_state=seed)[1] for seed in range(800)]
    # Hypergeometric: mean 8/4, variance 8 · 1/4 · 3/4 · 32/39.
    variance = 8 * 3 / 16 * 32 / 39
    assert abs(np.mean(kept) - 2) < 4 * np.sqrt(variance / 800)
    assert abs(np.var(kept) / variance - 1) < 0.2


def test_unlabelled_rows_stay_unlabelled():
    y = np.tile([0, 1, -1], 40)
    masked = mask_labels(y, 0.25, random_state=0)
    np.testing.assert_array_equal(masked[y == -1], -1)
    assert np.bincount(masked + 1).tolist() == [100, 10, 10]
    np.testing.assert_array_equal(mask_labels(y, 80), y)


@pytest.mark.parametrize(
    ("y", "dtype"),
    [
        (np.tile(np.array([3, 7], dtype=np.int8), 5), np.int8),
        (np.tile(np.array([3, 254], dtype=np.uint8), 5), np.int64),
        (np.tile([True, False], 5), np.int64),
        (np.tile([0.0, 1.0], 5), np.float64),
        (np.tile(["a", "b"], 5), object),
        (["a", "b"] * 5, object),
        (pd.Series(["a", "b"] * 5, index=range(9, -1, -1)), object),
        (pd.Series(["a", "b"] * 5, dtype="category"), object),
        (np.tile(np.array([0, 1], dtype=object), 5), object),
    ],
)
def test_the_dtype_of_the_result_can_hold_the_marker(y, dtype):
    before = copy.deepcopy(y)
    masked = mask_labels(y, 4, random_state=0)
    assert masked.dtype == dtype
    kept = np.flatnonzero([label != UNLABELED for label in masked])
    assert len(kept) == 4
    np.testing.assert_array_equal(masked[kept], np.asarray(y)[kept])
    np.testing.assert_array_equal(np.asarray(y), np.asarray(before))
    assert not np.shares_memory(masked, np.asarray(y))


def test_seeds_repeat_a_draw_and_the_global_generator_is_left_alone():
    y = np.tile([0, 1], 50)
    before = np.random.get_state()[1:3]  # noqa: NPY002
    fresh = {tuple(mask_labels(y, 10)) for _ in range(3)}
    after = np.random.get_state()[1:3]  # noqa: NPY002
    assert len(fresh) == 3
    np.testing.assert_array_equal(before[0], after[0])
    assert before[1] == after[1]
    same = [mask_labels(y, 10, random_state=5) for _ in range(2)]
    np.testing.assert_array_equal(*same)
    state = np.random.RandomState(5)
    first, second = mask_labels(y, 10, random_state=state), mask_labels(y, 10, random_state=state)
    np.testing.assert_array_equal(first, same[0])
    assert (first != second).any()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_labeled": 0}, "n_labeled must be"),
        ({"n_labeled": 13}, "n=12"),
        ({"n_labeled": 0.0}, "n_labeled must be"),
        ({"n_labeled": 1.0}, "n_labeled must be"),
        ({"n_labeled": 0.01}, "half a row"),
        ({"n_labeled": True}, "n_labeled must be"),
        ({"n_labeled": np.nan}, "n_labeled must be"),
        ({"n_labeled": "all"}, "n_labeled must be"),
        ({"n_labeled": 2}, "each of the 3 classes a label, but it comes to 2 rows"),
        ({"n_labeled": 0.17}, "comes to 2 rows"),
        ({"n_labeled": 3, "stratify": "yes"}, "stratify"),
        ({"n_labeled": 3, "random_state": "x"}, "random_state"),
    ],
)
def test_errors_say_what_is_expected(options, message):
    with pytest.raises(ValueError, match=message):
        mask_labels(np.tile([0, 1, 2, -1], 4), **options)


@pytest.mark.parametrize(
    ("y", "message"),
    [(None, "needs y"), ([-1, -1], "all 2"), (["a", "-1"], "string"), ([0.1, 0.2], "continuous")],
)
def test_errors_say_what_is_wrong_with_y(y, message):
    with pytest.raises(ValueError, match=message):
        mask_labels(y, 1)
