"""Fits: what to train, how and on which rows."""

import hashlib
from collections.abc import Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from skvim._digest import digest
from skvim._values import NotComparableError, describe
from skvim.engine._build import ModelSettings, TrainingSettings, build_net
from skvim.engine._checkpoints import CheckpointFile, open_checkpoint, warn_of_checkpoint
from skvim.engine._memory import freed_memory_kept
from skvim.engine._net import AutoencoderNet
from skvim.engine._placement import as_rows, place
from skvim.engine._threads import bounded_threads, step_work

__all__ = ["FitRequest", "checkpoint_of", "train"]

# Settings of training that do not tell fits apart. Callbacks may change a result: a resumed fit
# warns of those whose state it does not have.
_NOT_COUNTED = {"callbacks", "verbose", "checkpoints"}
_CHUNK_BYTES = 2**26


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
        training = dict(vars(self.training), checkpoints=None)
        if self.has_own_seed:
            training["seed"] = None
        key: Hashable = describe((vars(self.model), training))
        return key

    @property
    def batch_rows(self) -> int:
        """Number of rows of a batch."""
        return min(self.training.batch_size, len(self.rows))

    def with_seed(self, seed: int) -> "FitRequest":
        """Return the same fit with another seed."""
        return replace(self, training=replace(self.training, seed=seed))

    def make_net(self) -> AutoencoderNet:
        """Return a net that is ready to train; ValueError if it refuses settings or rows."""
        net = build_net(self.model, self.training)
        net.prepare(as_rows(self.rows), self.training.device)
        return net


def train(request: FitRequest) -> AutoencoderNet:
    """Build and train a net; ValueError as ``make_net``, TrainingDivergedError if it diverges."""
    with freed_memory_kept(), checkpoint_of([request]) as checkpoint:
        state = None if checkpoint is None else checkpoint.read()
        net = (request if state is None else request.with_seed(state["seed"])).make_net()
        if state is not None and not net.matches(state):
            warn_of_checkpoint("Training starts anew: its checkpoint is of other networks.")
            state, net = None, request.make_net()
        with bounded_threads(step_work(net.autoencoder, net.objective, request.batch_rows)):
            # Rows are placed last: by now the model has its share of the memory.
            net.train(place(request.rows, request.training.device), checkpoint, state)
    return net


@contextmanager
def checkpoint_of(requests: Sequence[FitRequest]) -> Iterator[CheckpointFile | None]:
    """Open the checkpoint of fits that train together, or None if they ask for none."""
    settings = next((r.training.checkpoints for r in requests if r.training.checkpoints), None)
    if settings is None:
        yield None
        return
    with open_checkpoint(settings, _fingerprint(requests)) as checkpoint:
        yield checkpoint


def _fingerprint(requests: Sequence[FitRequest]) -> str:
    """Return hexadecimal digits for settings, seeds and rows of fits, the same in every process."""
    known: dict[int, bytes] = {}
    total = hashlib.sha256()
    for request in requests:
        training = {k: v for k, v in vars(request.training).items() if k not in _NOT_COUNTED}
        if request.has_own_seed:
            training["seed"] = None
        try:
            total.update(digest((vars(request.model), training)))
        except NotComparableError as error:
            raise ValueError(
                "checkpoint needs parameters by which another process can tell that it makes the "
                f"same fit: {error} Use plain values, functions and classes, or no checkpoint."
            ) from error
        rows = request.rows
        if id(rows) not in known:
            known[id(rows)] = _digest_of_rows(rows)
        total.update(known[id(rows)])
    return total.hexdigest()[:32]


def _digest_of_rows(rows: NDArray[Any]) -> bytes:
    """Return the SHA-256 of rows (n_samples, n_features); a memory map is read in chunks."""
    total = hashlib.sha256(f"{rows.dtype} {rows.shape}".encode())
    step = max(1, _CHUNK_BYTES // max(1, rows[:1].nbytes))
    for start in range(0, len(rows), step):
        total.update(np.ascontiguousarray(rows[start : start + step]).data.cast("B"))
    return total.digest()
