"""Autoencoders of tables: mixed columns, missing cells, and tables as results."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from family import GENERATIVE, MODELS, PLAIN
from scipy import stats
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline

import skvim
from skvim import (
    DenoisingAETransformer,
    UncertaintyAETransformer,
    VAETransformer,
    VIMAETransformer,
)
from skvim.exceptions import ColumnScaleWarning, TooManyComponentsWarning
from skvim.metrics import log_likelihood
from skvim.model_selection import BatchedSearchCV
from skvim.noise import MaskingNoise, SwapNoise
from skvim.tables import Columns

SMALL = {"hidden_layer_sizes": (16,), "max_epochs": 5, "random_state": 0, "n_components": 3}
by_model = pytest.mark.parametrize("cls", MODELS, ids=lambda cls: cls.__name__)


def frame_of(n: int = 200, seed: int = 0) -> pd.DataFrame:
    """Return a table with numbers on wild scales, counts, categories, dates and missing cells."""
    rng = np.random.default_rng(seed)
    age = rng.integers(18, 80, n)
    frame = pd.DataFrame(
        {
            "wage": 2e5 + 1e5 * rng.normal(size=n) + 1e3 * age,
            "age": age,
            "children": rng.poisson(1.0, n),
            "gain": np.where(rng.random(n) < 0.7, 0.0, rng.lognormal(8, 1, n)),
            "sex": rng.choice(["female", "male"], n),
            "married": rng.random(n) < 0.5,
            "size": pd.Categorical(rng.choice(["s", "m", "l"], n), ["s", "m", "l"], ordered=True),
            "since": pd.Timestamp("2020-01-01") + pd.to_timedelta(rng.integers(0, 900, n), "D"),
            "country": ["here"] * n,
        }
    )
    holes = rng.random((n, 2)) < 0.1
    frame.loc[holes[:, 0], "wage"] = np.nan
    frame.loc[holes[:, 1], "sex"] = None
    return frame


FRAME = frame_of()


def fitted(cls=VIMAETransformer, frame=FRAME, **options):
    """Return a small model of a table."""
    return cls(likelihood="auto", **{**SMALL, **options}).fit(frame)


@by_model
def test_results_are_tables_of_the_kind_of_the_data(cls):
    model = fitted(cls)
    Z = model.transform(FRAME)
    assert Z.shape == (200, 3)
    assert np.isfinite(Z).all()
    filled = model.impute(FRAME)
    tables = (
        *(model.inverse_transform(Z), model.reconstruct(FRAME), filled),
        *(model.sample(7, random_state=0), model.sample(7, mean=True, random_state=0)),
        *model.impute(FRAME, n_draws=2, random_state=0),
    )
    for table in tables:
        assert list(table) == list(FRAME)
        assert table.dtypes.equals(FRAME.dtypes)
        assert not table.isna().any(axis=None)
        assert set(table["sex"]) <= {"female", "male"}
        assert set(table["country"]) == {"here"}
    observed = FRAME.notna()
    pd.testing.assert_frame_equal(filled.where(observed), FRAME.where(observed))
    scores = model.column_scores(FRAME)
    assert scores.shape == FRAME.shape
    assert np.array_equal(np.isnan(scores), FRAME.isna())
    assert np.isfinite(model.score(FRAME))
    assert model.information(FRAME).distortion == pytest.approx(-np.nansum(scores) / 200, rel=0.3)


@by_model
def test_equal_fits_are_equal_and_other_columns_are_refused(cls):
    one, other = fitted(cls), fitted(cls)
    np.testing.assert_array_equal(one.transform(FRAME), other.transform(FRAME))
    pd.testing.assert_frame_equal(one.sample(5, random_state=1), other.sample(5, random_state=1))
    pd.testing.assert_frame_equal(one.impute(FRAME), other.impute(FRAME))
    reverse = FRAME[[*FRAME][::-1]]
    for wrong in (FRAME.drop(columns="age"), reverse, FRAME.rename(columns=str.upper)):
        with pytest.raises(ValueError, match="feature"):
            one.transform(wrong)


def test_rows_without_an_observed_cell_are_refused():
    frame = FRAME[["wage", "sex"]].dropna()
    model = fitted(frame=frame, n_components=1)
    empty = frame.astype(object)
    empty.iloc[3] = None
    empty = empty.astype({"wage": float})
    for method in (model.transform, model.impute, model.score_samples, model.fit):
        with pytest.raises(ValueError, match=r"observed cell.*\[3\]"):
            method(empty)


@pytest.mark.parametrize("cls", [VIMAETransformer, DenoisingAETransformer])
def test_saved_models_give_the_same(cls, tmp_path):
    model = fitted(cls)
    model.save(tmp_path / "model.skvim")
    loaded = skvim.load(tmp_path / "model.skvim")
    np.testing.assert_array_equal(loaded.transform(FRAME), model.transform(FRAME))
    pd.testing.assert_frame_equal(loaded.impute(FRAME), model.impute(FRAME))
    for codes in ("auto", "fitted"):
        drawn = [m.sample(9, codes=codes, random_state=0, missing=True) for m in (model, loaded)]
        pd.testing.assert_frame_equal(*drawn)


def test_scales_of_columns_do_not_matter():
    rng = np.random.default_rng(0)
    z = rng.normal(size=1000)
    other = 0.8 * z + 0.6 * rng.normal(size=1000)
    frame = pd.DataFrame({"wage": 2e5 + 1e5 * z, "age": 45 + 13 * other})
    model = VAETransformer(1, likelihood="auto", max_epochs=30, random_state=0).fit(frame)
    drawn = model.sample(4000, codes="prior", random_state=0)
    np.testing.assert_allclose(drawn.std() / frame.std(), 1, atol=0.15)
    np.testing.assert_allclose((drawn.mean() - frame.mean()) / frame.std(), 0, atol=0.15)
    errors = (model.reconstruct(frame) - frame).std() / frame.std()
    assert (errors < 1).all()


def linear_model(missing: float, hidden: tuple[int, ...] = (), d: int = 5, epochs: int = 10):
    """Return rows of a linear gaussian model with missing cells, and a VAE of them."""
    n = 2000
    rng = np.random.default_rng(0)
    loadings = rng.normal(size=(2, d))
    rows = rng.normal(size=(n, 2)) @ loadings + 0.5 * rng.normal(size=(n, d))
    whole = rows.copy()
    rows[rng.random(rows.shape) < missing] = np.nan
    rows[:, 0] = np.where(np.isnan(rows).all(1), whole[:, 0], rows[:, 0])
    options = {"hidden_layer_sizes": hidden, "max_epochs": epochs, "lr": 5e-3, "random_state": 0}
    return rows, whole, VAETransformer(2, likelihood="auto", **options).fit(rows)


def gaussian_of(model):
    """Return mean and covariance of an affine model, in the units of the networks."""
    net = model.net_.autoencoder
    weights = net.decoder.layers[0].weight.detach().double().numpy()
    bias = (net.decoder.layers[0].bias + net.output_offset).detach().double().numpy()
    noise = net.likelihood.bound().variance.double().numpy()
    return bias, weights @ weights.T + np.diag(noise)


@pytest.mark.parametrize("missing", [0.0, 0.4])
def test_likelihood_of_observed_cells_is_that_of_a_linear_gaussian_model(missing):
    rows, _, model = linear_model(missing)
    assert set(model.table_.kinds.values()) == {"continuous"}
    mean, covariance = gaussian_of(model)
    parts = model.table_.encode(rows[:200])
    y, log_slopes = (np.column_stack([part[:, i] for part in parts]) for i in (0, 1))
    expected = []
    for row, slopes in zip(y, log_slopes, strict=True):
        seen = np.isfinite(row)
        law = stats.multivariate_normal(mean[seen], covariance[np.ix_(seen, seen)])
        expected.append(law.logpdf(row[seen]) + slopes[seen].sum())
    np.testing.assert_allclose(model.score_samples(rows[:200]), expected, atol=0.02)


def test_imputed_cells_are_conditional_means_and_draws_have_their_covariance():
    rows, _, model = linear_model(0.4)
    assert set(model.table_.kinds.values()) == {"continuous"}
    mean, covariance = gaussian_of(model)
    row = np.array([[rows[0, 0], np.nan, 0.5, np.nan, -0.3]])
    row[0, 0] = 0.2
    seen = np.isfinite(row[0])
    y = np.array([part[0, 0] for part in model.table_.encode(row)])
    gain = covariance[np.ix_(~seen, seen)] @ np.linalg.inv(covariance[np.ix_(seen, seen)])
    centre = mean[~seen] + gain @ (y[seen] - mean[seen])
    rest = covariance[np.ix_(~seen, ~seen)] - gain @ covariance[np.ix_(seen, ~seen)]
    drawn = model.impute(np.repeat(row, 4000, axis=0), n_draws=1, random_state=0)[0]
    scores = np.column_stack([part[:, 0] for part in model.table_.encode(drawn)])[:, ~seen]
    np.testing.assert_allclose(scores.mean(0), centre, atol=0.05)
    np.testing.assert_allclose(np.cov(scores.T), rest, atol=0.06)
    # In the units of the table, the guess is the mean of such draws.
    guess = model.impute(row)[0, ~seen]
    np.testing.assert_allclose(guess, drawn[:, ~seen].mean(0), atol=0.05)


@pytest.mark.slow
def test_variances_do_not_depend_on_missing_cells():
    models = [linear_model(share, (64, 64), 20, epochs=50)[2] for share in (0.0, 0.6)]
    whole, incomplete = (model.noise_variance_ for model in models)
    np.testing.assert_allclose(incomplete, whole, rtol=0.2, atol=0.05)


def test_given_values_stay_and_condition_the_others():
    rng = np.random.default_rng(0)
    kind = rng.choice(["a", "b"], 800)
    frame = pd.DataFrame({"kind": kind, "x": np.where(kind == "a", -3.0, 3.0)})
    frame["x"] += rng.normal(size=800)
    model = VIMAETransformer(1, likelihood="auto", max_epochs=30, random_state=0).fit(frame)
    for codes in ("fitted", "prior"):
        drawn = model.sample(300, given={"kind": "a"}, codes=codes, random_state=0)
        assert set(drawn["kind"]) == {"a"}
        assert np.mean(drawn["x"] < 0) > 0.85
        fixed = model.sample(50, given={"x": 2.5}, codes=codes, random_state=0)
        np.testing.assert_allclose(fixed["x"], 2.5)
        assert np.mean(fixed["kind"] == "b") > 0.9
    with pytest.raises(TypeError, match="given must be a mapping"):
        model.sample(2, given=["kind"])
    with pytest.raises(ValueError, match="nobody"):
        model.sample(2, given={"nobody": 1})
    with pytest.raises(ValueError, match="kind"):
        model.sample(2, given={"kind": "c"})


def test_a_rare_label_that_is_given_stays():
    labels = ["a"] * 60 + ["b"] * 60 + ["rare", "seldom"]
    frame = pd.DataFrame({"x": np.arange(122) % 7, "label": labels})
    columns = Columns(max_categories=3)
    model = VIMAETransformer(likelihood=columns, **{**SMALL, "n_components": 1}).fit(frame)
    for label in ("rare", "seldom"):
        assert set(model.sample(5, given={"label": label}, random_state=0)["label"]) == {label}


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_given_values_are_of_the_types_of_their_columns(library):
    module = pytest.importorskip(library)
    days = pd.date_range("2020-01-01", periods=60)
    columns = {"day": days.to_pydatetime().tolist(), "n": np.arange(60) % 7, "code": np.arange(60)}
    frame = module.DataFrame(columns)
    kinds = Columns({"code": "category"}, max_categories=3)
    model = VIMAETransformer(likelihood=kinds, **{**SMALL, "n_components": 1}).fit(frame)
    given = {"day": "2020-01-05", "n": 3, "code": 17}
    drawn = model.sample(4, given=given, random_state=0)
    assert list(drawn.dtypes) == list(frame.dtypes)
    assert [set(drawn[name].to_list()) for name in columns] == [
        {days[4].to_pydatetime()},
        {3},
        {17},
    ]


def test_missing_cells_are_drawn_as_in_the_data():
    model = fitted()
    drawn = model.sample(3000, missing=True, random_state=0)
    np.testing.assert_allclose(drawn.isna().mean(), FRAME.isna().mean(), atol=0.03)
    assert drawn.dtypes.equals(FRAME.dtypes)
    given = model.sample(300, given={"sex": "male"}, missing=True, random_state=0)
    assert (given["sex"] == "male").all()
    assert given["wage"].isna().any()


def test_missing_cells_that_recur_at_equal_distances_are_drawn_as_in_the_data():
    frame = pd.DataFrame(np.random.default_rng(0).normal(size=(2000, 2)), columns=["x", "y"])
    frame.loc[::2, "x"] = np.nan
    model = fitted(frame=frame, n_components=1, max_epochs=1)
    drawn = model.sample(1000, missing=True, random_state=0)
    np.testing.assert_allclose(drawn.isna().mean(), [0.5, 0.0], atol=0.1)


@by_model
def test_two_rows_are_enough(cls):
    model = fitted(cls, FRAME[["wage", "age", "sex"]].dropna().head(2), n_components=1)
    assert model.sample(3, random_state=0).notna().all(axis=None)


def test_frames_keep_their_index():
    model = fitted()
    some = FRAME.sample(20, random_state=0)
    codes = pd.DataFrame(model.transform(some), index=some.index)
    for table in (model.impute(some), model.reconstruct(some), model.inverse_transform(codes)):
        assert list(table.index) == list(some.index)


@pytest.mark.parametrize("cls", [VIMAETransformer, DenoisingAETransformer])
def test_categories_that_fit_has_not_seen_count_as_missing(cls):
    model = fitted(cls)
    unseen, missing = FRAME.head(3).copy(), FRAME.head(3).copy()
    unseen["sex"], missing["sex"] = "other", None
    np.testing.assert_array_equal(model.transform(unseen), model.transform(missing))
    scores = model.column_scores(unseen)
    np.testing.assert_array_equal(scores, model.column_scores(missing))
    assert np.isnan(scores[:, list(FRAME).index("sex")]).all()
    assert set(model.impute(unseen)["sex"]) == {"other"}  # it is not missing


def test_filled_cells_of_a_row_do_not_depend_on_the_other_rows():
    model = fitted()
    rows = FRAME[FRAME.isna().any(axis=1)]
    alone = pd.concat([model.impute(rows.iloc[[i]]) for i in range(4)])
    np.testing.assert_allclose(alone["wage"], model.impute(FRAME).loc[alone.index, "wage"])
    assert list(alone["sex"]) == list(model.impute(FRAME).loc[alone.index, "sex"])
    whole = FRAME.dropna()
    for table in (model.impute(whole), *model.impute(whole, n_draws=2, random_state=0)):
        pd.testing.assert_frame_equal(table, whole)


def test_laws_of_codes_that_do_not_exist_are_refused():
    X = FRAME[["age"]].to_numpy(float)
    for cls in PLAIN[:3]:
        assert not hasattr(cls(), "sample")
        with pytest.raises(ValueError, match="codes must be one of"):
            fitted(cls).sample(codes="prior")
    for cls in GENERATIVE:
        model = cls(**SMALL, batch_size=50).fit(X)
        with pytest.raises(ValueError, match="codes='fitted' needs"):
            model.sample(codes="fitted")
        for of_tables in ({"missing": True}, {"given": {0: 1.0}}):
            with pytest.raises(ValueError, match=r"sample with .* likelihood='auto'"):
                model.sample(**of_tables)
        with pytest.raises(ValueError, match="likelihood='auto'"):
            model.impute(X)


def test_pipelines_searches_and_containers():
    y = (FRAME["age"] > 50).to_numpy()
    model = VIMAETransformer(likelihood="auto", **SMALL)
    pipeline = make_pipeline(model, LogisticRegression())
    search = GridSearchCV(pipeline, {"vimaetransformer__lam": [0.1, 10.0]}, cv=2)
    assert search.fit(FRAME, y).predict(FRAME).shape == (200,)
    batched = BatchedSearchCV(clone(pipeline), {"vimaetransformer__lam": [0.1, 10.0]}, cv=2)
    batched.fit(FRAME, y)
    np.testing.assert_allclose(
        batched.cv_results_["mean_test_score"], search.cv_results_["mean_test_score"], atol=0.05
    )
    framed = clone(model).set_output(transform="pandas").fit(FRAME)
    codes = framed.transform(FRAME.set_index(np.arange(200) + 7))
    assert list(codes) == [f"vimaetransformer{i}" for i in range(3)]
    assert list(codes.index[:2]) == [7, 8]
    assert framed.n_features_in_ == 9
    assert list(framed.feature_names_in_) == list(FRAME)


@pytest.mark.parametrize("noise", [SwapNoise(0.3), MaskingNoise(0.3), "swap", "gaussian"])
def test_noise_treats_the_numbers_of_a_cell_together(noise):
    model = fitted(DenoisingAETransformer, noise=noise)
    assert np.isfinite(model.transform(FRAME)).all()
    assert noise == "swap" or getattr(noise, "groups", None) is None  # the user's stays


def test_kinds_of_columns_may_be_given():
    columns = Columns({"children": "category", "age": "continuous"})
    model = VIMAETransformer(likelihood=columns, **SMALL).fit(FRAME)
    assert model.table_.kinds["age"] == "continuous"
    assert model.table_.kinds["children"] == "category"
    with pytest.raises(ValueError, match="nobody"):
        VIMAETransformer(likelihood=Columns({"nobody": "grid"}), **SMALL).fit(FRAME)


@pytest.mark.slow
def test_other_array_libraries_of_the_caller_change_nothing():
    """scikit-learn dispatches to them only where SciPy was imported with SCIPY_ARRAY_API."""
    script = """
import sklearn
from test_tables import FRAME, fitted
samples = []
for dispatch in (False, True):
    with sklearn.config_context(array_api_dispatch=dispatch):
        model = fitted(n_components="auto")
        samples.append(model.sample(5, random_state=0))
        model.impute(FRAME)
assert samples[0].equals(samples[1])
"""
    folder = str(Path(__file__).parent)
    paths = os.pathsep.join(filter(None, [folder, os.environ.get("PYTHONPATH")]))
    environment = {**os.environ, "SCIPY_ARRAY_API": "1", "PYTHONPATH": paths}
    command = [sys.executable, "-W", "error", "-c", script]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_what_needs_rows_of_numbers_or_images_is_refused():
    with pytest.raises(ValueError, match="image_shape must be None"):
        fitted(image_shape=(3, 3))
    X = np.random.default_rng(0).normal(size=(30, 4))
    for frame in (X, FRAME):
        with pytest.raises(ValueError, match="'importance' or 'ais'"):
            log_likelihood(fitted(frame=frame), frame, method="parzen")


def test_wrong_tables_lose_no_fitted_model():
    model = fitted()
    before = model.transform(FRAME)
    for column, value, message in (("wage", np.inf, "wage"), ("sex", None, "sex")):
        wrong = FRAME.copy()
        wrong[column] = value
        with pytest.raises(ValueError, match=message):
            model.fit(wrong)
        np.testing.assert_array_equal(model.transform(FRAME), before)


def test_arrays_with_missing_cells():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(150, 4)).astype(np.float32)
    X[rng.random(X.shape) < 0.2] = np.nan
    X[:, 0] = np.nan_to_num(X[:, 0])
    model = fitted(VAETransformer, X)
    filled = model.impute(X)
    assert isinstance(filled, np.ndarray)
    assert filled.dtype == np.float32
    assert np.isfinite(filled).all()
    np.testing.assert_array_equal(filled[np.isfinite(X)], X[np.isfinite(X)])
    assert model.sample(3, random_state=0).dtype == np.float32


def test_number_of_components_by_the_rank_of_the_inputs():
    rng = np.random.default_rng(0)
    z = rng.normal(size=(400, 2))
    X = z @ rng.normal(size=(2, 8)) + 0.05 * rng.normal(size=(400, 8))
    for likelihood in ("gaussian", "auto"):
        model = VIMAETransformer(**{**SMALL, "n_components": "auto"}, likelihood=likelihood)
        assert model.fit(X).n_components_ == 2
        assert model.transform(X).shape == (400, 2)
    # Independent columns: fewer codes than columns even so.
    independent = fitted(frame=rng.normal(size=(400, 4)), n_components="auto")
    assert independent.n_components_ == 3


def test_columns_of_other_scales_are_named():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"wage": 1e5 * rng.normal(size=60), "age": rng.normal(size=60)})
    frame["children"] = rng.poisson(1.0, 60).astype(float)
    model = VIMAETransformer(2, hidden_layer_sizes=(8,), max_epochs=2, random_state=0)
    with pytest.warns(
        ColumnScaleWarning, match="age, children vary less than 1/100 as much as wage"
    ):
        model.fit(frame)
    model.fit((frame - frame.mean()) / frame.std())  # warns of nothing
    model.set_params(likelihood="auto").fit(frame)


def test_as_many_components_as_columns_are_warned_of():
    frame = FRAME[["age", "children", "gain"]]
    with pytest.warns(TooManyComponentsWarning, match="n_components=3"):
        fitted(frame=frame)
    fitted(frame=frame, n_components=2)
    fitted(frame=frame, noise="swap")
    fitted(DenoisingAETransformer, frame=frame)


def test_codes_change_little_with_numbers_that_have_a_probability_of_their_own():
    model = fitted(frame=FRAME.drop(columns="sex").dropna(), max_epochs=20)
    zero = FRAME[FRAME["gain"] == 0].drop(columns="sex").dropna()
    near = zero.assign(gain=1e-3)
    moved = np.abs(model.transform(near) - model.transform(zero)).max()
    far = np.abs(model.transform(zero.assign(gain=2e4)) - model.transform(zero)).max()
    assert moved < 1e-3 * far


def test_chains_are_not_for_tables():
    with pytest.raises(ValueError, match="codes must be one of"):
        fitted(UncertaintyAETransformer).sample(codes="chain")
    without = fitted(UncertaintyAETransformer, code_density=None)
    with pytest.raises(ValueError, match="codes='fitted' needs"):
        without.sample()


def test_whether_to_draw_is_told_by_booleans():
    model = fitted()
    for wrong in ({"mean": "yes"}, {"missing": 1}):
        with pytest.raises(ValueError, match="must be True or False"):
            model.sample(2, **wrong)


@pytest.mark.gpu
def test_tables_on_a_gpu(tmp_path):
    model = fitted(device="cuda")
    model.save(tmp_path / "model.skvim")
    loaded = skvim.load(tmp_path / "model.skvim", device="cpu")
    np.testing.assert_allclose(model.transform(FRAME), loaded.transform(FRAME), atol=1e-6)
    np.testing.assert_allclose(
        model.score_samples(FRAME), loaded.score_samples(FRAME), rtol=1e-4, atol=1e-2
    )
    for frame in (model.sample(9, random_state=0), *model.impute(FRAME, n_draws=2)):
        assert frame.dtypes.equals(FRAME.dtypes)
