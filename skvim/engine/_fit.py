"""Fits: what to train, how and on which rows."""

from collections.abc import Hashable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, final

from numpy.typing import NDArray

from skvim._values import describe
from skvim.engine._build import ModelSettings, TrainingSettings, build_net
from skvim.engine._net import AutoencoderNet
from skvim.engine._placement import as_rows, place
from skvim.engine._threads import bounded_threads, step_work

__all__ = ["FitRequest", "train"]


@final
@dataclass(frozen=True, eq=False)
class FitRequest:
    """A validated fit that has yet to be trained."""

    model: ModelSettings
    training: TrainingSettings
    rows: NDArray[Any]  # (n_samples, n_features)
    has_own_seed: bool = False  # whether the seed was drawn, for want of a random_state

    @cached_property
    def key(self) -> Hashable:
        """All but the rows and a drawn seed; NotComparableError if a part has no description."""
        training = replace(self.training, seed=-1) if self.has_own_seed else self.training
        key: Hashable = describe((vars(self.model), vars(training)))
        return key

    @property
    def batch_rows(self) -> int:
        """Number of rows of a batch."""
        return min(self.training.batch_size, len(self.rows))

    def make_net(self) -> AutoencoderNet:
        """Return a net that is ready to train; ValueError if it refuses settings or rows."""
        net = build_net(self.model, self.training)
        net.prepare(as_rows(self.rows), self.training.device)
        return net


def train(request: FitRequest) -> AutoencoderNet:
    """Build and train a net; ValueError as ``make_net``, TrainingDivergedError if it diverges."""
    net = request.make_net()
    with bounded_threads(step_work(net.autoencoder, net.objective, request.batch_rows)):
        # Rows are placed last: by now the model has its share of the memory.
        net.train(place(request.rows, request.training.device))
    return net
