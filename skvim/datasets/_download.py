"""Files taken from the first mirror that has them, checked, and resumed where they broke off."""

import os
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from tempfile import gettempprefix
from typing import Any, final

from skvim._disk import rename_durably
from skvim.datasets._extras import needs
from skvim.exceptions import DatasetError

__all__ = ["Remote", "obtain"]

_TRIES = 5  # per mirror, as long as each changes something
_TIMEOUT = 30.0  # seconds without a byte, after which a mirror counts as broken
_CHUNK = 1 << 14  # bytes; what has come of a chunk is lost when the connection breaks


@final
@dataclass(frozen=True)
class Remote:
    """A file with its checksum, ``"md5:..."`` or ``"sha256:..."``, and folders that offer it."""

    name: str
    checksum: str
    mirrors: tuple[str, ...]


def obtain(folder: Path, remote: Remote, download_if_missing: bool) -> Path:
    """Return the file in the folder, downloaded if it is not there.

    The caller holds the lock of the folder. A file that is there already is taken as it is: what
    it holds is checked when it is decoded.

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
    """Try the mirrors in turn; the part of a file that one gave is continued by the next."""
    with needs("pooch", f"Downloading {remote.name}"):
        import pooch
        import requests
    # Of the errors of the system, only these are the network's: a full disk is none of the mirror.
    broken = (requests.RequestException, ConnectionError, TimeoutError, ValueError)
    work = folder / ".download"
    work.mkdir(exist_ok=True)
    part = work / f"{remote.name}.part"
    _clean(work)
    failures = []
    for mirror in remote.mirrors:
        url = f"{mirror}/{remote.name}"
        for _ in range(_TRIES):
            before = _size(part)
            try:
                pooch.retrieve(
                    url, remote.checksum, remote.name, work, downloader=_resuming(pooch, part)
                )
            except broken as error:
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


def _clean(work: Path) -> None:
    """Delete what a killed process left and no call can use: the lock is ours now."""
    for path in work.glob(f"{gettempprefix()}*"):
        path.unlink()


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _resuming(pooch: Any, part: Path) -> Any:
    """Return a downloader for pooch that appends to what an earlier one left in ``part``."""

    def download(url: str, output_file: str, _: Any) -> None:
        with open(part, "ab") as file:

            def start_anew(response: Any, **_: Any) -> None:
                # The server sends the whole file (200), or has less than is here already (416).
                if response.status_code in (200, 416):
                    file.truncate(0)

            # Unpacked on the way, an archive would fail its checksum.
            headers = {"Accept-Encoding": "identity"}
            if file.tell() > 0:
                headers["Range"] = f"bytes={file.tell()}-"
            pooch.HTTPDownloader(
                progressbar=find_spec("tqdm") is not None,
                chunk_size=_CHUNK,
                timeout=_TIMEOUT,
                headers=headers,
                hooks={"response": start_anew},
            )(url, file, None)
        os.replace(part, output_file)

    return download
