"""lam_path and batched training: equal to single fits."""

import pickle
import threading
import warnings

import numpy as np
import pytest
import sklearn
import torch
from family import normal_rows
from sklearn.base import clone
from skorch.callbacks import Callback
from torch import nn

import skvim
from skvim import (
    AAETransformer,
    AETransformer,
    BetaVAETransformer,
    CapacityVAETransformer,
    ContractiveAETransformer,
    DenoisingAETransformer,
    InfoVAETransformer,
    UncertaintyAETransformer,
    VAETransformer,
    VIMAETransformer,
    WAETransformer,
)
from skvim.engine import AutoencoderNet
from skvim.engine._build import build_net
from skvim.engine._placement import Rows, as_rows, place
from skvim.engine._statistics import data_statistics
from skvim.engine.batched._rows import TrainingSet
from skvim.engine.batched._train import train_batched
from skvim.exceptions import BatchingWarning, PosteriorCollapseWarning, TrainingDivergedError
from skvim.model_selection import lam_path
from skvim.objectives import Gaussian, MixtureKL

# Numbers of rows with remainders; two folds of one size.
FOLDS = [normal_rows(n, 6, 2, seed) for seed, n in enumerate((90, 91, 90))]
OPTIONS = {"hidden_layer_sizes": (16,), "max_epochs": 3, "batch_size": 40, "random_state": 0}
# Parameters in which the models of a batch differ.
VARIED = {
    BetaVAETransformer: [{"beta": 0.1}, {"beta": 2.0}],
    CapacityVAETransformer: [{"gamma": 1.0, "capacity": 3.0}, {"gamma": 5.0, "capacity": 2.0}],
    ContractiveAETransformer: [{"lam": 0.1, "gamma": 0.3}, {"lam": 0.4, "gamma": 0.1}],
    InfoVAETransformer: [{"alpha": 0.1}, {"alpha": 0.4, "lam": 3.0}],
    VIMAETransformer: [{"lam": 0.1}, {"lam": 30.0}],
    WAETransformer: [{"lam": 0.1}, {"lam": 30.0}],
}
# Every model, those with a prior under both, and every option of training with one of them.
CASES = [
    (AETransformer, {"normalization": "batch", "optimizer": "sgd", "lr_schedule": "cosine"}),
    (ContractiveAETransformer, {}),
    (DenoisingAETransformer, {"normalization": "layer", "noise": "swap"}),
    (UncertaintyAETransformer, {}),
    (VAETransformer, {"dropout": 0.2, "warmup": 0.5}),
    (VAETransformer, {"prior": "logistic", "normalization": "batch"}),
    (BetaVAETransformer, {}),
    (BetaVAETransformer, {"prior": "logistic", "posterior": "logistic"}),
    (CapacityVAETransformer, {"optimizer": "adamw"}),
    (CapacityVAETransformer, {"prior": "logistic"}),
    (InfoVAETransformer, {}),
    (InfoVAETransformer, {"prior": "logistic"}),
    (VIMAETransformer, {"divergence": MixtureKL(), "posterior": "gaussian", "pretraining": 5}),
    (VIMAETransformer, {"prior": "logistic", "likelihood": Gaussian("per-feature")}),
    (WAETransformer, {"divergence": "sliced-wasserstein", "noise": "masking"}),
    (WAETransformer, {"prior": "logistic", "likelihood": Gaussian(2.0)}),
]
# In the precision that fits have.
IN_FLOAT32 = [CASES[0], CASES[4], CASES[13]]


def net_of(cls, X: np.ndarray, precision: torch.dtype, options: dict) -> AutoencoderNet:
    """Return a prepared net with weights of any precision."""
    model = cls(3, **OPTIONS, **options)
    request = model._make_request(X)
    device = request.training.device
    net = build_net(request.model, request.training)
    net.prepare(data_statistics(as_rows(request.rows), device), device)
    net.autoencoder.to(precision)
    net.objective.to(precision)
    return net


def term_curves(net: AutoencoderNet) -> np.ndarray:
    """Return loss and terms of every epoch as a row."""
    return np.array([[e[f"train_{name}"] for name in net.objective.names] for e in net.history])


def generator_states(net: AutoencoderNet) -> list[torch.Tensor]:
    """Return the states of all random generators of a net."""
    layers = [m for m in net.autoencoder.modules() if hasattr(m, "stream")]
    generators = [net.streams_.shuffle, net.streams_.noise]
    generators += [layer.stream.on(torch.device("cpu")) for layer in layers]
    return [generator.get_state() for generator in generators]


@pytest.mark.parametrize(
    ("cls", "options", "precision"),
    [(*case, torch.float64) for case in CASES] + [(*case, torch.float32) for case in IN_FLOAT32],
)
@pytest.mark.numerics
def test_batched_training_equals_single_training(cls, options, precision, monkeypatch):
    in_float32 = Rows.batches
    monkeypatch.setattr(
        Rows, "batches", lambda *args: (rows.to(precision) for rows in in_float32(*args))
    )
    variants = [{**options, **varied} for varied in VARIED.get(cls, [{}, {}])]
    exact = precision == torch.float64
    folds = FOLDS if exact else [X[:80] for X in FOLDS[::2]]  # all batches of one size
    sets = [
        TrainingSet([net_of(cls, X, precision, own) for own in variants], torch.from_numpy(X))
        for X in folds
    ]
    tolerance = 1e-9 if exact else 1e-4
    for X, of_set in zip(folds, train_batched(sets), strict=True):
        for own, trained in zip(variants, of_set, strict=True):
            alone = net_of(cls, X, precision, own)
            alone.train(place(X, torch.device("cpu")))
            expected, curves = term_curves(alone), term_curves(trained.net)
            np.testing.assert_allclose(curves[:, 0], expected[:, 0], rtol=tolerance)
            np.testing.assert_allclose(curves, expected, rtol=tolerance, atol=tolerance)
            assert all(map(torch.equal, generator_states(trained.net), generator_states(alone)))
            assert [set(epoch) for epoch in trained.net.history] == [set(e) for e in alone.history]


@pytest.mark.parametrize(("n_sets", "n_models"), [(1, 1), (1, 3), (3, 1)])
def test_batches_of_any_number_of_sets_and_models(n_sets, n_models):
    lams = [{"lam": lam} for lam in np.geomspace(0.1, 10, n_models)]
    sets = [
        TrainingSet(
            [net_of(VIMAETransformer, X, torch.float32, own) for own in lams], torch.from_numpy(X)
        )
        for X in FOLDS[:n_sets]
    ]
    for X, of_set in zip(FOLDS, train_batched(sets), strict=False):
        for own, trained in zip(lams, of_set, strict=True):
            alone = net_of(VIMAETransformer, X, torch.float32, own)
            alone.train(place(X, torch.device("cpu")))
            np.testing.assert_allclose(term_curves(trained.net), term_curves(alone), rtol=1e-4)
            batched_state = trained.net.optimizer_.state_dict()["state"]
            for i, state in alone.optimizer_.state_dict()["state"].items():
                for name, value in state.items():
                    torch.testing.assert_close(batched_state[i][name], value, rtol=1e-3, atol=1e-5)


@pytest.fixture(scope="module")
def path():
    model = VIMAETransformer(3, **OPTIONS)
    return lam_path(model, FOLDS[0], [0.1, 1.0, 10.0], random_states=[0, 1])


def test_estimators_of_a_path_equal_single_fits_and_can_be_saved(path, tmp_path):
    X = FOLDS[0]
    for lam, of_value in zip([0.1, 1.0, 10.0], path, strict=True):
        for seed, model in enumerate(of_value):
            assert (model.lam, model.random_state) == (lam, seed)
            alone = clone(model).fit(X)
            np.testing.assert_allclose(model.loss_curve_, alone.loss_curve_, rtol=1e-4)
            np.testing.assert_allclose(model.transform(X), alone.transform(X), atol=1e-3)
            assert set(vars(model)) == set(vars(alone))
            assert model.score(X) == pytest.approx(alone.score(X), rel=1e-3)
            assert model.n_iter_ == OPTIONS["max_epochs"]
    model = path[1][1]
    model.save(tmp_path / "model")
    for copy in (pickle.loads(pickle.dumps(model)), skvim.load(tmp_path / "model")):
        np.testing.assert_array_equal(copy.transform(X), model.transform(X))
        np.testing.assert_array_equal(
            copy.sample(3, random_state=0), model.sample(3, random_state=0)
        )


def test_models_of_a_path_share_no_memory(path):
    one, other = path[0][0], path[0][1]
    sizes = {
        p.untyped_storage().nbytes() / p.element_size() / p.numel()
        for p in one.net_.module_.parameters()
    }
    assert sizes == {1}
    with torch.no_grad():
        for parameter in clone(one).fit(FOLDS[0]).net_.module_.parameters():
            parameter.zero_()
    assert not np.allclose(one.transform(FOLDS[0]), other.transform(FOLDS[0]))


def test_paths_over_seeds_and_over_capacities():
    seeds = lam_path(VAETransformer(3, **OPTIONS), FOLDS[0], range(3), param="random_state")
    assert len({model.loss_curve_[-1] for model in seeds}) == 3
    capacities = lam_path(
        CapacityVAETransformer(3, **OPTIONS), FOLDS[0], [1.0, 5.0], param="capacity"
    )
    assert [model.capacity for model in capacities] == [1.0, 5.0]


def test_global_generators_stay_unchanged():
    torch.manual_seed(7)
    before = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    lam_path(VIMAETransformer(3, dropout=0.1, **OPTIONS), FOLDS[0], [0.1, 1.0])
    assert torch.equal(torch.get_rng_state(), before[0])
    np.testing.assert_array_equal(np.random.get_state()[1], before[1])  # noqa: NPY002


class _Locked:
    """Schedule that cannot be compared by value."""

    def __init__(self):
        self.lock = threading.Lock()

    def __call__(self, share):
        return 1.0

    def __deepcopy__(self, memo):
        return _Locked()


class _Pair(nn.Linear):
    """Module that is not of skvim."""


@pytest.mark.parametrize(
    ("model", "param", "values", "reason"),
    [
        (AAETransformer(3, **OPTIONS), "lam", [0.1, 1.0], "has a critic"),
        (VIMAETransformer(3, network=(_Pair, _Pair), **OPTIONS), "lam", [0.1, 1.0], "perceptrons"),
        (VIMAETransformer(3, callbacks=[Callback()], **OPTIONS), "lam", [0.1, 1.0], "callbacks"),
        (VIMAETransformer(3, acceleration=None, **OPTIONS), "lam", [0.1, 1.0], "acceleration"),
        (VIMAETransformer(3, precision="bfloat16", **OPTIONS), "lam", [0.1, 1.0], "float32"),
        (VIMAETransformer(3, lr_schedule=_Locked(), **OPTIONS), "lam", [0.1, 1.0], "compared"),
        (VIMAETransformer(3, **OPTIONS), "hidden_layer_sizes", [(8,), (16,)], "no other fit"),
        (
            VIMAETransformer(3, **{**OPTIONS, "optimizer": torch.optim.RAdam}),
            "lam",
            [0.1, 1.0],
            "optimizer",
        ),
        (
            VIMAETransformer(3, **{**OPTIONS, "hidden_layer_sizes": (1000, 1000), "max_epochs": 1}),
            "lam",
            [0.1, 1.0],
            "take long",
        ),
    ],
)
def test_fits_that_cannot_be_batched_are_reported_with_the_reason(model, param, values, reason):
    with pytest.warns(BatchingWarning, match=rf"2 of the fits were made one by one: .*{reason}"):
        models = lam_path(model, FOLDS[0], values, param=param)
    for fitted in models:
        alone = clone(fitted).fit(FOLDS[0])
        assert fitted.loss_curve_ == pytest.approx(alone.loss_curve_)


def test_batches_fit_the_working_memory(monkeypatch):
    sizes = []
    monkeypatch.setattr(
        "skvim.engine.batched._plan.train_batched",
        lambda sets, *rest: sizes.append([len(s.nets) for s in sets]) or train_batched(sets, *rest),
    )
    model = VIMAETransformer(3, **OPTIONS)
    whole = lam_path(model, FOLDS[0], [0.1, 1.0, 10.0, 100.0])
    with sklearn.config_context(working_memory=0.5):  # three have room
        parts = lam_path(model, FOLDS[0], [0.1, 1.0, 10.0, 100.0])
    assert sizes == [[4], [2], [2]]
    for one, other in zip(whole, parts, strict=True):
        np.testing.assert_allclose(one.loss_curve_, other.loss_curve_, rtol=1e-4)


def test_a_model_that_diverges_does_not_change_the_others():
    model = BetaVAETransformer(3, **OPTIONS)
    nets = [net_of(BetaVAETransformer, FOLDS[0], torch.float32, {"beta": b}) for b in (1.0, 1e38)]
    good, bad = train_batched([TrainingSet(nets, torch.from_numpy(FOLDS[0]))])[0]
    assert isinstance(bad.error, TrainingDivergedError)
    assert good.error is None
    alone = clone(model).set_params(beta=1.0).fit(FOLDS[0])
    np.testing.assert_allclose(term_curves(good.net)[:, 0], alone.loss_curve_, rtol=1e-4)
    with pytest.raises(TrainingDivergedError, match="not finite"):
        lam_path(model, FOLDS[0], [1.0, 1e38], param="beta")


def test_warnings_are_given_for_each_model():
    model = BetaVAETransformer(3, **{**OPTIONS, "max_epochs": 60})
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        lam_path(model, FOLDS[0], [0.01, 100.0], param="beta")
    assert [w.category for w in caught] == [PosteriorCollapseWarning]


def test_invalid_arguments_raise_errors():
    with pytest.raises(TypeError, match="autoencoders"):
        lam_path("vim", FOLDS[0], [1.0])
    with pytest.raises(ValueError, match="at least one value"):
        lam_path(VIMAETransformer(), FOLDS[0], [])
    with pytest.raises(ValueError, match="Invalid parameter"):
        lam_path(VIMAETransformer(), FOLDS[0], [1.0], param="mu")
    with pytest.raises(ValueError, match="lam"):
        lam_path(VIMAETransformer(3, **OPTIONS), FOLDS[0], [1.0, -1.0])


def test_a_random_state_object_is_copied_for_each_fit():
    model = VIMAETransformer(3, **{**OPTIONS, "random_state": np.random.RandomState(3)})
    path = lam_path(model, FOLDS[0], [0.1, 1.0])
    for fitted, lam in zip(path, [0.1, 1.0], strict=True):
        alone = clone(model).set_params(lam=lam).fit(FOLDS[0])
        np.testing.assert_allclose(fitted.loss_curve_, alone.loss_curve_, rtol=1e-4)
