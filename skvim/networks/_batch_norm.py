"""Batch normalisation of codes, without scale and shift."""

from typing import final

import torch
from torch import Tensor, nn

__all__ = ["BatchNormEncoder"]


@final
class BatchNormEncoder(nn.Module):
    """An encoder followed by batch normalisation without scale and shift.

    Its outputs have mean 0 and variance 1. Training uses the statistics of each batch, evaluation
    those that :meth:`calibrate` has set or, before it, running averages over recent batches.

    Parameters
    ----------
    encoder : Module
        (n, n_features) → (n, n_outputs).
    n_outputs : int
        Columns of its output.
    """

    def __init__(self, encoder: nn.Module, n_outputs: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.norm = nn.BatchNorm1d(n_outputs, affine=False, dtype=torch.float32)

    def forward(self, x: Tensor) -> Tensor:
        """Map rows to normalised outputs."""
        outputs: Tensor = self.norm(self.encoder(x))
        return outputs

    def calibrate(self, outputs: Tensor) -> None:
        """Set the statistics to mean and variance of the encoder's outputs (n, n_outputs)."""
        variance, mean = torch.var_mean(outputs, dim=0, correction=0)
        self.norm.running_mean = mean
        self.norm.running_var = variance
