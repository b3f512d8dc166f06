"""The parts of the examples that their tables, sentences and pictures come from."""

import importlib.util
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

FOLDER = Path(__file__).parents[1] / "examples"


def load(name: str):
    """Return an example as a module."""
    spec = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def demo():
    return load("robustness_digits")


def table(**noisy: float) -> pd.DataFrame:
    names = {"raw": "raw pixels", "vae": "VAE", "n": "VIMAE-n", "l": "VIMAE-l"}
    rows = {names.get(key, key): [90.0, value, value] for key, value in noisy.items()}
    return pd.DataFrame.from_dict(rows, orient="index", columns=["clean", "gaussian 0.2", "m"])


def test_conclusion_follows_the_table(demo):
    sentence = demo.conclude(table(raw=60, PCA=50, AE=65, vae=40, n=70, l=75), set())
    assert "VIMAE-l is the most robust autoencoder (75.0 %) and VAE the least (40.0 %)" in sentence
    assert "VIMAE-l is 35.0 points above the VAE, the better prior being logistic" in sentence
    assert "15.0 points above raw pixels" in sentence
    sentence = demo.conclude(table(raw=60, PCA=80, AE=65, vae=75, n=70, l=55), {"VAE"})
    assert "VAE is the most robust autoencoder (75.0 %) and VIMAE-l the least" in sentence
    assert "VIMAE-n is 5.0 points below the VAE, the better prior being normal" in sentence
    assert "5.0 points below PCA" in sentence
    assert sentence.endswith("VAE collapsed.")


def test_task_hides_all_but_a_hundred_stratified_labels(demo):
    task = demo.Task(seed=1)
    assert task.X.shape == (1437, 64)
    assert task.X_test.shape == (360, 64)
    assert (task.X.min(), task.X.max()) == (0, 1)
    shown = task.y[task.y != -1]
    assert len(shown) == 100
    np.testing.assert_array_equal(shown, task.y_all[np.sort(task.labeled)])
    assert set(np.bincount(shown)) <= {9, 10, 11}


def test_table_averages_repeats_before_seeds(demo):
    curve = pd.DataFrame(
        {
            "corruption": ["none", "gaussian", "gaussian"],
            "level": [0.0, 0.2, 0.2],
            "repeat": [0, 0, 1],
            "score": [0.9, 0.5, 0.7],
        }
    )
    results = [
        {"name": "VAE", "curve": curve.assign(seed=seed, score=curve.score + 0.1 * seed)}
        for seed in (0, 1)
    ]
    mean, std = demo.tabulate(results)
    assert list(mean.columns) == ["clean", "gaussian 0.2"]
    assert mean.loc["VAE"].tolist() == pytest.approx([95.0, 65.0])
    assert std.loc["VAE"].tolist() == pytest.approx([np.std([90, 100], ddof=1)] * 2)


@pytest.mark.filterwarnings("ignore::skvim.exceptions.SkvimWarning")
def test_path_has_every_family_value_and_seed_and_is_drawn_with_bands():
    example = load("lam_path")
    table = example.run(n_seeds=2, epochs=1)
    assert len(table) == 2 * sum(len(values) for _, _, values in example.families(1).values())
    assert not table.isna().any().any()
    figure = example.draw(table)
    curves = [[line for line in axis.lines if line.get_marker() == "o"] for axis in figure.axes]
    assert [len(lines) for lines in curves] == [2, 1, 2, 1, 2, 1]
    *above, vim, beta = figure.axes  # information is in the last row, under its estimator's bound
    assert [len(axis.lines) for axis in above] == [2, 1, 2, 1]
    for axis in (vim, beta):
        (bound,) = [line for line in axis.lines if line.get_marker() != "o"]
        np.testing.assert_allclose(bound.get_ydata(), np.log(example.N_PAIRED))
    assert [len(axis.collections) for axis in figure.axes] == [2, 1, 2, 1, 2, 1]


@pytest.mark.filterwarnings("ignore::skvim.exceptions.SkvimWarning")
def test_search_scores_every_lam_and_prior_and_is_drawn():
    example = load("search_lam")
    data = example.digits()
    assert (data.y != -1).sum() == 100
    kept = np.argsort(data.y == -1, kind="stable")[:400]  # all labelled rows, and some others
    data = data._replace(X=data.X[kept], y=data.y[kept])
    table = example.tabulate(example.search(data, 1, (1.0, 10.0)), data)
    assert len(table) == 4
    assert table[["held out", "test"]].stack().between(10, 100).all()
    axis = example.draw(table).axes[0]
    assert len(axis.containers) == 2
