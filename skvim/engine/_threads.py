"""Number of threads of torch: no more than the work and the machine have use for."""

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import cache

import torch
from joblib.parallel import get_active_backend
from threadpoolctl import ThreadpoolController
from torch import nn

from skvim._torch_private import mkl_setter
from skvim.objectives import Autoencoder, Objective

__all__ = ["bounded_threads", "one_thread", "pass_work", "step_work"]

# Multiply-adds of a step that pay for one thread. Measured: two threads take as long as one at 1e6
# a step, 0.9 of the time at 1e7 and 0.7 at 5e7; and many times as long where another process keeps
# a core busy, because each waits for the other at every operation.
_PER_THREAD = 2**24
# What comparing two rows costs: seven kernels of three differences each, and their gradients.
_PER_PAIR = 32
# Sets OpenMP's number of threads in the calling thread.
_openmp = cache(lambda: ThreadpoolController().select(user_api="openmp"))


def pass_work(network: nn.Module, rows: int) -> float:
    """Return a lower bound of the multiply-adds of a forward pass: rows · weights."""
    weights = list(network.parameters())
    # Convolutions use a weight many times a row, and other devices have no threads.
    if any(weight.dim() > 2 or weight.device.type != "cpu" for weight in weights):
        return math.inf
    return float(rows * sum(weight.numel() for weight in weights))


def step_work(model: Autoencoder, objective: Objective, rows: int) -> float:
    """Return the same for the forward pass of a training step, pairs of compared rows included."""
    pairs = rows**2 if objective.min_rows > 1 else 0
    return pass_work(model, rows) + pass_work(objective, rows) + _PER_PAIR * pairs


@contextmanager
def bounded_threads(work: float = math.inf) -> Iterator[None]:
    """Lower torch's number of threads in the calling thread for ``work`` multiply-adds a step.

    A worker of joblib that shares its process with others has one. Nothing changes where
    ``OMP_NUM_THREADS`` is set, by the user or by joblib for processes that it starts.
    """
    # ``torch.set_num_threads`` would also change what other threads start with meanwhile; OpenMP's
    # and MKL's own numbers belong to the calling thread. Asking torch for its number sets up this
    # thread, which at its first operation would undo the change.
    before = torch.get_num_threads()
    # Workers of joblib that are threads, or forks, do not know how many they are.
    shared = (get_active_backend()[0].nesting_level or 0) > 0
    allowed = 1 if shared else int(min(before, max(1, work / _PER_THREAD)))
    unbounded = allowed >= before or "OMP_NUM_THREADS" in os.environ
    with nullcontext() if unbounded else _limited(allowed):
        yield


@contextmanager
def one_thread() -> Iterator[None]:
    """Use one thread of torch in the calling thread, whatever the user has set.

    Products of few rows are rounded otherwise in each number of threads, which a Markov chain
    amplifies.
    """
    alone = torch.get_num_threads() == 1
    with nullcontext() if alone else _limited(1):
        yield


@contextmanager
def _limited(number: int) -> Iterator[None]:
    """Set the number of threads of OpenMP and MKL in the calling thread."""
    set_mkl = mkl_setter()
    with _openmp().limit(limits=number):
        own = set_mkl(number)
        try:
            yield
        finally:
            set_mkl(own)
