"""Memory that the C library keeps from one training step for the next."""

import ctypes
import platform
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from typing import Any, final

import torch

__all__ = ["freed_memory_kept"]

# glibc takes blocks above 32 MiB, their headers included, from the system one by one.
_BLOCK_BYTES, _N_BLOCKS = 2**25 - 2**16, 16
# Free memory that the C library may go on holding after a fit.
_HELD_BYTES = 2**26


@contextmanager
def freed_memory_kept() -> Iterator[None]:
    """Let glibc keep the memory that a training step frees, up to 512 MiB, for the next step.

    glibc returns memory at the end of its heap to the system, above thresholds that rise with the
    largest block that has been freed so far. A step of convolutions then gets all of its memory
    anew, a page at a time, which takes a quarter of its time. Here a block at the end of the heap
    stays in use meanwhile. No block is written to, so that none takes memory. In the end free
    memory is returned, if it is much. Nothing is done with other C libraries.
    """
    library = _glibc()
    if library is None:
        yield
        return
    blocks: list[torch.UntypedStorage] = []
    with suppress(RuntimeError):  # where the system grants no memory that is not used yet
        # Freeing the first raises the threshold from which on blocks are no part of the heap.
        _block()
        blocks += [_block() for _ in range(_N_BLOCKS)]
    del blocks[:-1]
    try:
        yield
    finally:
        blocks.clear()
        if library.mallinfo2().fordblks > _HELD_BYTES:
            library.malloc_trim(0)


def _block() -> torch.UntypedStorage:
    """Return memory that is not written to, as a tensor's is for deterministic algorithms."""
    return torch.UntypedStorage(_BLOCK_BYTES, device="cpu")  # type: ignore[no-untyped-call]


@final
class _Usage(ctypes.Structure):
    """Usage of the heap as glibc tells it; ``fordblks`` is the memory that is free."""

    _fields_ = tuple(
        (name, ctypes.c_size_t)
        for name in (
            "arena",
            "ordblks",
            "smblks",
            "hblks",
            "hblkhd",
            "usmblks",
            "fsmblks",
            "uordblks",
            "fordblks",
            "keepcost",
        )
    )


@cache
def _glibc() -> Any:
    """Return the GNU C library if memory comes from one of release 2.33 or newer, or None."""
    if platform.libc_ver()[0] != "glibc":
        return None
    library = ctypes.CDLL(None)
    if not hasattr(library, "mallinfo2"):
        return None
    library.mallinfo2.restype = _Usage
    return library
