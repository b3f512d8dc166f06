"""Files are written atomically: faults leave the old content or the new."""

import errno
import os
import signal
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from limits import file_limit
from test_common import X, fit, small

import skvim
from skvim import AETransformer
from skvim._persistence import _files
from skvim.exceptions import FileAccessError, FileFormatError, UnsavableError
from skvim.noise import GaussianNoise


@pytest.fixture(scope="module")
def old():
    return fit(small(AETransformer))


@pytest.fixture(scope="module")
def new():
    return fit(small(AETransformer, hidden_layer_sizes=(64,), random_state=1))


def assert_holds(path, estimator):
    np.testing.assert_array_equal(skvim.load(path).transform(X), estimator.transform(X))


def test_a_file_is_replaced(old, new, tmp_path):
    path = tmp_path / "model.skvim"
    old.save(path)
    new.save(path)
    assert_holds(path, new)
    assert list(tmp_path.iterdir()) == [path]


MOMENTS = {
    "before writing": "builtins.open = die_opening",
    "in the middle": "builtins.open = open_halves",
    "before it is on the disk": "os.fsync = die",
    "before renaming": "os.replace = die",
}
OTHER_PROCESS = """
import builtins, io, os, signal, sys
import numpy as np
import skvim

path, rows, codes = sys.argv[1:4]
np.save(codes, skvim.load(path).transform(np.load(rows)))

die = lambda *args: os.kill(os.getpid(), signal.SIGKILL)
really_open = open

def die_opening(name, mode="r", **rest):
    file = really_open(name, mode, **rest)
    return die() if mode == "rb+" else file

class Half(io.FileIO):
    def write(self, content):
        super().write(content[: len(content) // 2])
        die()

def open_halves(name, mode="r", **rest):
    return Half(name, mode) if mode == "rb+" else really_open(name, mode, **rest)

for path, moment in zip(sys.argv[4::2], sys.argv[5::2]):
    model = skvim.load(path)
    child = os.fork()
    if child == 0:
        exec(moment)
        model.save(path)
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.fixture(scope="module")
def folder(old, tmp_path_factory):
    """A folder where another process has read a file, and children of it died while saving."""
    folder = tmp_path_factory.mktemp("a path with späces")
    names = [folder / name for name in ("model.skvim", "rows.npy", "codes.npy")]
    old.save(names[0])
    np.save(names[1], X)
    command = [sys.executable, "-W", "error", "-c", OTHER_PROCESS, *names]
    for moment, code in MOMENTS.items():
        (folder / moment).mkdir()
        old.save(folder / moment / "model.skvim")
        command += [folder / moment / "model.skvim", code]
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.split() == [str(-signal.SIGKILL)] * len(MOMENTS)
    return folder


def test_a_file_opens_in_another_process(old, folder):
    np.testing.assert_array_equal(np.load(folder / "codes.npy"), old.transform(X))


@pytest.mark.parametrize("moment", MOMENTS)
def test_killed_while_saving(moment, old, folder):
    path = folder / moment / "model.skvim"
    assert path.read_bytes() == (folder / "model.skvim").read_bytes()
    assert {file.suffix for file in path.parent.iterdir()} == {".skvim", ".unfinished"}
    old.save(path)
    assert list(path.parent.iterdir()) == [path]
    assert_holds(path, old)


def test_a_write_that_breaks_off(old, new, tmp_path):
    path = tmp_path / "model.skvim"
    old.save(path)
    message = r"model\.skvim cannot be written: File too large\. Nothing was changed\. Free space"
    with file_limit(4000), pytest.raises(FileAccessError, match=message):
        new.save(path)
    assert list(tmp_path.iterdir()) == [path]
    assert_holds(path, old)


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_disk_that_is_full_at_the_end(call, old, new, monkeypatch, tmp_path):
    path = tmp_path / "model.skvim"
    old.save(path)

    def full(*args):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, call, full)
        with pytest.raises(FileAccessError, match="No space left on device"):
            new.save(path)
    assert list(tmp_path.iterdir()) == [path]
    assert_holds(path, old)


def test_the_content_is_on_the_disk_before_the_name_changes(old, monkeypatch, tmp_path):
    calls = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda file: calls.append("fsync") or fsync(file))
    monkeypatch.setattr(os, "replace", lambda *names: calls.append("replace") or replace(*names))
    old.save(tmp_path / "model.skvim")
    assert calls == ["fsync", "replace", "fsync"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_write_permission(old, tmp_path):
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(FileAccessError, match="Permission denied"):
            old.save(tmp_path / "model.skvim")
    finally:
        tmp_path.chmod(0o700)


@pytest.mark.skipif(not os.path.isdir("/sys"), reason="there is no folder of the kernel's")
def test_a_folder_that_not_even_root_may_write_to(old):
    with pytest.raises(FileAccessError, match=r"/sys/model\.skvim cannot be written: .*choose"):
        old.save("/sys/model.skvim")


@pytest.mark.parametrize("place", ["missing", "file"])
def test_no_folder(place, old, tmp_path):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(FileAccessError, match=r"cannot be written: (No such file|Not a directory)"):
        old.save(tmp_path / place / "model.skvim")


def test_what_is_no_file_is_not_replaced(old, tmp_path):
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    for name in ("folder", "pipe"):
        with pytest.raises(FileAccessError, match="exists already and is not a regular file"):
            old.save(tmp_path / name)
        with pytest.raises(FileAccessError, match="is no file"):
            skvim.load(tmp_path / name)
    assert (tmp_path / "pipe").is_fifo()


def test_links_are_followed_and_the_mode_is_kept(old, new, tmp_path):
    (tmp_path / "there").mkdir()
    real, link = tmp_path / "there" / "real.skvim", tmp_path / "link.skvim"
    old.save(real)
    real.chmod(0o600)
    link.symlink_to(real)
    new.save(link)
    assert link.is_symlink()
    assert_holds(real, new)
    assert stat.S_IMODE(real.stat().st_mode) == 0o600


def test_nobody_may_read_a_private_file_while_it_is_written(old, new, monkeypatch, tmp_path):
    path = tmp_path / "model.skvim"
    old.save(path)
    path.chmod(0o600)
    modes = []
    chmod = os.chmod

    def observe(name, mode):
        assert os.path.getsize(name) > 0
        modes.append(stat.S_IMODE(os.stat(name).st_mode))
        chmod(name, mode)

    monkeypatch.setattr(os, "chmod", observe)
    new.save(path)
    assert modes == [0o600]


def test_a_folder_that_cannot_be_synchronised_takes_files(new, monkeypatch, tmp_path):
    really_open = os.open

    def refuse_folders(name, *rest, **more):
        if os.path.isdir(name):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return really_open(name, *rest, **more)

    monkeypatch.setattr(os, "open", refuse_folders)
    new.save(tmp_path / "model.skvim")
    assert_holds(tmp_path / "model.skvim", new)


@pytest.mark.parametrize("start", [bytes(8), b"\x02" + bytes(7) + b"{}"])
def test_a_large_file_of_another_kind_is_refused_before_it_is_read(start, tmp_path):
    path = tmp_path / "large"
    path.write_bytes(start)
    os.truncate(path, 1 << 40)  # of which the disk holds the first bytes only
    with pytest.raises(FileFormatError, match=r"not a file that skvim|not one that skvim"):
        skvim.load(path)


def test_more_text_than_a_file_may_hold_is_refused(tmp_path):
    with pytest.raises(UnsavableError, match=r"too many for one file .*at most 100000000 bytes"):
        GaussianNoise("a" * 100_000_000).save(tmp_path / "model.skvim")
    assert list(tmp_path.iterdir()) == []


def test_a_missing_file_is_said_to_be_missing(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nowhere\.skvim"):
        skvim.load(tmp_path / "nowhere.skvim")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read anything")
def test_a_file_that_may_not_be_read(old, tmp_path):
    old.save(tmp_path / "model.skvim")
    (tmp_path / "model.skvim").chmod(0)
    with pytest.raises(FileAccessError, match=r"cannot be read: Permission denied\. Make it"):
        skvim.load(tmp_path / "model.skvim")


def test_an_interruption_leaves_nothing(old, monkeypatch, tmp_path):
    def interrupt(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        old.save(tmp_path / "model.skvim")
    assert list(tmp_path.iterdir()) == []


def test_readers_see_whole_files_while_others_write(tmp_path):
    path = tmp_path / "model.skvim"
    GaussianNoise(0.0).save(path)

    def write(first):
        for scale in range(first, 60, 2):
            GaussianNoise(float(scale)).save(path)

    n_read = 0
    with ThreadPoolExecutor(2) as pool:
        writers = [pool.submit(write, first) for first in (0, 1)]
        while not all(writer.done() for writer in writers):
            assert skvim.load(path).scale in range(60)
            n_read += 1
    assert [writer.result() for writer in writers] == [None, None]
    assert n_read > 0
    assert [file.name for file in tmp_path.iterdir()] == ["model.skvim"]


def test_every_shorter_file_is_refused(tmp_path):
    path = tmp_path / "model.skvim"
    GaussianNoise(0.5, random_state=np.random.RandomState(0)).save(path)
    content = path.read_bytes()
    for length in [*range(0, 40), *range(40, len(content), 97), len(content) - 1]:
        path.write_bytes(content[:length])
        with pytest.raises(FileFormatError, match=r"damaged|has written"):
            skvim.load(path)
    Path(path).write_bytes(content + b"\0")
    with pytest.raises(FileFormatError, match="damaged"):
        skvim.load(path)


@pytest.mark.parametrize(
    ("error", "memory"),
    [
        (MemoryError(), "memory"),
        (torch.cuda.OutOfMemoryError("CUDA out of memory."), "the memory of cpu"),
    ],
    ids=["memory", "memory of a GPU"],
)
def test_a_model_that_does_not_fit_into_memory(error, memory, old, monkeypatch, tmp_path):
    path = tmp_path / "model.skvim"
    old.save(path)

    def fail(*args):
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(_files.Reader, "finish", fail)
        with pytest.raises(FileAccessError, match=rf"model\.skvim does not fit into {memory}\."):
            skvim.load(path, device="cpu")
    assert_holds(path, old)
