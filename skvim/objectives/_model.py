"""The model and its objective: posterior, prior, likelihood and weighted divergences composed."""

from collections.abc import Callable, Sequence
from typing import NamedTuple, cast, final

import torch
from torch import Tensor, nn

from skvim.objectives._likelihoods import DataStatistics, Likelihood
from skvim.objectives._posteriors import Moments, Posterior
from skvim.objectives._priors import Prior
from skvim.objectives._terms import Term, ramp

__all__ = ["Autoencoder", "Losses", "Objective", "Outputs"]


class Outputs(NamedTuple):
    """What the model says of a batch.

    Attributes
    ----------
    x : Tensor of shape (n_samples, n_features)
        Rows as the encoder saw them.
    q : Moments
        Posterior of every row.
    z : Tensor of shape (n_samples, n_components)
        One draw from each.
    log_likelihood : Tensor of shape (n_samples,)
        log p(x|z) in nats, summed over features.
    clean : Tensor of shape (n_samples, n_features)
        Rows before they were corrupted; ``x`` itself where they were not.
    """

    x: Tensor
    q: Moments
    z: Tensor
    log_likelihood: Tensor
    clean: Tensor


class Losses(NamedTuple):
    """What the objective says of a batch.

    Attributes
    ----------
    target : Tensor
        The scalar whose gradient trains everything: the loss and, beside it, the losses of
        networks that belong to a term, with gradients that do not meet.
    values : tuple of Tensor
        Scalars in the order of the objective's ``names``.
    """

    target: Tensor
    values: tuple[Tensor, ...]


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
    precision : torch.dtype, default=torch.float32
        What the networks' products are computed in while the model trains, on weights, codes and
        outputs in float32: torch.bfloat16 by torch's autocast. Draws, likelihood and divergences,
        and all of evaluation, stay in the precision of the rows.
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
        precision: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        self.corruption = corruption
        self.precision = precision
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
        return self.posterior.moments(self._run(self.encoder, self.standardise(x)))

    def standardise(self, x: Tensor) -> Tensor:
        """Return rows as the encoder takes them, near unit size."""
        return (x - self.mean) / self.scale

    def decode(self, z: Tensor) -> Tensor:
        """Return the likelihood's parameters for codes of shape (n_samples, n_components)."""
        return torch.addcmul(self.output_offset, self._run(self.decoder, z), self.output_scale)

    def _run(self, network: nn.Module, x: Tensor) -> Tensor:
        """Apply a network in its precision, to what has the precision of ``x``."""
        if not self.training or self.precision == torch.float32:
            result: Tensor = network(x)
            return result
        # Inside another autocast torch would keep the weights of the first step, cast, for good.
        with torch.autocast(x.device.type, self.precision, cache_enabled=False):
            result = network(x)
        return result.to(x.dtype)

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
        return Outputs(seen, q, z, self.likelihood(x, self.decode(z)), x)


@final
class Objective(nn.Module):
    """−E log p(x|z) + Σ weight · term, in nats per row: what training minimises.

    Parameters
    ----------
    prior : Prior or None
        What divergences refer to; None for a model without one.
    terms : sequence of (float, Term)
        Weights and terms.

    Attributes
    ----------
    progress : Tensor of shape ()
        Share of the training that is done, between 0 and 1, for what changes with it. A tensor
        that is filled in place, since a captured step reads it where it is.
    """

    progress: Tensor

    def __init__(self, prior: Prior | None, terms: Sequence[tuple[float, Term]] = ()) -> None:
        super().__init__()
        self.prior = prior
        self.register_buffer("progress", torch.ones(()), persistent=False)
        for i, (weight, _) in enumerate(terms):
            setattr(self, f"weight_{i}", float(weight))
        self.terms = nn.ModuleList([term for _, term in terms])

    def build(self, n_components: int, generator: torch.Generator) -> None:
        """Make the networks that terms train for themselves."""
        for term in self._terms():
            term.build(n_components, generator)

    @property
    def weights(self) -> tuple[float, ...]:
        """Weights of the terms; tensors of shape () while many models are traced as one."""
        return tuple(getattr(self, name) for name in self.variable)

    @property
    def variable(self) -> tuple[str, ...]:
        """Attributes that hold the weights."""
        return tuple(f"weight_{i}" for i in range(len(self.terms)))

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the values that :meth:`forward` returns, in their order."""
        adversaries = (f"{term.name}_critic" for term in self._terms() if term.adversarial)
        return ("loss", "distortion", *(term.name for term in self._terms()), *adversaries)

    @property
    def min_rows(self) -> int:
        """Rows that every batch needs."""
        return max((term.min_rows for term in self._terms()), default=1)

    def forward(self, model: Autoencoder, outputs: Outputs, noise: torch.Generator) -> Losses:
        """Return loss, distortion and each term, averaged over the batch."""
        distortion = -outputs.log_likelihood.mean()
        loss = distortion
        values = []
        for weight, term in zip(self.weights, self._terms(), strict=True):
            term.progress = self.progress
            value = term.value(model, outputs, self.prior, noise)
            if value.dim():
                raise ValueError(
                    f"The term {term.name!r} must be a scalar for a batch, its mean over rows. "
                    f"Got a tensor of shape {tuple(value.shape)}."
                )
            loss = loss + weight * ramp(self.progress, term.weight_warmup) * value
            values.append(value)
        critics = self._adversaries(outputs.z.detach(), noise)
        target = loss if not critics else loss + torch.stack(critics).sum()
        return Losses(target, (loss, distortion, *values, *critics))

    def _adversaries(self, z: Tensor, noise: torch.Generator) -> list[Tensor]:
        """Return the losses of the terms' own networks on constant codes."""
        if self.prior is None:
            return []
        prior = self.prior
        return [term.adversary(z, prior, noise) for term in self._terms() if term.adversarial]

    def _terms(self) -> list[Term]:
        """Return the terms as what they are."""
        return cast("list[Term]", list(self.terms))
