"""Memory that saving and loading take, measured in processes of their own."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from archives import put_together, take_apart
from sklearn.preprocessing import StandardScaler

import skvim
from skvim._persistence._archive import read_archive, write_archive
from skvim._persistence._files import versions
from skvim.objectives import Adversarial

STATUS = Path("/proc/self/status")
pytestmark = pytest.mark.skipif(not STATUS.exists(), reason="only Linux tells a peak of memory")
# The first calls load code and the like that stay.
MEASURE = """
import gc, json, sys
from pathlib import Path
import numpy as np
import skvim
from skvim.exceptions import FileFormatError

def memory(key):
    (line,) = [x for x in Path("/proc/self/status").read_text().splitlines() if x.startswith(key)]
    return 1024 * int(line.split()[1])

def start():
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak
    return memory("VmRSS")

skvim.save(skvim.load(sys.argv[1], device="cpu"), sys.argv[3])
before, refused, saving = start(), "", 0
try:
    model = skvim.load(sys.argv[2], device="cpu")
except FileFormatError as error:
    refused = str(error)
loading = memory("VmHWM") - before
if not refused:
    before = start()
    skvim.save(model, sys.argv[3])
    saving = memory("VmHWM") - before
print(json.dumps([loading, saving, refused]))
"""


def measure(small, large, copy):
    """Return the bytes that loading and saving take, and the error if the file is refused."""
    command = [sys.executable, "-W", "error", "-c", MEASURE, small, large, copy]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(done.stdout)


def autoencoder(n_features):
    X = np.random.default_rng(0).random((4, n_features), dtype=np.float32)
    model = skvim.AETransformer(2, hidden_layer_sizes=(64,), max_epochs=1, acceleration=None)
    return model.set_params(random_state=0).fit(X)


def scaler(n_features):
    return StandardScaler().fit(np.random.default_rng(0).random((2, n_features)))


@pytest.mark.slow
@pytest.mark.parametrize(("make", "width"), [(autoencoder, 400_000), (scaler, 9_000_000)])
def test_loading_takes_little_more_memory_than_the_file_and_saving_next_to_none(
    make, width, tmp_path
):
    small, large, copy = (tmp_path / name for name in ("small", "large", "copy"))
    skvim.save(make(4), small)
    skvim.save(make(width), large)
    size = large.stat().st_size
    assert size > 200e6
    loading, saving, refused = measure(small, large, copy)
    assert refused == ""
    assert loading <= 1.3 * size
    assert saving <= 0.1 * size
    assert copy.read_bytes() == large.read_bytes()


def many_lists(path, n_characters):
    """Write a file that is as valid as one with so many lists can be."""
    write_archive(path, {"model": "HERE"}, {})
    header, data = take_apart(path.read_bytes())
    lists = b"[" + b"[]," * (n_characters // 3) + b"[]]"
    path.write_bytes(put_together(header.replace(rb"\"HERE\"", lists), data))


def table_of_lists(path, n_characters):
    write_archive(path, {}, {"HERE": np.zeros(0)})
    header, data = take_apart(path.read_bytes())
    path.write_bytes(put_together(header.replace(b"[0],", b"[],[]," * (n_characters // 6)), data))


def wide_text(path, n_characters):
    text = {"dtype": f"<U{6 * n_characters}", "shape": [1], "items": ["a"]}
    write_archive(path, {"versions": versions(), "model": {"$array": text}}, {})


def wide_items(path, n_characters):
    items = ["a"] * 5000 + ["b" * (n_characters // 1000)]
    text = {"dtype": "<U1", "shape": [5001], "items": items}
    write_archive(path, {"versions": versions(), "model": {"$array": text}}, {})


def wide_network(path, n_characters):
    autoencoder(4).save(path)
    document, arrays = read_archive(path)
    document["model"]["$estimator"]["state"]["net_"]["model"]["n_components"] = n_characters
    write_archive(path, document, arrays)


def wide_critic(path, n_characters):
    model = skvim.VIMAETransformer(2, hidden_layer_sizes=(4,), max_epochs=1, random_state=0)
    model.set_params(divergence=Adversarial((4,))).fit(np.eye(4)).save(path)
    document, arrays = read_archive(path)
    net = document["model"]["$estimator"]["state"]["net_"]
    part = net["model"]["terms"][0]["$tuple"][1]["$part"]["arguments"]
    part["hidden_layer_sizes"] = {"$tuple": [10 * n_characters]}
    write_archive(path, document, arrays)


def long_rows(path, n_characters):
    autoencoder(4).save(path)
    document, arrays = read_archive(path)
    net = document["model"]["$estimator"]["state"]["net_"]
    net["model"]["shape"] = {"$tuple": [10 * n_characters]}
    write_archive(path, document, arrays)


LARGER = "of a larger model than the weights"
GREEDY = [
    (many_lists, "more than 1000000 lists"),
    (table_of_lists, "table of arrays has another form"),
    (wide_text, "an array of text is much wider than its items"),
    (wide_items, "it holds no estimator"),
    (wide_network, LARGER),
    (wide_critic, LARGER),
    (long_rows, LARGER),
]


@pytest.mark.slow
@pytest.mark.parametrize(("forge", "reason"), GREEDY)
def test_a_file_takes_no_memory_that_its_size_does_not_explain(forge, reason, tmp_path):
    small, large, copy = (tmp_path / name for name in ("small", "large", "copy"))
    skvim.save(autoencoder(4), small)
    forge(large, 40_000_000)
    loading, _, refused = measure(small, large, copy)
    assert reason in refused
    assert loading <= 4 * large.stat().st_size + 100e6
