"""The contractive penalty and the Markov chain, where both are known in closed form."""

import numpy as np
import pytest
import torch
from scipy.linalg import solve_discrete_lyapunov
from torch import nn

from skvim.objectives import (
    Autoencoder,
    Contraction,
    DataStatistics,
    DiracPosterior,
    Gaussian,
    GaussianPosterior,
    markov_chain,
)
from skvim.objectives._contraction import encoder_jacobian


class Square(nn.Module):
    """x ↦ x²/2, whose Jacobian at x is diag(x)."""

    def forward(self, x):
        return x.square() / 2


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def model_of(encoder, decoder=None, posterior=None, variance=1.0, scale=1.0) -> Autoencoder:
    """Compose a float64 model of given parts for centred data of a given scale."""
    likelihood = Gaussian(variance=variance)
    made = Autoencoder(encoder, decoder or nn.Identity(), posterior or DiracPosterior(), likelihood)
    made.prepare(DataStatistics(torch.zeros(3), scale, -1.0, 1.0, 10))
    return made.double().eval()


def rows(n: int = 40) -> torch.Tensor:
    return torch.randn(n, 3, generator=generator(7), dtype=torch.float64)


@pytest.mark.parametrize("scale", [1.0, 100.0])
@pytest.mark.numerics
def test_penalty_of_a_linear_encoder_is_the_norm_of_its_weights_in_any_unit(scale):
    linear = nn.Linear(3, 2)
    penalty = Contraction(curvature=5.0)(model_of(linear, scale=scale), scale * rows(), generator())
    torch.testing.assert_close(penalty, linear.weight.square().sum())


@pytest.mark.numerics
def test_jacobian_agrees_with_finite_differences():
    model = model_of(nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 2)))
    x, step = rows(4), 1e-6
    jacobian = encoder_jacobian(model, x)
    for i in range(3):
        shift = step * torch.eye(3, dtype=torch.float64)[i]
        change = (model.encode(x + shift).loc - model.encode(x - shift).loc) / (2 * step)
        torch.testing.assert_close(jacobian[:, :, i].T, change, atol=1e-8, rtol=1e-6)


def test_higher_order_penalty_of_a_square_is_the_variance_of_the_noise():
    x, radius = rows(20_000), 0.3
    first = Contraction()(model_of(Square()), x, generator())
    torch.testing.assert_close(first, x.square().sum(1).mean())
    both = Contraction(curvature=2.0, radius=radius)(model_of(Square()), x, generator())
    assert (both - first).item() == pytest.approx(2 * 3 * radius**2, rel=0.02)


def test_gradients_of_the_penalty_agree_with_finite_differences():
    weight = torch.randn(2, 3, generator=generator(), dtype=torch.float64, requires_grad=True)
    penalty, x = Contraction(curvature=0.5, radius=0.2), rows(5)

    class Tanh(nn.Module):
        def forward(self, x):
            return torch.tanh(x @ weight.T)

    model = model_of(Tanh())
    assert torch.autograd.gradcheck(lambda w: penalty(model, x, generator()), (weight,))


def test_penalty_leaves_the_rows_without_a_gradient():
    x = rows()
    Contraction()(model_of(nn.Linear(3, 2)), x, generator())
    assert not x.requires_grad


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"curvature": -1.0}, "curvature must be a finite number from 0 on. Got -1.0"),
        ({"radius": 0.0}, "radius must be a positive finite number. Got 0.0"),
    ],
)
def test_bad_settings_are_named(settings, message):
    with pytest.raises(ValueError, match=message):
        Contraction(**settings).check(DiracPosterior(), None)


def test_markov_chain_of_a_linear_model_has_the_stationary_covariance():
    """z' = A (B z + τ η) + σ ε is autoregressive: its covariance solves Lyapunov's equation."""
    source = np.random.default_rng(0)
    encode, decode = source.normal(size=(2, 3)) / 2, source.normal(size=(3, 2)) / 2
    encoder, decoder = nn.Linear(3, 2, bias=False), nn.Linear(2, 3, bias=False)
    with torch.no_grad():
        encoder.weight.copy_(torch.tensor(encode))
        decoder.weight.copy_(torch.tensor(decode))
    model = model_of(encoder, decoder, GaussianPosterior(0.7), variance=0.25)
    noise = 0.25 * encode @ encode.T + 0.49 * np.eye(2)
    expected = solve_discrete_lyapunov(encode @ decode, noise)
    with torch.no_grad():
        codes = markov_chain(model, 2000, (50, 5, 20), generator())
    assert codes.shape == (40_000, 2)
    assert np.abs(codes.mean(0).numpy()).max() < 0.05
    np.testing.assert_allclose(np.cov(codes.numpy().T), expected, atol=0.05)
