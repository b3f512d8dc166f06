"""Eager steps without skorch's and the optimizer's own work: the same training, bit for bit."""

import pytest
import torch
from captured import fitted
from skorch.callbacks import Callback
from torch import nn, optim
from torch.optim.optimizer import register_optimizer_step_post_hook

from skvim import AAETransformer, AETransformer, VAETransformer, VIMAETransformer
from skvim.engine.capture._update import Update


class Observer(Callback):
    """Hears of every batch, so that skorch takes the steps."""

    def on_batch_end(self, net, **kwargs): ...


class WithUnused(nn.Linear):
    """A layer with a parameter that gets no gradient."""

    def __init__(self, n_inputs, n_outputs):
        super().__init__(n_inputs, n_outputs)
        self.unused = nn.Parameter(torch.ones(2))


CASES = {
    "adam": VAETransformer(2),
    "adamw": VIMAETransformer(2, optimizer="adamw", net_params={"optimizer__weight_decay": 0.1}),
    "amsgrad": VAETransformer(2, net_params={"optimizer__amsgrad": True}),
    "sgd": AETransformer(2, optimizer="sgd", lr=1e-3),
    "rmsprop": VIMAETransformer(2, optimizer=optim.RMSprop),
    "schedule": VAETransformer(2, lr_schedule="cosine", warmup=0.5),
    "critic": AAETransformer(2, lam=1.0),
    "unused": VAETransformer(2, network=(WithUnused, nn.Linear)),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.numerics
def test_eager_steps_are_those_of_skorch(name):
    observed = fitted(CASES[name], acceleration=None, callbacks=[Observer()])
    alone = fitted(CASES[name], acceleration=None)
    assert alone.net_.plain_because_ == "acceleration is None"
    assert alone.loss_curve_ == observed.loss_curve_
    weights = [model.net_.module_.state_dict() for model in (alone, observed)]
    for weight, other in zip(*(state.values() for state in weights), strict=True):
        torch.testing.assert_close(weight, other, rtol=0, atol=0)
    steps = [model.net_.optimizer_.state_dict()["state"] for model in (alone, observed)]
    assert steps[0].keys() == steps[1].keys()
    for of_parameter, other in zip(*(state.values() for state in steps), strict=True):
        torch.testing.assert_close(of_parameter, other, rtol=0, atol=0)


def test_hooks_of_all_optimizers_are_called():
    seen = []
    handle = register_optimizer_step_post_hook(lambda *_: seen.append(1))
    try:
        model = fitted(VAETransformer(2), acceleration="capture")
    finally:
        handle.remove()
    assert len(seen) == sum(epoch["train_batch_count"] for epoch in model.history_)


class WithClosure(optim.SGD):
    """An optimizer of a user that computes losses by the closure it is given."""

    def step(self, closure=None):
        with torch.enable_grad():
            closure()
        return super().step()


def test_optimizers_of_users_get_the_closure_of_skorch():
    model = fitted(VAETransformer(2), optimizer=WithClosure, lr=1e-3, acceleration=None)
    assert model.loss_curve_[-1] < model.loss_curve_[0]


def test_hooks_of_all_modules_are_called_at_every_step():
    seen = []
    handle = nn.modules.module.register_module_forward_hook(lambda module, *_: seen.append(module))
    try:
        model = fitted(VAETransformer(2), acceleration="auto", max_epochs=60)
    finally:
        handle.remove()
    assert "hooks" in model.net_.plain_because_
    assert seen.count(model.net_.module_.encoder) >= 60


def test_moved_counters_of_steps_are_followed():
    parameters = [nn.Parameter(torch.ones(2)) for _ in range(3)]
    optimizer = optim.Adam(parameters, fused=True)
    for parameter in parameters:
        parameter.grad = torch.ones(2)
    optimizer.step()
    every, second = Update(optimizer, parameters), Update(optimizer, parameters[1:2])
    with torch.no_grad():
        for update in (every, second, second, every):
            update([torch.ones(2)] * len(update.parameters))
    assert [int(optimizer.state[p]["step"]) for p in parameters] == [3, 5, 3]
