"""What the code of a corrupted row still tells of the row: the contrastive bound on information."""

import math
from typing import final

import torch
from torch import Tensor

from skvim.objectives._autoencoder import Autoencoder, Outputs
from skvim.objectives._numbers import is_real, number
from skvim.objectives._posteriors import Posterior
from skvim.objectives._priors import Prior
from skvim.objectives._terms import Term

__all__ = ["InfoNCE", "contrastive_loss"]

# Codes are near unit size, so that the direction of a shorter one would be rounding.
_SHORTEST = 1e-6


def contrastive_loss(codes: Tensor, others: Tensor, temperature: Tensor | float) -> Tensor:
    """Return the cross-entropy of telling which code belongs to which, both ways, in nats.

    Parameters
    ----------
    codes, others : Tensor of shape (n_samples, n_components)
        Two codes of every row, in the same order. One shorter than 1e-6 counts as 0: its cosines
        are 0, and no gradient goes through it.
    temperature : Tensor of shape () or float, in (0, inf)
        What the cosines of the angles between codes are divided by.

    Returns
    -------
    Tensor of shape ()
        -log of the share of its own among all others, averaged over rows and over the two ways; at
        least 0, and log n_samples where nothing can be told.
    """
    first, second = _directions(codes), _directions(others)
    logits = first @ second.transpose(-2, -1) / temperature  # (n, n)
    own = logits.diagonal(dim1=-2, dim2=-1)
    ways = torch.logsumexp(logits, -1) + torch.logsumexp(logits, -2)
    return (0.5 * ways - own).mean()


def _directions(codes: Tensor) -> Tensor:
    """Return codes of length 1, and 0 for those that have no direction."""
    lengths = torch.linalg.vector_norm(codes, dim=-1, keepdim=True)
    # Divided by a smallest length instead, a code of 0 has a gradient of the inverse of that.
    known = lengths > _SHORTEST
    return torch.where(known, codes, 0.0) / torch.where(known, lengths, 1.0)


@final
class InfoNCE(Term):
    """−E log(softmax of the similarities): less tells more of which row a corrupted row was.

    Every row of a batch of n is encoded as the encoder saw it, corrupted, and clean: a draw from
    the posterior of the one, and the mean of that of the other. With s the cosine of two codes,
    divided by the temperature τ, the term is the mean of
    ``-log(exp(s_ii) / Σ_j exp(s_ij))`` over rows and over both ways to read s.

    Parameters
    ----------
    temperature : float in (0, inf), default=0.1
        τ. A small one looks at the most similar other rows alone.

    Notes
    -----
    In nats per row. log n minus the term is a lower bound on the information between the codes of
    corrupted and clean rows, and never above log n: InfoMax for what corruption leaves of a row.
    The reconstruction is another such bound, which has to explain every feature. Only directions
    of codes count, so that there have to be two dimensions: lengths are left to the divergence
    from the prior. Without a corruption and a spread of the posterior, the term spreads codes over
    all directions. That is all it does in evaluation, where nothing is corrupted: the part of it in
    a validation loss says how far apart clean rows are, and not what a corruption leaves of them.
    Corrupted and clean rows pass through the encoder one after the other: batch normalisation
    takes the mean of each by itself, and its running statistics follow both.

    References
    ----------
    A. van den Oord, Y. Li and O. Vinyals, *Representation learning with contrastive predictive
    coding*, 2018, arXiv:1807.03748. T. Chen, S. Kornblith, M. Norouzi and G. Hinton, *A simple
    framework for contrastive learning of visual representations*, ICML 2020.

    Examples
    --------
    >>> from skvim import VIMAETransformer
    >>> from skvim.objectives import InfoNCE
    >>> vim = VIMAETransformer(8, agreement=5.0, noise="gaussian")
    >>> InfoNCE(temperature=0.2)
    InfoNCE(temperature=0.2)
    """

    name = "infonce"
    should_decrease = True
    min_rows = 2
    variable = ("temperature",)

    def __init__(self, temperature: float = 0.1) -> None:
        self.temperature = temperature

    def check(self, posterior: Posterior, prior: Prior | None) -> None:
        """Raise ``ValueError`` when the temperature is out of range."""
        if not is_real(self.temperature) or not 0 < self.temperature < math.inf:
            raise ValueError(
                "The temperature of InfoNCE must be a positive finite number. "
                f"Got {self.temperature!r}."
            )

    def build(self, n_components: int, generator: torch.Generator) -> None:
        """Raise ``ValueError`` for codes of one dimension; there is nothing to make."""
        if n_components < 2:
            raise ValueError(
                "InfoNCE compares directions of codes, of which one dimension has but two: "
                f"n_components must be at least 2. Got {n_components}; give more, or leave the "
                "term out (agreement=0)."
            )

    def value(
        self, model: Autoencoder, outputs: Outputs, prior: Prior | None, noise: torch.Generator
    ) -> Tensor:
        """Return the term of a batch, a scalar."""
        clean = outputs.q if outputs.clean is outputs.x else model.encode(outputs.clean)
        return contrastive_loss(outputs.z, clean.loc, number(self.temperature))
