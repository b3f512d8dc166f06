"""Truths about the models: exact likelihoods, equivalences, samples, reconstructions."""

import numpy as np
import pytest
import torch
from family import DIGITS, GENERATIVE, MODELS, SMALL, X
from scipy import stats
from sklearn.datasets import load_digits, load_wine
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from skvim import (
    AETransformer,
    BetaVAETransformer,
    CapacityVAETransformer,
    InfoVAETransformer,
    VAETransformer,
    VIMAETransformer,
    WAETransformer,
)
from skvim.metrics import active_units
from skvim.objectives import MMD, Bernoulli, Gaussian, Logistic, Normal

WINE = StandardScaler().fit_transform(load_wine().data)


def squared_error(model, rows: np.ndarray) -> float:
    return float(((rows - model.reconstruct(rows)) ** 2).sum(axis=1).mean())


def pca_error(n_components: int, rows: np.ndarray) -> float:
    pca = PCA(n_components).fit(rows)
    return float(((rows - pca.inverse_transform(pca.transform(rows))) ** 2).sum(axis=1).mean())


@pytest.mark.parametrize("cls", MODELS)
@pytest.mark.parametrize("n", [40, 700])
@pytest.mark.numerics
def test_learned_variance_is_the_mean_squared_error_after_training(cls, n):
    posterior = {"posterior": "gaussian"} if cls is VIMAETransformer else {}
    model = cls(4, **SMALL, **posterior).fit(DIGITS[:n])
    module = model.net_.autoencoder
    with torch.no_grad():
        x = torch.tensor(DIGITS[:n], dtype=torch.float32).repeat(20, 1)
        z = module.posterior.draw(module.encode(x), torch.Generator().manual_seed(0))
        mse = (x - module.decode(z)).square().mean()
    assert float(module.likelihood.value) == pytest.approx(float(mse), rel=0.03)


def test_default_weight_brings_codes_to_the_scale_of_the_prior():
    rows = DIGITS[:600]
    free = AETransformer(8, max_epochs=30, random_state=0).fit(rows)
    assert free.transform(rows).std(axis=0).max() > 2
    for prior in ("normal", "logistic"):
        model = VIMAETransformer(8, prior=prior, max_epochs=30, random_state=0).fit(rows)
        spread = model.transform(rows).std(axis=0) / np.sqrt(model.prior_.variance)
        assert 0.7 < spread.min() <= spread.max() < 1.4


@pytest.mark.numerics
def test_beta_vae_at_one_is_the_vae():
    vae = VAETransformer(2, **SMALL).fit(X)
    beta = BetaVAETransformer(2, beta=1.0, **SMALL).fit(X)
    assert beta.loss_curve_ == vae.loss_curve_
    np.testing.assert_array_equal(beta.transform(X), vae.transform(X))


EQUAL = {
    "WAE is VIMAE with a point posterior": (
        WAETransformer(2, lam=3.0),
        VIMAETransformer(2, lam=3.0, posterior="dirac"),
    ),
    "capacity VAE at capacity 0 is the beta-VAE": (
        CapacityVAETransformer(2, capacity=0.0, gamma=3.0),
        BetaVAETransformer(2, beta=3.0),
    ),
    "InfoVAE at alpha = 1 is VIMAE": (
        InfoVAETransformer(2, alpha=1.0, lam=3.0),
        VIMAETransformer(2, lam=3.0, posterior="gaussian"),
    ),
    "InfoVAE at alpha = 0, lam = 1 is the VAE": (
        InfoVAETransformer(2, alpha=0.0, lam=1.0),
        VAETransformer(2),
    ),
}


@pytest.mark.parametrize("pair", EQUAL)
@pytest.mark.parametrize("prior", ["normal", "logistic"])
@pytest.mark.numerics
def test_models_that_are_one_train_alike(pair, prior):
    curves = [model.set_params(prior=prior, **SMALL).fit(X).loss_curve_ for model in EQUAL[pair]]
    assert curves[0] == curves[1]


def test_rate_of_the_capacity_vae_follows_its_capacity():
    model = CapacityVAETransformer(8, capacity=6.0, gamma=100.0, max_epochs=60, random_state=0)
    rows = DIGITS[:600]
    mean, std = model.fit(rows).posterior_moments(rows)
    rate = (0.5 * (mean**2 + std**2 - 1) - np.log(std)).sum(axis=1).mean()
    assert rate == pytest.approx(6.0, abs=0.5)
    # While C is still near 0, so is the rate.
    assert model.history_[3]["train_capacity"] < 1


def test_info_vae_refuses_a_rewarded_divergence():
    with pytest.raises(ValueError, match=r"lam must be at least 1 - alpha.*Got lam=0.2 with alpha"):
        InfoVAETransformer(2, alpha=0.5, lam=0.2, **SMALL).fit(X)


def test_vimae_without_its_divergence_is_the_autoencoder():
    ae = AETransformer(2, **SMALL).fit(X)
    free = VIMAETransformer(2, lam=0.0, **SMALL).fit(X)
    np.testing.assert_array_equal(free.transform(X), ae.transform(X))


def test_paper_weight_of_the_divergence_scales_with_the_variance():
    """0.05 · SSE + 10 · MMD and variance v with 100/v · MMD have the same gradient, up to 10/v."""
    rows = X.astype(np.float32)
    sgd = {"optimizer": "sgd", "hidden_layer_sizes": (), "max_epochs": 3, "random_state": 0}
    paper = VIMAETransformer(2, lam=10.0, likelihood=Gaussian(variance=10.0), lr=1e-2, **sgd)
    other = VIMAETransformer(2, lam=50.0, likelihood=Gaussian(variance=2.0), lr=2e-3, **sgd)
    codes = [model.fit(rows).transform(rows) for model in (paper, other)]
    np.testing.assert_allclose(codes[0], codes[1], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("cls", MODELS)
@pytest.mark.parametrize("likelihood", ["gaussian", Gaussian("per-feature"), "bernoulli"])
def test_gradients_reach_every_parameter(cls, likelihood):
    model = cls(3, likelihood=likelihood, **{**SMALL, "activation": "tanh"}).fit(DIGITS[:100])
    parts = (model.net_.module_, model.net_.criterion_)
    for name, parameter in (pair for part in parts for pair in part.named_parameters()):
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.abs().max() > 0, name


@pytest.mark.parametrize("shift", [0.0, 50.0])
@pytest.mark.parametrize("scale", [1e-4, 1.0, 1e4])
@pytest.mark.numerics
def test_codes_do_not_depend_on_the_unit_of_the_data(scale, shift):
    reference = VIMAETransformer(2, **SMALL).fit(X)
    model = VIMAETransformer(2, **SMALL).fit(scale * (X + shift))
    np.testing.assert_allclose(
        model.transform(scale * (X + shift)), reference.transform(X), atol=0.02
    )
    expected = scale * (reference.reconstruct(X) + shift)
    np.testing.assert_allclose(model.reconstruct(scale * (X + shift)), expected, atol=0.02 * scale)


@pytest.mark.parametrize("cls", MODELS)
def test_precision_follows_the_input(cls):
    model = cls(2, **SMALL).fit(X)
    single = model.transform(X.astype(np.float32))
    double = model.transform(X)
    assert (single.dtype, double.dtype) == (np.float32, np.float64)
    np.testing.assert_allclose(single, double, atol=1e-4)
    assert model.inverse_transform(single).dtype == np.float32
    if cls in GENERATIVE:
        assert model.sample(3).dtype == np.float64
        assert model.fit(X.astype(np.float32)).sample(3).dtype == np.float32


@pytest.mark.parametrize("cls", GENERATIVE)
def test_samples_follow_the_data(cls):
    # A capacity above what two dimensions need would push codes apart.
    own = {"capacity": 3.0} if cls is CapacityVAETransformer else {}
    model = cls(2, **{**SMALL, "max_epochs": 150, "lr": 1e-2}, **own).fit(X)
    drawn = model.sample(4000, random_state=0)
    assert drawn.shape == (4000, 6)
    np.testing.assert_allclose(drawn.mean(axis=0), X.mean(axis=0), atol=1.0)
    total = np.trace(np.cov(drawn.T)) / np.trace(np.cov(X.T))
    assert 0.5 < total < 1.5
    np.testing.assert_array_equal(drawn, model.sample(4000, random_state=0))
    assert not np.array_equal(drawn, model.sample(4000, random_state=1))


@pytest.mark.parametrize("n_samples", [0, -3, 2.5, "many"])
def test_sample_refuses_a_bad_number(n_samples):
    model = VAETransformer(2, **SMALL).fit(X)
    with pytest.raises(ValueError, match=r"n_samples must be an int in \[1, inf\). Got"):
        model.sample(n_samples)


@pytest.mark.parametrize("posterior", ["dirac", "gaussian"])
def test_moments_and_draws_of_the_posterior(posterior):
    model = VIMAETransformer(2, posterior=posterior, output="sample", **SMALL).fit(X)
    mean, std = model.posterior_moments(X)
    draws = model.transform(X)
    np.testing.assert_array_equal(draws, model.transform(X))
    if posterior == "dirac":
        assert not std.any()
        np.testing.assert_array_equal(draws, mean)
    else:
        standardised = (draws - mean) / std
        assert stats.kstest(standardised.ravel(), stats.norm.cdf).pvalue > 0.01


def test_output_may_change_after_fit_but_not_to_nonsense():
    model = VAETransformer(2, **SMALL).fit(X)
    assert not np.array_equal(model.transform(X), model.set_params(output="sample").transform(X))
    with pytest.raises(ValueError, match=r"output must be 'mean' or 'sample'\. Got 'median'"):
        model.set_params(output="median").transform(X)


@pytest.mark.parametrize("cls", MODELS)
@pytest.mark.parametrize(
    "rows",
    [np.ones((30, 3)), X[:2], X[:, :1], np.vstack([X, 1e6 * X[:1]]), np.zeros((5, 2))],
    ids=["constant", "two rows", "one feature", "an outlier", "zeros"],
)
@pytest.mark.numerics
def test_degenerate_data_give_finite_results(cls, rows):
    model = cls(4, **SMALL).fit(rows)
    assert np.isfinite(model.loss_curve_).all()
    assert np.isfinite(model.transform(rows)).all()
    assert np.isfinite(model.reconstruct(rows)).all()
    assert np.isfinite(model.score(rows))


def test_reconstruct_decodes_the_posterior_mean():
    model = VAETransformer(2, output="sample", **SMALL).fit(X)
    mean, _ = model.posterior_moments(X)
    np.testing.assert_array_equal(model.reconstruct(X), model.inverse_transform(mean))


def test_prior_is_resolved_and_reports_its_entropy():
    assert VIMAETransformer(2, prior="logistic", **SMALL).fit(X).prior_ == Logistic()
    own = Logistic.unit_variance()
    assert VIMAETransformer(2, prior=own, **SMALL).fit(X).prior_ == own
    assert VAETransformer(2, prior=Normal(2.0), **SMALL).fit(X).prior_.variance == 4.0


def test_likelihood_and_divergence_objects_are_used_and_left_alone():
    likelihood, divergence = Gaussian(variance=3.0), MMD(kernel="rbf", widths=(1.0,))
    model = VIMAETransformer(2, likelihood=likelihood, divergence=divergence, **SMALL).fit(X)
    used = model.net_.module_.likelihood, model.net_.criterion_.terms[0]
    for module, given in zip(used, (likelihood, divergence), strict=True):
        assert module.settings is not given
        assert module.settings == given
    assert float(used[0].value) == 3.0
    assert (vars(likelihood), vars(divergence)) == (
        {"variance": 3.0},
        {"kernel": "rbf", "widths": (1.0,)},
    )


def test_bernoulli_checks_its_range_in_fit_only():
    model = VAETransformer(2, likelihood="bernoulli", **SMALL)
    outside = pytest.raises(ValueError, match=r"expects every value of X in \[0, 1\]")
    with outside:
        model.fit(X)
    model.set_params(likelihood=Bernoulli()).fit(DIGITS[:100])
    noisy = DIGITS[:100] + np.random.default_rng(0).normal(size=(100, 64))
    assert np.isfinite(model.transform(noisy)).all()
    with outside:
        model.score(noisy)
    assert (
        0 <= model.sample(10, random_state=0).min() <= model.sample(10, random_state=0).max() <= 1
    )


def test_a_dirac_posterior_with_kl_is_refused():
    from skvim.objectives import KL

    model = VIMAETransformer(2, divergence=KL(), **SMALL)
    with pytest.raises(ValueError, match="needs a posterior with a spread"):
        model.fit(X)
    model.set_params(posterior="gaussian", lam=1.0).fit(X)
    vae = VAETransformer(2, **SMALL).fit(X)
    np.testing.assert_array_equal(model.transform(X), vae.transform(X))


@pytest.mark.parametrize(
    ("rows", "n_components"),
    [(DIGITS[:400], 16), (WINE, 4), (WINE, 8)],
    ids=["digits", "wine4", "wine8"],
)
@pytest.mark.parametrize(
    "model",
    [
        AETransformer(random_state=0),
        VIMAETransformer(random_state=0),
        VIMAETransformer(prior="logistic", random_state=0),
        VIMAETransformer(posterior="gaussian", lam=10.0, random_state=0),
    ],
    ids=["ae", "vimae-n", "vimae-l", "vimae-gaussian"],
)
def test_defaults_reconstruct_no_worse_than_pca(model, rows, n_components):
    model.set_params(n_components=n_components, max_epochs=100).fit(rows)
    assert squared_error(model, rows) <= pca_error(n_components, rows)
    assert active_units(model.transform(rows)) == n_components


@pytest.mark.filterwarnings("ignore::skvim.exceptions.DeadDimensionsWarning")  # beta-VAE on wine
@pytest.mark.parametrize(
    ("rows", "n_components"), [(DIGITS[:400], 16), (WINE, 8)], ids=["digits", "wine"]
)
@pytest.mark.parametrize(
    "cls", [VAETransformer, BetaVAETransformer, InfoVAETransformer, CapacityVAETransformer]
)
def test_defaults_leave_active_units_and_information(cls, rows, n_components):
    model = cls(n_components, max_epochs=100, random_state=0).fit(rows)
    assert active_units(model.transform(rows)) >= 2
    mean, std = model.posterior_moments(rows)
    rate = (0.5 * (mean**2 + std**2 - 1) - np.log(std)).sum(axis=1).mean()
    assert rate > 0.5


@pytest.mark.slow
def test_grid_search_over_the_weight_in_processes_gives_the_same():
    data, target = load_digits(return_X_y=True)
    encoder = VIMAETransformer(8, prior="logistic", max_epochs=5, random_state=0)
    pipeline = Pipeline([("vim", encoder), ("clf", LogisticRegression(max_iter=2000))])
    grid = {"vim__lam": [1, 100]}
    searches = [GridSearchCV(pipeline, grid, n_jobs=n_jobs, cv=2) for n_jobs in (2, None)]
    scores = [
        search.fit(data[:400] / 16, target[:400]).cv_results_["mean_test_score"]
        for search in searches
    ]
    np.testing.assert_allclose(scores[0], scores[1], atol=0.02)
    assert min(scores[0]) > 0.5
