import importlib
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import ttest_1samp

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture
def module(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    return lambda name: importlib.import_module(f"mixed_tables.{name}")


@pytest.fixture
def frame():
    random = np.random.default_rng(0)
    columns = {
        "height": random.normal(170, 10, 3000),
        "children": random.poisson(1.5, 3000),
        "colour": random.choice(["red", "green", "blue"], 3000, p=[0.6, 0.3, 0.1]),
        "born": pd.Timestamp(0) + pd.to_timedelta(random.random(3000).round(3), unit="D"),
    }
    made = pd.DataFrame(columns)
    made.loc[::7, "height"] = np.nan
    made.loc[1::9, "colour"] = None
    return made


@pytest.mark.parametrize("mechanism", ["at random", "by other columns", "by own value"])
def test_a_fifth_of_the_cells_is_taken_out_and_no_row_is_left_empty(module, frame, mechanism):
    holed, holes = module("corrupt").punch(frame, mechanism, np.random.default_rng(1))
    observed = frame.notna().to_numpy()
    assert abs(holes.sum() / observed.sum() - 0.2) < 0.03
    assert (holed.notna().to_numpy() == (observed & ~holes)).all()
    assert holed.notna().any(axis=1).all()


def test_new_rows_with_missing_cells_keep_one(module, frame):
    narrow = frame[["height", "children"]].fillna(0.0)
    changed = module("corrupt").disturb(narrow, narrow, "missing", np.random.default_rng(1))
    missing = changed.isna().to_numpy()
    assert 0.1 < missing.mean() < 0.2
    assert not missing.all(axis=1).any()
    kept = changed.notna()
    assert (changed[kept] == narrow[kept]).to_numpy()[kept].all()


def test_holes_by_own_value_take_more_large_numbers(module, frame):
    _, holes = module("corrupt").punch(frame, "by own value", np.random.default_rng(1))
    large = frame["height"] > frame["height"].median()
    assert holes[large, 0].mean() > 2 * holes[frame["height"].notna() & ~large, 0].mean()


def test_encodings_come_back_as_the_same_rows(module, frame):
    encode = module("encode")
    encoding = encode.Encoding(frame)
    complete = frame.dropna().reset_index(drop=True)
    back = encoding.decode(encoding.with_missing(complete))
    for name in frame:
        if name == "colour":
            assert (back[name] == complete[name]).all()
        else:
            floats = module("data").as_floats
            np.testing.assert_allclose(floats(back[name]), floats(complete[name]), atol=1e-6)
    array = encoding.with_missing(complete)
    np.testing.assert_array_equal(encoding.from_codes(encoding.as_codes(array)), array)
    quantiles = encode.Quantiles(frame, np.random.default_rng(0))
    pd.testing.assert_frame_equal(quantiles.decode(quantiles.scores), frame)


def test_rare_values_share_a_column_and_come_back_as_the_most_frequent_of_them(module, frame):
    encoding = module("encode").Encoding(frame[["colour"]], max_values=1)
    back = encoding.decode(encoding.with_missing(frame[["colour"]].dropna()))["colour"]
    assert set(back) == {"red", "green"}


def test_the_interval_of_differences_is_students(module, tmp_path):
    random, cells = np.random.default_rng(0), {}
    for contender in ("raw", "ours"):
        for table in "abcde":
            for split in range(3):
                cell = {"scores": {"accuracy": random.random()}, "seconds": 1.0}
                cells[f"features | {table} | {split} | {contender}"] = cell
    path = tmp_path / "tables.json"
    path.write_text(json.dumps({"cells": cells}))
    summary = module("summary")
    scores = summary.Scores(path, "features")
    means = [scores.by_table(name, "accuracy") for name in ("ours", "raw")]
    found = [means[0][table] - means[1][table] for table in "abcde"]
    interval = ttest_1samp(found, 0).confidence_interval()
    mean, half, better, n = summary.difference(scores, "ours", "accuracy", ["raw"])
    assert n == 5
    assert better == sum(x > 0 for x in found)
    np.testing.assert_allclose((mean - half, mean + half), interval)


def test_finished_cells_stay_in_the_file_and_failed_ones_go_on_request(module, tmp_path):
    results = module("results").Results(tmp_path / "tables.json", {"measured on": {}})
    results.add("odd | a | 0 | LOF", {"scores": {"AUC": 0.5}, "seconds": 1.0})
    results.add("odd | a | 0 | ours", {"error": "ValueError: no"})
    results.forget([], failed=True)
    assert results.has("odd | a | 0 | LOF")
    assert not results.has("odd | a | 0 | ours")
    results.forget(["LOF"])
    assert not results.has("odd | a | 0 | LOF")
