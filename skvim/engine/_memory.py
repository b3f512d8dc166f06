"""Memory that the C library keeps from one training step for the next."""

import platform
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache

import torch

__all__ = ["freed_memory_kept"]

# glibc takes blocks above 32 MiB, their headers included, from the system one by one.
_BLOCK_BYTES, _N_BLOCKS = 2**25 - 2**16, 16


@contextmanager
def freed_memory_kept() -> Iterator[None]:
    """Let glibc keep the memory that a training step frees, up to 512 MiB, for the next step.

    glibc returns memory at the end of its heap to the system, above thresholds that rise with the
    largest block that has been freed so far. A step of convolutions then gets all of its memory
    anew, a page at a time, which takes a quarter of its time. Here a block at the end of the heap
    stays in use meanwhile. No block is written to, so that none takes memory. Nothing is done with
    other C libraries.
    """
    if not _is_glibc():
        yield
        return
    blocks: list[torch.Tensor] = []
    with suppress(RuntimeError):  # where the system grants no memory that is not used yet
        # Freeing the first raises the threshold from which on blocks are no part of the heap.
        torch.empty(_BLOCK_BYTES, dtype=torch.uint8)
        blocks += [torch.empty(_BLOCK_BYTES, dtype=torch.uint8) for _ in range(_N_BLOCKS)]
    del blocks[:-1]
    yield


@cache
def _is_glibc() -> bool:
    """Tell whether memory comes from the GNU C library."""
    return platform.libc_ver()[0] == "glibc"
