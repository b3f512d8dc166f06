"""Schedules of learning rates, and the progress of objectives."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from torch import Tensor
from torch.optim import Optimizer

from skvim._plain_numbers import is_real
from skvim.engine.capture._update import flush_subnormals
from skvim.objectives import Objective

__all__ = ["SCHEDULES", "Schedule", "begin_step", "full_progress", "schedule_factor"]

_STEPS_TO_SUBNORMAL = 100

#: From the share of the training that is done, in [0, 1], to a factor of the learning rate.
Schedule = Callable[[float], float]


def _steps(share: float) -> float:
    """Return 1, from 30 % of the training on 1/2, and from 50 % on 1/10."""
    return 1.0 if share < 0.3 else 0.5 if share < 0.5 else 0.1


def _exponential(share: float) -> float:
    """Return 100^(−share)."""
    return math.pow(100.0, -share)


def _cosine(share: float) -> float:
    """Return ½ (1 + cos π share)."""
    return 0.5 * (1 + math.cos(math.pi * share))


#: Schedules by name.
SCHEDULES: dict[str, Schedule] = {"cosine": _cosine, "exponential": _exponential, "steps": _steps}


def begin_step(
    number: int, share: float, progress: Tensor, optimizer: Optimizer, schedule: Schedule | None
) -> None:
    """Set the objective's progress, and the learning rates, for step ``number``, counted from 1.

    The factor of the schedule multiplies the initial rate of a parameter group, ``initial_lr``. On
    a CPU subnormal moments of the optimizer are set to 0 once in a while.
    """
    if progress.device.type == "cpu" and number % _STEPS_TO_SUBNORMAL == 0:
        flush_subnormals(optimizer)
    progress.fill_(share)
    if schedule is not None:
        factor = schedule_factor(schedule, min(share, 1.0))  # training may go on beyond its end
        for group in optimizer.param_groups:
            rate = factor * group.setdefault("initial_lr", float(group["lr"]))
            if isinstance(group["lr"], Tensor):
                group["lr"].fill_(rate)  # a captured graph reads it from its memory
            else:
                group["lr"] = rate


def schedule_factor(schedule: Schedule, share: float) -> float:
    """Return the factor at a share of the training; ValueError if it is not one."""
    factor = schedule(share)
    if not is_real(factor) or not 0 <= factor < math.inf:
        raise ValueError(
            "lr_schedule must return a finite number from 0 on, the factor of the learning rate, "
            f"for every share of the training in [0, 1). Got {factor!r} at {share:g}."
        )
    return float(factor)


@contextmanager
def full_progress(objective: Objective) -> Iterator[None]:
    """Set the objective's progress to 1, so that weights of terms have their final values."""
    before = objective.progress.clone()
    objective.progress.fill_(1)
    try:
        yield
    finally:
        objective.progress.copy_(before)
