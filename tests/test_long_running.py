"""Memory of a process that fits and scores for a long time."""

import subprocess
import sys
from pathlib import Path

import pytest

# How often each is repeated, few or many times: searches take longest.
CYCLES = {
    "captured fit": (6, 250),
    "lam_path": (3, 80),
    "BatchedSearchCV": (2, 20),
    "GridSearchCV": (3, 100),
    "TransductiveSVC": (6, 800),
    "score_samples": (6, 800),
    "information": (6, 950),
}


@pytest.mark.slow
@pytest.mark.trust("Memory does not grow with the number of fits and scores.")
@pytest.mark.parametrize("name", CYCLES)
def test_memory_does_not_grow_with_the_number_of_fits(name, amount):
    few, many = CYCLES[name]
    n_cycles = amount("cycles of fitting", quick=few, full=many)
    # In a process of its own: caches that other tests have filled grow in steps.
    command = [sys.executable, Path(__file__).with_name("long_running.py"), name, str(n_cycles)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    # The source of one captured step alone has 16 kB.
    assert int(done.stdout) < 100_000 + 1_000 * n_cycles
