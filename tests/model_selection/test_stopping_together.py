"""Models that train as one and stop at epochs of their own, beside the same models alone."""

import warnings

import numpy as np
import pytest
import torch
from family import GENERATIVE, PLAIN, normal_rows
from sklearn.base import clone

from skvim import (
    AAETransformer,
    BetaVAETransformer,
    CapacityVAETransformer,
    ContractiveAETransformer,
    InfoVAETransformer,
    VAETransformer,
    VIMAETransformer,
    WAETransformer,
)
from skvim.engine import (
    AutoencoderNet,
    Trained,
    TrainingSet,
    build_net,
    place,
    train_together,
)
from skvim.engine import _stage as stages
from skvim.engine._placement import HeldRows
from skvim.engine._trace import NotTraceableError
from skvim.exceptions import BatchingWarning, TrainingDivergedError
from skvim.model_selection import BatchedSearchCV, lam_path
from skvim.objectives import Gaussian, MixtureKL

# Two numbers of rows set aside, 9 and 10, and as many batches of the others.
FOLDS = [normal_rows(n, 6, 2, seed) for seed, n in enumerate((90, 91, 90))]
OPTIONS = {
    "hidden_layer_sizes": (16,),
    "max_epochs": 15,
    "batch_size": 40,
    "lr": 0.02,
    "random_state": 0,
    "early_stopping": True,
    "n_iter_no_change": 2,
}
ABLE = [cls for cls in (*PLAIN, *GENERATIVE) if cls is not AAETransformer]
VARIED = {
    BetaVAETransformer: [{"beta": 0.1}, {"beta": 2.0}],
    CapacityVAETransformer: [{"gamma": 1.0, "capacity": 3.0}, {"gamma": 5.0, "capacity": 2.0}],
    ContractiveAETransformer: [{"lam": 0.1, "gamma": 0.3}, {"lam": 0.4, "gamma": 0.1}],
    InfoVAETransformer: [{"alpha": 0.1}, {"alpha": 0.4, "lam": 3.0}],
    VIMAETransformer: [{"lam": 0.1}, {"lam": 30.0}],
    WAETransformer: [{"lam": 0.1}, {"lam": 30.0}],
}
CASES = [(cls, {}) for cls in ABLE]
CASES += [
    (VAETransformer, {"dropout": 0.2, "warmup": 0.5, "validation_fraction": 0.5}),
    (VAETransformer, {"normalization": "batch", "optimizer": "sgd", "lr_schedule": "cosine"}),
    (WAETransformer, {"divergence": "sliced-wasserstein", "noise": "masking"}),
    (VIMAETransformer, {"divergence": MixtureKL(), "posterior": "gaussian", "batch_size": 20}),
    (VIMAETransformer, {"likelihood": Gaussian("per-feature"), "pretraining": 5}),
    (VIMAETransformer, {"agreement": 2.0, "noise": "masking", "dropout": 0.1}),
    (VIMAETransformer, {"agreement": 1.0, "posterior": "gaussian", "validation_fraction": 0.5}),
]
pytestmark = pytest.mark.filterwarnings("ignore::skvim.exceptions.SkvimWarning")


def net_of(cls, X: np.ndarray, precision: torch.dtype, options: dict) -> AutoencoderNet:
    """Return a net that is ready to train, in a precision that the estimator does not offer."""
    model = cls(3, **{**OPTIONS, **options})
    rows, device = model._receive(X)
    net = build_net(*model._settings(device))
    net.start(torch.from_numpy(rows), device)
    net.autoencoder.to(precision)
    net.objective.to(precision)
    return net


def alone(cls, X: np.ndarray, precision: torch.dtype, options: dict) -> AutoencoderNet:
    """Return a net trained by itself."""
    net = net_of(cls, X, precision, options)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        net.train(place(X, torch.device("cpu")))
    return net


def together(cls, folds, variants, precision=torch.float32) -> list[list[Trained]]:
    """Return nets trained as one, those of a fold in the order of their settings."""
    return train_together(
        [
            TrainingSet([net_of(cls, X, precision, own) for own in variants], torch.from_numpy(X))
            for X in folds
        ]
    )


def curves(net: AutoencoderNet) -> np.ndarray:
    """Return training and validation loss and terms, an epoch a row."""
    names = [f"{part}_{name}" for part in ("train", "valid") for name in net.objective.names]
    return np.array([[epoch[name] for name in names] for epoch in net.history])


def state(net: AutoencoderNet) -> list[torch.Tensor]:
    """Return what a net has learned, and where its generators are."""
    weights = [*net.autoencoder.state_dict().values(), *net.objective.state_dict().values()]
    return weights, stages.positions(net)


def assert_same(found: AutoencoderNet, wanted: AutoencoderNet, tolerance: float) -> None:
    assert len(found.history) == len(wanted.history)
    np.testing.assert_allclose(curves(found), curves(wanted), rtol=tolerance, atol=tolerance)
    assert [set(epoch) for epoch in found.history] == [set(epoch) for epoch in wanted.history]
    assert found.n_steps_ == wanted.n_steps_
    assert found.noise_ is found.streams_.noise
    assert wanted.noise_ is wanted.streams_.noise
    weights, generators = state(found)
    for one, other in zip(weights, state(wanted)[0], strict=True):
        torch.testing.assert_close(one, other, rtol=100 * tolerance, atol=100 * tolerance)
    assert all(map(torch.equal, generators, state(wanted)[1]))


@pytest.fixture
def narrow(monkeypatch):
    """Make smaller stacks as soon as half of the models have stopped; return their sizes."""
    leads = []
    whole = stages.Stage.narrowed
    monkeypatch.setattr(stages, "_WORTHWHILE", 0)

    def narrowed(self, live):
        made = whole(self, live)
        leads.append((self.stack.lead, made.stack.lead))
        return made

    monkeypatch.setattr(stages.Stage, "narrowed", narrowed)
    return leads


@pytest.fixture
def exact(monkeypatch):
    """Let rows come in float64."""
    whole = HeldRows.batches
    monkeypatch.setattr(
        HeldRows, "batches", lambda *args: (rows.to(torch.float64) for rows in whole(*args))
    )
    return torch.float64


@pytest.mark.parametrize(
    ("cls", "options"),
    CASES,
    ids=[f"{cls.__name__}-{'-'.join(o)}-{i}" for i, (cls, o) in enumerate(CASES)],
)
@pytest.mark.numerics
def test_each_model_stops_where_it_stops_alone(cls, options, exact, request):
    if options:
        request.getfixturevalue("narrow")
    variants = [{**options, **varied} for varied in VARIED.get(cls, [{}, {}])]
    done = together(cls, FOLDS[:2], variants, exact)
    for X, of_set in zip(FOLDS, done, strict=False):
        for own, trained in zip(variants, of_set, strict=True):
            assert trained.error is None
            assert_same(trained.net, alone(cls, X, exact, own), 1e-9)


def test_models_stop_at_different_epochs_and_smaller_stacks_go_on(exact, narrow):
    """The same with twelve models, whose stack is made smaller more than once."""
    variants = [{"lam": lam, "max_epochs": 60} for lam in (0.01, 1.0, 10.0, 100.0)]
    done = together(VIMAETransformer, FOLDS, variants, exact)
    epochs = [len(trained.net.history) for of_set in done for trained in of_set]
    assert len(set(epochs)) >= 4
    assert min(epochs) < max(epochs) <= 60
    assert len(narrow) >= 2
    assert narrow[0][0] == (3, 4)
    assert all(np.prod(after) <= np.prod(before) / 2 for before, after in narrow)
    for X, of_set in zip(FOLDS, done, strict=True):
        for own, trained in zip(variants, of_set, strict=True):
            assert_same(trained.net, alone(VIMAETransformer, X, exact, own), 1e-9)


@pytest.mark.parametrize(("n_sets", "n_models"), [(1, 1), (1, 3), (3, 1), (2, 3)])
def test_any_number_of_sets_and_models_can_stop(n_sets, n_models, narrow):
    variants = [{"lam": lam, "max_epochs": 12} for lam in np.geomspace(0.1, 10, n_models)]
    done = together(VIMAETransformer, FOLDS[:n_sets], variants)
    for X, of_set in zip(FOLDS, done, strict=False):
        for own, trained in zip(variants, of_set, strict=True):
            other = alone(VIMAETransformer, X, torch.float32, own)
            assert len(trained.net.history) == len(other.history)
            np.testing.assert_allclose(curves(trained.net), curves(other), rtol=1e-4, atol=1e-5)
            known = trained.net.optimizer_.state_dict()["state"]
            for i, kept in other.optimizer_.state_dict()["state"].items():
                for name, value in kept.items():
                    torch.testing.assert_close(known[i][name], value, rtol=1e-2, atol=1e-4)


def test_nothing_depends_on_when_the_stack_is_made_smaller(exact, monkeypatch):
    variants = [{"lam": lam} for lam in (0.01, 1.0, 100.0)]
    found = []
    for worthwhile in (0, 10**9):
        monkeypatch.setattr(stages, "_WORTHWHILE", worthwhile)
        found.append(together(VIMAETransformer, FOLDS[:2], variants, exact))
    for one, other in zip(*found, strict=True):
        for a, b in zip(one, other, strict=True):
            assert_same(a.net, b.net, 1e-9)


@pytest.mark.parametrize("part", ["stacked_step", "stacked_losses"])
def test_a_stack_that_cannot_be_made_smaller_goes_on_as_it_is(part, exact, narrow, monkeypatch):
    """Whatever has been set up of the smaller one by then, and it is tried once."""
    calls, whole = [], getattr(stages, part)

    def failing(stack, *args):
        calls.append(stack.lead)
        if stack.lead != (2, 3):
            whole(stack, *args)
            raise NotTraceableError("it is not what it was.")
        return whole(stack, *args)

    monkeypatch.setattr(stages, part, failing)
    variants = [{"lam": lam, "max_epochs": 40} for lam in (0.01, 1.0, 100.0)]
    done = together(VIMAETransformer, FOLDS[:2], variants, exact)
    assert sum(lead != (2, 3) for lead in calls) == 1
    assert narrow == []
    for X, of_set in zip(FOLDS, done, strict=False):
        for own, trained in zip(variants, of_set, strict=True):
            assert_same(trained.net, alone(VIMAETransformer, X, exact, own), 1e-9)


@pytest.mark.parametrize(
    ("n_live", "n_waited", "n_epochs", "pays"),
    [
        (4, 0, 500, True),
        (5, 0, 500, False),
        (4, 99, 500, False),
        (4, 0, 5, False),
        (1, 40, 500, True),
    ],
)
def test_a_smaller_stack_has_to_pay(n_live, n_waited, n_epochs, pays):
    """Of eight models, with a patience of 100 epochs of 4 steps: 4 save 16 steps an epoch."""
    options = {"n_iter_no_change": 100, "batch_size": 25}
    nets = [net_of(VIMAETransformer, FOLDS[0], torch.float32, options) for _ in range(8)]
    for net in nets:
        net._set_training(True)
        net.watch_.n_waited = n_waited
    X = torch.from_numpy(FOLDS[0])
    stage = stages.Stage([stages.Part(nets, X, nets[0].split(len(X)))], torch.device("cpu"))
    assert stage.n_steps == 4
    assert stage.pays_to_narrow(nets[:n_live], n_epochs) is pays


def test_a_path_stops_model_by_model_as_fits_do():
    model = VIMAETransformer(3, **OPTIONS)
    path = lam_path(model, FOLDS[0], [0.1, 10.0], random_states=[0, 1])
    for of_value in path:
        for fitted in of_value:
            other = clone(fitted).fit(FOLDS[0])
            assert fitted.n_iter_ == other.n_iter_
            assert set(vars(fitted)) == set(vars(other))
            for name in ("loss_curve_", "validation_loss_curve_"):
                np.testing.assert_allclose(getattr(fitted, name), getattr(other, name), rtol=1e-4)
            assert fitted.best_validation_loss_ == min(fitted.validation_loss_curve_)
            np.testing.assert_allclose(
                fitted.transform(FOLDS[0]), other.transform(FOLDS[0]), atol=1e-3
            )


def test_a_search_stops_fit_by_fit():
    model = BetaVAETransformer(3, **OPTIONS)
    search = BatchedSearchCV(model, {"beta": [0.1, 1.0]}, cv=3).fit(FOLDS[0])
    assert search.n_batched_fits_ == 6
    assert search.best_estimator_.n_iter_ == len(search.best_estimator_.validation_loss_curve_)


@pytest.mark.parametrize(
    ("param", "values"),
    [("tol", [0.0, 0.1]), ("n_iter_no_change", [2, 4]), ("validation_fraction", [0.1, 0.2])],
)
def test_settings_that_differ_train_one_by_one_and_those_without_effect_together(param, values):
    with pytest.warns(BatchingWarning, match="2 of the fits .*no other fit is like it"):
        lam_path(VIMAETransformer(3, **OPTIONS), FOLDS[0], values, param=param)
    with warnings.catch_warnings():
        warnings.simplefilter("error", BatchingWarning)
        off = {**OPTIONS, "early_stopping": False, "max_epochs": 2}
        lam_path(VIMAETransformer(3, **off), FOLDS[0], values, param=param)


def test_a_model_that_diverges_leaves_those_that_stop_alone(narrow):
    variants = [{"beta": 0.1}, {"beta": 1e38}, {"beta": 1.0}]
    done = together(BetaVAETransformer, FOLDS[:2], variants)
    for X, (first, bad, last) in zip(FOLDS, done, strict=False):
        assert isinstance(bad.error, TrainingDivergedError)
        for own, trained in ((variants[0], first), (variants[2], last)):
            other = alone(BetaVAETransformer, X, torch.float32, own)
            assert len(trained.net.history) == len(other.history)
            np.testing.assert_allclose(curves(trained.net), curves(other), rtol=1e-3, atol=1e-4)


def test_too_few_rows_are_refused_as_a_fit_refuses_them():
    with pytest.raises(ValueError, match="validation_fraction must leave"):
        lam_path(VIMAETransformer(2, **OPTIONS), FOLDS[0][:10], [0.1, 1.0])
