"""Checked downloads from a list of mirrors."""

import hashlib
import os
import shutil
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import final

from skvim._disk import rename_durably
from skvim._uninterrupted import import_whole
from skvim.datasets._extras import require_extra
from skvim.datasets._store import DOWNLOADS, folder_lock, storage_errors
from skvim.datasets._transfer import TooSlowError, transfer
from skvim.exceptions import DatasetError

__all__ = ["Remote", "fetch_checked", "fetch_file"]

_TRIES = 5  # per mirror, as long as each gets further
_LONGEST_REASON = 300  # characters: mirrors choose some of the text


@final
@dataclass(frozen=True)
class Remote:
    """A file: its size, its checksum, ``"md5:..."`` or ``"sha256:..."``, and URLs of mirrors."""

    name: str
    n_bytes: int
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


def fetch_checked(folder: Path, remote: Remote, remedy: str) -> Path:
    """Return the path of a file with the right checksum, after downloading it if it is missing.

    Parameters
    ----------
    folder : Path
        Where the file is, or is stored.
    remote : Remote
        The file.
    remedy : str
        How the user chooses another folder.

    Raises
    ------
    DatasetError
        If the file cannot be downloaded, stored or read, or an existing one is another.
    """
    path = folder / remote.name
    with storage_errors(folder, remedy):
        if not path.exists():
            with folder_lock(folder):
                fetch_file(folder, remote, download_if_missing=True)
    algorithm, _, expected = remote.checksum.partition(":")
    try:
        with open(path, "rb") as file:
            found = hashlib.file_digest(file, algorithm).hexdigest()
    except OSError as error:
        raise DatasetError(
            f"{path} cannot be read: {error.strerror}. Make it readable, or {remedy}."
        ) from error
    if found != expected:
        raise DatasetError(
            f"{path} is not the published file: its {algorithm} is {found} instead of {expected}. "
            "Delete it and call again to download it afresh."
        )
    return path


def _download(folder: Path, remote: Remote) -> Path:
    """Try the mirrors in turn; nothing incomplete is left, whatever happens."""
    with require_extra("pooch", f"Downloading {remote.name}"):
        import_whole("pooch")
        import_whole("requests")
    work = folder / DOWNLOADS
    path = folder / remote.name
    failures = []
    try:
        work.mkdir()
        for mirror in remote.mirrors:
            url = f"{mirror}/{remote.name}"
            reason = _failure(url, work, remote)
            if reason is None:
                rename_durably(work / remote.name, path)
                return path
            failures.append(f"- {url}: {reason}")
    finally:
        shutil.rmtree(work, ignore_errors=True)
    raise DatasetError(
        f"{remote.name} could not be downloaded:\n" + "\n".join(failures) + "\nCheck the network "
        f"and call again, or get the file elsewhere ({remote.checksum}) and put it into {folder}."
    )


def _failure(url: str, work: Path, remote: Remote) -> str | None:
    """Download a file from one mirror, continuing what is there; return why it failed, or None."""
    import pooch
    import requests
    from urllib3.exceptions import HTTPError

    # Faults of the mirror; others, such as a full disk, are not.
    faults = (requests.RequestException, HTTPError, HTTPException, ConnectionError, TimeoutError)
    part = work / f"{remote.name}.part"

    def download(url: str, output_file: str, _: object) -> None:
        transfer(url, part, remote.n_bytes)
        os.replace(part, output_file)

    reason = ""
    for _ in range(_TRIES):
        before = _size(part)
        try:
            pooch.retrieve(url, remote.checksum, remote.name, work, downloader=download)
        except TooSlowError as error:
            return str(error)
        except (*faults, ValueError) as error:
            reason = " ".join(str(error).split())[:_LONGEST_REASON]
        else:
            return None
        # The next try continues, or starts anew if what was there before was of another file.
        if _size(part) == before:
            break
    return reason


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
