"""Atomic writing of files: a reader sees the old content or the new one, never a part."""

import os
import stat
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import BinaryIO

__all__ = ["TEMPORARY_SUFFIX", "rename_durably", "write_atomically"]

#: Ends the names of files that are still being written.
TEMPORARY_SUFFIX = ".unfinished"


@contextmanager
def write_atomically(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Open a temporary file in the same folder; synchronise and rename it at the end of the block.

    Whatever happens on the way, ``path`` holds what it held before or all that was written. An
    exception in the block deletes the temporary file; only a process that is killed leaves it
    behind, as ``.*.unfinished``.

    Parameters
    ----------
    path : str or path-like
        A symbolic link is followed, and the mode of a file that is replaced is kept.

    Yields
    ------
    file
        Opened for writing bytes.

    Raises
    ------
    OSError
        When the folder cannot be written to, the disk is full, or ``path`` is no regular file.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from skvim._disk import write_atomically
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with write_atomically(Path(folder) / "numbers.txt") as file:
    ...         n_bytes = file.write(b"1 2 3")
    ...     Path(folder, "numbers.txt").read_text()
    '1 2 3'
    """
    target = Path(os.path.realpath(path))
    if target.exists() and not target.is_file():
        raise OSError("it exists already and is not a regular file")
    mode = stat.S_IMODE(target.stat().st_mode) if target.exists() else None
    # From the first byte nobody may read it who may not read what it replaces.
    opener = partial(os.open, mode=0o666 if mode is None else mode)
    temporary = target.with_name(f".{uuid.uuid4().hex}{TEMPORARY_SUFFIX}")
    try:
        with open(temporary, "xb", opener=opener) as file:
            yield file
        if mode is not None:
            os.chmod(temporary, mode)  # what the umask has taken away
        rename_durably(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)


def rename_durably(source: Path, target: Path) -> None:
    """Rename a complete file, so that a crash of the machine leaves ``target`` old or new."""
    with open(source, "rb+") as file:
        os.fsync(file.fileno())
    os.replace(source, target)
    _sync_folder(target.parent)


def _sync_folder(folder: Path) -> None:
    """Make a renaming durable, where folders can be synchronised.

    Some file systems refuse, and a folder may be open for writing alone. Such errors are ignored,
    as the file has its new name already.
    """
    if os.name == "posix":
        with suppress(OSError):
            descriptor = os.open(folder, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
