"""Truths about the models without a prior: denoising, contraction, the uncertainty's chain."""

import numpy as np
import pytest
import torch
from family import DIGITS, PLAIN, SMALL, X

from skvim import (
    AAETransformer,
    AETransformer,
    ContractiveAETransformer,
    DenoisingAETransformer,
    UncertaintyAETransformer,
    VIMAETransformer,
)
from skvim.exceptions import ChainLostWarning
from skvim.noise import GaussianNoise, MaskingNoise
from skvim.objectives import MMD, Contraction

EQUAL_PLAIN = {
    "contraction of weight 0 is the autoencoder": (
        ContractiveAETransformer(2, lam=0.0),
        AETransformer(2),
    ),
    "denoising without noise is the autoencoder": (
        DenoisingAETransformer(2, noise=GaussianNoise(0.0)),
        AETransformer(2),
    ),
    "denoising is the autoencoder with noise": (
        DenoisingAETransformer(2, noise=MaskingNoise(0.3)),
        AETransformer(2, noise=MaskingNoise(0.3)),
    ),
    "AAE is VIMAE with a point posterior and a critic": (
        AAETransformer(2, lam=2.0),
        VIMAETransformer(2, lam=2.0, divergence="adversarial"),
    ),
}


@pytest.mark.parametrize("pair", EQUAL_PLAIN)
@pytest.mark.numerics
def test_plain_models_that_are_one_train_alike(pair):
    first, second = (model.set_params(**SMALL).fit(X) for model in EQUAL_PLAIN[pair])
    assert first.loss_curve_ == pytest.approx(second.loss_curve_, rel=1e-6)
    np.testing.assert_allclose(first.transform(X), second.transform(X), rtol=1e-5, atol=1e-6)


def test_denoising_names_a_bad_level_and_keeps_the_fitted_model():
    model = DenoisingAETransformer(2, **SMALL).fit(X)
    before = model.transform(X)
    with pytest.raises(ValueError, match=r"scale has to be a float in \[0, inf\). Got -1"):
        model.set_params(noise=GaussianNoise(-1)).fit(X)
    np.testing.assert_array_equal(model.transform(X), before)


def test_denoising_reconstructs_clean_rows_from_corrupted_ones():
    settings = {"hidden_layer_sizes": (128,), "max_epochs": 60, "random_state": 0}
    plain = AETransformer(16, **settings).fit(DIGITS[:1400])
    for noise, corruption in (("gaussian", GaussianNoise()), (MaskingNoise(0.3),) * 2):
        denoising = DenoisingAETransformer(16, noise=noise, **settings).fit(DIGITS[:1400])
        corrupted = corruption.corrupt(DIGITS[1400:], np.random.default_rng(0))
        errors = [
            ((model.reconstruct(corrupted) - DIGITS[1400:]) ** 2).sum(axis=1).mean()
            for model in (denoising, plain)
        ]
        assert errors[0] < 0.9 * errors[1]


def test_contraction_makes_codes_move_less():
    rows = DIGITS[:300]

    def movement(lam):
        model = ContractiveAETransformer(8, lam=lam, max_epochs=30, random_state=0).fit(rows)
        moved = model.transform(rows + 0.1 * np.random.default_rng(0).normal(size=rows.shape))
        return ((moved - model.transform(rows)) ** 2).sum(axis=1).mean()

    assert movement(1.0) < 0.5 * movement(0.0)


def test_contraction_of_higher_order_needs_the_first():
    model = ContractiveAETransformer(2, lam=0.0, gamma=1.0, **SMALL)
    with pytest.raises(ValueError, match="lam must be positive where gamma is"):
        model.fit(X)
    model.set_params(lam=0.1, gamma=1.0).fit(X)
    assert model.history_[-1]["train_contraction"] > 0


@pytest.mark.parametrize("rows", [X, DIGITS], ids=["normal", "digits"])
def test_the_chain_of_the_uncertainty_autoencoder_stays_with_the_data(rows):
    model = UncertaintyAETransformer(2, max_epochs=60, random_state=0).fit(rows)
    spread = np.trace(np.cov(rows.T))
    for burn_in in (100, 1000):
        drawn = model.sample(300, burn_in=burn_in, random_state=0)
        assert drawn.shape == (300, rows.shape[1])
        assert np.square(drawn.mean(axis=0) - rows.mean(axis=0)).sum() < 0.2 * spread
        assert 0.2 < np.trace(np.cov(drawn.T)) / spread < 1.3
    again = [model.sample(20, burn_in=100, random_state=0) for _ in range(2)]
    np.testing.assert_array_equal(*again)


def test_codes_of_the_uncertainty_autoencoder_meet_the_stated_noise():
    rows = DIGITS[:500]
    model = UncertaintyAETransformer(4, scale=0.3, max_epochs=60, random_state=0).fit(rows)
    mean, std = model.posterior_moments(rows)
    np.testing.assert_allclose(std, 0.3, rtol=1e-6)
    np.testing.assert_allclose(mean.std(axis=0), 1.0, atol=0.1)


@pytest.mark.parametrize("argument", ["n_samples", "burn_in", "thin"])
def test_a_bad_length_of_the_chain_is_named(argument):
    model = UncertaintyAETransformer(2, **SMALL).fit(X)
    with pytest.raises(ValueError, match=rf"{argument} must be an int in \[[01], inf\). Got -1"):
        model.sample(**{argument: -1})


@pytest.mark.parametrize("cls", PLAIN)
def test_models_without_a_prior_have_nothing_that_needs_one(cls):
    model = cls(2, **SMALL).fit(X)
    assert "prior" not in model.get_params()
    assert not any(hasattr(model, name) for name in ("score_samples", "prior_"))
    assert hasattr(model, "sample") == (cls is UncertaintyAETransformer)
    module = model.net_.in_precision(torch.float64)
    with torch.no_grad():
        expected = module.likelihood(
            torch.tensor(X), module.decode(module.encode(torch.tensor(X)).loc)
        )
    assert model.score(X) == pytest.approx(float(expected.mean()))


@pytest.mark.parametrize("max_epochs", [1, 5])
@pytest.mark.numerics
def test_codes_of_the_uncertainty_autoencoder_are_standardised_however_short_training_is(
    max_epochs,
):
    model = UncertaintyAETransformer(2, **{**SMALL, "max_epochs": max_epochs}).fit(X)
    codes = model.transform(X)
    np.testing.assert_allclose(codes.mean(axis=0), 0.0, atol=1e-5)
    np.testing.assert_allclose(codes.std(axis=0), 1.0, rtol=1e-3)
    assert model.information(X).mutual_information <= np.log(1 + 1 / 0.5**2)  # two dimensions


@pytest.mark.numerics
def test_a_chain_that_leaves_the_data_says_so():
    model = UncertaintyAETransformer(4, scale=0.01, hidden_layer_sizes=(32,), random_state=0)
    model.set_params(max_epochs=60, lr=3e-3).fit(np.random.default_rng(0).normal(size=(60, 6)))
    with pytest.warns(ChainLostWarning, match="The Markov chain has left the data") as caught:
        drawn = model.sample(20, burn_in=3000, random_state=0)
    assert caught[0].filename == __file__
    assert np.isfinite(drawn).all()


def test_the_uncertainty_autoencoder_needs_two_rows_a_batch_and_no_default_dtype():
    with pytest.raises(ValueError, match="batch_size must be at least 2"):
        UncertaintyAETransformer(2, batch_size=1, **SMALL).fit(X)
    torch.set_default_dtype(torch.float64)
    try:
        UncertaintyAETransformer(2, **SMALL).fit(X)
    finally:
        torch.set_default_dtype(torch.float32)


def test_contraction_sees_the_encoder_without_dropout_and_leaves_its_moments_alone():
    settings = {**SMALL, "max_epochs": 1, "activation": "tanh", "normalization": "batch"}
    model = ContractiveAETransformer(2, gamma=1.0, radius=1e-6, dropout=0.5, **settings).fit(X)
    module, source = model.net_.module_, torch.Generator().manual_seed(0)
    norms = [part for part in module.encoder.modules() if isinstance(part, torch.nn.BatchNorm1d)]
    assert [int(norm.num_batches_tracked) for norm in norms] == [2]  # once for each batch
    x = torch.tensor(X, dtype=torch.float32)
    module.train()
    plain = Contraction()(module, x, source)
    curved = Contraction(curvature=1.0, radius=1e-6)(module, x, source)
    torch.testing.assert_close(plain, curved, rtol=1e-3, atol=0)
    assert module.training
    assert all(norm.training for norm in norms)


def test_contraction_of_no_weight_costs_nothing():
    model = ContractiveAETransformer(2, lam=0.0, **SMALL).fit(X)
    assert "train_contraction" not in model.history_[-1]


def test_the_adversarial_autoencoder_wants_a_critic():
    with pytest.raises(ValueError, match=r"divergence must have a critic.*Got MMD"):
        AAETransformer(2, divergence=MMD(), **SMALL).fit(X)
