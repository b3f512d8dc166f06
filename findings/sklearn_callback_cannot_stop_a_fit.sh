#!/usr/bin/env bash
# scikit-learn 1.9.1: a callback that returns True does not stop LogisticRegression.
#
# FitCallback says of the value that on_fit_task_end returns: whether to stop the iterations at this
# task. Early stopping seems to need one line. But no estimator of this version looks at the value:
# the callback is called after each iteration, its answer is dropped, and nothing warns.
#
# Seen: the same n_iter_, more than 1, with and without a callback that asks to stop from the start.
# What follows: limit max_iter, or raise an error in the callback and use the model it was given.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/python" -m pip install --quiet scikit-learn==1.9.1 numpy==2.4.6
"$folder/env/bin/python" - <<'PYTHON'
import numpy as np
from sklearn.linear_model import LogisticRegression


class Stop:
    """Ask to stop after each task of a fit."""

    requests = 0

    def setup(self, estimator, context):
        pass

    def on_fit_task_begin(self, estimator, context):
        pass

    def on_fit_task_end(self, estimator, context):
        self.requests += 1
        return True

    def teardown(self, estimator, context):
        pass


generator = np.random.default_rng(0)
X = generator.normal(size=(200, 5))
y = X[:, 0] + generator.normal(size=200) > 0
stop = Stop()
plain = LogisticRegression().fit(X, y).n_iter_[0]
stopped = LogisticRegression().set_callbacks(stop).fit(X, y).n_iter_[0]
print(f"iterations: {plain} without, {stopped} with a callback; it asked {stop.requests} times to stop")
assert 1 < plain == stopped < stop.requests, "the behaviour has changed"
PYTHON
