"""The kernel distance against populations that can be enumerated, and moments."""

import itertools
import math
import warnings

import numpy as np
import pytest
import torch
from scipy import stats

from skvim.metrics import _kernel, kernel_distance


def cubic(a, b):
    """Return the kernel of two rows."""
    return (np.dot(a, b) / len(a) + 1) ** 3


def population_distance(xs, ys):
    """Return MMD² of two uniform distributions on few rows."""
    means = [np.mean([cubic(a, b) for a in p for b in q]) for p, q in ((xs, xs), (ys, ys))]
    return sum(means) - 2 * np.mean([cubic(a, b) for a in xs for b in ys])


def test_mean_over_all_samples_is_the_distance_of_the_populations():
    m, n = 3, 2
    source = np.random.default_rng(0)
    xs, ys = source.normal(size=(3, 2)), source.normal(size=(2, 2))
    values = [
        kernel_distance(np.array(x), np.array(y), n_blocks=1).value
        for x in itertools.product(xs, repeat=m)
        for y in itertools.product(ys, repeat=n)
    ]
    assert np.mean(values) == pytest.approx(population_distance(xs, ys), rel=1e-12)
    assert min(values) < 0  # no bias has this price


@pytest.mark.parametrize("d", [1, 5])
@pytest.mark.numerics
def test_two_points_have_their_closed_form(d):
    a, b = np.random.default_rng(d).normal(size=(2, d))
    found = kernel_distance(np.tile(a, (20, 1)), np.tile(b, (20, 1)), n_blocks=5)
    assert found.value == pytest.approx(cubic(a, a) + cubic(b, b) - 2 * cubic(a, b))
    assert found.standard_error == pytest.approx(0, abs=1e-12)
    assert (found.n_samples, found.n_features) == ((20, 20), d)


def moments_distance(p, q):
    """Return MMD² of two laws on the line from their first three moments."""
    return sum(math.comb(3, j) * (a - b) ** 2 for j, (a, b) in enumerate(zip(p, q, strict=True), 1))


@pytest.mark.parametrize(("shift", "scale"), [(1.0, 1.0), (0.0, 2.0), (-0.5, 0.5), (0.0, 1.0)])
def test_gaussians_have_the_distance_of_their_moments(shift, scale):
    source = np.random.default_rng(1)
    x, y = source.normal(size=(6000, 1)), source.normal(shift, scale, size=(5000, 1))
    moments = (shift, shift**2 + scale**2, shift**3 + 3 * shift * scale**2)
    found = kernel_distance(x, y)
    expected = moments_distance((0, 1, 0), moments)
    assert abs(found.value - expected) < 4 * found.standard_error


def test_laws_that_agree_in_three_moments_are_not_told_apart():
    source = np.random.default_rng(0)
    x = source.choice([-1.0, 1.0], size=(4000, 1))
    y = math.sqrt(3) * source.choice([-1, 0, 0, 0, 0, 1.0], size=(4000, 1))
    found = kernel_distance(x, y)
    assert abs(found.value) < 4 * found.standard_error
    assert found.standard_error < 0.05


def test_standard_error_is_the_spread_of_repetitions():
    source = np.random.default_rng(0)
    runs = []
    for _ in range(150):
        found = kernel_distance(
            source.normal(size=(200, 3)), source.normal(0.5, 1, size=(160, 3)), n_blocks=8
        )
        runs.append((found.value, found.standard_error))
        assert found.value == pytest.approx(found.block_values.mean())
        assert found.standard_error == pytest.approx(stats.sem(found.block_values))
        assert len(found.block_values) == 8
    values, errors = np.array(runs).T
    assert values.std() == pytest.approx(math.sqrt((errors**2).mean()), rel=0.2)


def test_agrees_with_torchmetrics_on_the_same_features():
    kid = pytest.importorskip("torchmetrics.image.kid", reason="torchmetrics is not installed")
    source = np.random.default_rng(0)
    x, y = source.normal(size=(80, 6)), source.gamma(2.0, size=(80, 6))
    features = torch.nn.Identity()
    features.num_features = 6
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Metric .* will save all extracted features")
        theirs = kid.KernelInceptionDistance(feature=features, subsets=1, subset_size=80)
    theirs.update(torch.from_numpy(x), real=True)
    theirs.update(torch.from_numpy(y), real=False)
    mean, _ = theirs.compute()
    assert kernel_distance(x, y, n_blocks=1).value == pytest.approx(float(mean), rel=1e-5)


def test_one_block_has_no_standard_error():
    assert math.isnan(kernel_distance(np.eye(3), np.eye(3), n_blocks=1).standard_error)


@pytest.mark.numerics
def test_chunks_of_the_kernel_do_not_change_it(monkeypatch):
    source = np.random.default_rng(0)
    x, y = source.normal(size=(50, 3)), source.normal(size=(45, 3))
    whole = kernel_distance(x, y, n_blocks=2)
    monkeypatch.setattr(_kernel, "_BLOCK_VALUES", 60)
    np.testing.assert_allclose(kernel_distance(x, y, n_blocks=2).block_values, whole.block_values)


def test_split_follows_from_random_state():
    source = np.random.default_rng(0)
    x, y = source.normal(size=(50, 3)), source.normal(size=(45, 3))
    values = [kernel_distance(x, y, random_state=seed).value for seed in (0, 0, 1)]
    assert values[0] == values[1] != values[2]


@pytest.mark.parametrize(
    ("n", "options", "message"),
    [(19, {}, "minimum of 20"), (20, {"n_blocks": 0}, r"n_blocks must be an int in \[1")],
)
def test_refuses_blocks_without_two_rows(n, options, message):
    with pytest.raises(ValueError, match=message):
        kernel_distance(np.eye(n), np.eye(n), **options)
