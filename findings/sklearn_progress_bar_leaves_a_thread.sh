#!/usr/bin/env bash
# scikit-learn 1.9.1: each fit with a ProgressBar leaves a thread that waits until the process ends.
#
# The bar opens a local socket, over which worker processes report, and a thread that accepts
# connections. Both are there in a fit without workers too. After fit the socket is closed, but that
# does not wake the thread (on Linux): it stays, as do those of deleted ScoringMonitors.
#
# Seen: 20 fits of one LogisticRegression leave 20 threads; 20 fits without a bar leave none.
# What follows: in a process that fits often, set no ProgressBar, or fit in a process that ends.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/python" -m pip install --quiet scikit-learn==1.9.1 numpy==2.4.6 rich==15.0.0
"$folder/env/bin/python" - <<'PYTHON'
import contextlib
import gc
import io
import threading
import time

import numpy as np
from sklearn.callback import ProgressBar
from sklearn.linear_model import LogisticRegression

generator = np.random.default_rng(0)
X = generator.normal(size=(100, 3))
y = X[:, 0] + generator.normal(size=100) > 0


def count_new_threads(model):
    """Return how many threads are left by 20 fits."""
    before = threading.active_count()
    with contextlib.redirect_stdout(io.StringIO()):
        for _ in range(20):
            model.fit(X, y)
    gc.collect()
    time.sleep(1)
    return threading.active_count() - before


plain = count_new_threads(LogisticRegression())
with_bar = count_new_threads(LogisticRegression().set_callbacks(ProgressBar()))
print(f"threads left by 20 fits: {plain} without a bar, {with_bar} with a bar")
assert (plain, with_bar) == (0, 20), "the behaviour has changed"
PYTHON
