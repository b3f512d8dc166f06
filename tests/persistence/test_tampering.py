"""Files that were changed or that save has not written are refused and run no code."""

import os
import pickle
import re
import sys
import threading

import joblib
import numpy as np
import pandas as pd
import pytest
import torch
from archives import put_together, take_apart
from safetensors.numpy import save_file
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from test_common import X, Y, small

import skvim
from skvim import VIMAETransformer
from skvim._persistence import _archive
from skvim._persistence._files import versions
from skvim.exceptions import FileFormatError, SkvimError
from skvim.noise import GaussianNoise
from skvim.objectives import Adversarial
from skvim.semi_supervised import TransductiveSVC


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.skvim"


@pytest.fixture(scope="module")
def vim():
    return small(VIMAETransformer, divergence=Adversarial((4,))).fit(X)


@pytest.fixture
def forge(path):
    """Return what writes a changed file of an estimator, with a check sum that is right."""

    def forge(estimator, change):
        skvim.save(estimator, path)
        document, arrays = _archive.read_archive(path)
        (body,) = document["model"].values()
        changed = change(body, arrays)
        assert changed is None or isinstance(changed, dict)
        if isinstance(changed, dict):
            document = changed
        _archive.write_archive(path, document, arrays)
        return path

    return forge


def assert_refused(path, message):
    """Load a file that must not open."""
    with pytest.raises(FileFormatError, match=message) as caught:
        skvim.load(path)
    assert isinstance(caught.value, SkvimError)
    assert isinstance(caught.value, ValueError)
    assert str(path) in str(caught.value)


# Other files


class Bomb:
    def __reduce__(self):
        return (sys.exit, ("the pickle was opened",))


@pytest.mark.parametrize("protocol", range(6))
def test_pickles_are_not_opened(protocol, path):
    path.write_bytes(pickle.dumps(Bomb(), protocol))
    assert_refused(path, "not a file that skvim has written")


def test_pickles_of_other_libraries_are_not_opened(path):
    for dump in (joblib.dump, torch.save):
        dump(GaussianNoise(), path)
        assert_refused(path, "looks like a pickle")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{}",
        b"\0" * 8,
        b"\xff" * 100,
        b"\2\0\0\0\0\0\0\0{}",
        b"\2\0\0\0\0\0\0\0{]",
        (200_000).to_bytes(8, "little") + b"{" * 200_000,
        (2**62).to_bytes(8, "little") + b"{}",
    ],
    ids=range(8),
)
def test_other_bytes_are_refused(content, path):
    path.write_bytes(content)
    assert_refused(path, "is damaged|not a file that skvim|not one that skvim")


def test_weights_of_other_programs_are_refused(path):
    for metadata in (None, {"skvim": "{}"}, {"sha256": "0" * 64, "skvim": "{}"}):
        save_file({"weight": np.zeros(3)}, path, metadata)
        assert_refused(path, "a safetensors file, but not one that skvim|before 0.1.0")


def test_later_formats_are_refused_with_what_to_do(vim, path, monkeypatch):
    monkeypatch.setattr(_archive, "FORMAT_VERSION", 2)
    vim.save(path)
    monkeypatch.undo()
    assert_refused(path, r"has version 2 of the format, .* up to version 1\. Install a newer skvim")


# Changed bytes


def test_changed_bytes_are_noticed_everywhere(path):
    skvim.save(make_pipeline(StandardScaler(), GaussianNoise()).fit(X), path)
    content = bytearray(path.read_bytes())
    _, data = take_apart(content)
    start = len(content) - len(data)
    for place in [*range(0, start, 17), *range(start, len(content), 3)]:
        content[place] ^= 1
        path.write_bytes(content)
        assert_refused(path, "damaged|has written")
        content[place] ^= 1
    path.write_bytes(content)
    skvim.load(path)


def test_exchanged_arrays_are_noticed(path):
    arrays = {name: np.full(3, float(i)) for i, name in enumerate("ab")}
    _archive.write_archive(path, {}, arrays)
    header, data = take_apart(path.read_bytes())
    path.write_bytes(put_together(header, data[24:] + data[:24], with_sum=False))
    assert_refused(path, "do not have its check sum")


def test_a_file_that_is_changed_while_it_is_read_is_refused_or_read_as_it_was(path):
    arrays = {"a": np.arange(200_000.0)}
    _archive.write_archive(path, {}, arrays)
    place, stop = path.stat().st_size - 100_000, threading.Event()

    def change():
        with open(path, "rb+", buffering=0) as file:
            while not stop.is_set():
                for byte in (b"\x00", b"\x01"):
                    os.pwrite(file.fileno(), byte, place)

    # The changed byte is the lowest of a number, 0 at first.
    thread = threading.Thread(target=change)
    thread.start()
    try:
        outcomes = set()
        for _ in range(200):
            try:
                np.testing.assert_array_equal(_archive.read_archive(path)[1]["a"], arrays["a"])
                outcomes.add("read")
            except FileFormatError as error:
                assert "do not have its check sum" in str(error)  # noqa: PT017
                outcomes.add("refused")
    finally:
        stop.set()
        thread.join()
    assert outcomes == {"read", "refused"}


# Headers, with a check sum that is right


def forge_header(path, old, new):
    """Replace a part of a header, and let the check sum be right."""
    _archive.write_archive(path, {"x": 1}, {"a": np.arange(3.0), "b": np.arange(3.0)})
    assert _archive.read_archive(path)[0] == {"x": 1}
    header, data = take_apart(path.read_bytes())
    assert header.count(old) == 1
    path.write_bytes(put_together(header.replace(old, new), data))
    return path


HEADERS = {
    "other entry of the metadata": (b'1}"},"a"', b'1}","more":"1"},"a"', "further entries"),
    "document twice": (b'1}"},"a"', b'1}","skvim":"{}"},"a"', "further entries"),
    "array twice": (
        b',"b":',
        b',"a":{"dtype":"F64","shape":[0],"data_offsets":[24,24]},"b":',
        "has an array twice",
    ),
    "array of another place": (b"[0,24]", b"[24,48]", "another place"),
    "array of another type": (b'"a":{"dtype":"F64"', b'"a":{"dtype":"F8_E4M3"', "another type"),
    "array of half the size": (b'"a":{"dtype":"F64"', b'"a":{"dtype":"F32"', "another place"),
    "array that is long": (
        b'"a":{"dtype":"F64","shape":[3]',
        b'"a":{"dtype":"F64","shape":[9000000000]',
        "another place",
    ),
    "empty array of any length": (
        b',"b":',
        b',"c":{"dtype":"F64","shape":[0,999999999999999999,99],"data_offsets":[24,24]},"b":',
        "too large",
    ),
    "space": (b',"b":', b', "b":', "another form"),
    "space at the end": (b"[24,48]}}", b"[24,48]} }", "another form"),
    "more at the end": (b"[24,48]}}", b'[24,48]},"__metadata__":{}}', "another form"),
    "lists": (b',"b":', b',"c":' + b"[" * 1000, "another form"),
    "no text": (b'"skvim":"', b'"skvim":1,"', "another form"),
    "bytes that are no ASCII": (b',"b":', ',"ä":'.encode(), "ascii"),
    "character of control": (b',"b":', b',"\n":', "control character|another form"),
}


@pytest.mark.parametrize("name", HEADERS)
def test_headers_of_another_form_are_refused(name, path):
    old, new, message = HEADERS[name]
    assert_refused(forge_header(path, old, new), message)


def test_spaces_at_the_end_of_a_header_are_under_the_check_sum(path):
    _archive.write_archive(path, {"x": 1}, {"a": np.arange(3.0)})
    header, data = take_apart(path.read_bytes())
    path.write_bytes(put_together(header + b" " * 8, data, with_sum=False))
    assert_refused(path, "do not have its check sum")


def test_documents_with_a_key_twice_are_refused(path):
    assert_refused(
        forge_header(path, rb"{\"x\": 1}", rb"{\"x\": 1, \"x\": 2}"), "a key is there twice"
    )


# Forged contents, with a check sum that is right


def at(body, *keys):
    """Return the last container on the way, and its key."""
    *way, last = keys
    for key in way:
        body = body[key]
    return body, last


def put(*keys, value):
    def change(body, arrays):
        container, last = at(body, *keys)
        container[last] = value

    return change


CODE = {"$part": {"class": "os.system", "arguments": {"command": "exit 1"}}}
NET = ("state", "net_")
FORGED = {
    "class": (put("class", value="builtins.eval"), "'builtins.eval', which is no public"),
    "private class": (put("class", value="skvim._base.BaseAutoencoder"), "no public BaseEstimator"),
    "no estimator": (put("class", value="skvim.objectives.Normal"), "no public BaseEstimator"),
    "other library": (put("class", value="sklearn.ensemble.StackingRegressor"), "no public"),
    "compiled": (put("class", value="sklearn.svm.SVC"), "'sklearn.svm.SVC', which is no public"),
    "call": (put("parameters", "prior", value=CODE), "names None, which is no public|os.system"),
    "kind": (put("parameters", "prior", value={"$pickle": "gASVAAA="}), "unknown kind '.pickle'"),
    "two kinds": (put("parameters", "prior", value={"$tuple": [], "$x": 1}), "too many values"),
    "parameter": (put("parameters", "evil", value=1), "unexpected keyword argument 'evil'"),
    "method": (put("state", "transform", value=1), "no attribute 'transform' to restore"),
    "special": (put("state", "__class__", value=1), "no attribute '__class__'"),
    "inherited": (put("state", "get_params", value=1), "no attribute 'get_params'"),
    "features": (
        put("state", "n_features_in_", value=7),
        "networks, for rows of shape .4,., and what is kept of X disagree",
    ),
    "parameter by state": (put("state", "lam", value=-1), "no attribute 'lam' to restore"),
    "of the class": (put("state", "_unit_codes", value=True), "no attribute '_unit_codes'"),
    "no number": (put("state", "n_features_in_", value="4"), "networks, for|number and names"),
    "names": (
        put(
            "state",
            "feature_names_in_",
            value={"$array": {"dtype": "object", "shape": [1], "items": ["a"]}},
        ),
        "number and names of features differ",
    ),
    "missing net": (put("state", "net_", value={}), "KeyError"),
    "missing array": (
        put(*NET, "weights", "mean", value={"$tensor": "nowhere"}),
        "KeyError.*nowhere",
    ),
    "prior": (put(*NET, "model", "prior", value="normal"), "wrong kind: .*prior"),
    "posterior": (put(*NET, "model", "posterior", value=None), "wrong kind: .*posterior"),
    "terms": (put(*NET, "model", "terms", value=[[1.0, "mmd"]]), "wrong kind: .*terms"),
    "wider": (put(*NET, "model", "n_components", value=3), "size mismatch"),
    "negative": (put(*NET, "model", "n_components", value=-3), "refused"),
    "shape": (put(*NET, "model", "shape", value=[5]), "size mismatch|for .* features"),
    "layout": (put("state", "_layout", "axes", value=[5]), "networks, for"),
    "dtype": (put("state", "_dtype", value="object"), "KeyError"),
    "history": (put(*NET, "history", value=[{"loss": 1}]), "train_loss"),
}


@pytest.mark.parametrize("name", FORGED)
def test_forged_descriptions_are_refused(name, vim, forge):
    change, message = FORGED[name]
    assert_refused(forge(vim, change), message)


WEIGHT = "VIMAETransformer.state.net_.weights.encoder.layers.0.weight"


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((8, 5), np.float32), "size mismatch"),
        (np.zeros((4, 8), np.float32), "size mismatch"),
        (np.zeros((8, 4), np.float64), "float64 instead of torch.float32"),
        (np.zeros((8, 4), np.int32), "int32 instead of torch.float32"),
    ],
)
def test_weights_of_another_shape_or_type_are_refused(array, message, vim, forge):
    def change(body, arrays):
        assert arrays[WEIGHT].shape == (8, 4)
        arrays[WEIGHT] = array

    assert_refused(forge(vim, change), message)


def test_weights_that_are_missing_or_too_many_are_refused(vim, forge):
    def lose(body, arrays):
        del arrays[WEIGHT], body["state"]["net_"]["weights"]["encoder.layers.0.weight"]

    def add(body, arrays):
        arrays["more"] = np.zeros(3)

    def rename(body, arrays):
        weights = body["state"]["net_"]["critics"]
        weights["terms.7.x"] = weights.popitem()[1]

    assert_refused(forge(vim, lose), "Missing key")
    assert_refused(forge(vim, add), r"arrays that belong to nothing: \['more'\]")
    assert_refused(forge(vim, rename), "Missing key|Unexpected key")


def test_a_file_without_an_estimator_is_refused(vim, forge):
    def change(body, arrays):
        arrays.clear()
        return {"versions": versions(), "model": [1, 2]}

    path = forge(vim, change)
    assert_refused(path, "holds no estimator")
    _archive.write_archive(path, {"layout": 1}, {})
    assert_refused(path, "holds no estimator, but for example a checkpoint")


def test_deep_nesting_is_refused(forge):
    def change(body, arrays):
        node = []
        for _ in range(900):
            node = [node]
        body["parameters"]["scale"] = node

    assert_refused(forge(GaussianNoise(), change), "refused|no JSON")


def test_a_generator_that_would_read_beyond_its_end_is_refused(forge):
    def change(body, arrays):
        state = body["parameters"]["random_state"]["$random_state"]["state"]
        assert state["pos"] <= 624
        state["pos"] = 1_000_000

    noise = GaussianNoise(random_state=np.random.RandomState(0))
    assert_refused(forge(noise, change), "a state of a generator is out of range")


def test_a_cache_is_not_opened(forge):
    pipeline = make_pipeline(StandardScaler())
    assert_refused(
        forge(pipeline, put("parameters", "memory", value="somewhere")), "open files from"
    )
    assert_refused(
        forge(pipeline, put("state", "memory", value="somewhere")), "no attribute 'memory'"
    )


def test_a_folder_of_checkpoints_is_not_opened(forge, vim):
    changed = forge(vim, put("parameters", "checkpoint", value="somewhere"))
    assert_refused(changed, "open files from")


def shorten(*keys):
    """Return a change that takes the last row of an array."""

    def change(body, arrays):
        container, last = at(body, "state", *keys)
        name = container[last]["$array"]["name"]
        arrays[name] = np.ascontiguousarray(arrays[name][..., :-1])

    return change


@pytest.mark.parametrize("name", ["_folded", "_intercepts", "classes_"])
def test_machines_that_do_not_fit_together_are_refused(name, forge):
    svc = TransductiveSVC(random_state=0, safe=False).fit(X, Y)
    assert_refused(forge(svc, shorten(name)), "weights have the shapes")


@pytest.mark.parametrize("name", ["landmarks", "projection", "kernel"])
def test_maps_that_do_not_fit_together_are_refused(name, forge):
    svc = TransductiveSVC(random_state=0, safe=False).fit(X, Y)
    change = put("state", "_map", "kernel", value="eval") if name == "kernel" else None

    def cut(body, arrays):
        key = f"TransductiveSVC.state._map.{name}"
        # By columns, as the projection lies in memory: its rows are cut.
        arrays[key] = np.ascontiguousarray(arrays[key][:, :-1])

    assert_refused(
        forge(svc, change or cut), "landmarks have the shapes|the kernel 'eval' is unknown"
    )


@pytest.fixture(scope="module")
def of_table():
    columns = {"x": Y * 0.5 + X[:, 0], "kind": np.where(Y > 0, "a", "b")}
    options = {"hidden_layer_sizes": (4,), "max_epochs": 1, "random_state": 0}
    return VIMAETransformer(1, likelihood="auto", **options).fit(pd.DataFrame(columns))


@pytest.mark.parametrize(
    "change",
    [
        lambda codes: codes * np.nan,
        lambda codes: np.hstack([codes, codes]),
        lambda codes: codes[:-1],
    ],
    ids=["not finite", "of another size", "of fewer rows"],
)
def test_codes_of_patterns_of_missing_cells_are_checked(of_table, forge, change):
    def put_codes(body, arrays):
        key = "VIMAETransformer.state._table.pattern_codes"
        arrays[key] = np.ascontiguousarray(change(arrays[key]))

    assert_refused(forge(of_table, put_codes), "what is kept of X disagree")


def test_no_patterns_of_missing_cells_are_refused(of_table, forge):
    def remove(body, arrays):
        for name in ("patterns", "pattern_codes"):
            key = f"VIMAETransformer.state._table.{name}"
            arrays[key] = arrays[key][:0]

    assert_refused(forge(of_table, remove), "what is kept of X disagree")


def test_columns_and_likelihood_of_a_table_have_to_agree(of_table, forge):
    def swap(body, arrays):
        (of_kind,) = body["state"]["_table"]["table"]["codings"]["$tuple"][1:]
        of_kind["probabilities"]["$tuple"] = [0.25, 0.75]

    assert_refused(forge(of_table, swap), "what is kept of X disagree")


def test_types_of_text_columns_are_checked(of_table, forge):
    def rename(body, arrays):
        (_, kind) = body["state"]["_table"]["table"]["fields"]["$tuple"]
        kind["dtype"] = {"$tuple": ["string", "disk", False]}

    assert_refused(forge(of_table, rename), "is no type of a column")


def test_messages_say_what_to_do(vim, path):
    vim.save(path)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(FileFormatError) as caught:
        skvim.load(path)
    assert re.search(
        r"Copy it again from where it came, or save the model again\.$", str(caught.value)
    )
