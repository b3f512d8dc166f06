"""Codes of unit variance."""

from typing import final

import torch
from torch import Tensor, nn

__all__ = ["Standardised"]


@final
class Standardised(nn.Module):
    """An encoder whose outputs are brought to mean 0 and variance 1 over rows.

    In training each batch is standardised by itself; afterwards all rows are by the statistics
    that :meth:`calibrate` measured, or, before it, by those of recent batches.

    Parameters
    ----------
    encoder : Module
        (n, n_features) → (n, n_outputs).
    n_outputs : int
        Its columns.
    """

    def __init__(self, encoder: nn.Module, n_outputs: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.norm = nn.BatchNorm1d(n_outputs, affine=False, dtype=torch.float32)

    def forward(self, x: Tensor) -> Tensor:
        """Map rows to standardised outputs."""
        outputs: Tensor = self.norm(self.encoder(x))
        return outputs

    def calibrate(self, outputs: Tensor) -> None:
        """Take the mean and variance of the encoder's outputs (n, n_outputs) for those of rows."""
        variance, mean = torch.var_mean(outputs, dim=0, correction=0)
        self.norm.running_mean = mean
        self.norm.running_var = variance
