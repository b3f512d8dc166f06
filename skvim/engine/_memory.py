"""Memory that the C library keeps for the next training step."""

from functools import cache

import torch

__all__ = ["keep_freed_memory"]

# The largest block by which glibc raises its thresholds is one of 32 MiB, its own header included.
_LARGEST_BYTES = 2**25 - 2**16


@cache
def keep_freed_memory() -> None:
    """Let glibc keep the memory that a training step frees, for the next step.

    glibc returns memory to the system above thresholds that rise with the largest block that has
    been freed so far, up to 64 MiB of free memory. Below that a step of convolutions gets all of
    its memory anew, a page at a time, which takes a quarter of its time. Other C libraries are not
    affected; once in a process is enough.
    """
    torch.empty(_LARGEST_BYTES, dtype=torch.uint8)  # never written to, so it uses no memory
