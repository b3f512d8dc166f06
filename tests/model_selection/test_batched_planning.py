"""BatchedSearchCV and lam_path: which fits are planned, and the reasons for the others."""

import io
import re
import warnings
from contextlib import redirect_stdout
from dataclasses import replace

import joblib
import numpy as np
import pandas as pd
import pytest
import sklearn
import torch
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.datasets import load_wine
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import FeatureUnion, Pipeline
from sklearn.preprocessing import FunctionTransformer, MinMaxScaler, StandardScaler

from skvim import VIMAETransformer
from skvim.engine.batched._plan import _is_long, why_not_batchable
from skvim.engine.capture._recorder import NotTraceableError
from skvim.exceptions import BatchingWarning
from skvim.model_selection import BatchedSearchCV, lam_path

WINE, CULTIVAR = load_wine(return_X_y=True)
SCALED = StandardScaler().fit_transform(WINE)
VIM = VIMAETransformer(2, hidden_layer_sizes=(8,), max_epochs=2, batch_size=100, random_state=0)
GRID = {"vim__lam": [0.1, 10.0]}


def pipeline(first=None, model=VIM, **options):
    """Return a pipeline of a first step, an autoencoder and a classifier."""
    first = StandardScaler() if first is None else first
    last = LogisticRegression(max_iter=2000)
    return Pipeline([("first", first), ("vim", clone(model)), ("last", last)], **options)


def searched(model, grid=GRID, search=BatchedSearchCV, cv=2, **fit_params):
    """Return a fitted search, its output and the messages of its BatchingWarnings."""
    printed = io.StringIO()
    with warnings.catch_warnings(record=True) as caught, redirect_stdout(printed):
        warnings.simplefilter("always")
        fitted = search(model, grid, cv=cv).fit(WINE, CULTIVAR, **fit_params)
    said = [str(w.message) for w in caught if w.category is BatchingWarning]
    return fitted, printed.getvalue(), said


class _Divided(TransformerMixin, BaseEstimator):
    """Divides rows; with noise it returns other rows at every call."""

    def __init__(self, noise=0.0, by=10.0):
        self.noise = noise
        self.by = by

    def fit(self, X, y=None):
        self.fitted_ = True
        return self

    def transform(self, X):
        return X / self.by + np.random.default_rng().normal(scale=self.noise, size=X.shape)


@pytest.mark.parametrize("options", [{"n_jobs": 2}, {"n_jobs": 2, "backend": "threading"}])
def test_fits_are_batched_whatever_the_configuration_of_joblib(options):
    with joblib.parallel_config(**options):
        search, _, said = searched(pipeline())
    assert (search.n_batched_fits_, said, search.n_jobs) == (4, [], None)


def test_output_equals_that_of_scikit_learn():
    scaling = Pipeline([("scale", StandardScaler())], verbose=True)
    steps = pipeline(scaling, verbose=True), pipeline(model=clone(VIM).set_params(verbose=1))
    for model in steps:
        printed = [searched(model, search=kind)[1] for kind in (BatchedSearchCV, GridSearchCV)]
        lines = [re.sub(r"[\d.]+", "", text).splitlines() for text in printed]  # without times
        assert lines[0] == lines[1] != []


def test_steps_that_cannot_be_pickled():
    search, _, said = searched(pipeline(FunctionTransformer(lambda X: X / 10)))
    assert (search.n_batched_fits_, said) == (4, [])


def test_results_from_the_memory_of_a_pipeline_are_not_reported(tmp_path):
    model = pipeline(memory=str(tmp_path))
    first, _, said = searched(model, {**GRID, "last__C": [0.1, 1.0]})
    assert (first.n_batched_fits_, said) == (4, [])
    again, _, said = searched(model, {**GRID, "last__C": [0.1, 1.0]})
    assert (again.n_batched_fits_, said) == (0, [])
    scores = [search.cv_results_["mean_test_score"] for search in (first, again)]
    np.testing.assert_array_equal(*scores)


def test_fits_with_other_rows_are_not_counted_as_batched():
    search, _, said = searched(pipeline(_Divided()), {**GRID, "first__noise": [0.0, 1e-3]})
    assert search.n_batched_fits_ == 4
    assert len(said) == 1
    assert "4 of the fits were made one by one: what comes before it gives other rows" in said[0]
    assert search.cv_results_["mean_fit_time"].min() > 0


def test_steps_that_use_the_global_generator_get_the_same_numbers_as_in_scikit_learn():
    model = pipeline(PCA(3, svd_solver="randomized", iterated_power=0))
    results = []
    for kind in (BatchedSearchCV, GridSearchCV):
        np.random.seed(0)  # noqa: NPY002
        search, _, said = searched(model, search=kind)
        position = np.random.get_state()[1:3]  # noqa: NPY002
        results.append((search.cv_results_["mean_test_score"], said, position))
    np.testing.assert_array_equal(results[0][0], results[1][0])
    np.testing.assert_array_equal(results[0][2][0], results[1][2][0])
    assert results[0][2][1] == results[1][2][1]
    assert "4 of the fits" in results[0][1][0]


@pytest.mark.parametrize("order", [[1.0, 0.25], [0.25, 1.0]])
def test_fits_with_invalid_rows_do_not_part_the_others(order):
    model = clone(VIM).set_params(likelihood="bernoulli")
    scaled = Pipeline([("scale", MinMaxScaler(clip=True)), ("divide", _Divided())])
    grid = {**GRID, "first__divide__by": order}  # four is no share
    search, _, said = searched(pipeline(scaled, model), grid)
    assert (search.n_batched_fits_, said) == (4, [])
    failed = np.isnan(search.cv_results_["mean_test_score"])
    assert failed.tolist() == [by == 0.25 for by in np.repeat(order, 2)]


def test_an_autoencoder_that_is_in_the_grid_only():
    model = pipeline().set_params(vim="passthrough")
    grid = {"vim": [VIM, clone(VIM).set_params(lam=1.0), PCA(2)]}
    search, _, said = searched(model, grid)
    assert (search.n_batched_fits_, said) == (4, [])


def test_warnings_count_all_fits():
    weights = {"last__sample_weight": np.ones(len(WINE))}
    assert "4 of the fits" in searched(pipeline(), **weights)[2][0]
    union = FeatureUnion([("vim", clone(VIM)), ("scale", StandardScaler())])
    inside = Pipeline([("scale", StandardScaler()), ("both", union), ("last", PCA(2))])
    said = searched(inside, {"both__vim__lam": [0.1, 10.0]})[2]
    assert "4 of the fits were made one by one: the estimator is neither" in said[0]


def test_a_batch_of_one_network_is_reported_as_a_single_fit():
    with sklearn.config_context(working_memory=0):
        search, _, said = searched(pipeline())
    assert search.n_batched_fits_ == 0
    assert "4 of the fits were made one by one: no other fit like it has room" in said[0]


@pytest.mark.parametrize(
    ("error", "said"),
    [(NotTraceableError("it is odd."), "it is odd"), (MemoryError(), "MemoryError")],
)
def test_fits_are_made_one_by_one_if_batched_training_fails(error, said, monkeypatch):
    def broken(sets, *rest):
        raise error

    monkeypatch.setattr("skvim.engine.batched._plan.train_batched", broken)
    with pytest.warns(BatchingWarning, match=f"2 of the fits were made one by one: {said}"):
        path = lam_path(VIM, SCALED, [0.1, 1.0])
    assert path[0].loss_curve_ == clone(path[0]).fit(SCALED).loss_curve_


def test_a_path_gives_the_warnings_of_its_fits():
    frame = pd.DataFrame(SCALED).astype({0: pd.SparseDtype("float64", 0.0)})
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        lam_path(VIM, frame, [0.1, 1.0])
    with warnings.catch_warnings(record=True) as of_one:
        warnings.simplefilter("always")
        clone(VIM).fit(frame)
    assert len(caught) == 2 * len(of_one) > 0


def test_seeds_given_twice_or_not_at_all_raise_errors():
    with pytest.raises(ValueError, match="at least one seed"):
        lam_path(VIM, SCALED, [0.1, 1.0], random_states=[])
    with pytest.raises(ValueError, match="random_states too"):
        lam_path(VIM, SCALED, [0, 1], param="random_state", random_states=[2])


def test_a_net_of_a_batch_has_the_attributes_of_a_single_one():
    together, alone = (
        lam_path(VIM, SCALED, [0.1, 1.0])[0],
        clone(VIM).set_params(lam=0.1).fit(SCALED),
    )
    assert set(vars(together.net_)) == set(vars(alone.net_))


def test_large_networks_are_batched_on_a_gpu_only():
    model = VIMAETransformer(2, hidden_layer_sizes=(1000,), batch_size=100)
    request = model._make_request(np.zeros((100, 500), dtype=np.float32))

    def on(device):
        return replace(request, training=replace(request.training, device=torch.device(device)))

    assert _is_long(request)
    assert not _is_long(on("cuda"))
    assert why_not_batchable(request) == why_not_batchable(on("cuda")) == ""
    assert "'mps'" in why_not_batchable(on("mps"))


def test_fits_that_are_single_for_another_reason_are_not_reported_for_other_rows():
    grid = [
        {"first__noise": [0.0, 1e-3], "vim__lam": [0.1, 10.0]},
        {"vim__verbose": [1]},
        {"vim__hidden_layer_sizes": [(20_000,)]},
    ]
    said = sorted(searched(pipeline(_Divided()), grid)[2])
    reasons = ["it prints its epochs", "its steps take long", "what comes before it gives other"]
    assert len(said) == len(reasons)
    for number, reason, message in zip((2, 2, 4), reasons, said, strict=True):
        assert f"{number} of the fits were made one by one: {reason}" in message


def test_fits_that_are_long_in_one_fold_are_counted_for_that_fold():
    model = pipeline(_Divided(), clone(VIM).set_params(hidden_layer_sizes=(7500,)))
    mixed = np.random.default_rng(0).permutation(len(WINE))
    folds = [(mixed[:60], mixed[150:]), (mixed[:150], mixed[150:])]  # batches of 60 and of 100
    search, _, said = searched(model, {**GRID, "first__noise": [0.0, 1e-3]}, cv=folds)
    assert search.n_batched_fits_ == 2
    assert [message.split(":")[0][:1] for message in sorted(said)] == ["2", "4"]
    assert "other rows" in sorted(said)[0]
    assert "take long" in sorted(said)[1]
