"""InfoNCE, the contrastive loss between codes of corrupted and of clean rows."""

import math
from typing import final

import torch
from torch import Tensor

from skvim._plain_numbers import is_real
from skvim.objectives._autoencoder import Autoencoder, Outputs
from skvim.objectives._numbers import number
from skvim.objectives._posteriors import Posterior
from skvim.objectives._priors import Prior
from skvim.objectives._terms import Term

__all__ = ["InfoNCE", "contrastive_loss"]

# Length below which a code, of unit size otherwise, has a direction of rounding errors only.
_MIN_LENGTH = 1e-6


def contrastive_loss(codes: Tensor, others: Tensor, temperature: Tensor | float) -> Tensor:
    """Return the symmetric cross-entropy of matching two codes of every row, in nats.

    Parameters
    ----------
    codes, others : Tensor of shape (n_samples, n_components)
        Two codes of every row, in the same order. The cosines of one shorter than 1e-6 are 0, and
        it gets no gradient.
    temperature : Tensor of shape () or float, in (0, inf)
        Divisor of the cosines of the angles between codes.

    Returns
    -------
    Tensor of shape ()
        −log softmax of the similarity of a row's two codes among those with all rows, averaged over
        rows and both directions; at least 0, and log n_samples where all codes are equal.
    """
    first, second = _directions(codes), _directions(others)
    logits = first @ second.transpose(-2, -1) / temperature  # (n, n)
    matching = logits.diagonal(dim1=-2, dim2=-1)
    normalisers = torch.logsumexp(logits, -1) + torch.logsumexp(logits, -2)
    return (0.5 * normalisers - matching).mean()


def _directions(codes: Tensor) -> Tensor:
    """Return codes divided by their length, and 0 for those of length 0."""
    lengths = torch.linalg.vector_norm(codes, dim=-1, keepdim=True)
    # A division by max(length, eps) would give a code of 0 a gradient of 1/eps.
    nonzero = lengths > _MIN_LENGTH
    return torch.where(nonzero, codes, 0.0) / torch.where(nonzero, lengths, 1.0)


@final
class InfoNCE(Term):
    """InfoNCE between codes of corrupted and of clean rows: −E log softmax of their similarities.

    Every row of a batch of n is encoded twice: corrupted, by a draw from its posterior, and clean,
    by the mean of its posterior. With s_ij the cosine of the code of corrupted row i and that of
    clean row j, divided by the temperature τ, the term is the mean of
    ``-log(exp(s_ii) / Σ_j exp(s_ij))`` over rows, averaged with that of the transposed s.

    Parameters
    ----------
    temperature : float in (0, inf), default=0.1
        τ. The smaller, the more the most similar other rows count.

    Notes
    -----
    In nats per row. log n minus the term is a lower bound, of at most log n, on the mutual
    information between the codes of corrupted and of clean rows. The reconstruction is a bound on
    information too, but has to explain every feature. Only directions of codes count, so that at
    least two dimensions are needed; lengths depend on the divergence from the prior alone. Without
    a corruption and a spread of the posterior, the term only spreads codes over all directions.
    This is so in evaluation, where nothing is corrupted: in a validation loss it measures how far
    apart clean rows are, not what survives corruption. Corrupted and clean rows pass through the
    encoder one after the other: batch normalisation uses the moments of each, and its running
    statistics those of both.

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
        """Raise ``ValueError`` for codes of one dimension; the term has no critic."""
        if n_components < 2:
            raise ValueError(
                "InfoNCE compares directions of codes, of which one dimension has only two: "
                f"n_components must be at least 2. Got {n_components}. Increase n_components, or "
                "leave the term out (agreement=0)."
            )

    def value(
        self, model: Autoencoder, outputs: Outputs, prior: Prior | None, noise: torch.Generator
    ) -> Tensor:
        """Return the term of a batch, a scalar."""
        clean = outputs.q if outputs.clean is outputs.x else model.encode_inputs(outputs.clean)
        return contrastive_loss(outputs.z, clean.loc, number(self.temperature))
