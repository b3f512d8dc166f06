"""The Fréchet distance against closed forms, other programs and its own standard error."""

import math
import warnings

import numpy as np
import pytest
import torch
from scipy import linalg
from scipy.stats import ortho_group

from skvim.exceptions import UnreliableMeasureWarning
from skvim.metrics import frechet_distance

ENOUGH = 2048


def rows_with(mean, root, n=ENOUGH, seed=0):
    """Return rows whose mean and covariance, root.T @ root, are exactly these."""
    noise = np.random.default_rng(seed).normal(size=(n, root.shape[0]))
    white = np.linalg.qr(noise - noise.mean(0))[0] * math.sqrt(n - 1)
    return white @ root + mean


def between(x, y, **options):
    """Return the distance without extrapolation, whatever the number of rows."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UnreliableMeasureWarning)
        return frechet_distance(x, y, **{"n_partitions": 0, **options})


def trace_of_root(a, b):
    """Return tr((ab)^(1/2)) of 2 × 2 covariances, from its trace and determinant."""
    return math.sqrt(np.trace(a @ b) + 2 * math.sqrt(max(0, np.linalg.det(a) * np.linalg.det(b))))


@pytest.mark.numerics
@pytest.mark.parametrize("scale", [1e-3, 1e3])
@pytest.mark.parametrize("d", [1, 7, 40])
def test_gaussians_with_common_axes_have_their_closed_form(d, scale):
    source = np.random.default_rng(d)
    axes = ortho_group.rvs(d, random_state=0) if d > 1 else np.eye(1)
    a, b = source.uniform(0.1, 3, size=(2, d)) * scale
    m, n = source.normal(size=(2, d)) * scale
    x, y = rows_with(m, np.diag(a) @ axes), rows_with(n, np.diag(b) @ axes, seed=1)
    expected = ((m - n) ** 2).sum() + ((a - b) ** 2).sum()
    found = frechet_distance(x, y, n_partitions=0)
    assert found.value == pytest.approx(expected, rel=1e-8)
    assert found.mean_part == pytest.approx(((m - n) ** 2).sum(), rel=1e-8)
    assert (found.n_features, found.ranks, found.n_samples) == (d, (d, d), (ENOUGH, ENOUGH))


@pytest.mark.numerics
@pytest.mark.parametrize("blocks", [1, 10])
@pytest.mark.parametrize("flat", [False, True])
def test_gaussians_with_different_axes_have_their_closed_form(blocks, flat):
    """Blocks of 2 × 2, whose root of a product is known, in a rotated space."""
    source = np.random.default_rng(blocks)
    roots = source.normal(size=(2, blocks, 2, 2))
    if flat:
        roots[0, :, 1] = 0  # a covariance of half the rank
    axes = ortho_group.rvs(2 * blocks, random_state=1)
    whole = [linalg.block_diag(*part) for part in roots]
    mean = source.normal(size=2 * blocks)
    x, y = rows_with(mean, whole[0] @ axes), rows_with(0 * mean, whole[1] @ axes, seed=1)
    expected = mean @ mean + sum(np.trace(root.T @ root) for root in whole)
    expected -= 2 * sum(trace_of_root(a.T @ a, b.T @ b) for a, b in zip(*roots, strict=True))
    found = between(x, y)
    assert found.value == pytest.approx(expected, rel=1e-8)
    assert found.ranks == (blocks if flat else 2 * blocks, 2 * blocks)


@pytest.mark.numerics
def test_agrees_with_a_matrix_root_by_other_means():
    source = np.random.default_rng(0)
    x = source.normal(size=(500, 12)) @ source.normal(size=(12, 12))
    y = source.gamma(2.0, size=(300, 12))
    a, b = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
    root = np.trace(linalg.sqrtm(a @ b)).real
    expected = ((x.mean(0) - y.mean(0)) ** 2).sum() + np.trace(a) + np.trace(b) - 2 * root
    assert between(x, y).value == pytest.approx(expected, rel=1e-8)


def test_agrees_with_torchmetrics_on_the_same_features():
    fid = pytest.importorskip("torchmetrics.image.fid", reason="torchmetrics is not installed")
    features = torch.nn.Identity()
    features.num_features = 16
    theirs = fid.FrechetInceptionDistance(feature=features).set_dtype(torch.float64)
    source = np.random.default_rng(0)
    x = source.normal(size=(700, 16)) @ source.normal(size=(16, 16))
    y = source.gamma(2.0, size=(400, 16))
    theirs.update(torch.from_numpy(x), real=True)
    theirs.update(torch.from_numpy(y), real=False)
    assert between(x, y).value == pytest.approx(float(theirs.compute()), rel=1e-8)


@pytest.mark.numerics
@pytest.mark.parametrize("n", [5, 40, 300])
@pytest.mark.parametrize("offset", [0.0, 1e4])
def test_the_distance_of_rows_from_themselves_is_zero_at_any_rank(n, offset):
    x = np.random.default_rng(0).normal(size=(n, 40)) + offset
    assert 0 <= between(x, x[::-1]).value < 1e-8


def test_does_not_change_with_order_of_sets_rotation_and_shift():
    source = np.random.default_rng(0)
    x, y = source.normal(size=(90, 5)), source.gamma(1.0, size=(70, 5))
    axes = ortho_group.rvs(5, random_state=0)
    value = between(x, y).value
    assert between(y, x).value == pytest.approx(value)
    assert between(x @ axes + 3, y @ axes + 3).value == pytest.approx(value)
    assert between(3 * x, 3 * y).value == pytest.approx(9 * value)


def gaussians(seed, d, n, same=False):
    """Draw two sets of rows; return them and the distance of their distributions."""
    source = np.random.default_rng(seed)
    scales = np.linspace(0.5, 2, d)
    x = source.normal(size=(n, d)) * scales
    if same:
        return x, source.normal(size=(n, d)) * scales, 0.0
    return x, source.normal(0.3, size=(n, d)), 0.09 * d + ((scales - 1) ** 2).sum()


@pytest.mark.parametrize("same", [True, False])
def test_extrapolation_from_1000_rows_is_closer_to_the_truth(same):
    runs = []
    for seed in range(6):
        x, y, truth = gaussians(seed, 96, 1000, same)
        found = between(x, y, n_partitions=4)
        assert abs(found.extrapolated - truth) < 4 * found.extrapolated_se
        runs.append((found.extrapolated - truth, found.value - truth))
    extrapolated, plain = np.sqrt(np.square(runs).mean(axis=0))
    assert extrapolated < 0.3 * plain


@pytest.mark.parametrize(("same", "least", "most"), [(False, 0.75, 1.3), (True, 0.55, 1.3)])
def test_extrapolation_has_no_bias_and_an_honest_standard_error(same, least, most):
    runs = []
    for seed in range(60):
        x, y, truth = gaussians(seed, 6, 300, same)
        found = between(x, y, n_partitions=6, random_state=seed)
        runs.append((found.extrapolated - truth, found.extrapolated_se, found.value - truth))
    errors, stated, plain = np.array(runs).T
    spread = errors.std() / math.sqrt(len(errors))
    assert abs(errors.mean()) < 4 * spread
    assert least < errors.std() / math.sqrt((stated**2).mean()) < most
    assert (plain - errors).mean() > 4 * (plain - errors).std() / math.sqrt(len(errors))


@pytest.mark.parametrize("order", [1, -1])
def test_standard_error_is_honest_for_skewed_rows(order):
    """Mean and spread of exponential rows err together, which the sign of a shift tells."""
    source = np.random.default_rng(0)
    runs = []
    for seed in range(60):
        x, y = source.normal(scale=0.3, size=(200, 1)), source.exponential(size=(200, 1))
        found = between(*(x, y)[::order], n_partitions=4, random_state=seed)
        runs.append((found.extrapolated, found.extrapolated_se))
    values, errors = np.array(runs).T
    assert 0.75 < values.std() / math.sqrt((errors**2).mean()) < 1.3


def test_sets_of_different_sizes_are_extrapolated_without_bias():
    errors = []
    for seed in range(40):
        x, y, truth = gaussians(seed, 6, 400)
        errors.append(between(x, y[:150], n_partitions=6).extrapolated - truth)
    assert abs(np.mean(errors)) < 4 * np.std(errors) / math.sqrt(len(errors))


@pytest.mark.parametrize(("n", "known"), [(80, False), (81, False), (84, True)])
def test_extrapolation_needs_halves_that_span_the_features(n, known):
    x, y, _ = gaussians(0, 40, n)
    with pytest.warns(UnreliableMeasureWarning) as caught:
        found = frechet_distance(x, y)
    assert math.isfinite(found.extrapolated) == known
    assert math.isfinite(found.extrapolated_se) == known
    assert ("extrapolation needs more than 81 rows" in str(caught[0].message)) != known


def test_one_partition_has_no_standard_error_and_none_no_extrapolation():
    x, y, _ = gaussians(0, 3, 200)
    one, none = between(x, y, n_partitions=1), between(x, y, n_partitions=0)
    assert math.isfinite(one.extrapolated)
    assert math.isnan(one.extrapolated_se)
    assert math.isnan(none.extrapolated)
    assert one.value == none.value


def test_partitions_follow_from_random_state_and_leave_global_generators_alone():
    x, y, _ = gaussians(0, 3, 200)
    before = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    first, again = between(x, y, n_partitions=4), between(x, y, n_partitions=4)
    other = between(x, y, n_partitions=4, random_state=1)
    assert first == again
    assert first.value == other.value
    assert first.extrapolated != other.extrapolated
    assert torch.equal(before[0], torch.get_rng_state())
    assert (before[1] == np.random.get_state()[1]).all()  # noqa: NPY002


def test_warns_of_few_rows():
    x, y = np.random.default_rng(0).normal(size=(2, ENOUGH, 3))
    frechet_distance(x, y, n_partitions=0)
    for few, message in (
        ((x[1:], y), "2047 and 2048 rows, and 2048 of each"),
        ((x, y[1:]), "2048 and 2047 rows"),
    ):
        with pytest.warns(UnreliableMeasureWarning, match=message) as caught:
            frechet_distance(*few, n_partitions=0)
        assert caught[0].filename == __file__


# The last feature as a function of the others; a rank is lost, also with rounding errors.
DEPENDENT = {
    "copied": lambda x: x[:, 0],
    "copied in another unit": lambda x: x[:, 0] * 1e6 * np.pi,
    "copied up to rounding": lambda x: x[:, 0] * 0.1 * 3,
    "a sum": lambda x: x[:, :-1].sum(1),
    "constant": lambda x: np.full(len(x), x[0, 0]),
    "zero": lambda x: np.zeros(len(x)),
}


@pytest.mark.numerics
@pytest.mark.parametrize(("scale", "offset"), [(1e-100, 0), (1e-3, 0), (1e-3, 1e4), (1e8, 1e4)])
@pytest.mark.parametrize(("n", "d"), [(40, 3), (ENOUGH, 3), (ENOUGH, 40), (20_000, 7)])
def test_rank_counts_independent_features_at_every_scale(n, d, scale, offset):
    source = np.random.default_rng(0)
    x = scale * (source.normal(size=(n, d)) + offset)
    for dependent in DEPENDENT.values():
        y = x.copy()
        y[:, -1] = dependent(x)
        assert between(x, y).ranks == (d, d - 1)
    close = x.copy()
    close[:, -1] = x[:, 0] + 1e-6 * scale * source.normal(size=n)
    units = x * np.geomspace(1e-30, 1e30, d)
    assert between(close, units).ranks == (d, d)


def test_warns_of_dependent_features():
    x, y = np.random.default_rng(0).normal(size=(2, ENOUGH, 3))
    y[:, 2] = y[:, 1]
    with pytest.warns(UnreliableMeasureWarning, match="of 3 features have ranks 3 and 2"):
        frechet_distance(x, y, n_partitions=0)


@pytest.mark.parametrize(
    ("x", "y", "options", "message"),
    [
        (np.eye(3), np.eye(4), {}, "3 of X and 4 of Y"),
        (np.eye(3)[:1], np.eye(3), {}, "minimum of 2 is required"),
        (np.full((3, 3), np.nan), np.eye(3), {}, "X contains NaN"),
        (np.eye(3), np.full((3, 3), np.inf), {}, "Y contains infinity"),
        (np.eye(3), np.eye(3), {"n_partitions": -1}, r"n_partitions must be an int in \[0"),
        (np.eye(3), np.eye(3), {"n_partitions": 1.5}, "n_partitions"),
    ],
)
def test_refuses_what_has_no_distance(x, y, options, message):
    with pytest.raises(ValueError, match=message):
        frechet_distance(x, y, **options)
