"""Synthetic data sets against the figures of the literature."""

import numpy as np
import pytest
from scipy.stats import kstest, norm
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.model_selection import train_test_split
from sklearn.svm import SVC

from skvim.datasets import make_g50c, make_g241c, make_g241d
from skvim.model_selection import mask_labels

MAKERS = [make_g241c, make_g241d, make_g50c]
STANDARDIZED = [make_g241c, make_g241d]


def between_centers(first, second):
    """Squared distance of the means of unit normal distributions, without bias."""
    apart = np.sum((first.mean(axis=0) - second.mean(axis=0)) ** 2)
    return apart - first.shape[1] * (1 / len(first) + 1 / len(second))


def error_of_the_estimated_rule(make, n_samples):
    """Error, on half of the rows, of the linear rule that the other half of them gives."""
    X, y = make(n_samples, random_state=0)
    X, X_test, y, y_test = train_test_split(X, y, test_size=0.5, stratify=y, random_state=0)
    rule = LinearDiscriminantAnalysis(solver="lsqr")
    return np.mean(rule.fit(X, y).predict(X_test) != y_test)


@pytest.mark.parametrize(
    ("make", "shape"),
    [(make_g241c, (1500, 241)), (make_g241d, (1500, 241)), (make_g50c, (550, 50))],
)
def test_the_default_draw_has_the_published_size(make, shape):
    X, y = make(random_state=0)
    assert X.shape == shape
    assert X.dtype == np.float64
    assert y.dtype == np.int64
    assert np.bincount(y).tolist() == [shape[0] // 2] * 2
    assert abs(np.mean(y[: len(y) // 2]) - 0.5) < 0.1  # in random order


@pytest.mark.parametrize("make", STANDARDIZED)
def test_features_are_standardised(make):
    X, _ = make(random_state=0)
    np.testing.assert_allclose(X.mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(X.std(axis=0), 1, rtol=1e-12)


def test_centers_of_g50c_lie_so_far_apart_that_five_percent_are_confused():
    X, y = make_g50c(20_000, random_state=1)
    distance = 2 * norm.ppf(0.95)
    # The standard error of the squared distance is about 4 · distance / √20000.
    error = 4 * distance / np.sqrt(20_000)
    assert abs(between_centers(X[y == 0], X[y == 1]) - distance**2) < 4 * error
    np.testing.assert_allclose(X.mean(axis=0), 0, atol=5 * 2 / np.sqrt(20_000))


# Φ(−2.5 / 2), and 5 % by construction. A rule that is estimated errs a little more.
@pytest.mark.parametrize(
    ("make", "best"),
    [(make_g241c, norm.cdf(-1.25)), (make_g241d, norm.cdf(-1.25)), (make_g50c, 0.05)],
)
def test_the_best_classifier_errs_as_the_distance_of_the_centers_implies(make, best):
    n_samples = 20_000
    error = np.sqrt(best * (1 - best) / (n_samples / 2))
    assert -3 * error < error_of_the_estimated_rule(make, n_samples) - best < 3 * error + 0.004


def test_classes_of_g50c_are_normal_with_unit_covariance():
    X, y = make_g50c(20_000, random_state=0)
    rows = X[y == 0] - X[y == 0].mean(axis=0)
    covariance = rows.T @ rows / len(rows)
    # The entries have standard errors of 1 / 100, on the diagonal √2 / 100.
    assert np.abs(covariance - np.eye(50)).max() < 5.5 * np.sqrt(2) / 100
    assert kstest(rows[:, 0], "norm").pvalue > 1e-3


def test_clusters_of_g241d_hold_half_of_each_class():
    X, y = make_g241d(4000, random_state=0)
    # Variance along the clusters: 1 + 3², along the classes: 1 + 1.25², each less if standardised.
    variances, directions = np.linalg.eigh(X.T @ X)
    assert variances[-1] / variances[-2] == pytest.approx(10 / (1 + 1.25**2), rel=0.2)
    cluster = X @ directions[:, -1] > 0
    for side in (cluster, ~cluster):
        assert abs(np.mean(side) - 0.5) < 0.01
        assert abs(np.mean(y[side]) - 0.5) < 0.03


def test_clusters_of_g241c_are_its_classes():
    X, y = make_g241c(4000, random_state=0)
    _, directions = np.linalg.eigh(X.T @ X)
    agreement = np.mean((X @ directions[:, -1] > 0) == y)
    assert max(agreement, 1 - agreement) == pytest.approx(1 - norm.cdf(-1.25), abs=0.02)


@pytest.mark.parametrize(("make", "step"), [(make_g241c, 2.5), (make_g241d, 2.5)])
def test_classes_are_moved_in_one_direction(make, step):
    X, y = make(4000, random_state=2)
    moved = between_centers(X[y == 0], X[y == 1])
    # Standardising shrinks a feature whose centres differ, here all by little.
    assert np.sqrt(moved) == pytest.approx(step, rel=0.06)


def support_vector_error(make, n_labeled, C, gamma, n_draws=12):
    """Mean error in %, with labels drawn whatever their class, as published."""
    errors = []
    for draw in range(n_draws):
        X, y = make(random_state=draw)
        labeled = mask_labels(y, n_labeled, stratify=False, random_state=draw) != -1
        model = SVC(C=C, gamma=gamma / X.shape[1]).fit(X[labeled], y[labeled])
        errors.append(100 * np.mean(model.predict(X[~labeled]) != y[~labeled]))
    return np.mean(errors)


@pytest.mark.parametrize(
    ("make", "n_labeled", "published"),
    [(make_g241c, 100, 23.1), (make_g241d, 100, 24.6), (make_g50c, 50, 8.3)],
)
def test_support_vector_machines_err_as_published(make, n_labeled, published):
    C, gamma = (10.0, 0.3) if n_labeled == 100 else (1.0, 0.3)
    assert support_vector_error(make, n_labeled, C, gamma) == pytest.approx(published, abs=2.5)


@pytest.mark.parametrize(("make", "published"), [(make_g241c, 47.3), (make_g241d, 46.7)])
def test_ten_labels_leave_support_vector_machines_little_better_than_chance(make, published):
    found = support_vector_error(make, 10, 10.0, 1.0)
    assert found == pytest.approx(published, abs=3)


@pytest.mark.parametrize("make", MAKERS)
def test_seeds_repeat_a_draw_and_the_global_generator_is_left_alone(make):
    before = np.random.get_state()[1:3]  # noqa: NPY002
    fresh = [make(8)[0] for _ in range(2)]
    after = np.random.get_state()[1:3]  # noqa: NPY002
    np.testing.assert_array_equal(before[0], after[0])
    assert before[1] == after[1]
    assert (fresh[0] != fresh[1]).any()
    state = np.random.RandomState(3)
    same, also, then = (
        make(8, random_state=3),
        make(8, random_state=state),
        make(8, random_state=state),
    )
    np.testing.assert_array_equal(same[0], also[0])
    np.testing.assert_array_equal(same[1], also[1])
    assert (also[0] != then[0]).any()


@pytest.mark.parametrize(("make", "least"), [(make_g241c, 2), (make_g241d, 4), (make_g50c, 2)])
def test_sizes_that_do_not_divide_differ_by_one(make, least):
    for n_samples in (least, 2 * least + 1, 4 * least + 3):
        X, y = make(n_samples, random_state=0)
        assert np.isfinite(X).all()
        assert np.ptp(np.bincount(y, minlength=2)) <= 1
    for n_samples in (least - 1, 10.5, None):
        with pytest.raises(ValueError, match="n_samples"):
            make(n_samples)
