"""The end of a fit: what it warns of, what it keeps quiet about, and what that costs."""

import warnings

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.datasets import load_digits, load_wine
from sklearn.preprocessing import StandardScaler
from skorch.history import History

from skvim import (
    AETransformer,
    BetaVAETransformer,
    ContractiveAETransformer,
    UncertaintyAETransformer,
    VAETransformer,
    VIMAETransformer,
)
from skvim.exceptions import (
    DeadDimensionsWarning,
    PosteriorCollapseWarning,
    PriorMismatchWarning,
    SkvimWarning,
)
from skvim.objectives import (
    KL,
    MMD,
    Adversarial,
    Gaussian,
    MixtureKL,
    Moments,
    Normal,
    Objective,
    SlicedWasserstein,
)
from skvim.objectives._diagnosis import diagnose, rows_to_diagnose

DIGITS = load_digits().data / 16
WINE = StandardScaler().fit_transform(load_wine().data)
SMALL = {"hidden_layer_sizes": (64,), "random_state": 0}


def plane_rows(n: int = 1000) -> np.ndarray:
    """Rows of 8 features around a plane."""
    source = np.random.default_rng(0)
    return source.normal(size=(n, 2)) @ source.normal(size=(2, 8)) + source.normal(size=(n, 8)) / 5


WARNED = {
    "a variance that is too large": (
        VAETransformer(16, likelihood=Gaussian(variance=10.0), max_epochs=30, **SMALL),
        DIGITS,
        PosteriorCollapseWarning,
        "none of 16 latent dimensions.*smaller weight.*likelihood='gaussian'.*warmup",
    ),
    "a penalty that leaves one code": (
        ContractiveAETransformer(2, lam=1e6, lr=1e-2, max_epochs=100, **SMALL),
        WINE,
        PosteriorCollapseWarning,
        "none of 2 latent dimensions",
    ),
    "more dimensions than the rows have": (
        VAETransformer(8, max_epochs=60, **SMALL),
        plane_rows(),
        DeadDimensionsWarning,
        r"6 of 8 latent dimensions are dead.*n_components=2 would do",
    ),
    "a divergence that weighs too little": (
        VIMAETransformer(8, lam=1e-3, max_epochs=30, **SMALL),
        DIGITS,
        PriorMismatchWarning,
        r"does not fall: mmd is [\d.]+ in the last quarter.*greater weight \(lam\)",
    ),
}


@pytest.mark.parametrize("why", WARNED)
def test_fit_warns_once_where_it_is_called_and_names_a_remedy(why):
    model, rows, category, message = WARNED[why]
    with pytest.warns(SkvimWarning, match=f"(?s){message}") as record:
        model.fit(rows)
    assert [warning.category for warning in record] == [category]
    assert record[0].filename == __file__


QUIET = {
    "vae": VAETransformer(16, max_epochs=20, **SMALL),
    "vimae": VIMAETransformer(16, max_epochs=20, **SMALL),
    "vimae-l with a spread": VIMAETransformer(
        16, prior="logistic", posterior="logistic", max_epochs=20, **SMALL
    ),
    "ae": AETransformer(16, max_epochs=20, **SMALL),
    "uae": UncertaintyAETransformer(16, max_epochs=20, **SMALL),
    "no weight on the divergence": VIMAETransformer(8, lam=0.0, max_epochs=20, **SMALL),
    "too short": BetaVAETransformer(4, beta=100.0, max_epochs=7, **SMALL),
}


@pytest.mark.parametrize("name", QUIET)
def test_fits_in_order_are_quiet(name):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        QUIET[name].fit(DIGITS)
    assert [str(warning.message) for warning in caught] == []


def test_a_warning_turned_into_an_error_leaves_the_model_fitted_before():
    model = VAETransformer(8, max_epochs=2, **SMALL).fit(WINE)
    before = model.transform(WINE)
    with pytest.raises(DeadDimensionsWarning):  # warnings are errors here
        model.set_params(max_epochs=60).fit(plane_rows())
    np.testing.assert_array_equal(model.transform(WINE), before)


def epochs(values, name: str = "mmd", batch_count: int = 20) -> History:
    """Return the history of a training in which a term took these values."""
    history = History()
    for value in values:
        history.new_epoch()
        history.record(f"train_{name}", value)
        history.record("train_batch_count", batch_count)
    return history


def found(objective: Objective, q: Moments, history: History) -> list[type]:
    generator = torch.Generator().manual_seed(0)
    return [type(warning) for warning in diagnose(objective, q, history, generator)]


def moments(spreads, scale: float | None) -> Moments:
    """Return posteriors whose means have these standard deviations."""
    generator = torch.Generator().manual_seed(0)
    loc = torch.randn(1000, len(spreads), generator=generator) * torch.tensor(spreads) + 3.0
    return Moments(loc, None if scale is None else torch.full_like(loc, scale))


COLLAPSE, DEAD = [PosteriorCollapseWarning], [DeadDimensionsWarning]
CODES = [
    # Spreads of means, posterior's scale, prior's scale: with a spread ½ log(1 + (s/σ)²) counts.
    ([0.1, 0.1, 0.1], 1.0, 1.0, COLLAPSE),
    ([0.3, 0.3, 0.3], 1.0, None, COLLAPSE),
    ([1.0, 0.05, 0.05], 1.0, 1.0, DEAD),
    ([1.0, 0.05, 0.05], 1.0, None, DEAD),
    ([1.0, 1.0, 0.05, 0.05], 1.0, 1.0, []),
    # Little spread, but well told apart; much spread, but not beyond the noise.
    ([0.01, 0.01, 0.01], 1e-3, 1.0, []),
    ([1.0, 0.3, 0.3], 1.0, 1.0, []),
    # Points: in units of the prior, and without one of the widest dimension.
    ([0.05, 0.05, 0.05], None, 1.0, COLLAPSE),
    ([0.05, 0.05, 0.05], None, 0.1, []),
    ([1.0, 0.05, 0.05], None, 1.0, DEAD),
    ([1e-4, 1e-4, 1e-4], None, None, COLLAPSE),
    ([0.05, 0.05, 0.05], None, None, []),
    ([10.0, 0.05, 0.05], None, None, DEAD),
    ([0.0, 0.0, 0.0], None, None, COLLAPSE),
]


@pytest.mark.parametrize(("spreads", "scale", "prior_scale", "expected"), CODES)
def test_codes_are_judged_by_what_they_tell_apart(spreads, scale, prior_scale, expected):
    prior = None if prior_scale is None else Normal(prior_scale)
    assert found(Objective(prior), moments(spreads, scale), epochs([1.0] * 20)) == expected


GOOD = moments([0.8] * 4, 0.6)
NOISE = np.random.default_rng(0).normal(scale=0.02, size=40)
CURVES = {
    "falls": (np.geomspace(2, 0.01, 40), False),
    "still falls": (np.linspace(2, 1, 40), False),
    "settles near zero after a detour": (np.r_[np.linspace(0, 0.2, 10), [0.03] * 30], False),
    "never leaves zero": (NOISE, False),
    "creeps up, but is small": (np.linspace(0, 0.1, 40) + NOISE, False),
    "stays": (np.full(40, 1.0) + NOISE, True),
    "rises": (np.linspace(0, 1, 40) + NOISE, True),
    "falls, then rises": (np.r_[np.linspace(2, 0.5, 10), np.linspace(0.5, 1, 30)], True),
    "jumps about": (np.tile([0.0, 2.0], 20), False),
    "rises in ten epochs": (np.linspace(0, 1, 10), True),
}


@pytest.mark.parametrize("curve", CURVES)
def test_divergences_that_do_not_fall_are_told_from_those_that_do(curve):
    values, stuck = CURVES[curve]
    objective = Objective(Normal(), [(1.0, MMD())])
    assert found(objective, GOOD, epochs(values)) == ([PriorMismatchWarning] if stuck else [])


@pytest.mark.parametrize(("weight", "term"), [(0.0, MMD()), (1.0, KL())])
def test_what_is_not_weighed_or_may_rise_is_not_judged(weight, term):
    history = epochs(np.linspace(0, 50, 40), term.name)
    assert found(Objective(Normal(), [(weight, term)]), GOOD, history) == []


@pytest.mark.parametrize(("k", "prior"), [(2, Normal(3.0)), (8, Normal())])
@pytest.mark.parametrize("term", [MMD(), SlicedWasserstein(), MixtureKL()])
@pytest.mark.parametrize(("spread", "far"), [(1.1, False), (2.0, True), (0.1, True)])
def test_far_from_the_prior_is_half_or_twice_its_spread(spread, far, term, prior, k):
    """With codes of this spread, in units of the prior's, throughout."""
    generator = torch.Generator().manual_seed(1)
    width = spread * prior.scale / np.sqrt(2)
    loc = width * torch.randn(1000, k, generator=generator)
    q = Moments(loc, torch.full_like(loc, width))
    z = loc + width * torch.randn(1000, k, generator=generator)
    history = epochs([float(term(q, z, prior, generator))] * 20, term.name)
    expected = [PriorMismatchWarning] if far else []
    judged = found(Objective(prior, [(1.0, term)]), q, history)
    assert [kind for kind in judged if kind is PriorMismatchWarning] == expected


def test_a_critic_that_wins_is_a_mismatch():
    objective = Objective(Normal(), [(1.0, Adversarial((4,)))])
    objective.build(4, torch.Generator().manual_seed(0))
    for level, expected in ((0.1, []), (1.0, [PriorMismatchWarning])):
        assert found(objective, GOOD, epochs([level] * 20, "adversarial")) == expected


@given(st.integers(1, 60), st.integers(1, 10**6), st.integers(1, 50))
def test_rows_looked_at_are_few_and_none_after_too_little_training(n_epochs, n_rows, n_batches):
    history = epochs([0.0] * n_epochs, batch_count=n_batches)
    n = rows_to_diagnose(history, n_rows)
    if n_epochs < 10 or n_rows < 30 or n_epochs * n_batches < 150:
        assert n == 0
    else:
        assert 100 <= n <= max(100, min(4096, n_rows * n_epochs / 100))


@pytest.mark.parametrize("likelihood", ["gaussian", Gaussian(variance=0.1)], ids=["shared", "own"])
def test_diagnosis_changes_nothing(monkeypatch, likelihood):
    monkeypatch.setattr("skvim.engine._last_pass._CHUNK_VALUES", 64 * 100)  # chunks of 100 rows
    model = VAETransformer(4, likelihood=likelihood, max_epochs=20, **SMALL)
    state = torch.get_rng_state()
    codes = model.fit(DIGITS).transform(DIGITS[:10])
    assert torch.equal(torch.get_rng_state(), state)
    streams = (model.net_.streams_.shuffle.get_state(), model.net_.streams_.noise.get_state())
    monkeypatch.setattr("skvim.engine._last_pass.rows_to_diagnose", lambda history, n_rows: 0)
    np.testing.assert_array_equal(model.fit(DIGITS).transform(DIGITS[:10]), codes)
    assert torch.equal(model.net_.streams_.shuffle.get_state(), streams[0])
    assert torch.equal(model.net_.streams_.noise.get_state(), streams[1])
