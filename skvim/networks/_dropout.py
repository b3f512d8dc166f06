"""Dropout layer with its own random generator."""

from typing import final

import torch
from torch import Tensor, nn

from skvim.networks._random import RandomStream, dropout

__all__ = ["Dropout"]


@final
class Dropout(nn.Module):
    """Dropout: training sets entries to 0 with probability ``rate`` and divides others by 1 − rate.

    Unlike ``torch.nn.Dropout`` it never touches torch's global generator. Copies and pickles
    continue where the original stood.

    Parameters
    ----------
    rate : float in [0, 1)
        Probability of dropping an entry.
    generator : torch.Generator
        Draws the seed of the layer's own generator.

    References
    ----------
    N. Srivastava et al., *Dropout: A simple way to prevent neural networks from overfitting*,
    JMLR 15, 2014.

    Examples
    --------
    >>> import torch
    >>> from skvim.networks import Dropout
    >>> layer = Dropout(0.5, generator=torch.Generator().manual_seed(0))
    >>> sorted(set(layer(torch.ones(100)).tolist()))
    [0.0, 2.0]
    >>> layer.eval()(torch.ones(2))
    tensor([1., 1.])
    """

    def __init__(self, rate: float, *, generator: torch.Generator) -> None:
        super().__init__()
        self.rate = float(rate)
        self.stream = RandomStream.from_generator(generator)

    def forward(self, x: Tensor) -> Tensor:
        """Return a tensor of the shape of ``x``."""
        return dropout(x, self.rate, self.stream.on(x.device)) if self.training else x

    def extra_repr(self) -> str:
        """Show the setting (torch's hook)."""
        return f"rate={self.rate!r}"
