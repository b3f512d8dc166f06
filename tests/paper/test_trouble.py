"""What goes wrong while the scripts run, and what is said then."""

import json

import pytest

# Arguments


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "nothing to do"),
        (["--table", "6"], "invalid choice"),
        (["--all", "--seeds", "0"], "has to be 1 or more"),
        (["--all", "--epochs", "-1"], "has to be 1 or more"),
        (["--all", "--jobs", "0"], "has to be 1 or more"),
        (["--all", "--models", "vea"], "invalid choice: 'vea'"),
        (["--all", "--data-home", "nowhere/at/all"], "has to be a folder"),
    ],
)
def test_arguments_that_mean_nothing_are_refused(paper, capsys, arguments, said):
    with pytest.raises(SystemExit) as stopped:
        paper.run.options_of(arguments)
    assert stopped.value.code == 2
    assert said in capsys.readouterr().err


# Folders and files


def wine(paper, folder, *more):
    table = ["--table", "tabular", "--preset", "tiny", "--models", "pca", "--jobs", "1"]
    return paper.run.main([*table, "--out", str(folder), *more])


def test_a_folder_that_cannot_be_written_is_found_before_anything_is_fitted(
    paper, tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr(paper.run, "execute", None)
    (tmp_path / "file").write_text("")
    assert wine(paper, tmp_path / "file") == 1
    said = capsys.readouterr().err
    assert said.startswith("stopped: ")
    assert "The same command goes on" in said
    assert "Traceback" not in said


def test_a_disk_that_is_full_stops_the_run_and_the_next_one_goes_on(
    paper, tmp_path, capsys, monkeypatch
):
    write, left = paper.store.Store.write, iter([True, False])

    def full(self, cell, content):
        if not next(left, False):
            raise OSError(28, "No space left on device")
        write(self, cell, content)

    with monkeypatch.context() as patch:
        patch.setattr(paper.store.Store, "write", full)
        assert wine(paper, tmp_path) == 1
    assert "No space left" in capsys.readouterr().err
    assert wine(paper, tmp_path) == 0
    assert "3 cells, 1 of them done before" in capsys.readouterr().out


def test_damaged_files_are_named_and_run_again(paper, tmp_path, capsys):
    assert wine(paper, tmp_path) == 0
    path = tmp_path / "cells" / "wine" / "pca-0.json"
    whole = json.loads(path.read_text())["parts"]["robustness"]["values"]
    path.write_text(path.read_text()[:99])
    capsys.readouterr()
    assert wine(paper, tmp_path) == 0
    said = capsys.readouterr().out
    assert "pca-0.json is no cell of results" in said
    assert "3 cells, 2 of them done before" in said
    assert json.loads(path.read_text())["parts"]["robustness"]["values"] == whole


def test_an_error_in_one_cell_stops_no_other(paper, tmp_path, capsys, monkeypatch):
    def measure(model, task, context):
        if context.data_set == "diabetes":
            raise ValueError("no such thing")
        return robustness(model, task, context)

    robustness = paper.measures.PARTS["robustness"]
    monkeypatch.setitem(paper.measures.PARTS, "robustness", measure)
    assert wine(paper, tmp_path) == 1
    said = capsys.readouterr().out
    assert "failed: diabetes pca seed 0: ValueError: no such thing" in said
    results = paper.results.Results(tmp_path)
    assert results.part("wine", "pca", "robustness")
    assert not results.part("diabetes", "pca", "robustness")
    assert "| PCA | not run" in (tmp_path / "table-tabular.md").read_text()


def test_a_data_set_that_cannot_be_had_is_left_out(paper, tmp_path, capsys, monkeypatch):
    def absent(data_set, preset, data_home):
        if data_set == "wine":
            raise paper.run.DatasetError("no wine left")

    monkeypatch.setattr(paper.run, "obtain", absent)
    assert wine(paper, tmp_path) == 1
    said = capsys.readouterr().out
    assert "wine is left out: no wine left" in said
    assert said.count("failed: ") == 1
    there = {data_set for data_set, _ in paper.results.Results(tmp_path).cells}
    assert there == {"breast-cancer", "diabetes"}


def test_a_figure_whose_rows_are_gone_stops_no_other(paper, tmp_path, capsys, monkeypatch):
    run, job = job_of(paper, tmp_path, keep=True)
    run = run._replace(epochs=None)
    paper.work.work(run, job)

    def gone(request):
        raise paper.run.DatasetError("no such file\nput it there")

    monkeypatch.setattr(paper.figures, "load", gone)
    assert paper.figures.draw(run, ["2", "plane"]) == []
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith("figure 2: not run for VAE, ")
    assert said[1:] == ["figure 2: no such file", "figure plane: not run"]


# Two runs, and models that are lost


def job_of(paper, folder, *parts, keep=False):
    run = paper.work.Run("tiny", folder, folder / "cache", epochs=1)
    return run, paper.work.Job(paper.store.Cell("mnist", "vimae-n", 0), parts, keep)


def test_two_runs_of_one_cell_keep_what_each_has_measured(paper, tmp_path, monkeypatch):
    run, first = job_of(paper, tmp_path, "reconstruction")
    reconstruction = paper.measures.PARTS["reconstruction"]

    def interrupted(model, task, context):
        monkeypatch.setitem(paper.measures.PARTS, "reconstruction", reconstruction)
        paper.work.work(run, first._replace(parts=("information",)))  # the other run
        return reconstruction(model, task, context)

    monkeypatch.setitem(paper.measures.PARTS, "reconstruction", interrupted)
    paper.work.work(run, first)
    assert set(run.store.read(first.cell)["parts"]) == {"information", "reconstruction"}


def test_a_model_that_cannot_be_read_is_fitted_again_for_a_figure(paper, tmp_path):
    run, job = job_of(paper, tmp_path, "reconstruction", keep=True)
    paper.work.work(run, job)
    fitted = run.store.read(job.cell)
    assert paper.work.missing(run, job) is None
    (path,) = (tmp_path / "cache" / "mnist").glob("*.skvim")
    path.write_bytes(path.read_bytes()[:100])
    rest = paper.work.missing(run, job)
    assert (rest.parts, rest.keep) == ((), True)
    paper.work.work(run, rest)
    assert paper.work.missing(run, job) is None
    # It did not measure what stands there: seconds and machine stay those of the first one.
    assert run.store.read(job.cell) == fitted


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_all_seeds_are_measured_by_features_of_the_first(paper, tmp_path):
    request = paper.data.Request("cifar10", "tiny", 1)
    second, first = (paper.data.load(request._replace(seed=seed)) for seed in (1, 0))
    assert not (second.X == first.X).all()

    def features(folder, seed, task):
        context = paper.measures.Context("cifar10", "tiny", seed, folder, lambda: first)
        return paper.measures._features(task, context)[1].coefs_[0]

    expected = features(tmp_path / "b", 0, first)
    assert (features(tmp_path / "a", 1, second) == expected).all()
    (path,) = (tmp_path / "a" / "cifar10").iterdir()
    path.write_bytes(path.read_bytes()[:50])
    assert (features(tmp_path / "a", 1, second) == expected).all()


def test_a_stop_by_hand_is_no_error(paper, tmp_path, capsys, monkeypatch):
    def stopped(run, jobs, n_jobs):
        raise KeyboardInterrupt

    monkeypatch.setattr(paper.run, "execute", stopped)
    assert wine(paper, tmp_path) == 130
    assert "goes on from here" in capsys.readouterr().err
    assert not list(tmp_path.glob("table*"))
