import platform
import subprocess
import sys
from pathlib import Path

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

# Memory of a process beyond what it had, after a block of work in which the last block stays.
HELD = """
import resource
from pathlib import Path
import torch
from skvim.engine._memory import freed_memory_kept

def taken():
    return resource.getpagesize() * int(Path("/proc/self/statm").read_text().split()[1])

torch.use_deterministic_algorithms(True)  # with which torch writes to new tensors
torch.ones(2**20)
before = taken()
with freed_memory_kept():
    blocks = [torch.ones(2**20) for _ in range(60)]
    last = torch.ones(2**12)
    del blocks
    within = taken()
print(within - before, taken() - before)
"""


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="tells no memory")
def test_much_memory_is_returned_in_the_end():
    done = subprocess.run([sys.executable, "-c", HELD], capture_output=True, text=True, check=True)
    within, after = map(int, done.stdout.split())
    assert within < 300 * 2**20  # the freed blocks, and nothing of those that are kept
    assert after < 64 * 2**20


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
