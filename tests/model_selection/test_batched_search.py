"""BatchedSearchCV: the results of GridSearchCV."""

import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.datasets import load_wine
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, KFold, StratifiedKFold
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_estimator

from skvim import AETransformer, BetaVAETransformer, VAETransformer, VIMAETransformer
from skvim.engine.batched._train import train_batched
from skvim.exceptions import BatchingWarning
from skvim.metrics import masked_scorer
from skvim.model_selection import BatchedSearchCV, MaskedStratifiedKFold, mask_labels
from skvim.semi_supervised import TransductiveSVC

WINE, CULTIVAR = load_wine(return_X_y=True)
SMALL = {"hidden_layer_sizes": (16,), "max_epochs": 3, "batch_size": 200, "random_state": 0}
VIM = VIMAETransformer(3, **SMALL)


def pipeline(model=VIM, last=None):
    """Return a pipeline of scaler, autoencoder and classifier."""
    last = LogisticRegression(max_iter=1000) if last is None else last
    return Pipeline([("scale", StandardScaler()), ("vim", model), ("classify", last)])


def both(estimator, grid, X, y=None, **options):
    """Return both searches, fitted."""
    searches = BatchedSearchCV(estimator, grid, **options), GridSearchCV(estimator, grid, **options)
    return [search.fit(X, y) for search in searches]


def assert_same_results(batched, plain):
    """Compare all results except times."""
    assert list(batched.cv_results_) == list(plain.cv_results_)
    assert batched.cv_results_["params"] == plain.cv_results_["params"]
    for name, expected in plain.cv_results_.items():
        if name.startswith(("mean_test", "split", "std_test", "mean_train", "std_train")):
            np.testing.assert_allclose(batched.cv_results_[name], expected, rtol=1e-4, atol=1e-4)
    for name in ("best_params_", "best_index_", "n_splits_", "multimetric_"):
        assert getattr(batched, name, None) == getattr(plain, name, None)
    own = {name for name in vars(batched) if name.endswith("_")} - {"n_batched_fits_"}
    assert own == {name for name in vars(plain) if name.endswith("_")}


@pytest.mark.numerics
def test_search_equals_that_of_scikit_learn():
    grid = {"vim__lam": [0.1, 10.0, 1000.0], "classify__C": [0.01, 1.0]}
    batched, plain = both(pipeline(), grid, WINE, CULTIVAR, cv=3, return_train_score=True)
    assert_same_results(batched, plain)
    assert batched.n_batched_fits_ == 18
    assert batched.best_score_ == pytest.approx(plain.best_score_)
    np.testing.assert_array_equal(batched.predict(WINE), plain.predict(WINE))
    assert batched.score(WINE, CULTIVAR) == plain.score(WINE, CULTIVAR)


def test_search_with_few_labels_equals_that_of_scikit_learn():
    y = mask_labels(CULTIVAR, 60, random_state=0)
    model = pipeline(last=TransductiveSVC(random_state=0, safe=False))
    options = {"cv": MaskedStratifiedKFold(3), "scoring": masked_scorer("accuracy")}
    batched, plain = both(model, {"vim__lam": [0.1, 100.0]}, WINE, y, **options)
    assert_same_results(batched, plain)
    assert batched.n_batched_fits_ == 6


def test_search_over_an_autoencoder_needs_no_labels():
    X = StandardScaler().fit_transform(WINE).astype(np.float32)
    frame = pd.DataFrame(X, columns=[f"f{i}" for i in range(X.shape[1])])
    batched, plain = both(BetaVAETransformer(2, **SMALL), {"beta": [0.1, 1.0, 50.0]}, frame, cv=3)
    assert_same_results(batched, plain)
    assert list(batched.best_estimator_.feature_names_in_) == list(frame.columns)
    assert batched.best_estimator_.loss_curve_ == plain.best_estimator_.loss_curve_


def test_lists_of_grids_and_several_scores_without_refit_work_as_in_scikit_learn():
    grid = [{"vim__lam": [1.0, 100.0]}, {"vim__random_state": [1, 2], "vim__lam": [10.0]}]
    folds = KFold(2, shuffle=True, random_state=0)
    options = {"cv": folds, "scoring": ["accuracy", "f1_macro"], "refit": False}
    model = pipeline(clone(VIM).set_params(prior="logistic"))
    batched, plain = both(model, grid, WINE, CULTIVAR, **options)
    assert_same_results(batched, plain)
    assert batched.multimetric_
    assert batched.n_batched_fits_ == 8


def test_random_folds_and_iterators_of_folds_are_used_once():
    search = BatchedSearchCV(
        pipeline(), {"vim__lam": [0.1, 10.0]}, cv=StratifiedKFold(2, shuffle=True)
    )
    assert search.fit(WINE, CULTIVAR).n_batched_fits_ == 4
    splits = iter(list(KFold(2).split(WINE)))  # to be used up once
    search = BatchedSearchCV(pipeline(), {"vim__lam": [0.1, 10.0]}, cv=splits)
    assert search.fit(WINE, CULTIVAR).n_splits_ == 2


def test_steps_before_the_autoencoder_may_have_parameters_in_the_grid():
    model = make_pipeline(StandardScaler(), PCA(), clone(VIM), LogisticRegression(max_iter=1000))
    grid = {"pca__n_components": [4, 6], "vimaetransformer__lam": [0.1, 10.0]}
    batched, plain = both(model, grid, WINE, CULTIVAR, cv=2)
    assert_same_results(batched, plain)
    assert batched.n_batched_fits_ == 8


def test_fits_of_one_architecture_train_together_and_single_ones_are_reported():
    grid = {"vim__hidden_layer_sizes": [(8,), (16,)]}
    batched, plain = both(pipeline(), grid, WINE, CULTIVAR, cv=2)
    assert_same_results(batched, plain)
    assert batched.n_batched_fits_ == 4
    search = BatchedSearchCV(pipeline(), grid, cv=[next(KFold(3).split(WINE))])
    with pytest.warns(BatchingWarning, match="2 of the fits .* no other fit is like it"):
        search.fit(WINE, CULTIVAR)
    assert search.n_batched_fits_ == 0


class _Jitter(TransformerMixin, BaseEstimator):
    """Returns other rows at every call."""

    def fit(self, X, y=None):
        self.fitted_ = True
        return self

    def transform(self, X):
        return X + np.random.default_rng().normal(scale=1e-3, size=X.shape)


@pytest.mark.parametrize(
    ("model", "grid", "reason"),
    [
        (LogisticRegression(max_iter=5000), {"C": [0.1]}, "neither an autoencoder nor"),
        (make_pipeline(_Jitter(), VIM), {"vimaetransformer__lam": [1.0, 2.0]}, "other rows"),
        (make_pipeline(VIM), {"vimaetransformer__divergence": ["adversarial"]}, "critic"),
    ],
)
def test_fits_that_cannot_be_batched_are_searched_with_a_warning(model, grid, reason):
    X = StandardScaler().fit_transform(WINE)
    search = BatchedSearchCV(model, grid, cv=2)
    with pytest.warns(BatchingWarning, match=reason):
        search.fit(X, CULTIVAR)
    assert search.n_batched_fits_ == 0
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


def test_a_candidate_that_fails_gets_the_error_score():
    grid = {"vim__lam": [0.1, -1.0, 10.0]}
    for search in (BatchedSearchCV, GridSearchCV):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            fitted = search(pipeline(), grid, cv=2).fit(WINE, CULTIVAR)
        assert np.isnan(fitted.cv_results_["mean_test_score"]).tolist() == [False, True, False]
        assert any("2 fits failed out of a total of 6" in str(w.message) for w in caught)
        with pytest.raises(ValueError, match="lam"):
            search(pipeline(), grid, cv=2, error_score="raise").fit(WINE, CULTIVAR)


def test_a_candidate_that_diverges_gets_the_error_score():
    X = StandardScaler().fit_transform(WINE)
    search = BatchedSearchCV(BetaVAETransformer(2, **SMALL), {"beta": [1.0, 1e38]}, cv=2)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        search.fit(X)
    assert any("2 fits failed" in str(warning.message) for warning in caught)
    assert np.isnan(search.cv_results_["mean_test_score"]).tolist() == [False, True]
    assert search.best_params_ == {"beta": 1.0}


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # of the scaler
def test_missing_values_raise_the_error_of_scikit_learn():
    X = WINE.copy()
    X[:, 0] = np.nan
    for search in (BatchedSearchCV, GridSearchCV):
        with pytest.raises(ValueError, match="All the 4 fits failed"):
            search(pipeline(), {"vim__lam": [0.1, 1.0]}, cv=2).fit(X, CULTIVAR)


def test_parameters_stay_unchanged_and_a_failed_fit_keeps_earlier_results():
    cv = StratifiedKFold(2)
    search = BatchedSearchCV(pipeline(), {"vim__lam": [0.1, 1.0]}, cv=cv, n_jobs=1)
    search.fit(WINE, CULTIVAR)
    assert search.cv is cv
    assert search.n_jobs == 1
    before = search.cv_results_
    with pytest.raises(ValueError, match="inconsistent"):
        search.fit(WINE, CULTIVAR[:-1])
    assert search.cv_results_ is before
    assert clone(search).get_params(deep=False).keys() == search.get_params(deep=False).keys()


def test_results_hold_the_models_of_the_grid():
    models = [VIM, clone(VIM).set_params(lam=3.0)]
    search = BatchedSearchCV(pipeline(), {"vim": models}, cv=2)
    assert search.fit(WINE, CULTIVAR).n_batched_fits_ == 4
    assert [params["vim"] for params in search.cv_results_["params"]] == models
    assert any(search.best_params_["vim"] is model for model in models)


def test_the_time_of_a_batch_is_shared_among_its_fits():
    search = BatchedSearchCV(VAETransformer(2, **SMALL), {"random_state": [0, 1, 2]}, cv=2)
    times = search.fit(StandardScaler().fit_transform(WINE)).cv_results_["mean_fit_time"]
    assert times.min() > 0.5 * times.max() > 0


def test_global_generators_stay_unchanged():
    torch.manual_seed(7)
    before = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    BatchedSearchCV(pipeline(), {"vim__lam": [0.1, 1.0]}, cv=2).fit(WINE, CULTIVAR)
    assert torch.equal(torch.get_rng_state(), before[0])
    np.testing.assert_array_equal(np.random.get_state()[1], before[1])  # noqa: NPY002


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("model", "grid"),
    [
        (LogisticRegression(), {"C": [0.1, 1.0]}),
        (
            make_pipeline(
                AETransformer(2, hidden_layer_sizes=(), max_epochs=1), LogisticRegression()
            ),
            {"aetransformer__random_state": [0, 1]},
        ),
    ],
    ids=["classifier", "pipeline"],
)
def test_search_passes_the_checks_of_scikit_learn(model, grid):
    check_estimator(BatchedSearchCV(model, grid, cv=2, error_score="raise"))


def test_equal_fits_are_made_once(monkeypatch):
    sizes = []

    def counted(sets, *rest):
        sizes.append(sum(len(of_set.nets) for of_set in sets))
        return train_batched(sets, *rest)

    monkeypatch.setattr("skvim.engine.batched._plan.train_batched", counted)
    grid = {"vim__lam": [0.1, 10.0], "classify__C": [0.01, 0.1, 1.0]}
    batched, plain = both(pipeline(), grid, WINE, CULTIVAR, cv=2)
    assert_same_results(batched, plain)
    assert (sizes, batched.n_batched_fits_) == ([4], 12)
    # Without a seed no fits are equal.
    search = BatchedSearchCV(pipeline(clone(VIM).set_params(random_state=None)), grid, cv=2)
    assert (search.fit(WINE, CULTIVAR).n_batched_fits_, sizes) == (12, [4, 12])


def test_folds_of_different_sizes():
    rows = np.random.default_rng(0).permutation(len(WINE))
    sizes = (81, 82, 83, 121, 40, 41)  # with a batch of 40: remainders of 1, 2, 3; 1; none; 1
    splits = [(np.sort(rows[:size]), rows[-40:]) for size in sizes]
    model = pipeline(clone(VIM).set_params(batch_size=40))
    batched, plain = both(model, {"vim__lam": [0.1, 10.0]}, WINE, CULTIVAR, cv=splits)
    assert_same_results(batched, plain)
    assert batched.n_batched_fits_ == 12
