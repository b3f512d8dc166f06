"""The model and its objective: posterior, prior, likelihood and weighted divergences composed."""

from collections.abc import Callable, Sequence
from typing import NamedTuple, cast, final

import torch
from torch import Tensor, nn

from skvim.objectives._divergences import Divergence
from skvim.objectives._likelihoods import DataStatistics, Likelihood
from skvim.objectives._posteriors import Moments, Posterior
from skvim.objectives._priors import Prior

__all__ = ["Autoencoder", "Objective", "Outputs"]


class Outputs(NamedTuple):
    """What the model says of a batch.

    Attributes
    ----------
    q : Moments
        Posterior of every row.
    z : Tensor of shape (n_samples, n_components)
        One draw from each.
    log_likelihood : Tensor of shape (n_samples,)
        log p(x|z) in nats, summed over features.
    """

    q: Moments
    z: Tensor
    log_likelihood: Tensor


@final
class Autoencoder(nn.Module):
    """x → q(z|x) → z → p(x|z), in the units of the data.

    The encoder sees (x − mean)/scale and the decoder's output is scaled back, with one scale for
    all features: networks work near unit size whatever the data's unit, while distances between
    features stay as they are.

    Parameters
    ----------
    encoder : Module
        (n, n_features) → (n, posterior.n_outputs(n_components)).
    decoder : Module
        (n, n_components) → (n, n_features).
    posterior : Posterior
        What the encoder's output means.
    likelihood : Likelihood
        What the decoder's output means.
    corruption : callable or None, default=None
        Takes a batch and a generator, and returns what the encoder sees of it in training; the
        target stays clean.
    """

    mean: Tensor
    scale: Tensor
    output_offset: Tensor
    output_scale: Tensor

    def __init__(
        self,
        encoder: nn.Module,
        decoder: nn.Module,
        posterior: Posterior,
        likelihood: Likelihood,
        corruption: Callable[[Tensor, torch.Generator], Tensor] | None = None,
    ) -> None:
        super().__init__()
        self.corruption = corruption
        self.encoder = encoder
        self.decoder = decoder
        self.posterior = posterior
        self.likelihood = likelihood
        for name in ("mean", "output_offset"):
            self.register_buffer(name, torch.zeros((), dtype=torch.float32))
        for name in ("scale", "output_scale"):
            self.register_buffer(name, torch.ones((), dtype=torch.float32))

    def prepare(self, data: DataStatistics) -> None:
        """Start from the training data's statistics; ``ValueError`` if they do not fit."""
        self.likelihood.check_support(data.low, data.high)
        self.likelihood.prepare(data)
        offset, scale = self.likelihood.output_affine(data)
        self.mean = data.mean.clone()
        self.scale = data.mean.new_tensor(data.scale)
        self.output_offset = offset.clone()
        self.output_scale = data.mean.new_tensor(scale)

    def encode(self, x: Tensor) -> Moments:
        """Return q(z|x) for rows of shape (n_samples, n_features)."""
        return self.posterior.moments(self.encoder((x - self.mean) / self.scale))

    def decode(self, z: Tensor) -> Tensor:
        """Return the likelihood's parameters for codes of shape (n_samples, n_components)."""
        return torch.addcmul(self.output_offset, self.decoder(z), self.output_scale)

    def reconstruct(self, x: Tensor) -> Tensor:
        """Return E[x|z] at the posterior mean of every row."""
        return self.likelihood.mean(self.decode(self.encode(x).loc))

    def forward(self, x: Tensor, generator: torch.Generator) -> Outputs:
        """Encode, draw and decode a batch of shape (n_samples, n_features)."""
        seen = x
        if self.training and self.corruption is not None:
            seen = self.corruption(x, generator)
        q = self.encode(seen)
        z = self.posterior.draw(q, generator)
        return Outputs(q, z, self.likelihood(x, self.decode(z)))


@final
class Objective(nn.Module):
    """−E log p(x|z) + Σ weight · divergence, in nats per row: what training minimises.

    Parameters
    ----------
    prior : Prior or None
        What the divergences refer to; None when there are none.
    terms : sequence of (float, Divergence)
        Weights and divergences.

    Attributes
    ----------
    progress : float
        Share of the training that is done, between 0 and 1, for divergences that change with it.
    """

    def __init__(self, prior: Prior | None, terms: Sequence[tuple[float, Divergence]] = ()) -> None:
        super().__init__()
        self.prior = prior
        self.progress = 1.0
        self.weights = tuple(float(weight) for weight, _ in terms)
        self.divergences = nn.ModuleList([divergence for _, divergence in terms])

    @property
    def names(self) -> tuple[str, ...]:
        """Names of what :meth:`forward` returns, in its order."""
        return ("loss", "distortion", *(str(term.name) for term in self.divergences))

    @property
    def min_rows(self) -> int:
        """Rows that every batch needs."""
        return max((int(term.min_rows) for term in self.divergences), default=1)  # type: ignore[arg-type]

    def forward(self, outputs: Outputs, generator: torch.Generator) -> tuple[Tensor, ...]:
        """Return loss, distortion and each divergence, scalars, averaged over the batch."""
        distortion = -outputs.log_likelihood.mean()
        if self.prior is None:
            return distortion, distortion
        for term in self.divergences:
            cast("Divergence", term).progress = self.progress
        values = [term(outputs.q, outputs.z, self.prior, generator) for term in self.divergences]
        loss = distortion
        for weight, value in zip(self.weights, values, strict=True):
            loss = loss + weight * value
        return loss, distortion, *values
