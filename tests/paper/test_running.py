"""Runs that are stopped, damaged, doubled or fail."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from skvim import VIMAETransformer
from skvim.noise import GaussianNoise
from skvim.objectives import GaussianPosterior
from vimae_paper import cells, command, measures
from vimae_paper.cells import Job, describe, jobs_of, load_model, missing, model_path, work
from vimae_paper.results import Results, append, tidy
from vimae_paper.settings import Cell, Run

ROOT = Path(__file__).parents[2]


def wine(folder, models=("pca", "vimae-n"), **options):
    """Return a run and its two or fewer jobs."""
    run = Run("tiny", folder / "tiny.jsonl", folder / "cache", **options)
    jobs = jobs_of(run, ["tabular"], [], models=models)
    return run, [job for job in jobs if job.cell.data_set == "wine"]


def tables(folder, *more):
    """Run PCA on the three tables by the command line."""
    fixed = ["--table", "tabular", "--preset", "tiny", "--models", "pca", "--jobs", "1"]
    return command.main([*fixed, "--out", str(folder), *more])


# Settings that results are stored with


def test_equal_settings_are_described_alike_and_others_otherwise():
    make = lambda n, spread, scale: VIMAETransformer(
        n, posterior=GaussianPosterior(spread), noise=GaussianNoise(scale)
    )
    first = describe(make(8, 0.3, 0.2))
    assert json.loads(json.dumps(first)) == first == describe(make(8, 0.3, 0.2))
    assert first["lr"] == 1e-3  # a default, whose change would show
    for other in ((9, 0.3, 0.2), (8, 0.4, 0.2), (8, 0.3, 0.1)):
        assert describe(make(*other)) != first


def test_a_changed_default_of_skvim_has_its_cells_run_again(tmp_path, monkeypatch):
    run, jobs = wine(tmp_path)
    for job in jobs:
        work(run, job)
    left = lambda: [job.cell.model for job in jobs if missing(run, Results(run.results), job)]
    assert left() == []
    with monkeypatch.context() as patch:
        patch.setattr(measures, "CLASSIFIER", measures.CLASSIFIER | {"tol": 0.5})
        assert left() == ["pca", "vimae-n"]


# The file of results


@pytest.mark.parametrize(
    "damage",
    [
        lambda line: line[:50],
        lambda line: "",
        lambda line: "[1, 2]",
        lambda line: "\0" * 20,
        lambda line: line.replace('"fit"', '"tif"'),
    ],
)
def test_a_damaged_line_counts_as_missing_and_harms_no_other(stored, cell_of, tmp_path, damage):
    whole = [cell_of("mnist", name, 0, {"clean": 1.0}) for name in ("ae", "vae")]
    results = stored(*whole)
    path = tmp_path / "cpu.jsonl"
    first, second = path.read_text().splitlines()
    path.write_text(f"{damage(first)}\n{second}\n")
    results = Results(path)
    assert (list(results.cells), results.damaged) == ([Cell("mnist", "vae", 0)], [1])
    tidy(path)
    assert path.read_text() == f"{second}\n"


def test_a_run_killed_while_writing_loses_that_cell_alone(stored, cell_of, tmp_path):
    stored(cell_of("mnist", "ae", 0, {"clean": 1.0}), cell_of("mnist", "vae", 0, {"clean": 1.0}))
    path = tmp_path / "cpu.jsonl"
    path.write_bytes(path.read_bytes()[:-100])
    append(path, cell_of("mnist", "wae", 0, {"clean": 1.0}))
    assert [cell.model for cell in Results(path).cells] == ["ae", "wae"]


def test_lines_of_one_cell_add_up_under_equal_settings(stored, cell_of, tmp_path):
    cell = lambda part, settings: cell_of("mnist", "ae", 0, parts={part: {}}, settings=settings)
    results = stored(cell("blur", "s"), cell("information", "s"))
    assert set(results.cells["mnist", "ae", 0]["parts"]) == {"blur", "information"}
    assert set(stored(cell("frechet", "t")).cells["mnist", "ae", 0]["parts"]) == {"frechet"}
    tidy(tmp_path / "cpu.jsonl")
    assert len((tmp_path / "cpu.jsonl").read_text().splitlines()) == 1


def test_processes_that_write_at_once_lose_nothing(cell_of, tmp_path):
    program = (
        "import json, sys; from pathlib import Path; from vimae_paper.results import append, tidy\n"
        "path, name, content = Path(sys.argv[1]), sys.argv[2], json.loads(sys.argv[3])\n"
        "for seed in range(30): append(path, content | {'model': name, 'seed': seed}); tidy(path)"
    )
    content = json.dumps(cell_of("mnist", "ae", 0, {"clean": 1.0, "long": "x" * 9000}))
    arguments = [sys.executable, "-c", program, str(tmp_path / "r.jsonl")]
    path = os.pathsep.join([str(ROOT), str(ROOT / "examples")])
    both = [
        subprocess.Popen([*arguments, name, content], env=os.environ | {"PYTHONPATH": path})
        for name in ("ae", "vae")
    ]
    assert [process.wait() for process in both] == [0, 0]
    results = Results(tmp_path / "r.jsonl")
    assert (len(results.cells), results.damaged) == (60, [])


# Going on


def test_only_what_is_missing_is_run(tmp_path, capsys):
    run, jobs = wine(tmp_path)
    command.execute(run, jobs, 1)
    assert "2 cells, 0 of them done before" in capsys.readouterr().out
    before = run.results.read_bytes()
    command.execute(run, jobs, 1)
    assert "2 cells, 2 of them done before" in capsys.readouterr().out
    assert run.results.read_bytes() == before
    # Other settings of the training make another model; the other cell stays.
    other, results = run._replace(epochs=2), Results(run.results)
    assert [job.cell.model for job in jobs if missing(other, results, job)] == ["vimae-n"]


@pytest.mark.slow
def test_a_killed_run_goes_on_where_it_stopped(tmp_path):
    line = [sys.executable, str(ROOT / "examples" / "reproduce_paper.py"), "--table", "tabular"]
    line += ["--preset", "tiny", "--models", "pca", "vimae-n", "--jobs", "1"]
    line += ["--out", str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(line, stdout=subprocess.PIPE, text=True, env=environment) as process:
        for number, _ in enumerate(process.stdout):
            if number == 3:
                process.send_signal(signal.SIGKILL)
                break
        process.wait()
    assert process.returncode == -signal.SIGKILL
    before = Results(tmp_path / "tiny.jsonl").cells
    assert len(before) >= 3
    done = subprocess.run(line, capture_output=True, text=True, env=environment, check=True)
    assert f"6 cells, {len(before)} of them done before" in done.stdout
    after = Results(tmp_path / "tiny.jsonl").cells
    assert len(after) == 6
    assert {cell: after[cell] for cell in before} == before
    assert "| VIMAE-n | not run" not in (tmp_path / "tiny" / "table-tabular.md").read_text()


def test_a_model_that_cannot_be_read_is_fitted_again_for_a_figure(tmp_path):
    run = Run("tiny", tmp_path / "tiny.jsonl", tmp_path / "cache", epochs=1)
    job = Job(Cell("mnist", "vimae-n", 0), frozenset({"reconstruction"}), keep=True)
    work(run, job)
    before = Results(run.results).cells
    assert missing(run, Results(run.results), job) is None
    path = model_path(run, job.cell)
    path.write_bytes(path.read_bytes()[:100])
    rest = missing(run, Results(run.results), job)
    assert (rest.parts, rest.keep) == (frozenset(), True)
    work(run, rest)
    assert load_model(run, job.cell) is not None
    # It did not measure what stands there: seconds and machine stay those of the first one.
    assert Results(run.results).cells == before


# Trouble


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "nothing to do"),
        (["--table", "6"], "invalid choice"),
        (["--all", "--seeds", "0"], "has to be 1 or more"),
        (["--all", "--models", "vea"], "invalid choice: 'vea'"),
        (["--all", "--data-home", "nowhere/at/all"], "has to be a folder"),
    ],
)
def test_arguments_that_mean_nothing_are_refused(capsys, arguments, said):
    with pytest.raises(SystemExit):
        command.parse(arguments)
    assert said in capsys.readouterr().err


def test_a_folder_that_cannot_be_written_is_found_before_anything_is_fitted(
    tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr(command, "execute", None)
    (tmp_path / "file").write_text("")
    assert tables(tmp_path / "file") == 1
    said = capsys.readouterr().err
    assert said.startswith("stopped: ")
    assert "The same command goes on" in said


def test_a_disk_that_is_full_stops_the_run_and_the_next_one_goes_on(tmp_path, capsys, monkeypatch):
    left = iter([True, False])

    def full(path, content):
        if not next(left):
            raise OSError(28, "No space left on device")
        append(path, content)

    with monkeypatch.context() as patch:
        patch.setattr(cells, "append", full)
        assert tables(tmp_path) == 1
    assert "No space left" in capsys.readouterr().err
    assert tables(tmp_path) == 0
    assert "3 cells, 1 of them done before" in capsys.readouterr().out


def test_an_error_in_one_cell_stops_no_other(tmp_path, capsys, monkeypatch):
    def measure(model, task, run, cell):
        if cell.data_set == "diabetes":
            raise ValueError("no such thing")
        return robustness(model, task, run, cell)

    robustness = measures.PARTS["robustness"]
    monkeypatch.setitem(measures.PARTS, "robustness", measure)
    assert tables(tmp_path) == 1
    assert "failed: diabetes pca seed 0: ValueError: no such thing" in capsys.readouterr().out
    there = {cell.data_set for cell in Results(tmp_path / "tiny.jsonl").cells}
    assert there == {"wine", "breast-cancer"}
    assert "| PCA | not run" in (tmp_path / "tiny" / "table-tabular.md").read_text()


def test_a_data_set_that_cannot_be_had_is_left_out(tmp_path, capsys, monkeypatch):
    def absent(run, data_set, seed):
        if data_set == "wine":
            raise command.DatasetError("no wine left")

    monkeypatch.setattr(command, "load", absent)
    assert tables(tmp_path) == 1
    said = capsys.readouterr().out
    assert "wine is left out: no wine left" in said
    assert said.count("failed: ") == 1


def test_a_training_that_diverges_is_noted_and_not_tried_again(tmp_path, monkeypatch):
    run, jobs = wine(tmp_path, models=["vimae-n"])
    # The first step leads out of what float32 holds.
    build = cells.build
    monkeypatch.setattr(cells, "build", lambda *given: build(*given).set_params(lr=1e30))
    command.execute(run, jobs, 1)
    results = Results(run.results)
    assert results.failed("wine", "vimae-n") == [0]
    assert missing(run, results, jobs[0]) is None


def test_a_stop_by_hand_is_no_error(tmp_path, capsys, monkeypatch):
    def stopped(run, jobs, n_processes):
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "execute", stopped)
    assert tables(tmp_path) == 130
    assert "goes on from here" in capsys.readouterr().err
    assert not list(tmp_path.rglob("table*"))
