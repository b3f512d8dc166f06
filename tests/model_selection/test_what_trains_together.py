"""Which fits train as one batch: counts and reasons."""

import threading
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.datasets import load_wine
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import MinMaxScaler
from torch import distributions as td

from skvim import BetaVAETransformer, VAETransformer, VIMAETransformer
from skvim.exceptions import BatchingWarning
from skvim.model_selection import BatchedSearchCV, lam_path
from skvim.networks import Convolutional, Perceptrons
from skvim.noise import GaussianNoise, MaskingNoise, SwapNoise
from skvim.objectives import (
    MMD,
    Bernoulli,
    Factorised,
    Gaussian,
    GaussianPosterior,
    Logistic,
    LogisticPosterior,
    MixtureKL,
    Normal,
    SlicedWasserstein,
)
from skvim.presets import names, preset

WINE, CULTIVAR = load_wine(return_X_y=True)
X = MinMaxScaler(clip=True).fit_transform(WINE).astype(np.float32)
SMALL = {"hidden_layer_sizes": (8,), "max_epochs": 2, "batch_size": 100, "random_state": 0}

# Every likelihood, prior and part that can be an object, and names of them.
PARTS = [
    {"likelihood": "gaussian", "prior": "normal", "posterior": GaussianPosterior(0.3)},
    {"likelihood": "bernoulli", "prior": "logistic", "posterior": LogisticPosterior()},
    {"likelihood": Gaussian(0.1), "prior": Normal(2.0), "divergence": MMD("rbf", (1.0, 2.0))},
    {"likelihood": Gaussian("per-feature"), "prior": Logistic.unit_variance()},
    {"divergence": MixtureKL(), "posterior": "gaussian", "prior": td.Laplace(0.0, 1.0)},
    {"likelihood": Gaussian.wae(), "prior": td.StudentT(5.0), "divergence": SlicedWasserstein()},
    {"likelihood": Bernoulli(), "noise": GaussianNoise(0.1)},
    {"prior": Factorised(td.Gumbel(0.0, 1.0)), "noise": MaskingNoise(0.3)},
    {"prior": td.Normal(torch.zeros(3), torch.arange(1.0, 4.0)), "network": Perceptrons((8, 8))},
    {"noise": "swap", "dropout": 0.2},
    {"noise": SwapNoise(0.3, groups=(*range(10), 9, 9, 9))},
    {"prior": td.Uniform(-1.0, 1.0), "agreement": 1.0, "noise": "gaussian"},
    {"net_params": {"optimizer__weight_decay": 1e-4}},
]


def batched_fits(model, rows=X, param="lam"):
    """Run a search of four fits; return how many trained in a batch, and the reasons of others."""
    pipeline = Pipeline([("model", model)])
    grid = {f"model__{param}": [1.0, 2.0]}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        search = BatchedSearchCV(pipeline, grid, cv=2, scoring=_loss, refit=False).fit(rows)
    reasons = [str(w.message) for w in caught if w.category is BatchingWarning]
    return search.n_batched_fits_, reasons


def _loss(estimator, X, y=None):
    return -estimator[-1].loss_curve_[-1]


@pytest.mark.parametrize("options", PARTS, ids=lambda options: "-".join(map(str, options)))
def test_fits_with_any_part_train_as_one_batch(options):
    assert batched_fits(VIMAETransformer(3, **{**SMALL, **options})) == (4, [])


@pytest.mark.parametrize("kernel", ["imq", "rbf"])
def test_fits_with_an_mmd_in_strips_of_rows_train_as_one_batch(kernel, monkeypatch):
    monkeypatch.setattr("skvim.objectives._mmd._CACHED", 30)
    assert batched_fits(VIMAETransformer(3, divergence=MMD(kernel), **SMALL)) == (4, [])


def test_a_path_and_a_search_with_a_distribution_as_prior():
    model = BetaVAETransformer(3, prior=td.Laplace(0.0, 1.0), **SMALL)
    assert batched_fits(model, param="beta") == (4, [])
    with warnings.catch_warnings():
        warnings.simplefilter("error", BatchingWarning)
        lam_path(model, X, [1.0, 2.0], param="beta")


@pytest.mark.parametrize("name", [name for name in names() if name != "robust-table"])
def test_presets_train_as_one_batch_with_perceptrons_alone(name):
    options = preset(name, model=VIMAETransformer)
    options |= {"max_epochs": 1, "pretraining": 0, "n_components": 3, "random_state": 0}
    if "gan" in name:
        options |= {"divergence": "mmd"}
    shape = options["image_shape"]
    images = np.random.default_rng(0).random((8, np.prod(shape))).astype(np.float32)
    model = VIMAETransformer(**options | {"batch_size": 4})
    small = Convolutional(0.02)
    model.set_params(network=small if "wae" in name else (small, "mlp"))
    with pytest.warns(BatchingWarning, match="2 of the fits .* not multilayer perceptrons"):
        lam_path(model, images, [1.0, 2.0])
    model.set_params(network="mlp", hidden_layer_sizes=(8,))
    assert batched_fits(model, images) == (4, [])


def test_a_sampler_of_imbalanced_learn_before_the_autoencoder():
    sampling = pytest.importorskip("imblearn.over_sampling", reason="extra dev only")
    pipelines = pytest.importorskip("imblearn.pipeline", reason="extra dev only")
    model = VIMAETransformer(3, **SMALL)
    steps = [("sample", sampling.RandomOverSampler(random_state=0)), ("model", model)]
    pipeline = pipelines.Pipeline([*steps, ("last", LogisticRegression(max_iter=1000))])
    search = BatchedSearchCV(pipeline, {"model__lam": [1.0, 2.0]}, cv=2)
    with warnings.catch_warnings():
        warnings.simplefilter("error", BatchingWarning)
        search.fit(X, CULTIVAR)
    assert search.n_batched_fits_ == 4
    # Without a seed its rows differ in every fit.
    unseeded = clone(pipeline).set_params(sample=sampling.RandomOverSampler())
    search = BatchedSearchCV(unseeded, {"model__lam": [1.0, 2.0]}, cv=2)
    with pytest.warns(BatchingWarning, match="4 of the fits .* other rows every time"):
        search.fit(X[20:], CULTIVAR[20:])
    assert search.n_batched_fits_ == 0


def test_memory_of_a_pipeline_finds_an_equal_estimator(tmp_path):
    for prior in ("normal", td.Laplace(0.0, 1.0), Logistic.unit_variance()):
        times = []
        for _ in range(2):
            model = VAETransformer(3, prior=prior, likelihood=Gaussian(0.1), **SMALL)
            pipeline = make_pipeline(model, LogisticRegression(), memory=str(tmp_path))
            pipeline.fit(X, CULTIVAR)
            times.append(pipeline[0].history_[-1]["dur"])
        assert times[0] == times[1]  # the second fit was loaded, not trained


def test_no_clone_pickle_or_result_contains_the_plan_of_a_search():
    model = VIMAETransformer(3, **SMALL)
    grid = {"model": [model, clone(model).set_params(lam=3.0)]}
    search = BatchedSearchCV(Pipeline([("model", model)]), grid, cv=2, scoring=_loss).fit(X)
    assert search.n_batched_fits_ == 4
    best = search.best_estimator_
    candidates = [parameters["model"] for parameters in search.cv_results_["params"]]
    for estimator in (best[0], clone(best)[0], model, *candidates):
        assert "_plan" not in vars(clone(estimator))
        assert "_plan" not in estimator.__getstate__()


def test_paths_in_threads_do_not_change_warning_filters():
    before, model = list(warnings.filters), VIMAETransformer(3, **SMALL)
    barrier = threading.Barrier(4)

    def run(_):
        barrier.wait()
        return [fitted.lam for fitted in lam_path(model, X, [1.0, 2.0])]

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(run, range(4))) == [[1.0, 2.0]] * 4
    assert warnings.filters == before
