"""Captured steps as CUDA graphs: one launch for all kernels of a step."""

from typing import final

import torch
from torch import Tensor

from skvim.engine._capture import CapturedStep

__all__ = ["GraphedStep"]


@final
class GraphedStep:
    """A captured step that a CUDA graph repeats.

    Parameters
    ----------
    step : CapturedStep
        On a CUDA device; its kernels must have run before, so that libraries are loaded.
    x : Tensor of shape (n_samples, n_features)
        A batch of the shape to graph; nothing is trained on it.

    Notes
    -----
    A graph reads and writes memory where it was when it was made: batches are copied to one place,
    generators are registered with it, and learning rates lie on the device. Where the optimizer is
    not one that stays on the device, it steps outside of the graph.
    """

    def __init__(self, step: CapturedStep, x: Tensor) -> None:
        self.step = step
        self.x = x.clone()
        self.graph = torch.cuda.CUDAGraph()
        for generator in {draw.generator for draw in step.draws}:
            self.graph.register_generator_state(generator)
        self.inside = step.update.on_device
        # Other threads may use the device meanwhile.
        capturing = torch.cuda.graph(self.graph, capture_error_mode="thread_local")
        with torch.no_grad(), capturing:
            self.terms, self.gradients = step.compute(self.x)
            if self.inside:
                step.update(self.gradients)

    def __call__(self, x: Tensor) -> Tensor:
        """Train on a batch and return its loss and terms, valid until the next call."""
        self.step.update.follow()
        self.x.copy_(x)
        self.graph.replay()
        if not self.inside:
            with torch.no_grad():
                self.step.update(self.gradients)
        return self.terms
