"""Reconstruction errors in every unit, and the scores that searches are given."""

import math
import pickle

import numpy as np
import pandas as pd
import pytest
from family import DIGITS, SMALL, normal_rows
from sklearn.base import BaseEstimator
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from skvim import AETransformer, BetaVAETransformer, VAETransformer, WAETransformer
from skvim.metrics import (
    _reconstruction,
    information_scorer,
    log_likelihood_scorer,
    reconstruction_error,
    reconstruction_scorer,
)
from skvim.objectives import GaussianPosterior

UNITS = ["sse_per_sample", "norm_per_sample", "mse_per_value", "table_ii"]
SCORERS = [log_likelihood_scorer, reconstruction_scorer, information_scorer]
X = normal_rows(120, 6, 2)


@pytest.fixture(scope="module")
def vae():
    return VAETransformer(2, output="sample", **SMALL).fit(X)


def test_units_have_their_closed_form():
    found = reconstruction_error([[3, 4, 0], [0, 0, 12]], [[0, 0, 0], [0, 0, 0]])
    assert (found.n_samples, found.n_features) == (2, 3)
    assert found.squared_errors.tolist() == [25, 144]
    assert [getattr(found, unit) for unit in UNITS] == pytest.approx([84.5, 8.5, 169 / 6, 4.225])


def test_the_paper_s_figure_for_mnist_is_a_squared_error_of_9_4():
    per_pixel = math.sqrt(9.4 / 784)
    found = reconstruction_error(np.zeros((2, 28, 28)), np.full((2, 28, 28), per_pixel))
    assert found.table_ii == pytest.approx(0.47)
    assert found.norm_per_sample == pytest.approx(math.sqrt(9.4))


def test_colours_in_a_doubled_range_have_four_times_the_squared_error():
    source = np.random.default_rng(0)
    x, copies = source.random(size=(2, 5, 4, 4, 3))
    found, doubled = (
        reconstruction_error(copies, x),
        reconstruction_error(2 * copies - 1, 2 * x - 1),
    )
    for unit, factor in zip(UNITS, (4, 2, 4, 4), strict=True):
        assert getattr(doubled, unit) == pytest.approx(factor * getattr(found, unit))


def test_pca_leaves_the_variance_of_its_lost_components():
    model = PCA(3, svd_solver="full").fit(DIGITS)
    lost = PCA(svd_solver="full").fit(DIGITS).explained_variance_[3:].sum()
    expected = lost * (len(DIGITS) - 1) / len(DIGITS)
    assert reconstruction_error(model, DIGITS).sse_per_sample == pytest.approx(expected)


def test_models_decode_the_posterior_mean_whatever_they_put_out(vae):
    expected = ((vae.reconstruct(X) - X) ** 2).sum(axis=1)
    np.testing.assert_allclose(reconstruction_error(vae, X).squared_errors, expected)


def test_a_pipeline_is_measured_in_the_units_of_its_input(vae):
    scaler = StandardScaler().fit(X)
    inner = VAETransformer(2, output="sample", **SMALL)
    pipeline = make_pipeline(scaler, inner).fit(X)
    decoded = scaler.inverse_transform(inner.reconstruct(scaler.transform(X)))
    found = reconstruction_error(pipeline, X)
    assert found.sse_per_sample == pytest.approx(((decoded - X) ** 2).sum(axis=1).mean())
    alone = reconstruction_error(Pipeline([("vae", vae)]), X)
    assert alone.sse_per_sample == reconstruction_error(vae, X).sse_per_sample


@pytest.mark.numerics
def test_images_have_the_errors_of_their_rows():
    images = DIGITS[:100].reshape(-1, 8, 8)
    model = AETransformer(3, **SMALL).fit(images)
    found = reconstruction_error(model, images)
    flat = reconstruction_error(model.reconstruct(images).reshape(100, 64), DIGITS[:100])
    assert found.n_features == 64
    np.testing.assert_array_equal(found.squared_errors, flat.squared_errors)


def test_bytes_do_not_overflow():
    found = reconstruction_error(np.array([[250, 3]], np.uint8), np.array([[3, 250]], np.uint8))
    assert found.sse_per_sample == 2 * 247**2


@pytest.mark.numerics
def test_blocks_do_not_change_errors(monkeypatch):
    whole = reconstruction_error(np.zeros_like(X), X)
    monkeypatch.setattr(_reconstruction, "_BLOCK_VALUES", 20)
    np.testing.assert_array_equal(
        reconstruction_error(np.zeros_like(X), X).squared_errors, whole.squared_errors
    )


def test_standard_errors_are_those_of_means_over_rows():
    source = np.random.default_rng(0)
    runs = [source.normal(size=(50, 4)) for _ in range(300)]
    tables = [reconstruction_error(np.zeros((50, 4)), run).to_frame() for run in runs]
    assert list(tables[0].index) == UNITS
    means = pd.concat([table["mean"] for table in tables], axis=1)
    errors = pd.concat([table["standard_error"] for table in tables], axis=1)
    np.testing.assert_allclose(means.std(axis=1), errors.mean(axis=1), rtol=0.15)


def test_one_row_has_no_standard_error_and_prints():
    found = reconstruction_error([[0.0, 0.0]], [[3.0, 4.0]])
    assert found.to_frame()["standard_error"].isna().all()
    assert "norm_per_sample  5 ± nan" in repr(found)


@pytest.mark.parametrize(
    ("estimator", "rows", "error", "message"),
    [
        (np.eye(3), np.eye(4), ValueError, r"same shape. Got \(4, 4\) and \(3, 3\)"),
        (np.eye(3)[:1], np.eye(3), ValueError, "same shape"),
        (np.full((2, 2), np.nan), np.eye(2), ValueError, "reconstructions contains NaN"),
        (np.eye(2), np.full((2, 2), np.inf), ValueError, "X contains infinity"),
        (np.zeros((0, 2)), np.zeros((0, 2)), ValueError, "0 sample"),
        (np.zeros(2), np.zeros(2), ValueError, "Expected 2D array"),
        (PCA(2), np.eye(3), NotFittedError, "not fitted"),
        (KMeans(2), np.eye(3), TypeError, "transform and inverse_transform"),
    ],
)
def test_refuses_what_cannot_be_compared(estimator, rows, error, message):
    with pytest.raises(error, match=message):
        reconstruction_error(estimator, rows)


@pytest.mark.parametrize("scorer", SCORERS)
def test_scorers_are_pickled_and_taken_by_searches(scorer):
    restored = pickle.loads(pickle.dumps(scorer))
    assert restored is scorer
    model = BetaVAETransformer(2, posterior=GaussianPosterior(), **SMALL)
    search = GridSearchCV(model, {"beta": [0.1, 50.0]}, cv=2, scoring=scorer, error_score="raise")
    search.fit(X)
    fitted, rows = search.best_estimator_, X
    assert search.score(rows) == scorer(fitted, rows) == scorer(fitted, rows, None)
    assert math.isfinite(search.best_score_)


def test_scores_are_those_of_the_measures(vae):
    assert log_likelihood_scorer(vae, X) == pytest.approx(vae.score(X))
    assert reconstruction_scorer(vae, X) == -reconstruction_error(vae, X).sse_per_sample
    assert information_scorer(vae, X) == vae.information(X).mutual_information


def test_a_weaker_prior_is_preferred_by_information_and_reconstruction():
    settings = {**SMALL, "max_epochs": 60, "lr": 1e-2}
    free, bound = (BetaVAETransformer(2, beta=beta, **settings).fit(X) for beta in (0.1, 50.0))
    for scorer in (information_scorer, reconstruction_scorer):
        assert scorer(free, X) > scorer(bound, X)


def test_reconstruction_chooses_more_components():
    values = [cross_val_score(PCA(k), DIGITS, scoring=reconstruction_scorer) for k in (2, 8)]
    assert (values[1] > values[0]).all()
    assert (values[1] < 0).all()


@pytest.mark.parametrize("steps", [1, 2])
def test_likelihood_and_information_of_a_pipeline_are_its_last_step_s(steps):
    scaler, model = StandardScaler(), VAETransformer(2, **SMALL)
    pipeline = make_pipeline(scaler, model)[2 - steps :].fit(X)
    rows = scaler.transform(X) if steps == 2 else X
    for scorer in (log_likelihood_scorer, information_scorer):
        assert scorer(pipeline, X) == scorer(model, rows)


@pytest.mark.parametrize(
    ("scorer", "model", "error", "message"),
    [
        (log_likelihood_scorer, AETransformer(2, **SMALL), TypeError, "has a prior"),
        (log_likelihood_scorer, PCA(2), TypeError, "has a prior"),
        (information_scorer, PCA(2), TypeError, "autoencoder of skvim"),
        (information_scorer, WAETransformer(2, **SMALL), ValueError, "stochastic encoder"),
        (reconstruction_scorer, KMeans(2, n_init=1), TypeError, "inverse_transform"),
    ],
)
def test_scorers_refuse_models_that_have_no_such_score(scorer, model, error, message):
    assert isinstance(model, BaseEstimator)
    with pytest.raises(error, match=message):
        scorer(model.fit(X), X)


def test_a_pipeline_may_pass_its_last_rows_on():
    pipeline = Pipeline([("scale", StandardScaler()), ("reduce", PCA(2))])
    search = GridSearchCV(
        pipeline, {"reduce": [PCA(2), "passthrough", None]}, scoring=reconstruction_scorer, cv=2
    ).fit(X)
    scores = search.cv_results_["mean_test_score"]
    assert scores[0] < -0.01
    assert scores[1:] == pytest.approx([0, 0], abs=1e-20)
