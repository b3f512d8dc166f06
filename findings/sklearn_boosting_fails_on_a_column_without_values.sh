#!/usr/bin/env bash
# scikit-learn 1.9.1: HistGradientBoostingClassifier fails on a column that is missing throughout.
#
# The histogram based trees take NaN as missing, and 1.8.0 fits a table of which a column is all
# NaN, as a fold of a cross-validation or a sample of a generative model may have it. 1.9.1 raises
# ValueError while it looks for the edges of the column's bins; the message, about the shape of a
# window, names neither the column nor the reason.
#
# Seen: 1.8.0 fits and scores such rows, 1.9.1 raises the ValueError.
# What follows: leave columns without an observed value out before the fit.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
for version in 1.8.0 1.9.1; do
    python3 -m venv "$folder/$version"
    "$folder/$version/bin/python" -m pip install --quiet "scikit-learn==$version" numpy==2.4.6
    "$folder/$version/bin/python" - <<'PYTHON'
import numpy as np
import sklearn
from sklearn.ensemble import HistGradientBoostingClassifier

X = np.random.default_rng(0).random((60, 2))
X[:, 1] = np.nan
y = X[:, 0] > 0.5
try:
    score = HistGradientBoostingClassifier(max_iter=5).fit(X, y).score(X, y)
    seen = f"fits, accuracy {score:.2f}"
except ValueError as error:
    seen = f"ValueError: {error}"
print(sklearn.__version__, seen)
expected = "fits" if sklearn.__version__ == "1.8.0" else "ValueError: window shape"
assert seen.startswith(expected), "the behaviour has changed"
PYTHON
done
