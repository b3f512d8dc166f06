"""The optimizer's step without its overhead: the same weights."""

import pytest
import torch
from torch import nn, optim

from skvim.engine._update import drop_vanishing, make_update


def numbers(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


OPTIMIZERS = {
    "adam": lambda groups: optim.Adam(groups, lr=0.1, fused=True),
    "adam-decay": lambda groups: optim.Adam(groups, weight_decay=0.3, fused=True),
    "adam-settings": lambda groups: optim.Adam(groups, betas=(0.5, 0.7), eps=0.1, fused=True),
    "adamw": lambda groups: optim.AdamW(groups, weight_decay=0.3, fused=True),
    "amsgrad": lambda groups: optim.Adam(groups, amsgrad=True, fused=True),
    "maximize": lambda groups: optim.Adam(groups, maximize=True, fused=True),
    "not-fused": lambda groups: optim.Adam(groups, lr=0.1),
    "sgd": lambda groups: optim.SGD(groups, lr=0.1, momentum=0.9, fused=True),
    "rmsprop": lambda groups: optim.RMSprop(groups, lr=0.1),
}


def trained(name: str, *, updated: bool, change=None) -> list[torch.Tensor]:
    """Weights after six steps, the first and the last by the optimizer itself in any case."""
    weights = [nn.Parameter(numbers(*shape)) for shape in ((3, 2), (4,), (2, 2))]
    groups = [{"params": weights[:2]}, {"params": weights[2:], "lr": 0.01}]
    optimizer = OPTIMIZERS[name](groups)
    update = None
    for step in range(6):
        gradients = [numbers(*w.shape, seed=10 * step + i) for i, w in enumerate(weights)]
        if change is not None and step == 3:
            change(optimizer)
        if updated and 0 < step < 5:
            update = update or make_update(optimizer, weights)
            with torch.no_grad():
                update(gradients)
            continue
        for weight, gradient in zip(weights, gradients, strict=True):
            weight.grad = gradient
        optimizer.step()
    return [weight.detach() for weight in weights]


def change_settings(optimizer: optim.Optimizer) -> None:
    for group in optimizer.param_groups:
        group["lr"] /= 2
        group["weight_decay"] = 0.1


@pytest.mark.parametrize("change", [None, change_settings], ids=["same", "changed"])
@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.numerics
def test_updates_move_weights_as_the_optimizer_does(name, change):
    plain = trained(name, updated=False, change=change)
    for one, other in zip(trained(name, updated=True, change=change), plain, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)


def test_hooks_of_an_optimizer_are_called():
    weight = nn.Parameter(numbers(3))
    optimizer = OPTIMIZERS["adam"]([weight])
    weight.grad = numbers(3)
    optimizer.step()
    seen = []
    optimizer.register_step_post_hook(lambda *_: seen.append(1))
    make_update(optimizer, [weight])([numbers(3)])
    assert seen == [1]


@pytest.mark.parametrize("name", ["adam", "adamw", "not-fused", "sgd"])
@pytest.mark.numerics
def test_dropping_what_vanished_changes_no_weight_and_leaves_no_subnormals(name):
    """Units that are off from some step on, as those of a rectifier often are."""
    weights = []
    smallest = torch.finfo(torch.float32).tiny
    for dropped in (False, True):
        weight = nn.Parameter(numbers(1000))
        optimizer = OPTIMIZERS[name]([weight])
        for step in range(1200):
            weight.grad = numbers(1000, seed=step)
            weight.grad[:500] *= step < 3
            optimizer.step()
            if dropped and step % 100 == 99:
                drop_vanishing(optimizer)
        weights.append(weight.detach())
        moments = [value for key, value in optimizer.state[weight].items() if key != "step"]
        subnormal = [bool(((m != 0) & (m.abs() < smallest)).any()) for m in moments]
        assert any(subnormal) is not dropped
    torch.testing.assert_close(*weights, rtol=1e-6, atol=0)
