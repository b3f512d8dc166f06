"""Interrupted fits go on from their checkpoints and end like uninterrupted ones."""

import copy
import errno
import functools
import itertools
import json
import os
import pickle
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import pytest
import torch
from family import MODELS, normal_rows
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from skorch.callbacks import Callback, Checkpoint, EarlyStopping
from torch import nn

import skvim
from skvim import AAETransformer, Checkpoints, VAETransformer, VIMAETransformer
from skvim._persistence import _archive
from skvim.engine._checkpoints import CheckpointFile
from skvim.engine.capture._kept import STORE
from skvim.exceptions import BatchingWarning, CheckpointWarning, TrainingDivergedError
from skvim.model_selection import BatchedSearchCV, lam_path
from skvim.noise import MaskingNoise
from skvim.objectives import Adversarial

X = normal_rows(90, 6, 2)
SMALL = {"hidden_layer_sizes": (8,), "max_epochs": 6, "batch_size": 25, "random_state": 0}
N_STEPS = 24  # four batches an epoch


class Interrupted(BaseException):
    """Stands for a signal."""


@contextmanager
def interruption(n_written):
    """Interrupt training when so many checkpoints have been written."""
    write, n_left = CheckpointFile.write, n_written

    def counted(self, state):
        nonlocal n_left
        write(self, state)
        n_left -= 1
        if n_left == 0:
            raise Interrupted

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(CheckpointFile, "write", counted)
        with suppress(Interrupted):
            yield
            pytest.fail("training was not interrupted")


def small(cls, folder, **parameters):
    every_step = None if folder is None else Checkpoints(folder, seconds=0)
    parameters = {**SMALL, "lr_schedule": "cosine", "checkpoint": every_step, **parameters}
    return cls(2, **parameters)


def interrupted(model, n_written):
    with interruption(n_written):
        model.fit(X)
    assert not hasattr(model, "net_")


def checkpoints_in(folder):
    return sorted(path.name for path in Path(folder).glob("*.checkpoint"))


def without_times(history):
    return [{k: v for k, v in epoch.items() if k not in {"dur", "batches"}} for epoch in history]


def assert_same(one, other):
    """Compare all bits of two fits."""
    for name, value in one.net_.autoencoder.state_dict().items():
        assert value.equal(other.net_.autoencoder.state_dict()[name]), name
    np.testing.assert_array_equal(one.transform(X), other.transform(X))
    assert without_times(one.history_) == without_times(other.history_)
    assert one.net_.plain_because_ == other.net_.plain_because_


PROMISE = "A fit that was interrupted goes on from its checkpoint and ends with the same bits."
STOPPING = {"early_stopping": True, "n_steps_no_change": 4}
KINDS = [(cls, {}) for cls in MODELS]
KINDS += [(VIMAETransformer, {"divergence": Adversarial((8,))})]
KINDS += [(cls, {"acceleration": "capture"}) for cls in (VAETransformer, AAETransformer)]
KINDS += [
    (VIMAETransformer, {"dropout": 0.2, "noise": MaskingNoise(0.2), "acceleration": "capture"}),
    (VAETransformer, {**STOPPING, "n_iter_no_change": 1, "lr": 0.05}),
    (VAETransformer, {"normalization": "batch", "optimizer": "sgd"}),
    (VAETransformer, {"net_params": {"optimizer__amsgrad": True}}),
    (VAETransformer, {"image_shape": (2, 3), "precision": "bfloat16"}),
]


@pytest.mark.trust(PROMISE)
@pytest.mark.parametrize("n_steps", [1, 6, N_STEPS])
@pytest.mark.parametrize(("cls", "parameters"), KINDS)
def test_a_fit_goes_on(cls, parameters, n_steps, tmp_path):
    plain = small(cls, None, **parameters).fit(X)
    # Early stopping leaves three batches of training rows an epoch.
    n_steps = min(n_steps, 3 * plain.n_iter_ if plain.early_stopping else N_STEPS)
    interrupted(small(cls, tmp_path, **parameters), n_steps)
    assert len(checkpoints_in(tmp_path)) == 1
    if n_steps == 6:
        STORE.clear()  # as another process, which captures anew
    resumed = small(cls, tmp_path, **parameters).fit(X)
    assert_same(plain, resumed)
    assert checkpoints_in(tmp_path) == []


def test_a_fit_goes_on_from_where_it_was(tmp_path, capsys):
    interrupted(small(VAETransformer, tmp_path), 14)
    small(VAETransformer, tmp_path, verbose=1).fit(X)
    said = capsys.readouterr().out
    assert "goes on after epoch 3" in said
    assert said.count("\n") < 10


@pytest.mark.trust(PROMISE)
@pytest.mark.parametrize("parameters", [{}, {**STOPPING, "n_iter_no_change": 2}])
@pytest.mark.parametrize("n_steps", [2, 13, 17])
def test_a_path_goes_on(n_steps, parameters, tmp_path):
    plain = lam_path(small(VIMAETransformer, None, **parameters), X, [0.1, 1.0, 10.0])
    model = small(VIMAETransformer, tmp_path, **parameters)
    with interruption(n_steps):
        lam_path(model, X, [0.1, 1.0, 10.0])
    assert len(checkpoints_in(tmp_path)) == 1
    for one, other in zip(plain, lam_path(model, X, [0.1, 1.0, 10.0]), strict=True):
        assert_same(one, other)
    assert checkpoints_in(tmp_path) == []


@pytest.mark.gpu
@pytest.mark.parametrize("acceleration", [None, "capture"])
@pytest.mark.parametrize("n_steps", [1, 6, N_STEPS])
def test_a_fit_on_a_gpu_goes_on(acceleration, n_steps, tmp_path):
    options = {"device": "cuda", "acceleration": acceleration, "dropout": 0.2}
    plain = small(VIMAETransformer, None, **options).fit(X)
    interrupted(small(VIMAETransformer, tmp_path, **options), n_steps)
    assert_same(plain, small(VIMAETransformer, tmp_path, **options).fit(X))


@pytest.mark.slow
@pytest.mark.trust(PROMISE)
@pytest.mark.parametrize("seed", [0, 1])
def test_kill_9(seed, tmp_path, amount):
    n_kills = amount("fits killed and resumed", quick=6, full=100)
    script = Path(__file__).parent / "killed_fits.py"
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, script, tmp_path, str(n_kills), str(seed)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"wrong": [], "killed": n_kills}


def test_a_second_fit_trains_anew(tmp_path):
    model = small(VAETransformer, tmp_path).fit(X)
    first = model.net_
    assert_same(model, clone(model).fit(X))
    assert model.fit(X).net_ is not first


def test_no_checkpoint_stays_of_a_batch_that_fails(tmp_path, monkeypatch):
    def fail(self, *rest):
        raise RuntimeError("out of memory")

    monkeypatch.setattr("skvim.engine.batched._group.Group.validate", fail)
    with pytest.warns(BatchingWarning, match="out of memory"):
        lam_path(small(VIMAETransformer, tmp_path), X, [0.1, 1.0])
    assert checkpoints_in(tmp_path) == []


def test_a_seed_that_was_drawn_is_kept(tmp_path):
    interrupted(small(VAETransformer, tmp_path / "a", random_state=None), 10)
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    one, other = (small(VAETransformer, tmp_path / name, random_state=None).fit(X) for name in "ab")
    assert_same(one, other)
    anew = small(VAETransformer, tmp_path, random_state=None).fit(X)
    assert not np.array_equal(anew.transform(X), one.transform(X))


@pytest.mark.parametrize(
    "other", [{"lr": 0.01}, {"random_state": 1}, {"beta": 3.0}, {"noise": "masking"}, {"X": X + 1}]
)
def test_other_fits_do_not_meet(other, tmp_path):
    rows = other.pop("X", X)
    cls = skvim.BetaVAETransformer
    interrupted(small(cls, tmp_path), 10)
    left = checkpoints_in(tmp_path)
    one, plain = (small(cls, at, **other).fit(rows) for at in (tmp_path, None))
    assert_same(one, plain)
    assert checkpoints_in(tmp_path) == left


def test_what_changes_no_result_changes_no_checkpoint(tmp_path, capsys):
    interrupted(small(VAETransformer, tmp_path), 10)
    model = small(VAETransformer, Checkpoints(tmp_path, epochs=2).folder, verbose=1)
    assert_same(model.fit(X), small(VAETransformer, None).fit(X))
    assert "goes on" in capsys.readouterr().out


@pytest.mark.parametrize("random_state", [0, None])
def test_equal_fits_at_the_same_time_do_not_meet(random_state, tmp_path):
    models = [small(VAETransformer, tmp_path, random_state=random_state) for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        codes = [model.transform(X) for model in pool.map(lambda model: model.fit(X), models)]
    plain = small(VAETransformer, None).fit(X).transform(X)
    for i, one in enumerate(codes):
        if random_state == 0:
            np.testing.assert_array_equal(one, plain)
        assert random_state == 0 or not any(np.array_equal(one, other) for other in codes[:i])
    assert checkpoints_in(tmp_path) == []


@pytest.mark.parametrize("search_of", [GridSearchCV, BatchedSearchCV])
def test_a_search_shares_a_folder(search_of, tmp_path):
    grid = {"lam": [0.1, 10.0]}
    n_jobs = {"n_jobs": 2} if search_of is GridSearchCV else {}
    found, plain = (
        search_of(small(VIMAETransformer, at, lr_schedule=None), grid, cv=2, **n_jobs).fit(X)
        for at in (tmp_path, None)
    )
    scores = [search.cv_results_["mean_test_score"] for search in (found, plain)]
    np.testing.assert_array_equal(*scores)
    assert checkpoints_in(tmp_path) == []


def test_epochs_between_checkpoints(tmp_path, capsys):
    model = small(VAETransformer, None, checkpoint=Checkpoints(tmp_path, epochs=2), verbose=1)
    interrupted(model, 1)
    assert_same(model.fit(X), small(VAETransformer, None).fit(X))
    assert "goes on after epoch 2" in capsys.readouterr().out


def test_by_default_one_is_written_every_half_minute(tmp_path, monkeypatch, capsys):
    seconds = itertools.count(0, 3)  # three a step
    monkeypatch.setattr("skvim.engine._checkpoints.time.monotonic", lambda: next(seconds))
    model = small(VAETransformer, None, checkpoint=str(tmp_path), verbose=1)
    interrupted(model, 1)
    model.fit(X)
    assert "goes on after epoch 2" in capsys.readouterr().out


# Faults.


def test_a_full_disk_ends_no_training(tmp_path, monkeypatch):
    interrupted(small(VAETransformer, tmp_path), 6)
    (name,) = checkpoints_in(tmp_path)
    good = (tmp_path / name).read_bytes()

    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    model = small(VAETransformer, tmp_path)
    monkeypatch.setattr("os.fsync", full)
    caught = pytest.warns(CheckpointWarning, match="No space left")
    with caught as said, interruption(10):
        model.fit(X)
    monkeypatch.undo()
    assert len(said) == 1
    assert (tmp_path / name).read_bytes() == good
    assert_same(model.fit(X), small(VAETransformer, None).fit(X))


def test_a_folder_that_vanishes_ends_no_training(tmp_path):
    class Removing(Callback):
        def on_epoch_end(self, net, **options):
            if len(net.history) == 2:
                shutil.rmtree(tmp_path / "folder")

    model = small(VAETransformer, tmp_path / "folder", callbacks=[Removing()])
    with pytest.warns(CheckpointWarning, match="cannot be written") as caught:
        model.fit(X)
    assert len(caught) == 1
    assert_same(model, small(VAETransformer, None, callbacks=[Callback()]).fit(X))


@pytest.mark.parametrize("content", [VAETransformer(), VAETransformer(2, max_epochs=1).fit(X)])
def test_another_file_of_that_name_is_not_used(content, tmp_path):
    interrupted(small(VAETransformer, tmp_path), 10)
    (path,) = Path(tmp_path).glob("*.checkpoint")
    content.save(path)
    with pytest.warns(CheckpointWarning, match="starts anew"):
        model = small(VAETransformer, tmp_path).fit(X)
    assert_same(model, small(VAETransformer, None).fit(X))


def test_a_damaged_checkpoint_is_not_used(tmp_path):
    interrupted(small(VAETransformer, tmp_path), 10)
    (path,) = Path(tmp_path).glob("*.checkpoint")
    path.write_bytes(path.read_bytes()[:-7])
    with pytest.warns(CheckpointWarning, match="starts anew") as caught:
        model = small(VAETransformer, tmp_path).fit(X)
    assert caught[0].filename == __file__
    assert_same(model, small(VAETransformer, None).fit(X))


def rewritten(folder, **changes):
    """Change the document of a checkpoint."""
    (path,) = Path(folder).glob("*.checkpoint")
    document, arrays = _archive.read_archive(path)
    document.update({key: changes.get(key, document[key]) for key in document})
    document["environment"].update(changes)
    _archive.write_archive(path, document, arrays)


def test_another_torch_is_reported(tmp_path):
    interrupted(small(VAETransformer, tmp_path), 10)
    rewritten(tmp_path, torch="2.4.0", threads=77)
    with pytest.warns(CheckpointWarning, match=r"torch 2\.4\.0 \(now .*threads 77 \(now"):
        small(VAETransformer, tmp_path).fit(X)


def test_a_checkpoint_of_another_layout_is_not_used(tmp_path):
    interrupted(small(VAETransformer, tmp_path), 10)
    rewritten(tmp_path, layout=0)
    with pytest.warns(CheckpointWarning, match="starts anew"):
        model = small(VAETransformer, tmp_path).fit(X)
    assert_same(model, small(VAETransformer, None).fit(X))


def test_no_checkpoint_of_a_training_that_diverges(tmp_path):
    model = small(VAETransformer, tmp_path, lr=1e30)
    with pytest.raises(TrainingDivergedError):
        model.fit(X)
    assert checkpoints_in(tmp_path) == []


def test_callbacks_that_start_anew_are_reported(tmp_path):
    harmless = [Checkpoint(dirname=tmp_path / "skorch", monitor=None)]
    interrupted(small(VAETransformer, tmp_path, callbacks=harmless), 10)
    assert_same(
        small(VAETransformer, tmp_path, callbacks=harmless).fit(X),
        small(VAETransformer, None, callbacks=harmless).fit(X),
    )
    stopping = EarlyStopping("train_loss")
    for before, now in [([], [stopping]), ([stopping], [])]:
        interrupted(small(VAETransformer, tmp_path, callbacks=before), 10)
        with pytest.warns(CheckpointWarning, match=r"callbacks start anew.*EarlyStopping") as said:
            small(VAETransformer, tmp_path, callbacks=now).fit(X)
        assert said[0].filename == __file__


@pytest.mark.parametrize(
    ("checkpoint", "said"),
    [
        (3, "The 'checkpoint' parameter"),
        (Checkpoints("folder", epochs=0), "epochs of Checkpoints must be an int"),
        (Checkpoints("folder", seconds=-1), "seconds of Checkpoints must be a float"),
        (Checkpoints("folder", seconds=True), "seconds of Checkpoints must be a float"),
        (Checkpoints("folder", seconds="30"), "seconds of Checkpoints must be a float"),
        (Checkpoints("folder", seconds=[1]), "seconds of Checkpoints must be a float"),
        (Checkpoints("folder", seconds=float("nan")), "seconds of Checkpoints must be a float"),
        (__file__, "checkpoint must name a folder"),
        ("", "must be the path of a folder"),
        (Checkpoints(b"folder"), "must be the path of a folder"),
        (Checkpoints(3), "must be the path of a folder"),
        ("a\0b", "must be the path of a folder"),
    ],
)
def test_invalid_values(checkpoint, said):
    model = small(VAETransformer, None).fit(X)
    before = model.transform(X)
    with pytest.raises(ValueError, match=said):
        model.set_params(checkpoint=checkpoint).fit(X)
    np.testing.assert_array_equal(model.transform(X), before)


def decorated(factor):
    @functools.wraps(small)
    def schedule(share):
        return factor

    return schedule


# Functions that differ, though some have one name.
SCHEDULES = [
    lambda share: 1.0,
    lambda share: 0.5,
    decorated(1.0),
    decorated(0.5),
    functools.partial(decorated(1.0)),
    {i / 6: 1.0 for i in range(6)}.get,
    {i / 6: 0.5 for i in range(6)}.get,
]


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_functions_are_told_by_what_they_do(schedule, tmp_path):
    whole = {"batch_size": 90}  # one batch an epoch
    for other in SCHEDULES:
        if other is not schedule:
            interrupted(small(VAETransformer, tmp_path, lr_schedule=other, **whole), 2)
    left = checkpoints_in(tmp_path)
    assert len(left) == len(SCHEDULES) - 1
    one, plain = (
        small(VAETransformer, at, lr_schedule=schedule, **whole).fit(X) for at in (tmp_path, None)
    )
    assert_same(one, plain)
    assert checkpoints_in(tmp_path) == left


def test_a_function_that_goes_by_another_name_is_refused(tmp_path):
    model = small(VAETransformer, tmp_path, lr_schedule=functools.lru_cache(lambda share: 1.0))
    with pytest.raises(ValueError, match="cannot be told from others by its name"):
        model.fit(X)


class Two(nn.Module):
    """A network of two layers, which may share a weight."""

    def __init__(self, *, is_tied):
        super().__init__()
        self.one, self.other = nn.Linear(6, 6), nn.Linear(6, 6)
        nn.init.eye_(self.one.weight)
        nn.init.eye_(self.other.weight)
        self.last = nn.Linear(6, 4)
        if is_tied:
            self.other.weight = self.one.weight

    def forward(self, x):
        return self.last(torch.tanh(self.other(torch.tanh(self.one(x)))))


def test_networks_that_share_weights_are_others(tmp_path):
    decoder = nn.Linear(2, 6)
    first = Two(is_tied=True)
    second = copy.deepcopy(first)
    second.other.weight = nn.Parameter(first.one.weight.detach().clone())
    interrupted(small(VAETransformer, tmp_path, network=(first, decoder)), 10)
    one, plain = (
        small(VAETransformer, at, network=(second, decoder)).fit(X) for at in (tmp_path, None)
    )
    assert_same(one, plain)


def test_a_checkpoint_of_other_networks_is_not_used(tmp_path):
    wide = {"hidden_layer_sizes": (9,)}
    interrupted(small(VAETransformer, tmp_path, **wide), 10)
    (path,) = Path(tmp_path).glob("*.checkpoint")
    content = path.read_bytes()
    path.unlink()
    interrupted(small(VAETransformer, tmp_path), 10)
    (path,) = (p for p in Path(tmp_path).glob("*.checkpoint"))
    path.write_bytes(content)
    with pytest.warns(CheckpointWarning, match="of other networks"):
        model = small(VAETransformer, tmp_path).fit(X)
    assert_same(model, small(VAETransformer, None).fit(X))


def test_settings_compare_hash_and_pickle_by_value():
    one, other = (Checkpoints("folder", epochs=2) for _ in range(2))
    assert one == other
    assert hash(one) == hash(other)
    assert pickle.loads(pickle.dumps(one)) == one
    assert one != Checkpoints("folder", epochs=3)
    assert repr(one) == "Checkpoints('folder', epochs=2, seconds=None)"


def test_files_do_not_hold_the_folder(tmp_path):
    model = small(VAETransformer, tmp_path, lr_schedule=None).fit(X)
    model.save(tmp_path / "model.skvim")
    loaded = skvim.load(tmp_path / "model.skvim")
    assert loaded.checkpoint is None
    np.testing.assert_array_equal(loaded.transform(X), model.transform(X))
