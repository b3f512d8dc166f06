"""What is run, and by which protocol."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn.base import BaseEstimator

from skvim import VIMAETransformer
from skvim.noise import GaussianNoise, MaskingNoise
from skvim.objectives import Gaussian
from vimae_paper import measures, settings
from vimae_paper.cells import FIGURES, TABLES, jobs_of, work
from vimae_paper.data import Problem, Task, five_characters, load
from vimae_paper.figures import draw
from vimae_paper.results import Results
from vimae_paper.settings import Cell, Run
from vimae_paper.tables import PUBLISHED


def build(data_set, name, preset="gpu", seed=3, epochs=None):
    return settings.build(Run(preset, None, None, epochs=epochs), Cell(data_set, name, seed))


@pytest.mark.parametrize("preset", ["tiny", "cpu", "gpu"])
def test_every_model_of_every_data_set_can_be_built(preset):
    for job in jobs_of(Run(preset, None, None), TABLES, FIGURES, 1):
        built = build(job.cell.data_set, job.cell.model, preset)
        cls = settings.MODELS[job.cell.model].cls
        assert cls is None or (type(built), built.random_state) == (cls, 3)


@pytest.mark.parametrize(
    ("data_set", "lam", "variance", "beta_high", "beta_low"),
    [("mnist", 10, 10, 10, 0.2), ("omniglot", 10, 10, 10, 0.2), ("cifar10", 100, 2.5, 100, 0.4)],
)
def test_settings_are_those_of_the_paper(data_set, lam, variance, beta_high, beta_low):
    vimae = build(data_set, "vimae-l")
    # 0.05 · SSE on [−1, 1] is 0.2 · SSE on [0, 1]: a variance of 2.5.
    assert (vimae.lam, vimae.likelihood.variance, vimae.prior) == (lam, variance, "logistic")
    assert (vimae.max_epochs, build(data_set, "vimae-l", epochs=100).max_epochs) == (20, 100)
    assert build(data_set, "beta-h").beta == beta_high
    assert build(data_set, "beta-a").beta == beta_low
    for name in ("vae", "beta-h", "beta-a", "capacity", "infovae"):
        assert build(data_set, name, "cpu").likelihood == "gaussian"


def test_figures_of_the_paper_are_copied_right():
    assert ("celeba", "frechet", "beta-h") not in PUBLISHED
    best = pd.Series(PUBLISHED).groupby(level=[0, 1], sort=False).max()
    assert best["cifar10"][-3:].tolist() == [32, 34, 23]
    assert best["mnist"][-5:].tolist() == [93, 92, 88, 92, 87]
    assert best["omniglot"][-5:].tolist() == [24, 23, 24, 23, 24]


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
    encoder, cell = Recorder(), Cell("mnist", "raw", 0)
    measures.accuracies(encoder, problem, [GaussianNoise(0.4), MaskingNoise(0.5)], cell)
    training, clean, gaussian, masked = encoder.seen_
    np.testing.assert_array_equal(training, X)
    np.testing.assert_array_equal(clean, X_test)
    residual = gaussian - X_test
    assert abs(residual.std() - 0.4) < 4 * 0.4 / np.sqrt(2 * residual.size)
    assert gaussian.min() < 0 < 1 < gaussian.max()
    kept = masked != 0
    np.testing.assert_array_equal(masked[kept], X_test[kept])
    assert abs(kept.mean() - 0.5) < 4 * 0.5 / np.sqrt(kept.size)
    # What a classifier reaches that knows the noise is kept apart.
    encoder = Recorder()
    task = Task(X, X_test, None, (problem,))
    values = measures.robustness(encoder, task, Run("tiny", None, None), cell)
    assert (set(values["corrupted"]), len(values["mean"])) == ({"gaussian 0.4"}, 11)
    knowing, clean = encoder.seen_[0], encoder.seen_[3]
    np.testing.assert_array_equal(clean, X)
    assert np.abs(knowing - X).std() > 0.1


@pytest.mark.parametrize("validation", [False, True])
@pytest.mark.parametrize("data_set", ["mnist", "omniglot", "cifar10", "wine"])
def test_no_test_row_is_a_training_row(data_set, validation):
    task = load(Run("tiny", None, None, validation=validation), data_set, 1)
    for train, test in ((task.X, task.X_test), *((p.X, p.X_test) for p in task.problems)):
        assert {row.tobytes() for row in train}.isdisjoint(row.tobytes() for row in test)
    if data_set == "mnist":
        assert (len(task.X), task.X.min(), task.X.max()) == (400, 0, 1)
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


def test_likelihoods_are_judged_at_the_variance_of_the_training_errors():
    X = np.random.default_rng(0).random((200, 6))
    fixed = VIMAETransformer(2, likelihood=Gaussian(10.0), max_epochs=2, random_state=0).fit(X)
    judged = measures.at_best_variance(fixed, X)
    error = float(((X - fixed.reconstruct(X)) ** 2).mean())
    assert float(judged.net_.autoencoder.likelihood.value) == pytest.approx(error, rel=1e-5)
    assert float(fixed.net_.autoencoder.likelihood.value) == 10.0


def test_celeba_is_run_where_there_are_faces(tmp_path):
    assert not jobs_of(Run("tiny", None, None), [], ["4"])
    folder = tmp_path / "home" / "celeba" / "img_align_celeba"
    folder.mkdir(parents=True)
    for number in [*range(1, 41), *range(202_560, 202_590)]:  # of both parts
        colours = np.random.default_rng(number).integers(0, 255, (5, 4, 3), dtype=np.uint8)
        Image.fromarray(colours).resize((178, 218)).save(folder / f"{number:06d}.jpg")
    run = Run("tiny", tmp_path / "r.jsonl", tmp_path, str(tmp_path / "home"), epochs=1)
    for job in jobs_of(run, ["1", "2"], ["4"], models=["vae"]):
        if job.cell.data_set == "celeba":
            work(run, job)
    results = Results(run.results)
    assert results.part("celeba", "vae", "frechet")[0]["features"] == "PCA-39 of the training rows"
    once, again = (draw(run, results, ["4"], tmp_path)[0].read_bytes() for _ in range(2))
    assert once == again
