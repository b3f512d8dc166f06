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
from skvim.engine import AutoencoderNet
from skvim.engine._placement import Rows, as_rows, place
from skvim.engine.batched import _group as groups
from skvim.engine.batched._rows import TrainingSet
from skvim.engine.batched._train import TrainedNet, train_batched
from skvim.engine.capture._recorder import NotTraceableError
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
    "n_steps_no_change": 0,
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


def net_of(cls, X: np.ndarray, options: dict, precision=torch.float64) -> AutoencoderNet:
    """Return a net that is ready to train, in a precision that the estimator does not offer."""
    net = cls(3, **{**OPTIONS, **options})._make_request(X).make_net()
    net.autoencoder.to(precision)
    net.objective.to(precision)
    return net


def alone(cls, X: np.ndarray, options: dict, precision=torch.float64) -> AutoencoderNet:
    """Return a net trained by itself."""
    net = net_of(cls, X, options, precision)
    net.train(place(X, torch.device("cpu")))
    return net


def together(cls, folds, variants, precision=torch.float64) -> list[list[TrainedNet]]:
    """Return nets trained as one, those of a fold in the order of their settings."""
    return train_batched(
        [
            TrainingSet([net_of(cls, X, own, precision) for own in variants], as_rows(X))
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
    return weights, groups.generator_states(net)


def assert_same(cls, folds, variants, done, tolerance=1e-9, precision=torch.float64) -> None:
    """Every net must be what it is when trained by itself."""
    for X, of_set in zip(folds, done, strict=True):
        for own, trained in zip(variants, of_set, strict=True):
            assert trained.error is None
            found, wanted = trained.net, alone(cls, X, own, precision)
            assert len(found.history) == len(wanted.history)
            np.testing.assert_allclose(
                curves(found), curves(wanted), rtol=tolerance, atol=tolerance
            )
            assert [set(epoch) for epoch in found.history] == [set(e) for e in wanted.history]
            counts = [net.history[:, "train_batch_count"] for net in (found, wanted)]
            assert counts[0] == counts[1]
            weights, generators = zip(state(found), state(wanted), strict=True)
            for one, other in zip(*weights, strict=True):
                tolerances = {"rtol": 100 * tolerance, "atol": 100 * tolerance}
                torch.testing.assert_close(one, other, **tolerances)
            assert all(map(torch.equal, *generators))


@pytest.fixture
def narrow(monkeypatch):
    """Make smaller groups as soon as half of the models have stopped; return their sizes."""
    leads = []
    whole = groups.Group.narrowed
    monkeypatch.setattr(groups, "_WORTHWHILE", 0)

    def narrowed(self, live):
        made = whole(self, live)
        leads.append((self.stack.lead, made.stack.lead))
        return made

    monkeypatch.setattr(groups.Group, "narrowed", narrowed)
    return leads


@pytest.fixture
def exact(monkeypatch):
    """Let rows come in float64."""
    whole = Rows.batches
    batches = lambda *args: (rows.to(torch.float64) for rows in whole(*args))
    monkeypatch.setattr(Rows, "batches", batches)


@pytest.mark.parametrize(
    ("cls", "options"),
    CASES,
    ids=[f"{cls.__name__}-{'-'.join(o)}-{i}" for i, (cls, o) in enumerate(CASES)],
)
@pytest.mark.numerics
@pytest.mark.usefixtures("exact")
def test_each_model_stops_where_it_stops_alone(cls, options, request):
    if options:
        request.getfixturevalue("narrow")
    variants = [{**options, **varied} for varied in VARIED.get(cls, [{}, {}])]
    assert_same(cls, FOLDS[:2], variants, together(cls, FOLDS[:2], variants))


@pytest.mark.usefixtures("exact")
def test_models_stop_at_different_epochs_and_smaller_groups_go_on(narrow):
    """The same with twelve models, whose group is made smaller more than once."""
    variants = [{"lam": lam, "max_epochs": 60} for lam in (0.01, 1.0, 10.0, 100.0)]
    done = together(VIMAETransformer, FOLDS, variants)
    epochs = [len(trained.net.history) for of_set in done for trained in of_set]
    assert len(set(epochs)) >= 4
    assert min(epochs) < max(epochs) <= 60
    assert len(narrow) >= 2
    assert narrow[0][0] == (3, 4)
    assert all(np.prod(after) <= np.prod(before) / 2 for before, after in narrow)
    assert_same(VIMAETransformer, FOLDS, variants, done)


@pytest.mark.parametrize(("n_sets", "n_models"), [(1, 1), (1, 3), (3, 1)])
@pytest.mark.usefixtures("exact")
def test_any_number_of_sets_and_models_can_stop(n_sets, n_models, narrow):
    variants = [{"lam": lam, "max_epochs": 12} for lam in np.geomspace(0.1, 10, n_models)]
    done = together(VIMAETransformer, FOLDS[:n_sets], variants)
    assert_same(VIMAETransformer, FOLDS[:n_sets], variants, done)
    other = alone(VIMAETransformer, FOLDS[0], variants[0]).optimizer_.state_dict()["state"]
    known = done[0][0].net.optimizer_.state_dict()["state"]
    for i, kept in other.items():
        for name, value in kept.items():
            torch.testing.assert_close(known[i][name], value, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("part", ["batched_step", "batched_losses"])
@pytest.mark.usefixtures("exact")
def test_a_group_that_cannot_be_made_smaller_goes_on_as_it_is(part, narrow, monkeypatch):
    """Whatever has been set up of the smaller one by then, and it is tried once."""
    calls, whole = [], getattr(groups, part)

    def failing(stack, *args):
        calls.append(stack.lead)
        if stack.lead != (2, 3):
            whole(stack, *args)
            raise NotTraceableError("it is not what it was.")
        return whole(stack, *args)

    monkeypatch.setattr(groups, part, failing)
    variants = [{"lam": lam, "max_epochs": 40} for lam in (0.01, 1.0, 100.0)]
    done = together(VIMAETransformer, FOLDS[:2], variants)
    assert sum(lead != (2, 3) for lead in calls) == 1
    assert narrow == []
    assert_same(VIMAETransformer, FOLDS[:2], variants, done)


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
    [
        ("tol", [0.0, 0.1]),
        ("n_iter_no_change", [2, 4]),
        ("n_steps_no_change", [6, 12]),
        ("validation_fraction", [0.1, 0.2]),
    ],
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
    done = together(BetaVAETransformer, FOLDS[:2], variants, torch.float32)
    assert all(isinstance(bad.error, TrainingDivergedError) for _, bad, _ in done)
    others = [[first, last] for first, _, last in done]
    assert_same(BetaVAETransformer, FOLDS[:2], variants[::2], others, 1e-3, torch.float32)


def test_too_few_rows_are_refused_as_a_fit_refuses_them():
    with pytest.raises(ValueError, match="validation_fraction must leave"):
        lam_path(VIMAETransformer(2, **OPTIONS), FOLDS[0][:10], [0.1, 1.0])
