"""Posteriors q(z|x): distributions over codes with the encoder's output as parameters."""

import copy
from abc import ABC, abstractmethod
from typing import ClassVar, NamedTuple, final

import torch
from torch import Tensor
from torch.nn import functional

from skvim._plain_numbers import is_real
from skvim.objectives._numbers import SCALES
from skvim.objectives._priors import Logistic, Normal, Prior
from skvim.objectives._settings import Settings

__all__ = [
    "DiracPosterior",
    "GaussianPosterior",
    "LogisticPosterior",
    "Moments",
    "Posterior",
    "make_posterior",
]

# exp(±10) covers every spread of use in float32 and does not overflow.
_LOG_SCALE_LIMIT = 10.0


class Moments(NamedTuple):
    """Location, spread and shape of q(z|x) for a batch.

    Attributes
    ----------
    loc : Tensor of shape (n_samples, n_components)
        Posterior mean.
    scale : Tensor of shape (n_samples, n_components) or None
        Posterior standard deviation; None for a point mass.
    base : Prior, default=Normal()
        Density of (z − loc)/scale: mean 0, variance 1.
    """

    loc: Tensor
    scale: Tensor | None
    base: Prior = Normal()

    def log_density(self, z: Tensor) -> Tensor:
        """Return log q(z|x) of every entry in nats; ``z`` has or broadcasts with the shape of loc.

        Raises
        ------
        ValueError
            For a point mass, which has none.
        """
        if self.scale is None:
            raise ValueError("A posterior without a spread has no density.")
        return self.base.log_density((z - self.loc) / self.scale) - self.scale.log()


class Posterior(Settings, ABC):
    """A factorised family of posteriors, without trained parameters of its own."""

    stochastic: ClassVar[bool]

    @abstractmethod
    def check(self) -> None:
        """Raise ``ValueError`` when a setting is out of range; called by ``fit``."""

    @abstractmethod
    def n_outputs(self, n_components: int) -> int:
        """Return the number of the encoder's outputs for ``n_components`` latent dimensions."""

    @abstractmethod
    def moments(self, output: Tensor) -> Moments:
        """Return the posteriors for the encoder's output of shape (n_samples, n_outputs)."""

    @final
    def draw(self, q: Moments, generator: torch.Generator) -> Tensor:
        """Draw one code for every row, of shape (n_samples, n_components), differentiable in ``q``.

        The reparametrised draw loc + scale · ε, ε from the base (Kingma and Welling, 2014,
        arXiv:1312.6114).
        """
        if q.scale is None:
            return q.loc
        noise = q.base.draw(tuple(q.loc.shape), generator, q.loc.dtype)
        return torch.addcmul(q.loc, q.scale, noise)


@final
class DiracPosterior(Posterior):
    """A point mass at the encoder's output: the deterministic encoder of AE, WAE and VIMAE."""

    stochastic = False

    def check(self) -> None:
        """Do nothing: there is no setting."""

    def n_outputs(self, n_components: int) -> int:
        """Return ``n_components``."""
        return n_components

    def moments(self, output: Tensor) -> Moments:
        """Return the output as the location."""
        return Moments(output, None)


class _LocationScale(Posterior, ABC):
    """loc(x) + scale(x) · ε with ε from one standardised density.

    Parameters
    ----------
    scale : float in (0, inf) or None, default=None
        Standard deviation of every dimension; if None, an output of the encoder for each row and
        dimension, with its logarithm clipped to ±10.
    """

    stochastic = True

    def __init__(self, scale: float | None = None) -> None:
        self.scale = scale

    @property
    @abstractmethod
    def base(self) -> Prior:
        """Density of (z − loc)/scale."""

    @final
    def check(self) -> None:
        """Raise ``ValueError`` unless a fixed scale is positive and float32 holds its square."""
        low, high = SCALES
        if self.scale is None or (is_real(self.scale) and low <= self.scale <= high):
            return
        raise ValueError(
            f"The scale of {type(self).__name__} must be None or a positive finite number, and "
            f"float32 has to hold its square: from {low:g} to {high:g}. Got {self.scale!r} instead."
        )

    @final
    def n_outputs(self, n_components: int) -> int:
        """Return ``2 * n_components``, locations and log scales, or the former alone if fixed."""
        return n_components if self.scale is not None else 2 * n_components

    @final
    def moments(self, output: Tensor) -> Moments:
        """Return the two halves of the output as location and log standard deviation."""
        if self.scale is not None:
            return Moments(output, torch.full_like(output, float(self.scale)), self.base)
        loc, log_scale = output.chunk(2, dim=-1)  # (n, 2k) -> (n, k), (n, k)
        # The gradient of clamp takes four operations.
        scale = functional.hardtanh(log_scale, -_LOG_SCALE_LIMIT, _LOG_SCALE_LIMIT).exp()
        return Moments(loc, scale, self.base)


@final
class GaussianPosterior(_LocationScale):
    """N(μ(x), diag σ(x)²), or N(μ(x), s² I) at a fixed scale s.

    Parameters
    ----------
    scale : float in (0, inf) or None, default=None
        Standard deviation of every dimension; if None, an output of the encoder for each row and
        dimension, with its logarithm clipped to ±10.

    Examples
    --------
    >>> import torch
    >>> from skvim.objectives import GaussianPosterior
    >>> q = GaussianPosterior().moments(torch.tensor([[0.5, 0.0]]))
    >>> q.loc, q.scale
    (tensor([[0.5000]]), tensor([[1.]]))
    >>> GaussianPosterior(0.3).moments(torch.tensor([[0.5, 0.0]])).scale
    tensor([[0.3000, 0.3000]])
    """

    @property
    def base(self) -> Prior:
        """N(0, 1)."""
        return Normal()


@final
class LogisticPosterior(_LocationScale):
    """Logistic posterior of mean μ(x) and standard deviation σ(x), or a fixed one.

    Parameters
    ----------
    scale : float in (0, inf) or None, default=None
        Standard deviation of every dimension, √3/π of which is the logistic's scale parameter; if
        None, an output of the encoder for each row and dimension, with its logarithm clipped to
        ±10.

    Notes
    -----
    Its divergence from a standard normal prior is known in closed form: with s = σ √3/π,
    KL = −log s − 2 + ½ log 2π + ½ (μ² + s² π²/3) per dimension, in nats.

    Examples
    --------
    >>> import torch
    >>> from skvim.objectives import LogisticPosterior
    >>> LogisticPosterior().moments(torch.tensor([[0.5, 0.0]])).scale
    tensor([[1.]])
    """

    @property
    def base(self) -> Prior:
        """The logistic density of variance 1."""
        return Logistic.unit_variance()


def make_posterior(posterior: "str | Posterior") -> Posterior:
    """Return the posterior of a name, or a copy of the given object, checked.

    Parameters
    ----------
    posterior : {"dirac", "gaussian", "logistic"} or Posterior
        Value of an estimator's ``posterior`` parameter, already known to be one of these.

    Returns
    -------
    Posterior
        Its settings are in range.
    """
    known: dict[str, type[Posterior]] = {
        "dirac": DiracPosterior,
        "gaussian": GaussianPosterior,
        "logistic": LogisticPosterior,
    }
    made = known[posterior]() if isinstance(posterior, str) else copy.deepcopy(posterior)
    made.check()
    return made
