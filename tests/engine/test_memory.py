import platform
import subprocess
import sys

import pytest

# Page faults of a second round of blocks that are freed in the order of a backward pass.
CODE = """
from contextlib import nullcontext
import resource
import torch
from skvim.engine._memory import freed_memory_kept

def work():
    blocks = [torch.ones(2**20) for _ in range(10)]
    while blocks:
        blocks.pop()

kept = freed_memory_kept() if {kept} else nullcontext()
kept.__enter__()
work()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
work()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries do as they like")
def test_a_step_finds_the_memory_that_the_last_one_freed(monkeypatch):
    for name in (
        "MALLOC_TRIM_THRESHOLD_",
        "MALLOC_MMAP_THRESHOLD_",
        "GLIBC_TUNABLES",
        "LD_PRELOAD",
    ):
        monkeypatch.delenv(name, raising=False)
    faults = {
        kept: int(subprocess.check_output([sys.executable, "-c", CODE.format(kept=kept)]))
        for kept in (False, True)
    }
    assert faults[True] < 0.5 * faults[False]
