"""Pairs of an encoder of one architecture and a decoder of another."""

import pickle

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV

import skvim
from skvim import VIMAETransformer
from skvim.model_selection import BatchedSearchCV
from skvim.networks import Convolutional, Paired, Perceptrons

SHAPE = (8, 8, 1)
SMALL = {
    "n_components": 3,
    "image_shape": (8, 8),
    "hidden_layer_sizes": (16,),
    "max_epochs": 2,
    "random_state": 0,
}
NARROW = Convolutional(width=0.04)


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).random((60, 64), dtype=np.float32)


def minus_error(model, X, y=None):
    return -float(np.square(model.reconstruct(X) - X).mean())


def same(first, second):
    first, second = first.state_dict(), second.state_dict()
    return first.keys() == second.keys() and all(
        torch.equal(first[name], second[name]) for name in first
    )


def test_each_network_is_the_one_of_its_architecture():
    perceptrons = Perceptrons((16,))
    pair = Paired(NARROW, perceptrons)

    def drawn():
        return torch.Generator().manual_seed(1)

    assert same(pair.encoder(SHAPE, 6, drawn()), NARROW.encoder(SHAPE, 6, drawn()))
    assert same(pair.decoder(3, SHAPE, drawn()), perceptrons.decoder(3, SHAPE, drawn()))


def test_batches_need_the_rows_that_either_needs():
    assert Paired(NARROW, Perceptrons(())).min_rows == 2
    assert Paired(Perceptrons(()), Perceptrons(())).min_rows == 1


def test_a_pair_of_names_and_objects_is_a_pair_of_architectures(images):
    codes = [
        VIMAETransformer(network=network, **SMALL).fit_transform(images)
        for network in ((NARROW, "mlp"), [NARROW, "mlp"], Paired(NARROW, Perceptrons((16,))))
    ]
    np.testing.assert_array_equal(codes[0], codes[1])
    np.testing.assert_array_equal(codes[0], codes[2])


def test_two_of_a_name_train_together_with_others_of_it(images):
    model = VIMAETransformer(**SMALL)
    grid = {"network": ["mlp", ("mlp", "mlp")], "lam": [1.0, 10.0]}
    search = BatchedSearchCV(model, grid, cv=2).fit(images)
    assert search.n_batched_fits_ == 8
    scores = search.cv_results_["mean_test_score"]
    np.testing.assert_allclose(scores[::2], scores[1::2], rtol=1e-6)


def test_a_search_over_pairs_takes_the_best(images):
    pairs = [(NARROW, "mlp"), ("mlp", NARROW), "mlp"]
    model = VIMAETransformer(**SMALL)
    search = GridSearchCV(model, {"network": pairs}, cv=2, scoring=minus_error).fit(images)
    assert list(search.cv_results_["param_network"]) == pairs
    assert search.best_params_["network"] == pairs[search.best_index_]
    fitted = search.best_estimator_
    assert clone(fitted).network == fitted.network


@pytest.mark.parametrize("network", [(NARROW, "mlp"), Paired(NARROW, Perceptrons((16,)))])
def test_a_pair_survives_a_pickle_and_a_file_and_is_shown(images, tmp_path, network):
    model = VIMAETransformer(network=network, **SMALL).fit(images)
    model.save(tmp_path / "model.skvim")
    for copied in (pickle.loads(pickle.dumps(model)), skvim.load(tmp_path / "model.skvim")):
        assert copied.network == network
        np.testing.assert_array_equal(copied.transform(images), model.transform(images))
    assert "Convolutional(width=0.04)" in repr(model)


def test_a_pair_takes_a_module_beside_an_architecture(images):
    model = VIMAETransformer(network=("mlp", torch.nn.Linear), **SMALL).fit(images)
    assert isinstance(model.net_.autoencoder.decoder.module, torch.nn.Linear)


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (("conv", "mlp"), "'mlp' or 'convolutional'. Got 'conv'"),
        ((NARROW, "mlp", "mlp"), "Got 3 items"),
        ((NARROW, 3), "must be a torch.nn.Module"),
        ((Convolutional(width=-1.0), "mlp"), "width of Convolutional"),
        (("mlp", Perceptrons((0,))), "hidden_layer_sizes"),
        ((Convolutional, "mlp"), "passed as an object"),
        ((Convolutional, Perceptrons), "passed as an object"),
        (Paired("convolutional", NARROW), "first of Paired must be an arch.*Got 'convolutional'"),
        (Paired(NARROW, torch.nn.Linear), "second of Paired must be an architecture"),
        (Paired(Perceptrons, NARROW), "first of Paired must be an architecture"),
    ],
)
def test_what_makes_no_pair_is_refused(images, network, message):
    with pytest.raises(ValueError, match=message):
        VIMAETransformer(network=network, **SMALL).fit(images)


def test_rows_that_are_no_images_are_refused_for_a_convolutional_encoder(images):
    with pytest.raises(ValueError, match="needs images"):
        VIMAETransformer(network=(NARROW, "mlp"), **SMALL | {"image_shape": None}).fit(images)
