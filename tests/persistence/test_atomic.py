"""Atomic writing: temporary files of killed processes, owners, permissions and links."""

import errno
import os
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from skvim import _disk
from skvim._disk import TEMPORARY_SUFFIX, remove_stale, write_atomically

AS_ROOT = pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root may give files away"
)
KILLS = """
import os, random, signal, sys, time
from pathlib import Path
import skvim
from skvim.noise import GaussianNoise

path, n_kills = Path(sys.argv[1]), int(sys.argv[2])
chance = random.Random(0)
GaussianNoise(0.0).save(path)
n_left = 0
for i in range(n_kills):
    child = os.fork()
    if child == 0:
        scale = 0
        while True:
            scale += 1
            GaussianNoise(float(scale)).save(path)
    time.sleep(chance.uniform(0.0, 0.02))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    left = [file for file in path.parent.iterdir() if file != path]
    assert len(left) <= 1 and all(file.suffix == ".unfinished" for file in left)
    n_left += len(left)
    assert skvim.load(path).scale >= 0
GaussianNoise(0.5).save(path)
assert list(path.parent.iterdir()) == [path] and skvim.load(path).scale == 0.5
print(n_left)
"""


@pytest.mark.trust(
    "A process that is killed while it saves leaves the old file or the new one, and the next save "
    "removes what it left."
)
def test_kills_while_saving_lose_no_file_and_leave_none_behind(amount, tmp_path):
    n_kills = amount("kills while saving", quick=8, full=500)
    command = [sys.executable, "-W", "error", "-c", KILLS, tmp_path / "model.skvim", str(n_kills)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert n_kills < 100 or int(done.stdout) > 0


def leftover(folder, host):
    """Write a temporary file that no process has open."""
    path = folder / f".{0:032x}.{host}{TEMPORARY_SUFFIX}"
    path.write_bytes(b"half of a mod")
    return path


def test_temporary_files_of_other_hosts_and_of_no_host_are_left_alone(tmp_path):
    others = [leftover(tmp_path, "0" * 16), leftover(tmp_path, "unlocked")]
    own = leftover(tmp_path, _disk._host())
    with write_atomically(tmp_path / "file"):
        pass
    assert not own.exists()
    assert all(path.exists() for path in others)


def test_a_temporary_file_that_is_being_written_is_left_alone(tmp_path):
    command = [
        sys.executable,
        "-c",
        "import sys; from skvim import _disk; from pathlib import Path",
    ]
    command[-1] += "\n_disk.remove_stale(Path(sys.argv[1]))"
    with write_atomically(tmp_path / "file") as file:
        file.write(b"new")
        remove_stale(tmp_path)
        subprocess.run([*command, tmp_path], check=True)
        with write_atomically(tmp_path / "file") as other:
            other.write(b"other")
    assert (tmp_path / "file").read_bytes() == b"new"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_new_file_that_is_taken_for_a_stale_one_is_written_again(monkeypatch, tmp_path):
    really_lock, n_locks = _disk.fcntl.flock, []

    def lock_late(descriptor, operation):
        if not n_locks:
            (path,) = tmp_path.iterdir()
            path.unlink()  # as remove_stale of another process does
        n_locks.append(operation)
        really_lock(descriptor, operation)

    monkeypatch.setattr(_disk.fcntl, "flock", lock_late)
    with write_atomically(tmp_path / "file") as file:
        file.write(b"new")
    assert len(n_locks) == 2
    assert (tmp_path / "file").read_bytes() == b"new"


def test_a_file_system_without_locks_takes_files_and_nobody_removes_them(monkeypatch, tmp_path):
    def refuse(descriptor, operation):
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    monkeypatch.setattr(_disk.fcntl, "flock", refuse)
    with write_atomically(tmp_path / "file") as file:
        file.write(b"new")
        monkeypatch.undo()
        remove_stale(tmp_path)
    assert (tmp_path / "file").read_bytes() == b"new"


def test_without_locks_of_the_system_files_are_written_as_well(monkeypatch, tmp_path):
    monkeypatch.setattr(_disk, "fcntl", None)  # as under Windows
    own = leftover(tmp_path, _disk._host())
    with write_atomically(tmp_path / "file") as file:
        file.write(b"new")
    assert (tmp_path / "file").read_bytes() == b"new"
    assert own.exists()


@AS_ROOT
def test_owner_group_and_permissions_of_another_user_are_kept(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"old")
    os.chown(path, 1234, 2345)
    path.chmod(0o640)
    with write_atomically(path) as file:
        file.write(b"new")
    found = path.stat()
    assert (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)) == (1234, 2345, 0o640)
    assert path.read_bytes() == b"new"


@pytest.fixture
def open_folder():
    """A folder that all users may write to; pytest's own are closed to others."""
    with tempfile.TemporaryDirectory() as name:
        os.chmod(name, 0o777)
        yield Path(name)


REPLACE_AS = """
import os, sys
from skvim._disk import write_atomically

os.setgroups([int(group) for group in sys.argv[3:]])
os.setgid(int(sys.argv[2]))
os.setuid(int(sys.argv[2]))
with write_atomically(sys.argv[1]) as file:
    file.write(b"new")
"""


@AS_ROOT
@pytest.mark.parametrize(
    ("groups", "expected"),
    [
        ([], (3456, 3456, 0o644)),  # the new group may do what others may
        ([2345], (3456, 2345, 0o664)),  # the group is kept, by one of its members
    ],
)
def test_a_user_who_may_not_give_files_away_gives_no_group_more(groups, expected, open_folder):
    path = open_folder / "file"
    path.write_bytes(b"old")
    os.chown(path, 1234, 2345)
    path.chmod(0o664)
    command = [sys.executable, "-c", REPLACE_AS, path, "3456", *map(str, groups)]
    subprocess.run(command, check=True)
    found = path.stat()
    assert (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)) == expected
    assert path.read_bytes() == b"new"


def test_a_link_to_nothing_yet_is_written_through(tmp_path):
    (tmp_path / "link").symlink_to("real")
    with write_atomically(tmp_path / "link") as file:
        file.write(b"new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_bytes() == b"new"
    assert not Path(tmp_path / "real").is_symlink()


def test_links_in_a_circle_are_refused_and_stay(tmp_path):
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with (
        pytest.raises(OSError, match=os.strerror(errno.ELOOP)),
        write_atomically(tmp_path / "a"),
    ):
        pass
    assert all((tmp_path / name).is_symlink() for name in "ab")
