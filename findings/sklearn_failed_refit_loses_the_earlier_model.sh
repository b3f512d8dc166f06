#!/usr/bin/env bash
# scikit-learn 1.9.1: a GridSearchCV whose second fit fails in the refit has lost its first model.
#
# The search puts a new, unfitted best_estimator_ in the place of the earlier one and then fits it. If
# that last fit fails (memory, Ctrl-C, bad rows that only the whole set contains), predict raises
# NotFittedError though the first fit succeeded. best_score_ and best_params_ are those of the second
# fit, cv_results_ those of the first.
#
# Seen: predict works; the second fit raises; predict raises NotFittedError, best_score_ is not among
# the scores of cv_results_.
# What follows: fit clone(search) and take it for the old one only when fit has returned.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/python" -m pip install --quiet scikit-learn==1.9.1 numpy==2.4.6
"$folder/env/bin/python" - <<'PYTHON'
import numpy as np
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV


class SmallRidge(Ridge):
    """Fit no more than 100 rows."""

    def fit(self, X, y):
        if len(X) > 100:
            raise RuntimeError("more than 100 rows")
        return super().fit(X, y)


generator = np.random.default_rng(0)
X = generator.normal(size=(120, 3))
y = X[:, 0] + generator.normal(size=120)
search = GridSearchCV(SmallRidge(), {"alpha": [0.1, 1.0]}, cv=3)
search.fit(X[:60], y[:60])
print("after the first fit, predict returns", search.predict(X[:2]))
try:
    search.fit(X, y)  # each of the three folds trains on 80 rows, the refit on 120
except RuntimeError as error:
    print("second fit:", error)
try:
    search.predict(X[:2])
except NotFittedError as error:
    print("predict:", error)
else:
    raise SystemExit("the behaviour has changed")
scores = search.cv_results_["mean_test_score"]
print("best_score_", search.best_score_, "of", scores)
assert search.best_score_ not in scores, "the behaviour has changed"
PYTHON
