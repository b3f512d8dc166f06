"""Files that were changed at random, and many cycles of saving and loading."""

import contextlib
import gc
import json
import resource
from pathlib import Path

import numpy as np
import pytest
from archives import put_together, take_apart
from damage import mutate
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, OrdinalEncoder
from test_common import X

import skvim
from skvim import VIMAETransformer
from skvim.exceptions import FileFormatError
from skvim.noise import GaussianNoise
from skvim.objectives import Adversarial
from skvim.semi_supervised import TransductiveSVC

LABELS = np.digitize(X[:, 0], [-0.5, 0.5])
TINY = {"hidden_layer_sizes": (3,), "max_epochs": 1, "random_state": 0}
MODELS = {
    "autoencoder": lambda: VIMAETransformer(2, divergence=Adversarial((2,)), **TINY).fit(X),
    "classifier": lambda: TransductiveSVC(n_components=5, random_state=0, safe=False).fit(
        X, LABELS
    ),
    "noise": lambda: GaussianNoise(0.5, random_state=np.random.RandomState(0)).fit(X),
    "text": lambda: OrdinalEncoder().fit(LABELS.astype("U")[:, None]),
    "pipeline": lambda: make_pipeline(
        SimpleImputer(), MinMaxScaler(), VIMAETransformer(2, **TINY), LogisticRegression()
    ).fit(X, LABELS),
}
# What a value of a document is replaced by.
STRANGE = (None, True, -1, 0, 7, 10**30, 1.5, "", "x", "nan", [], {}, [[]], {"$tuple": []})
STRANGE += ({"$float": "nan"}, {"$array": {"name": "x"}}, {"$dtype": "<U500000000"})
MORE_BYTES = 50_000_000  # that a small file may ask for


# Mutations: of bytes, of the table of arrays and of the document. Each returns header and data.


def damage(header, data, chance):
    if chance.random() < 0.5:
        return mutate(header, chance), data
    return header, mutate(data, chance)


def exchange_entries(header, data, chance):
    parsed = json.loads(header)
    names = [name for name in parsed if name != "__metadata__"]
    if len(names) > 1:
        first, second = chance.choice(names, size=2, replace=False)
        part = chance.choice(["dtype", "shape", "data_offsets", "all"])
        if part == "all":
            parsed[first], parsed[second] = parsed[second], parsed[first]
        else:
            a, b = parsed[first], parsed[second]
            a[part], b[part] = b[part], a[part]
    return json.dumps(parsed, separators=(",", ":")).encode(), data


def nodes(value):
    """Yield every container with each of its keys."""
    if isinstance(value, list | dict):
        for key in range(len(value)) if isinstance(value, list) else list(value):
            yield value, key
            yield from nodes(value[key])


def splice(header, data, chance):
    parsed = json.loads(header)
    document = json.loads(parsed["__metadata__"]["skvim"])
    for _ in range(chance.integers(1, 3)):
        places = list(nodes(document["model"]))
        container, key = places[chance.integers(len(places))]
        kind = chance.integers(3)
        if kind == 0:
            container[key] = STRANGE[chance.integers(len(STRANGE))]
        elif kind == 1:
            other, its = places[chance.integers(len(places))]
            container[key] = json.loads(json.dumps(other[its]))
        elif isinstance(container, dict):
            container[f"{key}x"] = container.pop(key)
        else:
            del container[key]
    parsed["__metadata__"]["skvim"] = json.dumps(document)
    return json.dumps(parsed, separators=(",", ":")).encode(), data


MUTATIONS = (damage, exchange_entries, splice)


def peak():
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def use(model):
    """Compute with a model whose values were changed; it may raise what it likes, but not crash."""
    for method in ("transform", "predict"):
        if hasattr(model, method):
            with contextlib.suppress(Exception):
                getattr(model, method)(X)


def opened(path, mutation):
    """Return the model of a file, or None if it is refused."""
    try:
        return skvim.load(path, device="cpu")
    except FileFormatError:
        return None
    except BaseException as error:
        raise AssertionError(f"{mutation}: {error!r}") from error


@pytest.mark.trust(
    "A changed file is refused with an error of skvim; one that was changed on purpose, with a "
    "check sum that is right, is refused or opens as a model with other values. Neither crashes "
    "the process, raises other errors, or takes memory that the file does not explain."
)
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", MODELS)
def test_mutated_files_are_refused_or_open_as_models(name, amount, tmp_path):
    path = tmp_path / "model.skvim"
    skvim.save(MODELS[name](), path)
    content = path.read_bytes()
    header, data = take_apart(content)
    use(skvim.load(path, device="cpu"))
    before, n_opened = peak(), 0
    chance = np.random.default_rng(0)
    for i in range(amount("files mutated", quick=60, full=20_000)):
        change = MUTATIONS[chance.integers(len(MUTATIONS))]
        with_sum = bool(chance.random() < 0.7)
        changed = put_together(*change(header, data, chance), with_sum=with_sum)
        path.write_bytes(changed)
        model = opened(path, f"mutation {i} by {change.__name__}")
        assert model is None or with_sum or changed == content
        n_opened += model is not None
        if model is not None and n_opened % 4 == 0:  # use takes most of the time
            use(model)
    assert n_opened > 0
    assert peak() - before < MORE_BYTES


def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="only Linux tells its memory")
@pytest.mark.trust("Saving and loading again and again takes no more memory each time.")
def test_memory_stays_flat_over_cycles_of_saving_and_loading(amount, tmp_path):
    path = tmp_path / "model.skvim"
    model = MODELS["pipeline"]()
    expected = model.predict_proba(X)

    def cycle(model):
        skvim.save(model, path)
        return skvim.load(path, device="cpu")

    n_cycles = amount("cycles of saving and loading", quick=30, full=3000)
    for _ in range(20):
        model = cycle(model)
    gc.collect()
    before = resident()
    for _ in range(n_cycles):
        model = cycle(model)
    gc.collect()
    assert resident() - before < 20_000_000
    np.testing.assert_array_equal(model.predict_proba(X), expected)
