"""Priors from ``torch.distributions``."""

import copy
import math
from collections.abc import Callable
from functools import cached_property
from typing import Any, final

import torch
from torch import Tensor
from torch.distributions import Distribution, Independent, StudentT, Transform

from skvim._torch_private import (
    InverseTransform,
    draw_gamma,
    outside_transforms,
    set_argument_checks,
)
from skvim._values import by_bytes
from skvim.objectives._kl import gauss_legendre
from skvim.objectives._priors import Logistic, Normal, Prior
from skvim.objectives._support import is_unbounded, support_bounds

__all__ = ["Factorised", "make_prior"]

_FLOAT64: dict[str, Any] = {"dtype": torch.float64, "device": torch.device("cpu")}
# Quantiles are asked from here to as far below 1: the last number there in float64.
_LEAST = 2.0**-53


@final
class Factorised(Prior):
    """Any continuous distribution of ``torch.distributions`` with independent dimensions.

    An estimator's ``prior`` takes the distribution itself and wraps it in this class.

    Parameters
    ----------
    distribution : torch.distributions.Distribution
        Of batch shape () for all latent dimensions alike or (n_components,) for one each, and of
        event shape (); or ``Independent(base, 1)`` of the latter. It needs a finite variance and,
        unless it is ``StudentT``, a method ``icdf`` (the quantile function). It is not changed.

    Notes
    -----
    Draws are quantiles of uniform numbers in float64; those of Student's t are ε/√(χ²/ν).
    ``variance`` and ``entropy`` are torch's where it has them, otherwise integrals, right to about
    1e-6 unless the tails are power laws or the density has jumps. The mean need not be zero.

    Examples
    --------
    >>> import torch
    >>> from skvim.objectives import Factorised
    >>> prior = Factorised(torch.distributions.Laplace(0.0, 1.0))
    >>> prior.variance, round(prior.entropy, 3)
    (2.0, 1.693)
    >>> prior.log_density(torch.tensor([[0.0, 1.0]]))
    tensor([[-0.6931, -1.6931]])
    """

    def __init__(self, distribution: Distribution) -> None:
        self.distribution = distribution

    @property
    def variance(self) -> float:
        """Variance of one dimension; their mean where dimensions differ."""
        return float(self.variances.mean())

    @cached_property
    @outside_transforms()
    def variances(self) -> Tensor:
        """Variance of every dimension: shape () or (n_components,)."""
        distribution = self._working
        try:
            return distribution.variance
        except NotImplementedError:
            mean = _expected_value(distribution, lambda z: z)
            return _expected_value(distribution, lambda z: (z - mean).square())

    @cached_property
    @outside_transforms()
    def entropy(self) -> float:
        """Differential entropy of one dimension in nats; their mean where dimensions differ."""
        distribution = self._working
        try:
            return float(distribution.entropy().mean())
        except NotImplementedError:
            return float(-_expected_value(distribution, distribution.log_prob).mean())

    @cached_property
    @outside_transforms()
    def centre(self) -> Tensor:
        """Median of every dimension: shape () or (n_components,)."""
        distribution = self._working
        half = torch.full(distribution.batch_shape, 0.5, **_FLOAT64)
        return distribution.loc if isinstance(distribution, StudentT) else distribution.icdf(half)

    @cached_property
    @outside_transforms()
    def support(self) -> tuple[Tensor, Tensor]:
        """Lower and upper bound of every dimension: shapes () or (n_components,)."""
        return support_bounds(self._working)

    @property
    def n_components(self) -> int | None:
        """The number of dimensions if it has one distribution each, else None."""
        return next(iter(self._working.batch_shape), None)

    def check(self) -> None:
        """Raise ``TypeError`` or ``ValueError`` for a distribution that cannot be a prior."""
        if not isinstance(self.distribution, Distribution):
            raise TypeError(
                f"Factorised takes a torch.distributions.Distribution. Got {self.distribution!r}."
            )
        distribution = self._working
        if distribution.event_shape or len(distribution.batch_shape) > 1:
            raise self._error(
                "must have independent dimensions: batch shape () or (n_components,) and event "
                f"shape (), or Independent(base, 1) of such. It has {self.distribution.batch_shape}"
                f" and {self.distribution.event_shape}"
            )
        try:
            if distribution.support.is_discrete:  # type: ignore[union-attr]
                raise self._error("must be continuous: codes are real numbers")
            distribution.log_prob(self.centre)
        except NotImplementedError as error:
            raise self._error(
                "must have the methods log_prob and icdf, whose quantiles are the draws. "
                "Subclass skvim.objectives.Prior for one that lacks them"
            ) from error
        if not 0 < self.variances.min() <= self.variances.max() < math.inf:
            raise self._error(f"must have a finite variance above 0. It is {self.variances}")
        if not math.isfinite(self.entropy):
            raise self._error(f"must have a finite entropy. It is {self.entropy}")

    def log_density(self, z: Tensor) -> Tensor:
        """Return log p of every entry, −∞ outside the support: the shape of ``z``."""
        distribution = self._on(z.dtype, z.device)
        if self._is_unbounded:
            return distribution.log_prob(z)
        low, high, centre = (value.to(z) for value in (*self.support, self.centre))
        # torch's own densities do not all end at the bounds.
        inside = (z >= low) & (z <= high)
        density = distribution.log_prob(torch.where(inside, z, centre))
        return torch.where(inside, density, -math.inf)

    def draw(
        self, shape: tuple[int, ...], generator: torch.Generator, dtype: torch.dtype
    ) -> Tensor:
        """Draw independent entries, (..., n_components), on the device of ``generator``."""
        distribution = self._on(torch.float64, generator.device)
        options: Any = {"generator": generator, **_FLOAT64, "device": generator.device}
        if isinstance(distribution, StudentT):
            noise, df = torch.randn(shape, **options), distribution.df
            half = (0.5 * df).expand(shape).contiguous()
            squares = 2 * draw_gamma(half, generator)
            draws = distribution.loc + distribution.scale * noise * (df / squares).sqrt()
            return draws.to(dtype)
        return distribution.icdf(torch.rand(shape, **options).clamp(min=_LEAST)).to(dtype)

    def __repr__(self) -> str:
        """Show the distribution."""
        return f"Factorised({self.distribution!r})"

    @cached_property
    def _is_unbounded(self) -> bool:
        """Whether the support is the real line in every dimension."""
        return is_unbounded(self)

    @cached_property
    def _copies(self) -> dict[tuple[torch.dtype, torch.device], Distribution]:
        """The distribution by dtype and device."""
        return {}

    @property
    def _working(self) -> Distribution:
        """The distribution as figures are computed from it: in float64 on the CPU."""
        return self._on(**_FLOAT64)

    def _on(self, dtype: torch.dtype, device: torch.device) -> Distribution:
        """Return a copy with parameters of that dtype and device, which checks no arguments."""
        if (dtype, device) not in self._copies:
            is_working = {"dtype": dtype, "device": device} == _FLOAT64
            source = self.distribution if is_working else self._working
            with outside_transforms():
                made = copy.deepcopy(by_bytes(source))
                while isinstance(made, Independent):
                    made = made.base_dist
                self._copies[dtype, device] = _convert(made, dtype, device)
        return self._copies[dtype, device]

    def _error(self, reason: str) -> ValueError:
        """Return the error that says what the distribution lacks."""
        return ValueError(f"The prior {self.distribution!r} {reason}.")


def make_prior(prior: "str | Prior | Distribution", n_components: int | None = None) -> Prior:
    """Return the prior for a name or a distribution, or a copy of the given prior, checked.

    Parameters
    ----------
    prior : {"normal", "logistic"}, Prior or torch.distributions.Distribution
        Value of an estimator's ``prior`` parameter, already known to be one of these.
    n_components : int or None, default=None
        Latent dimensions that it has to fit; None allows any number.

    Raises
    ------
    ValueError
        When a setting is out of range, or a distribution has not so many independent dimensions.
    """
    if isinstance(prior, str):
        return {"normal": Normal, "logistic": Logistic}[prior]()
    made = copy.deepcopy(Factorised(prior) if isinstance(prior, Distribution) else prior)
    made.check()
    if n_components is not None and made.n_components not in (None, n_components):
        raise ValueError(
            f"The prior {prior!r} has {made.n_components} dimensions, but n_components is "
            f"{n_components}. Give one distribution for all dimensions, or one for each."
        )
    return made


def _convert(value: Any, dtype: torch.dtype, device: torch.device) -> Any:
    """Convert the tensors of a distribution and switch its argument checks off, in place."""
    if isinstance(value, Tensor):
        return value.detach().to(device, dtype if value.is_floating_point() else value.dtype)
    if isinstance(value, list):
        return [_convert(item, dtype, device) for item in value]
    if isinstance(value, InverseTransform) and value.inv is None:
        raise ValueError(
            "The prior has a transform that torch has lost the inverse of, as it does in a copy. "
            "Pass skvim.objectives.Factorised(distribution), which can be copied."
        )
    if isinstance(value, Distribution | Transform):
        for name, part in vars(value).items():
            vars(value)[name] = _convert(part, dtype, device)
    if isinstance(value, Distribution):
        set_argument_checks(value, False)
    return value


def _expected_value(distribution: Distribution, function: Callable[[Tensor], Tensor]) -> Tensor:
    """Return E f(z) = ∫ f(Q(u)) du for every dimension, or ∞ where the variance is infinite.

    f acts entry by entry and grows at most quadratically. The integral over t = log u/(1 − u) has
    512 pieces with a Gauss–Legendre rule of 16 nodes each; Q is the quantile function.
    """
    nodes, weights = gauss_legendre(16)
    edges = torch.linspace(math.log(_LEAST), -math.log(_LEAST), 513, **_FLOAT64)
    width = edges.diff().unsqueeze(1)
    t = (edges[:-1, None] + nodes * width).flatten()
    column = (-1, *[1] * len(distribution.batch_shape))
    slope = (t.sigmoid() * (-t).sigmoid()).view(column)  # du/dt
    z = distribution.icdf(t.sigmoid().view(column).expand(-1, *distribution.batch_shape))
    values = function(z)
    # At quantiles that are rounded to a bound, where log-densities may be infinite, f is left out.
    masses = torch.where(values.isfinite(), (weights * width).view(column) * slope, 0)
    mean = (masses * values.nan_to_num(0, 0, 0)).sum(0)
    mean = mean.masked_fill(masses.sum(0) < 1 - 1e-6, math.nan)
    # z² du/dt falls in both tails if and only if the variance is finite.
    squares = (z - z[len(z) // 2]).square() * slope
    heavy = (squares[400] >= squares[2000]) | (squares[-400] >= squares[-2000])
    return torch.where(heavy, math.inf, mean)
