"""What the batched search knows of fits beforehand, and what it says where it does not."""

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
VIM = VIMAETransformer(2, hidden_layer_sizes=(8,), max_epochs=2, batch_size=100, random_state=0)
GRID = {"vim__lam": [0.1, 10.0]}


def pipeline(first=None, model=VIM, **options):
    """Return a step, codes and a classifier."""
    first = StandardScaler() if first is None else first
    last = LogisticRegression(max_iter=2000)
    return Pipeline([("first", first), ("vim", clone(model)), ("last", last)], **options)


def searched(model, grid=GRID, search=BatchedSearchCV, cv=2, **fit_params):
    """Return a fitted search, what it printed, and what it said of batches."""
    printed = io.StringIO()
    with warnings.catch_warnings(record=True) as found, redirect_stdout(printed):
        warnings.simplefilter("always")
        fitted = search(model, grid, cv=cv).fit(WINE, CULTIVAR, **fit_params)
    said = [str(w.message) for w in found if w.category is BatchingWarning]
    return fitted, printed.getvalue(), said


class _Divided(TransformerMixin, BaseEstimator):
    """Gives other rows every time if it is asked to."""

    def __init__(self, noise=0.0, by=10.0):
        self.noise = noise
        self.by = by

    def fit(self, X, y=None):
        self.fitted_ = True
        return self

    def transform(self, X):
        return X / self.by + np.random.default_rng().normal(scale=self.noise, size=X.shape)


@pytest.mark.parametrize("options", [{"n_jobs": 2}, {"n_jobs": 2, "backend": "threading"}])
def test_joblibs_configuration_does_not_part_fits_from_their_networks(options):
    with joblib.parallel_config(**options):
        search, _, said = searched(pipeline())
    assert (search.n_batched_fits_, said, search.n_jobs) == (4, [], None)


def test_a_search_prints_what_that_of_scikit_learn_prints():
    scaling = Pipeline([("scale", StandardScaler())], verbose=True)
    steps = pipeline(scaling, verbose=True), pipeline(model=clone(VIM).set_params(verbose=1))
    for model in steps:
        printed = [searched(model, search=kind)[1] for kind in (BatchedSearchCV, GridSearchCV)]
        lines = [re.sub(r"[\d.]+", "", text).splitlines() for text in printed]  # without times
        assert lines[0] == lines[1] != []


def test_steps_that_no_file_can_hold_are_passed_all_the_same():
    search, _, said = searched(pipeline(FunctionTransformer(lambda X: X / 10)))
    assert (search.n_batched_fits_, said) == (4, [])


def test_a_pipelines_memory_is_not_taken_for_other_rows(tmp_path):
    model = pipeline(memory=str(tmp_path))
    first, _, said = searched(model, {**GRID, "last__C": [0.1, 1.0]})
    assert (first.n_batched_fits_, said) == (4, [])
    again, _, said = searched(model, {**GRID, "last__C": [0.1, 1.0]})
    assert (again.n_batched_fits_, said) == (0, [])
    scores = [search.cv_results_["mean_test_score"] for search in (first, again)]
    np.testing.assert_array_equal(*scores)


def test_fits_to_other_rows_are_not_counted_with_those_made_together():
    search, _, said = searched(pipeline(_Divided()), {**GRID, "first__noise": [0.0, 1e-3]})
    assert search.n_batched_fits_ == 4
    assert len(said) == 1
    assert "4 of the fits were made one by one: what comes before it gives other rows" in said[0]
    assert search.cv_results_["mean_fit_time"].min() > 0


def test_steps_that_draw_from_the_global_generator_draw_what_they_would_in_scikit_learn():
    model = pipeline(PCA(3, svd_solver="randomized", iterated_power=0))
    found = []
    for kind in (BatchedSearchCV, GridSearchCV):
        np.random.seed(0)  # noqa: NPY002
        search, _, said = searched(model, search=kind)
        position = np.random.get_state()[1:3]  # noqa: NPY002
        found.append((search.cv_results_["mean_test_score"], said, position))
    np.testing.assert_array_equal(found[0][0], found[1][0])
    np.testing.assert_array_equal(found[0][2][0], found[1][2][0])
    assert found[0][2][1] == found[1][2][1]
    assert "4 of the fits" in found[0][1][0]


@pytest.mark.parametrize("order", [[1.0, 0.25], [0.25, 1.0]])
def test_fits_that_refuse_their_rows_leave_the_others_together(order):
    model = clone(VIM).set_params(likelihood="bernoulli")
    scaled = Pipeline([("scale", MinMaxScaler(clip=True)), ("divide", _Divided())])
    grid = {**GRID, "first__divide__by": order}  # four is no share
    search, _, said = searched(pipeline(scaled, model), grid)
    assert (search.n_batched_fits_, said) == (4, [])
    failed = np.isnan(search.cv_results_["mean_test_score"])
    assert failed.tolist() == [by == 0.25 for by in np.repeat(order, 2)]


def test_an_autoencoder_that_only_the_grid_names_is_found():
    model = pipeline().set_params(vim="passthrough")
    grid = {"vim": [VIM, clone(VIM).set_params(lam=1.0), PCA(2)]}
    search, _, said = searched(model, grid)
    assert (search.n_batched_fits_, said) == (4, [])


def test_all_fits_are_counted_in_what_is_said():
    weights = {"last__sample_weight": np.ones(len(WINE))}
    assert "4 of the fits" in searched(pipeline(), **weights)[2][0]
    union = FeatureUnion([("vim", clone(VIM)), ("scale", StandardScaler())])
    inside = Pipeline([("scale", StandardScaler()), ("both", union), ("last", PCA(2))])
    said = searched(inside, {"both__vim__lam": [0.1, 10.0]})[2]
    assert "4 of the fits were made one by one: the estimator is neither" in said[0]


def test_a_network_that_trains_alone_is_not_called_one_of_many():
    with sklearn.config_context(working_memory=0):
        search, _, said = searched(pipeline())
    assert search.n_batched_fits_ == 0
    assert "4 of the fits were made one by one: no other fit like it has room" in said[0]


@pytest.mark.parametrize(
    ("error", "said"),
    [(NotTraceableError("it is odd."), "it is odd"), (MemoryError(), "MemoryError")],
)
def test_whatever_keeps_fits_from_training_together_they_are_made(error, said, monkeypatch):
    def broken(sets):
        raise error

    monkeypatch.setattr("skvim.engine.batched._plan.train_batched", broken)
    with pytest.warns(BatchingWarning, match=f"2 of the fits were made one by one: {said}"):
        path = lam_path(VIM, WINE, [0.1, 1.0])
    assert path[0].loss_curve_ == clone(path[0]).fit(WINE).loss_curve_


def test_a_path_warns_of_its_rows_as_often_as_its_fits_do():
    frame = pd.DataFrame(WINE).astype({0: pd.SparseDtype("float64", 0.0)})
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        lam_path(VIM, frame, [0.1, 1.0])
    with warnings.catch_warnings(record=True) as of_one:
        warnings.simplefilter("always")
        clone(VIM).fit(frame)
    assert len(found) == 2 * len(of_one) > 0


def test_seeds_are_given_once():
    with pytest.raises(ValueError, match="at least one seed"):
        lam_path(VIM, WINE, [0.1, 1.0], random_states=[])
    with pytest.raises(ValueError, match="random_states too"):
        lam_path(VIM, WINE, [0, 1], param="random_state", random_states=[2])


def test_a_net_that_trained_with_others_infers_as_one_that_trained_alone():
    together, alone = lam_path(VIM, WINE, [0.1, 1.0])[0], clone(VIM).set_params(lam=0.1).fit(WINE)
    assert set(vars(together.net_)) == set(vars(alone.net_))


def test_large_networks_train_alone_on_a_cpu_and_together_on_a_gpu():
    model = VIMAETransformer(2, hidden_layer_sizes=(1000,), batch_size=100)
    request = model._make_request(np.zeros((100, 500), dtype=np.float32))

    def on(device):
        return replace(request, training=replace(request.training, device=torch.device(device)))

    assert _is_long(request)
    assert not _is_long(on("cuda"))
    assert why_not_batchable(request) == why_not_batchable(on("cuda")) == ""
    assert "'mps'" in why_not_batchable(on("mps"))


def test_what_is_fitted_alone_whatever_its_rows_is_not_said_to_have_other_rows():
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


def test_fits_that_are_long_for_one_fold_alone_are_counted_for_that_one():
    model = pipeline(_Divided(), clone(VIM).set_params(hidden_layer_sizes=(7500,)))
    mixed = np.random.default_rng(0).permutation(len(WINE))
    folds = [(mixed[:60], mixed[150:]), (mixed[:150], mixed[150:])]  # batches of 60 and of 100
    search, _, said = searched(model, {**GRID, "first__noise": [0.0, 1e-3]}, cv=folds)
    assert search.n_batched_fits_ == 2
    assert [message.split(":")[0][:1] for message in sorted(said)] == ["2", "4"]
    assert "other rows" in sorted(said)[0]
    assert "take long" in sorted(said)[1]
