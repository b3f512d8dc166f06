"""What callbacks of skorch do to a training: stop it, listen to batches, change the model."""

from collections.abc import Iterable
from opcode import opmap
from typing import Any

from skorch.callbacks import (
    Callback,
    Checkpoint,
    EarlyStopping,
    EpochScoring,
    EpochTimer,
    LoadInitState,
    LRScheduler,
    PassthroughScoring,
    PrintLog,
    TrainEndCheckpoint,
)

__all__ = ["BATCH_HOOKS", "is_skorch_stop", "may_change_model", "names_with_state", "uses_batches"]

#: Hooks that are called for every batch.
BATCH_HOOKS = ("on_batch_begin", "on_batch_end", "on_grad_computed")
# Callbacks of skorch that change nothing of a model but values of weights and learning rates.
_PASSIVE = {
    Checkpoint,
    EarlyStopping,
    EpochScoring,
    EpochTimer,
    LRScheduler,
    LoadInitState,
    PrintLog,
    TrainEndCheckpoint,
}
# Those on which the result of a training does not depend.
_WITHOUT_STATE = {Checkpoint, EpochTimer, PrintLog, TrainEndCheckpoint}

# Pairs of a name and a callback, as skorch keeps them.
Callbacks = Iterable[tuple[str, Any]]


def may_change_model(callbacks: Callbacks) -> bool:
    """Tell whether some may change a model otherwise than by values of weights and rates."""
    return any(type(callback) not in _PASSIVE for _, callback in callbacks)


def names_with_state(callbacks: Callbacks) -> list[str]:
    """Return the sorted classes of those whose state a resumed training would need."""
    kinds = {type(callback) for _, callback in callbacks} - _WITHOUT_STATE
    return sorted(kind.__name__ for kind in kinds)


def uses_batches(callback: Any, caching: bool | str) -> bool:
    """Tell whether a callback listens to batches, or uses records of them.

    ``caching`` is skorch's ``use_caching`` of the net, which precedes those of callbacks.
    """
    if type(callback) is LRScheduler:
        return bool(callback.step_every == "batch")
    if type(callback) is EpochScoring:
        return bool(callback.use_caching if caching == "auto" else caching)
    own = (getattr(type(callback), name) is not getattr(Callback, name) for name in BATCH_HOOKS)
    return isinstance(callback, PassthroughScoring) or any(own)


def is_skorch_stop(error: KeyboardInterrupt) -> bool:
    """Tell whether skorch's ``EarlyStopping`` raised it to stop; else it came from the keyboard.

    An interrupt can come anywhere, even inside that callback, but never at a ``raise`` statement.
    """
    last = error.__traceback__
    while last is not None and last.tb_next is not None:
        last = last.tb_next
    if last is None or last.tb_frame.f_code is not EarlyStopping.on_epoch_end.__code__:
        return False
    instruction: int = last.tb_frame.f_code.co_code[last.tb_lasti]
    return instruction == opmap["RAISE_VARARGS"]
