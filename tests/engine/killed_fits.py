"""Kills fits at random moments, resumes them and compares them with uninterrupted ones.

Run as ``python killed_fits.py FOLDER N_KILLS SEED``; prints the names of fits that differ as JSON.
"""

import json
import os
import signal
import sys
import time
import traceback
import warnings
from pathlib import Path

import numpy as np

import skvim
from skvim import Checkpoints, VAETransformer, VIMAETransformer
from skvim.exceptions import CheckpointWarning
from skvim.model_selection import BatchedSearchCV, lam_path
from skvim.objectives import Adversarial

source = np.random.default_rng(0)
X = (source.normal(size=(120, 2)) @ source.normal(size=(2, 6))).astype(np.float32)
SMALL = {"hidden_layer_sizes": (16,), "random_state": 0, "batch_size": 25, "max_epochs": 30}
# Two batches an epoch, so that steps are captured from 1,000 epochs on.
LONG = {**SMALL, "batch_size": 60, "hidden_layer_sizes": (8,)}
MODELS = [cls for cls in map(skvim.__dict__.get, skvim.__all__) if hasattr(cls, "reconstruct")]


def fits():
    """Return functions from a value of ``checkpoint`` to numbers that a fit ends with."""

    def fit(cls, checkpoint, **parameters):
        model = cls(2, checkpoint=checkpoint, **{**SMALL, **parameters}).fit(X)
        return [model.transform(X), model.inverse_transform(model.transform(X)), model.loss_curve_]

    def path(checkpoint, **parameters):
        model = VIMAETransformer(2, checkpoint=checkpoint, **{**SMALL, **parameters})
        models = lam_path(model, X, [0.1, 1.0, 10.0])
        return [np.stack([model.transform(X) for model in models])]

    def search(checkpoint):
        model = VIMAETransformer(2, checkpoint=checkpoint, **{**SMALL, "max_epochs": 20})
        found = BatchedSearchCV(model, {"lam": [0.1, 1.0, 10.0]}, cv=3).fit(X)
        return [found.cv_results_["mean_test_score"], found.transform(X)]

    kinds = {cls.__name__: lambda at, cls=cls: fit(cls, at) for cls in MODELS}
    stopping = {"early_stopping": True, "n_iter_no_change": 5, "n_steps_no_change": 0, "lr": 0.02}
    return kinds | {
        "adversarial": lambda at: fit(VIMAETransformer, at, divergence=Adversarial((8,))),
        "captured": lambda at: fit(VAETransformer, at, acceleration="capture", dropout=0.2),
        "below": lambda at: fit(VAETransformer, at, **{**LONG, "max_epochs": 999}),
        "above": lambda at: fit(VAETransformer, at, **{**LONG, "max_epochs": 1000}),
        "stopping": lambda at: fit(VAETransformer, at, **stopping),
        "path": path,
        "stopping path": lambda at: path(at, **stopping),
        "search": search,
    }


def child(make, checkpoint, out: Path) -> int:
    """Start a process that saves what a fit ends with."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            numbers = make(checkpoint)
            with open(out, "wb") as file:
                np.savez(file, *numbers)
            status = 0
        except Exception:
            traceback.print_exc()
        finally:
            os._exit(status)
    return pid


def finish(pid: int) -> None:
    """Wait for a process that must succeed."""
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def main(folder: Path, n_kills: int, seed: int) -> None:
    """Kill and resume."""
    warnings.simplefilter("ignore")
    warnings.simplefilter("error", CheckpointWarning)
    source = np.random.default_rng(seed)
    every = Checkpoints(folder / "checkpoints", seconds=0.03)
    kinds, wrong, killed = fits(), [], 0
    # In another order with each seed, so that a few kills reach all of them in the long run.
    names = source.permutation(list(kinds)).tolist()
    plain, seconds = {}, {}
    while killed < n_kills:
        name = names[killed % len(names)]
        out = folder / "out"
        if name not in plain:
            start = time.monotonic()
            finish(child(kinds[name], None, out))
            plain[name], seconds[name] = out.read_bytes(), time.monotonic() - start
        pid = child(kinds[name], every, out)
        time.sleep(source.uniform(0, 1.5 * seconds[name]))
        os.kill(pid, signal.SIGKILL)
        killed += os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL
        finish(child(kinds[name], every, out))
        wrong += [name] if out.read_bytes() != plain[name] else []
        wrong += [f"{name}: left over" for _ in every.folder.glob("*.checkpoint")]
    print(json.dumps({"wrong": wrong, "killed": killed}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
