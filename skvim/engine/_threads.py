"""How many threads torch may use: none that a small network, or a full machine, would wait for."""

import ctypes
import math
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import cast

import torch
from joblib.parallel import get_active_backend
from threadpoolctl import ThreadpoolController
from torch import nn

from skvim.objectives import Autoencoder, Objective

__all__ = ["bounded_threads", "pass_work", "step_work"]

# Multiply-adds of a step that one thread has to have for itself. Measured: two threads take as long
# as one at 1e6 of them a step, 0.9 of the time at 1e7 and 0.7 at 5e7; and many times as long where
# another process keeps a core busy, because each waits for the other at every operation.
_PER_THREAD = 2**24
# What comparing two rows costs: seven kernels of three differences each, and their gradients.
_PER_PAIR = 32


def pass_work(network: nn.Module, rows: int) -> float:
    """Count the multiply-adds of rows that pass forward through a network, from below.

    Parameters
    ----------
    network : Module
        With its weights where they are used.
    rows : int
        Rows that pass at once.

    Returns
    -------
    float
        rows · weights. Infinite where that would be no count: for convolutions, which use a weight
        many times a row, and on any device but a CPU.
    """
    weights = list(network.parameters())
    if any(weight.dim() > 2 or weight.device.type != "cpu" for weight in weights):
        return math.inf
    return float(rows * sum(weight.numel() for weight in weights))


def step_work(model: Autoencoder, objective: Objective, rows: int) -> float:
    """Count the multiply-adds of the forward pass of a training step, from below.

    Parameters
    ----------
    model, objective : Autoencoder, Objective
        As they train.
    rows : int
        Rows of a batch.

    Returns
    -------
    float
        As ``pass_work`` counts, and 32 · rows² more for terms that compare rows.
    """
    pairs = rows**2 if objective.min_rows > 1 else 0
    return pass_work(model, rows) + pass_work(objective, rows) + _PER_PAIR * pairs


@contextmanager
def bounded_threads(work: float = math.inf) -> Iterator[None]:
    """Lower the number of threads that torch uses in the calling thread, and restore it.

    One thread for every 2^24 multiply-adds of a step, at least one and never more than before; and
    one in a worker of joblib that shares its process with others. Processes that joblib starts
    have their share of the cores from it, in ``OMP_NUM_THREADS``. Where that variable is set,
    nothing happens: the user has decided.

    Parameters
    ----------
    work : float in [0, inf], default=inf
        Multiply-adds of a step, or of a chunk of rows.

    Notes
    -----
    ``torch.set_num_threads`` would also change what threads begin with that start meanwhile, and
    nothing tells them apart afterwards. OpenMP's number, and MKL's own where one was set, belong to
    the calling thread alone.
    """
    # Asking also makes torch set up this thread, which at its first operation would undo the below.
    before = torch.get_num_threads()
    allowed = before if "OMP_NUM_THREADS" in os.environ else int(min(before, _allowed(work)))
    if allowed == before:
        yield
        return
    set_mkl = _mkl_setter()
    with _openmp().limit(limits=allowed):
        own = set_mkl(allowed)
        try:
            yield
        finally:
            set_mkl(own)


def _allowed(work: float) -> float:
    """Return how many threads there is work for, and room."""
    # Workers of joblib that are threads, or forks, do not know how many they are.
    if (get_active_backend()[0].nesting_level or 0) > 0:
        return 1
    return max(1, work / _PER_THREAD)


@cache
def _openmp() -> ThreadpoolController:
    """Return what sets OpenMP's number of threads in the calling thread."""
    return ThreadpoolController().select(user_api="openmp")


@cache
def _mkl_setter() -> Callable[[int], int]:
    """Return what sets MKL's own number in the calling thread and returns the one before.

    Zero is none: MKL then follows OpenMP, as everywhere until ``torch.set_num_threads`` is called.
    threadpoolctl does not see the MKL inside torch. Where there is none to be found, nothing is
    done.
    """
    try:
        setter = ctypes.CDLL(torch._C.__file__).MKL_Set_Num_Threads_Local
    except (AttributeError, OSError):
        return lambda number: 0
    return cast("Callable[[int], int]", setter)
