#!/usr/bin/env bash
# torch 2.13.0 on CPU: torch.randn(16) does not begin with the numbers of torch.randn(15).
#
# From 16 elements on, randn and normal_ use another algorithm, in blocks of 16, and if the number of
# elements is no multiple of 16 they draw the last 16 elements anew. So with one seed the first
# numbers depend on how many are drawn, and noise drawn in batches differs from noise drawn at once.
# torch.rand, and NumPy's normal, give the same sequence however it is cut.
#
# Seen: of the first 15 numbers 0 are equal (torch.rand and NumPy: 15); of 100, drawn in tens, 0.
# What follows: draw all numbers in one call and cut them, where results shall not depend on batches.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/python" -m pip install --quiet torch==2.13.0 numpy==2.4.6
"$folder/env/bin/python" - <<'PYTHON'
import numpy as np
import torch


def count_equal(draw):
    """Return how many of the first 15 numbers are equal if 15 or 16 are drawn."""
    return int((np.asarray(draw(15)) == np.asarray(draw(16))[:15]).sum())


def seeded():
    """Return a new generator, always with the same seed."""
    return torch.Generator().manual_seed(0)


normal = count_equal(lambda n: torch.randn(n, generator=seeded()))
uniform = count_equal(lambda n: torch.rand(n, generator=seeded()))
numpy = count_equal(lambda n: np.random.default_rng(0).normal(size=n))
print(f"equal of 15: torch.randn {normal}, torch.rand {uniform}, numpy {numpy}")

generator = seeded()
tens = torch.cat([torch.randn(10, generator=generator) for _ in range(10)])
equal = int((tens == torch.randn(100, generator=seeded())).sum())
print(f"equal of 100, drawn in tens and at once: {equal}")
assert (normal, uniform, numpy, equal) == (0, 15, 15, 0), "the behaviour has changed"
PYTHON
