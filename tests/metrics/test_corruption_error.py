"""Standard errors of robustness curves, and corruption errors relative to a baseline."""

import numpy as np
import pandas as pd
import pytest
from curves import curve
from sklearn.datasets import load_iris
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LogisticRegression

from skvim.metrics import (
    corruption_errors,
    mean_corruption_error,
    robustness_curve,
    robustness_summary,
)
from skvim.noise import GaussianNoise, MaskingNoise, severities

# Means and standard errors


def test_summary_holds_means_and_standard_errors_in_the_order_of_the_curve():
    table = robustness_summary(
        curve(
            {
                ("none", 0.0): [0.9],
                ("masking", 0.5): [0.2, 0.4, 0.6, 0.8],
                ("gaussian", 0.2): [0.5, 0.7],
                ("gaussian", 0.1): [0.6],
            }
        )
    )
    assert table["corruption"].tolist() == ["none", "masking", "gaussian", "gaussian"]
    assert table["level"].tolist() == [0.0, 0.5, 0.2, 0.1]
    assert table["n_repeats"].tolist() == [1, 4, 2, 1]
    np.testing.assert_allclose(table["mean"], [0.9, 0.5, 0.6, 0.6])
    np.testing.assert_allclose(table["std"], [0.0, np.sqrt(0.2 / 3), np.sqrt(0.02), np.nan])
    np.testing.assert_allclose(
        table["standard_error"], [0.0, np.sqrt(0.2 / 12), 0.1, np.nan], atol=1e-15
    )


def test_the_mean_lies_within_its_standard_error_as_often_as_it_should():
    # The share of values hidden is known: its mean over repeats against the truth.
    class Share(DummyClassifier):
        def score(self, X, y=None):
            return float(np.mean(X))

    X = np.ones((20, 5))
    model = Share().fit(X, np.ones(20))
    inside = []
    for seed in range(120):
        found = robustness_curve(
            model, X, None, [MaskingNoise(0.3)], n_repeats=10, random_state=seed
        )
        (point,) = robustness_summary(found)[1:].itertuples()
        inside.append(abs(point.mean - 0.7) < 2.262 * point.standard_error)  # t, 9 of freedom
    assert abs(np.mean(inside) - 0.95) < 4 * np.sqrt(0.95 * 0.05 / 120)


def test_curves_told_apart_by_further_columns_are_averaged_by_themselves():
    one, two = curve({("blur", 1.0): [0.2, 0.4]}), curve({("blur", 1.0): [0.6, 0.8]})
    table = robustness_summary(pd.concat([one.assign(fit=None), two.assign(fit=7)]))
    assert list(table.columns)[:3] == ["fit", "corruption", "level"]
    np.testing.assert_allclose(table["mean"], [0.3, 0.7])
    with pytest.raises(ValueError, match=r"same repeat twice, first .*'blur'.* curve\.assign"):
        robustness_summary(pd.concat([one, two]))


def test_summary_needs_a_curve():
    with pytest.raises(ValueError, match=r"Missing: \['repeat'\]"):
        robustness_summary(curve({("blur", 1.0): [0.2]}).drop(columns="repeat"))


# Corruption errors

# Top-1 errors of AlexNet on ImageNet-C, the means over severities, and the corruption errors of
# ResNet-50 in percent, as Hendrycks and Dietterich (2019) publish them. Its mean is 76.7.
ALEXNET = {
    **{"gaussian": 0.886428, "shot": 0.894468, "impulse": 0.922640, "defocus": 0.819880},
    **{"glass": 0.826268, "motion": 0.785948, "zoom": 0.798360, "snow": 0.866816},
    **{"frost": 0.826572, "fog": 0.819324, "brightness": 0.564592, "contrast": 0.853204},
    **{"elastic": 0.646056, "pixelate": 0.717840, "jpeg": 0.606500},
}
RESNET50 = [80, 82, 83, 75, 89, 78, 80, 78, 75, 66, 57, 71, 85, 77, 77]


def test_published_mean_corruption_error_of_resnet50():
    levels = np.array([0.6, 0.8, 1.0, 1.1, 1.5])  # shapes of the curves, which do not matter
    baseline = curve(
        {(n, k): [1 - e * v] for n, e in ALEXNET.items() for k, v in enumerate(levels)}
    )
    own = dict(zip(ALEXNET, RESNET50, strict=True))
    found = curve(
        {
            (n, k): [1 - own[n] / 100 * e * v]
            for n, e in ALEXNET.items()
            for k, v in enumerate(levels[::-1])
        }
    )
    errors = corruption_errors(found, baseline)
    assert list(errors.index) == list(ALEXNET)
    np.testing.assert_allclose(100 * errors, RESNET50)
    assert 100 * mean_corruption_error(found, baseline) == pytest.approx(76.7, abs=0.3)
    assert mean_corruption_error(baseline, baseline) == pytest.approx(1.0)


def test_a_constant_classifier_has_the_error_of_chance_whatever_the_noise():
    X, y = load_iris(return_X_y=True)
    noises = [*severities("gaussian", value_range=(0, 4)), *severities("missing_features")]
    options = {"n_repeats": 2, "random_state": 0}
    constant = robustness_curve(DummyClassifier().fit(X, y), X, y, noises, **options)
    model = LogisticRegression(max_iter=500).fit(X, y)
    fitted = robustness_curve(model, X, y, noises, **options)
    # Two thirds of three balanced classes are wrong at each of five severities.
    chance = 5 * 2 / 3
    wrong = 1 - fitted[1:].groupby(["corruption", "level"])["score"].mean()
    per_corruption = wrong.groupby("corruption").sum()
    expected = np.mean([per_corruption[name] / chance for name in ("gaussian", "missing_features")])
    assert mean_corruption_error(fitted, constant) == pytest.approx(expected)
    expected = np.mean([chance / per_corruption[name] for name in per_corruption.index])
    assert mean_corruption_error(constant, fitted) == pytest.approx(expected)
    # It loses nothing to any corruption, and relative to itself it is the baseline.
    assert mean_corruption_error(constant, fitted, relative=True) == pytest.approx(0.0)
    assert mean_corruption_error(constant, constant) == pytest.approx(1.0)
    assert 0 < mean_corruption_error(fitted, constant) < 1


def test_each_corruption_counts_the_same_and_levels_by_their_errors():
    own = curve(
        {("none", 0.0): [1.0], ("a", 1): [0.9], ("a", 2): [0.5, 0.7], ("b", 1): [0.96, 0.98]}
    )
    baseline = curve({("none", 0.0): [0.9], ("b", 1): [0.9], ("a", 2): [0.2], ("a", 1): [0.8, 0.8]})
    errors = corruption_errors(own, baseline)
    assert errors.name == "corruption_error"
    assert errors.to_dict() == pytest.approx({"a": (0.1 + 0.4) / (0.8 + 0.2), "b": 0.03 / 0.1})
    assert mean_corruption_error(own, baseline) == pytest.approx((0.5 + 0.3) / 2)


def test_relative_errors_are_those_beyond_clean_rows():
    own = curve({("none", 0.0): [0.8], ("a", 1): [0.7], ("a", 2): [0.5]})
    baseline = curve({("none", 0.0): [0.6], ("a", 1): [0.5], ("a", 2): [0.3]})
    assert mean_corruption_error(own, baseline, relative=True) == pytest.approx(0.4 / 0.4)
    assert mean_corruption_error(own, baseline) == pytest.approx(0.8 / 1.2)


def test_losses_have_zero_for_their_best_score():
    own, baseline = curve({("a", 1.0): [-2.0, -4.0]}), curve({("a", 1.0): [-6.0]})
    assert mean_corruption_error(own, baseline, best_score=0) == pytest.approx(0.5)


GOOD = {("none", 0.0): [0.9], ("a", 1.0): [0.5], ("a", 2.0): [0.4]}


@pytest.mark.parametrize(
    ("own", "baseline", "options", "message"),
    [
        (GOOD, {**GOOD, ("b", 1.0): [0.5]}, {}, r"In one of them only: \[\('b', 1.0\)\]"),
        (GOOD, {("a", 1.0): [0.5], ("a", 3.0): [0.4]}, {}, r"\('a', 2.0\), \('a', 3.0\)"),
        ({("none", 0.0): [0.9]}, {("none", 0.0): [0.9]}, {}, "at least one"),
        (GOOD, {("a", 1.0): [1.0], ("a", 2.0): [1.0]}, {}, r"makes no errors under \['a'\]"),
        ({**GOOD, ("a", 1.0): [1.2]}, GOOD, {}, "at most best_score=1.0.* up to 1.2"),
        ({**GOOD, ("a", 1.0): [np.nan]}, GOOD, {}, "must be finite"),
        ({("a", 1.0): [0.5], ("a", 2.0): [0.5]}, GOOD, {"relative": True}, "curve lacks"),
        (GOOD, {**GOOD, ("none", 0.0): [0.1]}, {"relative": True}, r"loses nothing under \['a'\]"),
    ],
)
def test_curves_that_cannot_be_compared(own, baseline, options, message):
    with pytest.raises(ValueError, match=message):
        mean_corruption_error(curve(own), curve(baseline), **options)


def test_missing_columns_are_named():
    with pytest.raises(ValueError, match=r"baseline_curve must have .* Missing: \['score'\]"):
        mean_corruption_error(curve(GOOD), curve(GOOD).drop(columns="score"))


def test_noise_of_real_curves_matches_by_level():
    X, y = load_iris(return_X_y=True)
    models = [LogisticRegression(max_iter=500, C=c).fit(X, y) for c in (1.0, 0.01)]
    noises = [GaussianNoise(0.5), GaussianNoise(1.0)]
    ours, theirs = (
        robustness_curve(model, X, y, order, random_state=0)
        for model, order in zip(models, (noises, noises[::-1]), strict=True)
    )
    assert mean_corruption_error(ours, theirs) * mean_corruption_error(theirs, ours) == (
        pytest.approx(1.0)
    )


def test_a_score_that_is_nan_is_not_averaged_away():
    table = robustness_summary(curve({("blur", 1.0): [0.5, np.nan, 0.5], ("blur", 2.0): [0, 1]}))
    assert np.isnan(table.loc[0, ["mean", "std", "standard_error"]].astype(float)).all()
    assert table.loc[1, ["mean", "standard_error"]].tolist() == pytest.approx([0.5, 0.5])
    assert table["n_repeats"].tolist() == [3, 2]


@pytest.mark.parametrize("own", [True, False])
def test_several_curves_in_one_are_not_mixed(own):
    single = curve({("blur", 1.0): [0.5, 0.6]})
    several = pd.concat([single.assign(estimator="a"), single.assign(estimator="b")])
    with pytest.raises(ValueError, match=r"holds the same repeat twice.*one estimator"):
        mean_corruption_error(*((several, single) if own else (single, several)))
