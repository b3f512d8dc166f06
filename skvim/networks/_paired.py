"""The encoder of one architecture paired with the decoder of another."""

from dataclasses import dataclass
from typing import final

import torch
from torch import nn

from skvim.networks._architecture import Architecture

__all__ = ["Paired"]


@final
@dataclass(frozen=True, eq=False)
class Paired(Architecture):
    """The encoder of one architecture and the decoder of another.

    A convolutional encoder makes codes robust to noise; a convolutional decoder takes most of the
    time of a training step and improves codes little. On 28×28 images
    ``Paired(Convolutional(0.125), Perceptrons((512,)))`` trains in a third of the time that
    ``Convolutional(0.125)`` takes.

    Parameters
    ----------
    first : Architecture
        Gives the encoder.
    second : Architecture
        Gives the decoder.

    Raises
    ------
    ValueError
        From ``check``, so from ``fit``: when one of the two is no architecture, or its own
        ``check`` raises.

    Examples
    --------
    >>> import torch
    >>> from skvim.networks import Convolutional, Paired, Perceptrons
    >>> pair = Paired(Convolutional(width=0.125), Perceptrons((64,)))
    >>> generator = torch.Generator().manual_seed(0)
    >>> decoder = pair.decoder(8, (28, 28, 1), generator)
    >>> decoder(torch.zeros(3, 8)).shape
    torch.Size([3, 784])
    """

    first: Architecture
    second: Architecture

    def check(self, shape: tuple[int, ...]) -> None:
        """Raise ``ValueError`` when either is no architecture or its own check fails."""
        for role, part in (("first", self.first), ("second", self.second)):
            if not isinstance(part, Architecture):
                raise ValueError(
                    f"The {role} of Paired must be an architecture, such as Perceptrons((64,)) or "
                    f"Modules. Got {part!r} instead. A pair as a tuple takes names and modules too."
                )
            part.check(shape)

    def encoder(
        self, shape: tuple[int, ...], n_outputs: int, generator: torch.Generator
    ) -> nn.Module:
        """Return the first's encoder."""
        return self.first.encoder(shape, n_outputs, generator)

    def decoder(
        self, n_components: int, shape: tuple[int, ...], generator: torch.Generator
    ) -> nn.Module:
        """Return the second's decoder."""
        return self.second.decoder(n_components, shape, generator)

    @property
    def min_rows(self) -> int:
        """The larger of the two."""
        return max(self.first.min_rows, self.second.min_rows)
