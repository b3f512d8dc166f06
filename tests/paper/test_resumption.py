"""Files of results, and runs that were stopped."""

import copy
import json
import os
import signal
import subprocess
import sys

import pytest
from sklearn.decomposition import PCA

from skvim import AETransformer, VIMAETransformer
from skvim.noise import GaussianNoise, MaskingNoise
from skvim.objectives import GaussianPosterior

# Keys and files


def test_equal_settings_have_one_key_and_others_another(paper):
    key = lambda model: paper.keys.fingerprint(paper.keys.describe(model))
    first = VIMAETransformer(8, posterior=GaussianPosterior(0.3), noise=GaussianNoise(0.2))
    again = VIMAETransformer(8, posterior=GaussianPosterior(0.3), noise=GaussianNoise(0.2))
    assert key(first) == key(again)
    others = [
        VIMAETransformer(8, posterior=GaussianPosterior(0.4), noise=GaussianNoise(0.2)),
        VIMAETransformer(8, posterior=GaussianPosterior(0.3), noise=GaussianNoise(0.1)),
        VIMAETransformer(8, posterior=GaussianPosterior(0.3), noise=MaskingNoise(0.2)),
        VIMAETransformer(9, posterior=GaussianPosterior(0.3), noise=GaussianNoise(0.2)),
    ]
    assert len({key(first), *map(key, others)}) == 5


def test_a_default_that_changes_gives_another_key_to_what_leaves_it_alone(
    paper, tmp_path, monkeypatch
):
    def keys():
        described = map(paper.keys.describe, (AETransformer(8), AETransformer(8, lr=3e-3), PCA(8)))
        return [paper.keys.fingerprint(found) for found in described]

    def part_keys():
        run, cell = paper.work.Run("cpu", tmp_path, tmp_path), paper.store.Cell("mnist", "ours", 0)
        return {part: paper.work.part_key(run, cell, part) for part in paper.measures.PARTS}

    before, parts = keys(), part_keys()
    older = copy.deepcopy(paper.keys.recorded())
    older["AETransformer"]["lr"] = 3e-3  # as if today's were new
    older["TransductiveSVC"]["C"] = 10.0
    older["PCA"] = {"copy": False}  # not ours to record
    del older["AETransformer"]["tol"]  # as if it had not been there
    monkeypatch.setattr(paper.keys, "recorded", lambda: older)
    left, given, other = keys()
    assert left != before[0]
    assert given != before[1]
    assert other == before[2]
    assert paper.keys.describe(AETransformer(8))["lr"] == 1e-3
    assert "lr" not in paper.keys.describe(AETransformer(8, lr=3e-3))
    changed = {part for part, key in part_keys().items() if key != parts[part]}
    assert changed == {"robustness"}


def test_all_defaults_that_results_rest_on_are_on_record(paper):
    assert set(paper.measures.MADE_BY) == set(paper.measures.PARTS)
    nested = {"GaussianPosterior", "Logistic", "Convolutional", "AugmentationNoise"}
    assert {"VIMAETransformer", "TransductiveSVC", *nested} < set(paper.defaults.makers())
    lacking = "examples/paper/defaults.json lacks some: run examples/paper/defaults.py"
    assert paper.defaults.complete() == paper.keys.recorded(), lacking


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(
    paper, tmp_path, monkeypatch, cell_of
):
    store = paper.store.Store(tmp_path, tmp_path)
    cell = paper.store.Cell("mnist", "vae", 0)
    old = cell_of("mnist", "vae", 0, {"clean": 1.0})
    store.write(cell, old)

    def full(descriptor):
        raise OSError("no space left")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="no space"):
        store.write(cell, {"new": 2})
    assert store.read(cell) == old
    assert [path.name for path in store.path(cell).parent.iterdir()] == ["vae-0.json"]


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[:50],
        lambda text: "",
        lambda text: "[1, 2]",
        lambda text: "\0" * 20,
        lambda text: text.replace('"fit"', '"tif"'),
        lambda text: text.replace('"seconds"', '"minutes"'),
        lambda text: text.replace('"values"', '"figures"'),
        lambda text: text.replace('"vae"', '"ae"'),  # another cell's file under this name
        lambda text: text.replace('"seed": 0', '"seed": 1'),
    ],
)
def test_a_file_that_is_no_such_cell_counts_as_missing(paper, tmp_path, cell_of, damage):
    store = paper.store.Store(tmp_path, tmp_path)
    cell = paper.store.Cell("mnist", "vae", 0)
    store.write(cell, cell_of("mnist", "vae", 0, {"clean": 1.0}))
    assert (len(store.cells()), store.damaged()) == (1, [])
    path = store.path(cell)
    path.write_text(damage(path.read_text()))
    assert store.read(cell) is None
    assert (store.cells(), store.damaged()) == ([], [path])
    assert not paper.results.Results(tmp_path)


# Going on


def wine(paper, folder, **options):
    run = paper.work.Run("tiny", folder, folder / "cache", **options)
    jobs = paper.plan.jobs_of(["tabular"], [], "tiny", models=["pca", "vimae-n"])
    return run, [job for job in jobs if job.cell.data_set == "wine"]


def test_only_what_is_missing_is_run(paper, tmp_path, capsys):
    run, jobs = wine(paper, tmp_path)
    paper.run.execute(run, jobs, 1)
    assert "2 cells, 0 of them done before" in capsys.readouterr().out
    assert [paper.work.missing(run, job) for job in jobs] == [None, None]
    vimae = next(job for job in jobs if job.cell.model == "vimae-n")
    fitted = run.store.read(vimae.cell)
    # Other settings of the training make another model; the other cell stays.
    left = [paper.work.missing(run._replace(epochs=2), job) for job in jobs]
    assert [job.cell.model for job in left if job] == ["vimae-n"]
    # A part that was measured otherwise is measured again, of the model that is kept.
    content = json.loads(json.dumps(fitted))
    content["parts"]["robustness"]["key"] = "stale"
    run.store.write(vimae.cell, content)
    assert paper.work.missing(run, vimae) == vimae
    paper.run.execute(run, jobs, 1)
    again = run.store.read(vimae.cell)
    assert again["fit"] == fitted["fit"]
    assert again["parts"]["robustness"]["values"] == fitted["parts"]["robustness"]["values"]


def test_a_figure_of_committed_results_fits_the_model_again(paper, tmp_path):
    run, jobs = wine(paper, tmp_path)
    job = next(job for job in jobs if job.cell.model == "vimae-n")
    paper.work.work(run, job)
    values = run.store.read(job.cell)["parts"]
    for path in (run.cache / "wine").iterdir():
        path.unlink()
    assert paper.work.missing(run, job) is None
    rest = paper.work.missing(run, job._replace(keep=True))
    assert (rest.parts, rest.keep) == ((), True)
    paper.work.work(run, rest)
    assert paper.work.missing(run, job._replace(keep=True)) is None
    assert run.store.read(job.cell)["parts"] == values


def test_a_training_that_diverges_is_reported_and_stops_nothing(paper, tmp_path, monkeypatch):
    run, jobs = wine(paper, tmp_path)
    # The first step leads out of what float32 holds.
    monkeypatch.setattr(
        paper.work,
        "build",
        lambda *arguments, build=paper.work.build: (
            build(*arguments).set_params(lr=1e30) if "vimae-n" in arguments else build(*arguments)
        ),
    )
    paper.run.execute(run, jobs, 1)
    results = paper.results.Results(tmp_path)
    assert results.failed("wine", "vimae-n") == [0]
    assert results.part("wine", "pca", "robustness")
    assert [paper.work.missing(run, job) for job in jobs] == [None, None]
    table = paper.render.tables_of(results, "tabular")[0]
    assert "Training diverged: Wine, VIMAE-n, seed 0." in table.notes


@pytest.mark.slow
def test_a_killed_run_goes_on_where_it_stopped(paper, tmp_path):
    command = [sys.executable, str(paper.folder / "run.py"), "--table", "tabular"]
    command += ["--preset", "tiny", "--models", "pca", "vimae-n"]
    command += ["--jobs", "1", "--out", str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": str(paper.folder.parents[1])}
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, text=True, env=environment) as process:
        for line in process.stdout:
            if line.startswith("[3/"):
                process.send_signal(signal.SIGKILL)
                break
        process.wait()
    assert process.returncode == -signal.SIGKILL
    before = {path: path.stat().st_mtime_ns for path in tmp_path.glob("cells/*/*.json")}
    assert len(before) >= 3
    complete = [path for path in before if json.loads(path.read_text())["parts"]]
    assert len(complete) >= 3
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    assert f"6 cells, {len(complete)} of them done before" in done.stdout
    assert all(path.stat().st_mtime_ns == before[path] for path in complete)
    assert len(list(tmp_path.glob("cells/*/*.json"))) == 6
    assert "| VIMAE-n | not run" not in (tmp_path / "table-tabular.md").read_text()


def test_the_time_left_follows_from_the_effort_of_the_jobs(paper, monkeypatch):
    run = paper.run
    monkeypatch.setattr(run, "_EFFORT", {"wine": 1, "mnist": 9})
    clock = iter([0.0, 2.0, 20.0])
    monkeypatch.setattr(run.time, "perf_counter", lambda: next(clock))
    wine, mnist = (
        paper.work.Job(paper.store.Cell(name, "vae", 0), ("robustness",))
        for name in ("wine", "mnist")
    )
    ended = iter([run.Done(wine, 2.0), run.Done(mnist, 18.0, "ValueError: x")])
    lines = [line for _, line in run.progress(ended, [wine, mnist, mnist, wine])]
    assert lines == [
        "[1/4] #................... wine vae seed 0: 2.0 s, about 38 s left",
        "[2/4] ##########.......... mnist vae seed 0: failed, ValueError: x, about 20 s left",
    ]


def test_tables_share_the_models_of_a_data_set(paper):
    plan = paper.plan
    jobs = plan.jobs_of(plan.TABLES, plan.FIGURES, "tiny")
    cells = [job.cell for job in jobs]
    assert len(set(cells)) == len(cells)
    vimae = next(job for job in jobs if job.cell[:2] == ("mnist", "vimae-l"))
    parts = {"blur", "information", "likelihood", "reconstruction", "robustness"}
    assert set(vimae.parts) == parts
    assert vimae.keep
    raw = next(job for job in jobs if job.cell[:2] == ("mnist", "raw"))
    assert raw.parts == ("robustness",)


def test_variants_of_our_recipe_are_run_for_their_own_table_alone(paper):
    plan, variants = paper.plan, paper.settings.VARIANTS
    assert paper.run.options_of(["--all"]).table == list(plan.TABLES)
    assert "ablation" in plan.TABLES
    others = [table for table in plan.TABLES if table != "ablation"]
    before = {job.cell: job for job in plan.jobs_of(others, plan.FIGURES, "cpu")}
    assert not [cell for cell in before if cell.model in variants]
    after = {job.cell: job for job in plan.jobs_of(plan.TABLES, plan.FIGURES, "cpu")}
    # Our recipe stands in other tables too, and is not trained once more.
    assert all(after[cell] == job for cell, job in before.items())
    added = [job for cell, job in after.items() if cell not in before]
    assert {job.cell.model for job in added} == set(variants)
    assert {(job.parts, job.keep) for job in added} == {(("robustness",), False)}
