"""Likelihoods, posteriors and terms: settings by value, and the modules that train with them."""

import copy
import itertools
import math
import pickle
import subprocess
import sys

import joblib
import numpy as np
import pytest
import torch
from family import SMALL, X
from sklearn.base import clone
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn

from skvim import AAETransformer, VAETransformer, VIMAETransformer, objectives
from skvim.model_selection import lam_path
from skvim.objectives import (
    MMD,
    Adversarial,
    Autoencoder,
    Capacity,
    Contraction,
    DataStatistics,
    DiracPosterior,
    Divergence,
    Gaussian,
    GaussianPosterior,
    InfoNCE,
    Likelihood,
    LikelihoodModule,
    Normal,
    Objective,
    Posterior,
    SlicedWasserstein,
    Term,
)

# Every public class, with default settings and with others.
PARTS = [
    *("Bernoulli()", "Gaussian()", "Gaussian(0.1)", "Gaussian('per-feature')"),
    *("DiracPosterior()", "GaussianPosterior()", "GaussianPosterior(0.3)"),
    *("LogisticPosterior()", "LogisticPosterior(0.3)"),
    *("KL()", "KL(0.5)", "Capacity(3.0)", "Capacity(3.0, 0.25)"),
    *("MMD()", "MMD('rbf')", "MMD(widths=(0.5, 1.0))", "MMD(widths=[0.5, 1.0])"),
    *("MixtureKL()", "SlicedWasserstein()", "SlicedWasserstein(7)"),
    *("Adversarial()", "Adversarial((8,), lr=1e-4)", "Adversarial(prior_trick=True)"),
    *("DensityRatioKL()", "DensityRatioKL((8,), penalty=0.0)"),
    *("InfoNCE()", "InfoNCE(0.2)", "Contraction()", "Contraction(0.5, 0.2)"),
    *("Cells([Continuous(0), Categorical(1, (0.5, 0.5))])", "Cells([Interval(0)])"),
]


def make(part: str):
    """Return a part, made afresh."""
    return eval(part, dict(vars(objectives)))


by_part = pytest.mark.parametrize("part", PARTS)


def test_every_public_part_is_tested():
    public = [getattr(objectives, name) for name in objectives.__all__]
    settings = {
        cls
        for cls in public
        if isinstance(cls, type)
        and issubclass(cls, Likelihood | Posterior | Term)
        and not cls.__abstractmethods__
    }
    assert {type(make(part)) for part in PARTS} == settings


@by_part
def test_equal_settings_are_equal_and_hash_and_pickle_alike(part):
    one, other = make(part), make(part)
    for same in (other, copy.copy(one), copy.deepcopy(one), pickle.loads(pickle.dumps(one))):
        assert same is not one
        assert same == one
        assert hash(same) == hash(one)
        assert pickle.dumps(same) == pickle.dumps(one)
        assert joblib.hash(same) == joblib.hash(one)
    assert eval(repr(one), dict(vars(objectives))) == one


def test_different_settings_are_unequal():
    for one, other in itertools.combinations(map(make, PARTS), 2):
        assert one != other
        assert joblib.hash(one) != joblib.hash(other)
    assert len({make(part) for part in (*PARTS, *PARTS)}) == len(PARTS)


def test_hashes_are_those_of_another_process():
    script = (
        "import joblib\nfrom skvim import objectives\n"
        f"for part in {PARTS!r}:\n    print(joblib.hash(eval(part, dict(vars(objectives)))))"
    )
    printed = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
    assert printed.stdout.decode().split() == [joblib.hash(make(part)) for part in PARTS]


@by_part
def test_a_setting_changed_later_counts(part):
    one = make(part)
    for name in vars(one):
        other = make(part)
        setattr(other, name, "another")
        assert other != one
        assert joblib.hash(other) != joblib.hash(one)


@pytest.mark.parametrize("part", [part for part in PARTS if isinstance(make(part), Divergence)])
def test_a_fit_leaves_divergences_as_they_were(part):
    divergence = make(part)
    VIMAETransformer(2, posterior="gaussian", divergence=divergence, **SMALL).fit(X)
    assert divergence == make(part)


@pytest.mark.parametrize("likelihood", ["Gaussian()", "Gaussian(0.1)", "Gaussian('per-feature')"])
@pytest.mark.parametrize("posterior", ["GaussianPosterior()", "LogisticPosterior(0.3)"])
def test_a_fit_leaves_likelihoods_and_posteriors_as_they_were(likelihood, posterior):
    given = make(likelihood), make(posterior)
    model = VAETransformer(2, likelihood=given[0], posterior=given[1], **SMALL).fit(X)
    assert given == (make(likelihood), make(posterior))
    assert clone(model).fit(X).loss_curve_ == model.loss_curve_


@pytest.mark.parametrize(
    "parts",
    [
        {"likelihood": Gaussian(0.1)},
        {"divergence": SlicedWasserstein(7), "posterior": GaussianPosterior(0.3)},
    ],
    ids=["likelihood", "divergence and posterior"],
)
def test_fits_with_parts_as_objects_train_together(parts):
    model = VIMAETransformer(2, **parts, **SMALL)
    lams = [1.0, 2.0, 4.0]
    path = lam_path(model, X, lams=lams)  # warns of fits that are made one by one
    for lam, together in zip(lams, path, strict=True):
        alone = clone(model).set_params(lam=lam).fit(X)
        assert together.loss_curve_ == pytest.approx(alone.loss_curve_, rel=1e-4)


class _Scaler(StandardScaler):
    """Counts how often it is fitted."""

    n_fits = 0

    def fit(self, X, y=None, sample_weight=None):
        _Scaler.n_fits += 1
        return super().fit(X, y, sample_weight)


def test_a_pipeline_with_a_memory_fits_equal_settings_once(tmp_path):
    vim = VIMAETransformer(2, likelihood=Gaussian(0.1), divergence=MMD("rbf"), **SMALL)
    steps = [("scale", _Scaler()), ("codes", vim), ("again", StandardScaler())]
    for _ in range(2):
        Pipeline([(name, clone(step)) for name, step in steps], memory=str(tmp_path)).fit(X)
    assert _Scaler.n_fits == 1
    assert len(list(tmp_path.rglob("output.pkl"))) == 2  # one of each step but the last


# Modules.


def linear_model(likelihood: Likelihood, posterior: Posterior | None = None) -> Autoencoder:
    """Return a model of rows with three features and codes of two dimensions."""
    posterior = posterior or DiracPosterior()
    encoder, decoder = nn.Linear(3, posterior.n_outputs(2)), nn.Linear(2, 3)
    model = Autoencoder(encoder, decoder, posterior, likelihood)
    model.prepare(DataStatistics(torch.zeros(3), 1.0, -1.0, 1.0, 8))
    return model


def sizes(module: nn.Module) -> tuple[int, ...]:
    """Return the numbers of parameters, buffers and modules."""
    parts = module.parameters(), module.buffers(), module.modules()
    return tuple(len(list(part)) for part in parts)


def test_an_objective_with_two_equal_terms_trains_both():
    terms = [(1.0, Adversarial((4,))), (1.0, Adversarial((4,)))]
    assert terms[0] == terms[1]
    one, both = Objective(Normal(), terms[:1]), Objective(Normal(), terms)
    for objective in (one, both):
        objective.build(2, torch.Generator().manual_seed(0))
    count = [len(list(objective.parameters())) for objective in (one, both)]
    assert count[1] == 2 * count[0] > 0
    assert not any(module.training for module in both.eval().modules())
    model = linear_model(Gaussian())
    noise = torch.Generator().manual_seed(0)
    both(model, model(torch.ones(8, 3), noise), noise).target.backward()
    assert all(parameter.grad is not None for parameter in both.parameters())


def test_a_model_with_two_equal_networks_trains_both():
    def network():
        return nn.Sequential(nn.BatchNorm1d(2), nn.Linear(2, 2))

    model = Autoencoder(network(), network(), DiracPosterior(), Gaussian())
    model.decoder.load_state_dict(model.encoder.state_dict())
    alone, own = sizes(network()), 4  # mean, scale, offset and scale of the output
    n_parameters, n_buffers, n_modules = sizes(model)
    assert n_parameters == 2 * alone[0]
    assert n_buffers == 2 * alone[1] + own
    assert n_modules == 2 * alone[2] + 2  # the model and its likelihood
    assert not any(module.training for module in model.eval().modules())


def test_weights_have_the_names_that_files_know():
    model = AAETransformer(2, **SMALL).fit(X)
    assert {"likelihood.value", "likelihood.floor"} <= set(model.net_.module_.state_dict())
    assert "terms.0.critic.layers.0.weight" in model.net_.criterion_.state_dict()


@pytest.mark.parametrize(
    "term", [Capacity(3.0), Contraction(0.5), InfoNCE(), Adversarial((4,))], ids=repr
)
def test_a_step_of_training_leaves_settings_as_they_were(term):
    before = copy.deepcopy(term)
    model = linear_model(Gaussian(), GaussianPosterior())
    objective = Objective(Normal(), [(1.0, term)])
    noise = torch.Generator().manual_seed(0)
    objective.build(2, noise)
    objective.progress.fill_(0.3)
    objective(model, model(torch.ones(8, 3), noise), noise).target.backward()
    assert term == before


class Laplace(Likelihood):
    """Laplace likelihood whose scale is kept at the mean absolute error, its optimum."""

    def check(self):
        pass

    learns = True

    def start(self, data):
        return {"scale": data.mean.new_tensor(data.scale)}

    def observe(self, error, n_features):
        self.scale = self.scale + (error.mean() / n_features - self.scale) * 8 / self.n_rows

    def settle(self, error, n_features):
        self.scale.copy_(error.mean() / n_features)

    def output_affine(self, data):
        return data.mean, data.scale

    def error(self, x, output):
        return (x - output).abs().sum(-1)

    def log_density(self, error, n_features):
        return -error / self.scale - n_features * (2 * self.scale).log()

    def mean(self, output):
        return output

    def precision(self, output):
        return (1 / self.scale**2).expand_as(output)

    def draw(self, output, generator):
        u = torch.rand(output.shape, generator=generator, dtype=output.dtype) - 0.5
        return output - self.scale * u.sign() * torch.log1p(-2 * u.abs())


def test_a_likelihood_of_ones_own_learns_and_keeps_what_it_learned():
    rows = np.random.default_rng(0).laplace(size=(400, 3)).astype(np.float32)
    likelihood = Laplace()
    model = VAETransformer(2, likelihood=likelihood, **SMALL).fit(rows)
    assert vars(likelihood) == {}
    learned = float(model.net_.module_.likelihood.scale)
    # Codes are drawn, so that the mean of the posterior errs less.
    assert 0 < np.abs(model.reconstruct(rows) - rows).mean() < learned < 1.2


def test_tensors_that_a_likelihood_replaces_are_kept():
    module = LikelihoodModule(Laplace())
    module.prepare(DataStatistics(torch.zeros(3), 5.0, -1.0, 1.0, 16))
    x = torch.full((8, 3), 2.0)
    module(x, torch.zeros(8, 3))  # half of the rows: half of the way from 5 to 2
    assert float(module.scale) == pytest.approx(3.5)
    module.eval()(x, torch.ones(8, 3))
    assert float(module.scale) == pytest.approx(3.5)
    module.settle(Laplace().error(x, torch.ones(8, 3)), 3)
    assert float(module.scale) == pytest.approx(1.0)
    expected = 3 * (-1 - math.log(2))
    assert module(x, torch.ones(8, 3))[0].item() == pytest.approx(expected)


def test_a_divergence_without_its_critic_says_how_to_get_one():
    z = torch.ones(4, 2)
    with pytest.raises(ValueError, match=r"Adversarial needs a critic.*bound\(critic="):
        Adversarial()(objectives.Moments(z, None), z, Normal(), torch.Generator())
