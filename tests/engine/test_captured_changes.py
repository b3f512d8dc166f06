"""Captured training steps beside callbacks and optimizers that change what a step does."""

import copy
import warnings
from typing import NamedTuple

import pytest
import torch
from family import SMALL, X
from skorch.callbacks import Callback
from skorch.dataset import ValidSplit
from torch import distributions, nn, optim

from skvim import CapacityVAETransformer, VIMAETransformer
from skvim.engine import _accelerate
from skvim.exceptions import AccelerationWarning, SkvimWarning
from skvim.objectives import Divergence, Gaussian

OPTIONS = {**SMALL, "batch_size": 45, "max_epochs": 6}


class Trained(NamedTuple):
    """A model trained by captured steps, beside one trained plainly that it agrees with."""

    model: VIMAETransformer
    #: What torch said, and skvim of acceleration.
    warned: list[str]
    #: How often a step was captured.
    n_captured: int


def both_ways(make, **options):
    """Train plainly and by captured steps, from fresh parts each time, and compare."""
    models, captured_steps = [], []
    capture = _accelerate.capture

    def counted(*args, **kwargs):
        captured_steps.append(capture(*args, **kwargs))
        return captured_steps[-1]

    for acceleration in (None, "capture"):
        parts = {**OPTIONS, "acceleration": acceleration, **options, **make()}
        with warnings.catch_warnings(record=True) as found, pytest.MonkeyPatch.context() as patch:
            warnings.simplefilter("always")
            patch.setattr(_accelerate, "capture", counted)
            models.append(VIMAETransformer(2, **parts).fit(X))
    plain, captured = models
    assert captured.loss_curve_ == pytest.approx(plain.loss_curve_, rel=1e-5, abs=1e-5)
    for one, other in zip(*(m.net_.module_.parameters() for m in models), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)
    noise = [m.net_.streams_.noise.get_state() for m in models]
    assert torch.equal(*noise)
    # What is said of the model itself, trained so shortly, is of no matter here.
    other = [w for w in found if not issubclass(w.category, SkvimWarning)]
    other += [w for w in found if issubclass(w.category, AccelerationWarning)]
    warned = [str(warning.message) for warning in other]
    return Trained(captured, warned, len(captured_steps))


class _AtEpoch(Callback):
    """Changes something once, before the fourth epoch."""

    def __init__(self, change):
        self.change = change

    def on_epoch_begin(self, net, **kwargs):
        """Change it."""
        if len(net.history) == 4:
            self.change(net)


def freeze(net):
    """Stop the encoder's training."""
    net.module_.encoder.requires_grad_(False)


def renew_optimizer(net):
    """Forget the optimizer's memory."""
    net._initialize_optimizer()


def renew_model(net):
    """Go on with other weights than those that the optimizer moves."""
    net.module_ = copy.deepcopy(net.module_)
    with torch.no_grad():
        for weight in net.module_.parameters():
            weight.mul_(0.5)


def coarsen(net):
    """Compute products in another precision."""
    net.module_.precision = torch.bfloat16


def change_kernel(net):
    """Go on with another kernel of the divergence."""
    net.criterion_.terms[0].settings.kernel = "rbf"


def hook_gradients(net):
    """Keep one weight where it is."""
    next(net.module_.parameters()).register_hook(lambda gradient: gradient * 0)


def hook_steps(net):
    """Shrink weights after every step."""

    def shrink(optimizer, *args):
        with torch.no_grad():
            for weight in optimizer.param_groups[0]["params"]:
                weight.mul_(0.9)

    net.optimizer_.register_step_post_hook(shrink)


CHANGES = [freeze, renew_optimizer, renew_model, coarsen, change_kernel, hook_steps]
# Batches of two sizes, captured before a change and again after it.
BEFORE, BEFORE_AND_AFTER = 2, 4


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_what_callbacks_change_changes_captured_training(change):
    found = both_ways(lambda: {"callbacks": [_AtEpoch(change)], "lr": 1e-2})
    assert found[1:] == ([], BEFORE_AND_AFTER)
    unchanged = VIMAETransformer(2, **OPTIONS, lr=1e-2, acceleration=None).fit(X)
    assert unchanged.loss_curve_[:3] == pytest.approx(found.model.loss_curve_[:3], rel=1e-5)
    assert unchanged.loss_curve_[5] != pytest.approx(found.model.loss_curve_[5], rel=1e-5)


def test_hooks_of_gradients_end_captured_training():
    found = both_ways(lambda: {"callbacks": [_AtEpoch(hook_gradients)], "lr": 1e-2})
    assert found.n_captured == BEFORE
    assert "hooks are registered" in found.warned[0]
    assert "hooks are registered" in found.model.net_.plain_because_


def test_weights_frozen_in_between_stay_where_they_are_under_any_optimizer():
    found = both_ways(lambda: {"callbacks": [_AtEpoch(freeze)], "optimizer": "sgd", "lr": 1e-3})
    assert found[1:] == ([], BEFORE_AND_AFTER)


def test_hooks_of_modules_are_called_at_every_step():
    calls = []
    for acceleration in (None, "capture"):
        calls.append(0)

        def count(*args):
            calls[-1] += 1

        def listen(net, count=count):
            net.module_.encoder.register_forward_hook(count)

        model = VIMAETransformer(2, **OPTIONS, callbacks=[_AtEpoch(listen)])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SkvimWarning)
            model.set_params(acceleration=acceleration).fit(X)
    assert calls[1] >= calls[0] > 0


def test_torch_schedulers_made_late_change_rates_and_warn_of_nothing():
    class Scheduling(Callback):
        def on_epoch_end(self, net, **kwargs):
            if len(net.history) == 3:
                self.schedule = optim.lr_scheduler.StepLR(net.optimizer_, 1)
            elif len(net.history) > 3:
                self.schedule.step()

    found = both_ways(lambda: {"callbacks": [Scheduling()], "lr": 1e-2})
    assert found[1:] == ([], BEFORE_AND_AFTER)
    # Three epochs end with a tenth of the rate.
    assert found.model.net_.optimizer_.param_groups[0]["lr"] == pytest.approx(1e-5)


@pytest.mark.numerics
def test_decoupled_decay_of_adam_is_decoupled_in_captured_steps():
    if "decoupled_weight_decay" not in optim.Adam([nn.Parameter(torch.ones(1))]).defaults:
        pytest.skip("this torch has AdamW alone")
    names = {"optimizer__decoupled_weight_decay": True, "optimizer__weight_decay": 0.5}
    found = both_ways(lambda: {"net_params": names, "lr": 1e-1})
    assert found[1:] == ([], BEFORE)


def test_optimizers_that_need_a_closure_train_plainly():
    found = both_ways(lambda: {"optimizer": optim.LBFGS, "lr": 1e-3})
    assert found.n_captured == 0
    assert "LBFGS computes losses more than once" in found.warned[0]


def test_validation_does_not_have_steps_captured_anew():
    found = both_ways(lambda: {"net_params": {"train_split": ValidSplit(3)}})
    assert found[1:] == ([], BEFORE)


class _Masked(nn.Module):
    """A network with a mask of booleans."""

    def __init__(self, n_inputs, n_outputs):
        super().__init__()
        self.inner = nn.Linear(n_inputs, n_outputs)
        self.register_buffer("mask", torch.arange(n_inputs) > 0)

    def forward(self, x):
        """Leave one input out."""
        return self.inner(x * self.mask)


class _Shrinking(_Masked):
    """A network that changes its own weights."""

    def forward(self, x):
        """Shrink in training."""
        if self.training:
            with torch.no_grad():
                self.inner.weight.mul_(0.9)
        return self.inner(x)


@pytest.mark.parametrize("network", [_Masked, _Shrinking])
def test_networks_of_users_train_the_same(network):
    torch_state = torch.get_rng_state()
    start = network(6, 2).state_dict(), nn.Linear(2, 6).state_dict()
    torch.set_rng_state(torch_state)

    def make():
        networks = network(6, 2), nn.Linear(2, 6)
        for one, state in zip(networks, start, strict=True):
            one.load_state_dict(state)
        torch.set_rng_state(torch_state)
        return {"network": networks}

    found = both_ways(make)
    assert found[1:] == ([], BEFORE)


class _Leaving(Divergence):
    """A divergence that computes a number outside of torch."""

    def __init__(self, weight):
        self.weight = weight

    def check(self, posterior, prior):
        """Take anything."""

    def forward(self, q, z, prior, generator):
        """Weigh the codes' mean square by it."""
        return self.weight(self, z.detach()) * z.square().mean()


LEAVING = {
    "rows": lambda term, z: float(z.numpy().std()),
    "progress": lambda term, z: term.progress.tolist(),
}


@pytest.mark.parametrize("name", LEAVING)
def test_numbers_that_leave_torch_are_not_taken_for_constants(name):
    found = both_ways(lambda: {"divergence": _Leaving(LEAVING[name]), "lam": 1.0})
    assert found.n_captured == 0
    assert "outputs for other rows differ" in found.warned[0]


class _Noise:
    """Corruptions that are no fixed sequence of draws and operations on a batch."""

    def __init__(self, name):
        self.name = name

    def corrupt(self, batch, generator):
        """Write to the batch, or draw the same numbers every time."""
        if self.name == "writes":
            return batch.mul_(0.5)
        own = torch.Generator().manual_seed(0)
        return batch + torch.randn(batch.shape, generator=own)


def test_corruptions_that_write_to_their_batch_are_captured():
    assert both_ways(lambda: {"noise": _Noise("writes")})[1:] == ([], BEFORE)


def test_corruptions_with_generators_of_their_own_are_not():
    found = both_ways(lambda: {"noise": _Noise("repeats")})
    assert found.n_captured == 0
    assert "does not do the same every time" in found.warned[0]


def test_terms_see_the_progress_of_training():
    model = CapacityVAETransformer(2, **OPTIONS, acceleration="capture").fit(X)
    assert model.net_.criterion_.progress > 0.9
    plain = CapacityVAETransformer(2, **OPTIONS, acceleration=None).fit(X)
    still = CapacityVAETransformer(2, warmup=0.0, **OPTIONS, acceleration=None).fit(X)
    assert model.loss_curve_ == pytest.approx(plain.loss_curve_, rel=1e-5)
    assert plain.loss_curve_[0] != pytest.approx(still.loss_curve_[0], rel=1e-2)


class _OwnLaplace(distributions.Laplace):
    """A distribution whose code is a user's."""


@pytest.mark.parametrize("family", [distributions.Laplace, _OwnLaplace])
def test_priors_of_users_are_not_captured_unasked(family, monkeypatch):
    made = []
    monkeypatch.setattr(_accelerate, "_WORTHWHILE", 1)
    capture = _accelerate.capture
    monkeypatch.setattr(_accelerate, "capture", lambda *a, **k: made.append(1) or capture(*a, **k))
    VIMAETransformer(2, **OPTIONS, prior=family(0.0, 1.0)).fit(X)
    assert bool(made) is (family is distributions.Laplace)


@pytest.mark.parametrize("acceleration", [None, "capture"])
def test_models_in_other_precisions_follow_further_training(acceleration):
    options = {**OPTIONS, "acceleration": acceleration, "likelihood": Gaussian(variance=2.0)}
    model = VIMAETransformer(2, **options).fit(X)
    for _ in range(2):
        model.net_.partial_fit(X)
        codes = model.transform(X.astype("float64"))
        assert codes == pytest.approx(model.transform(X.astype("float32")), abs=1e-4)
