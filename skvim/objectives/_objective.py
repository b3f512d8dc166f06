"""The objective that training minimises: the distortion and weighted terms."""

from collections.abc import Sequence
from typing import NamedTuple, cast, final

import torch
from torch import Tensor, nn

from skvim.objectives._autoencoder import Autoencoder, Outputs
from skvim.objectives._priors import Prior
from skvim.objectives._terms import Term, ramp

__all__ = ["Losses", "Objective", "TermModule"]


class Losses(NamedTuple):
    """Losses of a batch.

    Attributes
    ----------
    target : Tensor
        The scalar to differentiate: the loss plus the losses of critics. No parameter gets a
        gradient from both.
    values : tuple of Tensor
        Scalars in the order of the objective's ``names``.
    """

    target: Tensor
    values: tuple[Tensor, ...]


@final
class TermModule(nn.Module):
    """A term in an objective: settings, the critic, and the numbers that may differ.

    Parameters
    ----------
    settings : Term
        Not changed.

    Attributes
    ----------
    critic : Module or None
        The network that the term trains against the encoder.
    """

    critic: nn.Module | None

    def __init__(self, settings: Term) -> None:
        super().__init__()
        self.settings = settings
        self.critic = None
        for name in settings.variable:
            setattr(self, name, getattr(settings, name))

    @property
    def variable(self) -> tuple[str, ...]:
        """Attributes in which models that train together may differ."""
        return self.settings.variable

    def build(self, n_components: int, generator: torch.Generator) -> None:
        """Build the critic; ``ValueError`` when the term does not suit the number of components."""
        self.critic = self.settings.build(n_components, generator)

    def forward(
        self,
        model: Autoencoder,
        outputs: Outputs,
        prior: Prior | None,
        noise: torch.Generator,
        progress: Tensor,
    ) -> Tensor:
        """Return the term of a batch, a scalar."""
        return self._bound(progress).value(model, outputs, prior, noise)

    def critic_loss(
        self, z: Tensor, prior: Prior, noise: torch.Generator, progress: Tensor
    ) -> Tensor:
        """Return the loss that the critic minimises, for constant codes."""
        return self._bound(progress).critic_loss(z, prior, noise)

    def _bound(self, progress: Tensor) -> Term:
        """Return a copy of the settings with what training keeps as attributes."""
        numbers = {name: getattr(self, name) for name in self.settings.variable}
        return self.settings.bound(**numbers, progress=progress, critic=self.critic)


@final
class Objective(nn.Module):
    """−E log p(x|z) + Σ weight · term, in nats per row: what training minimises.

    Parameters
    ----------
    prior : Prior or None
        Prior of the divergences; None for a model without one.
    terms : sequence of (float, Term)
        Weights and terms.

    Attributes
    ----------
    progress : Tensor of shape ()
        Share of the training that is done, between 0 and 1. It is filled in place, as captured
        steps read it from its memory.
    terms : ModuleList of TermModule
        The terms with their critics.
    """

    progress: Tensor

    def __init__(self, prior: Prior | None, terms: Sequence[tuple[float, Term]] = ()) -> None:
        super().__init__()
        self.prior = prior
        self.register_buffer("progress", torch.ones(()), persistent=False)
        for i, (weight, _) in enumerate(terms):
            setattr(self, f"weight_{i}", float(weight))
        self.terms = nn.ModuleList([TermModule(term) for _, term in terms])

    def build(self, n_components: int, generator: torch.Generator) -> None:
        """Build the critics."""
        for term in self._modules_of_terms():
            term.build(n_components, generator)

    @property
    def settings(self) -> list[Term]:
        """Settings of the terms."""
        return [term.settings for term in self._modules_of_terms()]

    @property
    def weights(self) -> tuple[float, ...]:
        """Weights of the terms; tensors of shape () while many models are traced as one."""
        return tuple(getattr(self, name) for name in self.variable)

    @property
    def variable(self) -> tuple[str, ...]:
        """Attributes in which models that train together may differ: the weights."""
        return tuple(f"weight_{i}" for i in range(len(self.terms)))

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the values that :meth:`forward` returns, in their order."""
        terms = self.settings
        critics = (f"{term.name}_critic" for term in terms if term.adversarial)
        return ("loss", "distortion", *(term.name for term in terms), *critics)

    @property
    def min_rows(self) -> int:
        """Rows that every batch needs."""
        return max((term.min_rows for term in self.settings), default=1)

    def forward(self, model: Autoencoder, outputs: Outputs, noise: torch.Generator) -> Losses:
        """Return loss, distortion and each term, averaged over the batch."""
        distortion = outputs.log_likelihood.sum() / -len(outputs.log_likelihood)
        loss = distortion
        values = []
        for weight, term in zip(self.weights, self._modules_of_terms(), strict=True):
            value = term(model, outputs, self.prior, noise, self.progress)
            if value.dim():
                raise ValueError(
                    f"The term {term.settings.name!r} must be a scalar for a batch, its mean over "
                    f"rows. Got a tensor of shape {tuple(value.shape)}."
                )
            factor = weight * ramp(self.progress, term.settings.weight_warmup)
            if isinstance(factor, Tensor):
                loss = loss + factor * value
            else:
                loss = torch.add(loss, value, alpha=factor)
            values.append(value)
        critics = self._critic_losses(outputs.z, noise)
        target = loss if not critics else loss + torch.stack(critics).sum()
        return Losses(target, (loss, distortion, *values, *critics))

    def _critic_losses(self, z: Tensor, noise: torch.Generator) -> list[Tensor]:
        """Return the losses of the critics, to which codes are constants."""
        if self.prior is None:
            return []
        return [
            term.critic_loss(z.detach(), self.prior, noise, self.progress)
            for term in self._modules_of_terms()
            if term.settings.adversarial
        ]

    def _modules_of_terms(self) -> list[TermModule]:
        """Return the modules of the terms."""
        return cast("list[TermModule]", list(self.terms))
