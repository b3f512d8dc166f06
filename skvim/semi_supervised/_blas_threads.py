"""Limit the thread pool of SciPy's own BLAS during a fit."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from threadpoolctl import ThreadpoolController

__all__ = ["limit_scipy_to_one_thread"]

_lock = threading.Lock()
# One entry per running fit: the thread counts to restore when the last one ends.
_running: list[list[int]] = []


@contextmanager
def limit_scipy_to_one_thread() -> Iterator[None]:
    """Context manager: limit the BLAS bundled with SciPy to one thread, if NumPy has its own.

    Idle BLAS threads spin. With L-BFGS's small products in SciPy's pool and the large ones in
    NumPy's, both compete for the cores: on two cores a fit took twice as long as with one thread
    each. The limit holds for the whole process and is lifted when the last of several concurrent
    fits has ended.
    """
    pools = _scipy_blas_pools()
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
def _scipy_blas_pools() -> tuple[Any, ...]:
    """Return the BLAS thread pools bundled with SciPy; none if it shares NumPy's."""
    folders = {"scipy", "scipy.libs"}
    return tuple(
        pool
        for pool in ThreadpoolController().lib_controllers
        if pool.user_api == "blas" and folders & set(Path(pool.filepath).parts)
    )
