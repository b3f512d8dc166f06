"""Derivatives of decoders, and what products in float32 may change."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.func import jacrev, vmap

from skvim import VAETransformer
from skvim.networks import ACTIVATIONS, Perceptrons
from skvim.objectives import Gaussian, Normal
from skvim.objectives._curvature import exact_step
from skvim.objectives._decoding import Decoding

ROWS = np.random.default_rng(0).normal(size=(200, 6)) @ np.random.default_rng(1).normal(size=(6, 6))
NETWORKS = [
    *(Perceptrons((9, 7), activation=name) for name in ACTIVATIONS),
    Perceptrons(()),
    Perceptrons((8,), normalization="batch", dropout=0.2),
    Perceptrons((8,), normalization="layer"),
]


@pytest.mark.parametrize("network", NETWORKS, ids=repr)
def test_jacobians_are_those_of_reverse_differentiation(network):
    model = VAETransformer(3, network=network, max_epochs=2, random_state=0).fit(ROWS)
    net = model.net_.in_precision(torch.float64)
    z = torch.tensor(np.random.default_rng(2).normal(size=(5, 3)))
    output, jacobian = Decoding(net, Normal(), 3).with_jacobian(z)
    torch.testing.assert_close(output, net.decode(z))
    # Of layers that mix units it consists of quotients of differences.
    torch.testing.assert_close(jacobian, vmap(jacrev(net.decode))(z).mT, rtol=1e-6, atol=1e-6)


def test_decoding_takes_any_number_of_codes():
    net = wide().net_.in_precision(torch.float64)
    decoding = Decoding(net, Normal(), 3)
    for n in (1, 3, 127, 130, 1025, 2100):
        z = torch.tensor(np.random.default_rng(n).normal(size=(n, 3)))
        output, jacobian = decoding.with_jacobian(z)
        torch.testing.assert_close(output, net.decode(z), rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(decoding(z), output, rtol=1e-5, atol=1e-5)
        assert jacobian.shape == (n, 3, 6)


def wide(likelihood="gaussian"):
    """Return a model whose products are fast in float32."""
    settings = {"hidden_layer_sizes": (128,), "max_epochs": 3, "random_state": 0}
    return VAETransformer(3, likelihood=likelihood, **settings).fit(ROWS)


def test_wide_decoders_use_float32_unless_the_likelihood_would_notice():
    for likelihood, dtype in ((Gaussian(), torch.float32), (Gaussian(1e-9), torch.float64)):
        net = wide(likelihood).net_.in_precision(torch.float64)
        assert Decoding(net, Normal(), 3).network.dtype == dtype


def test_scores_of_wide_decoders_agree_with_float64(monkeypatch):
    model = wide()
    rows = np.concatenate([ROWS[:20], 1e3 * ROWS[:5]])
    fast = model.score_samples(rows)
    alone = np.concatenate([model.score_samples(row[None]) for row in rows])
    monkeypatch.setattr("skvim.objectives._differentiable._WIDE", 1000)
    exact = model.score_samples(rows)
    np.testing.assert_allclose(fast, exact, rtol=1e-4, atol=1e-3)
    np.testing.assert_allclose(alone, exact, rtol=1e-4, atol=1e-3)


def test_wide_networks_of_other_layers_use_float32_and_agree_with_float64():
    network = Perceptrons((128,), normalization="layer")
    net = VAETransformer(3, network=network, max_epochs=3, random_state=0).fit(ROWS).net_
    exact = net.in_precision(torch.float64)
    decoding = Decoding(exact, Normal(), 3)
    z = torch.tensor(np.random.default_rng(2).normal(size=(7, 3)))
    output, jacobian = decoding.with_jacobian(z)
    assert decoding.network.dtype == (torch.float32 if decoding.exact.is_wide else torch.float64)
    torch.testing.assert_close(output, exact.decode(z), rtol=1e-4, atol=1e-4)
    slopes = vmap(jacrev(exact.decode))(z).mT
    torch.testing.assert_close(jacobian, slopes, rtol=1e-2, atol=1e-2)


class Branching(nn.Module):
    """A decoder whose code looks at values, which torch's transforms cannot follow."""

    def __init__(self, n_components, n_features):
        super().__init__()
        self.linear = nn.Linear(n_components, n_features)

    def forward(self, z):
        return self.linear(z) if bool(z.abs().max() < 100) else self.linear(z.clamp(-100, 100))


def test_decoders_that_look_at_values_are_scored():
    settings = {"network": (nn.Linear, Branching), "max_epochs": 3, "random_state": 0}
    model = VAETransformer(3, **settings).fit(ROWS)
    exact = model.score_samples(ROWS[:9], n_draws=2)
    # An affine decoder needs no draws.
    np.testing.assert_allclose(model.score_samples(ROWS[:9], n_draws=50), exact, rtol=1e-5)


def test_wide_decoders_score_rows_that_float32_does_not_hold():
    scores = wide().score_samples(1e42 * ROWS[:3])
    assert np.isfinite(scores).all()


def test_steps_by_least_squares_are_those_of_the_normal_equations():
    generator = torch.Generator().manual_seed(0)
    jacobian, fisher, slope, prior_slope = (
        torch.randn(3, *shape, generator=generator, dtype=torch.float64)
        for shape in ((4, 6), (6,), (6,), (4,))
    )
    fisher, precision = fisher.square(), torch.tensor([1.0, 0.5, 2.0, 4.0], dtype=torch.float64)
    fisher[:, 2] = 0  # without information, as a missing cell, and hence without a slope
    slope[:, 2] = 0
    matrix = torch.diag(precision) + (jacobian * fisher.unsqueeze(-2)) @ jacobian.mT
    gradient = (jacobian @ slope.unsqueeze(-1)).squeeze(-1) + prior_slope
    found = exact_step(jacobian, fisher, precision, slope, prior_slope)
    torch.testing.assert_close(found, torch.linalg.solve(matrix, gradient))
