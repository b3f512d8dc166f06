"""Keeping two pools of threads from waiting for each other's cores."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from threadpoolctl import ThreadpoolController

__all__ = ["one_thread_for_scipy"]

_lock = threading.Lock()
# How many fits are running, and what to go back to when the last one ends.
_running: list[list[int]] = []


@contextmanager
def one_thread_for_scipy() -> Iterator[None]:
    """Let the BLAS of SciPy's wheels use one thread, where NumPy's have another.

    A pool's threads wait for more work by spinning. Between L-BFGS's small products in one pool and
    those of the rows in the other they take each other's cores: on two cores a fit took twice as
    long as with one thread each. The setting is the process's, and is as before when the last of
    several fits has ended.
    """
    pools = _scipys()
    with _lock:
        _running.append([pool.get_num_threads() for pool in pools] if not _running else _running[0])
        for pool in pools:
            pool.set_num_threads(1)
    try:
        yield
    finally:
        with _lock:
            before = _running.pop()
            if not _running:
                for pool, number in zip(pools, before, strict=True):
                    pool.set_num_threads(number)


@cache
def _scipys() -> tuple[Any, ...]:
    """Return the pools of BLAS libraries that came with SciPy; none where it shares NumPy's."""
    found = ThreadpoolController().lib_controllers
    homes = {"scipy", "scipy.libs"}
    return tuple(
        pool for pool in found if pool.user_api == "blas" and homes & set(Path(pool.filepath).parts)
    )
