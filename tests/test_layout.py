"""The memory layout of codes and sparse rows does not matter, and memory maps are not copied."""

import tracemalloc

import numpy as np
import pytest
from scipy import sparse

from skvim import AETransformer
from skvim.noise import GaussianNoise
from skvim.semi_supervised import TransductiveSVC

X = np.random.default_rng(0).normal(size=(40, 4))
Y = np.where(np.arange(40) < 10, X[:, 0] > 0, -1)


@pytest.mark.numerics
def test_layout_of_codes_does_not_matter():
    model = AETransformer(2, hidden_layer_sizes=(8,), max_epochs=2, random_state=0).fit(X)
    codes = model.transform(X)
    expected = model.inverse_transform(codes)
    for other in (np.asfortranarray(codes), codes[:, ::-1].copy()[:, ::-1], codes.tolist()):
        np.testing.assert_array_equal(model.inverse_transform(other), expected)


@pytest.mark.numerics
@pytest.mark.parametrize("kernel", ["rbf", "linear"])
def test_layout_of_sparse_rows_does_not_matter(kernel):
    def scores(rows):
        model = TransductiveSVC(kernel=kernel, random_state=0, safe=False)
        return model.fit(rows, Y).decision_function(rows)

    data = sparse.csr_array(np.maximum(X, -0.5) + 0.5)
    bounds = zip(data.indptr[:-1], data.indptr[1:], strict=True)
    backwards = np.concatenate([np.arange(start, stop)[::-1] for start, stop in bounds])
    unsorted = sparse.csr_array(
        (data.data[backwards], data.indices[backwards], data.indptr), shape=data.shape
    )
    halves = sparse.csr_array(
        (np.repeat(data.data / 2, 2), np.repeat(data.indices, 2), 2 * data.indptr), shape=data.shape
    )
    expected = scores(data)
    for other in (unsorted, halves, data.tocsc(), data.tocoo()):
        stored = other.data.copy()
        np.testing.assert_array_equal(scores(other), expected)
        np.testing.assert_array_equal(other.data, stored)


def test_a_memory_map_is_not_copied(tmp_path):
    data = np.lib.format.open_memmap(tmp_path / "x.npy", "w+", np.float64, (50_000, 20))
    tracemalloc.start()
    GaussianNoise().fit(data)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < data.nbytes / 4
