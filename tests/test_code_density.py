"""Densities of codes, from which models of arrays are sampled too."""

import numpy as np
import pytest
from sklearn.mixture import BayesianGaussianMixture
from sklearn.neighbors import KernelDensity

from skvim import AETransformer


@pytest.mark.parametrize(
    "density", ["gaussian-mixture", BayesianGaussianMixture(n_components=3), KernelDensity()]
)
def test_arrays_are_sampled_by_a_density_of_codes_too(density):
    rng = np.random.default_rng(0)
    centres = rng.choice([-4.0, 4.0], (600, 1))
    X = centres + rng.normal(size=(600, 4))
    small = {"hidden_layer_sizes": (16,), "max_epochs": 100, "random_state": 0}
    model = AETransformer(2, code_density=density, **small)
    assert hasattr(model, "sample")
    model.fit(X)
    drawn = model.sample(500, random_state=0)
    assert drawn.shape == (500, 4)
    assert np.mean(drawn.mean(1) < 0) == pytest.approx(np.mean(centres < 0), abs=0.1)
    noisy = model.sample(500, mean=False, random_state=0)
    assert noisy.std(0).mean() > drawn.std(0).mean()
    np.testing.assert_array_equal(drawn, model.sample(500, codes="fitted", random_state=0))
