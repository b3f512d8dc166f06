"""One fit: what is trained, how and on which rows."""

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
    """A validated fit that has yet to be trained.

    Attributes
    ----------
    model, training : ModelSettings, TrainingSettings
        Composition of the model, and how it is trained.
    rows : ndarray of shape (n_samples, n_features)
        Training rows.
    has_own_seed : bool
        Whether the seed was drawn afresh, for want of a ``random_state``.
    """

    model: ModelSettings
    training: TrainingSettings
    rows: NDArray[Any]
    has_own_seed: bool = False

    @cached_property
    def key(self) -> Hashable:
        """All but the rows and a seed that was drawn afresh, to compare with other requests.

        Raises
        ------
        NotComparableError
            When a part has no description by value.
        """
        training = replace(self.training, seed=-1) if self.has_own_seed else self.training
        key: Hashable = describe((vars(self.model), vars(training)))
        return key

    @property
    def batch_rows(self) -> int:
        """Rows of a batch."""
        return min(self.training.batch_size, len(self.rows))

    def make_net(self) -> AutoencoderNet:
        """Return a net that is ready to train.

        Raises
        ------
        ValueError
            When settings or rows are refused.
        """
        net = build_net(self.model, self.training)
        net.start(as_rows(self.rows), self.training.device)
        return net


def train(request: FitRequest) -> AutoencoderNet:
    """Build and train the net of a request.

    Raises
    ------
    ValueError
        When settings or rows are refused.
    TrainingDivergedError
        When the loss becomes infinite or not a number.
    """
    net = request.make_net()
    with bounded_threads(step_work(net.autoencoder, net.objective, request.batch_rows)):
        # The model has its memory by now, so that rows see what is left.
        net.train(place(request.rows, request.training.device))
    return net
