#!/usr/bin/env bash
# torch 2.13.0: making the first optimizer of a process imports about 800 modules.
#
# torch.optim.Adam([parameter]) decorates its methods so that the compiler leaves them alone, and for
# that imports torch._dynamo, with sympy and all that it needs: one to three seconds, which a timing
# of the first fit contains though nothing is compiled.
#
# Seen: more than 500 modules, sympy among them.
# What follows: make an optimizer before the clock of a benchmark starts; in a service, at start-up.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/python" -m pip install --quiet torch==2.13.0 numpy==2.4.6
"$folder/env/bin/python" - <<'PYTHON'
import sys
import time

import torch

parameter = torch.nn.Parameter(torch.ones(2))
before, start = set(sys.modules), time.perf_counter()
torch.optim.Adam([parameter])
seconds, new = time.perf_counter() - start, set(sys.modules) - before
print(f"{len(new)} modules in {seconds:.1f} s, sympy: {'sympy' in new}")
assert len(new) > 500, "the behaviour has changed"
assert {"sympy", "torch._dynamo"} <= new, "the behaviour has changed"
PYTHON
