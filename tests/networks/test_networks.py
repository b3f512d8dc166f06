"""Perceptrons with normalisation and dropout, and the convolutional networks of the reference."""

import copy
import math
import pickle

import pytest
import torch
from scipy import stats
from torch import nn
from torch.func import jacrev, vmap
from torch.nn import functional

from skvim.networks import (
    MLP,
    Architecture,
    Convolutional,
    Dropout,
    Perceptrons,
    batch_apply,
    max_activation_size,
)
from skvim.networks._convolutional import _Upsampling as Upsampling


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def normal(*shape: int, seed: int = 1, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.empty(shape, dtype=dtype).normal_(generator=generator(seed))


def mlp(n_in: int = 5, n_out: int = 3, hidden=(8,), **options) -> MLP:
    options = {"activation": "relu", "generator": generator()} | options
    return MLP(n_in, hidden, n_out, **options)


def n_parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


# Perceptrons.


@pytest.mark.parametrize("normalization", ["batch", "layer"])
@pytest.mark.numerics
def test_normalised_units_have_mean_0_and_variance_1_before_the_activation(normalization):
    seen = {}
    net = mlp(hidden=(64, 32), normalization=normalization)
    for layer in net.layers:
        if isinstance(layer, nn.ReLU):
            layer.register_forward_pre_hook(lambda _, args: seen.setdefault(len(seen), args[0]))
    net(3.0 + 5.0 * normal(500, 5))
    axis = 0 if normalization == "batch" else 1
    assert [units.shape for units in seen.values()] == [(500, 64), (500, 32)]
    for units in seen.values():
        variance, mean = torch.var_mean(units, dim=axis, correction=0)
        torch.testing.assert_close(mean, torch.zeros_like(mean), atol=1e-5, rtol=0)
        torch.testing.assert_close(variance, torch.ones_like(variance), atol=1e-2, rtol=0)


def test_a_hidden_layer_is_linear_normalised_activated_and_dropped():
    net = mlp(normalization="layer", activation="tanh", dropout=0.3).eval()
    state = net.state_dict()
    x = normal(7, 5)
    first, norm, last = ({k: v for k, v in state.items() if f".{i}." in k} for i in (0, 1, 4))
    hidden = functional.linear(x, *first.values())
    hidden = functional.layer_norm(hidden, (8,), *norm.values()).tanh()
    torch.testing.assert_close(net(x), functional.linear(hidden, *last.values()))
    net.train()
    scaled = [(net(x) - net(x)).abs().max().item() for _ in range(5)]
    assert max(scaled) > 0.01


def test_settings_of_the_mlp_leave_its_initial_weights_alone():
    def linear(net):
        return [
            p for layer in net.layers if isinstance(layer, nn.Linear) for p in layer.parameters()
        ]

    plain = linear(mlp())
    for a, b in zip(plain, linear(mlp(normalization="batch")), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("normalization", [None, "batch", "layer"])
def test_rows_may_have_any_leading_axes(normalization):
    nets = [mlp(normalization=normalization).eval()]
    nets.append(Convolutional(0.05).encoder((8, 8, 1), 3, generator()).eval())
    for net, n_in in zip(nets, (5, 64), strict=True):
        x = normal(2, 3, n_in)
        torch.testing.assert_close(net(x), net(x.reshape(6, n_in)).reshape(2, 3, 3))
        torch.testing.assert_close(net(x[0, 0]), net(x)[0, 0])


def test_batch_apply_passes_matrices():
    shapes = []

    def function(x):
        shapes.append(tuple(x.shape))
        return x[:, :2]

    assert batch_apply(function, torch.zeros(4, 5, 3)).shape == (4, 5, 2)
    assert batch_apply(function, torch.zeros(3)).shape == (2,)
    assert batch_apply(function, torch.zeros(6, 3)).shape == (6, 2)
    assert shapes == [(20, 3), (1, 3), (6, 3)]


@pytest.mark.parametrize(
    ("architecture", "message"),
    [
        (Perceptrons((8, 0)), r"hidden_layer_sizes must hold integers in \[1, inf\)"),
        (Perceptrons((8,), "step"), "activation must be one of .*'tanh'.*Got 'step'"),
        (Perceptrons((8,), normalization="group"), r"normalization .*'batch'.*Got 'group'"),
        (Perceptrons((8,), dropout=1.0), r"dropout must be a number in \[0, 1\). Got 1.0"),
        (Perceptrons((8,), dropout="half"), "dropout must be a number .*Got 'half'"),
        (Convolutional(0), r"width of Convolutional must be a positive .*Got 0"),
        (Convolutional(math.inf), "width of Convolutional"),
        (Convolutional(True), "width of Convolutional"),
    ],
)
def test_settings_out_of_range_are_refused(architecture, message):
    with pytest.raises(ValueError, match=message):
        architecture.check((8, 8, 1))


# Dropout.


@pytest.mark.parametrize("rate", [0.1, 0.9])
def test_dropout_drops_its_share_and_keeps_the_mean(rate):
    n = 40_000
    out = Dropout(rate, generator=generator())(torch.ones(n))
    dropped = (out == 0).float().mean().item()
    assert abs(dropped - rate) < 4 * math.sqrt(rate * (1 - rate) / n)
    torch.testing.assert_close(out[out != 0], torch.full_like(out[out != 0], 1 / (1 - rate)))


def test_dropout_scales_gradients_as_it_scales_values():
    x = torch.ones(100, requires_grad=True)
    out = Dropout(0.5, generator=generator())(x)
    out.sum().backward()
    assert torch.equal(x.grad, out.detach())


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
@pytest.mark.parametrize("used", [False, True])
def test_copies_of_dropout_continue_where_it_stood(duplicate, used):
    layer, x = Dropout(0.5, generator=generator()), torch.ones(64)
    first = layer(x) if used else None
    copied = duplicate(layer)
    expected = [layer(x) for _ in range(3)]
    assert first is None or not torch.equal(first, expected[0])
    assert not torch.equal(expected[0], expected[1])
    for mask in expected:
        assert torch.equal(copied(x), mask)


def test_dropout_depends_on_its_generator_alone():
    before = torch.get_rng_state()
    masks = [Dropout(0.5, generator=generator(seed))(torch.ones(64)) for seed in (0, 0, 1)]
    assert torch.equal(before, torch.get_rng_state())
    assert torch.equal(masks[0], masks[1])
    assert not torch.equal(masks[0], masks[2])
    source = generator()
    pair = [Dropout(0.5, generator=source)(torch.ones(64)) for _ in range(2)]
    assert not torch.equal(*pair)


def test_dropout_does_nothing_in_evaluation():
    x = normal(10)
    assert torch.equal(Dropout(0.9, generator=generator()).eval()(x), x)


# Convolutional networks.


def pair(shape, n_components=8, width=1.0, n_outputs=None):
    architecture, source = Convolutional(width), generator()
    architecture.check(shape)
    encoder = architecture.encoder(shape, n_outputs or n_components, source)
    return encoder, architecture.decoder(n_components, shape, source)


# By hand: kernel² · in · out + out for a convolution, 2 · channels for its normalisation.
REFERENCE = {
    (28, 28, 1): (8, 11_050_632, 10_943_745),
    (64, 64, 3): (64, 18_267_200, 21_475_331),
}
SIDES = {
    (28, 28, 1): ([14, 7, 4, 2], [14, 28]),
    (32, 32, 3): ([16, 8, 4, 2], [16, 32]),
    (64, 64, 3): ([32, 16, 8, 4], [16, 32, 64]),
    (8, 8, 1): ([4, 2], [8]),
    (128, 128, 3): ([64, 32, 16, 8, 4], [16, 32, 64, 128]),
}


@pytest.mark.parametrize("shape", REFERENCE)
def test_full_networks_have_the_parameters_of_the_reference(shape, monkeypatch):
    # Shapes alone count: no weights are drawn.
    monkeypatch.setattr(nn.init, "trunc_normal_", lambda weight, **options: weight)
    monkeypatch.setattr(nn.init, "normal_", lambda weight, **options: weight)
    n_components, in_encoder, in_decoder = REFERENCE[shape]
    encoder, decoder = pair(shape, n_components)
    assert (n_parameters(encoder), n_parameters(decoder)) == (in_encoder, in_decoder)


def test_initial_weights_are_those_of_the_reference():
    encoder, decoder = pair((64, 64, 3), width=0.25)
    for net in (encoder, decoder):
        for layer in net.modules():
            if isinstance(layer, nn.BatchNorm2d):
                assert (layer.eps, layer.momentum) == (1e-5, 0.1)
            elif hasattr(layer, "weight"):
                truncated = net is encoder and isinstance(layer, nn.Conv2d)
                std = 0.01 * (stats.truncnorm(-2, 2).std() if truncated else 1.0)
                weight = layer.weight.detach()
                error = 1 / math.sqrt(2 * weight.numel())
                assert weight.std().item() == pytest.approx(std, rel=4 * error)
                assert abs(weight.mean().item()) < 4 * std / math.sqrt(weight.numel())
                assert (weight.abs().max() <= 0.02).item() is truncated
                assert not layer.bias.any()


@pytest.mark.parametrize("shape", SIDES)
def test_convolutions_halve_and_double_the_sides(shape):
    encoder, decoder = pair(shape, 3, width=0.01)
    sides = {nn.Conv2d: [], Upsampling: []}
    for net in (encoder, decoder):
        for layer in net.modules():
            if type(layer) in sides:
                layer.register_forward_hook(
                    lambda layer, _, out: sides[type(layer)].append(tuple(out.shape[2:]))
                )
    z = encoder(torch.zeros(2, math.prod(shape)))
    assert z.shape == (2, 3)
    assert sides[nn.Conv2d] == [(side, side) for side in SIDES[shape][0]]
    assert decoder(z).shape == (2, math.prod(shape))
    assert sides[Upsampling] == [(side, side) for side in SIDES[shape][1]]


@pytest.mark.parametrize("side", [28, 64])
def test_padding_puts_its_larger_part_after_the_image(side):
    # SAME with stride 2: kernel 4 sees pixels −1 to 2 first, kernel 5 pixels −1 to 3.
    encoder, _ = pair((side, side, 1), width=0.01)
    kernel = 4 if side == 28 else 5
    x = torch.zeros(1, 1, side, side, requires_grad=True)
    padding, convolution = nn.Identity(), encoder.layers[0]
    if isinstance(convolution, nn.ZeroPad2d):
        padding, convolution = encoder.layers[:2]
    out = convolution(padding(x))
    for place, seen in ((0, range(kernel - 1)), (side // 2 - 1, range(side - 3, side))):
        (gradient,) = torch.autograd.grad(out[0, 0, place, place], x, retain_graph=True)
        rows, columns = gradient[0, 0].nonzero(as_tuple=True)
        assert set(rows.tolist()) == set(columns.tolist()) == set(seen)


@pytest.mark.parametrize(("width", "channels"), [(0.125, [16, 32, 64, 128]), (0.01, [4, 4, 5, 10])])
def test_width_multiplies_channels_down_to_four(width, channels):
    encoder, decoder = pair((28, 28, 1), width=width)
    found = [layer.out_channels for layer in encoder.modules() if isinstance(layer, nn.Conv2d)]
    assert found == channels
    found = [layer.weight for layer in decoder.modules() if isinstance(layer, Upsampling)]
    assert [len(found[0]), *(weight.shape[1] for weight in found)] == channels[:0:-1]


@pytest.mark.parametrize("shape", [(28, 28, 1), (64, 64, 3)])  # kernels of 4 and 5 pixels
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_layers_of_the_decoder_are_convolutions(shape, memory_format):
    _, decoder = pair(shape, width=0.01)
    kernel = 4 if shape[2] == 1 else 5
    *others, last = decoder.double().layers
    up = next(layer for layer in others if isinstance(layer, Upsampling))
    for layer, plain in (
        (up, nn.ConvTranspose2d(*up.weight.shape[:2], kernel, 2, (kernel - 1) // 2, kernel % 2)),
        (last, nn.Conv2d(*last.weight.shape[1::-1], kernel, padding=kernel // 2)),
    ):
        for name, parameter in plain.double().named_parameters():
            parameter.data = torch.randn(parameter.shape, generator=generator()).double()
            layer.get_parameter(name).data = parameter.data
        x = torch.randn(3, layer.weight.shape[layer is last], 6, 8, generator=generator()).double()
        found = layer(x.to(memory_format=memory_format))
        expected = plain(x)[..., : found.shape[2], : found.shape[3]]
        torch.testing.assert_close(found, expected)
        gradients = [
            torch.autograd.grad(out.square().sum(), net.parameters())
            for out, net in ((found, layer), (expected, plain))
        ]
        torch.testing.assert_close(*gradients)


def test_supported_sides_are_those_documented():
    def suits(*shape):
        try:
            Convolutional().check(shape)
        except ValueError:
            return False
        return True

    documented = [8, 10, 12, 14, 16, 20, 24, 28, 32, 40, 48, 56, 64]
    assert [side for side in range(1, 65) if suits(side, side, 3)] == documented
    assert suits(128, 128, 1)
    assert suits(16, 32, 3)
    assert not suits(8, 32, 3)


@pytest.mark.parametrize("shape", [(16, 8, 2), (28, 28, 1), (64, 64, 3)])
def test_pixels_keep_their_places(shape):
    height, breadth, channels = shape
    encoder, decoder = pair(shape, 2, width=0.01)
    # The encoder's first place sees the image's corner, in all channels.
    x = torch.zeros(1, math.prod(shape), requires_grad=True)
    maps = []
    first = next(layer for layer in encoder.layers if isinstance(layer, nn.Conv2d))
    first.register_forward_hook(lambda *args: maps.append(args[2]))
    encoder.eval()(x)
    (gradient,) = torch.autograd.grad(maps[0][0, 0, 0, -1], x)
    places = gradient.reshape(shape).nonzero()
    assert places[:, 0].max() < 4
    assert places[:, 1].min() > breadth - 5
    assert set(places[:, 2].tolist()) == set(range(channels))
    # One place of the decoder's start lights one patch; the last biases tell the channels.
    state = decoder.eval().state_dict()
    a, b, depth = decoder.base_shape
    light = torch.zeros(a, b, depth)
    light[a - 1, 0] = 1000.0
    with torch.no_grad():
        state["input.bias"].copy_(light.flatten())
        biases = [key for key in state if key.endswith(".bias")]
        state[biases[-1]].copy_(torch.arange(1.0, channels + 1))
        image = decoder(torch.zeros(1, 2)).reshape(shape)
    assert torch.equal(image[0, -1], torch.arange(1.0, channels + 1))
    lit = (image - image[0, -1]).abs().sum(-1).nonzero()
    assert lit[:, 0].min() > height // 2 - 5
    assert lit[:, 1].max() < breadth // 2 + 4
    assert len(lit) > 10


def test_networks_repeat_by_their_generator_and_leave_the_global_one():
    before = torch.get_rng_state()
    states = [net.state_dict() for _ in range(2) for net in pair((8, 8, 1), width=0.05)]
    assert torch.equal(before, torch.get_rng_state())
    for first, second in ((states[0], states[2]), (states[1], states[3])):
        assert all(torch.equal(first[key], second[key]) for key in first)


ARCHITECTURES: dict[str, tuple[Architecture, tuple[int, ...]]] = {
    "convolutional": (Convolutional(0.02), (8, 8, 2)),
    "batch": (Perceptrons((16,), "tanh", normalization="batch"), (5,)),
    "layer": (Perceptrons((16,), "tanh", normalization="layer"), (5,)),
}


@pytest.mark.parametrize("name", ARCHITECTURES)
@pytest.mark.numerics
def test_jacobians_of_many_rows_at_once_are_those_of_single_rows(name):
    architecture, shape = ARCHITECTURES[name]
    decoder = architecture.decoder(3, shape, generator()).to(torch.float64)
    decoder(normal(50, 3, dtype=torch.float64))  # moves running moments off 0 and 1
    decoder.eval()
    z = normal(4, 3, dtype=torch.float64)
    together = vmap(jacrev(decoder))(z)
    for row, jacobian in zip(z, together, strict=True):
        expected = torch.autograd.functional.jacobian(decoder, row)
        torch.testing.assert_close(jacobian, expected)


def test_the_largest_activation_is_measured():
    encoder, decoder = (net.eval() for net in pair((28, 28, 1), width=0.125))
    assert max_activation_size(encoder, 784) == (7 + 3) ** 2 * 32  # padded, just above 14 * 14 * 16
    assert max_activation_size(decoder, 8) == 28 * 28 * 32
    assert max_activation_size(mlp(3, 2, (50, 7)), 3) == 50
    assert max_activation_size(mlp(3, 2, ()), 3) == 3


@pytest.mark.parametrize("part", [0, 1])
@pytest.mark.numerics
def test_evaluation_passes_few_rows_at_once_and_training_all(part):
    net = pair((28, 28, 1), width=0.125)[part]
    x = normal(3, 100, (784, 8)[part])
    sizes = []
    net.layers[0].register_forward_pre_hook(lambda _, args: sizes.append(len(args[0])))
    net(x)
    assert sizes == [300]
    sizes.clear()
    together = net.eval()(x)
    assert sum(sizes) == 300
    largest = (14 * 14 * 16, 28 * 28 * 32)[part]
    assert max(sizes) == min(300, 2**21 // largest)
    torch.testing.assert_close(together[1, 99], net(x[1, 99]))
