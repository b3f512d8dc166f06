"""The likelihoods of the library: normal and Bernoulli."""

import copy
import math
from typing import Any, Literal, final

import torch
from torch import Tensor
from torch.nn import functional

from skvim._plain_numbers import is_real
from skvim.objectives._likelihood import DataStatistics, Likelihood

__all__ = ["Bernoulli", "Gaussian", "make_likelihood"]

# Least weight of a new batch in the running variance: a memory of about 20 batches.
_MOMENTUM = 0.05
# The running variance stays above this share of the data's: a perfect fit has density infinity.
_RELATIVE_FLOOR = 1e-6


@final
class Gaussian(Likelihood):
    """Normal likelihood N(x̂(z), σ² I), with one variance for all features or one for each.

    Parameters
    ----------
    variance : float in (0, inf), "learned" or "per-feature", default="learned"
        σ². "learned" keeps it at its maximum-likelihood value, the mean squared error per feature:
        in training a running mean over about 20 batches, or one epoch if that is shorter, and after
        it the mean over up to 4,096 rows. "per-feature" does so for each feature: the noise may
        differ between features, and features that are reconstructed well weigh more. Neither is
        below 1e-6 of the data's variance. For the reference code's weight of errors see
        :meth:`wae`.

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

    # State: the variance, of shape () or (n_features,), and what it stays above, of shape ().
    value: Tensor
    floor: Tensor
    n_rows: Tensor | float

    def __init__(self, variance: float | Literal["learned", "per-feature"] = "learned") -> None:
        self.variance = variance

    @classmethod
    def wae(cls) -> "Gaussian":
        """Return the likelihood whose −log p(x|z) is 0.05 ‖x − x̂‖² and a constant: σ² = 10.

        The cost in the reference code of Wasserstein autoencoders, whose settings the paper uses:
        its λ = 10 is relative to this cost.

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
        smallest, most = torch.finfo(torch.float32).tiny, torch.finfo(torch.float32).max
        if isinstance(value, str) and value in {"learned", "per-feature"}:
            return
        if isinstance(value, str) or not is_real(value) or not smallest <= value <= most:
            raise ValueError(
                "The variance of the likelihood Gaussian must be 'learned', 'per-feature' or a "
                f"positive finite number that float32 holds. Got {value!r} instead."
            )

    def start(self, data: DataStatistics) -> dict[str, Tensor]:
        """Return a fixed variance, or that of the data for a learned one, and its lower bound."""
        shape = data.mean.shape if self._by_feature else ()
        value = data.scale**2 if self.learns else float(self.variance)
        floor = _RELATIVE_FLOOR * data.scale**2 if self.learns else 0.0
        return {"value": data.mean.new_full(shape, value), "floor": data.mean.new_tensor(floor)}

    def output_affine(self, data: DataStatistics) -> tuple[Tensor, float]:
        """Return the mean and scale of the data."""
        return data.mean, data.scale

    def error(self, x: Tensor, output: Tensor) -> Tensor:
        """Return ‖x − x̂‖² of every row, or its summands where each has its own variance."""
        x = x if x.shape == output.shape else x.expand_as(output)
        # The function of torch.nn.functional takes twice as long for small batches.
        squares: Tensor = torch.ops.aten.mse_loss.default(output, x, 0)
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
        return error.mean(0) if self._by_feature else error.sum() / (error.numel() * n_features)

    def _momentum(self, n_rows: int) -> Any:
        """Return the weight of a batch: its share of the rows, and at least 1/20."""
        share: Any = n_rows / self.n_rows
        if isinstance(share, Tensor):  # many models at once
            return share.clamp(_MOMENTUM, 1.0)
        return min(1.0, max(_MOMENTUM, share))

    def observe(self, error: Tensor, n_features: int) -> None:
        """Move a learned variance towards the batch's mean squared error."""
        if self.learns:
            mean_square = self._mean_square(error, n_features)
            self.value.lerp_(mean_square, self._momentum(len(error))).clamp_(min=self.floor)

    def settle(self, error: Tensor, n_features: int) -> None:
        """Set a learned variance to the mean squared error."""
        if self.learns:
            self.value.copy_(self._mean_square(error, n_features)).clamp_(min=self.floor)

    def log_density(self, error: Tensor, n_features: int) -> Tensor:
        """Return −½ (SSE/σ² + d log 2πσ²), or the sum over features of that with their own σ²."""
        # A new tensor: the buffer is updated in place, while a graph may still need its value.
        divisor = self.value * -2
        logarithms = (self.value * (2 * math.pi)).log()
        if self._by_feature:
            return (error / divisor).sum(-1) - 0.5 * logarithms.sum(-1)
        return torch.add(error / divisor, logarithms, alpha=-0.5 * n_features)

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
    """Return the likelihood of a name, or a copy of the given object, checked.

    Parameters
    ----------
    likelihood : {"gaussian", "bernoulli"} or Likelihood
        Value of an estimator's ``likelihood`` parameter, already known to be one of these.

    Returns
    -------
    Likelihood
        Its settings are in range.
    """
    known: dict[str, type[Likelihood]] = {"gaussian": Gaussian, "bernoulli": Bernoulli}
    made = known[likelihood]() if isinstance(likelihood, str) else copy.deepcopy(likelihood)
    made.check()
    return made
