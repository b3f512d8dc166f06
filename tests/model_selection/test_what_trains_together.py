"""Which fits train as one batch: through the public functions, with counts and reasons."""

import threading
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from imblearn.over_sampling import RandomOverSampler
from imblearn.pipeline import Pipeline as SamplingPipeline
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
from skvim.noise import GaussianNoise, MaskingNoise
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

LIKELIHOODS = ["gaussian", "bernoulli", Gaussian(0.1), Gaussian("per-feature"), Gaussian.wae()]
LIKELIHOODS += [Bernoulli()]
PRIORS = ["normal", "logistic", Normal(2.0), Logistic.unit_variance()]
PRIORS += [td.Laplace(0.0, 1.0), td.StudentT(5.0), Factorised(td.Gumbel(0.0, 1.0))]
PRIORS += [td.Normal(torch.zeros(3), torch.tensor([1.0, 2.0, 3.0])), td.Uniform(-1.0, 1.0)]
PARTS = [
    {"posterior": GaussianPosterior(0.3)},
    {"posterior": LogisticPosterior()},
    {"divergence": MMD("rbf", (1.0, 2.0))},
    {"divergence": MixtureKL(), "posterior": "gaussian"},
    {"divergence": SlicedWasserstein()},
    {"noise": GaussianNoise(0.1)},
    {"noise": MaskingNoise(0.3)},
    {"network": Perceptrons((8, 8), "tanh")},
    {"agreement": 1.0, "noise": "gaussian"},
    {"net_params": {"optimizer__weight_decay": 1e-4}},
]


def fits_together(model, rows=X, param="lam"):
    """Fit a path and a search of four fits; return how many trained together, and the reasons."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        path = lam_path(model, rows, [1.0, 2.0, 4.0], param=param)
        name = f"model__{param}"
        pipeline = Pipeline([("model", model)])
        search = BatchedSearchCV(pipeline, {name: [1.0, 2.0]}, cv=2, scoring=_loss, refit=False)
        search.fit(rows)
    assert all(fitted.n_iter_ == model.max_epochs for fitted in path)
    reasons = [str(w.message) for w in caught if w.category is BatchingWarning]
    return search.n_batched_fits_, reasons


def _loss(estimator, X, y=None):
    return -estimator[-1].loss_curve_[-1]


@pytest.mark.parametrize("likelihood", LIKELIHOODS, ids=str)
def test_every_likelihood(likelihood):
    model = VIMAETransformer(3, likelihood=likelihood, **SMALL)
    assert fits_together(model) == (4, [])
    assert fits_together(clone(model)) == (4, [])


@pytest.mark.parametrize("prior", PRIORS, ids=str)
def test_every_prior(prior):
    assert fits_together(VIMAETransformer(3, prior=prior, **SMALL)) == (4, [])


def test_a_distribution_as_prior_of_a_vae():
    model = BetaVAETransformer(3, prior=td.Laplace(0.0, 1.0), **SMALL)
    assert fits_together(model, param="beta") == (4, [])


@pytest.mark.parametrize("options", PARTS, ids=lambda options: "-".join(map(str, options)))
def test_every_part_that_is_an_object(options):
    assert fits_together(VIMAETransformer(3, **{**SMALL, **options})) == (4, [])


@pytest.mark.parametrize("name", names())
def test_presets_with_perceptrons_train_together_and_others_say_why_not(name):
    options = preset(name, model=VIMAETransformer)
    options |= {"max_epochs": 1, "pretraining": 0, "n_components": 3, "random_state": 0}
    if "gan" in name:
        options |= {"divergence": "mmd"}
    shape = options["image_shape"]
    images = np.random.default_rng(0).random((8, np.prod(shape))).astype(np.float32)
    model = VIMAETransformer(**options | {"batch_size": 4})
    model.set_params(network=Convolutional(0.02) if "wae" in name else model.network)
    with pytest.warns(BatchingWarning, match="2 of the fits .* not multilayer perceptrons"):
        lam_path(model, images, [1.0, 2.0])
    model.set_params(network="mlp", hidden_layer_sizes=(8,))
    assert fits_together(model, images) == (4, [])


def test_a_sampler_of_rows_before_the_autoencoder():
    model = VIMAETransformer(3, **SMALL)
    steps = [("sample", RandomOverSampler(random_state=0)), ("model", model)]
    pipeline = SamplingPipeline([*steps, ("last", LogisticRegression(max_iter=1000))])
    search = BatchedSearchCV(pipeline, {"model__lam": [1.0, 2.0]}, cv=2)
    with warnings.catch_warnings():
        warnings.simplefilter("error", BatchingWarning)
        search.fit(X, CULTIVAR)
    assert search.n_batched_fits_ == 4
    # Without a seed it samples others every time.
    unseeded = clone(pipeline).set_params(sample=RandomOverSampler())
    search = BatchedSearchCV(unseeded, {"model__lam": [1.0, 2.0]}, cv=2)
    with pytest.warns(BatchingWarning, match="4 of the fits .* other rows every time"):
        search.fit(X[20:], CULTIVAR[20:])
    assert search.n_batched_fits_ == 0


def test_memory_of_a_pipeline_knows_an_equal_estimator(tmp_path):
    for prior in ("normal", td.Laplace(0.0, 1.0), Logistic.unit_variance()):
        times = []
        for _ in range(2):
            model = VAETransformer(3, prior=prior, likelihood=Gaussian(0.1), **SMALL)
            pipeline = make_pipeline(model, LogisticRegression(), memory=str(tmp_path))
            pipeline.fit(X, CULTIVAR)
            times.append(pipeline[0].history_[-1]["dur"])
        assert times[0] == times[1]  # the second fit is the first one, read back


def test_a_plan_is_in_no_clone_pickle_or_result_after_the_search():
    model = VIMAETransformer(3, **SMALL)
    grid = {"model": [model, clone(model).set_params(lam=3.0)]}
    search = BatchedSearchCV(Pipeline([("model", model)]), grid, cv=2, scoring=_loss).fit(X)
    assert search.n_batched_fits_ == 4
    best = search.best_estimator_
    for estimator in (best[0], clone(best)[0], model, *(p["model"] for p in grid_of(search))):
        assert "_plan" not in vars(clone(estimator))
        assert "_plan" not in estimator.__getstate__()


def grid_of(search):
    """Return the parameters of all candidates."""
    return search.cv_results_["params"]


def test_threads_leave_the_filters_of_warnings_as_they_were():
    before, model = list(warnings.filters), VIMAETransformer(3, **SMALL)
    barrier = threading.Barrier(4)

    def run(_):
        barrier.wait()
        return [fitted.lam for fitted in lam_path(model, X, [1.0, 2.0])]

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(run, range(8))) == [[1.0, 2.0]] * 8
    assert warnings.filters == before
