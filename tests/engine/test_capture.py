"""Captured training steps: the same training as eager ones, or eager steps and the reason why."""

import copy
import itertools
import os
import pickle
import subprocess
import sys

import numpy as np
import pytest
import torch
from captured import (
    CASES,
    OPTIONS,
    Corruption,
    assert_captured_as_plain,
    assert_same_training,
    fitted,
)
from family import X
from torch import distributions as D  # noqa: N812  # torch's own abbreviation
from torch import optim

from skvim import (
    AETransformer,
    VAETransformer,
    VIMAETransformer,
)
from skvim.engine.capture import _accelerator as accelerator
from skvim.engine.capture._captured import capture, require_close_terms
from skvim.engine.capture._recorder import NotTraceableError
from skvim.engine.capture._training_step import TrainingStep
from skvim.exceptions import AccelerationWarning
from skvim.networks import Convolutional
from skvim.objectives import MMD, Divergence, Gaussian

each_case = pytest.mark.parametrize("name", CASES)


@each_case
@pytest.mark.numerics
def test_captured_training_is_the_plain_one(name, steps):
    assert_captured_as_plain(CASES[name])
    assert len(steps) == 2  # one for each size of batches, whatever happens between epochs


def test_images_and_convolutions_are_captured():
    images = np.random.default_rng(0).integers(0, 256, size=(8, 8, 8), dtype=np.uint8)
    model = AETransformer(2, network=Convolutional(width=0.01))
    assert_captured_as_plain(model, images, batch_size=4, max_epochs=2)


@pytest.mark.parametrize("kernel", ["imq", "rbf"])
def test_an_mmd_in_strips_of_rows_is_captured(kernel, monkeypatch):
    monkeypatch.setattr("skvim.objectives._mmd._CACHED", 300)
    assert_captured_as_plain(VIMAETransformer(2, divergence=MMD(kernel)), X)


class OwnLaplace(D.Laplace):
    """A distribution whose code is a user's."""


def test_long_trainings_of_library_code_are_captured_by_default(monkeypatch, steps):
    model = VIMAETransformer(2, prior=D.Laplace(0.0, 1.0))
    assert fitted(model).net_.plain_because_.startswith("fewer than 100 steps")
    assert fitted(model, acceleration=None).net_.plain_because_ == "acceleration is None"
    monkeypatch.setattr(accelerator, "_WORTHWHILE", 8)
    assert not steps
    assert fitted(model).net_.plain_because_ == ""
    assert len(steps) == 1  # two batches of 45 rows an epoch are worth it, one of 30 is not
    for own in ({"prior": OwnLaplace(0.0, 1.0)}, {"divergence": Own(Own.leave)}):
        because = fitted(VIMAETransformer(2), **own).net_.plain_because_
        assert because == "parts of the model are neither skvim's nor torch's"


# What is no fixed sequence of operations.


class Own(Divergence):
    """A user's divergence: the codes' mean square, weighed by a function of codes and progress."""

    def __init__(self, weight):
        self.weight = weight
        self.calls = itertools.count(1)

    def check(self, posterior, prior): ...

    def forward(self, q, z, prior, generator):
        return self.weight(self, z.detach()) * z.square().mean()

    def leave(self, z):
        return float(z.numpy().std())

    def leave_progress(self, z):
        return float(self.progress.numpy())

    def read_progress(self, z):
        return self.progress.tolist()

    def branch(self, z):
        return 1.0 if z.sum() > 0 else 2.0

    def count(self, z):
        return next(self.calls)

    def draw(self, z):
        return torch.rand(())


def repeat(x, generator):
    return x + torch.randn(x.shape, generator=torch.Generator().manual_seed(0))


def draw_by_data(x, generator):
    return torch.bernoulli(x.sigmoid(), generator=generator)


def draw_by_named_data(x, generator):
    return torch.normal(mean=x, std=torch.ones_like(x), generator=generator)


def mean_of_some(x, generator):
    some = x > 0
    return x + x[some].sum() / len(x[some])


def fill_a_part(x, generator):
    noise = torch.zeros_like(x)
    noise[:, :2].normal_(generator=generator)
    return x + noise


UNFIT = {
    "numpy": ({"divergence": Own(Own.leave)}, "differ from those of an eager step"),
    "progress": ({"divergence": Own(Own.leave_progress)}, "differ from those of an eager step"),
    "read-progress": ({"divergence": Own(Own.read_progress)}, "value of a tensor|differ from"),
    "branch": ({"divergence": Own(Own.branch)}, "it reads the value of a tensor"),
    "generator": ({"noise": Corruption(repeat)}, "does not do the same every time"),
    "data": ({"noise": Corruption(draw_by_data)}, "draws with parameters that change"),
    "named-data": ({"noise": Corruption(draw_by_named_data)}, "draws with parameters that change"),
    "shape": ({"noise": Corruption(mean_of_some)}, "reads the value of a tensor"),
    "closure": ({"optimizer": optim.LBFGS, "lr": 1e-3}, "LBFGS computes losses more than once"),
}


def test_numbers_are_drawn_in_the_order_of_memory():
    eager, captured = (
        VIMAETransformer(2, noise=Corruption(fill_a_part), acceleration=how, **OPTIONS).fit(X)
        for how in (None, "capture")
    )
    assert captured.net_.plain_because_ == ""
    assert captured.loss_curve_ == pytest.approx(eager.loss_curve_, rel=1e-6)


@pytest.mark.parametrize("name", UNFIT)
def test_what_cannot_be_captured_says_so_and_trains_plainly(name):
    options, message = UNFIT[name]
    model = VIMAETransformer(2, lam=1.0, **{**OPTIONS, **options})
    plain = fitted(model, acceleration=None, **options)
    with pytest.warns(AccelerationWarning, match=message):
        model.set_params(acceleration="capture").fit(X)
    assert model.loss_curve_ == plain.loss_curve_
    assert "NotTraceableError" in model.net_.plain_because_


@pytest.mark.parametrize(
    ("weight", "message"),
    [(Own.count, "differ from those of an eager step"), (Own.draw, "draws without a generator")],
)
def test_steps_that_change_between_calls_are_found_out(weight, message):
    model = VIMAETransformer(2, divergence=Own(weight), **OPTIONS, acceleration="capture")
    with pytest.warns(AccelerationWarning, match=message):
        model.fit(X)


HOOKS = {
    "forward": lambda encoder: encoder.register_forward_hook(print),
    "backward": lambda encoder: encoder.register_full_backward_hook(print),
    "weight": lambda encoder: next(encoder.parameters()).register_hook(print),
    "gradient": lambda encoder: next(encoder.parameters()).register_post_accumulate_grad_hook(
        print
    ),
}


@pytest.mark.parametrize("kind", HOOKS)
def test_hooks_are_refused(kind):
    net = fitted(VAETransformer(2)).net_
    HOOKS[kind](net.module_.encoder)
    step = TrainingStep(net.autoencoder, net.objective, net.streams_.noise)
    with pytest.raises(NotTraceableError, match="hooks are registered"):
        capture(step, torch.zeros(45, 6), net.optimizer_)


def test_a_failed_capture_is_printed_once_if_nobody_asked_for_it(monkeypatch, capsys):
    def fail(*args, **kwargs):
        raise NotTraceableError("it is no good.")

    monkeypatch.setattr(accelerator, "_WORTHWHILE", 1)
    monkeypatch.setattr(accelerator, "capture", fail)
    for verbose in (0, 1):
        net = fitted(VAETransformer(2), verbose=verbose).net_
        assert net.plain_because_ == "NotTraceableError: it is no good."
        printed = capsys.readouterr().out
        assert printed.count("Training runs without acceleration: it is no good.") == verbose


def test_terms_are_compared_one_by_one():
    exact = torch.tensor([[700.0, 700.0, 0.5], [3.0, 3.0, 0.0]])
    require_close_terms(exact, exact)
    require_close_terms(torch.nextafter(exact, torch.tensor(torch.inf)), exact)
    require_close_terms(exact + torch.tensor([0.0, 0.0, 1e-6]), exact)
    special = torch.tensor([torch.inf, torch.nan, 1.0])
    require_close_terms(special, special)
    for wrong in ([700.0, 700.0, 0.01], [700.0, 700.0, 0.502], [702.0, 700.0, 0.5]):
        with pytest.raises(NotTraceableError, match="losses differ"):
            require_close_terms(torch.tensor([wrong, [3.0, 3.0, 0.0]]), exact)
    for wrong in ([3.0, 3.0, 1e-4], [3.0, 3.0, torch.nan], [3.0, torch.inf, 0.0]):
        with pytest.raises(NotTraceableError, match="losses differ"):
            require_close_terms(torch.tensor([[700.0, 700.0, 0.5], wrong]), exact)


# After the fit.


def test_generators_of_the_caller_are_not_touched():
    before = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    fitted(VIMAETransformer(2, dropout=0.2), acceleration="capture")
    assert torch.equal(torch.get_rng_state(), before[0])
    assert (np.random.get_state()[1] == before[1]).all()  # noqa: NPY002


def test_a_model_trained_by_captured_steps_copies_pickles_and_trains_on(steps):
    model = fitted(VAETransformer(2), acceleration="capture")
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        np.testing.assert_array_equal(other.transform(X), model.transform(X))
    other.net_.partial_fit(X.astype(np.float32))
    assert len(other.net_.history) == 2 * OPTIONS["max_epochs"]
    assert len(steps) == 4


@pytest.mark.parametrize("acceleration", [None, "capture"])
def test_further_training_sees_what_changed_and_all_precisions_follow(acceleration):
    # A variance that nothing has to settle after training.
    options = {"acceleration": acceleration, "likelihood": Gaussian(variance=2.0)}
    model = fitted(VIMAETransformer(2), **options)
    rows = X.astype(np.float32)
    for frozen in (False, True):
        model.net_.module_.encoder.requires_grad_(not frozen)
        before = model.transform(rows)
        model.net_.partial_fit(rows)
        assert np.array_equal(before, model.transform(rows)) is frozen
        assert model.transform(X) == pytest.approx(model.transform(rows), abs=1e-4)


# Other precisions, compilers and devices.


@pytest.mark.parametrize("acceleration", [None, "capture"])
def test_bfloat16_trains_about_as_float32_does_and_leaves_the_model_in_float32(acceleration):
    options = {"acceleration": acceleration, "max_epochs": 30, "lr": 1e-2}
    exact = fitted(VAETransformer(2), **options)
    coarse = fitted(VAETransformer(2), precision="bfloat16", **options)
    assert coarse.loss_curve_ != exact.loss_curve_
    assert coarse.loss_curve_ == pytest.approx(exact.loss_curve_, rel=0.02, abs=0.1)
    assert {weight.dtype for weight in coarse.net_.module_.parameters()} == {torch.float32}
    assert coarse.transform(X.astype(np.float32)).dtype == np.float32
    assert coarse.score(X) == pytest.approx(exact.score(X), abs=0.3)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_compiled_training_is_the_plain_one():
    options = {"batch_size": 60, "max_epochs": 2}  # batches of one size
    model = VAETransformer(2, hidden_layer_sizes=(4,))
    compiled = fitted(model, acceleration="compile", **options)
    assert_same_training(fitted(model, acceleration=None, **options), compiled, 1e-4)
    assert compiled.net_.plain_because_ == ""


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_compiler_leaves_checks_of_distributions_as_they_were(monkeypatch):
    def compiled(module, **options):
        D.Distribution.set_default_validate_args(False)  # as torch.compile does once a process
        return module

    monkeypatch.setattr(torch, "compile", compiled)
    assert fitted(VAETransformer(2, **OPTIONS, acceleration="compile")).net_.plain_because_ == ""
    with pytest.raises(ValueError, match="scale"):
        D.Normal(0.0, -1.0)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_compiler_that_fails_is_reported_and_done_without(monkeypatch):
    def refuse(*args, **kwargs):
        raise RuntimeError("no compiler here")

    monkeypatch.setattr(torch, "compile", lambda *args, **kwargs: refuse)
    model = VAETransformer(2, **OPTIONS, acceleration="compile")
    with pytest.warns(AccelerationWarning, match="captured, but not compiled: .*no compiler here"):
        model.fit(X)
    assert_same_training(fitted(VAETransformer(2), acceleration=None), model)
    assert model.net_.plain_because_ == ""


@pytest.mark.gpu
@each_case
def test_graphs_on_a_gpu_train_as_plain_steps_do(name, steps):
    assert_captured_as_plain(CASES[name], tolerance=1e-3, device="cuda")
    assert {type(step).__name__ for step in steps} == {"GraphedStep"}


@pytest.mark.gpu
def test_bfloat16_on_a_gpu_trains_about_as_float32_does():
    exact = fitted(VAETransformer(2), device="cuda", max_epochs=6)
    coarse = fitted(VAETransformer(2), device="cuda", max_epochs=6, precision="bfloat16")
    assert coarse.loss_curve_ == pytest.approx(exact.loss_curve_, rel=0.02, abs=0.1)


@pytest.mark.gpu
@pytest.mark.parametrize("acceleration", [None, "capture"])
def test_a_gpu_and_a_cpu_give_models_of_the_same_quality(acceleration):
    options = {"acceleration": acceleration, "max_epochs": 60}
    scores = [fitted(VAETransformer(2), device=d, **options).score(X) for d in ("cpu", "cuda")]
    assert scores[0] == pytest.approx(scores[1], abs=0.3)


@pytest.mark.gpu
def test_a_model_trained_by_graphs_opens_where_there_is_no_gpu(tmp_path):
    model = fitted(VAETransformer(2), acceleration="capture", device="cuda")
    (tmp_path / "model.pickle").write_bytes(pickle.dumps(model))
    np.save(tmp_path / "X.npy", X)
    script = (
        "import pickle, numpy as np; "
        "model = pickle.load(open('model.pickle', 'rb')); "
        "np.save('Z.npy', model.transform(np.load('X.npy')))"
    )
    command = [sys.executable, "-c", script]
    hidden = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    subprocess.run(command, cwd=tmp_path, env=hidden, check=True)
    found = np.load(tmp_path / "Z.npy")
    np.testing.assert_allclose(found, model.transform(X), rtol=1e-4, atol=1e-5)
