"""Likelihoods p(x|z): what the decoder's output says about the data."""

import copy
import math
from abc import ABC, abstractmethod
from numbers import Real
from typing import Any, ClassVar, Literal, NamedTuple, final

import torch
from torch import Tensor, nn
from torch.nn import functional

from skvim.objectives._numbers import is_real

__all__ = ["Bernoulli", "DataStatistics", "Gaussian", "Likelihood", "make_likelihood"]

# Least share of a new batch in the running variance: a memory of about 20 batches.
_MOMENTUM = 0.05
# The running variance stays above this share of the data's: a perfect fit has density infinity.
_RELATIVE_FLOOR = 1e-6


class DataStatistics(NamedTuple):
    """What ``fit`` measures on its rows before training.

    Attributes
    ----------
    mean : Tensor of shape (n_features,)
        Mean of every feature.
    scale : float
        Root of the features' mean variance; 1 for constant data.
    low, high : float
        Smallest and largest value.
    n_rows : int
        Number of rows.
    """

    mean: Tensor
    scale: float
    low: float
    high: float
    n_rows: int


class Likelihood(nn.Module, ABC):
    """A density over features given the decoder's output, independent between features.

    Called with rows and outputs it returns their log-density in nats, summed over features. In
    training mode it also lets :meth:`observe` follow the errors, so that a likelihood can hold
    parameters at their optimum.
    """

    #: Smallest and largest value that the density is defined for.
    support: ClassVar[tuple[float, float]] = (-math.inf, math.inf)
    #: Numbers among the attributes in which models that train together may differ.
    variable: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def check(self) -> None:
        """Raise ``ValueError`` when a setting is out of range; called by ``fit``."""

    @abstractmethod
    def prepare(self, data: DataStatistics) -> None:
        """Start from the training data."""

    @abstractmethod
    def output_affine(self, data: DataStatistics) -> tuple[Tensor, float]:
        """Return offset (n_features,) and scale of the decoder's output that suit the data."""

    @abstractmethod
    def error(self, x: Tensor, output: Tensor) -> Tensor:
        """Return what the log-density depends on: (n_samples,), or one number a feature too."""

    @abstractmethod
    def log_density(self, error: Tensor, n_features: int) -> Tensor:
        """Return the log-density of rows with these errors, in nats, of shape (n_samples,)."""

    @abstractmethod
    def mean(self, output: Tensor) -> Tensor:
        """Return E[x|z], of the output's shape."""

    @abstractmethod
    def precision(self, output: Tensor) -> Tensor:
        """Return the Fisher information of each output, of the output's shape."""

    @abstractmethod
    def draw(self, output: Tensor, generator: torch.Generator) -> Tensor:
        """Draw x ~ p(x|z), of the output's shape."""

    @property
    def learns(self) -> bool:
        """Whether it follows the errors (hook)."""
        return False

    def observe(self, error: Tensor, n_features: int) -> None:
        """Follow a training batch's errors (hook; does nothing unless something is learned)."""

    def settle(self, error: Tensor, n_features: int) -> None:
        """Take the optimum for these errors, after training (hook, as above)."""

    def check_support(self, low: float, high: float) -> None:
        """Raise ``ValueError`` when values from ``low`` to ``high`` leave the support."""
        least, greatest = self.support
        if low < least or high > greatest:
            raise ValueError(
                f"The likelihood {type(self).__name__} expects every value of X in "
                f"[{least:g}, {greatest:g}]. Got values from {low:g} to {high:g}. Rescale X, for "
                "example with MinMaxScaler, or use likelihood='gaussian'."
            )

    def forward(self, x: Tensor, output: Tensor) -> Tensor:
        """Return log p(x|z) of every row in nats, of shape (n_samples,)."""
        n_features = x.shape[-1]
        error = self.error(x, output)
        if self.training:
            self.observe(error.detach(), n_features)
        return self.log_density(error, n_features)


@final
class Gaussian(Likelihood):
    """Normal likelihood N(x̂(z), σ² I), with one variance for all features or one for each.

    Parameters
    ----------
    variance : float in (0, inf), "learned" or "per-feature", default="learned"
        σ². "learned" keeps it at its maximum-likelihood value, the mean squared error per feature:
        in training smoothed over about 20 batches, or one pass where that is shorter, and measured
        on up to 4,096 rows after it. "per-feature" does so for every feature by itself: noise that
        differs between features is told apart, and features that are reconstructed well weigh
        more. Neither falls below 1e-6 of the data's variance. For the reference code's weight of
        errors see :meth:`wae`.

    Notes
    -----
    log p(x|z) = −½ Σ_j ((x_j − x̂_j)²/σ_j² + log 2πσ_j²) in nats, summed over features.

    References
    ----------
    O. Rybkin, K. Daniilidis and S. Levine, *Simple and effective VAE training with calibrated
    decoders*, 2021, arXiv:2006.13202 (the maximum-likelihood variance).

    Examples
    --------
    >>> import torch
    >>> from skvim.objectives import Gaussian
    >>> x, decoded = torch.tensor([[1.0, 0.0]]), torch.zeros(1, 2)
    >>> Gaussian(variance=1.0)(x, decoded)  # −½ − log 2π
    tensor([-2.3379])
    """

    value: Tensor
    floor: Tensor
    variable = ("momentum_rows",)

    def __init__(self, variance: float | Literal["learned", "per-feature"] = "learned") -> None:
        super().__init__()
        self.variance = variance
        self.momentum_rows = math.inf
        start = float(variance) if isinstance(variance, Real) else 1.0
        self.register_buffer("value", torch.tensor(start, dtype=torch.float32))
        self.register_buffer("floor", torch.tensor(0.0, dtype=torch.float32))

    @classmethod
    def wae(cls) -> "Gaussian":
        """Return the likelihood whose −log p(x|z) is 0.05 ‖x − x̂‖² and a constant: σ² = 10.

        The cost of the reference code of Wasserstein autoencoders, whose settings the paper takes
        over, beside which its λ = 10 is meant.

        Examples
        --------
        >>> from skvim.objectives import Gaussian
        >>> Gaussian.wae()
        Gaussian(variance=10.0)
        """
        return cls(variance=10.0)

    def check(self) -> None:
        """Raise ``ValueError`` unless the variance is learned or a positive finite number."""
        value = self.variance
        smallest = torch.finfo(torch.float32).tiny
        if isinstance(value, str) and value in {"learned", "per-feature"}:
            return
        if isinstance(value, str) or not is_real(value) or not smallest <= value < math.inf:
            raise ValueError(
                "The variance of the likelihood Gaussian must be 'learned', 'per-feature' or a "
                f"positive finite number. Got {value!r} instead."
            )

    def prepare(self, data: DataStatistics) -> None:
        """Set a fixed variance, and start a learned one at the data's own."""
        if not self.learns:
            self.value.fill_(float(self.variance))
            return
        shape = data.mean.shape if self._by_feature else ()
        self.value = self.value.new_full(shape, data.scale**2)
        self.floor.fill_(_RELATIVE_FLOOR * data.scale**2)
        self.momentum_rows = data.n_rows

    def output_affine(self, data: DataStatistics) -> tuple[Tensor, float]:
        """Return the mean and scale of the data."""
        return data.mean, data.scale

    def error(self, x: Tensor, output: Tensor) -> Tensor:
        """Return ‖x − x̂‖² of every row, or its summands where each has its own variance."""
        squares = functional.mse_loss(output, x.expand_as(output), reduction="none")
        return squares if self._by_feature else squares.sum(-1)

    @property
    def learns(self) -> bool:
        """Whether the variance is learned."""
        return isinstance(self.variance, str)

    @property
    def _by_feature(self) -> bool:
        """Whether every feature has a variance of its own."""
        return isinstance(self.variance, str) and self.variance == "per-feature"

    def _mean_square(self, error: Tensor, n_features: int) -> Tensor:
        """Return the maximum-likelihood variance for a batch's errors."""
        return error.mean(0) if self._by_feature else error.mean() / n_features

    def _share(self, n_rows: int) -> Any:
        """Return the weight of a batch: its share of the rows, or one in about twenty."""
        share: Any = n_rows / self.momentum_rows
        if isinstance(share, Tensor):  # many models at once
            return share.clamp(_MOMENTUM, 1.0)
        return min(1.0, max(_MOMENTUM, share))

    def observe(self, error: Tensor, n_features: int) -> None:
        """Move a learned variance towards the batch's mean squared error."""
        if self.learns:
            share = self._share(len(error))
            moved = self._mean_square(error, n_features)
            self.value.lerp_(moved, share).clamp_(min=self.floor)

    def settle(self, error: Tensor, n_features: int) -> None:
        """Set a learned variance to the mean squared error."""
        if self.learns:
            self.value.copy_(self._mean_square(error, n_features)).clamp_(min=self.floor)

    def log_density(self, error: Tensor, n_features: int) -> Tensor:
        """Return −½ (SSE/σ² + d log 2πσ²), or the sum over features of that with their own σ²."""
        # A copy: the buffer is updated in place before the next backward pass could be run twice.
        variance = self.value.clone()
        if self._by_feature:
            return -0.5 * (error / variance + (2 * math.pi * variance).log()).sum(-1)
        return -0.5 * (error / variance + n_features * (2 * math.pi * variance).log())

    def mean(self, output: Tensor) -> Tensor:
        """Return the output itself."""
        return output

    def precision(self, output: Tensor) -> Tensor:
        """Return 1/σ² for every output."""
        return (1 / self.value).expand_as(output)

    def draw(self, output: Tensor, generator: torch.Generator) -> Tensor:
        """Return x̂ + σ ε with ε ~ N(0, 1)."""
        noise = torch.empty_like(output).normal_(generator=generator)
        return torch.addcmul(output, self.value.sqrt(), noise)

    def extra_repr(self) -> str:
        """Show the setting (torch's hook)."""
        return f"variance={self.variance!r}"


@final
class Bernoulli(Likelihood):
    """Bernoulli likelihood with logits as the decoder's output, for data in [0, 1].

    Notes
    -----
    log p(x|z) = Σ x log p + (1 − x) log(1 − p) in nats, p = sigmoid of the output. For values
    strictly between 0 and 1 this is the usual cross-entropy, not a normalised density.

    Examples
    --------
    >>> import torch
    >>> from skvim.objectives import Bernoulli
    >>> Bernoulli()(torch.tensor([[1.0, 0.0]]), torch.zeros(1, 2))  # −2 log 2
    tensor([-1.3863])
    """

    support = (0.0, 1.0)

    def check(self) -> None:
        """Do nothing: there is no setting."""

    def prepare(self, data: DataStatistics) -> None:
        """Do nothing: nothing is learned."""

    def output_affine(self, data: DataStatistics) -> tuple[Tensor, float]:
        """Return the logits of the features' means, and 1."""
        return torch.logit(data.mean, eps=1e-2), 1.0

    def error(self, x: Tensor, output: Tensor) -> Tensor:
        """Return the cross-entropy of every row, in nats."""
        target = x.expand_as(output)
        entropy = functional.binary_cross_entropy_with_logits(output, target, reduction="none")
        return entropy.sum(-1)

    def log_density(self, error: Tensor, n_features: int) -> Tensor:
        """Return minus the cross-entropy."""
        return -error

    def mean(self, output: Tensor) -> Tensor:
        """Return the probability of a one."""
        return output.sigmoid()

    def precision(self, output: Tensor) -> Tensor:
        """Return p (1 − p), the Fisher information of a logit."""
        probability = output.sigmoid()
        return probability * (1 - probability)

    def draw(self, output: Tensor, generator: torch.Generator) -> Tensor:
        """Draw ones with their probability, and zeros."""
        return torch.bernoulli(output.sigmoid(), generator=generator)


def make_likelihood(likelihood: "str | Likelihood") -> Likelihood:
    """Return a fresh likelihood for a name, or a copy of the given object.

    Parameters
    ----------
    likelihood : {"gaussian", "bernoulli"} or Likelihood
        Value of an estimator's ``likelihood`` parameter, already known to be one of these.

    Returns
    -------
    Likelihood
        Checked, and safe to train: the user's object is never changed.
    """
    if isinstance(likelihood, str):
        known: dict[str, type[Gaussian] | type[Bernoulli]]
        known = {"gaussian": Gaussian, "bernoulli": Bernoulli}
        return known[likelihood]()
    likelihood.check()
    copied: Likelihood = copy.deepcopy(likelihood)
    return copied
