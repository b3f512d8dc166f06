"""Terms that an objective adds to −log p(x|z): divergences of codes, penalties of the encoder."""

from abc import ABC, abstractmethod
from typing import ClassVar, final

import torch
from torch import Tensor, nn

from skvim.objectives._autoencoder import Autoencoder, Outputs
from skvim.objectives._posteriors import Moments, Posterior
from skvim.objectives._priors import Prior
from skvim.objectives._settings import Settings

__all__ = ["Divergence", "Penalty", "Term", "ramp"]


def ramp(progress: Tensor | float, warmup: float) -> Tensor | float:
    """Return min(1, progress/warmup), the linear warm-up; 1 where ``warmup`` is 0.

    Parameters
    ----------
    progress : Tensor of shape () or float, in [0, 1]
        Share of the training that is done.
    warmup : float in [0, 1]
        Share of the training that the warm-up takes.
    """
    return (torch.as_tensor(progress) / warmup).clamp(max=1) if warmup > 0 else 1.0


class Term(Settings, ABC):
    """A summand of the objective, either a :class:`Divergence` or a :class:`Penalty`.

    ``name`` is its key in the history, by default the name of the class in lower case. In training
    ``self`` is a copy of the settings that also has the attributes ``progress`` and ``critic``:
    whatever else a method sets on it is lost.
    """

    name: ClassVar[str]
    #: Rows that a batch needs for the estimate to exist.
    min_rows: ClassVar[int] = 1
    #: Whether it trains a critic against the encoder.
    adversarial: ClassVar[bool] = False
    #: Learning rate of the critic; None takes the model's.
    lr: float | None = None
    #: Whether ``fit`` warns if training does not decrease it.
    should_decrease: ClassVar[bool] = False
    #: Share of the training that is done: a tensor of shape () in training, which only torch's
    #: operations may read, 1 elsewhere.
    progress: Tensor | float = 1.0
    #: The network that :meth:`build` returned; None for settings on their own.
    critic: nn.Module | None = None
    #: Numbers among the settings in which models that train together may differ: each may be a
    #: tensor of shape () in ``forward``.
    variable: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls) -> None:
        """Name the class."""
        super().__init_subclass__()
        if "name" not in vars(cls):
            cls.name = cls.__name__.lower()

    @property
    def weight_warmup(self) -> float:
        """Share of the training in which the term's weight rises linearly from 0 (hook)."""
        return 0.0

    @abstractmethod
    def check(self, posterior: Posterior, prior: Prior | None) -> None:
        """Raise ``ValueError`` when settings, posterior or prior do not fit; called by ``fit``."""

    def build(self, n_components: int, generator: torch.Generator) -> nn.Module | None:
        """Return the critic, a network that the term trains against the encoder (hook; None).

        ``ValueError`` when the number of components does not suit.
        """
        return None

    @abstractmethod
    def value(
        self, model: Autoencoder, outputs: Outputs, prior: Prior | None, noise: torch.Generator
    ) -> Tensor:
        """Return the term of a batch, a scalar."""

    def critic_loss(self, z: Tensor, prior: Prior, generator: torch.Generator) -> Tensor:
        """Return the loss that ``critic`` minimises, for codes that are constants (hook).

        Called where ``adversarial`` is true. Its gradient must reach the critic alone; that of
        :meth:`value` must not reach the critic.
        """
        raise NotImplementedError(f"{type(self).__name__} is adversarial but has no critic_loss.")


class Divergence(Term, ABC):
    """A divergence from the prior, estimated on a batch.

    Subclass it to bring your own: :meth:`check` and :meth:`forward` are all that is needed.
    """

    @abstractmethod
    def forward(self, q: Moments, z: Tensor, prior: Prior, generator: torch.Generator) -> Tensor:
        """Return the divergence, a scalar; the object itself may be called as well.

        Parameters
        ----------
        q : Moments
            Posterior of every row of the batch.
        z : Tensor of shape (n_samples, n_components)
            One draw from every posterior.
        prior : Prior
            The prior.
        generator : torch.Generator
            Source of every random number used.
        """

    @final
    def __call__(self, q: Moments, z: Tensor, prior: Prior, generator: torch.Generator) -> Tensor:
        """Return the divergence, a scalar."""
        return self.forward(q, z, prior, generator)

    @final
    def value(
        self, model: Autoencoder, outputs: Outputs, prior: Prior | None, noise: torch.Generator
    ) -> Tensor:
        """Return the divergence of the batch's codes; ``ValueError`` without a prior."""
        if prior is None:
            raise ValueError(f"The divergence {self.name!r} needs a prior. Got None.")
        return self.forward(outputs.q, outputs.z, prior, noise)


class Penalty(Term, ABC):
    """A property of the encoder around the rows of a batch; it needs no prior."""

    @abstractmethod
    def forward(self, model: Autoencoder, x: Tensor, generator: torch.Generator) -> Tensor:
        """Return the penalty, a scalar; the object itself may be called as well.

        Parameters
        ----------
        model : Autoencoder
            Its ``encode_inputs`` is penalised.
        x : Tensor of shape (n_samples, n_inputs)
            What the encoder sees of rows: the rows themselves, except with
            :class:`~skvim.objectives.Cells`.
        generator : torch.Generator
            Source of every random number used.
        """

    @final
    def __call__(self, model: Autoencoder, x: Tensor, generator: torch.Generator) -> Tensor:
        """Return the penalty, a scalar."""
        return self.forward(model, x, generator)

    @final
    def value(
        self, model: Autoencoder, outputs: Outputs, prior: Prior | None, noise: torch.Generator
    ) -> Tensor:
        """Return the penalty at the batch's rows."""
        return self.forward(model, outputs.x, noise)
