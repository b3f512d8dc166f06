"""What an objective may add to −log p(x|z): divergences of codes, penalties of the encoder."""

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar, final

import torch
from torch import Tensor, nn

from skvim.objectives._posteriors import Moments, Posterior
from skvim.objectives._priors import Prior

if TYPE_CHECKING:
    from skvim.objectives._model import Autoencoder, Outputs

__all__ = ["Divergence", "Penalty", "Term", "ramp"]


def ramp(progress: Tensor | float, warmup: float) -> Tensor | float:
    """Return min(1, progress/warmup), the share that a linear warm-up has reached; 1 without one.

    Parameters
    ----------
    progress : Tensor of shape () or float, in [0, 1]
        Share of the training that is done.
    warmup : float in [0, 1]
        Share of the training that the warm-up takes.
    """
    return (torch.as_tensor(progress) / warmup).clamp(max=1) if warmup > 0 else 1.0


class Term(nn.Module, ABC):
    """One summand of an objective, either a :class:`Divergence` or a :class:`Penalty`.

    ``name`` is its key in the history; unless a subclass gives one, it is that of the class.
    """

    name: ClassVar[str]
    #: Rows that a batch needs for the estimate to exist.
    min_rows: ClassVar[int] = 1
    #: Whether it trains networks of its own against the encoder.
    adversarial: ClassVar[bool] = False
    #: Learning rate of those networks; None takes the model's.
    lr: float | None = None
    #: Whether training with it should bring it down: a rate may rise, a mismatch should not.
    falls: ClassVar[bool] = False
    #: Share of the training that is done, in training a tensor of shape () that the objective
    #: keeps up to date: what follows from it has to be computed by torch.
    progress: Tensor | float = 1.0
    #: Numbers among the settings in which models that train together may differ: ``forward`` has
    #: to take a tensor of shape () for each.
    variable: ClassVar[tuple[str, ...]] = ()
    #: Share of the training in which its weight rises linearly from 0.
    weight_warmup: float = 0.0

    def __init_subclass__(cls) -> None:
        """Name the class."""
        super().__init_subclass__()
        if "name" not in vars(cls):
            cls.name = cls.__name__.lower()

    @abstractmethod
    def check(self, posterior: Posterior, prior: Prior | None) -> None:
        """Raise ``ValueError`` when settings, posterior or prior do not fit; called by ``fit``."""

    def build(self, n_components: int, generator: torch.Generator) -> None:
        """Make the networks that the term itself trains (hook; none by default)."""

    @abstractmethod
    def value(
        self, model: "Autoencoder", outputs: "Outputs", prior: Prior | None, noise: torch.Generator
    ) -> Tensor:
        """Return the term of a batch, a scalar."""

    def adversary(self, z: Tensor, prior: Prior, generator: torch.Generator) -> Tensor:
        """Return the loss of the term's own networks on codes that are constants (hook).

        Called where ``adversarial`` is true. Its gradient must reach those networks alone, as that
        of :meth:`value` must not reach them.
        """
        raise NotImplementedError(f"{type(self).__name__} is adversarial, but has no adversary.")


class Divergence(Term, ABC):
    """A divergence from the prior, estimated on a batch.

    Subclass it to bring your own: :meth:`check` and :meth:`forward` are all that is needed.
    """

    @abstractmethod
    def forward(self, q: Moments, z: Tensor, prior: Prior, generator: torch.Generator) -> Tensor:
        """Return the divergence, a scalar.

        Parameters
        ----------
        q : Moments
            Posterior of every row of the batch.
        z : Tensor of shape (n_samples, n_components)
            One draw from each.
        prior : Prior
            What to diverge from.
        generator : torch.Generator
            Source of every random number used.
        """

    @final
    def value(
        self, model: "Autoencoder", outputs: "Outputs", prior: Prior | None, noise: torch.Generator
    ) -> Tensor:
        """Return the divergence of the batch's codes."""
        result: Tensor = self(outputs.q, outputs.z, prior, noise)
        return result


class Penalty(Term, ABC):
    """A property of the encoder around the rows of a batch; it needs no prior."""

    @abstractmethod
    def forward(self, model: "Autoencoder", x: Tensor, generator: torch.Generator) -> Tensor:
        """Return the penalty, a scalar.

        Parameters
        ----------
        model : Autoencoder
            Whose ``encode`` is penalised.
        x : Tensor of shape (n_samples, n_features)
            Rows as the encoder sees them.
        generator : torch.Generator
            Source of every random number used.
        """

    @final
    def value(
        self, model: "Autoencoder", outputs: "Outputs", prior: Prior | None, noise: torch.Generator
    ) -> Tensor:
        """Return the penalty at the batch's rows."""
        result: Tensor = self(model, outputs.x, noise)
        return result
