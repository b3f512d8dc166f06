#!/usr/bin/env bash
# skorch 1.4.0: a fit resumed by LoadInitState trains max_epochs more epochs, not the rest of them.
#
# A net with max_epochs=10 breaks off after its 6th epoch. A new net with the same Checkpoint and
# LoadInitState loads history and weights, counts on from epoch 7, and trains until epoch 16. A
# learning-rate schedule, and results, differ from those of a fit that nothing interrupted.
#
# Seen: the history of the resumed net ends with epoch 16.
# What follows: subtract the epochs that are done from max_epochs before fit.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/python" -m pip install --quiet torch==2.13.0 skorch==1.4.0 numpy==2.4.6
"$folder/env/bin/python" - "$folder" <<'PYTHON'
import sys

import numpy as np
import torch
from skorch import NeuralNetRegressor
from skorch.callbacks import Callback, Checkpoint, LoadInitState

X = np.random.default_rng(0).normal(size=(40, 3)).astype("float32")


class BreakOff(Callback):
    """Raise after the sixth epoch."""

    def on_epoch_end(self, net, **options):
        if len(net.history) == 6:
            raise RuntimeError("something failed")


def make_net(*more):
    checkpoint = Checkpoint(dirname=sys.argv[1], monitor=None)
    return NeuralNetRegressor(
        torch.nn.Linear, module__in_features=3, module__out_features=1, max_epochs=10, verbose=0,
        train_split=None, callbacks=[checkpoint, LoadInitState(checkpoint), *more],
    )


try:
    make_net(BreakOff()).fit(X, X[:, :1])
except RuntimeError as error:
    print("first fit:", error)
resumed = make_net().fit(X, X[:, :1])
epochs = resumed.history[:, "epoch"]
print("epochs of the resumed net:", epochs)
assert epochs == list(range(1, 17)), "the behaviour has changed"
PYTHON
