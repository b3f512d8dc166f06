"""TransductiveSVC with safe=True: when unlabelled rows are used, and what is returned if not."""

import warnings

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.special import softmax
from scipy.stats import beta, binom, chisquare
from sklearn.base import clone
from sklearn.datasets import load_digits, make_blobs, make_moons
from sklearn.metrics import balanced_accuracy_score
from sklearn.svm import SVC

from skvim.datasets import make_g50c, make_g241d
from skvim.exceptions import NoGainWarning
from skvim.model_selection import mask_labels
from skvim.semi_supervised import TransductiveSVC, _preconditioning, _solver, _transductive
from skvim.semi_supervised._class_shares import (
    estimate_shares,
    offsets_for_shares,
    part_of_the_way,
    soft_shares,
)
from skvim.semi_supervised._held_out import Evidence, held_out_folds, squared_hinge

UNLABELED = -1


def overlapping(seed, n=400):
    """Return two classes of one cluster: a boundary with few rows has no meaning."""
    generator = np.random.default_rng(seed)
    X = generator.standard_normal((n, 8))
    y = (X[:, 0] + 0.8 * generator.standard_normal(n) > 0.6).astype(int)
    return X, y


def clusters(seed):
    return make_g50c(random_state=seed)


# Class shares


@pytest.mark.parametrize("counts", [(13, 7), (3, 1), (40, 10), (2, 2)])
def test_shares_are_the_posterior_mean_by_quadrature(counts):
    """With two classes: equal with probability 1/5, else uniform."""
    first, n = counts[0], sum(counts)
    equal = 0.2 * binom.pmf(first, n, 0.5)
    weigh = [quad(lambda r, k=k: r**k * binom.pmf(first, n, r), 0, 1)[0] for k in (0, 1)]
    expected = (0.5 * equal + 0.8 * weigh[1]) / (equal + 0.8 * weigh[0])
    found = estimate_shares(np.array(counts, dtype=float))
    np.testing.assert_allclose(found, [expected, 1 - expected], rtol=1e-9)
    assert beta(counts[0] + 1, counts[1] + 1).interval(0.95)[0] < found[0]


def test_shares_of_many_labels_are_their_frequencies():
    np.testing.assert_allclose(estimate_shares(np.array([9e4, 1e4])), [0.9, 0.1], atol=1e-4)
    np.testing.assert_allclose(estimate_shares(np.full(10, 30.0)), 0.1)


@pytest.mark.parametrize("n_classes", [2, 5])
def test_offsets_give_the_shares_asked_for(n_classes):
    generator = np.random.default_rng(0)
    scores = generator.standard_normal((3000, n_classes))
    shares = generator.dirichlet(np.full(n_classes, 5.0))
    offsets = offsets_for_shares(scores, shares)
    np.testing.assert_allclose(soft_shares(scores, offsets), shares, atol=1e-4)
    hard = np.bincount((scores + offsets).argmax(axis=1), minlength=n_classes) / 3000
    np.testing.assert_allclose(hard, shares, atol=0.03)
    np.testing.assert_allclose(offsets_for_shares(scores, soft_shares(scores)), 0.0, atol=1e-4)


def test_shares_that_chance_explains_are_kept_and_others_moved_up_to_half_of_the_way():
    own, estimated = np.array([0.9, 0.1]), np.array([0.6, 0.4])
    found = chisquare(20 * own, 20 * estimated).statistic  # 7.5
    assert part_of_the_way(own, estimated, 20) == pytest.approx(0.5 * found / (found + 2))
    assert part_of_the_way(own, own, 20) == 0.0
    assert 0.49 < part_of_the_way(own, estimated, 10_000) < 0.5


def test_soft_shares_are_means_of_a_softmax():
    scores = np.array([[0.0, 1.0], [0.5, 0.5]])
    spread = (scores - scores.mean(axis=0)).std()
    expected = softmax(scores / (0.1 * spread), axis=1).mean(axis=0)
    np.testing.assert_allclose(soft_shares(scores), expected)


# Evidence


def test_the_gain_is_half_of_both_differences_and_has_to_be_clear():
    evidence = Evidence((1.0, 0.5), (0.3, 0.1), 36)
    assert evidence.gain == pytest.approx(0.35)
    for less, expected in ((0.009, 0.0), (0.011, 0.2)):  # 0.06 / 6 is 0.01
        assert Evidence((1.0, 1.0 - 2 * less), (0.2, 0.2), 36).unlabeled_weight == expected


def test_the_weight_is_large_only_if_held_out_labels_gain_much():
    """However much the agreement gains: clusters that are not the classes are stable as well."""
    for saved, expected in ((0.11, 0.2), (0.12, 0.8)):  # 0.7 / 6 is 0.117
        assert Evidence((1.0, 1.0 - saved), (0.2, 0.0), 36).unlabeled_weight == expected
    assert Evidence((0.04, 0.01), (0.2, 0.0), 36).unlabeled_weight == 0.8  # 0.7 · 0.2 / 6 is 0.023
    assert Evidence((float("nan"), 1.0), (0.2, 0.0), 36).unlabeled_weight == 0
    assert Evidence((1.0, 0.5), (0.1, 0.7), 36).unlabeled_weight == 0.0


def test_two_class_loss_is_the_machines_own():
    f, signs = np.array([0.3, -2.0, 0.7]), np.array([1, 1, -1])
    loss = np.mean(np.maximum(0, 1 - signs * f) ** 2)
    scores = np.stack([-f, f], axis=1)
    assert squared_hinge(scores, (signs > 0).astype(int)).mean() == pytest.approx(loss)


@pytest.mark.parametrize("counts", [(1, 2, 5), (2, 2), (20, 3, 7)])
def test_folds_hold_out_each_repeated_label_once_and_no_class_whole(counts):
    codes = np.repeat(np.arange(len(counts)), counts)
    folds = held_out_folds(codes, np.random.default_rng(0))
    held = np.concatenate(folds)
    assert sorted(held) == [i for i, code in enumerate(codes) if counts[code] > 1]
    for fold in folds:
        assert set(np.delete(codes, fold)) == set(codes)


@pytest.mark.parametrize("counts", [(1, 1, 1), (2, 1), (1, 30)])
def test_labels_of_one_class_alone_are_not_held_out(counts):
    codes = np.repeat(np.arange(len(counts)), counts)
    assert held_out_folds(codes, np.random.default_rng(0)) == []


# The machine


def test_rows_of_clusters_are_used():
    X, y = clusters(0)
    masked = mask_labels(y, 50, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = TransductiveSVC(random_state=0).fit(X, masked)
    assert 0 < model.unlabeled_weight_ < 1
    assert model.unlabeled_gain_ > 0
    assert 0.9 < model.agreement_ <= 1


def test_rows_of_clusters_that_are_not_the_classes_are_not_used():
    """On g241d the transductive machine errs on half of the rows."""
    X, y = make_g241d(random_state=0)
    masked = mask_labels(y, 100, random_state=0)
    hidden = masked == UNLABELED
    with pytest.warns(NoGainWarning, match="safe=False"):
        safe = TransductiveSVC(random_state=0).fit(X, masked)
    unsafe = TransductiveSVC(random_state=0, safe=False).fit(X, masked)
    assert safe.unlabeled_weight_ == 0
    assert unsafe.score(X[hidden], y[hidden]) < 0.55
    assert safe.score(X[hidden], y[hidden]) > 0.7


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::skvim.exceptions.NoGainWarning")
def test_it_is_seldom_worse_than_without_unlabelled_rows_and_gains_on_clusters():
    """Over draws: never more than 1.5 points behind on one cluster, most of the gain on many."""
    differences = {"one cluster": [], "clusters": [], "moons": []}
    for seed in range(4):
        moons = make_moons(300, noise=0.08, random_state=seed)
        draws = {"one cluster": overlapping(seed), "clusters": clusters(seed), "moons": moons}
        for name, (X, y) in draws.items():
            masked = mask_labels(y, 30, random_state=seed)
            hidden = masked == UNLABELED
            model = TransductiveSVC(random_state=seed)
            scores = [
                clone(model).set_params(**settings).fit(X, masked).score(X[hidden], y[hidden])
                for settings in ({"C_unlabeled": 0.0}, {}, {"safe": False})
            ]
            differences[name].append(np.subtract(scores[1:], scores[0]))
    means = {name: np.mean(found, axis=0) for name, found in differences.items()}
    assert means["one cluster"][0] > -0.015
    for name in ("clusters", "moons"):
        safe, unsafe = means[name]
        assert unsafe > 0.01
        assert safe > 0.8 * unsafe


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::skvim.exceptions.NoGainWarning")
def test_class_shares_alone_raise_the_balanced_accuracy_of_unequal_classes():
    gains = []
    for seed in range(6):
        X, y = overlapping(seed, 400)
        masked = mask_labels(y, 20, random_state=seed)
        hidden = masked == UNLABELED
        model = TransductiveSVC(random_state=seed)
        scores = [
            balanced_accuracy_score(y[hidden], each.fit(X, masked).predict(X[hidden]))
            for each in (model, clone(model).set_params(C_unlabeled=0.0))
        ]
        gains.append(scores[0] - scores[1])
    assert np.mean(gains) > 0.01


def test_labels_that_cannot_be_held_out_are_said():
    X, y = make_blobs(60, centers=3, random_state=0)
    masked = np.full(60, UNLABELED)
    for code in range(3):
        masked[np.flatnonzero(y == code)[0]] = code
    with pytest.warns(NoGainWarning, match="no labels of two classes") as caught:
        model = TransductiveSVC(random_state=0).fit(X, masked)
    assert len(caught) == 1
    assert caught[0].filename == __file__
    assert np.isnan(model.agreement_)


@pytest.mark.parametrize("all_labelled", [True, False])
def test_without_weight_or_unlabelled_rows_nothing_is_asked_and_nothing_warned(all_labelled):
    X, y = overlapping(0)
    masked = y if all_labelled else mask_labels(y, 50, random_state=0)
    weight = "auto" if all_labelled else 0.0
    models = [TransductiveSVC(C_unlabeled=weight, safe=safe) for safe in (True, False)]
    scores = [model.fit(X, masked).decision_function(X) for model in models]
    np.testing.assert_array_equal(*scores)
    assert models[0].unlabeled_weight_ == 0
    assert np.isnan(models[0].unlabeled_gain_)


@pytest.mark.filterwarnings("ignore::skvim.exceptions.NoGainWarning")
def test_given_shares_are_kept_where_rows_are_not_used():
    X, y = overlapping(1, 1000)
    masked = mask_labels(y, 20, random_state=0)
    model = TransductiveSVC(class_prior=[0.6, 0.4], random_state=0).fit(X, masked)
    assert model.unlabeled_weight_ == 0
    assert np.mean(model.transduction_ == 1) == pytest.approx(0.4, abs=0.03)


@pytest.mark.filterwarnings("ignore::skvim.exceptions.NoGainWarning")
def test_given_shares_are_those_of_all_rows_where_features_of_some_are_stored(monkeypatch):
    """Labelled rows, chosen by class, must not count more than the others."""
    for module, name in ((_solver, "MAX_SAMPLE"), (_transductive, "MAX_SAMPLE")):
        monkeypatch.setattr(module, name, 1000)
    monkeypatch.setattr(_preconditioning, "_BASIS_ROWS", 1000)
    generator = np.random.default_rng(0)
    y = (generator.random(4000) < 0.1).astype(int)
    X = generator.standard_normal((4000, 3)) + y[:, None]
    masked = np.full(4000, UNLABELED)
    for code in (0, 1):
        rows = np.flatnonzero(y == code)[:150]
        masked[rows] = code
    model = TransductiveSVC(n_components=20, class_prior=[0.9, 0.1], random_state=0)
    model.fit(X, masked)
    assert model.unlabeled_weight_ == 0
    assert np.mean(model.predict(X) == 1) == pytest.approx(0.1, abs=0.03)


def test_a_share_of_zero_leaves_finite_scores():
    scores = np.random.default_rng(0).standard_normal((100, 3))
    offsets = offsets_for_shares(scores, np.array([0.0, 0.5, 0.5]))
    assert np.isfinite(offsets).all()
    assert soft_shares(scores, offsets)[0] < 0.01


@pytest.mark.filterwarnings("ignore::skvim.exceptions.NoGainWarning")
def test_probabilities_do_not_change_predictions_and_belong_to_the_machine_returned():
    X, y = make_moons(400, noise=0.08, random_state=0)
    masked = mask_labels(y, 6, random_state=0)
    model = TransductiveSVC(gamma=10.0, random_state=0)
    plain = model.fit(X, masked).decision_function(X)
    calibrated = clone(model).set_params(probability=True).fit(X, masked)
    np.testing.assert_array_equal(calibrated.decision_function(X), plain)
    assert calibrated.predict_proba(X).max() > 0.6


def test_calibration_repeats_no_warning():
    X, y = make_g241d(random_state=0)
    masked = mask_labels(y, 100, random_state=0)
    with pytest.warns(NoGainWarning) as caught:
        TransductiveSVC(probability=True, random_state=0).fit(X, masked)
    assert len(caught) == 1


@pytest.mark.parametrize("kernel", ["rbf", "linear"])
def test_with_free_shares_it_is_the_supervised_machine_where_rows_are_not_used(kernel):
    X, y = make_g241d(random_state=0)
    masked = mask_labels(y, 100, random_state=0)
    settings = {"kernel": kernel, "tol": 1e-7, "random_state": 0}
    off = TransductiveSVC(C_unlabeled=0.0, **settings).fit(X, masked)
    with pytest.warns(NoGainWarning):
        free = TransductiveSVC(class_prior="free", **settings).fit(X, masked)
    np.testing.assert_allclose(free.decision_function(X), off.decision_function(X), atol=5e-3)


def test_the_objective_is_that_of_the_average():
    X, y = clusters(1)
    masked = mask_labels(y, 50, random_state=1)
    model = TransductiveSVC(0.05, C_unlabeled=0.02, kernel="linear", random_state=0).fit(X, masked)
    assert model.unlabeled_weight_ > 0
    scores = model.decision_function(X)
    origin = model.decision_function(np.zeros((1, X.shape[1])))
    weights = model.decision_function(np.eye(X.shape[1])) - origin
    given = masked != UNLABELED
    slack = np.maximum(0, 1 - np.where(masked[given] == 1, 1, -1) * scores[given])
    gap = np.maximum(0, 1 - np.abs(scores[~given]))
    expected = 0.5 * np.sum(weights**2) + 0.05 * np.sum(slack**2) + 0.02 * np.sum(gap**2)
    assert model.objective_ == pytest.approx(expected, rel=1e-9)
    assert model.objective_history_[-1] == model.objective_


# Weights of classes


def test_a_weight_of_two_is_a_repeated_label():
    X, y = overlapping(2, 60)
    twice = np.concatenate([np.arange(60), np.flatnonzero(y == 1)])
    settings = {"n_components": "all", "gamma": 0.1, "tol": 1e-8, "C_unlabeled": 0.0}
    weighted = TransductiveSVC(class_weight={1: 2.0}, **settings).fit(X, y)
    repeated = TransductiveSVC(**settings).fit(X[twice], y[twice])
    np.testing.assert_allclose(
        weighted.decision_function(X), repeated.decision_function(X), atol=1e-4
    )
    assert weighted.objective_ == pytest.approx(repeated.objective_, rel=1e-6)


def test_balanced_weights_are_those_of_svc():
    X, y = overlapping(3, 200)
    gain = []
    for model in (SVC(gamma=0.01), TransductiveSVC(gamma=0.01)):
        scores = [
            balanced_accuracy_score(y, clone(model).set_params(class_weight=w).fit(X, y).predict(X))
            for w in ("balanced", None)
        ]
        gain.append(scores[0] - scores[1])
    assert min(gain) > 0.01
    ratio = np.bincount(y)[0] / np.bincount(y)[1]
    by_hand = TransductiveSVC(
        gamma=0.01, class_weight={0: (1 + 1 / ratio) / 2, 1: (1 + ratio) / 2}
    ).fit(X, y)
    balanced = TransductiveSVC(gamma=0.01, class_weight="balanced").fit(X, y)
    np.testing.assert_allclose(by_hand.decision_function(X), balanced.decision_function(X))


@pytest.mark.slow
@pytest.mark.parametrize("solver", ["gradient", "switching"])
@pytest.mark.filterwarnings("ignore::skvim.exceptions.NoGainWarning")
def test_weights_work_with_strings_many_classes_and_unlabelled_rows(solver):
    X, y = load_digits(n_class=3, return_X_y=True)
    names = np.array(["a", "b", "c"], dtype=object)[y]
    masked = names.copy()
    masked[30:] = UNLABELED
    weights = {"a": 1.0, "b": 5.0, "c": 0.5}
    model = TransductiveSVC(class_weight=weights, solver=solver, random_state=0).fit(X / 16, masked)
    assert model.score(X / 16, names) > 0.9


@pytest.mark.parametrize(
    ("class_weight", "message"),
    [
        ({7: 2.0}, "no classes"),
        ("uniform", "class_weight"),
        ({0: -1.0}, "positive"),
        ({0: np.nan}, "finite"),
    ],
)
def test_weights_that_make_no_sense_are_errors(class_weight, message):
    X, y = overlapping(0, 40)
    with pytest.raises(ValueError, match=message):
        TransductiveSVC(class_weight=class_weight).fit(X, y)
