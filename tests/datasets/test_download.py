"""Downloads from a local server that stands in for the mirrors, with every fault there is."""

import socket
import sys
import time

import numpy as np
import pytest

from skvim.datasets import fetch_mnist
from skvim.exceptions import DatasetError, MissingExtraError

LARGEST = "train-images-idx3-ubyte.gz"


@pytest.fixture
def use(monkeypatch):
    """Return what makes a data set come from the given mirrors."""

    # What has come of a chunk is lost when the connection breaks.
    monkeypatch.setattr("skvim.datasets._download._CHUNK", 100)

    def use(data_set, *mirrors):
        monkeypatch.setattr(data_set.module, "OFFICIAL", data_set.offered_by(*mirrors))

    return use


def largest(data_set):
    return max(data_set.files, key=lambda name: len(data_set.files[name]))


def assert_fetched(data_set, home):
    images = data_set.fetch(data_home=home, subset="all", **size(data_set)).images
    np.testing.assert_array_equal(images, data_set.images)
    folder = home / data_set.name
    for name, content in data_set.files.items():
        assert (folder / name).read_bytes() == content
    # Nothing else lies about.
    kept = {*data_set.files, *data_set.stored(home), ".lock", ".download"}
    assert {path.name for path in folder.iterdir()} == kept
    assert not list((folder / ".download").iterdir())


def size(data_set):
    return {"image_size": 105} if data_set.name == "omniglot" else {}


def closed_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}"


def test_files_are_downloaded_once_and_kept(downloaded, serve, use, tmp_path):
    mirror = serve(downloaded.files)
    use(downloaded, mirror.url)
    assert_fetched(downloaded, tmp_path)
    assert sorted(mirror.requests) == sorted((name, None) for name in downloaded.files)
    downloaded.fetch(data_home=tmp_path)
    assert len(mirror.requests) == len(downloaded.files)


# Faults, of one data set, as all are downloaded in the same way


@pytest.fixture
def mnist(make):
    return make("mnist")


def test_downloaded_files_have_the_usual_permissions(mnist, serve, use, tmp_path):
    use(mnist, serve(mnist.files).url)
    assert_fetched(mnist, tmp_path)
    (tmp_path / "usual").touch()
    usual = (tmp_path / "usual").stat().st_mode
    for name in (*mnist.files, *mnist.stored(tmp_path)):
        assert (tmp_path / "mnist" / name).stat().st_mode == usual


def test_mirrors_are_tried_in_turn(mnist, serve, use, tmp_path):
    nothing, corrupt, good = serve({}), serve(mnist.files), serve(mnist.files)
    for name, content in corrupt.files.items():
        corrupt.files[name] = content[:-1] + bytes([content[-1] ^ 1])
    use(mnist, closed_port(), nothing.url, corrupt.url, good.url)
    assert_fetched(mnist, tmp_path)
    for mirror in (nothing, corrupt, good):
        assert [name for name, _ in mirror.requests] == list(mnist.files)


def test_no_network(mnist, use, tmp_path):
    use(mnist, closed_port(), closed_port())
    first = next(iter(mnist.files))
    message = (
        rf"(?s){first} could not be downloaded:\n- http.*refused.*\n- http.*refused.*\n"
        rf"Check the network and call again.* get the file elsewhere \(sha256:.* into .*"
    )
    with pytest.raises(DatasetError, match=message):
        mnist.fetch(data_home=tmp_path)
    assert mnist.stored(tmp_path) == []


def test_wrong_checksum_everywhere(mnist, serve, use, tmp_path):
    mirror = serve(dict.fromkeys(mnist.files, b"<html>Blocked</html>"))
    use(mnist, mirror.url)
    with pytest.raises(DatasetError, match=r"(?s)hash .* does not match .*call again"):
        mnist.fetch(data_home=tmp_path)
    assert len(mirror.requests) == 1
    left = {path.name for path in (tmp_path / mnist.name).iterdir()}
    assert left == {".lock", ".download"}
    mirror.files.update(mnist.files)
    assert_fetched(mnist, tmp_path)


def test_broken_connections_are_resumed(mnist, serve, use, tmp_path):
    mirror = serve(mnist.files)
    name, n = largest(mnist), len(mnist.files[largest(mnist)])
    first, second = n // 300 * 100, n // 400 * 100
    mirror.breaks[name] = [first, second + 50]
    use(mnist, mirror.url)
    assert_fetched(mnist, tmp_path)
    asked = [part for requested, part in mirror.requests if requested == name]
    assert asked == [None, f"bytes={first}-", f"bytes={first + second}-"]


def test_server_without_ranges_starts_anew(mnist, serve, use, tmp_path):
    mirror = serve(mnist.files)
    mirror.ranges = False
    name = largest(mnist)
    mirror.breaks[name] = [len(mnist.files[name]) // 2]
    use(mnist, mirror.url)
    assert_fetched(mnist, tmp_path)
    assert len(mirror.requests) == len(mnist.files) + 1


def test_connection_that_keeps_breaking_is_continued_by_the_next_call(mnist, serve, use, tmp_path):
    mirror = serve(mnist.files)
    name, n = largest(mnist), len(mnist.files[largest(mnist)])
    mirror.breaks[name] = [100] * 5
    use(mnist, mirror.url)
    with pytest.raises(DatasetError, match="could not be downloaded"):
        mnist.fetch(data_home=tmp_path)
    mirror.requests.clear()
    assert_fetched(mnist, tmp_path)
    assert (name, "bytes=500-") in mirror.requests
    assert n > 500


@pytest.mark.parametrize("wrong", [b"x" * 100, b"x" * 1_000_000], ids=["shorter", "longer"])
def test_part_of_something_else_is_thrown_away(wrong, mnist, serve, use, tmp_path):
    mirror = serve(mnist.files)
    name = largest(mnist)
    work = tmp_path / mnist.name / ".download"
    work.mkdir(parents=True)
    (work / f"{name}.part").write_bytes(wrong)
    use(mnist, mirror.url)
    assert_fetched(mnist, tmp_path)


def test_part_survives_a_failing_network(mnist, serve, use, tmp_path):
    mirror = serve(mnist.files)
    mirror.breaks[LARGEST] = [5000] + [0] * 5
    use(mnist, closed_port(), mirror.url, closed_port())
    with pytest.raises(DatasetError):
        fetch_mnist(data_home=tmp_path)
    assert (tmp_path / "mnist" / ".download" / f"{LARGEST}.part").stat().st_size == 5000
    mirror.breaks.clear()
    assert_fetched(mnist, tmp_path)
    assert (LARGEST, "bytes=5000-") in mirror.requests


def test_mirror_that_falls_silent_is_left_for_the_next(mnist, serve, use, monkeypatch, tmp_path):
    silent, good = serve(mnist.files), serve(mnist.files)
    silent.breaks[LARGEST] = [5000]
    silent.stalls.clear()
    monkeypatch.setattr("skvim.datasets._download._TIMEOUT", 0.2)
    monkeypatch.setattr("skvim.datasets._download._TRIES", 1)
    use(mnist, silent.url, good.url)
    start = time.monotonic()
    assert_fetched(mnist, tmp_path)
    assert time.monotonic() - start < 10
    assert good.requests == [(LARGEST, "bytes=5000-")]


@pytest.mark.parametrize("package", ["pooch", "requests", "filelock"])
def test_download_names_the_missing_extra(package, mnist, use, monkeypatch, tmp_path):
    use(mnist, closed_port())
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtraError, match=r'pip install "skvim\[data\]"'):
        fetch_mnist(data_home=tmp_path)


@pytest.mark.parametrize("name", ["omniglot", "celeba"])
def test_pictures_name_the_missing_extra(name, make, monkeypatch, tmp_path):
    data_set = make(name)
    home = data_set.write(tmp_path)
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "PIL", None)
        patch.delitem(sys.modules, "PIL.Image")
        with pytest.raises(MissingExtraError, match=r'needs Pillow.* pip install "skvim\[data\]"'):
            data_set.fetch(data_home=home)
    assert data_set.stored(home) == []
    assert len(data_set.fetch(data_home=home, subset="all").data) == len(data_set.images)


def test_stored_arrays_need_no_extra(downloaded, monkeypatch, tmp_path):
    home = downloaded.write(tmp_path)
    first = downloaded.fetch(data_home=home).data
    for package in ("pooch", "requests", "filelock", "PIL", "PIL.Image"):
        monkeypatch.setitem(sys.modules, package, None)
    np.testing.assert_array_equal(downloaded.fetch(data_home=home).data, first)


def test_progress_is_shown_where_tqdm_is_there(mnist, serve, use, monkeypatch, capfd, tmp_path):
    use(mnist, serve(mnist.files).url)
    assert_fetched(mnist, tmp_path / "with")
    assert "100%" in capfd.readouterr().err
    monkeypatch.setattr("skvim.datasets._download.find_spec", lambda name: None)
    assert_fetched(mnist, tmp_path / "without")
    assert "100%" not in capfd.readouterr().err
