import importlib
import json
import sys
from argparse import Namespace
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture
def module(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    before = set(sys.modules)
    yield importlib.import_module
    for name in set(sys.modules) - before:
        if (
            getattr(sys.modules[name], "__file__", None)
            and BENCHMARKS in Path(sys.modules[name].__file__).parents
        ):
            del sys.modules[name]


@pytest.mark.parametrize(
    ("features", "network", "model"),
    [(784, "small", "vae"), (784, "full", "mmd"), (3072, "full", "mmd")],
)
def test_the_lean_loop_has_the_layers_of_skvims_networks(module, features, network, model):
    job = module("contenders").Job(model, (features, 8), 10, 10, 1, network=network)
    ours, *_ = module("contenders").parts(job)
    n_outputs = 16 if model == "vae" else 8
    lean = module("lean").convolutions(job.shape, 8, n_outputs, job.width)
    for one, other in zip((ours.encoder, ours.decoder), lean, strict=True):
        sizes = [sorted(tuple(p.shape) for p in net.parameters()) for net in (one, other)]
        assert sizes[0] == sizes[1]


def test_environments_that_are_missing_are_left_out_with_a_reason(module, capsys):
    options = Namespace(device="cpu", threads=1, pythae=None, jax=Path("no-such-python"))
    started, reasons = module("speed").workers(options)
    assert started == {}
    assert reasons == {
        "pythae": "no --pythae names the Python of its environment",
        "jax": "the Python of its environment does not exist",
    }
    assert capsys.readouterr().out.count("is left out") == 2


def test_short_fits_are_timed_cold_and_warm(module, monkeypatch, tmp_path):
    short, contenders = module("short_fits"), module("contenders")
    job = contenders.Job("vae", (3, 4, 2), 20, 10, 1)
    monkeypatch.setattr(short, "jobs", lambda: [(2, job)])
    monkeypatch.setattr(short, "write_tables", lambda: None)
    out = tmp_path / "short.json"
    monkeypatch.setattr(sys, "argv", ["", "--cold", "1", "--warm", "2", "--out", str(out)])
    short.main()
    (run,) = json.loads(out.read_text())["runs"]
    assert (run["job"], run["steps"]) == ("vae, 3-4-2, batch 10", 2)
    assert [len(run["cold"][name]) for name in ("lean loop", "skvim")] == [1, 1]
    assert all(seconds > 0 for seconds in (*run["warm"]["lean loop"], *run["warm"]["skvim"]))


def test_the_table_of_speed_has_ratios_to_the_lean_loop(module):
    tables = module("write_tables")
    seconds = {"lean loop": [2.0, 2.0, 2.2], "skvim": [1.0]}
    run = {"job": "vae", "steps": 1000, "seconds": seconds, "seconds to compile": {"jax": [3.0]}}
    measured = dict.fromkeys(
        ("date", "python", "machine", "cores", "skvim", "torch", "sklearn"), "x"
    )
    lines = tables._speed({"runs": [run], "measured on": measured})
    assert "| vae | 2.000 ±5 % (1.00×) | 1.000 ±0 % (0.50×) | 3.0 |" in lines[1]
    assert any(line.startswith("Not measured: loop, skvim's modules, skorch, ") for line in lines)
