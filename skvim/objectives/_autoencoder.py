"""The model x → q(z|x) → z → p(x|z), and its outputs for a batch."""

from collections.abc import Callable
from typing import NamedTuple, final

import torch
from torch import Tensor, nn

from skvim.objectives._likelihood import DataStatistics, Likelihood, LikelihoodModule
from skvim.objectives._posteriors import Moments, Posterior

__all__ = ["Autoencoder", "Outputs"]


class Outputs(NamedTuple):
    """Outputs of the model for a batch.

    Attributes
    ----------
    x : Tensor of shape (n_samples, n_inputs)
        What the encoder saw: rows, or with :class:`Cells` the values and masks of their cells.
    q : Moments
        Posterior of every row.
    z : Tensor of shape (n_samples, n_components)
        One draw from every posterior.
    log_likelihood : Tensor of shape (n_samples,)
        log p(x|z) in nats, summed over features.
    clean : Tensor of shape (n_samples, n_inputs)
        The same before it was corrupted; ``x`` itself where it was not.
    """

    x: Tensor
    q: Moments
    z: Tensor
    log_likelihood: Tensor
    clean: Tensor


@final
class Autoencoder(nn.Module):
    """x → q(z|x) → z → p(x|z), in the units of the data.

    The encoder sees (x − mean)/scale and the decoder's output is scaled back, with one scale for
    all features: values in the networks are near unit size in any unit of the data, and the
    relative scales of features are unchanged. A likelihood of mixed columns has other inputs and
    outputs than features, of unit size by themselves.

    Parameters
    ----------
    encoder : Module
        (n, n_inputs) → (n, posterior.n_outputs(n_components)).
    decoder : Module
        (n, n_components) → (n, n_outputs).
    posterior : Posterior
        Turns the encoder's output into q(z|x).
    likelihood : Likelihood
        Turns the decoder's output into p(x|z); the attribute of this name is the module that also
        holds its state.
    corruption : callable or None, default=None
        Takes what the encoder sees of a batch and a generator, and returns its input in training;
        the target stays clean.
    precision : torch.dtype, default=torch.float32
        Precision of the networks' products in training, on weights, codes and outputs in float32:
        torch.bfloat16 by torch's autocast. Draws, likelihood and divergences, and all of
        evaluation, stay in the precision of the rows.
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
        self.likelihood = LikelihoodModule(likelihood)
        for name in ("mean", "output_offset"):
            self.register_buffer(name, torch.zeros((), dtype=torch.float32))
        for name in ("scale", "output_scale"):
            self.register_buffer(name, torch.ones((), dtype=torch.float32))

    def prepare(self, data: DataStatistics) -> None:
        """Start from the training data's statistics; ``ValueError`` if they do not fit."""
        self.likelihood.check_support(data.low, data.high)
        self.likelihood.prepare(data)
        settings = self.likelihood.settings
        mean, input_scale = settings.input_affine(data)
        offset, scale = settings.output_affine(data)
        self.mean = mean.clone()
        self.scale = data.mean.new_tensor(input_scale)
        self.output_offset = offset.clone()
        self.output_scale = data.mean.new_tensor(scale)

    def encode(self, x: Tensor) -> Moments:
        """Return q(z|x) for rows of shape (n_samples, n_features)."""
        return self.encode_inputs(self.likelihood.inputs(x))

    def encode_inputs(self, inputs: Tensor) -> Moments:
        """Return q(z|x) for what the encoder sees of rows, of shape (n_samples, n_inputs)."""
        return self.posterior.moments(self._run(self.encoder, self.standardise(inputs)))

    def standardise(self, inputs: Tensor) -> Tensor:
        """Return the encoder's input near unit size."""
        return (inputs - self.mean) / self.scale

    def decode(self, z: Tensor) -> Tensor:
        """Return the likelihood's parameters for codes of shape (n_samples, n_components)."""
        return torch.addcmul(self.output_offset, self._run(self.decoder, z), self.output_scale)

    def _run(self, network: nn.Module, x: Tensor) -> Tensor:
        """Apply a network in the precision of training; the result has that of ``x``."""
        if not self.training or self.precision == torch.float32:
            result: Tensor = network(x)
            return result
        # With its cache, an outer autocast would go on using the cast weights of the first step.
        with torch.autocast(x.device.type, self.precision, cache_enabled=False):
            result = network(x)
        return result.to(x.dtype)

    def reconstruct(self, x: Tensor) -> Tensor:
        """Return E[x|z] at the posterior mean of every row."""
        return self.likelihood.mean(self.decode(self.encode(x).loc))

    def forward(self, x: Tensor, generator: torch.Generator) -> Outputs:
        """Encode, draw and decode a batch of shape (n_samples, n_features)."""
        clean = seen = self.likelihood.inputs(x)
        if self.training and self.corruption is not None:
            seen = self.corruption(clean, generator)
        q = self.encode_inputs(seen)
        z = self.posterior.draw(q, generator)
        return Outputs(seen, q, z, self.likelihood(x, self.decode(z)), clean)
