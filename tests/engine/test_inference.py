"""Rows in and out of a trained model: chunks, memory, bytes."""

import numpy as np
import pytest
import torch
from family import SMALL

from skvim import VAETransformer, VIMAETransformer
from skvim.engine import data_statistics, map_rows

BYTES = np.random.default_rng(0).integers(0, 256, size=(90, 12), dtype=np.uint8)


class Hungry:
    """A function of rows that fails on more than some at once, as torch does without memory."""

    def __init__(self, most: int, error: BaseException) -> None:
        self.most = most
        self.error = error
        self.sizes: list[int] = []

    def __call__(self, model, x):
        self.sizes.append(len(x))
        if len(x) > self.most:
            raise self.error
        return [2 * x]


SHORTAGES = [
    torch.OutOfMemoryError("CUDA out of memory."),
    RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes."),
    MemoryError(),
]


@pytest.mark.parametrize("error", SHORTAGES, ids=lambda error: type(error).__name__)
def test_a_chunk_is_halved_until_it_fits(error):
    net = VAETransformer(2, **SMALL).fit(BYTES).net_
    hungry = Hungry(25, error)
    rows = BYTES.astype(np.float32)
    (doubled,) = map_rows(net, hungry, rows, values_per_row=12)
    np.testing.assert_array_equal(doubled, 2 * rows)
    assert hungry.sizes == [90, 45, 22, 22, 22, 22, 2]


def test_one_row_that_does_not_fit_is_an_error_and_others_are_passed_on():
    net = VAETransformer(2, **SMALL).fit(BYTES).net_
    with pytest.raises(torch.OutOfMemoryError):
        map_rows(net, Hungry(0, SHORTAGES[0]), BYTES, values_per_row=12)
    with pytest.raises(RuntimeError, match="shape"):
        map_rows(net, Hungry(0, RuntimeError("bad shape")), BYTES, values_per_row=12)


@pytest.mark.numerics
def test_bytes_train_as_the_numbers_they_are():
    by_bytes = VIMAETransformer(2, **SMALL).fit(BYTES)
    by_numbers = VIMAETransformer(2, **SMALL).fit(BYTES.astype(np.float64))
    assert by_bytes.loss_curve_ == pytest.approx(by_numbers.loss_curve_, rel=1e-6)
    for name in ("transform", "reconstruct", "score_samples"):
        found, expected = (getattr(model, name)(BYTES) for model in (by_bytes, by_numbers))
        assert found.dtype == np.float64
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)
    assert by_bytes.sample(3, random_state=0).dtype == np.float64


def test_bytes_stay_bytes_until_their_batch_is_used():
    seen = []

    class Watch(torch.nn.Module):
        def __init__(self, n_in, n_out):
            super().__init__()
            self.linear = torch.nn.Linear(n_in, n_out)

        def forward(self, x):
            seen.append(x.dtype)
            return self.linear(x)

    model = VIMAETransformer(2, network=(Watch, Watch), max_epochs=2, random_state=0).fit(BYTES)
    assert set(seen) == {torch.float32}
    rows = model.net_.get_dataset(torch.from_numpy(BYTES)).x
    assert rows.dtype == torch.uint8


@pytest.mark.parametrize("n", [2, 90, 5000])
@pytest.mark.numerics
def test_moments_of_bytes_are_exact(n):
    x = np.random.default_rng(1).integers(0, 256, size=(n, 3), dtype=np.uint8)
    found = data_statistics(torch.from_numpy(x), torch.device("cpu"))
    np.testing.assert_allclose(found.mean, x.mean(axis=0), rtol=1e-6)
    assert found.scale == pytest.approx(np.sqrt(x.var(axis=0).mean()), rel=1e-12)
    assert (found.low, found.high) == (x.min(), x.max())
