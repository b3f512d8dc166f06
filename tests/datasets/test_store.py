"""What is stored is whole or not there, whatever happens: races, kills, full disks, no access."""

import errno
import hashlib
import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from limits import file_limit

from skvim.datasets import _store, fetch_cifar10, fetch_mnist
from skvim.exceptions import DatasetError, SkvimWarning

WHOLE = pytest.mark.trust(
    "Kills, interruptions, full disks and several processes leave whole files or none."
)


def finish(process):
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err


def checksum(data_set):
    rows = data_set.images.reshape(len(data_set.images), -1)
    return hashlib.sha256(np.ascontiguousarray(rows).tobytes()).hexdigest()


def assert_sound(data_set, home):
    """Fetch again, after whatever happened; nothing unfinished may be left."""
    images = data_set.fetch(data_home=home, subset="all").images
    np.testing.assert_array_equal(images, data_set.images)
    assert not list((home / data_set.name).glob("*.unfinished"))


# Several at once


@WHOLE
def test_processes_at_once_download_and_decode_once(make, serve, tmp_path):
    data_set = make("mnist")
    mirror = serve(data_set.files)
    home = tmp_path / "a path with späces"
    archive = data_set.offered_by(mirror.url)
    go = tmp_path / "go"
    wait = f"""
            print("ready", flush=True)
            while not os.path.exists({str(go)!r}):
                time.sleep(0.001)"""
    processes = [data_set.start(home, archive, wait) for _ in range(2)]
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    go.touch()
    for process in processes:
        code, out, err = finish(process)
        assert code == 0, err
        assert out.strip() == checksum(data_set)
    assert sorted(name for name, _ in mirror.requests) == sorted(data_set.files)
    assert_sound(data_set, home)


def test_threads_at_once_decode_once(make, tmp_path, monkeypatch):
    data_set = make("cifar10")
    home = data_set.write(tmp_path)
    decoded = []
    decode = data_set.module._decode
    monkeypatch.setattr(
        data_set.module, "_decode", lambda *args: decoded.append(1) or decode(*args)
    )
    barrier = threading.Barrier(4)

    def fetch(_):
        barrier.wait()
        return fetch_cifar10(data_home=home, subset="all").images

    with ThreadPoolExecutor(4) as pool:
        for images in pool.map(fetch, range(4)):
            np.testing.assert_array_equal(images, data_set.images)
    assert len(decoded) == 1


def test_lock_that_is_never_released_is_named(make, tmp_path, monkeypatch):
    data_set = make("mnist")
    home = data_set.write(tmp_path)
    monkeypatch.setattr(_store, "_LOCK_SECONDS", 0.06)
    with (
        _store.folder_lock(home / "mnist"),
        pytest.raises(DatasetError, match=r"Another process has held .*\.lock for 0 minutes. Wait"),
    ):
        fetch_mnist(data_home=home)
    assert_sound(data_set, home)


# Killed half-way


DIE = "os.kill(os.getpid(), signal.SIGKILL)"
KILLS = {
    "decoding": f"""
            def records(*args, original=module._records):
                for number, chunk in enumerate(original(*args)):
                    if number == 3:
                        {DIE}
                    yield chunk
            module._records = records""",
    "renaming": f"""
            def replace(source, target, original=os.replace, calls=[]):
                calls.append(target)
                if len(calls) == 2:
                    {DIE}
                original(source, target)
            os.replace = replace""",
}


@WHOLE
@pytest.mark.parametrize("moment", list(KILLS))
def test_killed_while_storing(moment, make, tmp_path):
    data_set = make("cifar10")
    home = data_set.write(tmp_path)
    code, _, err = finish(data_set.start(home, data_set.archive, KILLS[moment]))
    assert code == -signal.SIGKILL, err
    assert list((home / "cifar10").glob("*.unfinished"))
    assert len(data_set.stored(home)) == (moment == "renaming")
    assert_sound(data_set, home)


@WHOLE
def test_killed_while_downloading(make, serve, monkeypatch, tmp_path):
    data_set = make("cifar10")
    mirror = serve(data_set.files)
    (name,) = data_set.files
    mirror.breaks[name] = [70_000]
    mirror.stalls.clear()
    archive = data_set.offered_by(mirror.url)
    process = data_set.start(tmp_path, archive)
    part = tmp_path / "cifar10" / ".download" / f"{name}.part"
    deadline = time.monotonic() + 60
    while not (part.exists() and part.stat().st_size > 0):
        assert time.monotonic() < deadline
        assert process.poll() is None, finish(process)
        time.sleep(0.01)
    process.kill()
    finish(process)
    mirror.stalls.set()
    monkeypatch.setattr(data_set.module, "OFFICIAL", archive)
    assert_sound(data_set, tmp_path)
    assert [asked for _, asked in mirror.requests] == [None, None]
    assert not part.parent.exists()


# Full disks.


@WHOLE
@pytest.mark.parametrize("name", ["mnist", "cifar10", "omniglot"])
def test_write_that_breaks_off_while_decoding(name, make, tmp_path):
    data_set = make(name)
    home = data_set.write(tmp_path)
    message = "Nothing could be stored in .*: File too large. Free space there"
    with file_limit(20_000), pytest.raises(DatasetError, match=message):
        data_set.fetch(data_home=home)
    assert data_set.stored(home) == []
    options = {"image_size": 105} if name == "omniglot" else {}
    images = data_set.fetch(data_home=home, subset="all", **options).images
    np.testing.assert_array_equal(images, data_set.images)
    assert not list((home / name).glob("*.unfinished"))


@WHOLE
def test_write_that_breaks_off_while_downloading(make, serve, monkeypatch, tmp_path):
    data_set = make("cifar10")
    mirror = serve(data_set.files)
    monkeypatch.setattr(data_set.module, "OFFICIAL", data_set.offered_by(mirror.url, mirror.url))
    with file_limit(50_000), pytest.raises(DatasetError, match="Nothing could be stored in"):
        fetch_cifar10(data_home=tmp_path)
    assert len(mirror.requests) == 1  # no fault of the mirror's
    assert_sound(data_set, tmp_path)


@WHOLE
@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_disk_that_is_full_at_the_end(call, make, monkeypatch, tmp_path):
    data_set = make("cifar10")
    home = data_set.write(tmp_path)

    def full(*args):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, call, full)
        with pytest.raises(DatasetError, match=r"No space left on device\. Free space there"):
            fetch_cifar10(data_home=home)
    assert data_set.stored(home) == []
    assert_sound(data_set, home)


@WHOLE
def test_interruption_leaves_nothing(make, monkeypatch, tmp_path):
    data_set = make("cifar10")
    home = data_set.write(tmp_path)

    def records(*args, original=data_set.module._records):
        yield next(original(*args))
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(data_set.module, "_records", records)
        with pytest.raises(KeyboardInterrupt):
            fetch_cifar10(data_home=home)
    assert {path.name for path in (home / "cifar10").iterdir()} == {*data_set.files, ".lock"}
    assert_sound(data_set, home)


def test_unfinished_files_of_other_hosts_are_deleted(make, tmp_path):
    data_set = make("mnist")
    home = data_set.write(tmp_path)
    (home / "mnist" / ".0123.another-host.unfinished").write_bytes(b"0" * 100)
    (home / "mnist" / "of-the-user.unfinished").write_bytes(b"0")
    fetch_mnist(data_home=home)
    left = [path.name for path in (home / "mnist").glob("*.unfinished")]
    assert left == ["of-the-user.unfinished"]


# Folders that cannot be used


@pytest.mark.parametrize("place", ["home", "folder"])
def test_file_in_place_of_a_folder(place, make, tmp_path):
    make("mnist")
    home = tmp_path / "home"
    if place == "folder":
        home.mkdir()
    (home if place == "home" else home / "mnist").write_text("not a folder")
    message = (
        r"Nothing could be stored in .*mnist: .*choose another folder with data_home or .* SKVIM"
    )
    with pytest.raises(DatasetError, match=message):
        fetch_mnist(data_home=home)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_folder_without_write_permission(make, tmp_path):
    data_set = make("mnist")
    home = data_set.write(tmp_path)
    (home / "mnist").chmod(0o500)
    try:
        with pytest.raises(DatasetError, match=r"Permission denied\. Free space there or make"):
            fetch_mnist(data_home=home)
    finally:
        (home / "mnist").chmod(0o700)
    assert_sound(data_set, home)


@pytest.mark.skipif(not os.path.isdir("/sys"), reason="there is no folder of the kernel's")
def test_home_that_not_even_root_may_write_to(make):
    make("mnist")
    with pytest.raises(
        DatasetError, match=r"Nothing could be stored in /sys/skvim/mnist: .*choose"
    ):
        fetch_mnist(data_home="/sys/skvim")


def test_file_system_without_locks(make, monkeypatch, tmp_path):
    data_set = make("mnist")
    home = data_set.write(tmp_path)

    def refuse(self):
        raise NotImplementedError("no flock")

    monkeypatch.setattr("filelock.FileLock.acquire", refuse)
    with pytest.raises(DatasetError, match=r"stored in .*: no flock\. .*choose another folder"):
        fetch_mnist(data_home=home)


DAMAGES = {
    "bracket": (b"}", b"("),
    "quote": (b"'shape'", b"'shape "),
    "key": (b"'descr'", b"b'desc'"),
    "order": (b"'fortran_order': False", b"'fortran_order': True "),
    "shape": (b"(60, 32, 32, 3)", b"(60, 32, 3, 32)"),
    "type": (b"|u1", b"|i1"),
    "version": (b"NUMPY\x01", b"NUMPY\x07"),
}


@pytest.mark.parametrize("damage", list(DAMAGES))
def test_damaged_header_is_noticed(damage, make, tmp_path):
    home = make("cifar10").write(tmp_path)
    fetch_cifar10(data_home=home)
    (path,) = (home / "cifar10").glob("images*.npy")
    good = path.read_bytes()
    header, content = good[:128], good[128:]
    path.write_bytes(header.replace(*DAMAGES[damage]) + content)
    assert path.read_bytes() != good
    with pytest.warns(SkvimWarning, match="is damaged and is built again"):
        fetch_cifar10(data_home=home)
    assert path.read_bytes() == good


def test_stored_arrays_are_files_of_numpy(make, tmp_path):
    data_set = make("cifar10")
    home = data_set.write(tmp_path)
    fetch_cifar10(data_home=home)
    (path,) = (home / "cifar10").glob("images*.npy")
    np.testing.assert_array_equal(np.load(path), data_set.images)


def test_damage_is_named_even_if_nothing_can_be_stored(make, monkeypatch, tmp_path):
    home = make("mnist").write(tmp_path)
    fetch_mnist(data_home=home)
    (path,) = (home / "mnist").glob("images*.npy")
    damaged = bytearray(path.read_bytes())
    damaged[1000] ^= 1
    path.write_bytes(damaged)

    def refuse(self):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr("filelock.FileLock.acquire", refuse)
    with (
        pytest.warns(SkvimWarning, match=f"{path} is damaged"),
        pytest.raises(DatasetError, match=r"Nothing could be stored in .*: Permission denied"),
    ):
        fetch_mnist(data_home=home)
    assert path.read_bytes() == damaged


def test_stored_array_that_cannot_be_read(make, tmp_path):
    data_set = make("mnist")
    home = data_set.write(tmp_path)
    fetch_mnist(data_home=home)
    path = home / "mnist" / data_set.stored(home)[0]
    path.unlink()
    path.mkdir()
    with pytest.raises(DatasetError, match=r"\.npy cannot be read: .*Make it readable, or choose"):
        fetch_mnist(data_home=home)


def test_stored_arrays_in_a_read_only_folder_need_no_lock(make, monkeypatch, tmp_path):
    data_set = make("mnist")
    home = data_set.write(tmp_path)
    fetch_mnist(data_home=home)

    def locked(folder):
        raise AssertionError("locked")

    monkeypatch.setattr(_store, "folder_lock", locked)
    assert_sound(data_set, home)
