"""Saving and loading estimators: parameters, fitted attributes and results are unchanged."""

import functools
import json
import os
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone, is_classifier
from skorch.callbacks import EpochTimer
from test_common import (
    X,
    Y,
    assert_same,
    by_autoencoder,
    by_estimator,
    fit,
    results,
    small,
)
from torch import distributions, nn

import skvim
from skvim import AETransformer, VAETransformer, VIMAETransformer, objectives
from skvim.exceptions import FileFormatError, UnsavableError
from skvim.networks import Convolutional, Perceptrons
from skvim.noise import GaussianNoise, MaskingNoise, SwapNoise
from skvim.objectives import (
    KL,
    MMD,
    Adversarial,
    Bernoulli,
    Divergence,
    Gaussian,
    Likelihood,
    Logistic,
    LogisticPosterior,
    Posterior,
    Prior,
    SlicedWasserstein,
    Term,
)
from skvim.semi_supervised import TransductiveSVC
from skvim.tables import Columns

NAMED = pd.DataFrame(X, columns=["a", "b", "c", "dé"])


@pytest.fixture
def reopen(tmp_path):
    """Return what saves an estimator and opens the file."""

    def reopen(estimator):
        skvim.save(estimator, tmp_path / "model.skvim")
        return skvim.load(tmp_path / "model.skvim", device="cpu")

    return reopen


def assert_alike(first, second):
    """Compare values of any depth, their types included."""
    assert type(first) is type(second)
    if isinstance(first, dict):
        assert list(first) == list(second)
        for key in first:
            assert_alike(first[key], second[key])
    elif isinstance(first, (list, tuple)):
        assert len(first) == len(second)
        for a, b in zip(first, second, strict=True):
            assert_alike(a, b)
    elif isinstance(first, np.ndarray):
        assert first.dtype == second.dtype
        assert first.flags.c_contiguous == second.flags.c_contiguous
        np.testing.assert_array_equal(first, second)
    elif isinstance(first, np.random.RandomState):
        assert_alike(first.get_state(), second.get_state())
    elif hasattr(first, "get_params"):
        assert_alike(first.get_params(deep=False), second.get_params(deep=False))
    else:
        assert repr(first) == repr(second)


# Every public estimator


@functools.cache
def fitted_once(cls):
    """Return a fit to a frame, shared between tests: none may change it."""
    return fit(small(cls), NAMED)


@by_estimator
def test_what_a_loaded_estimator_computes_is_the_same_to_the_last_bit(cls, reopen):
    fitted = fitted_once(cls)
    loaded = reopen(fitted)
    assert type(loaded) is cls
    for data in (NAMED, NAMED.astype(np.float32)):
        assert_same(results(fitted, data), results(loaded, data))
    if hasattr(fitted, "score"):
        labels = np.abs(Y) if is_classifier(fitted) else None
        assert fitted.score(NAMED, labels) == loaded.score(NAMED, labels)


@by_estimator
def test_parameters_and_fitted_attributes_come_back(cls, reopen):
    fitted = fitted_once(cls)
    loaded = reopen(fitted)
    assert_alike(fitted.get_params(), loaded.get_params())
    public = {key: value for key, value in vars(fitted).items() if key.endswith("_")}
    assert public.keys() == {key for key in vars(loaded) if key.endswith("_")}
    for key in public.keys() - {"net_"}:
        assert_alike(public[key], getattr(loaded, key))
    with pytest.raises(ValueError, match="feature names should match"):
        results(loaded, NAMED.rename(columns={"a": "z"}))


@by_estimator
def test_a_loaded_estimator_is_fitted_again_to_the_same(cls, reopen):
    fitted = fitted_once(cls)
    assert_same(results(fitted, NAMED), results(fit(reopen(fitted), NAMED), NAMED))


@by_estimator
def test_an_estimator_that_is_not_fitted_comes_back_not_fitted(cls, reopen):
    loaded = reopen(small(cls))
    assert vars(loaded).keys() == vars(small(cls)).keys()
    assert_alike(small(cls).get_params(), loaded.get_params())


@by_estimator
def test_a_file_is_written_by_the_method_too_and_twice_the_same(cls, tmp_path):
    fitted_once(cls).save(tmp_path / "a.skvim")
    skvim.load(str(tmp_path / "a.skvim")).save(str(tmp_path / "b.skvim"))
    assert (tmp_path / "a.skvim").read_bytes() == (tmp_path / "b.skvim").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.skvim", "b.skvim"]


@pytest.mark.parametrize("cls", [AETransformer, GaussianNoise])
def test_the_configuration_of_output_comes_back(cls, reopen):
    loaded = reopen(small(cls).set_output(transform="pandas").fit(NAMED))
    frame = loaded.transform(NAMED)
    assert list(frame.columns) == list(loaded.get_feature_names_out())
    assert (frame.index == NAMED.index).all()


def test_a_random_state_that_advances_comes_back_where_it_stood(reopen):
    noise = GaussianNoise(random_state=np.random.RandomState(3)).fit(X)
    noise.transform(X)
    loaded = reopen(noise)
    assert_same([noise.transform(X)], [loaded.transform(X)])


# Parameters that are objects


def vim(**parameters):
    return small(VIMAETransformer, **{"max_epochs": 1} | parameters)


OBJECTS = {
    "prior": lambda: vim(prior=Logistic.unit_variance()),
    "posterior": lambda: vim(posterior=LogisticPosterior(0.3)),
    "drawn codes": lambda: vim(posterior="gaussian", output="sample"),
    "fixed variance": lambda: vim(likelihood=Gaussian(variance=2.5)),
    "variance of each feature": lambda: vim(likelihood=Gaussian("per-feature")),
    "MMD": lambda: vim(divergence=MMD("rbf", (0.5, 2.0))),
    "sliced": lambda: vim(divergence=SlicedWasserstein(7)),
    "critic": lambda: vim(divergence=Adversarial((4,), lr=1e-3, penalty=1.0)),
    "warm-up": lambda: small(VAETransformer, max_epochs=2, warmup=0.5, posterior="logistic"),
    "layers": lambda: vim(hidden_layer_sizes=[5, 4], normalization="batch", dropout=0.2),
    "architecture": lambda: vim(network=Perceptrons((6,), "tanh", "layer", 0.1)),
    "noise": lambda: vim(noise=MaskingNoise(0.1, random_state=1)),
    "groups": lambda: vim(noise=SwapNoise(0.1, groups=(0, 0, 1, 2))),
    "named noise": lambda: vim(noise="gaussian"),
    "optimizer": lambda: vim(optimizer=torch.optim.RMSprop, net_params={"optimizer__eps": 1e-7}),
    "schedule": lambda: vim(lr_schedule="cosine", pretraining=3, precision="bfloat16"),
    "numbers of NumPy": lambda: vim(
        n_components=np.int64(2), lam=np.float32(3), lr=np.float64(0.01)
    ),
    "seed": lambda: vim(random_state=np.random.RandomState(3)),
    "kernel": lambda: TransductiveSVC(
        kernel="poly", degree=2, coef0=1.0, class_prior=[0.5, 0.5], safe=False
    ),
    "linear": lambda: TransductiveSVC(
        kernel="linear", class_prior=np.array([0.4, 0.6]), safe=False
    ),
    "landmarks": lambda: TransductiveSVC(n_components=20, random_state=0, safe=False),
    "probabilities": lambda: TransductiveSVC(
        probability=True, solver="switching", class_prior="free", random_state=0, safe=False
    ),
}


@pytest.mark.parametrize("name", OBJECTS)
def test_parameters_that_are_objects_come_back(name, reopen):
    fitted = fit(OBJECTS[name]())
    loaded = reopen(fitted)
    assert_same(results(fitted), results(loaded))
    assert_alike(fitted.get_params(), loaded.get_params())
    if not isinstance(fitted.get_params().get("random_state"), np.random.RandomState):
        assert_same(results(fitted), results(fit(clone(loaded))))


DISTRIBUTIONS = {
    "Laplace": lambda: distributions.Laplace(0.5, 2.0),
    "StudentT": lambda: distributions.StudentT(5.0, validate_args=False),
    "each its own": lambda: distributions.Normal(torch.zeros(2), torch.tensor([1.0, 2.0])),
    "independent": lambda: distributions.Independent(
        distributions.Laplace(torch.zeros(2).double(), torch.ones(2).double()), 1
    ),
    "Weibull": lambda: distributions.Weibull(2.0, 3.0),
    "LogNormal": lambda: distributions.LogNormal(0.0, 0.3),
    "Exponential": lambda: distributions.Exponential(2.0),
    "Uniform": lambda: distributions.Uniform(-1.0, 1.0),
    "logistic by transforms": lambda: objectives.Factorised(
        distributions.TransformedDistribution(
            distributions.Uniform(0.0, 1.0),
            [
                distributions.SigmoidTransform().inv,
                distributions.AffineTransform(0.0, torch.tensor(0.7)),
            ],
        )
    ),
}


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_distributions_of_torch_come_back(name, reopen):
    fitted = fit(vim(prior=DISTRIBUTIONS[name]()))
    loaded = reopen(fitted)
    assert_same(results(fitted), results(loaded))
    assert repr(loaded.prior) == repr(fitted.prior)
    assert_same(results(fitted), results(fit(clone(loaded))))
    again = reopen(loaded)
    z = torch.linspace(0.1, 0.9, 10).reshape(5, 2)
    assert torch.equal(fitted.prior_.log_density(z), again.prior_.log_density(z))


# They have no quantile function, and so are no priors to fit with.
MIXTURES = {
    "mixture": lambda: distributions.MixtureSameFamily(
        distributions.Categorical(torch.tensor([0.1, 0.2, 0.3])),
        distributions.Normal(torch.tensor([-2.0, 0.0, 2.0]), torch.tensor(0.7)),
    ),
    "logits": lambda: distributions.MixtureSameFamily(
        distributions.Categorical(logits=torch.tensor([0.1, 0.7])),
        distributions.Normal(torch.tensor([-2.0, 2.0]), torch.tensor(0.7)),
    ),
}


@pytest.mark.parametrize("name", MIXTURES)
def test_mixtures_come_back_in_models_that_are_not_fitted(name, reopen):
    mixture = MIXTURES[name]()
    loaded = reopen(vim(prior=mixture)).prior
    assert objectives.Factorised(loaded) == objectives.Factorised(mixture)


def test_images_come_back_in_their_layout(reopen):
    images = np.random.default_rng(0).integers(0, 2, size=(20, 8, 8), dtype=np.uint8)
    model = vim(network=Convolutional(0.03), likelihood=Bernoulli()).fit(images)
    loaded = reopen(model)
    assert loaded.reconstruct(images).shape == images.shape
    assert_same(results(model, images), results(loaded, images))


def test_a_model_whose_parameters_changed_after_fit_computes_as_before(reopen):
    fitted = fit(vim())
    expected = results(fitted)
    changed = {"n_components": 5, "prior": "logistic", "likelihood": "bernoulli", "lam": 1}
    loaded = reopen(fitted.set_params(**changed))
    assert_same(expected, results(loaded))
    assert {name: loaded.get_params()[name] for name in changed} == changed


def concrete(base):
    """Return skvim's own public classes of a kind."""
    members = [getattr(objectives, name) for name in objectives.__all__]
    return [m for m in members if isinstance(m, type) and issubclass(m, base) and m is not base]


PARTS = [cls for base in (Prior, Posterior, Likelihood, Term) for cls in concrete(base)]
PARTS = [cls for cls in PARTS if cls.__abstractmethods__ == frozenset()]
ARGUMENTS = {
    "Capacity": (3.0, 0.25),
    "Categorical": (1, (0.25, 0.75)),
    "Cells": ([objectives.Interval(0)],),
    "Continuous": (2,),
    "Factorised": (distributions.Cauchy(0.0, 1.0),),
    "Interval": (3,),
    "KL": (0.5,),
    "Value": (4,),
}


@pytest.mark.parametrize(
    "cls", [*PARTS, Convolutional, Perceptrons, Columns], ids=lambda cls: cls.__name__
)
def test_every_public_part_comes_back(cls, reopen):
    part = cls(*ARGUMENTS.get(cls.__name__, ()))
    # Unfitted, any parameter takes it.
    loaded = reopen(vim(divergence=part)).divergence
    assert type(loaded) is cls
    if cls is not objectives.DiracPosterior:  # it has no setting to show
        assert repr(loaded) == repr(part)
    if cls is KL:
        assert loaded.weight_warmup == 0.5


# Code of the user's


class Own(Divergence):
    def check(self, posterior, prior):
        pass

    def forward(self, q, z, prior, generator):
        return z.square().mean()


class Deaf:
    def corrupt(self, batch, generator):
        return batch


def altered():
    divergence = MMD()
    divergence.note = "mine"
    return divergence


UNSAVABLE = {
    "module": (lambda: vim(network=(nn.Linear, nn.Linear)), r"parameters.network\[0\]"),
    "divergence": (lambda: vim(divergence=Own()), r"parameters\.divergence is Own\(\)"),
    "altered part": (lambda: vim(divergence=altered()), r"parameters\.divergence is MMD"),
    "noise": (lambda: vim(noise=Deaf()), r"parameters\.noise is <.*Deaf"),
    "schedule": (lambda: vim(lr_schedule=lambda t: 1.0), r"parameters\.lr_schedule is <function"),
    "optimizer": (
        lambda: vim(optimizer=type("Sgd", (torch.optim.SGD,), {})),
        "optimizer is <class",
    ),
    "kernel": (lambda: TransductiveSVC(kernel=np.dot, safe=False), r"parameters\.kernel is <"),
    "prior": (
        lambda: vim(prior=type("Mine", (distributions.Normal,), {})(0.0, 1.0)),
        r"parameters\.prior is Mine",
    ),
    "covariance": (
        lambda: vim(prior=distributions.MultivariateNormal(torch.zeros(2), torch.eye(2))),
        r"parameters\.prior is MultivariateNormal(.|\n)*do not give its arguments",
    ),
    "two names of one parameter": (
        lambda: vim(prior=distributions.RelaxedBernoulli(torch.tensor(1.0), torch.tensor(0.5))),
        r"parameters\.prior is RelaxedBernoulli(.|\n)*do not give its arguments",
    ),
    "stacked transforms": (
        lambda: vim(
            prior=distributions.TransformedDistribution(
                distributions.Normal(torch.zeros(2), 1.0),
                distributions.StackTransform([distributions.ExpTransform()] * 2),
            )
        ),
        r"parameters\.prior\.transforms\[0\] is StackTransform(.|\n)*do not give its arguments",
    ),
    "another generator": (
        lambda: GaussianNoise(random_state=np.random.RandomState(np.random.PCG64())),
        r"parameters\.random_state is RandomState\(PCG64\)",
    ),
}


@pytest.mark.parametrize("name", UNSAVABLE)
def test_code_of_the_users_is_refused_by_its_name(name, tmp_path):
    make, message = UNSAVABLE[name]
    with pytest.raises(UnsavableError, match=rf"cannot be saved: .*{message}(.|\n)*[Pp]ickle"):
        make().save(tmp_path / "model.skvim")
    assert list(tmp_path.iterdir()) == []


def test_code_that_only_the_fitted_model_has_is_refused(tmp_path):
    fitted = fit(vim(divergence=Own())).set_params(divergence="mmd")
    with pytest.raises(UnsavableError, match=r"state\.net_\.model\.terms\[0\]\[1\] is Own"):
        fitted.save(tmp_path / "model.skvim")


def test_callbacks_are_refused_until_they_are_taken_away(reopen):
    fitted = fit(vim(callbacks=[EpochTimer()]))
    with pytest.raises(UnsavableError, match=r"parameters\.callbacks\[0\] is <skorch"):
        reopen(fitted)
    loaded = reopen(fitted.set_params(callbacks=None))
    assert_same(results(fitted), results(loaded))


@pytest.mark.parametrize("thing", [None, "model", X, nn.Linear(2, 2), VAETransformer])
def test_what_is_no_estimator_is_refused(thing, tmp_path):
    with pytest.raises(UnsavableError, match="save takes an estimator"):
        skvim.save(thing, tmp_path / "model.skvim")


# What the file is


def test_other_programs_can_read_weights_and_settings(tmp_path):
    from safetensors import safe_open

    fitted = fit(vim(), NAMED)
    fitted.save(tmp_path / "model.skvim")
    with safe_open(tmp_path / "model.skvim", framework="np") as file:
        weight = file.get_tensor("VIMAETransformer.state.net_.weights.encoder.layers.0.weight")
        metadata = file.metadata()
    document = json.loads(metadata["skvim"])
    np.testing.assert_array_equal(
        weight, fitted.net_.module_.encoder.layers[0].weight.detach().numpy()
    )
    assert metadata["format_version"] == "1"
    assert document["versions"]["skvim"] == skvim.__version__
    assert document["versions"].keys() == {"skvim", "torch", "scikit-learn", "numpy"}
    model = document["model"]["$estimator"]
    assert model["class"] == "skvim.VIMAETransformer"
    assert model["parameters"]["max_epochs"] == 1
    assert model["state"]["feature_names_in_"]["$array"]["items"] == list(NAMED.columns)
    losses = [epoch["train_loss"] for epoch in model["state"]["net_"]["history"]]
    assert losses == fitted.loss_curve_


def test_loading_touches_no_global_generator(reopen):
    fitted = fitted_once(VIMAETransformer)
    before = torch.get_rng_state(), np.random.get_state()[2]  # noqa: NPY002
    reopen(fitted)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.random.get_state()[2] == before[1]  # noqa: NPY002


@pytest.mark.parametrize("device", ["cuda:99", "abacus"])
def test_a_device_that_cannot_be_used_is_no_fault_of_the_file(device, tmp_path):
    fit(small(AETransformer)).save(tmp_path / "model.skvim")
    with pytest.raises(ValueError, match="device must be 'auto', 'cpu' or a device") as caught:
        skvim.load(tmp_path / "model.skvim", device=device)
    assert not isinstance(caught.value, FileFormatError)


@pytest.mark.gpu
@by_autoencoder
def test_a_model_trained_on_a_gpu_opens_without_one(cls, tmp_path):
    fitted = fit(small(cls, device="cuda"))
    fitted.save(tmp_path / "model.skvim")
    on_cpu = skvim.load(tmp_path / "model.skvim", device="cpu")
    on_gpu = skvim.load(tmp_path / "model.skvim")
    assert on_cpu.device_.type == "cpu"
    assert on_gpu.device_.type == "cuda"
    assert_same(results(fitted), results(on_gpu))
    np.testing.assert_allclose(on_cpu.transform(X), fitted.transform(X), rtol=1e-6, atol=1e-9)
    script = "import sys, skvim; print(skvim.load(sys.argv[1]).device_)"
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "model.skvim")],
        env={**os.environ, "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "cpu"
