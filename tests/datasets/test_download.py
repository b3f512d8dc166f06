"""Downloads from a local server that stands in for the mirrors, with every fault there is."""

import signal
import socket
import sys
import threading
import time

import numpy as np
import pytest
import tqdm.auto
from damage import mutate

from skvim.datasets import fetch_mnist
from skvim.exceptions import DatasetError, MissingExtraError

LARGEST = "train-images-idx3-ubyte.gz"


@pytest.fixture
def use(monkeypatch):
    """Return what makes a data set come from the given mirrors."""

    # What has come of a chunk is lost when the connection breaks.
    monkeypatch.setattr("skvim.datasets._transfer._CHUNK", 100)

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
    assert_nothing_else(data_set, home, data_set.files)


def assert_nothing_else(data_set, home, files=()):
    left = {path.name for path in (home / data_set.name).iterdir()}
    assert left == {*files, *data_set.stored(home), ".lock"}


def size(data_set):
    return {"image_size": 105} if data_set.name == "omniglot" else {}


def closed_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}"


@pytest.fixture
def quick(monkeypatch):
    """Set a short period for the least rate of a transfer."""
    monkeypatch.setattr("skvim.datasets._transfer._PERIOD", 1)
    monkeypatch.setattr("skvim.datasets._transfer._LEAST", 2000)


def put(**values):
    """Return what sets attributes of a mirror."""

    def set_fault(mirror):
        mirror.stalls.set()
        for name, value in values.items():
            setattr(mirror, name, value)

    return set_fault


def cut(mirror):
    mirror.breaks[LARGEST] = [5000, 0]


def stall(mirror):
    mirror.breaks[LARGEST] = [5000, 0]
    mirror.stalls.clear()


def alter(change):
    def set_fault(mirror):
        mirror.files[LARGEST] = change(mirror.files[LARGEST])

    return set_fault


def send_for_ever(mirror):
    mirror.files[LARGEST] = bytes(100 << 20)
    mirror.headers = {"Content-Length": None}


LEFT = pytest.mark.trust(
    "A mirror that fails, in whatever way, is left for the next; nothing incomplete stays."
)
# What the message says, and what makes a mirror so.
FAULTS = {
    "absent": ("404 Client Error", put(status=404)),
    "out of order": ("500 Server Error", put(status=500)),
    "empty answer": ("it answers with status 204", put(status=204)),
    "no end of redirections": (
        "Exceeded 30 redirects",
        put(status=302, headers={"Location": "/a"}),
    ),
    "redirection to elsewhere": (
        "No connection adapters",
        put(status=302, headers={"Location": "file:///a"}),
    ),
    "redirection to nowhere": ("it answers with status 302", put(status=302)),
    "another page": ("it offers 20 instead of", alter(lambda _: b"<html>Blocked</html>")),
    "announces more": ("it offers", alter(lambda content: content + b"more")),
    "announces less": ("it offers", alter(lambda content: content[:-1])),
    "other content": (".* hash .* does not match", alter(lambda content: content[::-1])),
    "sends more": ("it sends more than the", send_for_ever),
    "length is no number": ("", put(headers={"Content-Length": "many"})),
    "packs": ("it sends the file in the encoding gzip", put(headers={"Content-Encoding": "gzip"})),
    "cut": (".*Connection broken", cut),
    "stalls": ("it sent only", stall),
    "sends slowly": ("it sent only", put(pause=0.01)),
    "headers without an end": ("it sent only 0 bytes", put(endless_headers=True)),
}


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
        rf"Check the network and call again, or get the file elsewhere \(sha256:.* into .*"
    )
    with pytest.raises(DatasetError, match=message):
        mnist.fetch(data_home=tmp_path)
    assert mnist.stored(tmp_path) == []


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


@LEFT
@pytest.mark.parametrize("fault", list(FAULTS))
def test_mirror_that_fails_is_left_for_the_next(fault, mnist, serve, use, quick, tmp_path):
    bad, good = serve(mnist.files), serve(mnist.files)
    FAULTS[fault][1](bad)
    use(mnist, bad.url, good.url)
    start = time.monotonic()
    assert_fetched(mnist, tmp_path)
    assert time.monotonic() - start < 20
    assert bad.sent < 16 << 20  # what buffers hold, where there is more
    assert LARGEST in dict(good.requests)


@pytest.mark.trust("Whatever a mirror answers, the right arrays or DatasetError follow.")
def test_mutated_answers(mnist, serve, use, amount, tmp_path):
    home = mnist.write(tmp_path)
    mirror = serve({})
    use(mnist, mirror.url)
    content = mnist.files[LARGEST]
    headers = [
        "HTTP/1.1 200 OK",
        f"Content-Length: {len(content)}",
        "Content-Type: application/gzip",
        "Location: http://127.0.0.1:1/",
        "Set-Cookie: a=b; Max-Age=5; Path=/",
        "Connection: close",
        "",
        "",
    ]
    rng = np.random.default_rng(0)
    for _ in range(amount("answers of mirrors mutated", quick=40, full=1_500)):
        (home / "mnist" / LARGEST).unlink(missing_ok=True)
        for stored in mnist.stored(home):
            (home / "mnist" / stored).unlink()
        mirror.raw = mutate("\r\n".join(headers).encode(), rng) + content
        try:
            mnist.everything(home)
        except DatasetError:
            assert not (home / "mnist" / LARGEST).exists()
        else:
            assert_fetched(mnist, home)


def test_all_mirrors_are_listed_with_their_faults(mnist, serve, use, quick, tmp_path):
    bad = [serve(mnist.files) for _ in FAULTS]
    for mirror, (_, set_fault) in zip(bad, FAULTS.values(), strict=True):
        set_fault(mirror)
    use(mnist, *(mirror.url for mirror in bad))
    lines = [
        f"- {mirror.url}/{LARGEST}: {message}[^\n]*\n"
        for mirror, (message, _) in zip(bad, FAULTS.values(), strict=True)
    ]
    with pytest.raises(DatasetError, match="".join(lines)):
        mnist.fetch(data_home=tmp_path)
    assert_nothing_else(mnist, tmp_path)


def test_redirections_are_followed(mnist, serve, use, tmp_path):
    first, second = serve({}), serve(mnist.files)
    first.status = 302

    class Targets(dict):
        def items(self):
            return [("Location", f"{second.url}/{first.requests[-1][0]}")]

        def __ror__(self, other):
            return self

    first.headers = Targets()
    use(mnist, first.url)
    assert_fetched(mnist, tmp_path)
    assert first.requests == second.requests


def test_beginning_of_another_file_is_not_continued(mnist, serve, use, tmp_path):
    other, good = serve(mnist.files), serve(mnist.files)
    other.files[LARGEST] = b"x" * len(mnist.files[LARGEST])
    other.breaks[LARGEST] = [5000, 0]
    use(mnist, other.url, good.url)
    assert_fetched(mnist, tmp_path)
    asked = [part for requested, part in good.requests if requested == LARGEST]
    assert asked == ["bytes=5000-", None]


def test_connection_that_keeps_breaking_is_given_up(mnist, serve, use, tmp_path):
    mirror = serve(mnist.files)
    mirror.breaks[LARGEST] = [100] * 5
    use(mnist, mirror.url)
    with pytest.raises(DatasetError, match="Connection broken"):
        mnist.fetch(data_home=tmp_path)
    assert_nothing_else(mnist, tmp_path)
    assert_fetched(mnist, tmp_path)


@LEFT
def test_interrupted_download_leaves_nothing(mnist, serve, use, monkeypatch, tmp_path):
    mirror = serve(mnist.files)
    mirror.breaks[LARGEST] = [5000]
    mirror.stalls.clear()
    use(mnist, mirror.url)
    part = tmp_path / "mnist" / ".download" / f"{LARGEST}.part"

    def interrupt():
        while not (part.exists() and part.stat().st_size == 5000):
            time.sleep(0.01)
        signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)

    # A shell starts what runs in its background with this signal ignored.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    thread = threading.Thread(target=interrupt)
    thread.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            mnist.fetch(data_home=tmp_path)
    finally:
        signal.signal(signal.SIGINT, before)
    thread.join()
    assert_nothing_else(mnist, tmp_path)
    mirror.stalls.set()
    assert_fetched(mnist, tmp_path)


@pytest.mark.parametrize("package", ["pooch", "requests"])
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
    for package in ("pooch", "requests", "PIL", "PIL.Image"):
        monkeypatch.setitem(sys.modules, package, None)
    np.testing.assert_array_equal(downloaded.fetch(data_home=home).data, first)


def test_progress_is_shown_where_tqdm_is_there(mnist, serve, use, monkeypatch, capfd, tmp_path):
    use(mnist, serve(mnist.files).url)
    assert_fetched(mnist, tmp_path / "with")
    assert "100%" in capfd.readouterr().err
    monkeypatch.setattr("skvim.datasets._transfer.find_spec", lambda name: None)
    assert_fetched(mnist, tmp_path / "without")
    assert "100%" not in capfd.readouterr().err


def test_progress_of_a_failed_download_ends(mnist, serve, use, quick, monkeypatch, tmp_path):
    mirrors = [serve(mnist.files) for _ in range(3)]
    for mirror, fault in zip(mirrors, ("cut", "sends more", "stalls"), strict=True):
        FAULTS[fault][1](mirror)
    use(mnist, *(mirror.url for mirror in mirrors))
    bars = []

    class Bar(tqdm.auto.tqdm):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            bars.append(self)

    monkeypatch.setattr(tqdm.auto, "tqdm", Bar)
    with pytest.raises(DatasetError, match="could not be downloaded"):
        mnist.fetch(data_home=tmp_path)
    assert len(bars) >= 3
    assert all(bar.disable for bar in bars)  # as after close()
