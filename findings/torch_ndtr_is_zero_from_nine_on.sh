#!/usr/bin/env bash
# torch 2.13.0: special.ndtr loses the lower tail, and is 0 at -9 in float64.
#
# The distribution function of the normal distribution is 1.1e-19 at -9, far above the smallest
# float64, and SciPy's function of this name gives all digits of it. torch computes it as
# (1 + erf(x/sqrt 2))/2, whose digits cancel: a relative error of 4e-11 at -5, 2 % at -8, and 0
# from about -8.4 on. special.log_ndtr and special.erfc of the same version are exact there.
#
# Seen: the values of both libraries at -5, -8 and -9.
# What follows: take 0.5 * erfc(-x/sqrt 2), or the exponential of log_ndtr, where tails matter.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/python" -m pip install --quiet torch==2.13.0 numpy==2.4.6 scipy==1.17.1
"$folder/env/bin/python" - <<'PYTHON'
import torch
from scipy import special

x = torch.tensor([-5.0, -8.0, -9.0], dtype=torch.float64)
found, exact = torch.special.ndtr(x), torch.from_numpy(special.ndtr(x.numpy()))
errors = (found / exact - 1).abs().tolist()
print("torch", found.tolist(), "SciPy", exact.tolist(), "relative errors", errors)
other = 0.5 * torch.special.erfc(-x / 2**0.5)
assert torch.allclose(other, exact, rtol=1e-12, atol=0), "erfc is not exact"
assert found[2] == 0 < exact[2] and errors[0] > 1e-11, "the behaviour has changed"
PYTHON
