"""Posteriors q(z|x): how the encoder's output becomes a distribution over codes."""

from abc import ABC, abstractmethod
from typing import ClassVar, NamedTuple, final

import torch
from torch import Tensor

__all__ = ["DiracPosterior", "GaussianPosterior", "Moments", "Posterior", "make_posterior"]

# exp(±10) spans every spread that training in float32 can use, and neither end overflows.
_LOG_SCALE_LIMIT = 10.0


class Moments(NamedTuple):
    """Location and spread of q(z|x) for a batch.

    Attributes
    ----------
    loc : Tensor of shape (n_samples, n_components)
        Posterior mean.
    scale : Tensor of shape (n_samples, n_components) or None
        Posterior standard deviation; None for a point mass.
    """

    loc: Tensor
    scale: Tensor | None


class Posterior(ABC):
    """A factorised family of posteriors; it has no parameters of its own."""

    stochastic: ClassVar[bool]

    @abstractmethod
    def n_outputs(self, n_components: int) -> int:
        """Return how many numbers the encoder gives for ``n_components`` latent dimensions."""

    @abstractmethod
    def moments(self, output: Tensor) -> Moments:
        """Read the encoder's output of shape (n_samples, n_outputs)."""

    @abstractmethod
    def draw(self, q: Moments, generator: torch.Generator) -> Tensor:
        """Draw one code a row, differentiable in ``q``: shape (n_samples, n_components)."""


@final
class DiracPosterior(Posterior):
    """A point mass at the encoder's output: the deterministic encoder of AE, WAE and VIMAE."""

    stochastic = False

    def n_outputs(self, n_components: int) -> int:
        """Return ``n_components``."""
        return n_components

    def moments(self, output: Tensor) -> Moments:
        """Take the output as the location."""
        return Moments(output, None)

    def draw(self, q: Moments, generator: torch.Generator) -> Tensor:
        """Return the location."""
        return q.loc


@final
class GaussianPosterior(Posterior):
    """N(μ(x), diag σ(x)²), with log σ bounded by ±10.

    Examples
    --------
    >>> import torch
    >>> from skvim.objectives import GaussianPosterior
    >>> q = GaussianPosterior().moments(torch.tensor([[0.5, 0.0]]))
    >>> q.loc, q.scale
    (tensor([[0.5000]]), tensor([[1.]]))
    """

    stochastic = True

    def n_outputs(self, n_components: int) -> int:
        """Return ``2 * n_components``: locations, then log standard deviations."""
        return 2 * n_components

    def moments(self, output: Tensor) -> Moments:
        """Split the output into location and log standard deviation."""
        loc, log_scale = output.chunk(2, dim=-1)  # (n, 2k) -> (n, k), (n, k)
        return Moments(loc, log_scale.clamp(-_LOG_SCALE_LIMIT, _LOG_SCALE_LIMIT).exp())

    def draw(self, q: Moments, generator: torch.Generator) -> Tensor:
        """Return μ + σ ε with ε ~ N(0, 1) (Kingma and Welling, 2014, arXiv:1312.6114)."""
        noise = torch.empty_like(q.loc).normal_(generator=generator)
        return q.loc if q.scale is None else torch.addcmul(q.loc, q.scale, noise)


def make_posterior(posterior: str) -> Posterior:
    """Return the posterior family that a name stands for: "dirac" or "gaussian"."""
    known: dict[str, type[Posterior]] = {"dirac": DiracPosterior, "gaussian": GaussianPosterior}
    return known[posterior]()
