"""Divergences: the rate, its distance from a capacity, and the maximum mean discrepancy."""

import math
from collections.abc import Callable, Iterable
from functools import partial
from typing import final

import torch
from torch import Tensor

from skvim._plain_numbers import is_real
from skvim.objectives._kl import mean_normal_kl, normal_kl, quadrature_kl
from skvim.objectives._mmd import KernelValues, imq_kernel, rbf_kernel, unbiased_mmd
from skvim.objectives._numbers import check_share, number
from skvim.objectives._posteriors import Moments, Posterior
from skvim.objectives._priors import Normal, Prior
from skvim.objectives._support import is_unbounded
from skvim.objectives._terms import Divergence, ramp

__all__ = ["KL", "MMD", "Capacity", "rates"]

_KERNELS: dict[str, Callable[..., KernelValues]] = {"imq": imq_kernel, "rbf": rbf_kernel}


@final
class KL(Divergence):
    """The rate E KL(q(z|x) ‖ p(z)) in nats, summed over latent dimensions, averaged over rows.

    In closed form for a normal prior with a gaussian or logistic posterior, for other priors by
    quadrature with 96 nodes.

    Parameters
    ----------
    warmup : float in [0, 1], default=0.0
        Share of the training in which its weight rises linearly from 0.

    Notes
    -----
    The quadrature is accurate to 1e-6 in float64 for logistic, Laplace and Student priors, as long
    as the posterior is at most 100 times as wide as the prior. It resolves sharp changes of the
    prior's density near its ``centre``; for a mixture with components much narrower than the
    posterior it is less accurate. The prior must be without bounds: the posteriors have none, and
    with a bounded prior the rate is infinite.

    Examples
    --------
    >>> import torch
    >>> from skvim.objectives import KL, Moments, Normal
    >>> q = Moments(loc=torch.ones(1, 2), scale=torch.ones(1, 2))
    >>> KL()(q, q.loc, Normal(), torch.Generator())  # ½ per dimension
    tensor(1.)
    """

    name = "kl"

    def __init__(self, warmup: float = 0.0) -> None:
        self.warmup = warmup

    @property
    def weight_warmup(self) -> float:
        """Share of the training in which its weight rises linearly from 0."""
        return self.warmup

    def check(self, posterior: Posterior, prior: Prior | None) -> None:
        """Raise ``ValueError`` where the KL is infinite, or for a warm-up out of range.

        It is infinite for a point mass, and for a prior with bounds.
        """
        check_share("warmup", self.warmup)
        if not posterior.stochastic:
            raise ValueError(
                "The divergence KL(q(z|x) ‖ p(z)) needs a posterior with a spread, as "
                f"posterior='gaussian'. Got {type(posterior).__name__} instead, for which it is "
                "infinite."
            )
        if prior is not None and not is_unbounded(prior):
            raise ValueError(
                "The divergence KL(q(z|x) ‖ p(z)) is infinite for a prior with bounds, as every "
                f"posterior extends beyond them. Got {prior!r}: use a prior on the whole real "
                "line, or a model that compares the codes of all rows with draws of the prior, "
                "such as VIMAETransformer."
            )

    def forward(self, q: Moments, z: Tensor, prior: Prior, generator: torch.Generator) -> Tensor:
        """Return the mean KL over the batch."""
        return mean_rate(q, prior)


def mean_rate(q: Moments, prior: Prior) -> Tensor:
    """Return the mean over rows of KL(q(z|x) ‖ p(z)) in nats, a scalar; errors as of ``rates``."""
    if isinstance(prior, Normal) and q.scale is not None:
        return mean_normal_kl(q.loc, q.scale, float(prior.scale), q.base.entropy)
    return rates(q, prior).sum(-1).mean()


def rates(q: Moments, prior: Prior) -> Tensor:
    """Return KL(q(z|x) ‖ p(z)) of every row and dimension in nats: shape (n, n_components).

    It is infinite where the posterior extends beyond a bound of the prior. ``ValueError`` for point
    masses, for which it is always infinite.
    """
    loc, scale, base = q
    if scale is None:
        raise ValueError("KL is infinite for a posterior without a spread.")
    if isinstance(prior, Normal):
        return normal_kl(loc, scale, prior.scale, base.entropy)
    centre = torch.as_tensor(prior.centre, dtype=loc.dtype, device=loc.device)
    return quadrature_kl(loc, scale, base.log_density, prior.log_density, centre)


@final
class Capacity(Divergence):
    """abs(R − C), the distance of the rate R = E KL(q(z|x) ‖ p(z)) from a capacity, in nats.

    Parameters
    ----------
    capacity : float in [0, inf)
        Final value of C, in nats per row.
    warmup : float in [0, 1], default=0.5
        Share of the training in which C rises linearly from 0.

    References
    ----------
    C. P. Burgess et al., *Understanding disentangling in β-VAE*, 2018, arXiv:1804.03599.

    Examples
    --------
    >>> import torch
    >>> from skvim.objectives import Capacity, Moments, Normal
    >>> q = Moments(loc=torch.ones(1, 2), scale=torch.ones(1, 2))  # a rate of 1 nat
    >>> Capacity(3.0)(q, q.loc, Normal(), torch.Generator())
    tensor(2.)
    """

    name = "capacity"
    variable = ("capacity",)

    def __init__(self, capacity: float, warmup: float = 0.5) -> None:
        self.capacity = capacity
        self.warmup = warmup

    def check(self, posterior: Posterior, prior: Prior | None) -> None:
        """Raise ``ValueError`` where the rate is infinite, or for settings out of range."""
        KL().check(posterior, prior)
        if not is_real(self.capacity) or not 0 <= self.capacity < math.inf:
            raise ValueError(
                f"The capacity must be a finite number from 0 on. Got {self.capacity!r}."
            )
        check_share("warmup", self.warmup)

    def forward(self, q: Moments, z: Tensor, prior: Prior, generator: torch.Generator) -> Tensor:
        """Return the distance from the present capacity."""
        rate = mean_rate(q, prior)
        capacity: Tensor | float = number(self.capacity)
        return (rate - ramp(self.progress, self.warmup) * capacity).abs()


@final
class MMD(Divergence):
    """Squared maximum mean discrepancy between q(z) and p(z), unbiased, over several widths.

    Parameters
    ----------
    kernel : {"imq", "rbf"}, default="imq"
        Inverse multiquadratic w/(w + d²), or gaussian exp(−d²/w).
    widths : tuple of float, default=(0.1, 0.2, 0.5, 1, 2, 5, 10)
        Kernel widths w in units of 2 k σ_p², the mean squared distance of two draws of the prior
        in k dimensions. Where the variances of dimensions differ, each is divided by its standard
        deviation first. Kernels are summed, not averaged.

    Notes
    -----
    MMD² = E k(z, z′) + E k(y, y′) − 2 E k(z, y), z ~ q(z), y ~ p(z), without the diagonal terms.

    References
    ----------
    I. Tolstikhin et al., *Wasserstein auto-encoders*, 2018, arXiv:1711.01558 (kernel and widths).

    Examples
    --------
    >>> import torch
    >>> from skvim.objectives import MMD, Moments, Normal
    >>> generator = torch.Generator().manual_seed(0)
    >>> z = torch.randn(500, 2, generator=generator)
    >>> same = MMD()(Moments(z, None), z, Normal(), generator)
    >>> far = MMD()(Moments(3 * z, None), 3 * z, Normal(), generator)
    >>> bool(same.abs() < 0.02), bool(far > 0.5)
    (True, True)
    """

    name = "mmd"
    min_rows = 2
    should_decrease = True

    def __init__(
        self,
        kernel: str = "imq",
        widths: tuple[float, ...] = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0),
    ) -> None:
        self.kernel = kernel
        self.widths = widths

    def check(self, posterior: Posterior, prior: Prior | None) -> None:
        """Raise ``ValueError`` for an unknown kernel or a width that is not positive."""
        if not isinstance(self.kernel, str) or self.kernel not in _KERNELS:
            raise ValueError(f"The kernel of MMD must be 'imq' or 'rbf'. Got {self.kernel!r}.")
        widths = list(self.widths) if isinstance(self.widths, Iterable) else []
        if not widths or not all(is_real(w) and 0 < w < math.inf for w in widths):
            raise ValueError(
                f"The widths of MMD must be positive finite numbers. Got {self.widths!r}."
            )

    def forward(self, q: Moments, z: Tensor, prior: Prior, generator: torch.Generator) -> Tensor:
        """Return the squared discrepancy to as many draws of the prior."""
        draws = prior.draw(tuple(z.shape), generator, z.dtype)
        unit = float(2 * z.shape[1] * prior.variance)
        if isinstance(prior.variances, Tensor) and prior.variances.dim():
            # Standardised, else dimensions of small variance would not count.
            unit = float(2 * z.shape[1])
            spread = prior.variances.sqrt().to(z)
            z, draws = z / spread, draws / spread
        widths = [unit * float(width) for width in self.widths]
        return unbiased_mmd(z, draws, partial(_KERNELS[self.kernel], widths=widths))
