"""How learning rates change while a model trains."""

import math
from collections.abc import Callable
from numbers import Real

from torch import Tensor, optim

from skvim.engine.capture._update import flush_subnormals

__all__ = ["SCHEDULES", "Schedule", "begin_step", "check_schedule", "make_schedule", "set_rates"]

_STEPS_TO_SUBNORMAL = 100

#: From the share of the training that is done, in [0, 1], to a factor of the learning rate.
Schedule = Callable[[float], float]


def _steps(share: float) -> float:
    """Return 1, from 30 % of the training on 1/2, and from 50 % on 1/10."""
    if share < 0.3:
        return 1.0
    return 0.5 if share < 0.5 else 0.1


def _exponential(share: float) -> float:
    """Return 100^(−share)."""
    return math.pow(100.0, -share)


def _cosine(share: float) -> float:
    """Return ½ (1 + cos π share)."""
    return 0.5 * (1 + math.cos(math.pi * share))


#: Schedules by name.
SCHEDULES: dict[str, Schedule] = {
    "cosine": _cosine,
    "exponential": _exponential,
    "steps": _steps,
}


def make_schedule(schedule: str | Schedule | None) -> Schedule | None:
    """Return the schedule that a name stands for; a callable and None stay as they are."""
    return SCHEDULES[schedule] if isinstance(schedule, str) else schedule


def check_schedule(schedule: Schedule, max_epochs: int) -> None:
    """Raise ``ValueError`` when a factor at the start of some epoch is not one."""
    for epoch in range(max_epochs):
        _factor(schedule, epoch / max_epochs)


def begin_step(
    number: int,
    share: float,
    progress: Tensor,
    optimizer: optim.Optimizer,
    schedule: Schedule | None,
) -> None:
    """Let what changes in the course of training take its value for the next batch.

    Once in a while, keep the optimizer's memory from slowing down a CPU.

    Parameters
    ----------
    number : int
        Steps taken, the next one included.
    share : float in [0, inf)
        Share of the training that is done.
    progress : Tensor of shape ()
        Where the objective reads it.
    optimizer : Optimizer
        Whose rates follow the schedule.
    schedule : callable or None
        From the share to a factor of the learning rate.
    """
    if progress.device.type == "cpu" and number % _STEPS_TO_SUBNORMAL == 0:
        flush_subnormals(optimizer)
    progress.fill_(share)
    if schedule is not None:
        set_rates(optimizer, schedule, share)


def set_rates(optimizer: optim.Optimizer, schedule: Schedule, share: float) -> None:
    """Multiply the initial learning rate of every group of parameters by the schedule's factor.

    Parameters
    ----------
    optimizer : Optimizer
        Its groups keep the rates that they began with under torch's own key, ``initial_lr``.
    schedule : callable
        From the share of the training that is done to a factor.
    share : float in [0, inf)
        What is done by now; training that goes on beyond its end counts as done.

    Raises
    ------
    ValueError
        When the schedule returns anything but a finite number from 0 on.
    """
    factor = _factor(schedule, min(share, 1.0))
    for group in optimizer.param_groups:
        rate = factor * group.setdefault("initial_lr", float(group["lr"]))
        if isinstance(group["lr"], Tensor):
            group["lr"].fill_(rate)  # a captured graph reads it where it is
        else:
            group["lr"] = rate


def _factor(schedule: Schedule, share: float) -> float:
    """Return the factor at a share, checked."""
    factor = schedule(share)
    if not isinstance(factor, Real) or not 0 <= factor < math.inf:
        raise ValueError(
            "lr_schedule must return a finite number from 0 on, the factor of the learning rate, "
            f"for every share of the training in [0, 1). Got {factor!r} at {share:g}."
        )
    return float(factor)
