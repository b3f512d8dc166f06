import importlib
import json
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
TESTS = """
import time, pytest

pytestmark = pytest.mark.gpu


def test_that_passes():
    pass


@pytest.mark.parametrize("name", ["two words"])
def test_that_fails(name):
    assert not name


def test_that_takes_long():
    time.sleep(60)
"""


@pytest.fixture
def gpu(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    return importlib.import_module("gpu")


def run(gpu, monkeypatch, tmp_path, *arguments):
    out = tmp_path / "gpu.json"
    given = ["--device", "cpu", "--tiny", "--out", str(out), "--tests", *arguments]
    monkeypatch.setattr(sys, "argv", ["gpu.py", *given])
    gpu.main()
    return json.loads(out.read_text(encoding="utf-8"))


@pytest.mark.slow
def test_the_whole_script_runs_with_tiny_sizes(gpu, monkeypatch, tmp_path, capsys):
    found = run(gpu, monkeypatch, tmp_path, "--repeats", "1")
    assert found["left out"] == []
    assert {bool(of["error"]) for of in found["runs"]} == {False}
    assert {len(of["seconds"]) for of in found["runs"]} == {1}
    captured = [
        of for of in found["runs"] if of["contender"] in {"skvim, captured", "skvim, bfloat16"}
    ]
    assert {of["eager because"] for of in captured} == {""}
    assert {"torch", "skvim", "gpu"} <= found["measured on"].keys()
    *_, last = (text for text in capsys.readouterr().out.splitlines() if text.startswith("| mmd"))
    assert last.count("×)") == 6


def test_no_training_starts_after_the_budget(gpu, monkeypatch, tmp_path):
    found = run(gpu, monkeypatch, tmp_path, "--budget", "0")
    assert len(found["left out"]) == len(found["runs"])
    assert not any(of["seconds"] for of in found["runs"])


def test_a_training_that_fails_is_recorded(gpu):
    def fail(job):
        raise RuntimeError("no memory")

    training = gpu.Training(gpu.TINY[0], "x", fail)
    training.run()
    assert training.result()["error"] == "RuntimeError: no memory"


def test_outcomes_of_tests_are_kept_when_the_time_is_over(gpu, monkeypatch, tmp_path):
    (tmp_path / "test_some.py").write_text(TESTS, encoding="utf-8")
    monkeypatch.setattr(gpu, "ROOT", tmp_path)
    found = gpu.run_tests(["test_some.py"], 5.0, "-p", "no:cacheprovider")
    assert (found["passed"], found["ended"]) == (1, False)
    assert found["failed"] == ["test_some.py::test_that_fails[two words]"]


def test_the_files_of_tests_are_all_that_need_a_gpu(gpu):
    root = BENCHMARKS.parent
    marked = {
        path.relative_to(root).as_posix()
        for path in (root / "tests").rglob("test_*.py")
        if "\n@pytest.mark.gpu\n" in path.read_text(encoding="utf-8")
    }
    assert set(gpu.TESTS) == marked
