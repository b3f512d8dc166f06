"""Comparisons of two models: their means, and how often their intervals hold the truth."""

import joblib
import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.datasets import load_iris
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier
from sklearn.utils.validation import validate_data

from skvim.metrics import compare_robustness, robustness_curve
from skvim.metrics._comparison import _standard_error, _statistics
from skvim.noise import BlurNoise, GaussianNoise, MaskingNoise, MissingFeaturesNoise


class Sign(ClassifierMixin, BaseEstimator):
    """Says whether the mean of some columns is positive."""

    def __init__(self, columns=slice(None)):
        self.columns = columns

    def fit(self, X, y=None):
        self.classes_ = np.array([0, 1])
        validate_data(self, X)
        return self

    def predict(self, X):
        return (np.asarray(X)[:, self.columns].mean(axis=1) > 0).astype(int)


IRIS = load_iris(return_X_y=True)
X, Y = IRIS[0][1::2], IRIS[1][1::2]
LINEAR = LogisticRegression(max_iter=500).fit(IRIS[0][::2], IRIS[1][::2])
TREE = DecisionTreeClassifier(random_state=0).fit(IRIS[0][::2], IRIS[1][::2])
NOISES = [GaussianNoise(0.5), GaussianNoise(1.0), MissingFeaturesNoise(0.25)]


def test_means_are_those_of_the_robustness_curves():
    options = {"n_repeats": 4, "random_state": 5}
    table = compare_robustness(LINEAR, TREE, X, Y, NOISES, **options)
    names = ["none", "gaussian", "gaussian", "missing_features", "all"]
    assert table["corruption"].tolist() == names
    assert table["level"].tolist()[:-1] == [0.0, 0.5, 1.0, 0.25]
    assert np.isnan(table["level"].iloc[-1])
    for column, model in (("first", LINEAR), ("second", TREE)):
        curve = robustness_curve(model, X, Y, NOISES, **options)
        means = curve.groupby(["corruption", "level"], sort=False)["score"].mean()
        np.testing.assert_allclose(table[column][:-1], means)
        assert table[column].iloc[-1] == pytest.approx(means[1:].mean())
    np.testing.assert_allclose(table["difference"], table["first"] - table["second"])


def test_swapping_the_models_mirrors_the_table():
    one, other = (
        compare_robustness(*models, X, Y, NOISES, random_state=0)
        for models in ((LINEAR, TREE), (TREE, LINEAR))
    )
    np.testing.assert_allclose(one["difference"], -other["difference"])
    np.testing.assert_allclose(one["low"], -other["high"])
    np.testing.assert_allclose(one["standard_error"], other["standard_error"])


def test_clean_rows_have_the_interval_of_a_paired_t_test():
    table = compare_robustness(LINEAR, TREE, X, Y, [GaussianNoise(0.5)], confidence=0.9)
    right = [(model.predict(X) == Y).astype(float) for model in (LINEAR, TREE)]
    expected = stats.ttest_rel(*right).confidence_interval(0.9)
    assert (table["low"][0], table["high"][0]) == pytest.approx(tuple(expected))


@pytest.mark.numerics
def test_corruptions_without_draws_have_the_interval_of_a_paired_t_test():
    noise = BlurNoise(1.0)
    blurred = noise.corrupt(X, np.random.default_rng())
    right = [(model.predict(blurred) == Y).astype(float) for model in (LINEAR, TREE)]
    expected = stats.ttest_rel(*right).confidence_interval(0.95)
    for n_repeats in (1, 5):
        table = compare_robustness(LINEAR, TREE, X, Y, [noise], n_repeats=n_repeats)
        assert (table["low"][1], table["high"][1]) == pytest.approx(tuple(expected))


@pytest.mark.numerics
def test_a_model_does_not_differ_from_itself():
    table = compare_robustness(LINEAR, LINEAR, X, Y, NOISES, random_state=0)
    assert (table[["difference", "standard_error", "low", "high"]] == 0).all(axis=None)


# Coverage

N_TRIALS = 300
BOUND = 4 * np.sqrt(0.95 * 0.05 / N_TRIALS)


def coverage(truth, noise, draw, models, n_repeats):
    """Return how often the interval of a corruption holds the true difference."""
    inside = []
    for seed in range(N_TRIALS):
        rows, labels = draw(np.random.default_rng(seed))
        table = compare_robustness(
            *models, rows, labels, [noise], n_repeats=n_repeats, random_state=seed
        )
        inside.append(table["low"][1] <= truth <= table["high"][1])
    return np.mean(inside)


def test_intervals_hold_the_truth_of_the_population_as_often_as_they_say():
    # Rows ± m (1, 1, 1), m one of two margins: under N(0, s²) the sign of the mean survives with
    # probability Φ(√3 m / s), that of the first value with Φ(m / s).
    margins, scale = np.array([0.3, 1.5]), 1.0

    def draw(source):
        signs = source.choice([-1.0, 1.0], size=60)
        return np.outer(signs * source.choice(margins, size=60), np.ones(3)), signs > 0

    models = [Sign().fit(np.ones((2, 3))), Sign([0]).fit(np.ones((2, 3)))]
    truth = np.mean(stats.norm.cdf(np.sqrt(3) * margins / scale) - stats.norm.cdf(margins / scale))
    found = coverage(truth, GaussianNoise(scale), draw, models, n_repeats=3)
    assert abs(found - 0.95) < BOUND


def test_intervals_know_of_draws_that_all_rows_share():
    # One of two columns is lost for all rows at once: the model of the lost column is wrong on
    # half of the rows, the other on none, and which of them is up to a single coin.
    def draw(source):
        signs = source.choice([-1.0, 1.0], size=50)
        return np.outer(signs, np.ones(2)), signs > 0

    models = [Sign([0]).fit(np.ones((2, 2))), Sign([1]).fit(np.ones((2, 2)))]
    found = coverage(0.0, MissingFeaturesNoise(0.5), draw, models, n_repeats=12)
    assert found > 0.95 - BOUND  # of twelve coins: not quite Student's


@pytest.mark.parametrize("n_repeats", [5, 20])
@pytest.mark.parametrize(
    ("of_rows", "of_draws", "of_both"),
    [(1.0, 0.0, 0.0), (1.0, 0.0, 1.0), (0.0, 0.0, 1.0), (1.0, 0.3, 1.0), (0.3, 0.3, 1.0)],
)
def test_every_mixture_of_rows_draws_and_both_is_covered(of_rows, of_draws, of_both, n_repeats):
    source = np.random.default_rng(0)
    inside = []
    for _ in range(1000):
        scores = np.zeros((n_repeats, 2, 60))
        scores[:, 0] = of_rows * source.normal(size=60) + 0.7
        scores[:, 0] += of_draws * source.normal(size=(n_repeats, 1))
        scores[:, 0] += of_both * source.normal(size=(n_repeats, 60))
        *_, low, high = _statistics(scores, 0.95)
        inside.append(low <= 0.7 <= high)
    # Where draws add nothing they are allowed for all the same, which is a little too wide; five
    # repeats know them to within a point of the coverage.
    error = 4 * np.sqrt(0.95 * 0.05 / 1000)
    assert 0.94 - error < np.mean(inside) < 0.97 + error


def test_the_variance_of_the_mean_counts_nothing_twice():
    source = np.random.default_rng(0)
    truth = 1 / 60 + 0.25 / 20 + 16 / 1200
    found = []
    for _ in range(1000):
        differences = source.normal(size=60) + 0.5 * source.normal(size=(20, 1))
        found.append(_standard_error(differences + 4 * source.normal(size=(20, 60)))[0] ** 2)
    assert np.mean(found) == pytest.approx(truth, rel=0.04)


def test_more_repeats_do_not_make_up_for_few_rows():
    options = {"n_repeats": 100, "random_state": 0}
    noise = [GaussianNoise(1.0)]
    table = compare_robustness(LINEAR, TREE, X, Y, noise, **options)
    one, other = (robustness_curve(m, X, Y, noise, **options)["score"][1:] for m in (LINEAR, TREE))
    # What a t test over repeats would say, to which these rows are all that there are.
    assert table["standard_error"][1] > 2 * (one - other).std() / 10
    few = compare_robustness(LINEAR, TREE, X, Y, noise, n_repeats=5, random_state=0)
    assert table["standard_error"][1] < few["standard_error"][1]


# Scores of rows


def test_regressors_are_compared_by_squared_errors():
    features, target = X[:, :3], X[:, 3]
    models = [LinearRegression(fit_intercept=f).fit(features, target) for f in (True, False)]
    table = compare_robustness(*models, features, target, [GaussianNoise(0.1)])
    losses = [-np.mean((model.predict(features) - target) ** 2) for model in models]
    np.testing.assert_allclose(table.loc[0, ["first", "second"]].astype(float), losses)


def test_densities_are_compared_by_log_likelihoods_and_need_no_labels():
    models = [PCA(k).fit(IRIS[0][::2]) for k in (2, 1)]
    table = compare_robustness(*models, X, None, [GaussianNoise(0.1)])
    means = [model.score(X) for model in models]
    np.testing.assert_allclose(table.loc[0, ["first", "second"]].astype(float), means)


def test_any_score_of_rows_will_do():
    def certainty(model, rows, y):
        return model.predict_proba(rows)[np.arange(len(y)), y]

    table = compare_robustness(LINEAR, TREE, X, Y, [GaussianNoise(0.1)], row_score=certainty)
    assert table["first"][0] == pytest.approx(certainty(LINEAR, X, Y).mean())


def test_frames_steps_in_place_and_jobs_change_nothing():
    frame = pd.DataFrame(X, columns=list("abcd"))
    train = pd.DataFrame(IRIS[0][::2], columns=list("abcd"))
    careless, careful = (
        make_pipeline(StandardScaler(copy=copy), LogisticRegression()).fit(
            train.copy(), IRIS[1][::2]
        )
        for copy in (False, True)
    )
    tree = DecisionTreeClassifier(random_state=0).fit(train, IRIS[1][::2])
    expected = compare_robustness(careful, tree, frame, Y, NOISES, random_state=0)
    with joblib.parallel_config("threading"):
        found = compare_robustness(careless, tree, frame, Y, NOISES, random_state=0, n_jobs=2)
    pd.testing.assert_frame_equal(found, expected, check_exact=True)
    np.testing.assert_array_equal(frame, X)


# Bad input


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n_repeats": 0}, "n_repeats must be"),
        ({"n_jobs": 0}, "n_jobs must be"),
        ({"confidence": 1.0}, r"confidence must be a float in \(0, 1\). Got 1.0"),
        ({"confidence": 95}, "confidence .* Got 95"),
        ({"corruptions": {"all": MaskingNoise()}}, "'all' names the mean"),
        ({"corruptions": []}, "corruptions is empty"),
        ({"second": PCA(2).fit(X)}, "suits both LogisticRegression and PCA"),
        ({"first": StandardScaler().fit(X), "second": StandardScaler().fit(X)}, "suits both"),
        ({"y": None}, "with labels y"),
        ({"y": Y[:-1]}, "Got 75 rows in X and 74 in y"),
        ({"X": X[:1], "y": Y[:1]}, "at least two rows. Got 1"),
        ({"X": X[:, :3]}, "3 features, but LogisticRegression is expecting 4"),
        ({"row_score": lambda model, X, y: 0.5}, r"each of the 75 rows. Got shape \(\)"),
        ({"row_score": lambda model, X, y: np.full(75, np.nan)}, "75 of them not finite"),
    ],
)
def test_bad_arguments(change, message):
    arguments = {"first": LINEAR, "second": TREE, "X": X, "y": Y, "corruptions": NOISES} | change
    with pytest.raises(ValueError, match=message):
        compare_robustness(**arguments)


def test_both_have_to_be_fitted():
    for models in ((LINEAR, LogisticRegression()), (LogisticRegression(), TREE)):
        with pytest.raises(NotFittedError):
            compare_robustness(*models, X, Y, NOISES)


def test_labels_in_a_column_are_those_of_a_row():
    options = {"n_repeats": 2, "random_state": 0}
    flat = compare_robustness(LINEAR, TREE, X, Y, NOISES, **options)
    column = compare_robustness(LINEAR, TREE, X, pd.DataFrame(Y), NOISES, **options)
    pd.testing.assert_frame_equal(flat, column)
    line, target = LinearRegression(), X[:, 1:2]
    other = clone(line).fit(X[:, :1] * np.ones(4), target)
    found = compare_robustness(line.fit(X, target), other, X, target, NOISES, **options)
    assert found["first"].iloc[0] == pytest.approx(0, abs=1e-20)
