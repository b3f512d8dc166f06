"""Runs that are stopped, damaged, doubled or fail."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from sklearn.base import clone

from skvim import VIMAETransformer
from skvim.noise import GaussianNoise
from skvim.objectives import GaussianPosterior
from vimae_paper import cells, command, measures
from vimae_paper.cells import describe, jobs_of, missing, work
from vimae_paper.results import Results, append, tidy
from vimae_paper.settings import Run

ROOT = Path(__file__).parents[2]


def wine(folder, **options):
    """Return a run and its jobs: PCA and VIMAE-n of one table."""
    run = Run("tiny", folder / "tiny.jsonl", folder / "cache", **options)
    jobs = jobs_of(run, ["tabular"], [], models=["pca", "vimae-n"])
    return run, [job for job in jobs if job.cell.data_set == "wine"]


def tables(folder):
    """Run PCA on the three tables by the command line."""
    fixed = ["--table", "tabular", "--preset", "tiny", "--models", "pca", "--jobs", "1"]
    return command.main([*fixed, "--out", str(folder)])


@pytest.mark.parametrize(
    "damage", [lambda line: line[:50], lambda line: "[1]", lambda line: line.replace("fit", "tif")]
)
def test_a_damaged_line_counts_as_missing_and_harms_no_other(stored, cell_of, tmp_path, damage):
    stored(*(cell_of("mnist", name, 0, {"clean": 1.0}) for name in ("ae", "vae")))
    path = tmp_path / "cpu.jsonl"
    first, second = path.read_text().splitlines()
    path.write_text(f"{damage(first)}\n{second}\n")
    assert (list(Results(path).cells), Results(path).damaged) == ([("mnist", "vae", 0)], [1])
    tidy(path)
    assert path.read_text() == f"{second}\n"
    path.write_bytes(path.read_bytes()[:-100])  # killed while writing
    append(path, cell_of("mnist", "wae", 0, {"clean": 1.0}))
    assert [cell.model for cell in Results(path).cells] == ["wae"]


def test_lines_of_one_cell_add_up_under_equal_settings(stored, cell_of, tmp_path):
    cell = lambda part, settings: cell_of("mnist", "ae", 0, parts={part: {}}, settings=settings)
    results = stored(cell("blur", "s"), cell("information", "s"))
    assert set(results.cells["mnist", "ae", 0]["parts"]) == {"blur", "information"}
    assert set(stored(cell("frechet", "t")).cells["mnist", "ae", 0]["parts"]) == {"frechet"}
    tidy(tmp_path / "cpu.jsonl")
    assert len((tmp_path / "cpu.jsonl").read_text().splitlines()) == 1


def test_two_runs_at_once_lose_nothing(cell_of, tmp_path):
    program = (
        "import json, sys; from pathlib import Path; from vimae_paper.results import append, tidy\n"
        "path, name, content = Path(sys.argv[1]), sys.argv[2], json.loads(sys.argv[3])\n"
        "for seed in range(20): append(path, content | {'model': name, 'seed': seed}); tidy(path)"
    )
    content = json.dumps(cell_of("mnist", "ae", 0, {"clean": 1.0, "long": "x" * 9000}))
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, (ROOT, ROOT / "examples")))}
    line = [sys.executable, "-c", program, str(tmp_path / "r.jsonl")]
    both = [subprocess.Popen([*line, name, content], env=environment) for name in ("ae", "vae")]
    assert [process.wait() for process in both] == [0, 0]
    results = Results(tmp_path / "r.jsonl")
    assert (len(results.cells), results.damaged) == (40, [])


def test_only_what_is_missing_is_run(tmp_path, capsys):
    run, jobs = wine(tmp_path)
    command.execute(run, jobs, 1)
    before = run.results.read_bytes()
    command.execute(run, jobs, 1)
    assert "2 cells, 2 of them done before" in capsys.readouterr().out
    assert run.results.read_bytes() == before
    # Other settings of the training make another model; the other cell stays.
    other, results = run._replace(epochs=2), Results(run.results)
    assert [job.cell.model for job in jobs if missing(other, results, job)] == ["vimae-n"]


def test_whatever_settings_change_cells_are_run_again(tmp_path, monkeypatch):
    model = VIMAETransformer(noise=GaussianNoise(0.2), posterior=GaussianPosterior(0.3))
    described = describe(model)
    assert json.loads(json.dumps(described)) == described == describe(clone(model))
    assert described["lr"] == 1e-3  # a default, too
    for change in ({"lr": 1.0}, {"noise__scale": 0.1}, {"posterior": GaussianPosterior(0.4)}):
        assert describe(clone(model).set_params(**change)) != described
    run, (job, _) = wine(tmp_path)
    work(run, job)
    assert missing(run, Results(run.results), job) is None
    monkeypatch.setattr(measures, "CLASSIFIER", measures.CLASSIFIER | {"tol": 0.5})
    assert missing(run, Results(run.results), job) == job


@pytest.mark.slow
def test_a_killed_run_goes_on_where_it_stopped(tmp_path):
    line = [sys.executable, str(ROOT / "examples" / "reproduce_paper.py"), "--table", "tabular"]
    line += ["--preset", "tiny", "--models", "pca", "vimae-n", "--jobs", "1"]
    line += ["--out", str(tmp_path)]
    options = {"text": True, "env": os.environ | {"PYTHONPATH": str(ROOT)}}
    with subprocess.Popen(line, stdout=subprocess.PIPE, **options) as process:
        for _ in range(4):
            process.stdout.readline()
        process.send_signal(signal.SIGKILL)
    before = Results(tmp_path / "tiny.jsonl").cells
    assert 3 <= len(before) < 6
    done = subprocess.run(line, capture_output=True, check=True, **options)
    assert f"6 cells, {len(before)} of them done before" in done.stdout
    after = Results(tmp_path / "tiny.jsonl").cells
    assert len(after) == 6
    assert {cell: after[cell] for cell in before} == before


def test_a_folder_that_cannot_be_written_is_found_before_anything_is_fitted(
    tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr(command, "execute", None)
    (tmp_path / "file").write_text("")
    assert tables(tmp_path / "file") == 1
    assert capsys.readouterr().err.startswith("stopped: ")


@pytest.mark.parametrize("error", [ValueError, cells.DatasetError])
def test_an_error_in_one_cell_stops_no_other(tmp_path, capsys, monkeypatch, error):
    def load(run, data_set, seed):
        if data_set == "diabetes":
            raise error("no such thing")
        return original(run, data_set, seed)

    original = cells.load
    monkeypatch.setattr(cells, "load", load)
    assert tables(tmp_path) == 1
    said = capsys.readouterr().out
    assert f"failed: diabetes pca seed 0: {error.__name__}: no such thing" in said
    assert len(Results(tmp_path / "tiny.jsonl").cells) == 2
    assert "| PCA | not run" in (tmp_path / "tiny" / "table-tabular.md").read_text()


def test_a_training_that_diverges_is_noted_and_not_tried_again(tmp_path, monkeypatch):
    run, jobs = wine(tmp_path)
    job = next(job for job in jobs if job.cell.model == "vimae-n")
    # The first step leads out of what float32 holds.
    build = cells.build
    monkeypatch.setattr(cells, "build", lambda *given: build(*given).set_params(lr=1e30))
    work(run, job)
    assert Results(run.results).failed("wine", "vimae-n") == [0]
    assert missing(run, Results(run.results), job) is None
