#!/usr/bin/env bash
# scikit-learn 1.9.1: cross_val_predict trains unlabelled rows as a class, but not for labels.
#
# LabelSpreading takes y = -1 for a row without a label. cross_val_predict with
# method="predict" passes y on. With method="predict_proba" it codes the classes as 0, 1, ... before
# the fits, so that -1 becomes 0, a class like any other: nothing is unlabelled for the estimator, which
# learns to tell labelled rows from unlabelled ones. There is no error and no warning (SelfTrainingClassifier
# warns that no row is unlabelled); the only trace is one column more than there are classes.
#
# Seen: the labels of the same folds agree with the truth for more than 95 % of the labelled rows, the most
# probable classes for less than 20 %; the first column has most of the probability.
# What follows: for probabilities, write the loop over the folds.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/python" -m pip install --quiet scikit-learn==1.9.1 numpy==2.4.6
"$folder/env/bin/python" -W error - <<'PYTHON'
import numpy as np
from sklearn.datasets import make_blobs
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.semi_supervised import LabelSpreading

X, y = make_blobs(120, centers=3, cluster_std=0.8, random_state=1)
labelled = np.arange(120) % 4 == 0
partial = np.where(labelled, y, -1)
model = LabelSpreading(gamma=0.5)
labels = cross_val_predict(model, X, partial, cv=StratifiedKFold(3))
shares = cross_val_predict(model, X, partial, cv=StratifiedKFold(3), method="predict_proba")
likeliest = np.array([-1, 0, 1, 2])[shares.argmax(axis=1)]
by_label = np.mean(labels[labelled] == y[labelled])
by_share = np.mean(likeliest[labelled] == y[labelled])
print(f"accuracy on labelled rows: {by_label:.2f} by predict, {by_share:.2f} by predict_proba")
print(f"columns: {shares.shape[1]} for 3 classes; mean of the first: {shares[:, 0].mean():.2f}")
assert by_label > 0.95 and by_share < 0.2, "the behaviour has changed"
assert shares.shape[1] == 4 and shares[:, 0].mean() > 0.5, "the behaviour has changed"
PYTHON
