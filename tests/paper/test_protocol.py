"""What is run, and by which protocol."""

import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator, clone

from skvim import VIMAETransformer
from skvim.noise import GaussianNoise, MaskingNoise
from skvim.objectives import Gaussian
from vimae_paper import measures, settings
from vimae_paper.cells import FIGURES, TABLES, describe, jobs_of, rows_of
from vimae_paper.data import Problem, Task, five_characters, load
from vimae_paper.settings import Cell, Run
from vimae_paper.tables import PUBLISHED


def build(data_set, name, preset="gpu", seed=3, epochs=None):
    return settings.build(Run(preset, None, None, epochs=epochs), Cell(data_set, name, seed))


# Settings


@pytest.mark.parametrize("preset", ["tiny", "cpu", "gpu"])
def test_every_model_of_every_data_set_can_be_built(preset):
    for data_set in settings.DATA_SETS:
        variants = rows_of("ablation", data_set) if data_set in settings.LABELED else {}
        for name, model in {**settings.models_of(data_set), **variants}.items():
            built = build(data_set, name, preset)
            assert model.cls is None or (type(built), built.random_state) == (model.cls, 3)


@pytest.mark.parametrize(
    ("data_set", "lam", "variance", "beta_high", "beta_low"),
    [("mnist", 10, 10, 10, 0.2), ("omniglot", 10, 10, 10, 0.2), ("cifar10", 100, 2.5, 100, 0.4)],
)
def test_settings_are_those_of_the_paper(data_set, lam, variance, beta_high, beta_low):
    vimae = build(data_set, "vimae-l")
    # 0.05 · SSE on [−1, 1] is 0.2 · SSE on [0, 1]: a variance of 2.5.
    assert (vimae.lam, vimae.likelihood.variance, vimae.prior) == (lam, variance, "logistic")
    assert vimae.max_epochs == 20
    assert build(data_set, "vimae-l", epochs=100).max_epochs == 100
    assert build(data_set, "beta-h").beta == beta_high
    assert build(data_set, "beta-a").beta == beta_low
    for name in ("vae", "beta-h", "beta-a", "capacity", "infovae"):
        assert build(data_set, name, "cpu").likelihood == "gaussian"


def test_linear_baselines_have_the_size_and_the_noise_of_our_recipe():
    ours, augmented = build("mnist", "ours", "cpu"), build("mnist", "pca-noise", "cpu")
    assert build("mnist", "pca", "cpu").n_components == 8
    assert build("mnist", "pca-ours", "cpu").n_components == ours.n_components
    assert augmented["pca"].n_components == ours.n_components
    assert (augmented["noise"].scale, augmented["noise"].when) == (ours.noise.scale, "fit")


CHANGES = {
    "ours-perceptrons": {"network": "mlp", "hidden_layer_sizes": (512, 512)},
    "ours-plain": {"agreement": 0.0},
    "ours-still": {"noise": "masking and gaussian noise alone"},
    "ours-clean": {"noise": None, "agreement": 0.0},
}


@pytest.mark.parametrize("data_set", ["mnist", "omniglot", "cifar10"])
@pytest.mark.parametrize("variant", CHANGES)
def test_variants_differ_from_our_recipe_in_what_they_say_alone(variant, data_set):
    ours, other = (build(data_set, name, "cpu") for name in ("ours", variant))
    changes = dict(CHANGES[variant])
    if variant == "ours-still":
        changes["noise"] = other.noise
        for name in ("rate", "scale", "image_shape"):
            assert getattr(other.noise, name) == getattr(ours.noise, name)
        # Nothing is left without these two.
        assert clone(other.noise).set_params(rate=0.0, scale=0.0).level == 0
        assert ours.noise.shift > 0
    assert describe(other) == describe(clone(ours).set_params(**changes))


def test_variants_that_are_our_recipe_itself_are_left_out():
    assert "ours-plain" not in rows_of("ablation", "mnist")  # it has no agreement there
    assert set(rows_of("ablation", "cifar10")) == {"ours", *CHANGES}


def test_figures_of_the_paper_are_copied_right():
    assert PUBLISHED["mnist", "gaussian 0.4", "beta-a"] == 13
    assert PUBLISHED["omniglot", "gaussian 0.4", "vimae-l"] == 20
    assert ("celeba", "frechet", "beta-h") not in PUBLISHED
    best = pd.Series(PUBLISHED).groupby(level=[0, 1]).max()
    columns = ("clean", "gaussian 0.2", "gaussian 0.4", "masking 0.2", "masking 0.5")
    assert [best["mnist", column] for column in columns] == [93, 92, 88, 92, 87]
    assert [best["omniglot", column] for column in columns] == [24, 23, 24, 23, 24]
    columns = ("clean", "gaussian 0.3", "masking 0.2")
    assert [best["cifar10", column] for column in columns] == [32, 34, 23]


def test_tables_share_the_models_of_a_data_set():
    listed = jobs_of(Run("tiny", None, None), TABLES, FIGURES)
    jobs = {job.cell: job for job in listed}
    assert len(jobs) == len(listed)
    parts = {"blur", "information", "likelihood", "reconstruction", "robustness"}
    assert jobs[Cell("mnist", "vimae-l", 0)] == (Cell("mnist", "vimae-l", 0), parts, True)
    assert jobs[Cell("mnist", "raw", 0)].parts == {"robustness"}
    variants = [job for job in listed if job.cell.model in settings.VARIANTS]
    assert {(job.parts, job.keep) for job in variants} == {(frozenset({"robustness"}), False)}


# Protocol


class Recorder(BaseEstimator):
    """An encoder that changes nothing and remembers what it was given."""

    def __init__(self):
        self.seen_ = []

    def fit(self, X, y=None):
        return self

    def transform(self, X):
        self.seen_.append(np.array(X))
        return X


def test_noise_reaches_test_rows_alone_and_is_not_clipped():
    X, X_test = np.random.default_rng(0).random((2, 60, 5)).astype(np.float32)
    problem = Problem(X, np.tile([0, 1, -1], 20), X_test, np.tile([0, 1], 30))
    encoder = Recorder()
    noises = [GaussianNoise(0.4), MaskingNoise(0.5)]
    scores = measures.accuracies(encoder, problem, noises, Cell("mnist", "raw", 0))
    assert list(scores) == ["clean", "gaussian 0.4", "masking 0.5"]
    training, clean, gaussian, masked = encoder.seen_
    np.testing.assert_array_equal(training, X)
    np.testing.assert_array_equal(clean, X_test)
    residual = gaussian - X_test
    assert abs(residual.std() - 0.4) < 4 * 0.4 / np.sqrt(2 * residual.size)
    assert gaussian.min() < 0
    assert gaussian.max() > 1
    kept = masked != 0
    np.testing.assert_array_equal(masked[kept], X_test[kept])
    assert abs(kept.mean() - 0.5) < 4 * 0.5 / np.sqrt(kept.size)
    # What a classifier reaches that knows the noise is kept apart.
    task = Task(X, X_test, None, (problem,))
    encoder.seen_.clear()
    run, cell = Run("tiny", None, None), Cell("mnist", "raw", 0)
    values = measures.robustness(encoder, task, run, cell)
    assert set(values["corrupted"]) == {"gaussian 0.4"}
    assert len(values["mean"]) == 11
    knowing, clean = encoder.seen_[0], encoder.seen_[3]
    np.testing.assert_array_equal(clean, X)
    assert np.abs(knowing - X).std() > 0.1


@pytest.mark.parametrize("validation", [False, True])
@pytest.mark.parametrize("data_set", ["mnist", "omniglot", "cifar10", "wine"])
def test_no_test_row_is_a_training_row(data_set, validation):
    task = load(Run("tiny", None, None, validation=validation), data_set, 1)
    rows = {row.tobytes() for row in task.X}
    assert not rows.intersection(row.tobytes() for row in task.X_test)
    for problem in task.problems:
        known = {row.tobytes() for row in problem.X}
        assert not known.intersection(row.tobytes() for row in problem.X_test)
    if data_set == "mnist":
        assert len(task.X) == 400
        assert (task.X.min(), task.X.max()) == (0, 1)
        assert (task.problems[0].y != -1).sum() == 200


def test_rotations_of_a_drawing_stay_together():
    images = np.arange(6 * 20 * 9, dtype=float).reshape(120, 3, 3)
    train, test = five_characters(images, np.repeat(range(6), 20), 0)
    drawings = []
    for (turned, labels), n_images in ((train, 60), (test, 20)):
        assert np.bincount(labels).tolist() == [n_images] * 5
        centres, counts = np.unique(turned[:, 1, 1], return_counts=True)
        assert set(counts) == {4}
        drawings.append(set(centres))
    assert drawings[0].isdisjoint(drawings[1])


# Measures


def test_likelihoods_are_judged_at_the_variance_of_the_training_errors():
    X = np.random.default_rng(0).random((200, 6))
    model = VIMAETransformer(2, likelihood="gaussian", max_epochs=2, random_state=0).fit(X)
    judged = measures.at_best_variance(model, X)
    assert judged.score_samples(X[:5]) == pytest.approx(model.score_samples(X[:5]))
    fixed = VIMAETransformer(2, likelihood=Gaussian(10.0), max_epochs=2, random_state=0).fit(X)
    judged = measures.at_best_variance(fixed, X)
    error = float(((X - fixed.reconstruct(X)) ** 2).mean())
    assert float(judged.net_.autoencoder.likelihood.value) == pytest.approx(error, rel=1e-5)
    assert float(fixed.net_.autoencoder.likelihood.value) == 10.0
    assert judged.score(X[:5]) > fixed.score(X[:5])


def test_blur_is_the_share_of_grey_ink():
    class Model:
        def sample(self, n_samples, random_state):
            return np.tile([[1.0, 0.0, 0.5, 1.2, -0.1]], (n_samples, 1))

    task = Task(*[np.tile([[1.0, 0.0, 1.0]], (4, 1))] * 2)
    found = measures.blur(Model(), task, Run("tiny", None, None), Cell("mnist", "vae", 0))
    assert (found["samples"], found["test rows"]) == (pytest.approx(0.25 / 2.5), 0)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_all_seeds_are_measured_by_features_of_the_first(tmp_path):
    run = Run("tiny", None, tmp_path)
    found = []
    for seed in (1, 0):
        load(run, "cifar10", seed)
        found.append(measures.trained_features(run, "cifar10")[1].coefs_[0])
    np.testing.assert_array_equal(*found)
