"""What is run, and by which protocol."""

import base64
import io
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw
from sklearn.base import BaseEstimator, ClassifierMixin, clone

from skvim import VIMAETransformer
from skvim.noise import GaussianNoise, MaskingNoise
from skvim.objectives import Gaussian

# Settings


@pytest.mark.parametrize("preset", ["tiny", "cpu", "gpu"])
def test_every_model_of_every_data_set_can_be_built(paper, preset):
    settings = paper.settings
    for data_set in settings.DATA_SETS:
        of_ours = settings.VARIANTS if data_set in paper.plan.TABLE_PARTS["ablation"] else {}
        for name, model in {**settings.models_of(data_set), **of_ours}.items():
            built = settings.build(data_set, name, preset, seed=3)
            assert model.cls is None or (type(built), built.random_state) == (model.cls, 3)


@pytest.mark.parametrize(
    ("data_set", "lam", "variance", "beta_high", "beta_low"),
    [("mnist", 10, 10, 10, 0.2), ("omniglot", 10, 10, 10, 0.2), ("cifar10", 100, 2.5, 100, 0.4)],
)
def test_settings_are_those_of_the_paper(paper, data_set, lam, variance, beta_high, beta_low):
    build = paper.settings.build
    vimae = build(data_set, "vimae-l", "gpu", 0)
    # 0.05 · SSE on [−1, 1] is 0.2 · SSE on [0, 1]: a variance of 2.5.
    assert (vimae.lam, vimae.likelihood.variance, vimae.prior) == (lam, variance, "logistic")
    assert vimae.max_epochs == 20
    assert build(data_set, "vimae-l", "gpu", 0, epochs=100).max_epochs == 100
    assert build(data_set, "beta-h", "gpu", 0).beta == beta_high
    assert build(data_set, "beta-a", "gpu", 0).beta == beta_low
    for name in ("vae", "beta-h", "beta-a", "capacity", "infovae"):
        assert build(data_set, name, "cpu", 0).likelihood == "gaussian"


def test_linear_baselines_have_the_size_and_the_noise_of_our_recipe(paper):
    build = paper.settings.build
    ours = build("mnist", "ours", "cpu", 0)
    augmented = build("mnist", "pca-noise", "cpu", 0)
    assert build("mnist", "pca", "cpu", 0).n_components == 8
    assert build("mnist", "pca-ours", "cpu", 0).n_components == ours.n_components
    assert augmented["pca"].n_components == ours.n_components
    assert (augmented["noise"].scale, augmented["noise"].when) == (ours.noise.scale, "fit")


CHANGES = {
    "ours-perceptrons": {"network": "mlp", "hidden_layer_sizes": (512, 512)},
    "ours-plain": {"agreement": 0.0},
    "ours-still": {"noise": "masking and gaussian noise alone"},
    "ours-clean": {"noise": None, "agreement": 0.0},
}


@pytest.mark.parametrize("preset", ["tiny", "cpu", "gpu"])
@pytest.mark.parametrize("data_set", ["mnist", "omniglot", "cifar10"])
@pytest.mark.parametrize("variant", CHANGES)
def test_variants_differ_from_our_recipe_in_what_they_say_alone(paper, variant, data_set, preset):
    build, describe = paper.settings.build, paper.keys.describe
    ours, other = (build(data_set, name, preset, 3) for name in ("ours", variant))
    assert type(other) is type(ours)
    changes = dict(CHANGES[variant])
    if variant == "ours-still":
        changes["noise"] = other.noise
        for name in ("rate", "scale", "image_shape"):
            assert getattr(other.noise, name) == getattr(ours.noise, name)
        # Nothing is left without these two.
        assert clone(other.noise).set_params(rate=0.0, scale=0.0).level == 0
        assert ours.noise.shift > 0
    expected = ours.get_params(deep=False) | changes
    assert describe(other.get_params(deep=False)) == describe(expected)


def test_a_variant_that_is_our_recipe_itself_is_left_out(paper, tmp_path, monkeypatch):
    settings, ours = paper.settings, paper.settings._ours
    results = paper.results.Results(tmp_path)

    def agreeing(data_set, preset):
        return ours(data_set, preset) | {"agreement": float(data_set != "omniglot")}

    monkeypatch.setattr(settings, "_ours", agreeing)
    assert set(paper.plan.rows_of("ablation", "mnist")) == {"ours", *CHANGES}
    assert set(paper.plan.rows_of("ablation", "omniglot")) == {"ours", *CHANGES} - {"ours-plain"}
    (table,) = paper.render.tables_of(results, "ablation")
    said = "Left out, since ours is so already: Omniglot … without agreement."
    assert said in table.notes
    assert [title for title, _ in table.rows].count("… without agreement") == 2
    jobs = paper.plan.jobs_of(["ablation"], [], "tiny")
    plain = {job.cell.data_set for job in jobs if job.cell.model == "ours-plain"}
    assert plain == {"mnist", "cifar10"}


def test_figures_of_the_paper_are_copied_right(paper):
    cell, best = paper.published.cell, paper.published.best
    assert cell("4", "mnist", "beta-a", "gaussian 0.4") == 13
    assert cell("5", "omniglot", "vimae-l", "gaussian 0.4") == 20
    assert cell("1", "celeba", "beta-h", "frechet") is None
    assert cell("4", "mnist", "ours", "clean") is None
    columns = ("clean", "gaussian 0.2", "gaussian 0.4", "masking 0.2", "masking 0.5")
    assert [best("4", "mnist", column) for column in columns] == [93, 92, 88, 92, 87]
    assert [best("5", "omniglot", column) for column in columns] == [24, 23, 24, 23, 24]
    columns = ("clean", "gaussian 0.3", "masking 0.2")
    assert [best("3", "cifar10", column) for column in columns] == [32, 34, 23]


# Protocol


class Recorder(BaseEstimator):
    """An encoder that changes nothing and remembers what it was given."""

    def __init__(self):
        self.fitted_, self.seen_ = None, []

    def fit(self, X, y=None):
        self.fitted_ = X.copy()
        return self

    def transform(self, X):
        self.seen_.append(np.array(X))
        return X


@pytest.fixture
def problem(paper):
    rng = np.random.default_rng(0)
    X, X_test = rng.random((2, 60, 5)).astype(np.float32)
    y = np.tile([0, 1, -1], 20)
    return paper.data.Problem(X, y, X_test, np.tile([0, 1], 30))


def test_noise_reaches_test_rows_alone_and_is_not_clipped(paper, problem):
    encoder = Recorder().fit(problem.X)
    noises = [GaussianNoise(0.4), MaskingNoise(0.5)]
    scores = paper.measures.accuracies(encoder, problem, noises, 1, seed=0, own={"C": 1.0})
    assert list(scores) == ["clean", "gaussian 0.4", "masking 0.5"]
    training, clean, gaussian, masked = encoder.seen_
    np.testing.assert_array_equal(training, problem.X)
    np.testing.assert_array_equal(clean, problem.X_test)
    residual = gaussian - problem.X_test
    assert abs(residual.std() - 0.4) < 4 * 0.4 / np.sqrt(2 * residual.size)
    assert gaussian.min() < 0
    assert gaussian.max() > 1
    kept = masked != 0
    np.testing.assert_array_equal(masked[kept], problem.X_test[kept])
    assert abs(kept.mean() - 0.5) < 4 * 0.5 / np.sqrt(kept.size)


def test_a_classifier_that_knows_the_noise_is_kept_apart(paper, problem, monkeypatch):
    fitted = []

    class Machine(ClassifierMixin, BaseEstimator):
        def __init__(self, *settings, **more):
            pass

        def fit(self, X, y):
            fitted.append(np.array(X))
            self.n_features_in_ = X.shape[1]
            return self

        def score(self, X, y):
            return 0.5

    monkeypatch.setattr(paper.measures, "TransductiveSVC", Machine)
    context = paper.measures.Context("mnist", "tiny", 0, Path("unused"), lambda: task)
    task = paper.data.Task(problem.X, problem.X_test, None, (problem,), "bundled")
    values = paper.measures.robustness(Recorder().fit(problem.X), task, context)
    clean, knowing = fitted
    np.testing.assert_array_equal(clean, problem.X)
    assert np.abs(knowing - problem.X).std() > 0.1
    assert set(values["corrupted"]) == {"gaussian 0.4"}
    assert len(values["mean"]) == 11


def test_encoders_are_fitted_on_the_clean_training_rows(paper, tmp_path, monkeypatch):
    recorder = Recorder()
    monkeypatch.setattr(paper.work, "build", lambda *arguments: recorder)
    run, cell = paper.work.Run("tiny", tmp_path, tmp_path), paper.store.Cell("mnist", "raw", 0)
    task = paper.data.load(run.request(cell))
    paper.work.fitted(run, cell, task, "key", {"fit": None, "parts": {}})
    np.testing.assert_array_equal(recorder.fitted_, task.X)
    assert (task.X.min(), task.X.max()) == (0, 1)


@pytest.mark.parametrize("validation", [False, True])
@pytest.mark.parametrize("data_set", ["mnist", "omniglot", "cifar10", "wine"])
def test_no_test_row_is_a_training_row(paper, data_set, validation):
    request = paper.data.Request(data_set, "tiny", 1, None, validation)
    task = paper.data.load(request)
    rows = {row.tobytes() for row in task.X}
    assert not rows.intersection(row.tobytes() for row in task.X_test)
    for problem in task.problems:
        known = {row.tobytes() for row in problem.X}
        assert not known.intersection(row.tobytes() for row in problem.X_test)
    if data_set == "mnist":
        assert len(task.X) == 400
        assert (task.problems[0].y != -1).sum() == 200


def test_rotations_of_a_drawing_stay_together(paper):
    images = np.arange(6 * 20 * 9, dtype=float).reshape(120, 3, 3)
    found = paper.standins.five_characters(images, np.repeat(np.arange(6), 20), seed=0)
    drawings = {}
    for part, (turned, labels) in found.items():
        assert np.bincount(labels).tolist() == [60 if part == "train" else 20] * 5
        centres, counts = np.unique(turned[:, 1, 1], return_counts=True)
        assert set(counts) == {4}
        drawings[part] = set(centres)
    assert not drawings["train"] & drawings["test"]


# Measures


def test_likelihoods_are_judged_at_the_variance_of_the_training_errors(paper):
    X = np.random.default_rng(0).random((200, 6))
    model = VIMAETransformer(2, likelihood="gaussian", max_epochs=2, random_state=0).fit(X)
    assert paper.measures.at_best_variance(model, X).score_samples(X[:5]) == pytest.approx(
        model.score_samples(X[:5])
    )
    fixed = VIMAETransformer(2, likelihood=Gaussian(10.0), max_epochs=2, random_state=0).fit(X)
    judged = paper.measures.at_best_variance(fixed, X)
    error = float(((X - fixed.reconstruct(X)) ** 2).mean())
    assert float(judged.net_.autoencoder.likelihood.value) == pytest.approx(error, rel=1e-5)
    assert float(fixed.net_.autoencoder.likelihood.value) == 10.0
    assert judged.score(X[:5]) > fixed.score(X[:5])


def test_blur_is_the_share_of_grey_ink(paper):
    class Model:
        def sample(self, n_samples, random_state):
            return np.tile([[1.0, 0.0, 0.5, 1.2, -0.1]], (n_samples, 1))

    rows = np.tile([[1.0, 0.0, 1.0]], (4, 1))
    task = paper.data.Task(rows, rows, None, (), "official")
    context = paper.measures.Context("mnist", "tiny", 0, Path("unused"), lambda: task)
    found = paper.measures.blur(Model(), task, context)
    assert (found["samples"], found["test rows"]) == (pytest.approx(0.25 / 2.5), 0)


# Faces


@pytest.fixture
def faces(tmp_path):
    """Return a data home with drawn faces under official names of both parts."""
    folder = tmp_path / "home" / "celeba" / "img_align_celeba"
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for number in [*range(1, 41), *range(202_560, 202_590)]:
        skin, hair, back = (tuple(int(c) for c in rng.integers(40, 255, 3)) for _ in range(3))
        image = Image.new("RGB", (178, 218), back)
        pen = ImageDraw.Draw(image)
        pen.ellipse((35, 40, 143, 190), fill=hair)
        pen.ellipse((45, 65, 133, 185), fill=skin)
        for left in (65, 100):
            pen.ellipse((left, 100, left + 14, 110), fill=(20, 20, 20))
        image.save(folder / f"{number:06d}.jpg")
    return tmp_path / "home"


@pytest.mark.slow
def test_celeba_is_run_where_there_are_faces(paper, faces, tmp_path):
    plan, out = paper.plan, tmp_path / "out"
    assert not [job for job in plan.jobs_of(["1"], ["4"], "tiny") if job.cell[0] == "celeba"]
    home = str(faces)
    run = paper.work.Run("tiny", out, tmp_path / "cache", home, epochs=2)
    jobs = plan.jobs_of(["1", "2"], ["4"], "tiny", data_home=home, models=["vae", "vimae-l"])
    jobs = [job for job in jobs if job.cell.data_set == "celeba"]
    paper.run.execute(run, jobs, 1)
    results = paper.results.Results(out)
    assert results.sources("celeba") == {"official"}
    for model in ("vae", "vimae-l"):
        (found,) = results.part("celeba", model, "frechet").values()
        assert found["features"] == "PCA-39 of the training rows"
        assert found["rows"] == 30
        assert found["value"] > 0
        (error,) = results.part("celeba", model, "reconstruction").values()
        assert error["table_ii"] == pytest.approx(0.2 * error["sse"])
    (rendered,) = paper.render.tables_of(results, "2")
    cells = dict(rendered.rows)["VAE"]
    assert cells[:2] == ["not run", "not run"]
    assert cells[6].endswith("[17.29]")
    drawn = paper.figures.draw(run, ["4"])
    assert [path.name for path in drawn] == ["figure-4.png", "figure-4.svg"]
    assert all(path.stat().st_size > 10_000 for path in drawn)
    before = [path.read_bytes() for path in drawn]
    assert [path.read_bytes() for path in paper.figures.draw(run, ["4"])] == before
    svg = before[1].decode()
    assert ">VIMAE-l: samples</text>" in svg  # as text, not as outlines
    # The grid as it is: pixels of faces, and one for each gap.
    embedded = re.findall(r'"data:image/png;base64,([^"]+)"', svg)
    sizes = {Image.open(io.BytesIO(base64.b64decode(image))).size for image in embedded}
    assert sizes == {(10 * 65 - 1, 4 * 65 - 1), (4 * 65 - 1, 4 * 65 - 1)}
    for content in (before[0], *map(base64.b64decode, embedded)):
        assert len(Image.open(io.BytesIO(content)).getcolors()) <= paper.figures._N_COLOURS


def test_without_faces_the_figure_says_not_run(paper, tmp_path, capsys):
    run = paper.work.Run("tiny", tmp_path, tmp_path)
    assert paper.figures.draw(run, ["4", "noise", "plane"]) == []
    said = capsys.readouterr().out.splitlines()
    assert said == [f"figure {name}: not run" for name in ("4", "noise", "plane")]
