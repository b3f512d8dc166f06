"""Jobs of other packages, in an environment of their own; used by ``elsewhere.py``.

Reads the path of a pickled job per line, replaces the file by the result, and writes a line.
"""

import importlib.metadata
import json
import pickle
import sys
import warnings
from pathlib import Path

import numpy as np
import pandas as pd

PACKAGES = ("skrub", "miceforest", "hyperimpute", "ctgan", "mostlyai-engine", "sdmetrics")
MISSING = "(missing)"


def frame_of(sent):
    """Return lists as a frame: numbers as floats, whole ones as integers, categories as objects."""
    columns = {}
    for name, cells in sent["columns"].items():
        if sent["kinds"][name] == "category":
            columns[name] = pd.Series(cells, dtype=object)
            continue
        columns[name] = pd.Series(cells, dtype=float)
        if sent["kinds"][name] == "integer":
            columns[name] = columns[name].astype("int64")
    return pd.DataFrame(columns)


def lists_of(frame):
    """Return a frame's columns as lists, with None for missing cells."""
    cells = {
        str(name): [None if pd.isna(c) else c for c in frame[name].astype(object).tolist()]
        for name in frame
    }
    return {"columns": cells}


def versions():
    """Return the versions of the packages."""
    return {name: importlib.metadata.version(name) for name in PACKAGES}


def skrub(train, others, n_components, seed):
    """Return principal components of skrub's features, for training rows and other frames."""
    from sklearn.decomposition import PCA
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from skrub import TableVectorizer

    frames = [_with_times(sent) for sent in (train, *others)]
    inputs = make_pipeline(
        TableVectorizer(), SimpleImputer(keep_empty_features=True), StandardScaler()
    )
    width = inputs.fit_transform(frames[0]).shape[1]
    model = make_pipeline(*(step for _, step in inputs.steps), PCA(min(n_components, width)))
    model.set_params(pca__random_state=seed).fit(frames[0])
    return [model.transform(frame) for frame in frames]


def _with_times(sent):
    """Return a frame with days since 1970 as times, and all numbers as floats."""
    frame = frame_of(sent)
    for name, kind in sent["kinds"].items():
        if kind == "time":
            frame[name] = pd.to_datetime(frame[name] * 86400e9)
        elif kind != "category":
            frame[name] = frame[name].astype(float)
    return frame


def miceforest(train, seed, candidates):
    """Return the rows with missing cells filled by chained boosted trees, one data set.

    Its default way to match means fails where a probability is 0 or 1; another is taken then.
    """
    try:
        return _miceforest(train, seed, candidates, "normal")
    except ValueError:
        return _miceforest(train, seed, candidates, "fast")


def _miceforest(train, seed, candidates, matching):
    """Return the rows with missing cells filled, with a way to match means."""
    from miceforest import ImputationKernel

    frame = frame_of(train)
    names = dict(enumerate(frame))
    frame.columns = [f"c{i}" for i in names]
    for i, name in names.items():
        if train["kinds"][name] == "category":
            frame[f"c{i}"] = frame[f"c{i}"].astype("category")
    kernel = ImputationKernel(
        frame,
        random_state=seed,
        mean_match_candidates=candidates,
        mean_match_strategy=matching,
    )
    kernel.mice(5, num_threads=1)
    filled = kernel.complete_data(0)
    filled.columns = list(names.values())
    return lists_of(filled)


def miwae(array, seed, options):
    """Return an array with its missing cells filled by hyperimpute's MIWAE."""
    from hyperimpute.plugins.imputers.plugin_miwae import MIWAEPlugin

    frame = pd.DataFrame(array, columns=[f"c{i}" for i in range(array.shape[1])])
    model = MIWAEPlugin(random_state=seed, **options)
    return np.asarray(model.fit_transform(frame), dtype=float)


def tvae(train, n_rows, seed):
    """Return rows drawn from TVAE, which knows no missing cells: they have a value of their own."""
    import torch
    from ctgan import TVAE

    np.random.seed(seed)  # noqa: NPY002 (ctgan draws from the global generator)
    torch.manual_seed(seed)
    frame = frame_of(train)
    discrete, holed = [], []
    for name in list(frame):
        if train["kinds"][name] == "category":
            frame[name] = frame[name].fillna(MISSING).astype(str)
            discrete.append(name)
        elif frame[name].isna().any():
            holed.append(name)
            frame[f"{name} {MISSING}"] = frame[name].isna().astype(str)
            discrete.append(f"{name} {MISSING}")
            frame[name] = frame[name].fillna(frame[name].median())
    model = TVAE(enable_gpu=False)
    model.fit(frame, discrete)
    drawn = model.sample(n_rows)
    for name in holed:
        drawn[name] = drawn[name].where(drawn.pop(f"{name} {MISSING}") != "True")
    return lists_of(drawn.replace(MISSING, None))


def argn(train, n_rows, seed):
    """Return rows drawn from MOSTLY AI's TabularARGN."""
    from mostlyai.engine import TabularARGN

    frame = frame_of(train)
    # Numbers with few values would be read as categories otherwise, and the reverse.
    kinds = {
        name: "TABULAR_CATEGORICAL" if kind == "category" else "TABULAR_NUMERIC_AUTO"
        for name, kind in train["kinds"].items()
    }
    model = TabularARGN(random_state=seed, device="cpu", tgt_encoding_types=kinds)
    model.fit(frame)
    drawn = model.sample(n_samples=n_rows)
    for name, kind in train["kinds"].items():
        if kind == "category":
            drawn[name] = drawn[name].astype(object)
        else:
            drawn[name] = drawn[name].astype(float)
    return lists_of(drawn)


def trends(train, drawn):
    """Return sdmetrics' scores of the shapes of columns and of trends of pairs."""
    from sdmetrics.reports.single_table import QualityReport

    kinds = train["kinds"]
    columns = {
        name: {"sdtype": "categorical" if kind == "category" else "numerical"}
        for name, kind in kinds.items()
    }
    report = QualityReport()
    report.generate(frame_of(train), frame_of(drawn), {"columns": columns}, verbose=False)
    found = report.get_properties().set_index("Property")["Score"]
    return {"shapes": float(found["Column Shapes"]), "pairs": float(found["Column Pair Trends"])}


JOBS = {job.__name__: job for job in (versions, skrub, miceforest, miwae, tvae, argn, trends)}


def main():
    """Do jobs until there are no more lines."""
    answers, sys.stdout = sys.stdout, sys.stderr
    warnings.simplefilter("ignore")
    for line in sys.stdin:
        path = Path(line.strip())
        job = pickle.loads(path.read_bytes())
        try:
            result = {"value": JOBS[job["job"]](**job["inputs"])}
        except Exception as error:
            result = {"error": f"{type(error).__name__}: {error}"[:300]}
        path.write_bytes(pickle.dumps(result))
        print(json.dumps("done"), file=answers, flush=True)


if __name__ == "__main__":
    main()
