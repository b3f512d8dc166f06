#!/usr/bin/env bash
# skorch 1.4.0 in GridSearchCV (scikit-learn 1.9.1): Ctrl-C ends one fit, and the search goes on.
#
# skorch's fit catches KeyboardInterrupt and returns normally. In a search this means that the fit
# that Ctrl-C hit counts as finished: its model, trained for 2 of 10 epochs, is scored beside models
# that trained for all 10, the remaining fits run, and nothing warns.
#
# Seen: epochs trained by the four fits [2, 10, 10, 10]; the search ends without an error.
# What follows: press Ctrl-C as often as there are fits, or end the process; do not trust the scores.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/python" -m pip install --quiet \
    torch==2.13.0 skorch==1.4.0 scikit-learn==1.9.1 numpy==2.4.6
"$folder/env/bin/python" - <<'PYTHON'
import os
import signal

import numpy as np
import torch
from sklearn.model_selection import GridSearchCV
from skorch import NeuralNetRegressor
from skorch.callbacks import Callback


class PressCtrlC(Callback):
    """Send the signal of Ctrl-C once, after the second epoch of the first fit."""

    is_sent = False

    def on_epoch_end(self, net, **options):
        if len(net.history) == 2 and not PressCtrlC.is_sent:
            PressCtrlC.is_sent = True
            os.kill(os.getpid(), signal.SIGINT)


X = np.random.default_rng(0).normal(size=(40, 3)).astype("float32")
net = NeuralNetRegressor(
    torch.nn.Linear, module__in_features=3, module__out_features=1, max_epochs=10, verbose=0,
    train_split=None, callbacks=[PressCtrlC],
)
search = GridSearchCV(
    net, {"lr": [0.1, 0.01]}, cv=2, refit=False, scoring=lambda net, X, y: len(net.history)
)
search.fit(X, X[:, :1])
epochs = sorted(int(search.cv_results_[f"split{i}_test_score"][j]) for i in (0, 1) for j in (0, 1))
print("epochs trained by the four fits:", epochs)
assert epochs == [2, 10, 10, 10], "the behaviour has changed"
PYTHON
