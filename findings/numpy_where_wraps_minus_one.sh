#!/usr/bin/env bash
# NumPy 2.4.6: np.where(mask, -1, y) of a uint8 array is 255, where y[mask] = -1 is an error.
#
# Since NumPy 2 a Python integer takes the type of the array beside it, and one that does not fit
# raises OverflowError: in assignments, in arithmetic and in np.full_like. np.where wraps it without
# an error or a warning. NumPy 1.26 chose a wider type, which can hold -1.
#
# Seen: np.where gives uint8 and 255 with 2.4.6, int16 and -1 with 1.26.4; three other ways to mask
# raise OverflowError with 2.4.6.
# What follows: convert unsigned labels by y.astype(int) before some of them are replaced by -1.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
for version in 1.26.4 2.4.6; do
    python3 -m venv "$folder/$version"
    "$folder/$version/bin/python" -m pip install --quiet "numpy==$version"
    "$folder/$version/bin/python" - <<'PYTHON'
import numpy as np

y = np.array([0, 1, 2], dtype=np.uint8)
hidden = np.array([False, False, True])


def assign():
    labels = y.copy()
    labels[hidden] = -1
    return labels


def seen(mask):
    try:
        labels = mask()
    except OverflowError:
        return "OverflowError"
    return f"{labels.dtype} {labels[-1]}"


others = [seen(assign), seen(lambda: np.full_like(y, -1)), seen(lambda: y + -1 * hidden.astype("u1"))]
found = seen(lambda: np.where(hidden, -1, y))
print(np.__version__, "np.where:", found, "others:", *others)
if np.__version__ == "2.4.6":
    assert found == "uint8 255", "the behaviour has changed"
    assert others == ["OverflowError"] * 3, "the behaviour has changed"
else:
    assert found == "int16 -1", "the behaviour has changed"
PYTHON
done
