"""Split normal distributions against their density by quadrature."""

import numpy as np
import torch
from scipy import integrate, stats

from skvim.objectives._split_normal import split_normal


def density(u, low, high):
    """Return the density at u, by that of the draw whose rank is that of u."""
    share = low / (low + high)
    if u < 0:
        noise = stats.norm.ppf(2 * share * stats.norm.cdf(u / low))
    else:
        noise = stats.norm.isf(2 * (1 - share) * stats.norm.sf(u / high))
    noise = torch.tensor([[noise]]).double()
    draw, log_density = split_normal(noise, *torch.tensor([[low], [high]]).double())
    assert abs(float(draw) - u) < 1e-7 * (1 + abs(u))
    return float(log_density.exp())


def test_density_is_that_of_the_draws_and_has_integral_one():
    for low, high in ((1.0, 1.0), (0.7, 3.0), (2.0, 0.9)):
        total, _ = integrate.quad(density, -20, 25, args=(low, high), points=[0.0])
        assert abs(total - 1) < 1e-7


def test_equal_halves_of_width_one_leave_normal_draws():
    noise = torch.tensor(np.random.default_rng(0).standard_normal((100, 3)))
    ones = torch.ones(3, dtype=torch.float64)
    draws, log_density = split_normal(noise, ones, ones)
    torch.testing.assert_close(draws, noise)
    expected = stats.norm.logpdf(noise.numpy()).sum(1)
    np.testing.assert_allclose(log_density, expected)


def test_extreme_draws_are_finite():
    noise = torch.tensor([[-39.0, 39.0, 0.0]], dtype=torch.float64)
    draws, log_density = split_normal(noise, torch.full((3,), 0.7).double(), torch.ones(3).double())
    assert bool(draws.isfinite().all())
    assert bool(log_density.isfinite().all())
