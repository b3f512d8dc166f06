"""The training loop: batches, random streams, callbacks, history, precision."""

import pickle

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import r2_score
from skorch.callbacks import (
    Callback,
    Checkpoint,
    EpochScoring,
    LRScheduler,
    PassthroughScoring,
    TrainEndCheckpoint,
)
from skorch.dataset import Dataset, ValidSplit
from skorch.helper import predefined_split

from skvim import AETransformer, VAETransformer, VIMAETransformer
from skvim.engine import child_seed, resolve_device
from skvim.engine._batches import TensorBatches, batch_bounds
from skvim.engine._placement import place
from skvim.engine._statistics import data_statistics
from skvim.engine._streams import Streams
from skvim.exceptions import SkvimError, StopTraining, TrainingDivergedError
from skvim.objectives import Adversarial, Divergence, Gaussian

SMALL = {"hidden_layer_sizes": (8,), "max_epochs": 3, "random_state": 0}


def rows(n: int = 50, d: int = 5, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, d)).astype(np.float32)


@given(st.integers(1, 400), st.integers(1, 130))
def test_batches_cover_all_rows_and_none_has_one_row(n_rows, batch_size):
    bounds = batch_bounds(n_rows, batch_size, 1)
    sizes = [stop - start for start, stop in bounds]
    assert [start for start, _ in bounds] == [0, *np.cumsum(sizes)[:-1]]
    assert sum(sizes) == n_rows
    assert max(sizes) <= batch_size + 1
    if batch_size > 1 and n_rows > 1:
        assert min(sizes) > 1


def test_batches_are_shuffled_anew_by_their_generator():
    x = torch.arange(40.0).reshape(20, 2)
    stored = place(x, torch.device("cpu"))
    batches = TensorBatches(stored, 7, 1, torch.Generator().manual_seed(0))
    passes = [torch.cat([batch for batch, _ in batches]) for _ in range(2)]
    assert not torch.equal(passes[0], passes[1])
    for shuffled in passes:
        assert torch.equal(shuffled[shuffled[:, 0].argsort()], x)
    in_order = torch.cat([batch for batch, _ in TensorBatches(stored, 7, 1, None)])
    assert torch.equal(in_order, x)


def test_streams_differ_by_purpose_and_continue_after_pickling():
    streams = Streams(3, torch.device("cpu"))
    first = torch.rand(4, generator=streams.shuffle)
    assert not torch.equal(first, torch.rand(4, generator=streams.noise))
    copied = pickle.loads(pickle.dumps(streams))
    for name in ("shuffle", "noise"):
        expected = torch.rand(4, generator=getattr(streams, name))
        assert torch.equal(torch.rand(4, generator=getattr(copied, name)), expected)
    assert child_seed(3, "a") != child_seed(3, "b") != child_seed(4, "b")


class Recorder(Callback):
    """Keep the name and arguments of every hook that is called."""

    def __init__(self):
        self.calls = []

    def _note(self, hook, net, **kwargs):
        self.calls.append((hook, kwargs))

    def __getattribute__(self, name):
        if name.startswith("on_"):
            note = super().__getattribute__("_note")
            return lambda net, *args, **kwargs: note(name, net, **kwargs)
        return super().__getattribute__(name)

    def on_batch_begin(self, net, **kwargs): ...

    def on_batch_end(self, net, **kwargs): ...

    def on_grad_computed(self, net, named_parameters, **kwargs): ...


def test_a_callback_sees_every_hook_with_its_losses():
    recorder = Recorder()
    model = VAETransformer(2, callbacks=[recorder], batch_size=20, **SMALL).fit(rows())
    hooks = [hook for hook, _ in recorder.calls]
    batch = ["on_batch_begin", "on_grad_computed", "on_batch_end"]
    epoch = ["on_epoch_begin", *(3 * batch), "on_epoch_end"]
    assert hooks == ["on_train_begin", *(3 * epoch), "on_train_end"]
    losses = [float(kwargs["loss"]) for hook, kwargs in recorder.calls if hook == "on_batch_end"]
    recorded = model.net_.history[:, "batches", :, "train_loss"]
    assert losses == pytest.approx(np.ravel(recorded))
    means = np.average(np.reshape(losses, (3, 3)), axis=1, weights=[20, 20, 10])
    assert model.loss_curve_ == pytest.approx(means, rel=1e-5)
    unwatched = VAETransformer(2, batch_size=20, **SMALL).fit(rows())
    np.testing.assert_array_equal(unwatched.transform(rows()), model.transform(rows()))


def test_history_holds_every_term_and_the_loss_is_their_weighted_sum():
    model = VIMAETransformer(2, lam=7.0, **SMALL).fit(rows())
    assert model.n_iter_ == len(model.history_) == 3
    for epoch in model.history_:
        total = epoch["train_distortion"] + 7.0 * epoch["train_mmd"]
        assert epoch["train_loss"] == pytest.approx(total, rel=1e-5)
        assert epoch["dur"] > 0
    assert model.net_.history is model.history_


def test_scoring_callbacks_of_skorch_work():
    def rate(net, X, y):
        return len(X)

    callbacks = [
        EpochScoring(rate, name="rows", on_train=True),
        PassthroughScoring(name="train_loss_again", on_train=True),
    ]
    callbacks[1].set_params(name="train_loss")
    model = VAETransformer(2, callbacks=callbacks, **SMALL).fit(rows())
    assert model.history_[:, "rows"] == [50, 50, 50]


def test_the_keyboard_interrupts_and_leaves_the_fitted_model(monkeypatch):
    model = AETransformer(2, **SMALL).fit(rows())
    before = model.transform(rows())

    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr("skvim.objectives.Autoencoder.decode", interrupted)
    with pytest.raises(KeyboardInterrupt):
        model.fit(rows(30, 4))
    monkeypatch.undo()
    np.testing.assert_array_equal(model.transform(rows()), before)


def test_divergence_of_the_training_is_an_error_that_says_when():
    model = VAETransformer(2, lr=1e30, **SMALL)
    with pytest.raises(TrainingDivergedError, match=r"not finite in epoch \d.*smaller lr") as info:
        model.fit(rows())
    assert isinstance(info.value, SkvimError)
    assert not hasattr(model, "net_")


@pytest.mark.parametrize(("scale", "shift"), [(1e200, 0), (1e-22, 0), (1, 1e7), (1e17, 0)])
@pytest.mark.numerics
def test_rows_that_float32_cannot_resolve_are_refused(scale, shift):
    with pytest.raises(ValueError, match="must have a spread that float32 resolves"):
        AETransformer(2, **SMALL).fit(scale * rows().astype(np.float64) + shift)


@pytest.mark.numerics
def test_statistics_are_those_of_the_rows():
    x = 1e12 * rows().astype(np.float64) + 1e15
    found = data_statistics(torch.tensor(x), torch.device("cpu"))
    assert found.scale == pytest.approx(np.sqrt(x.var(axis=0).mean()), rel=1e-9)
    np.testing.assert_allclose(found.mean.numpy(), x.mean(axis=0), rtol=1e-6)
    assert (found.low, found.high, found.n_rows) == (x.min(), x.max(), 50)


@pytest.mark.parametrize("monitor", ["train_loss_best", None])
def test_checkpoints_of_skorch_work(tmp_path, monitor):
    keep = Checkpoint(dirname=tmp_path, monitor=monitor, load_best=monitor is not None)
    model = VAETransformer(2, callbacks=[keep, TrainEndCheckpoint(dirname=tmp_path)], **SMALL)
    codes = model.fit(rows()).transform(rows())
    assert (tmp_path / "params.pt").exists()
    again = VAETransformer(2, **{**SMALL, "max_epochs": 1}).fit(rows(seed=1))
    assert not np.allclose(again.transform(rows()), codes)
    again.transform(rows().astype(np.float64))
    again.net_.load_params(f_params=tmp_path / "params.pt")
    np.testing.assert_allclose(again.transform(rows()), codes, atol=1e-5)
    np.testing.assert_allclose(again.transform(rows().astype(np.float64)), codes, atol=1e-5)


@pytest.mark.numerics
def test_rows_in_many_chunks_give_what_one_chunk_gives(monkeypatch):
    model = VAETransformer(2, **SMALL).fit(rows())
    methods = [model.posterior_moments, model.reconstruct, model.score_samples]
    data = rows().astype(np.float64)
    whole = [method(data) for method in methods]
    monkeypatch.setattr("skvim.engine._inference._CHUNK_VALUES", 7 * 8)  # 7 rows of width 8
    for method, expected in zip(methods, whole, strict=True):
        np.testing.assert_allclose(method(data), expected, rtol=1e-12)


def test_best_loss_is_marked():
    model = AETransformer(2, **{**SMALL, "max_epochs": 40, "lr": 0.3}).fit(rows())
    expected = np.r_[True, np.diff(np.minimum.accumulate(model.loss_curve_)) < 0]
    assert list(model.history_[:, "train_loss_best"]) == list(expected)
    assert not expected.all()


def test_validation_is_of_the_held_out_rows_in_evaluation_mode():
    held_out = rows(20, seed=1)
    split = predefined_split(Dataset(held_out))
    frozen = Gaussian(variance=1.0)
    fixed = AETransformer(2, likelihood=frozen, net_params={"train_split": split}, **SMALL)
    fixed.fit(rows())
    with torch.no_grad():
        x = torch.tensor(held_out)
        module = fixed.net_.autoencoder
        expected = -module.likelihood(x, module.decode(module.encode(x).loc)).mean()
    assert fixed.history_[-1]["valid_loss"] == pytest.approx(float(expected), rel=1e-5)
    assert fixed.history_[-1]["valid_distortion"] == fixed.history_[-1]["valid_loss"]


def test_the_net_predicts_reconstructions():
    model = VAETransformer(2, **SMALL).fit(rows())
    np.testing.assert_allclose(model.net_.predict(rows()), model.reconstruct(rows()), atol=1e-6)

    def r2(net, X, y):
        return r2_score(rows(), net.predict(rows()))

    scored = EpochScoring(r2, name="r2", on_train=True)
    longer = AETransformer(2, callbacks=[scored], **{**SMALL, "max_epochs": 20}).fit(rows())
    curve = longer.history_[:, "r2"]
    assert curve[-1] > curve[0]
    assert curve[-1] == pytest.approx(r2_score(rows(), longer.reconstruct(rows())), abs=1e-5)


class Predicting(Callback):
    """A user's callback that predicts in the middle of epochs."""

    def on_batch_end(self, net, **kwargs):
        net.predict(rows())


def test_predictions_between_batches_change_no_training():
    settings = {"dropout": 0.5, "batch_size": 20, **SMALL}
    model = VAETransformer(2, callbacks=[Predicting()], **settings).fit(rows())
    plain = VAETransformer(2, **settings).fit(rows())
    assert model.loss_curve_ == plain.loss_curve_
    np.testing.assert_array_equal(model.transform(rows()), plain.transform(rows()))


def test_training_mode_reaches_model_and_objective():
    model = VIMAETransformer(2, dropout=0.5, divergence=Adversarial((4,)), **SMALL).fit(rows())
    modules = [*model.net_.autoencoder.modules(), *model.net_.objective.modules()]
    assert not any(module.training for module in modules)  # after a fit
    for training in (True, False):
        model.net_.set_training(training)
        assert {module.training for module in modules} == {training}


class Stop(Callback):
    """Stop at one hook of one epoch."""

    def __init__(self, hook, epoch):
        self.hook, self.epoch = hook, epoch

    def _stop(self, hook, net):
        if hook == self.hook and len(net.history) == self.epoch:
            raise StopTraining

    def on_batch_end(self, net, **kwargs):
        self._stop("on_batch_end", net)

    def on_epoch_end(self, net, **kwargs):
        self._stop("on_epoch_end", net)

    def on_train_end(self, net, **kwargs):
        self._stop("on_train_end", net)


@pytest.mark.parametrize(
    ("hook", "epoch", "n_iter"),
    [
        ("on_batch_end", 1, 0),
        ("on_batch_end", 2, 1),
        ("on_epoch_end", 1, 1),
        ("on_train_end", 3, 3),
    ],
)
def test_a_callback_may_stop_anywhere(hook, epoch, n_iter):
    model = VAETransformer(2, callbacks=[Stop(hook, epoch)], **SMALL).fit(rows())
    assert model.n_iter_ == len(model.loss_curve_) == n_iter
    assert np.isfinite(model.transform(rows())).all()


class Triples(Divergence):
    """A divergence of one's own that needs three rows."""

    min_rows = 3

    def check(self, posterior, prior): ...

    def forward(self, q, z, prior, generator):
        assert len(z) >= 3
        return z.square().mean()


def test_every_batch_has_the_rows_that_a_divergence_needs():
    model = VIMAETransformer(2, divergence=Triples(), batch_size=29, **SMALL).fit(rows(60))
    assert "train_triples" in model.history_[-1]
    split = {"train_split": ValidSplit(25)}
    with pytest.raises(ValueError, match=r"needs 3 rows at a time. Got 2 rows"):
        model.set_params(net_params=split).fit(rows(50))


def test_default_dtype_of_torch_does_not_matter():
    expected = VAETransformer(2, **SMALL).fit(rows()).transform(rows())
    torch.set_default_dtype(torch.float64)
    try:
        np.testing.assert_array_equal(
            VAETransformer(2, **SMALL).fit(rows()).transform(rows()), expected
        )
    finally:
        torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("n", [65, 64, 129])
def test_a_last_batch_of_one_row_keeps_losses_finite(n):
    model = VIMAETransformer(2, batch_size=64, **SMALL).fit(rows(n))
    assert np.isfinite(model.loss_curve_).all()


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"batch_size": 1}, "batch_size must be at least 2 .* Got 1"),
        ({"net_params": {"iterator_train__shuffle": True}}, "must not contain .'iterator_train__"),
        ({"net_params": {"optimizer": "sgd"}}, "must not contain .'optimizer'"),
        ({"net_params": {"optimizer__lr": 1e-3}}, r"must not contain \['optimizer__lr'\]"),
        ({"optimizer": dict}, "optimizer must be one of .* Got <class 'dict'>"),
        ({"device": "meta"}, "device must be .* Got 'meta'"),
        ({"device": "nowhere"}, "device must be .* Got 'nowhere'"),
        ({"hidden_layer_sizes": (8, 0)}, r"hidden_layer_sizes must hold .* Got \(8, 0\)"),
    ],
)
def test_settings_of_the_engine_are_checked_in_fit(parameters, message):
    model = VIMAETransformer(2, **{**SMALL, **parameters})
    with pytest.raises(ValueError, match=message):
        model.fit(rows())


def critic_weights(model):
    return [weight.detach() for weight in model.net_.criterion_.terms[0].critic.parameters()]


def test_the_critic_of_a_divergence_learns_at_its_own_rate():
    def fitted(lr):
        settings = {"optimizer": "sgd", "net_params": {"optimizer__weight_decay": 1e-6}, **SMALL}
        return VIMAETransformer(2, divergence=Adversarial((4,), lr), **settings).fit(rows())

    still, usual, same, fast = (critic_weights(fitted(lr)) for lr in (1e-30, None, 1e-3, 3e-3))
    moved = [
        sum(float((a - b).abs().sum()) for a, b in zip(weights, still, strict=True))
        for weights in (usual, same, fast)
    ]
    assert moved[0] == moved[1] > 0
    assert moved[2] == pytest.approx(3 * moved[0], rel=0.1)
    groups = fitted(1e-30).net_.optimizer_.param_groups
    assert [(group["lr"], group["weight_decay"]) for group in groups] == [
        (1e-30, 1e-6),
        (1e-3, 1e-6),
    ]


def test_groups_of_parameters_and_schedules_keep_the_rate_of_a_critic():
    halve = LRScheduler("StepLR", step_size=1, gamma=0.5)
    groups = {"optimizer__param_groups": [("encoder.*", {"lr": 0.01})]}
    model = VIMAETransformer(
        2, divergence=Adversarial((4,), 1e-4), callbacks=[halve], net_params=groups, **SMALL
    ).fit(rows())
    found = [(len(group["params"]), group["lr"]) for group in model.net_.optimizer_.param_groups]
    assert found == [(4, 0.01 / 8), (4, 1e-4 / 8), (4, 1e-3 / 8)]


def test_verbose_prints_an_epoch_a_line(capsys):
    AETransformer(2, verbose=1, **SMALL).fit(rows())
    assert capsys.readouterr().out.count("\n") == 2 + 3
    AETransformer(2, **SMALL).fit(rows())
    assert capsys.readouterr().out == ""


def test_auto_device_is_a_gpu_where_there_is_one():
    expected = "cuda" if torch.cuda.is_available() else "cpu"
    assert resolve_device("auto").type == expected


@pytest.mark.gpu
def test_a_model_trained_on_a_gpu_agrees_with_the_cpu():
    on_gpu = VAETransformer(2, device="cuda", **SMALL).fit(rows())
    assert on_gpu.device_.type == "cuda"
    mean, std = on_gpu.posterior_moments(rows())
    on_gpu.net_.module_.to("cpu")
    on_gpu.net_.casts_.clear()
    np.testing.assert_allclose(on_gpu.posterior_moments(rows())[0], mean, atol=1e-5)
    assert std.shape == mean.shape


class Rowwise(Divergence):
    """One that forgets to average over rows."""

    def check(self, posterior, prior): ...

    def forward(self, q, z, prior, generator):
        return z.square().sum(-1)


class Counting(Rowwise):
    """One whose name skorch uses itself."""

    name = "batch_count"


@pytest.mark.parametrize(
    ("divergence", "message"),
    [
        (Rowwise(), r"The term 'rowwise' must be a scalar .* Got a tensor of shape \(50,\)"),
        (Counting(), "needs a name of its own in the history"),
    ],
    ids=["rows", "name"],
)
def test_a_divergence_that_does_not_suit_is_named(divergence, message):
    with pytest.raises(ValueError, match=message):
        VIMAETransformer(2, divergence=divergence, **SMALL).fit(rows())


def test_validation_images_that_the_user_brings_are_taken():
    images = rows(40, 64).reshape(40, 8, 8)
    split = {"train_split": predefined_split(Dataset(images))}
    model = AETransformer(2, net_params=split, **SMALL).fit(images)
    assert model.history_[-1]["valid_loss"] < model.history_[0]["valid_loss"]


@pytest.mark.parametrize(
    "mode",
    [
        torch.no_grad,
        torch.inference_mode,
        lambda: torch.autocast("cpu", torch.bfloat16),
    ],
    ids=["no-grad", "inference", "autocast"],
)
def test_modes_of_the_caller_change_no_training_and_stay(mode):
    plain = VAETransformer(2, **SMALL).fit(rows())
    with mode():
        inside = VAETransformer(2, **SMALL).fit(rows())
        states = torch.is_grad_enabled(), torch.is_inference_mode_enabled()
        assert states == {torch.no_grad: (False, False), torch.inference_mode: (False, True)}.get(
            mode, (True, False)
        )
        assert torch.is_autocast_enabled("cpu") is (states == (True, False))
    assert inside.loss_curve_ == plain.loss_curve_
    np.testing.assert_array_equal(inside.transform(rows()), plain.transform(rows()))


@pytest.mark.parametrize("value", [1e5, 0.1, 2.0**40])
def test_a_large_constant_column_beside_others_is_learned(value):
    X = np.c_[np.random.default_rng(0).normal(size=(200, 3)), np.full(200, value)]
    options = {"hidden_layer_sizes": (16,), "max_epochs": 200, "lr": 5e-3, "random_state": 0}
    decoded = AETransformer(2, **options).fit(X).reconstruct(X)
    np.testing.assert_allclose(decoded[:, 3], value, rtol=1e-4, atol=0.2)
    assert np.square(decoded[:, :3] - X[:, :3]).mean() < 0.4  # of a variance of 1
    # One that varies next to nothing, or that float32 rounds by more than the others vary.
    changed = X * np.where(np.arange(200)[:, None] == 0, 1 + 1e-9, 1.0)
    for wrong in (changed if value > 1 else X * [1, 1, 1, 1e13], np.c_[X[:, :3], [1e12] * 200]):
        with pytest.raises(ValueError, match=r"spread that float32 resolves.* the columns 3 \("):
            AETransformer(2, **options).fit(wrong)
