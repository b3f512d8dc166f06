"""Structures of training steps: by value, and different for different steps."""

from contextlib import contextmanager

import numpy as np
import pytest
import torch
from captured import CASES, OWN, fitted
from torch import distributions as D  # noqa: N812  # torch's own abbreviation
from torch import nn

from skvim._torch_private import checks_arguments
from skvim._values import ByValue, NotComparableError
from skvim.engine.capture._structure import structure


def changed_value(value):
    """A value of the same kind that differs, or None."""
    others = {bool: lambda: not value, int: lambda: value + 1, float: lambda: value + 0.25}
    others |= {str: lambda: value + "x", type(None): lambda: 1.0, tuple: lambda: (*value, 1)}
    others |= {torch.dtype: lambda: torch.float64, dict: lambda: {**value, "x": 1}}
    return others.get(type(value), lambda: None)()


def attributes_of(step):
    """Owner and name of all attributes of modules, settings and distributions of a step."""
    base, known = set(vars(nn.Module())) - {"training"}, set()

    def walk(owner):
        if id(owner) in known or not hasattr(owner, "__dict__"):
            return
        known.add(id(owner))
        for name, value in list(vars(owner).items()):
            if not (isinstance(owner, nn.Module) and name in base):
                yield owner, name
            if isinstance(value, ByValue | D.Distribution | nn.Module):
                yield from walk(value)
        for part in owner.children() if isinstance(owner, nn.Module) else ():
            yield from walk(part)

    yield from walk(step)


@contextmanager
def attribute(owner, name, value):
    before = vars(owner)[name]
    vars(owner)[name] = value
    try:
        yield
    finally:
        vars(owner)[name] = before


def step_and_batch(name, **options):
    net = fitted(CASES[name], max_epochs=1, **options).net_
    net.set_training(True)
    return net.step(), torch.zeros(45, 6)


@pytest.mark.parametrize("name", [name for name in CASES if name not in OWN])
def test_any_attribute_of_any_part_changes_the_key(name):
    step, x = step_and_batch(name)
    key = structure(step, x)
    n_changed = 0
    for owner, attribute_name in attributes_of(step):
        value = vars(owner)[attribute_name]
        other = value + 1 if isinstance(value, torch.Tensor) else changed_value(value)
        if other is None or attribute_name in vars(type(owner)):  # values that follow from others
            continue
        with attribute(owner, attribute_name, other):
            assert structure(step, x) != key, (owner, attribute_name)
        n_changed += 1
    assert n_changed > 10
    assert structure(step, x) == key


@contextmanager
def called(function, value, before):
    function(value)
    try:
        yield
    finally:
        function(before)


def checks(step):
    before = checks_arguments()  # torch.compile turns them off
    return called(D.Distribution.set_default_validate_args, not before, before)


def frozen(step):
    return called(step.model.encoder.requires_grad_, False, True)


def evaluated(step):
    return called(step.train, False, True)


OF_TORCH = {
    "dtype": lambda step: called(torch.set_default_dtype, torch.float64, torch.float32),
    "deterministic": lambda step: called(torch.use_deterministic_algorithms, True, False),
    "checks": checks,
    "autocast": lambda step: torch.autocast("cpu", torch.bfloat16),
    "frozen": frozen,
    "evaluated": evaluated,
}


@pytest.mark.parametrize("name", OF_TORCH)
def test_modes_change_the_key(name):
    step, x = step_and_batch("VAETransformer")
    key = structure(step, x)
    with OF_TORCH[name](step):
        assert structure(step, x) != key
    assert structure(step, x) == key


def test_layouts_of_batches_and_weights_change_the_key():
    step, x = step_and_batch("VAETransformer")
    keys = [structure(step, x) for x in (x, x[:30], x.double(), x.t().contiguous().t())]
    weight = next(step.parameters())
    weight.data = weight.data.t().contiguous().t()
    assert len({*keys, structure(step, x)}) == 5
    assert structure(step, x) != keys[0]


def test_values_of_weights_and_generators_do_not_change_the_key():
    (one, x), (other, _) = (step_and_batch("adversary", random_state=s) for s in (0, 1))
    assert structure(one, x) == structure(other, x)
    assert hash(structure(one, x)) == hash(structure(other, x))


@pytest.mark.parametrize("name", sorted(OWN))
def test_code_of_users_has_no_key(name):
    with pytest.raises(NotComparableError, match="neither skvim's nor torch's"):
        structure(*step_and_batch(name))


@pytest.mark.parametrize(
    "part", [lambda: None, torch.relu, iter([1]), range(3), np.float64(1), torch.finfo()]
)
def test_what_is_not_known_by_its_value_has_no_key(part):
    step, x = step_and_batch("VAETransformer")
    step.model.encoder.part = part
    if part is torch.relu:
        structure(step, x)
        return
    with pytest.raises(NotComparableError):
        structure(step, x)
