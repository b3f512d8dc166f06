"""Direct optimizer updates: the weights of the optimizer's own steps."""

from inspect import signature

import pytest
import torch
from torch import nn, optim

from skvim.engine.capture._update import Update, flush_subnormals


def numbers(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


OPTIMIZERS = {
    "adam": lambda groups: optim.Adam(groups, lr=0.1, fused=True),
    "adam-decay": lambda groups: optim.Adam(groups, weight_decay=0.3, fused=True),
    "adam-settings": lambda groups: optim.Adam(groups, betas=(0.5, 0.7), eps=0.1, fused=True),
    "adam-decoupled": lambda groups: optim.Adam(
        groups, weight_decay=0.3, decoupled_weight_decay=True, fused=True
    ),
    "adamw": lambda groups: optim.AdamW(groups, weight_decay=0.3, fused=True),
    "amsgrad": lambda groups: optim.Adam(groups, amsgrad=True, fused=True),
    "maximize": lambda groups: optim.Adam(groups, maximize=True, fused=True),
    "not-fused": lambda groups: optim.Adam(groups, lr=0.1),
    "sgd": lambda groups: optim.SGD(groups, lr=0.1, momentum=0.9, fused=True),
    "rmsprop": lambda groups: optim.RMSprop(groups, lr=0.1),
}


def trained(name: str, *, updated: bool, change=None) -> list[torch.Tensor]:
    """Return weights after six steps, the first and last by the optimizer itself in any case."""
    if (
        name == "adam-decoupled"
        and "decoupled_weight_decay" not in signature(optim.Adam).parameters
    ):
        pytest.skip("this torch has AdamW alone")
    weights = [nn.Parameter(numbers(*shape)) for shape in ((3, 2), (4,), (2, 2))]
    groups = [{"params": weights[:2]}, {"params": weights[2:], "lr": 0.01}]
    optimizer = OPTIMIZERS[name](groups)
    update = None
    for step in range(6):
        gradients = [numbers(*w.shape, seed=10 * step + i) for i, w in enumerate(weights)]
        if change is not None and step == 3:
            change(optimizer)
        if updated and 0 < step < 5:
            update = update or Update(optimizer, weights)
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
    Update(optimizer, [weight])([numbers(3)])
    assert seen == [1]


@pytest.mark.parametrize("name", ["adam", "sgd"])
@pytest.mark.numerics
def test_flushing_subnormals_changes_no_weight(name):
    """Units that are off from some step on, as those of a rectifier often are."""
    weights = []
    smallest = torch.finfo(torch.float32).tiny
    for dropped in (False, True):
        weight = nn.Parameter(numbers(1000))
        optimizer = OPTIMIZERS[name]([weight])
        for step in range(1100):
            weight.grad = numbers(1000, seed=step)
            weight.grad[:500] *= step < 3
            optimizer.step()
            if dropped and step % 100 == 99:
                flush_subnormals(optimizer)
        weights.append(weight.detach())
        moments = [value for key, value in optimizer.state[weight].items() if key != "step"]
        subnormal = [bool(((m != 0) & (m.abs() < smallest)).any()) for m in moments]
        assert any(subnormal) is not dropped
    torch.testing.assert_close(*weights, rtol=1e-6, atol=0)


@pytest.mark.numerics
def test_updates_of_overlapping_parameters_keep_each_ones_number_of_steps():
    sets = [[0, 1, 2], [1, 2], [0], [2, 0], [0, 1, 2]]
    found = []
    for updated in (False, True):
        weights = [nn.Parameter(numbers(3, seed=i)) for i in range(3)]
        optimizer = OPTIMIZERS["adam"](weights)
        updates = {}
        for step, chosen in enumerate([[0, 1, 2], *3 * sets]):
            gradients = [numbers(3, seed=10 * step + i) for i in chosen]
            for weight in weights:
                weight.grad = None
            if updated and step:
                members = [weights[i] for i in chosen]
                update = updates.setdefault(tuple(chosen), Update(optimizer, members))
                with torch.no_grad():
                    update(gradients)
                continue
            for i, gradient in zip(chosen, gradients, strict=True):
                weights[i].grad = gradient
            optimizer.step()
        steps = [float(optimizer.state[weight]["step"]) for weight in weights]
        found.append((steps, [weight.detach() for weight in weights]))
    assert found[0][0] == found[1][0] == [13.0, 10.0, 13.0]
    for one, other in zip(found[0][1], found[1][1], strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)
