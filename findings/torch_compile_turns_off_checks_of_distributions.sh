#!/usr/bin/env bash
# torch 2.13.0: the first torch.compile of a process turns off the argument checks of distributions.
#
# torch.compile prepares optimizers and distributions for tracing once a process, when it is first
# called, even if what it returns never runs. To that end it sets the process's default of
# torch.distributions.Distribution.set_default_validate_args to False, and leaves it so. From then on
# every distribution of the process, compiled or not, takes arguments outside its range: a standard
# deviation below 0 gives NaN as log-density where there was a ValueError.
#
# Seen: Normal(0, -1) is refused before torch.compile and accepted after it; its log_prob is NaN.
# What follows: pass validate_args=True where checks matter, or set the default again after the first
# torch.compile. skvim's acceleration="compile" leaves the default as it found it.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/python" -m pip install --quiet torch==2.13.0 numpy==2.4.6
"$folder/env/bin/python" - <<'PYTHON'
import torch
from torch.distributions import Normal

try:
    Normal(0.0, -1.0)
    refused = False
except ValueError:
    refused = True
torch.compile(torch.nn.Linear(2, 2))  # compiled when it is first called, which it is not
value = Normal(0.0, -1.0).log_prob(torch.tensor(0.5))
print(f"before torch.compile refused: {refused}, after it log_prob is {value}")
assert refused, "the behaviour has changed"
assert value.isnan(), "the behaviour has changed"
checked = Normal(0.0, 1.0, validate_args=True)
assert "_validate_args" in vars(checked), "the behaviour has changed"
PYTHON
