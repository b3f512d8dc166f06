"""Architectures compare, hash and pickle by value."""

import copy
import os
import pickle
import subprocess
import sys
from collections import OrderedDict

import joblib
import numpy as np
import pytest
import torch
from networks.architectures import MAKERS, Recurrent, hashes, linear
from sklearn.base import clone
from torch import nn

from skvim import AETransformer
from skvim._values import describe
from skvim.networks import Modules


@pytest.mark.parametrize("name", MAKERS)
def test_equal_settings_make_equal_architectures(name):
    make, make_other = MAKERS[name]
    one = make()
    same = [one, make(), copy.deepcopy(one), pickle.loads(pickle.dumps(one))]
    for architecture in same:
        assert architecture == one
        assert hash(architecture) == hash(one)
        assert joblib.hash(architecture) == joblib.hash(one)
    other = make_other()
    assert other != one
    assert joblib.hash(other) != joblib.hash(one)


def test_hashes_are_the_same_in_another_process():
    # An empty package stands in for skvim, which imports all models.
    code = """if True:
        import importlib.util, sys, types
        package = types.ModuleType("skvim")
        package.__path__ = list(importlib.util.find_spec("skvim").submodule_search_locations)
        sys.modules["skvim"] = package
        from networks.architectures import hashes
        print(*hashes())
    """
    run = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONHASHSEED": "7", "PYTHONPATH": os.pathsep.join(sys.path)},
        check=True,
        capture_output=True,
        text=True,
    )
    assert run.stdout.split() == hashes()


@pytest.mark.parametrize(
    "change",
    [
        lambda module: module.norm.running_mean.add_(1.0),
        lambda module: module.first.weight.data.mul_(2.0),
        lambda module: module.first.requires_grad_(False),
        lambda module: module.double(),
        lambda module: module.eval(),
    ],
)
def test_modules_that_differ_in_anything_are_told_apart(change):
    changed = Recurrent()
    change(changed)
    one, other = Modules(Recurrent(), linear), Modules(changed, linear)
    assert one != other
    assert joblib.hash(one) != joblib.hash(other)


def test_pickled_modules_keep_what_they_share():
    modules = pickle.loads(pickle.dumps(Modules(Recurrent(), linear)))
    module = modules._encoder
    assert module.first is module.last
    assert module.rnn._flat_weights[0] is module.rnn.weight_ih_l0
    torch.testing.assert_close(module.state_dict(), Recurrent().state_dict())


def test_functions_without_a_name_fit_and_equal_themselves_alone():
    def make():
        encoder = nn.Linear(4, 2)
        encoder.extra = lambda x: x  # can be copied, not pickled
        return Modules(encoder, lambda n_in, n_out: nn.Linear(n_in, n_out))

    one = make()
    assert one == copy.deepcopy(one)
    assert one != make()
    model = AETransformer(2, network=one, max_epochs=1, random_state=0)
    copied = clone(model)
    assert copied.network == one
    X = np.random.default_rng(0).normal(size=(20, 4))
    np.testing.assert_array_equal(copied.fit_transform(X), model.fit_transform(X))


def test_what_cannot_be_described_is_equal_to_itself_alone():
    class Secretive:
        def __call__(self, n_in, n_out):
            return nn.Linear(n_in, n_out)

        def __reduce_ex__(self, protocol):
            raise TypeError("no")

    one, other = (Modules(Secretive(), nn.Linear) for _ in range(2))
    assert one == one
    assert one != other
    assert len({one, other}) == 2


def test_the_order_of_layers_counts():
    layers = {"linear": nn.Linear(4, 4), "relu": nn.ReLU()}
    one = Modules(nn.Sequential(OrderedDict(layers)), nn.Linear)
    other = Modules(nn.Sequential(OrderedDict(reversed(layers.items()))), nn.Linear)
    assert one != other
    assert one == copy.deepcopy(one)
    assert describe(layers) == describe(dict(reversed(layers.items())))


def test_nan_is_no_text():
    assert describe(float("nan")) == describe(float("nan")) != describe("nan")


def test_modules_without_shapes_as_yet_copy_and_pickle():
    one = Modules(nn.LazyLinear(2), nn.Linear)
    assert one == one
    assert one != copy.deepcopy(one)
    assert pickle.loads(pickle.dumps(one))._encoder.has_uninitialized_params()


def test_modules_of_the_main_program_reach_other_processes(monkeypatch):
    cloudpickle = pytest.importorskip("cloudpickle")

    class Own(nn.Linear):
        __module__, __qualname__ = "__main__", "Own"

    model = AETransformer(2, network=(Own(4, 2), Own(2, 4)))
    with monkeypatch.context() as main:
        main.setattr(sys.modules["__main__"], "Own", Own, raising=False)
        assert joblib.hash(model) == joblib.hash(copy.deepcopy(model))
        sent = cloudpickle.dumps(model)
    copied = pickle.loads(sent)
    assert copied.network[0].weight.equal(model.network[0].weight)


def test_two_equal_modules_are_two_parts_of_a_model():
    X = np.random.default_rng(0).normal(size=(20, 2))
    module = nn.BatchNorm1d(2)
    for network in ((module, module), (module, copy.deepcopy(module)), Modules(module, module)):
        model = AETransformer(2, network=network, max_epochs=1, random_state=0).fit(X)
        autoencoder = model.net_.autoencoder
        parts = [autoencoder.encoder.module, autoencoder.decoder.module]
        assert parts[0] is not parts[1]
        for training in (True, False):
            autoencoder.train(training)
            assert [part.training for part in parts] == [training] * 2
        for found, name in (
            (autoencoder.parameters(), "weight"),
            (autoencoder.buffers(), "running_mean"),
        ):
            places = {tensor.data_ptr() for tensor in found}
            assert places.issuperset(getattr(part, name).data_ptr() for part in parts)
