"""A training that diverges is an error, also in its last step, and changes nothing."""

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import FitFailedWarning

from skvim import (
    AAETransformer,
    AETransformer,
    UncertaintyAETransformer,
    VAETransformer,
    VIMAETransformer,
    WAETransformer,
)
from skvim.exceptions import TrainingDivergedError
from skvim.model_selection import BatchedSearchCV, lam_path
from skvim.objectives import Gaussian

X = np.random.default_rng(0).normal(size=(60, 5))
# One step, whose loss is finite.
ONE_STEP = {"hidden_layer_sizes": (8,), "max_epochs": 1, "random_state": 0}
MODELS = {
    "plain": AETransformer(2, **ONE_STEP),
    "rate": VAETransformer(2, **ONE_STEP),
    "fixed variance": VAETransformer(2, likelihood=Gaussian(1.0), **ONE_STEP),
    "variance by feature": VAETransformer(2, likelihood=Gaussian("per-feature"), **ONE_STEP),
    "batch normalisation": VAETransformer(2, normalization="batch", **ONE_STEP),
    "standardised codes": UncertaintyAETransformer(2, **ONE_STEP),
    "bounded activation": AETransformer(2, activation="tanh", **ONE_STEP),
    "critic": AAETransformer(2, **ONE_STEP),
    "pretraining": WAETransformer(2, pretraining=3, **ONE_STEP),
    "captured": VIMAETransformer(2, acceleration="capture", **{**ONE_STEP, "batch_size": 20}),
    "gradient descent": VAETransformer(2, optimizer="sgd", **ONE_STEP),
    "early stopping": VAETransformer(2, early_stopping=True, **ONE_STEP),
}


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("lr", [1e20, 1e38])
def test_the_last_step_diverges(name, lr):
    model = clone(MODELS[name]).fit(X)
    fitted, codes = dict(vars(model)), model.transform(X)
    model.lr = fitted["lr"] = lr
    with pytest.raises(TrainingDivergedError, match=r"not finite.* Try a smaller lr"):
        model.fit(X[:40, :4])
    assert vars(model) == fitted
    np.testing.assert_array_equal(model.transform(X), codes)


def test_the_last_step_of_one_model_of_a_batch_diverges():
    model = VIMAETransformer(2, optimizer="sgd", **ONE_STEP)
    with pytest.raises(TrainingDivergedError, match="not finite"):
        lam_path(model, X, [1.0, 1e30])
    search = BatchedSearchCV(model, {"lam": [1.0, 1e30]}, cv=2, error_score=-1e9, refit=False)
    with pytest.warns(FitFailedWarning, match="TrainingDivergedError: The weights"):
        search.fit(X)
    assert search.n_batched_fits_ == 4
    sound, diverged = search.cv_results_["mean_test_score"]
    assert np.isfinite(sound)
    assert diverged == -1e9
