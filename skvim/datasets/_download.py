"""Checked and resumable downloads from a list of mirrors."""

import os
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from tempfile import gettempprefix
from typing import Any, final

from skvim._disk import rename_durably
from skvim._imports import import_whole
from skvim.datasets._extras import require_extra
from skvim.exceptions import DatasetError

__all__ = ["Remote", "fetch_file"]

_TRIES = 5  # per mirror, as long as each gets further
_TIMEOUT = 30.0  # seconds without a byte before the next mirror is tried
_CHUNK = 1 << 14  # bytes; a chunk that is incomplete when the connection breaks is lost


@final
@dataclass(frozen=True)
class Remote:
    """A file with its checksum, ``"md5:..."`` or ``"sha256:..."``, and the URLs of its mirrors."""

    name: str
    checksum: str
    mirrors: tuple[str, ...]


def fetch_file(folder: Path, remote: Remote, download_if_missing: bool) -> Path:
    """Return the path of a file in the folder, after downloading it if it is missing.

    The caller holds the lock of the folder. An existing file is not checked here: its content is
    checked when it is decoded.

    Raises
    ------
    DatasetError
        If the file is missing and may not or cannot be downloaded.
    """
    path = folder / remote.name
    if path.exists():
        return path
    if not download_if_missing:
        raise DatasetError(
            f"{path} is missing, and download_if_missing is False. Put the file there, or call "
            "with download_if_missing=True."
        )
    return _download(folder, remote)


def _download(folder: Path, remote: Remote) -> Path:
    """Try the mirrors in turn; each resumes what the one before has left incomplete."""
    with require_extra("pooch", f"Downloading {remote.name}"):
        import_whole("pooch")
        import_whole("requests")
        import pooch
        import requests
    # Errors of the network; others, such as a full disk, are not the fault of the mirror.
    network_errors = (requests.RequestException, ConnectionError, TimeoutError, ValueError)
    work = folder / ".download"
    work.mkdir(exist_ok=True)
    part = work / f"{remote.name}.part"
    _delete_leftovers(work)
    failures = []
    for mirror in remote.mirrors:
        url = f"{mirror}/{remote.name}"
        for _ in range(_TRIES):
            before = _size(part)
            try:
                pooch.retrieve(
                    url,
                    remote.checksum,
                    remote.name,
                    work,
                    downloader=_resuming_downloader(pooch, part),
                )
            except network_errors as error:
                failures.append(f"- {url}: {error}")
            else:
                rename_durably(work / remote.name, folder / remote.name)
                return folder / remote.name
            if _size(part) == before:
                break
    raise DatasetError(
        f"{remote.name} could not be downloaded:\n" + "\n".join(failures) + "\nCheck the network "
        "and call again; a download that broke off is continued. Or get the file elsewhere "
        f"({remote.checksum}) and put it into {folder}."
    )


def _delete_leftovers(work: Path) -> None:
    """Delete temporary files of a killed process; this one holds the lock."""
    for path in work.glob(f"{gettempprefix()}*"):
        path.unlink()


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _resuming_downloader(pooch: Any, part: Path) -> Any:
    """Return a downloader for pooch that resumes the incomplete file ``part``."""

    def download(url: str, output_file: str, _: Any) -> None:
        with open(part, "ab") as file:

            def discard_part(response: Any, **_: Any) -> None:
                # The server sends the whole file (200), or has less than is here already (416).
                if response.status_code in (200, 416):
                    file.truncate(0)

            # A server that compresses or unpacks the file would change its checksum.
            headers = {"Accept-Encoding": "identity"}
            if file.tell() > 0:
                headers["Range"] = f"bytes={file.tell()}-"
            pooch.HTTPDownloader(
                progressbar=find_spec("tqdm") is not None,
                chunk_size=_CHUNK,
                timeout=_TIMEOUT,
                headers=headers,
                hooks={"response": discard_part},
            )(url, file, None)
        os.replace(part, output_file)

    return download
