"""The robustness curve against hand-made scores and closed forms."""

import joblib
import numpy as np
import pandas as pd
import pytest
from scipy import sparse, stats
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.datasets import load_iris
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.validation import validate_data

from skvim import AETransformer
from skvim.metrics import reconstruction_scorer, robustness_curve
from skvim.noise import (
    AugmentationNoise,
    BlurNoise,
    BrightnessNoise,
    GaussianNoise,
    MaskingNoise,
    MissingFeaturesNoise,
    OcclusionNoise,
    SaltPepperNoise,
)


class Recorder(ClassifierMixin, BaseEstimator):
    """Says whether the row's mean is positive, and keeps what it was shown."""

    def fit(self, X, y=None):
        self.classes_ = np.array([0, 1])
        validate_data(self, X)
        self.seen_ = []
        return self

    def predict(self, X):
        self.seen_.append(X)
        return (np.asarray(X).mean(axis=1) > 0).astype(int)


@pytest.fixture
def data():
    X = np.random.default_rng(0).normal(size=(200, 3))
    return X, (X.mean(axis=1) > 0).astype(int)


@pytest.fixture
def model(data):
    return Recorder().fit(*data)


def seen(X, y, corruptions, **options):
    """Return the rows that a model is scored on, by (corruption, level, repeat)."""
    model = Recorder().fit(X)
    curve = robustness_curve(model, X, y, corruptions, **options)
    keys = curve[["corruption", "level", "repeat"]].itertuples(index=False, name=None)
    return dict(zip(keys, model.seen_, strict=True))


def test_shape_order_and_types(model, data):
    noises = [MaskingNoise(0.5), GaussianNoise(1), MaskingNoise(0.2)]
    curve = robustness_curve(model, *data, noises, n_repeats=2, random_state=0)
    assert list(curve.columns) == ["corruption", "level", "repeat", "score"]
    assert (
        curve["corruption"].tolist()
        == ["none"] + ["masking"] * 2 + ["gaussian"] * 2 + ["masking"] * 2
    )
    assert curve["level"].tolist() == [0.0, 0.5, 0.5, 1.0, 1.0, 0.2, 0.2]
    assert curve["repeat"].tolist() == [0, 0, 1, 0, 1, 0, 1]
    assert [curve[name].dtype.kind for name in ("level", "repeat", "score")] == ["f", "i", "f"]
    assert all(isinstance(name, str) for name in curve["corruption"])


def test_scores_are_those_of_the_corrupted_rows(model, data):
    X, y = data
    noises = [GaussianNoise(0.5), MaskingNoise(0.5)]
    curve = robustness_curve(model, X, y, noises, n_repeats=3, random_state=0)
    np.testing.assert_array_equal(model.seen_[0], X)
    assert curve["score"][0] == 1.0
    expected = [np.mean((rows.mean(axis=1) > 0) == y) for rows in model.seen_]
    assert curve["score"].tolist() == expected
    assert len(set(curve["score"])) > 3


def test_bytes_are_corrupted_as_the_numbers_they_stand_for():
    X = np.random.default_rng(0).integers(256, size=(20, 3), dtype=np.uint8)
    noises = [GaussianNoise(50.0), MaskingNoise(0.5)]
    of_bytes, of_floats = (
        seen(rows, np.ones(20), noises, n_repeats=2, random_state=0)
        for rows in (X, X.astype(float))
    )
    assert of_bytes.keys() == of_floats.keys()
    for key, rows in of_bytes.items():
        np.testing.assert_array_equal(rows, of_floats[key])


def test_accuracy_under_gaussian_noise_has_its_closed_form(model):
    # The mean of three values has noise N(0, scale²/3): its sign survives with probability
    # Φ(|mean| √3 / scale), and every row here has |mean| = 1.
    signs = np.tile([1.0, -1.0], 5000)
    X = np.repeat(signs[:, None], 3, axis=1)
    noises = [GaussianNoise(scale) for scale in (1.0, 2.0, 4.0)]
    curve = robustness_curve(model, X, signs > 0, noises, n_repeats=4, random_state=0)
    found = curve[1:].groupby("level")["score"].mean()
    expected = stats.norm.cdf(np.sqrt(3) / found.index)
    np.testing.assert_allclose(found, expected, atol=4 * 0.5 / np.sqrt(40_000))


def test_accuracy_under_masking_noise_has_its_closed_form(model):
    # A row of positive values is called positive unless all three are hidden.
    X = np.ones((10_000, 3))
    noises = [MaskingNoise(rate) for rate in (0.0, 0.5, 1.0)]
    curve = robustness_curve(model, X, np.ones(10_000), noises, n_repeats=4, random_state=0)
    found = curve[1:].groupby("level")["score"].mean()
    np.testing.assert_allclose(found, 1 - found.index**3, atol=4 * 0.34 / np.sqrt(40_000))


def test_noise_does_not_depend_on_its_label_or_the_number_of_repeats(data):
    few = seen(*data, [MaskingNoise(0.5)], n_repeats=2, random_state=0)
    many = seen(*data, {"hidden": MaskingNoise(0.5)}, n_repeats=4, random_state=0)
    for repeat in range(2):
        np.testing.assert_array_equal(many["hidden", 0.5, repeat], few["masking", 0.5, repeat])


def test_noise_differs_between_repeats_levels_and_seeds(data):
    X, y = data
    noises = [GaussianNoise(0.5), GaussianNoise(1.0)]
    runs = [seen(X, y, noises, n_repeats=2, random_state=seed) for seed in (0, 1)]
    draws = [
        (rows - X).ravel() / level
        for run in runs
        for (name, level, _), rows in run.items()
        if name != "none"
    ]
    correlations = np.corrcoef(draws)[np.triu_indices(len(draws), 1)]
    assert len(draws) == 8
    assert np.abs(correlations).max() < 4.5 / np.sqrt(X.size)


# Of every kind: of values, of features, of images.
KINDS = [
    GaussianNoise(0.5),
    MaskingNoise(0.5),
    SaltPepperNoise(0.3),
    MissingFeaturesNoise(0.5),
    MissingFeaturesNoise(0.9, per_row=True),
    OcclusionNoise(1),
    BlurNoise(0.6),
    BrightnessNoise(-0.4),
    AugmentationNoise(),
]


def test_corrupted_rows_depend_on_neither_the_estimator_nor_other_corruptions(data):
    X, y = data
    options = {"n_repeats": 2, "random_state": 3}
    steps = StandardScaler(with_mean=False, with_std=False), Recorder().fit(X)
    pipeline = make_pipeline(*steps).fit(X, y)
    curve = robustness_curve(pipeline, X, y, KINDS[::-1], **options)
    keys = curve[["corruption", "level", "repeat"]].itertuples(index=False, name=None)
    together = dict(zip(keys, pipeline[-1].seen_, strict=True))
    assert len(together) == 1 + 2 * len(KINDS)
    for noise in KINDS:
        for key, rows in seen(X, y, [noise], **options).items():
            np.testing.assert_array_equal(together[key], rows)


def test_corruptions_with_the_same_level_and_repeat_are_uncorrelated():
    # All at level 0.5; which values they hide should have nothing to do with each other.
    X = np.ones((4000, 4))
    noises = [MaskingNoise(0.5), MissingFeaturesNoise(0.5, per_row=True), SaltPepperNoise(0.5)]
    shown = seen(X, np.ones(4000), noises, n_repeats=1, random_state=0)
    hidden = [(rows == 0).ravel() for rows in list(shown.values())[1:]]
    correlations = np.corrcoef(hidden)[np.triu_indices(3, 1)]
    assert np.abs(correlations).max() < 4 / np.sqrt(X.size)


def test_any_number_of_jobs_gives_the_same_numbers(data):
    X, y = data
    pipeline = make_pipeline(StandardScaler(), PCA(2), LogisticRegression()).fit(X, y)
    options = {"scoring": "neg_log_loss", "n_repeats": 3, "random_state": 0}
    expected = robustness_curve(pipeline, X, y, KINDS, **options)
    with joblib.parallel_config("threading"):
        found = robustness_curve(pipeline, X, y, KINDS, n_jobs=-1, **options)
    pd.testing.assert_frame_equal(found, expected, check_exact=True)


@pytest.mark.slow
def test_processes_give_the_same_numbers(data):
    frame = pd.DataFrame(data[0], columns=list("abc"))
    pipeline = make_pipeline(StandardScaler(), PCA(2), LogisticRegression()).fit(frame, data[1])
    options = {"scoring": "neg_log_loss", "n_repeats": 2, "random_state": 0}
    expected = robustness_curve(pipeline, frame, data[1], KINDS, **options)
    with joblib.parallel_config("loky", inner_max_num_threads=1):
        found = robustness_curve(pipeline, frame, data[1], KINDS, n_jobs=2, **options)
    pd.testing.assert_frame_equal(found, expected, check_exact=True)


def test_missing_values_reach_an_estimator_that_knows_them(data):
    X, y = data
    model = make_pipeline(SimpleImputer(), LogisticRegression()).fit(X, y)
    noise = MissingFeaturesNoise(1.0, value=np.nan)
    curve = robustness_curve(model, X, y, [noise], n_repeats=1)
    # All features are imputed: one row is as good as another.
    constant = model.predict(X.mean(axis=0, keepdims=True))
    assert curve["score"][1] == np.mean(y == constant)


def test_seeds(model, data):
    def curve(random_state):
        return robustness_curve(model, *data, [GaussianNoise(1.0)], random_state=random_state)

    pd.testing.assert_frame_equal(curve(5), curve(5))
    before = np.random.get_state()  # noqa: NPY002
    assert not curve(None).equals(curve(None))
    np.testing.assert_array_equal(np.random.get_state()[1], before[1])  # noqa: NPY002
    instance = np.random.RandomState(0)
    assert not curve(instance).equals(curve(instance))


def test_nothing_is_fitted_or_changed(data):
    X, y = data
    before = X.copy()
    noises = [GaussianNoise(0.5, random_state=np.random.RandomState(0)), MaskingNoise(0.5)]
    states = [dict(vars(noise)) for noise in noises]
    inner = noises[0].random_state.get_state()[1].copy()
    pipeline = make_pipeline(PCA(2), LogisticRegression()).fit(X, y)
    fitted = {key: np.copy(value) for key, value in vars(pipeline[0]).items()}
    robustness_curve(pipeline, X, y, noises)
    np.testing.assert_array_equal(X, before)
    assert [vars(noise) for noise in noises] == states
    np.testing.assert_array_equal(noises[0].random_state.get_state()[1], inner)
    for key, value in fitted.items():
        np.testing.assert_array_equal(vars(pipeline[0])[key], value)


def test_steps_that_work_in_place_do_not_reach_the_rows(data):
    X, y = data
    before = X.copy()
    careful = make_pipeline(StandardScaler(), LogisticRegression()).fit(X * 5 + 2, y)
    careless = make_pipeline(StandardScaler(copy=False), LogisticRegression())
    careless.fit(X * 5 + 2, y)
    curves = [
        robustness_curve(model, X, y, [GaussianNoise(0.5)], random_state=0)
        for model in (careful, careless)
    ]
    np.testing.assert_array_equal(X, before)
    pd.testing.assert_frame_equal(*curves)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_frames_keep_columns_index_and_dtype(data, dtype):
    X, y = data
    frame = pd.DataFrame(X.astype(dtype), columns=list("abc"), index=np.arange(200) + 7)
    frames = list(seen(frame, y, [GaussianNoise(0.5)], n_repeats=1).values())
    arrays = list(seen(frame.to_numpy(), y, [GaussianNoise(0.5)], n_repeats=1).values())
    for rows in frames:
        assert list(rows.columns) == list("abc")
        assert set(rows.dtypes) == {np.dtype(dtype)}
        pd.testing.assert_index_equal(rows.index, frame.index)
    pd.testing.assert_frame_equal(frames[0], frame)
    assert {rows.dtype for rows in arrays} == {np.dtype(dtype)}


def test_frames_pass_the_feature_name_checks_of_a_pipeline():
    X, y = load_iris(return_X_y=True, as_frame=True)
    pipeline = make_pipeline(StandardScaler(), LogisticRegression()).fit(X, y)
    curve = robustness_curve(pipeline, X, y, [GaussianNoise(0.1)], random_state=0)
    assert curve["score"][0] == pipeline.score(X, y)
    with pytest.raises(ValueError, match="feature names"):
        robustness_curve(pipeline, X.rename(columns=str.upper), y, [GaussianNoise(0.1)])


def test_frames_of_integers_and_lists_are_corrupted_as_floats(data):
    X = np.arange(12).reshape(4, 3)
    for given in (pd.DataFrame(X), X.tolist(), X):
        shown = seen(given, np.ones(4), [GaussianNoise(0.5)], n_repeats=1)
        clean, noisy = (np.asarray(rows) for rows in shown.values())
        np.testing.assert_array_equal(clean, X)
        assert 0 < np.abs(noisy - X).max() < 3


def test_scoring():
    X, y = load_iris(return_X_y=True)
    model = LogisticRegression(max_iter=500).fit(X, y)

    def score(scoring, y=y):
        curve = robustness_curve(model, X, y, [MaskingNoise(0)], scoring=scoring, n_repeats=1)
        return curve["score"].tolist()

    assert score(None) == [model.score(X, y)] * 2
    assert score("neg_log_loss") == pytest.approx([-log_loss(y, model.predict_proba(X))] * 2)
    assert score(lambda estimator, X, y: float(X.sum()), y=None) == [X.sum()] * 2


def test_without_labels_the_score_may_be_a_likelihood():
    X = load_iris().data
    model = PCA(2).fit(X)
    curve = robustness_curve(model, X, None, [GaussianNoise(1.0)], random_state=0)
    assert curve["score"][0] == model.score(X)
    assert (curve["score"][1:] < model.score(X)).all()


def test_mapping_names_one_or_several_corruptions(model, data):
    corruptions = {"pixels": [GaussianNoise(0.1), MaskingNoise(0.3)], "holes": MaskingNoise(0.3)}
    curve = robustness_curve(model, *data, corruptions, n_repeats=1)
    assert curve["corruption"].tolist() == ["none", "pixels", "pixels", "holes"]
    assert curve["level"].tolist() == [0.0, 0.1, 0.3, 0.3]


def test_any_object_with_level_and_corrupt_is_a_corruption(model, data):
    class SignFlipNoise:
        level = 1.0

        def corrupt(self, x, generator):
            return -x

    curve = robustness_curve(model, *data, [SignFlipNoise()], n_repeats=1)
    assert curve["corruption"].tolist() == ["none", "sign_flip"]
    assert curve["score"].tolist() == [1.0, 0.0]


BAD_CORRUPTIONS = [
    ([], ValueError, "corruptions is empty"),
    ({}, ValueError, "corruptions is empty"),
    ({"a": []}, ValueError, r"corruptions\['a'\] is empty"),
    ({"none": GaussianNoise()}, ValueError, "strings other than 'none'"),
    ({1: GaussianNoise()}, ValueError, "strings other than 'none'.* Got 1"),
    (GaussianNoise(), TypeError, r"Got GaussianNoise\(\) instead; write \[GaussianNoise"),
    ([GaussianNoise], TypeError, "noise transformers .* Got <class"),
    ([GaussianNoise(), StandardScaler()], TypeError, r"Got StandardScaler\(\)"),
    ({"a": [0.2]}, TypeError, "Got 0.2"),
    ("gaussian", TypeError, "Got 'g'"),
    ([GaussianNoise(0.2), GaussianNoise(0.2, when="fit")], ValueError, "'gaussian' at level 0.2"),
    ([GaussianNoise(-1.0)], ValueError, "scale .* Got -1.0"),
]


@pytest.mark.parametrize(("corruptions", "error", "message"), BAD_CORRUPTIONS)
def test_bad_corruptions(model, data, corruptions, error, message):
    with pytest.raises(error, match=message):
        robustness_curve(model, *data, corruptions)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_repeats": 0}, r"n_repeats must be an int in \[1, inf\)\. Got 0"),
        ({"n_repeats": 2.5}, "n_repeats .* Got 2.5"),
        ({"n_jobs": 0}, "n_jobs must be an int other than 0.* Got 0"),
        ({"n_jobs": 1.5}, "n_jobs must be .* Got 1.5"),
        ({"scoring": ["accuracy", "f1"]}, "single score"),
        ({"scoring": "nonsense"}, "nonsense"),
        ({"random_state": "seed"}, "seed"),
    ],
)
def test_bad_options(model, data, options, message):
    with pytest.raises(ValueError, match=message):
        robustness_curve(model, *data, [GaussianNoise()], **options)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda X, y: (X, y[:-1]), ValueError, "Got 200 rows in X and 199 in y"),
        (lambda X, y: (X[:, :2], y), ValueError, "2 features, but Recorder is expecting 3"),
        (lambda X, y: (X * np.nan, y), ValueError, "NaN"),
        (lambda X, y: (sparse.csr_array(X), y), TypeError, "Sparse data was passed for X"),
    ],
)
def test_bad_data(model, data, change, error, message):
    with pytest.raises(error, match=message):
        robustness_curve(model, *change(*data), [GaussianNoise()])


@pytest.mark.parametrize(
    "estimator", [LogisticRegression(), make_pipeline(PCA(2), LogisticRegression())]
)
def test_unfitted_estimators_are_refused(estimator, data):
    with pytest.raises(NotFittedError):
        robustness_curve(estimator, *data, [GaussianNoise()])


def test_images_stay_images_for_a_model_that_takes_them():
    images = np.random.default_rng(0).random((30, 4, 4), dtype=np.float32)
    model = AETransformer(2, max_epochs=1, random_state=0).fit(images)
    options = {"scoring": reconstruction_scorer, "n_repeats": 2, "random_state": 0}
    noises = {"blur": BlurNoise(1.0), "occlusion": OcclusionNoise(2)}
    of_images = robustness_curve(model, images, None, noises, **options)
    noises = {
        "blur": BlurNoise(1.0, image_shape=(4, 4)),
        "occlusion": OcclusionNoise(2, image_shape=(4, 4)),
    }
    flat = images.reshape(30, 16)
    of_rows = robustness_curve(model, flat, None, noises, **options)
    pd.testing.assert_frame_equal(of_images, of_rows)
