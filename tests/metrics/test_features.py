"""What generative models are compared by: rows, codes, layers and Inception's features."""

import re
import sys
import types
from hashlib import sha256

import numpy as np
import pandas as pd
import pytest
import torch
from damage import mutate
from family import DIGITS, SMALL
from scipy import sparse
from sklearn.cluster import KMeans
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA, TruncatedSVD
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn

from skvim import VAETransformer
from skvim.exceptions import DatasetError, MissingExtraError
from skvim.metrics import (
    InceptionFeatures,
    _inception,
    frechet_distance,
    kernel_distance,
)
from skvim.metrics._feature_extraction import extract_features

ROWS, OTHERS = DIGITS[:30], DIGITS[30:50]
LABELS = load_digits().target


def features_of(features, X=ROWS):
    """Return features of rows."""
    return extract_features(features, X, X[:20], least=1)[0]


@pytest.fixture(scope="module")
def vae():
    return VAETransformer(3, **SMALL).fit(DIGITS[:200])


def perceptron(**settings):
    """Return a fitted classifier."""
    model = MLPClassifier(random_state=0, max_iter=15, **settings)
    with pytest.warns(ConvergenceWarning):
        return model.fit(DIGITS, LABELS)


def test_rows_are_compared_as_they_are_images_flat():
    both = extract_features(None, ROWS, OTHERS.reshape(-1, 8, 8), least=1)
    np.testing.assert_array_equal(both[0], ROWS)
    np.testing.assert_array_equal(both[1], OTHERS)
    whole = features_of(None, (255 * ROWS).astype(np.uint8))
    assert whole.dtype == np.float64


@pytest.mark.numerics
def test_rows_that_cannot_be_written_to_are_compared_too():
    rows = np.random.default_rng(0).normal(size=(2048, 3))
    rows.setflags(write=False)
    assert frechet_distance(rows, rows[::-1], n_partitions=1).value == pytest.approx(0, abs=1e-10)


def test_functions_may_return_arrays_tensors_or_lists():
    for function in (
        lambda X: X[:, :2],
        lambda X: torch.tensor(X[:, :2], requires_grad=True),
        lambda X: X[:, :2].tolist(),
    ):
        np.testing.assert_array_equal(features_of(function), ROWS[:, :2])


def test_models_give_their_codes_and_transformers_what_they_return(vae):
    np.testing.assert_array_equal(features_of(vae), vae.transform(ROWS))
    np.testing.assert_array_equal(features_of(vae, ROWS.reshape(-1, 8, 8)), vae.transform(ROWS))
    pca = PCA(2).fit(DIGITS)
    np.testing.assert_array_equal(features_of(pca), pca.transform(ROWS))
    pipeline = make_pipeline(StandardScaler(), pca).fit(DIGITS)
    np.testing.assert_allclose(features_of(pipeline), pipeline.transform(ROWS))


@pytest.mark.parametrize(
    ("layers", "activation"),
    [((), "relu"), ((7,), "identity"), ((7,), "logistic"), ((7,), "tanh"), ((9, 5), "relu")],
)
def test_a_perceptron_s_last_hidden_layer_determines_its_logits(layers, activation):
    model = perceptron(hidden_layer_sizes=layers, activation=activation)
    hidden = features_of(model)
    assert hidden.shape == (30, (64, *layers)[-1])
    logits = hidden @ model.coefs_[-1] + model.intercepts_[-1]
    expected = np.log(model.predict_proba(ROWS))
    shifted = logits - logits.max(1, keepdims=True)
    log_softmax = shifted - np.log(np.exp(shifted).sum(1, keepdims=True))
    np.testing.assert_allclose(log_softmax, expected, rtol=1e-6, atol=1e-9)


def test_a_classifier_in_a_pipeline_sees_transformed_rows():
    model = perceptron(hidden_layer_sizes=(6,))
    scaler = StandardScaler().fit(DIGITS)
    pipeline = make_pipeline(scaler, model)
    expected = features_of(model, scaler.transform(ROWS))
    np.testing.assert_array_equal(features_of(pipeline), expected)


class Classifier(nn.Module):
    """Layers registered in another order than they are called in, with an unused last one."""

    def __init__(self):
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.head, self.first = nn.Linear(5, 10), nn.Linear(64, 5)
        self.unused = nn.Linear(3, 3)
        self.dropout = nn.Dropout(0.5)
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.normal_(generator=generator)

    def hidden(self, x):
        return self.dropout(torch.tanh(self.first(x)))

    def forward(self, x):
        return self.head(self.hidden(x)).softmax(1)


@pytest.mark.parametrize(("wrapped", "dtype"), [(False, torch.float64), (True, torch.float32)])
def test_a_torch_classifier_gives_what_enters_its_last_linear_layer(wrapped, dtype):
    module = Classifier().to(dtype)
    module.first.eval()  # a mixture of modes, to be restored
    modes = [layer.training for layer in module.modules()]
    features = module
    if wrapped:
        features = LogisticRegression()
        features.module_ = module  # as fitted nets of skorch have it
    rows = np.tile(ROWS, (20, 1))  # more than a batch
    found = features_of(features, rows)
    assert [layer.training for layer in module.modules()] == modes
    assert not any(layer._forward_pre_hooks for layer in module.modules())
    with torch.no_grad():
        expected = module.eval().hidden(torch.tensor(rows, dtype=dtype)).double().numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_a_module_is_restored_when_it_fails():
    module = nn.Sequential(nn.Linear(3, 2)).train()
    with pytest.raises(RuntimeError):
        features_of(module)
    assert module.training
    assert not module[0]._forward_pre_hooks


@pytest.mark.parametrize(
    ("features", "error", "message"),
    [
        ("vgg", ValueError, "'inception' if it is a string. Got 'vgg'"),
        (3, TypeError, "features must be None, a function"),
        (PCA, TypeError, "features must be None, a function"),
        (PCA(2), NotFittedError, "not fitted"),
        (nn.Sequential(nn.Flatten()), ValueError, r"calls no torch.nn.Linear"),
        (lambda X: X[:3], ValueError, "Got 3 rows for the 30 of X"),
        (lambda X: X[:, 0], ValueError, "Expected 2D array"),
        (lambda X: X.reshape(-1, 8, 8), ValueError, "dim 3"),
        (lambda X: X + np.nan, ValueError, "features of X contains NaN"),
        (lambda X: X[:, : len(X)], ValueError, "30 of X and 20 of Y"),
    ],
)
def test_refuses_what_gives_no_features(features, error, message):
    with pytest.raises(error, match=message):
        extract_features(features, ROWS, OTHERS, least=1)


def test_refuses_an_estimator_without_a_layer_to_take():
    model = LogisticRegression().fit(DIGITS[:100], LABELS[:100])
    with pytest.raises(TypeError, match="pass a function of rows"):
        features_of(model)
    assert features_of(KMeans(2, n_init=1).fit(DIGITS)).shape == (30, 2)


def test_frames_reach_an_estimator_with_their_names():
    frame = pd.DataFrame(DIGITS[:50], columns=[f"pixel {i}" for i in range(64)])
    pca = PCA(2).fit(frame)
    np.testing.assert_array_equal(features_of(pca, frame), pca.transform(frame))


def test_distances_are_those_of_the_features():
    other = DIGITS[100:130] ** 2
    found = kernel_distance(ROWS, other, features=lambda X: X[:, 20:23], n_blocks=3)
    plain = kernel_distance(ROWS[:, 20:23], other[:, 20:23], n_blocks=3)
    assert (found.value, found.n_features) == (plain.value, 3)


class StandIn(nn.Module):
    """What torch-fidelity's network looks like from outside: it keeps what it was given."""

    built = 0

    def __init__(self, name, features_list, feature_extractor_weights_path):
        super().__init__()
        type(self).built += 1
        assert features_list == ["2048"]
        self.layer = nn.Linear(3, 4)  # draws initial weights, as the real one does
        self.seen = []
        state = torch.load(feature_extractor_weights_path, weights_only=False)
        self.load_state_dict(state)

    def forward(self, x):
        assert x.dtype == torch.uint8
        assert not self.training
        self.seen.append(x.clone())
        found = self.layer(x.float().mean((2, 3)))
        return (found,) if self.as_tuple else found


@pytest.fixture(params=["torch-fidelity", "torchmetrics"])
def weights(request, monkeypatch, tmp_path):
    """Put the stand-in where a package has its network; return its name and a file of weights."""
    kind = type("Network", (StandIn,), {"built": 0, "as_tuple": request.param == "torch-fidelity"})
    places = {
        "torch-fidelity": ("torch_fidelity", "feature_extractor_inceptionv3",
                           "FeatureExtractorInceptionV3"),
        "torchmetrics": ("torchmetrics", "image.fid", "NoTrainInceptionV3"),
    }  # fmt: skip
    package, path, name = places[request.param]
    parts = [package, *path.split(".")]
    for end in range(1, len(parts) + 1):
        module = types.ModuleType(".".join(parts[:end]))
        module.__path__ = []
        monkeypatch.setitem(sys.modules, module.__name__, module)
    setattr(module, name, kind)
    file = tmp_path / "weights.pth"
    layer = {"layer.weight": torch.arange(12.0).reshape(4, 3), "layer.bias": torch.ones(4)}
    torch.save(layer, file)
    return request.param, file, kind


def inception(weights, **options):
    """Return features by the stand-in."""
    return InceptionFeatures(weights[1], package=weights[0], device="cpu", **options)


def seen(features):
    """Return the bytes that the stand-in has seen."""
    return torch.cat(features._network.seen).numpy()


@pytest.mark.parametrize(("low", "flat"), [(0.0, False), (-1.0, True)])
def test_inception_sees_bytes_with_channels_first(weights, low, flat):
    images = np.random.default_rng(0).integers(0, 256, size=(7, 5, 4, 3), dtype=np.uint8)
    settings = {"image_shape": (5, 4, 3)} if flat else {}
    given = images.reshape(7, -1) if flat else images
    as_bytes = inception(weights, **settings, batch_size=3)
    features = as_bytes(given)
    np.testing.assert_array_equal(seen(as_bytes), images.transpose(0, 3, 1, 2))
    means = images.mean((1, 2))
    expected = means @ np.arange(12.0).reshape(4, 3).T + 1
    np.testing.assert_allclose(features, expected, rtol=1e-5)
    assert features.dtype == np.float64
    value_range = (low, 1.0) if low else None
    scaled = inception(weights, **settings, value_range=value_range)
    for dtype in (np.float32, np.float64):
        values = (low + (1 - low) * (given / 255)).astype(dtype).clip(low, 1)
        np.testing.assert_allclose(scaled(values), features, rtol=1e-6)
        np.testing.assert_array_equal(seen(scaled)[-7:], seen(as_bytes))
    assert (weights[2].built, len(as_bytes._network.seen)) == (2, 3)


def test_inception_sees_grey_images_thrice(weights):
    images = np.random.default_rng(0).random((4, 6, 5))
    one, other = inception(weights), inception(weights)
    np.testing.assert_array_equal(one(images), other(images[..., None]))
    values = seen(one)
    assert values.shape == (4, 3, 6, 5)
    for channel in range(3):
        np.testing.assert_array_equal(values[:, channel], np.rint(255 * images))


def test_inception_leaves_torch_s_generator_alone(weights):
    before = torch.get_rng_state()
    inception(weights)(np.zeros((2, 3, 3)))
    assert torch.equal(before, torch.get_rng_state())


def test_inception_is_taken_by_the_measures(weights):
    images = np.random.default_rng(0).random((40, 4, 4, 3))
    features = inception(weights)
    found = kernel_distance(images, images**2, features=features)
    assert found.n_features == 4
    assert found.value > 0


@pytest.mark.parametrize(
    ("images", "options", "message"),
    [
        (np.zeros((2, 4, 4)) - 0.1, {}, r"\[-0.1, -0.1\], but value_range is \[0, 1\]"),
        (np.full((2, 4, 4), 1.01), {}, r"but value_range is \[0, 1\]"),
        (np.full((2, 4, 4), -1.5), {"value_range": (-1, 1)}, "clip X"),
        (np.full((2, 4, 4), np.nan), {}, "NaN or infinity"),
        (np.ones((2, 4, 4), np.uint8), {}, "none is above 1"),
        (np.ones((2, 4, 4)), {"value_range": (1, 0)}, "low below high"),
        (np.ones((2, 4, 4)), {"value_range": (0, 1, 2)}, "low below high"),
        (np.ones((2, 4, 4)), {"value_range": (True, 5)}, "finite numbers"),
        (np.ones((2, 4, 4)), {"value_range": 10}, "finite numbers"),
        (np.zeros((2, 12)), {}, "flat rows of 12 values"),
        (np.zeros((2, 12)), {"image_shape": (2, 2)}, "image_shape"),
        (np.zeros((2, 3, 8, 8)), {}, r"1 or 3 channels, the last axis. Got .*\(3, 8, 8\)"),
        (np.zeros((2, 8, 8, 4)), {}, "alpha"),
        (np.zeros((0, 8, 8)), {}, "at least one image"),
        (np.zeros((2, 4, 4)), {"batch_size": 0}, "batch_size"),
    ],
)
def test_inception_refuses_what_are_no_images_in_range(images, options, message):
    with pytest.raises(ValueError, match=message):
        InceptionFeatures("none.pth", **options)(images)


def test_white_ones_in_bytes_are_taken_when_the_range_says_so(weights):
    features = inception(weights, value_range=(0, 1))
    features(np.eye(4, dtype=np.uint8)[None])
    assert sorted(np.unique(seen(features))) == [0, 255]


@pytest.mark.parametrize("package", ["torch-fidelity", "torchmetrics"])
def test_inception_names_the_missing_extra(package, monkeypatch):
    monkeypatch.setitem(sys.modules, package.replace("-", "_"), None)
    with pytest.raises(MissingExtraError, match=rf'{package}.* pip install "skvim\[fid\]"'):
        InceptionFeatures(package=package)(np.zeros((2, 4, 4)))


def test_the_name_stands_for_all_defaults(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch_fidelity", None)
    with pytest.raises(MissingExtraError, match="torch-fidelity"):
        kernel_distance(np.zeros((20, 4, 4)), np.zeros((20, 4, 4)), features="inception")


def test_inception_refuses_an_unknown_package():
    with pytest.raises(ValueError, match="package must be"):
        InceptionFeatures(package="keras")(np.zeros((2, 4, 4)))


class Payload:
    """Runs code when it is unpickled in the way that the packages do it."""

    def __reduce__(self):
        return (exec, ("raise AssertionError('code was run')",))


def test_inception_says_what_is_wrong_with_weights_and_runs_none_of_their_code(weights, tmp_path):
    images = np.zeros((2, 4, 4))
    package, _, _ = weights
    with pytest.raises(FileNotFoundError, match="no file of weights"):
        InceptionFeatures(tmp_path / "absent.pth", package=package)(images)
    for name, content in (("other", {"a": torch.zeros(1)}), ("code", {"a": Payload()})):
        torch.save(content, tmp_path / name)
        with pytest.raises(OSError, match="weights"):
            InceptionFeatures(tmp_path / name, package=package)(images)
    (tmp_path / "broken").write_bytes(b"<html>")
    with pytest.raises(OSError, match="not a file of weights"):
        InceptionFeatures(str(tmp_path / "broken"), package=package)(images)


@pytest.fixture
def published(weights, serve, monkeypatch, tmp_path):
    """Have the stand-in's file published by a local server; return the server and torch's cache."""
    content = weights[1].read_bytes()
    server = serve({_inception._WEIGHTS: content})
    monkeypatch.setattr(_inception, "_N_BYTES", len(content))
    monkeypatch.setattr(_inception, "_CHECKSUM", f"sha256:{sha256(content).hexdigest()}")
    monkeypatch.setattr(_inception, "_MIRRORS", (server.url,))
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "cache"))
    return server, tmp_path / "cache" / "checkpoints"


def test_inception_s_weights_are_downloaded_once(weights, published):
    server, cache = published
    images = np.random.default_rng(0).random((2, 4, 4))
    expected = inception(weights)(images)
    for _ in range(2):
        features = InceptionFeatures(package=weights[0], device="cpu")
        np.testing.assert_array_equal(features(images), expected)
    assert server.requests == [(_inception._WEIGHTS, None)]
    assert {path.name for path in cache.iterdir()} == {_inception._WEIGHTS, ".lock"}


@pytest.mark.trust("Weights of Inception are used only if they are the published ones.")
def test_inception_refuses_other_weights_than_the_published_ones(weights, published):
    server, cache = published
    images = np.zeros((2, 4, 4))
    good = server.files[_inception._WEIGHTS]
    features = InceptionFeatures(package=weights[0], device="cpu")
    for content, message in ((good[::-1], "hash .* does not match"), (good[:-1], "it offers")):
        server.files[_inception._WEIGHTS] = content
        with pytest.raises(OSError, match=f"(?s){message}.* Or pass .*weights=path") as caught:
            features(images)
        assert not isinstance(caught.value, DatasetError)
        assert {path.name for path in cache.iterdir()} == {".lock"}
    (cache / _inception._WEIGHTS).write_bytes(good[::-1])
    with pytest.raises(OSError, match=r"is not the published file: its sha256 is .* Delete it"):
        features(images)
    assert (cache / _inception._WEIGHTS).read_bytes() == good[::-1]


@pytest.mark.parametrize("place", ["folder", "file"])
def test_inception_says_what_to_do_about_an_unusable_cache(place, weights, published):
    cache = published[1]
    if place == "folder":
        cache.parent.write_text("not a folder")
        message = f"Nothing could be stored in {re.escape(str(cache))}: "
    else:
        (cache / _inception._WEIGHTS).mkdir(parents=True)
        message = f"{re.escape(str(cache / _inception._WEIGHTS))} cannot be read: Is a directory"
    with pytest.raises(OSError, match=rf"{message}.*TORCH_HOME\. Or pass") as caught:
        InceptionFeatures(package=weights[0], device="cpu")(np.zeros((2, 4, 4)))
    assert "SKVIM_DATA" not in str(caught.value)


@pytest.mark.trust("A damaged file of Inception's weights gives features or OSError.")
def test_inception_with_damaged_weights(weights, amount, tmp_path):
    good, images = weights[1].read_bytes(), np.zeros((2, 4, 4))
    rng = np.random.default_rng(0)
    for _ in range(amount("files of weights mutated", quick=50, full=2_000)):
        weights[1].write_bytes(mutate(good, rng))
        try:
            found = inception(weights)(images)
        except OSError as error:
            message = str(error)
            assert str(weights[1]) in message
        else:
            assert found.shape == (2, 4)


@pytest.mark.parametrize("last", ["passthrough", None])
def test_a_pipeline_that_passes_rows_on_gives_what_is_before(last):
    scaler = StandardScaler().fit(ROWS)
    pipeline = Pipeline([("scale", scaler), ("nothing", last)])
    np.testing.assert_array_equal(features_of(pipeline, ROWS), scaler.transform(ROWS))


def test_sparse_rows_reach_an_estimator_that_takes_them():
    model = TruncatedSVD(2, random_state=0).fit(ROWS)
    found = features_of(model, sparse.csr_array(ROWS))
    np.testing.assert_allclose(found, model.transform(ROWS))
