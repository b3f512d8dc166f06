"""Networks that the user brings: classes, functions and instances."""

import math
import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from sklearn.base import clone
from torch import nn
from torch.nn import functional

from skvim import AETransformer, VAETransformer
from skvim.engine import child_seed
from skvim.networks import MLP, Architecture, Modules
from skvim.networks._random import RandomStream, RedirectRandomness

X = np.random.default_rng(0).normal(size=(60, 6))
SHORT = {"max_epochs": 3, "random_state": 0}


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def weights(module: nn.Module) -> list[torch.Tensor]:
    return [tensor.clone() for tensor in module.state_dict().values()]


def assert_equal(first, second) -> None:
    for a, b in zip(first, second, strict=True):
        assert torch.equal(a, b)


class Net(nn.Module):
    """Dropout as a layer and as a function, batch normalisation, and noise of its own."""

    def __init__(self, n_in: int, n_out: int) -> None:
        super().__init__()
        self.first = nn.Linear(n_in, 8)
        self.norm = nn.BatchNorm1d(8)
        self.dropout = nn.Dropout(0.2)
        self.last = nn.Linear(8, n_out)

    def forward(self, x):
        hidden = self.dropout(torch.tanh(self.norm(self.first(x))))
        hidden = functional.dropout(hidden, 0.1, training=self.training)
        if self.training:
            hidden = hidden + 0.1 * torch.randn(hidden.shape) + 0.1 * torch.randn_like(hidden)
        return self.last(hidden)


def plain(n_in: int, n_out: int) -> nn.Module:
    return nn.Sequential(nn.Linear(n_in, 8), nn.ReLU(), nn.Linear(8, n_out))


def fit(network, cls=AETransformer, **options):
    return cls(2, network=network, **{**SHORT, **options}).fit(X)


def test_modules_come_ready_to_train():
    modules = Modules(plain, plain(2, 6).eval())
    assert modules.encoder((6,), 2, generator()).training
    decoder = modules.decoder(2, (6,), generator())
    assert all(layer.training for layer in decoder.modules())


def test_classes_and_functions_are_called_with_the_numbers_of_columns():
    calls = []

    def recorded(n_in, n_out):
        calls.append((n_in, n_out))
        return plain(n_in, n_out)

    fit((recorded, recorded))
    assert calls == [(6, 2), (2, 6)]
    calls.clear()
    fit((recorded, recorded), VAETransformer)
    assert calls == [(6, 4), (2, 6)]  # location and log scale


def test_instances_are_trained_as_copies():
    encoder, decoder = plain(6, 2), plain(2, 6)
    before = weights(encoder), weights(decoder)
    model = fit((encoder, decoder))
    assert_equal(weights(encoder), before[0])
    assert_equal(weights(decoder), before[1])
    trained = weights(model.net_.autoencoder.encoder.module)
    assert not torch.equal(trained[0], before[0][0])
    assert model.network[0] is encoder


def test_training_starts_from_the_weights_of_an_instance():
    encoder, decoder = plain(6, 2), plain(2, 6)
    model = fit((encoder, decoder), optimizer="sgd", lr=1e-30)
    assert_equal(weights(model.net_.autoencoder.encoder.module), weights(encoder))
    scale = np.sqrt(X.var(axis=0).mean())
    rows = torch.from_numpy((X - X.mean(axis=0)) / scale)
    with torch.no_grad():
        codes = encoder.double()(rows)
        decoded = decoder.double()(codes)
    np.testing.assert_allclose(model.transform(X), codes, atol=1e-5)
    np.testing.assert_allclose(
        model.reconstruct(X), X.mean(axis=0) + scale * decoded.numpy(), atol=1e-5
    )


@pytest.mark.parametrize("cls", [AETransformer, VAETransformer])
@pytest.mark.numerics
def test_perceptrons_as_modules_give_what_the_name_gives(cls):
    named = cls(2, hidden_layer_sizes=(8, 4), **SHORT).fit(X)
    source = generator(child_seed(named.net_.seed, "initialisation"))
    n_outputs = 4 if cls is VAETransformer else 2
    encoder = MLP(6, (8, 4), n_outputs, activation="relu", generator=source)
    decoder = MLP(2, (4, 8), 6, activation="relu", generator=source)
    brought = fit((encoder, decoder), cls)
    assert brought.loss_curve_ == named.loss_curve_
    np.testing.assert_array_equal(brought.transform(X), named.transform(X))
    np.testing.assert_array_equal(brought.reconstruct(X), named.reconstruct(X))


def test_a_pair_is_short_for_modules():
    pair, modules = fit((plain, plain)), fit(Modules(plain, plain))
    np.testing.assert_array_equal(pair.transform(X), modules.transform(X))


@pytest.mark.parametrize("network", [(Net, Net), (plain, Net), (Net(6, 4), Net(2, 6))])
def test_fits_repeat_and_leave_the_global_generator(network):
    torch.manual_seed(0)
    first = fit(network, VAETransformer)
    before = torch.get_rng_state()
    second = fit(network, VAETransformer)
    assert torch.equal(before, torch.get_rng_state())
    assert first.loss_curve_ == second.loss_curve_
    np.testing.assert_array_equal(first.transform(X), second.transform(X))
    np.testing.assert_array_equal(second.transform(X), second.transform(X))
    other = fit(network, VAETransformer, random_state=1)
    assert not np.array_equal(first.transform(X), other.transform(X))


@pytest.mark.numerics
def test_fits_in_threads_repeat():
    expected = fit((Net, Net)).transform(X)
    before = torch.get_rng_state()
    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(lambda _: fit((Net, Net)).transform(X), range(8)):
            np.testing.assert_array_equal(found, expected)
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("network", [(Net, Net), (Net(6, 2), Net(2, 6))])
def test_clones_and_pickles_give_the_same(network):
    model = fit(network)
    again = clone(model).fit(X)
    np.testing.assert_array_equal(again.transform(X), model.transform(X))
    loaded = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(loaded.transform(X), model.transform(X))
    np.testing.assert_array_equal(loaded.fit(X).transform(X), model.transform(X))


@pytest.mark.numerics
def test_weights_in_double_precision_are_trained_in_single():
    encoder = plain(6, 2).double()
    model = fit((encoder, plain))
    assert {w.dtype for w in weights(model.net_.autoencoder.encoder)} == {torch.float32}
    assert {w.dtype for w in weights(encoder)} == {torch.float64}


@pytest.mark.parametrize(
    ("network", "message"),
    [
        ((plain, plain, plain), r"network must be .*pair \(encoder, decoder\).*Got 3 items"),
        ((plain,), "Got 1 items"),
        ((3, plain), "The encoder must be a torch.nn.Module, a class .*Got 3"),
        ((plain, None), "The decoder must be a torch.nn.Module.*Got None"),
        ((lambda a, b: "net", plain), r"The encoder .* must return a torch.nn.Module .*\(6, 2\)"),
        (
            (plain(6, 3), plain),
            r"The encoder does not suit.*\(2, 6\) to \(2, 2\). Got \(2, 3\) instead",
        ),
        (
            (plain, plain(2, 5)),
            r"The decoder does not suit.*\(2, 2\) to \(2, 6\). Got \(2, 5\) instead",
        ),
        ((plain(5, 2), plain), r"The encoder does not suit.*\(2, 6\) to .* raised RuntimeError"),
        ((plain, lambda a, b: nn.GRU(a, b)), r"The decoder does not suit.*Got tuple instead"),
        ((lambda a, b: nn.GRU(a, b, 2, dropout=0.1), plain), "torch's global generator"),
        ((lambda a, b: nn.Sequential(plain(a, b), nn.AlphaDropout()), plain), "layer '1'"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_modules_that_do_not_suit_are_refused(network, message):
    with pytest.raises(ValueError, match=message):
        fit(network)


@pytest.mark.parametrize(
    "draw",
    [
        lambda x: functional.dropout(x, 0.5),
        lambda x: x + torch.randn_like(x),
        lambda x: x + torch.rand(x.shape),
        lambda x: x * torch.empty_like(x).bernoulli_(0.5),
    ],
)
def test_modules_that_draw_in_evaluation_are_refused(draw):
    class Restless(nn.Module):
        def __init__(self, n_in, n_out):
            super().__init__()
            self.net = plain(n_in, n_out)

        def forward(self, x):
            return draw(self.net(x))

    with pytest.raises(
        ValueError, match=r"The encoder does not suit.*draws random numbers in eval"
    ):
        fit((Restless, plain))


def test_an_architecture_of_ones_own_is_used():
    class Affine(Architecture):
        def check(self, shape):
            self.shape = shape

        def encoder(self, shape, n_outputs, generator):
            return MLP(math.prod(shape), (), n_outputs, activation="relu", generator=generator)

        def decoder(self, n_components, shape, generator):
            return MLP(n_components, (), math.prod(shape), activation="relu", generator=generator)

    architecture = Affine()
    model = fit(architecture, image_shape=(3, 2))
    assert architecture.shape == (3, 2, 1)
    same = AETransformer(2, hidden_layer_sizes=(), **SHORT).fit(X)
    np.testing.assert_array_equal(model.transform(X), same.transform(X))


# Redirected random numbers.

INITIALISERS = {
    name: getattr(nn.init, f"{name}_")
    for name in (
        "uniform",
        "normal",
        "trunc_normal",
        "xavier_uniform",
        "xavier_normal",
        "kaiming_uniform",
        "kaiming_normal",
        "orthogonal",
    )
}
CONSTRUCTIONS = {
    **{name: lambda f=f: f(torch.empty(6, 4)) for name, f in INITIALISERS.items()},
    "sparse": lambda: nn.init.sparse_(torch.empty(6, 4), 0.5),
    "linear": lambda: nn.Linear(4, 6).weight.detach(),
    "convolution": lambda: nn.Conv2d(2, 3, 2).weight.detach(),
    "embedding": lambda: nn.Embedding(4, 6).weight.detach(),
    "attention": lambda: nn.MultiheadAttention(4, 1).in_proj_weight.detach(),
    "recurrent": lambda: nn.LSTM(4, 6).weight_ih_l0.detach(),
    "rand": lambda: torch.rand(6, 4),
    "rand_like": lambda: torch.rand_like(torch.empty(6, 4)),
    "randn": lambda: torch.randn(6, 4),
    "randn_like": lambda: torch.randn_like(torch.empty(6, 4)),
    "randint": lambda: torch.randint(100, (24,)),
    "randperm": lambda: torch.randperm(24),
    "normal": lambda: torch.normal(torch.zeros(24), 1.0),
    "bernoulli": lambda: torch.bernoulli(torch.full((64,), 0.5)),
    "multinomial": lambda: torch.ones(24).multinomial(24),
    "exponential": lambda: torch.empty(24).exponential_(),
    "poisson": lambda: torch.poisson(torch.full((24,), 50.0)),
    "gamma": lambda: torch.distributions.Gamma(torch.ones(24), torch.ones(24)).sample(),
    "dropout": lambda: functional.dropout(torch.ones(64)),
}


def redirected(function, seed: int = 0):
    with RedirectRandomness(RandomStream(seed)):
        return function()


@pytest.mark.parametrize("name", CONSTRUCTIONS)
def test_draws_are_redirected(name):
    draw = CONSTRUCTIONS[name]
    before = torch.get_rng_state()
    first, second, other = (redirected(draw, seed) for seed in (0, 0, 1))
    assert torch.equal(before, torch.get_rng_state())
    assert torch.equal(first, second)
    assert not torch.equal(first, other)


@pytest.mark.parametrize("name", INITIALISERS)
def test_redirected_weights_are_those_of_torch_from_the_same_seed(name):
    initialise = INITIALISERS[name]
    expected = initialise(torch.empty(6, 4), generator=generator(7))
    found = redirected(lambda: initialise(torch.empty(6, 4)), seed=7)
    assert torch.equal(found, expected)


@pytest.mark.parametrize(
    ("draw", "mean", "std"),
    [(torch.rand_like, 0.5, math.sqrt(1 / 12)), (torch.randn_like, 0.0, 1.0)],
)
def test_redirected_draws_like_a_tensor_have_their_distribution(draw, mean, std):
    values = redirected(lambda: draw(torch.empty(10_000, dtype=torch.float64)))
    assert values.dtype == torch.float64
    assert abs(values.mean().item() - mean) < 4 * std / 100
    assert values.std().item() == pytest.approx(std, rel=0.04)


def test_a_generator_in_the_call_keeps_its_place():
    found = redirected(lambda: torch.rand(5, generator=generator(3)))
    assert torch.equal(found, torch.rand(5, generator=generator(3)))


@pytest.mark.parametrize(
    ("function", "shape", "shared"),
    [
        (functional.dropout, (40, 8, 5), ()),
        (functional.dropout1d, (400, 8, 5), (2,)),
        (functional.dropout2d, (400, 8, 3, 5), (2, 3)),
        (functional.dropout3d, (400, 8, 2, 2, 3), (2, 3, 4)),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_redirected_dropout_is_dropout(function, shape, shared):
    x = torch.ones(shape)
    out = redirected(lambda: function(x, 0.25, training=True))
    assert out.unique().tolist() == pytest.approx([0, 4 / 3])
    for axis in shared:
        assert torch.equal(out, out.narrow(axis, 0, 1).expand(shape))
    n = math.prod(shape) // math.prod(shape[axis] for axis in shared)
    assert abs((out == 0).float().mean().item() - 0.25) < 4 * math.sqrt(0.1875 / n)
    assert torch.equal(redirected(lambda: function(x, 0.25, training=False)), x)


def test_redirected_dropout_in_place_and_at_its_ends():
    x = torch.ones(100)
    out = redirected(lambda: functional.dropout(x, 0.5, inplace=True))
    assert out is x
    assert set(x.tolist()) == {0.0, 2.0}
    assert redirected(lambda: functional.dropout(torch.ones(9), 1.0)).sum() == 0
    with pytest.raises(ValueError, match=r"must be in \[0, 1\]. Got 1.5"):
        redirected(lambda: functional.dropout(torch.ones(9), 1.5))
