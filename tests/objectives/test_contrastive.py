"""The contrastive bound on what codes of corrupted rows tell of the rows."""

import math

import numpy as np
import pytest
import torch

from skvim import VIMAETransformer, load
from skvim.engine._stopping import Stopping, split_rows
from skvim.model_selection import lam_path
from skvim.noise import GaussianNoise, MaskingNoise
from skvim.objectives import InfoNCE, contrastive_loss

SMALL = {"hidden_layer_sizes": (16,), "max_epochs": 3, "random_state": 0}


@pytest.fixture(scope="module")
def rows():
    return np.random.default_rng(0).normal(size=(200, 6)).astype(np.float32)


def draw(n, k, seed=0):
    return torch.randn(n, k, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("n", [2, 7, 50])
def test_codes_at_right_angles_have_a_closed_form(n):
    codes, temperature = torch.eye(n, dtype=torch.float64), 0.3
    expected = -math.log(math.exp(1 / temperature) / (math.exp(1 / temperature) + n - 1))
    assert contrastive_loss(codes, codes, temperature).item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.numerics
def test_loss_of_equal_codes_is_the_logarithm_of_their_number():
    codes = torch.ones(30, 4, dtype=torch.float64)
    assert contrastive_loss(codes, codes, 0.1).item() == pytest.approx(math.log(30), rel=1e-12)


def test_contrastive_loss_matches_its_definition_by_loops():
    a, b, temperature = draw(9, 3), draw(9, 3, seed=1), 0.2
    cosines = [[float(u @ v / (u.norm() * v.norm())) / temperature for v in b] for u in a]
    cosines = np.array(cosines)
    parts = [
        np.log(np.exp(scores).sum()) - scores[i]
        for table in (cosines, cosines.T)
        for i, scores in enumerate(table)
    ]
    assert contrastive_loss(a, b, temperature).item() == pytest.approx(np.mean(parts), rel=1e-12)


def test_lengths_and_a_common_rotation_do_not_count():
    a, b = draw(20, 5), draw(20, 5, seed=1)
    rotation = torch.linalg.qr(draw(5, 5, seed=2)).Q
    lengths = draw(20, 1, seed=3).exp()
    expected = contrastive_loss(a, b, 0.1)
    torch.testing.assert_close(
        contrastive_loss(lengths * a @ rotation, b @ rotation, 0.1), expected
    )


@pytest.mark.parametrize("length", [0.0, 1e-9])
@pytest.mark.numerics
def test_a_code_without_a_direction_has_cosines_and_gradients_of_zero(length):
    a, b = draw(5, 3), draw(5, 3, seed=1)
    a[0] *= length
    a.requires_grad_()
    loss = contrastive_loss(a, b, 0.2)
    loss.backward()
    cosines = (torch.nn.functional.cosine_similarity(a[:, None], b[None], -1) / 0.2).detach()
    cosines[0] = 0
    ways = (cosines.logsumexp(0) + cosines.logsumexp(1)) / 2 - cosines.diagonal()
    assert loss.item() == pytest.approx(ways.mean().item(), rel=1e-12)
    assert not a.grad[0].any()
    # The others go on as ever: at most 2/τ a row over the length of a code.
    assert 0 < a.grad[1:].abs().max() < 10 / a[1:].norm(dim=1).min()


def test_fully_masked_rows_do_not_cause_large_gradients(rows):
    """With biases that start at 0 and a mean of 0, their codes are 0 in the first step."""

    def layer(n_in, n_out):
        made = torch.nn.Linear(n_in, n_out)
        torch.nn.init.zeros_(made.bias)
        return made

    balanced = np.concatenate([rows, -rows])
    model = VIMAETransformer(
        4,
        agreement=1.0,
        noise=MaskingNoise(0.8),
        network=(layer, torch.nn.Linear),
        **{**SMALL, "acceleration": None},
    ).fit(balanced)
    squares = [state["exp_avg_sq"].max() for state in model.net_.optimizer_.state.values()]
    assert max(squares) < 1e6


@pytest.mark.parametrize("correlation", [0.0, 0.5, 0.9])
def test_it_bounds_the_information_of_gaussian_codes(correlation):
    """On average log n minus the loss is at most the information, here known."""
    k, n, temperature = 8, 64, 0.5
    information = -0.5 * k * math.log(1 - correlation**2)
    bounds = []
    for seed in range(100):
        a = draw(n, k, seed=2 * seed)
        noise = draw(n, k, seed=2 * seed + 1)
        b = correlation * a + math.sqrt(1 - correlation**2) * noise
        bounds.append(math.log(n) - contrastive_loss(a, b, temperature).item())
    mean, error = np.mean(bounds), np.std(bounds) / math.sqrt(len(bounds))
    assert mean <= information + 4 * error
    # The bound is of use: it grows with what there is to tell.
    assert mean > 0.2 * min(information, math.log(n)) - 0.5


def test_training_makes_codes_of_noisy_rows_match_those_of_the_rows(rows):
    noise = GaussianNoise(0.5)
    settings = {**SMALL, "noise": noise, "max_epochs": 30}
    noisy = noise.corrupt(rows, np.random.default_rng(1)).astype(np.float32)

    def loss(model):
        codes = [torch.as_tensor(model.transform(x)) for x in (noisy, rows)]
        return contrastive_loss(*codes, 0.1).item()

    plain = loss(VIMAETransformer(4, **settings).fit(rows))
    agreeing = loss(VIMAETransformer(4, agreement=10.0, **settings).fit(rows))
    assert agreeing < plain - 0.2


def test_the_history_has_the_loss_and_it_falls(rows):
    vim = VIMAETransformer(4, agreement=1.0, noise="gaussian", **{**SMALL, "max_epochs": 10}).fit(
        rows
    )
    losses = [epoch["train_infonce"] for epoch in vim.history_]
    assert losses[-1] < losses[0] < math.log(100) + 1


def test_without_weight_nothing_changes(rows):
    plain = VIMAETransformer(4, **SMALL).fit(rows)
    other = VIMAETransformer(4, agreement=0.0, temperature=0.7, **SMALL).fit(rows)
    np.testing.assert_array_equal(plain.transform(rows), other.transform(rows))
    assert "train_infonce" not in plain.history_[-1]


@pytest.mark.parametrize("noise", [None, "gaussian"])
@pytest.mark.numerics
def test_captured_steps_are_the_plain_ones(rows, noise):
    models = [
        VIMAETransformer(4, agreement=2.0, noise=noise, acceleration=how, **SMALL).fit(rows)
        for how in (None, "capture")
    ]
    np.testing.assert_allclose(models[0].loss_curve_, models[1].loss_curve_, rtol=1e-5)


@pytest.mark.parametrize("param", ["agreement", "temperature"])
@pytest.mark.numerics
def test_a_path_equals_separate_fits(rows, param):
    model = VIMAETransformer(4, agreement=2.0, noise="gaussian", **SMALL)
    values = [0.5, 1.0, 2.0]
    path = lam_path(model, rows, values, param=param)
    for value, together in zip(values, path, strict=True):
        alone = VIMAETransformer(**{**model.get_params(), param: value}).fit(rows)
        np.testing.assert_allclose(together.loss_curve_, alone.loss_curve_, rtol=1e-4)


def test_a_saved_model_keeps_it(rows, tmp_path):
    vim = VIMAETransformer(4, agreement=2.0, temperature=0.3, noise="gaussian", **SMALL).fit(rows)
    vim.save(tmp_path / "vim.skvim")
    loaded = load(tmp_path / "vim.skvim")
    np.testing.assert_array_equal(loaded.transform(rows), vim.transform(rows))
    assert (loaded.agreement, loaded.temperature) == (2.0, 0.3)


@pytest.mark.parametrize("bad", [{"agreement": -1.0}, {"agreement": 1.0, "temperature": 0.0}])
def test_weights_and_temperatures_out_of_range_are_refused(rows, bad):
    with pytest.raises(ValueError, match=list(bad)[-1]):
        VIMAETransformer(4, **bad, **SMALL).fit(rows)


def test_codes_of_one_dimension_are_refused(rows):
    with pytest.raises(ValueError, match=r"n_components must be at least 2\. Got 1"):
        VIMAETransformer(1, agreement=1.0, **SMALL).fit(rows)


def test_validation_rows_are_not_corrupted(rows):
    """As they are not corrupted: their loss is that of the codes which transform gives."""
    options = {"early_stopping": True, "validation_fraction": 0.3, "noise": "gaussian"}
    vim = VIMAETransformer(4, agreement=1.0, **options, **SMALL).fit(rows)
    split = split_rows(Stopping(0.3, 1, 0.0), len(rows), vim.net_.seed, (2, 2))
    codes = torch.as_tensor(vim.transform(rows[split.valid.numpy()]))
    best = int(np.argmin(vim.validation_loss_curve_))
    assert vim.history_[best]["valid_infonce"] == pytest.approx(
        contrastive_loss(codes, codes, vim.temperature).item(), rel=1e-5
    )


@pytest.mark.parametrize("temperature", [0.0, -1.0, math.inf, math.nan, "warm"])
def test_the_term_refuses_other_temperatures(temperature):
    with pytest.raises(ValueError, match="temperature of InfoNCE"):
        InfoNCE(temperature).check(None, None)
