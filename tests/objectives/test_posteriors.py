"""Posteriors against SciPy, alone and inside estimators."""

import copy
import math
import pickle
from typing import final

import numpy as np
import pytest
import torch
from family import normal_rows
from scipy import stats
from sklearn.base import clone
from torch import distributions as D  # noqa: N812  # torch's own abbreviation

from skvim import VAETransformer, VIMAETransformer
from skvim.engine import child_seed
from skvim.objectives import (
    DiracPosterior,
    Factorised,
    GaussianPosterior,
    LogisticPosterior,
    Moments,
    Posterior,
    make_posterior,
)

ROWS = normal_rows(60, 4, 2)
SETTINGS = {"hidden_layer_sizes": (8,), "max_epochs": 3, "random_state": 0}
STANDARD = {
    "gaussian": (GaussianPosterior, stats.norm()),
    "logistic": (LogisticPosterior, stats.logistic(scale=math.sqrt(3) / math.pi)),
}
by_family = pytest.mark.parametrize(("family", "reference"), STANDARD.values(), ids=STANDARD.keys())


@final
class LaplacePosterior(Posterior):
    """A user's own posterior, with the spread 0.25 in every dimension."""

    stochastic = True

    def check(self) -> None:
        """Do nothing."""

    def n_outputs(self, n_components: int) -> int:
        return n_components

    def moments(self, output):
        base = Factorised(D.Laplace(0.0, math.sqrt(0.5)))
        return Moments(output, torch.full_like(output, 0.25), base)

    def __repr__(self) -> str:
        return "LaplacePosterior()"


@by_family
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_draws_have_location_spread_and_shape(family, reference, dtype):
    output = torch.tensor([[2.0, math.log(0.5)]], dtype=dtype).expand(20_000, 2)
    q = family().moments(output)
    z = family().draw(q, torch.Generator().manual_seed(0))
    assert z.dtype == dtype
    standardised = ((z - 2) / 0.5).squeeze(1).double().numpy()
    assert stats.kstest(standardised, reference.cdf).pvalue > 1e-3
    # With n draws the variance of the sample variance is (κ + 2)/n, κ the excess kurtosis.
    error = math.sqrt((float(reference.stats("k")) + 2) / 20_000)
    assert standardised.var() == pytest.approx(1, abs=4 * error)


@by_family
def test_density_matches_scipy(family, reference):
    q = family(0.3).moments(torch.tensor([[1.0, -2.0]], dtype=torch.float64))
    z = torch.linspace(-4, 4, 41, dtype=torch.float64).unsqueeze(1)
    expected = reference.logpdf((z - q.loc) / 0.3) - math.log(0.3)
    np.testing.assert_allclose(q.log_density(z), expected, rtol=1e-12)


@by_family
def test_a_learned_spread_is_bounded_and_a_fixed_one_takes_no_output(family, reference):
    q = family().moments(torch.tensor([[0.0, 1e6], [0.0, -1e6]]))
    assert torch.isfinite(q.scale).all()
    assert (q.scale > 0).all()
    assert (family().n_outputs(5), family(0.3).n_outputs(5)) == (10, 5)
    assert torch.equal(family(0.3).moments(torch.zeros(2, 5)).scale, torch.full((2, 5), 0.3))


def test_dirac_is_a_point():
    point = DiracPosterior().moments(torch.ones(2, 3))
    assert point.scale is None
    assert DiracPosterior().draw(point, torch.Generator()) is point.loc
    with pytest.raises(ValueError, match="without a spread has no density"):
        point.log_density(point.loc)


@by_family
def test_draws_are_differentiable_in_location_and_spread(family, reference):
    output = torch.randn(
        3, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64
    ).requires_grad_()
    assert torch.autograd.gradcheck(
        lambda out: family().draw(family().moments(out), torch.Generator().manual_seed(1)), output
    )


@by_family
@pytest.mark.parametrize("scale", [0.0, -1.0, math.inf, math.nan, "auto", True])
def test_a_bad_spread_is_refused_in_fit(family, reference, scale):
    with pytest.raises(ValueError, match="must be None or a positive finite number"):
        VAETransformer(2, posterior=family(scale), **SETTINGS).fit(ROWS)


def test_the_posterior_of_the_user_is_copied():
    own = GaussianPosterior(0.3)
    assert make_posterior(own) is not own
    model = VIMAETransformer(2, posterior=own, **SETTINGS).fit(ROWS)
    own.scale = 9.0
    np.testing.assert_allclose(model.posterior_moments(ROWS)[1], 0.3, rtol=1e-6)


POSTERIORS = [
    "gaussian",
    "logistic",
    GaussianPosterior(0.3),
    LogisticPosterior(0.3),
    LaplacePosterior(),
]


@pytest.mark.parametrize("posterior", POSTERIORS, ids=str)
@pytest.mark.parametrize("prior", ["normal", "logistic", D.Laplace(0.0, 1.0)], ids=str)
@pytest.mark.parametrize("model", [VAETransformer, VIMAETransformer])
def test_estimators_take_every_posterior_beside_every_prior(model, posterior, prior):
    model = model(2, posterior=posterior, prior=prior, output="sample", **SETTINGS)
    before = torch.get_rng_state()
    codes = model.fit(ROWS).transform(ROWS)
    assert np.isfinite(codes).all()
    assert np.isfinite(model.score_samples(ROWS)).all()
    copies = [copy.deepcopy(model), clone(model).fit(ROWS)]
    if not isinstance(posterior, LaplacePosterior):  # pickle finds no class of a test by its name
        copies.append(pickle.loads(pickle.dumps(model)))
    for other in copies:
        np.testing.assert_array_equal(other.transform(ROWS), codes)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("posterior", "reference"),
    [
        ("gaussian", stats.norm()),
        (GaussianPosterior(0.3), stats.norm()),
        ("logistic", STANDARD["logistic"][1]),
        (LogisticPosterior(0.3), STANDARD["logistic"][1]),
        (LaplacePosterior(), stats.laplace(scale=math.sqrt(0.5))),
    ],
    ids=["gaussian", "gaussian of 0.3", "logistic", "logistic of 0.3", "own"],
)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_sampled_codes_follow_the_posterior(posterior, reference, dtype):
    model = VIMAETransformer(2, posterior=posterior, output="sample", **SETTINGS).fit(ROWS)
    rows = normal_rows(4000, 4, 2, seed=1).astype(dtype)
    codes = model.transform(rows)
    assert codes.dtype == dtype
    np.testing.assert_array_equal(model.transform(rows), codes)
    mean, std = model.posterior_moments(rows)
    noise = ((codes - mean) / std).astype(np.float64)
    assert stats.kstest(noise.ravel(), reference.cdf).pvalue > 1e-3
    assert abs(np.corrcoef(noise.T)[0, 1]) < 4 / math.sqrt(4000)
    np.testing.assert_array_equal(model.set_params(output="mean").transform(rows), mean)


def test_sampled_codes_of_a_gaussian_come_from_numpy_and_one_seed():
    model = VAETransformer(2, output="sample", **SETTINGS).fit(ROWS)
    mean, std = model.posterior_moments(ROWS)
    source = np.random.default_rng(child_seed(model.net_.seed, "transform"))
    expected = mean + std * source.standard_normal(mean.shape)
    np.testing.assert_array_equal(model.transform(ROWS), expected)
