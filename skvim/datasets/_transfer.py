"""One download of a file or of the rest of it, limited in size and in time."""

import time
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from threading import Lock, Thread
from typing import Any, final

__all__ = ["TooSlowError", "transfer"]

_TIMEOUT = 30.0  # seconds without a byte after which a mirror is given up
_PERIOD = 60.0  # seconds ...
_LEAST = 600 * 1024  # ... in each of which a mirror has to send as many bytes, 10 KiB/s
_INTERVAL = 0.2  # seconds after which a keyboard interrupt is noticed on all systems
_CHUNK = 1 << 14  # bytes; a chunk that is incomplete when the connection breaks is lost


@final
class TooSlowError(Exception):
    """A mirror sends less than it has to in a period."""


def transfer(url: str, part: Path, n_bytes: int) -> None:
    """Append to the incomplete file ``part`` what is missing of ``n_bytes``.

    Raises
    ------
    ValueError
        If the server offers or sends another number of bytes. What it sent is thrown away if that
        cannot be the beginning of the file.
    TooSlowError
        If less than 600 KiB come in a minute, be it because of the connection, the headers or the
        content. The request is left to itself; it ends with the next bytes that it receives.
    requests.RequestException, OSError
        If the connection or the disk fails.
    """
    request = _Request(url, part, n_bytes)
    thread = Thread(target=request.run, daemon=True)
    thread.start()
    try:
        _watch(request, thread)
    finally:
        request.give_up()
    if request.error is not None:
        raise request.error
    if request.size < n_bytes:
        raise ValueError(f"it sent {request.size} of {n_bytes} bytes")


def _watch(request: "_Request", thread: Thread) -> None:
    """Wait for the end of the thread, as long as enough comes in each period."""
    before, since = 0, time.monotonic()
    while thread.is_alive():
        thread.join(_INTERVAL)
        if time.monotonic() - since >= _PERIOD and thread.is_alive():
            received = request.n_received - before
            if received < _LEAST:
                raise TooSlowError(f"it sent only {received} bytes in {_PERIOD:g} seconds")
            before, since = before + received, time.monotonic()


@final
class _Request:
    """A request in a thread of its own, which another one may give up at any time.

    pooch writes to it as to a file. Errors are kept for the other thread.
    """

    def __init__(self, url: str, part: Path, n_bytes: int) -> None:
        self.error: Exception | None = None
        self.n_received = 0
        self._url = url
        self._n_bytes = n_bytes
        self._file = open(part, "ab")  # noqa: SIM115 (closed by give_up)
        self.size = self._start = self._file.tell()
        self._lock = Lock()  # nothing is written any more after give_up
        self._response: Any = None
        self._bar: Any = None

    def run(self) -> None:
        """Make the request."""
        import pooch

        # A server that compresses the file would change its checksum.
        headers = {"Accept-Encoding": "identity"}
        if self._start > 0:
            headers["Range"] = f"bytes={self._start}-"
        try:
            pooch.HTTPDownloader(
                chunk_size=_CHUNK,
                timeout=_TIMEOUT,
                headers=headers,
                hooks={"response": self._check_response},
            )(self._url, self, None)
        except Exception as error:
            self.error = error
        finally:
            if self._response is not None:
                self._response.close()
            self._close_bar()

    def give_up(self) -> None:
        """Close the file, after which the request ends as soon as it receives anything."""
        with self._lock, suppress(OSError):
            self._file.close()
        self._close_bar()

    def write(self, content: bytes) -> None:
        """Append to the file what was received."""
        with self._lock:
            if self.size + len(content) > self._n_bytes:
                self._clear()
                raise ValueError(f"it sends more than the {self._n_bytes} bytes of the file")
            self._file.write(content)
            self._file.flush()
            self.size += len(content)
            self.n_received += len(content)
        if self._bar is not None:
            self._bar.update(len(content))

    def flush(self) -> None:
        """Do nothing, as all is written already."""

    def _close_bar(self) -> None:
        # pooch leaves its own bars open where a download fails.
        if self._bar is not None:
            self._bar.close()

    def _clear(self) -> None:
        self._file.truncate(0)
        self.size = 0

    def _check_response(self, response: Any, **_: Any) -> None:
        """Refuse an answer that cannot contain the file; redirections pass."""
        self._response = response
        if response.is_redirect or response.status_code >= 400:  # an error follows
            return
        if response.status_code not in (200, 206):
            raise ValueError(f"it answers with status {response.status_code}")
        if response.status_code == 200 and self._start > 0:  # all of the file, not its rest
            with self._lock:
                self._clear()
        self._check_headers(response)
        if find_spec("tqdm") is not None:
            from tqdm.auto import tqdm

            self._bar = tqdm(
                total=self._n_bytes, initial=self.size, ncols=79, unit="B", unit_scale=True
            )

    def _check_headers(self, response: Any) -> None:
        """Raise ``ValueError`` unless encoding, range and length are those of what is missing."""
        encoding = response.headers.get("Content-Encoding", "identity")
        if encoding != "identity":
            raise ValueError(f"it sends the file in the encoding {encoding}")
        if response.status_code == 206:
            given = response.headers.get("Content-Range", "")
            if not given.startswith(f"bytes {self._start}-"):
                raise ValueError(f"it sends the range {given!r} instead of from {self._start}")
        length = int(response.headers.get("Content-Length", self._n_bytes - self.size))
        if self.size + length != self._n_bytes:
            raise ValueError(f"it offers {self.size + length} instead of {self._n_bytes} bytes")
