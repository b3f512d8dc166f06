"""Kernel values of TransductiveSVC are checked, in fits and in predictions."""

from functools import partial

import numpy as np
import pytest
from sklearn.datasets import load_wine
from sklearn.metrics.pairwise import rbf_kernel
from sklearn.preprocessing import StandardScaler

from skvim.model_selection import mask_labels
from skvim.semi_supervised import TransductiveSVC
from skvim.semi_supervised._feature_maps import make_kernel

#: The transductive machine itself, whether or not held-out labels speak for it.
transductive = partial(TransductiveSVC, safe=False)


def wine():
    X, y = load_wine(return_X_y=True)
    return StandardScaler().fit_transform(X), mask_labels(y, 30, stratify=True, random_state=0)


@pytest.mark.parametrize("origin", [0.0, 1e6])
@pytest.mark.numerics
def test_the_rbf_kernel_is_scikit_learns(origin):
    generator = np.random.default_rng(0)
    X, Z = generator.standard_normal((50, 7)), generator.standard_normal((20, 7))
    kernel = make_kernel("rbf", gamma=0.3, degree=3, coef0=0.0)
    expected = rbf_kernel(X, Z, gamma=0.3)
    np.testing.assert_allclose(kernel(X + origin, Z + origin), expected, rtol=1e-7)


@pytest.mark.parametrize(
    ("kernel", "message"),
    [
        ("poly", "overflows, first for row 1: X holds values of up to .* Scale X"),
        (lambda X, Z: np.where(X[:, :1] > 1e100, np.nan, X @ Z.T), "infinite or missing"),
    ],
)
def test_kernel_values_of_new_rows_are_checked(kernel, message):
    X, y = wine()
    model = transductive(kernel=kernel).fit(X, y)
    with pytest.raises(ValueError, match=message):
        model.predict([X[0], X[0] + 1e200, X[1]])
    assert model.predict(X).shape == y.shape


def test_distant_rows_and_a_large_gamma_have_a_finite_rbf_kernel():
    """Squared distances times gamma overflow; the kernel is then 0."""
    X, y = wine()
    model = transductive(gamma=1e300).fit(X, y)
    assert np.isfinite(model.decision_function(np.vstack([X, X * 1e5, X * 1e300]))).all()
    model = transductive().fit(X, y)
    far = model.decision_function(np.full((1, X.shape[1]), 1e200))
    np.testing.assert_allclose(far, model.decision_function(np.full((1, X.shape[1]), 1e10)))
