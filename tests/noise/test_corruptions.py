"""Salt and pepper, missing features, swaps, groups of features and brightness."""

import itertools

import numpy as np
import pytest
import torch
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline

from skvim.noise import (
    BrightnessNoise,
    MaskingNoise,
    MissingFeaturesNoise,
    SaltPepperNoise,
    SwapNoise,
)
from skvim.noise._corruptions import drop_features, mask, salt_pepper, shift_brightness, swap


def numpy_values(shape, dtype="float64", fill=2.0, seed=0):
    return np.full(shape, fill, dtype=dtype), np.random.default_rng(seed)


def torch_values(shape, dtype="float64", fill=2.0, seed=0):
    values = torch.full(shape, fill, dtype=getattr(torch, dtype))
    return values, torch.Generator().manual_seed(seed)


LIBRARIES = [numpy_values, torch_values]
both_libraries = pytest.mark.parametrize("values", LIBRARIES)


# Salt and pepper


@both_libraries
@pytest.mark.parametrize(("rate", "dtype"), [(0.05, "float64"), (0.8, "float32")])
def test_salt_and_pepper_are_equally_likely_and_independent(values, rate, dtype):
    x, generator = values((400, 500), dtype)
    corrupted = salt_pepper(x, rate, (-1.0, 5.0), generator)
    assert type(corrupted) is type(x)
    assert corrupted.dtype == x.dtype
    found = np.asarray(corrupted)
    assert set(np.unique(found)) == {-1.0, 2.0, 5.0}
    half = rate / 2
    for end in (-1.0, 5.0):
        hit = (found == end) - half
        bound = 4 * np.sqrt(half * (1 - half) / hit.size)
        assert abs(hit.mean()) < bound
        assert abs((hit[:, 1:] * hit[:, :-1]).mean()) < bound
        assert abs((hit[1:] * hit[:-1]).mean()) < bound
    assert bool((x == 2.0).all())


@both_libraries
def test_salt_and_pepper_has_its_moments(values):
    # (1 - r) x + r (low + high) / 2, and the mean of squares likewise.
    x, generator = values((500, 400), fill=0.25)
    found = np.asarray(salt_pepper(x, 0.4, (0.0, 1.0), generator))
    mean, square = 0.6 * 0.25 + 0.2, 0.6 * 0.0625 + 0.2
    error = np.sqrt((square - mean**2) / found.size)
    assert abs(found.mean() - mean) < 4 * error
    assert found.var() == pytest.approx(square - mean**2, rel=0.01)


@both_libraries
def test_salt_and_pepper_at_the_ends_of_their_rate(values):
    x, generator = values((50, 40))
    assert bool((salt_pepper(x, 0.0, (0, 1), generator) == x).all())
    found = np.asarray(salt_pepper(x, 1.0, (0, 1), generator))
    assert set(np.unique(found)) == {0.0, 1.0}


# Missing features


@both_libraries
@pytest.mark.parametrize(
    ("rate", "n_lost", "value"),
    [(0.0, 0, 0.0), (0.01, 1, np.nan), (0.3, 2, -3.0), (0.5, 4, np.nan), (1.0, 7, 0.0)],
)
def test_whole_columns_are_lost(values, rate, n_lost, value):
    x, generator = values((30, 7))
    found = np.asarray(drop_features(x, rate, generator, value=value, per_row=False))
    lost = np.isnan(found) if np.isnan(value) else found == value
    assert (lost == lost[0]).all()
    assert lost[0].sum() == n_lost
    assert (found[~lost] == 2.0).all()


@both_libraries
def test_every_row_loses_as_many_features_of_its_own(values):
    x, generator = values((20_000, 5))
    lost = np.asarray(drop_features(x, 0.4, generator, value=0.0, per_row=True)) == 0
    assert (lost.sum(axis=1) == 2).all()
    # Every one of the ten pairs is as likely as any other.
    pairs = [lost[:, i] & lost[:, j] for i, j in itertools.combinations(range(5), 2)]
    np.testing.assert_allclose(np.mean(pairs, axis=1), 0.1, atol=4 * np.sqrt(0.09 / 20_000))
    repeated = (lost[1:] == lost[:-1]).all(axis=1).mean()
    assert abs(repeated - 0.1) < 4 * np.sqrt(0.09 / 20_000)


@both_libraries
def test_every_column_is_lost_equally_often(values):
    x, generator = values((1, 5))
    lost = [
        np.asarray(drop_features(x, 0.4, generator, value=0.0, per_row=False))[0] == 0
        for _ in range(4000)
    ]
    np.testing.assert_allclose(np.mean(lost, axis=0), 0.4, atol=4 * np.sqrt(0.24 / 4000))


def test_lost_features_can_be_imputed():
    X = np.random.default_rng(0).normal(size=(50, 4))
    noise = MissingFeaturesNoise(0.5, value=np.nan, when="both", random_state=0)
    assert np.isnan(noise.fit_transform(X)).sum() == 100
    pipeline = make_pipeline(noise.set_params(when="transform"), SimpleImputer()).fit(X)
    found = pipeline.transform(X)
    means = np.broadcast_to(X.mean(axis=0), X.shape)
    filled = np.isclose(found, means).all(axis=0)
    assert filled.sum() == 2
    np.testing.assert_array_equal(found[:, ~filled], X[:, ~filled])


def test_images_lose_values_of_any_axis():
    x, generator = numpy_values((6, 2, 3))
    lost = drop_features(x, 0.5, generator, value=0.0, per_row=False) == 0
    assert lost.shape == x.shape
    assert (lost.reshape(6, -1).sum(axis=1) == 3).all()


@both_libraries
@pytest.mark.parametrize(
    "function",
    [
        lambda x, generator: drop_features(x, 0.5, generator, value=0.0, per_row=False),
        lambda x, generator: swap(x, 0.5, generator),
        lambda x, generator: mask(x, 0.5, generator, (0,) * 7),
    ],
)
def test_features_need_rows(function, values):
    x, generator = values((7,))
    with pytest.raises(ValueError, match=r"shape \(n_samples, ...\). Got \(7,\)"):
        function(x, generator)


# Swaps


def rising(x):
    """Return a copy with the number of its row added to each value."""
    if torch.is_tensor(x):
        return x + torch.arange(len(x)).reshape(-1, *(1 for _ in x.shape[1:]))
    return x + np.arange(len(x), dtype=x.dtype).reshape(-1, *(1 for _ in x.shape[1:]))


@both_libraries
def test_values_are_swapped_with_any_other_row_of_their_column(values):
    x, generator = values((5, 3), fill=0.0)
    for i, j in itertools.product(range(5), range(3)):
        x[i, j] = 10 * i + j
    draws = np.stack([np.asarray(swap(x, 0.6, generator)) for _ in range(4000)])
    assert (draws % 10 == np.arange(3)).all()
    rows = draws // 10
    for i, other in itertools.product(range(5), range(5)):
        expected = 0.4 if i == other else 0.6 / 4
        found = (rows[:, i] == other).mean(axis=0)
        np.testing.assert_allclose(found, expected, atol=4 * np.sqrt(0.25 / 4000))
    swapped = (rows != np.arange(5)[:, None]) - 0.6
    assert abs((swapped[..., 1:] * swapped[..., :-1]).mean()) < 4 * 0.24 / np.sqrt(40_000)
    assert abs((swapped[:, 1:] * swapped[:, :-1]).mean()) < 4 * 0.24 / np.sqrt(48_000)


@both_libraries
@pytest.mark.parametrize("n", [0, 1])
def test_rows_without_another_stay_as_they_are(values, n):
    x, generator = values((n, 4))
    swapped = swap(x, 1.0, generator, (0, 0, 1, 1))
    assert swapped is not x
    np.testing.assert_array_equal(swapped, x)


@both_libraries
def test_two_rows_change_places_at_rate_one(values):
    x, generator = values((2, 3, 4))
    swapped = swap(rising(x), 1.0, generator)
    np.testing.assert_array_equal(swapped, np.asarray(rising(x))[::-1])


@both_libraries
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_swaps_keep_dtype_and_input(values, dtype):
    x, generator = values((30, 4), dtype)
    x = rising(x)
    swapped = swap(x, 0.5, generator)
    assert (type(swapped), swapped.dtype) == (type(x), x.dtype)
    np.testing.assert_array_equal(x, np.asarray(rising(values((30, 4), dtype)[0])))


def test_swaps_work_in_half_precision_and_pass_gradients_to_the_values_they_took():
    x = rising(torch.zeros(64, 8, dtype=torch.bfloat16)).requires_grad_()
    swapped = swap(x, 0.5, torch.Generator().manual_seed(0))
    assert swapped.dtype == torch.bfloat16
    swapped.sum().backward()
    counts = [torch.bincount(column.long(), minlength=64) for column in swapped.detach().T]
    assert torch.equal(x.grad.long(), torch.stack(counts, 1))


# Groups of features

GROUPS = (3, -1, 3, 7, -1)


@both_libraries
@pytest.mark.parametrize("shape", [(5,), (5, 1)])
@pytest.mark.parametrize("function", [mask, swap])
def test_features_of_a_group_are_corrupted_together(function, shape, values):
    n = 4000
    x, generator = values((n, *shape), fill=1.0)
    found = np.asarray(function(rising(x), 0.3, generator, GROUPS)).reshape(n, 5)
    np.testing.assert_array_equal(found[:, [0, 1]], found[:, [2, 4]])
    changed = (found != np.arange(1.0, n + 1)[:, None])[:, [0, 1, 3]]
    np.testing.assert_allclose(changed.mean(axis=0), 0.3, atol=4 * np.sqrt(0.21 / n))
    pairs = [(changed[:, i] & changed[:, j]).mean() for i, j in [(0, 1), (0, 2), (1, 2)]]
    np.testing.assert_allclose(pairs, 0.09, atol=4 * np.sqrt(0.09 * 0.91 / n))


@pytest.mark.parametrize("noise", [MaskingNoise, SwapNoise])
def test_one_hot_rows_stay_one_hot_or_are_masked_as_a_whole(noise):
    X = np.eye(4)[np.random.default_rng(0).integers(4, size=200)]
    corrupted = noise(0.5, groups=np.zeros(4, int).tolist(), random_state=0).fit(X).transform(X)
    assert set(corrupted.sum(axis=1)) == ({0.0, 1.0} if noise is MaskingNoise else {1.0})
    assert not np.array_equal(corrupted, X)


@pytest.mark.parametrize("noise", [MaskingNoise, SwapNoise])
@pytest.mark.parametrize(
    ("groups", "message"),
    [
        ((0, 1), "each of the 3 features. Got 2 of them"),
        ((0, 1, 1, 2), "each of the 3 features. Got 4 of them"),
        ((0, 1, 1.5), r"an int for each feature. Got \(0, 1, 1.5\)"),
        ((0, 1, True), "an int for each feature"),
        ("abc", "'groups' parameter of"),
    ],
)
def test_groups_that_do_not_fit_the_features_are_refused(noise, groups, message):
    transformer = noise(groups=groups)
    with pytest.raises(ValueError, match=message):
        transformer.fit(np.ones((2, 3)))
    assert not hasattr(transformer, "n_features_in_")
    if groups != "abc":
        with pytest.raises(ValueError, match=message):
            transformer.corrupt(torch.ones(2, 3), torch.Generator())


# Brightness


@both_libraries
@pytest.mark.parametrize("shift", [-0.75, 0.0, 0.5])
def test_brightness_shifts_all_values_and_their_mean(values, shift):
    x, _ = values((4, 5), fill=0.25)
    assert bool((shift_brightness(x, shift, None) == 0.25 + shift).all())
    assert bool((shift_brightness(x, shift, (0.0, 0.5)) == min(max(0.25 + shift, 0.0), 0.5)).all())
    assert bool((x == 0.25).all())


def test_shifts_up_and_down_undo_each_other():
    X = np.random.default_rng(0).random((20, 6))
    up, down = (BrightnessNoise(s, when="both").fit_transform(X) for s in (0.3, -0.3))
    np.testing.assert_allclose((up + down) / 2, X)
    assert BrightnessNoise(-0.3).level == -0.3


# Both libraries, seeds and bad input

RANDOM = [
    lambda x, generator: salt_pepper(x, 0.3, (0, 1), generator),
    lambda x, generator: mask(x, 0.3, generator, (0, 1) * (x.shape[1] // 2)),
    lambda x, generator: drop_features(x, 0.3, generator, value=0.0, per_row=True),
    lambda x, generator: drop_features(x, 0.3, generator, value=0.0, per_row=False),
]
SWAPS = [
    lambda x, generator: swap(rising(x), 0.3, generator),
    lambda x, generator: swap(rising(x), 0.3, generator, (0, 1) * (x.shape[1] // 2)),
]


@both_libraries
@pytest.mark.parametrize("function", [*RANDOM, *SWAPS])
def test_functions_follow_their_generator(function, values):
    x, generator = values((100, 60))
    first, second = function(x, generator), function(x, generator)
    again = function(x, values((100, 60))[1])
    assert bool((first == again).all())
    assert not bool((first == second).all())


@both_libraries
@pytest.mark.parametrize("function", [*RANDOM, *SWAPS])
def test_places_do_not_depend_on_the_dtype(function, values):
    single, double = (
        np.asarray(function(*values((50, 8), dtype))) for dtype in ("float32", "float64")
    )
    np.testing.assert_array_equal(single, double)


@pytest.mark.parametrize("function", [*RANDOM, *SWAPS])
def test_functions_refuse_the_other_librarys_generator(function):
    with pytest.raises(TypeError, match="ndarray with Generator"):
        function(np.ones((3, 2)), torch.Generator())
    with pytest.raises(TypeError, match="Tensor with Generator"):
        function(torch.ones(3, 2), np.random.default_rng())


@pytest.mark.parametrize("function", RANDOM)
def test_functions_work_in_half_precision_and_leave_gradients_alone(function):
    x = torch.full((64, 64), 2.0, dtype=torch.bfloat16, requires_grad=True)
    corrupted = function(x, torch.Generator().manual_seed(0))
    assert corrupted.dtype == torch.bfloat16
    corrupted.sum().backward()
    assert torch.equal(x.grad, (corrupted == 2.0).to(x.dtype))


@pytest.mark.parametrize("rate", [-0.1, 1.1, np.nan])
def test_rates_out_of_range_are_refused(rate):
    x, generator = numpy_values((3, 2))
    with pytest.raises(ValueError, match=r"rate .* \[0, 1\]. Got"):
        salt_pepper(x, rate, (0, 1), generator)
    with pytest.raises(ValueError, match=r"rate .* \[0, 1\]. Got"):
        swap(x, rate, generator)
    with pytest.raises(ValueError, match=r"rate .* \[0, 1\]. Got"):
        drop_features(x, rate, generator, value=0.0, per_row=True)


BAD_RANGES = [(1, 0), (0, 0), (0, np.inf), (0,), (0, 1, 2), ("a", "b")]


@pytest.mark.parametrize(
    ("noise", "bad"), [*((SaltPepperNoise, bad) for bad in BAD_RANGES), (BrightnessNoise, (1, 0))]
)
def test_ranges_that_are_none_are_refused_in_fit(noise, bad):
    transformer = noise(value_range=bad)
    with pytest.raises(ValueError, match=r"value_range has to be a pair \(low, high\)"):
        transformer.fit(np.ones((3, 2)))
    assert not hasattr(transformer, "n_features_in_")
    with pytest.raises(ValueError, match="value_range"):
        transformer.corrupt(np.ones((3, 2)), np.random.default_rng())


def test_a_shift_has_to_be_finite():
    with pytest.raises(ValueError, match=r"shift has to be a finite float\. Got inf"):
        shift_brightness(np.ones(3), np.inf, None)


@pytest.mark.parametrize("whole", [np.eye(4, dtype=np.uint8), torch.eye(4, dtype=torch.int64)])
def test_whole_numbers_are_refused_rather_than_rounded(whole):
    generator = torch.Generator() if torch.is_tensor(whole) else np.random.default_rng(0)
    with pytest.raises(TypeError, match="float32 or float64, or a floating-point tensor"):
        BrightnessNoise(0.5).corrupt(whole, generator)
