"""Priors p(z): the base class, normal and logistic priors."""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from skvim._plain_numbers import is_real
from skvim._values import ByValue
from skvim.objectives._kl import log_logistic
from skvim.objectives._numbers import SCALES

__all__ = ["Logistic", "Normal", "Prior"]


class Prior(ByValue, ABC):
    """A prior whose latent dimensions are independent.

    Subclass it for a prior of your own: the five abstract members are enough where all dimensions
    are equal, centred on zero and unbounded. Override the other properties where they are not.
    Densities are in nats; ``variance`` and ``entropy`` are per dimension. Priors of one class with
    equal attributes are equal.
    """

    @property
    @abstractmethod
    def variance(self) -> float:
        """Variance of one dimension; their mean where dimensions differ."""

    @property
    @abstractmethod
    def entropy(self) -> float:
        """Differential entropy of one dimension, in nats; their mean where dimensions differ."""

    @property
    def variances(self) -> Tensor | float:
        """Variance of every dimension: one number, or a tensor of shape (n_components,)."""
        return self.variance

    @property
    def centre(self) -> Tensor | float:
        """Median of every dimension: 0, another number, or a tensor of shape (n_components,)."""
        return 0.0

    @property
    def support(self) -> tuple[Tensor | float, Tensor | float]:
        """Lower and upper bound of every dimension, infinite unless a subclass overrides it.

        Each is a number or a tensor of shape (n_components,). Outside, the log-density is −∞.
        """
        return -math.inf, math.inf

    @property
    def n_components(self) -> int | None:
        """The number of dimensions that it requires; None for any."""
        return None

    @abstractmethod
    def check(self) -> None:
        """Raise ``ValueError`` when a setting is out of range; called by ``fit``."""

    @abstractmethod
    def log_density(self, z: Tensor) -> Tensor:
        """Return log p of every entry, in nats: shape (..., n_components), as that of ``z``.

        It runs under ``torch.func.vmap`` and ``torch.func.grad``.
        """

    @abstractmethod
    def draw(
        self, shape: tuple[int, ...], generator: torch.Generator, dtype: torch.dtype
    ) -> Tensor:
        """Draw independent entries, (..., n_components), on the device of ``generator``."""


@final
@dataclass(frozen=True)
class Normal(Prior):
    """Normal prior with mean zero: the prior of a VAE and of VIMAE-n.

    Parameters
    ----------
    scale : float in (0, inf), default=1.0
        Standard deviation s.

    Notes
    -----
    Variance s², entropy ½ log(2πe s²): 1.419 nats per dimension at s = 1.

    Examples
    --------
    >>> from skvim.objectives import Normal
    >>> Normal().variance, round(Normal().entropy, 3)
    (1.0, 1.419)
    """

    scale: float = 1.0

    @property
    def variance(self) -> float:
        """Variance of one dimension, s²."""
        return float(self.scale) ** 2

    @property
    def entropy(self) -> float:
        """Differential entropy of one dimension in nats, ½ log(2πe s²)."""
        return 0.5 * math.log(2 * math.pi * math.e) + math.log(self.scale)

    def check(self) -> None:
        """Raise ``ValueError`` when the scale is not positive and finite."""
        _check_scale(self, self.scale)

    def log_density(self, z: Tensor) -> Tensor:
        """Return −½ (z/s)² − log(s √2π) for every entry."""
        constant = math.log(self.scale) + 0.5 * math.log(2 * math.pi)
        return -0.5 * (z / self.scale).square() - constant

    def draw(
        self, shape: tuple[int, ...], generator: torch.Generator, dtype: torch.dtype
    ) -> Tensor:
        """Draw independent entries on the device of ``generator``."""
        noise = torch.randn(shape, generator=generator, dtype=dtype, device=generator.device)
        return noise if self.scale == 1 else noise * self.scale


@final
@dataclass(frozen=True)
class Logistic(Prior):
    """Logistic prior with mean zero: the prior of VIMAE-l.

    Parameters
    ----------
    scale : float in (0, inf), default=1.0
        Scale s; 1 is the prior of the paper.

    Notes
    -----
    Variance π² s²/3, entropy 2 + log s nats per dimension. At s = 1 that is *more* entropy than the
    standard normal's 1.419 nats, although the paper calls it the prior of smaller capacity; the
    claim holds at equal variance, see :meth:`unit_variance`.

    References
    ----------
    V. Crescimanna and B. Graham, *The Variational InfoMax AutoEncoder*, section III-B.

    Examples
    --------
    >>> from skvim.objectives import Logistic
    >>> round(Logistic().variance, 3), Logistic().entropy
    (3.29, 2.0)
    """

    scale: float = 1.0

    @classmethod
    def unit_variance(cls) -> "Logistic":
        """Return the logistic prior of variance 1 (s = √3/π), of 1.405 nats per dimension.

        Examples
        --------
        >>> from skvim.objectives import Logistic
        >>> prior = Logistic.unit_variance()
        >>> round(prior.variance, 6), round(prior.entropy, 3)
        (1.0, 1.405)
        """
        return cls(scale=math.sqrt(3) / math.pi)

    @property
    def variance(self) -> float:
        """Variance of one dimension, π² s²/3."""
        return (math.pi * float(self.scale)) ** 2 / 3

    @property
    def entropy(self) -> float:
        """Differential entropy of one dimension in nats, 2 + log s."""
        return 2 + math.log(self.scale)

    def check(self) -> None:
        """Raise ``ValueError`` when the scale is not positive and finite."""
        _check_scale(self, self.scale)

    def log_density(self, z: Tensor) -> Tensor:
        """Return −|z|/s − 2 log(1 + exp(−|z|/s)) − log s for every entry."""
        return log_logistic(z / self.scale) - math.log(self.scale)

    def draw(
        self, shape: tuple[int, ...], generator: torch.Generator, dtype: torch.dtype
    ) -> Tensor:
        """Draw independent entries on the device of ``generator`` by inversion."""
        u = torch.rand(shape, generator=generator, dtype=dtype, device=generator.device)
        # rand includes 0, whose quantile is −inf, but never reaches 1.
        return torch.logit(u.clamp(min=torch.finfo(dtype).tiny)) * self.scale


def _check_scale(prior: Prior, scale: float) -> None:
    """Raise unless the scale is a positive number whose square float32 holds."""
    low, high = SCALES
    if not is_real(scale) or not low <= scale <= high:
        raise ValueError(
            f"The scale of the prior {type(prior).__name__} must be a positive finite number, and "
            f"float32 has to hold its square: from {low:g} to {high:g}. Got {scale!r} instead."
        )
