"""Atomic writing of files: a reader sees the old content or the new one, never a part."""

import errno
import hashlib
import os
import socket
import stat
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import BinaryIO

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

__all__ = ["TEMPORARY_SUFFIX", "remove_stale", "rename_durably", "write_atomically"]

#: Ends the names of files that are still being written.
TEMPORARY_SUFFIX = ".unfinished"
# Stands for the host in the names of files that could not be locked.
_UNLOCKED = "unlocked"


@contextmanager
def write_atomically(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Open a temporary file in the same folder; synchronise and rename it at the end of the block.

    Whatever happens on the way, ``path`` holds what it held before or all that was written. An
    exception in the block deletes the temporary file. A process that is killed leaves it behind, as
    ``.*.unfinished``; the next call for a file of this folder deletes it, see :func:`remove_stale`.

    Parameters
    ----------
    path : str or path-like
        A symbolic link is followed: the file that it points to is written, and the link stays.
        Permissions of a file that is replaced are kept, and its owner and group as far as the
        system allows; without its group the new group gets the permissions of others.

    Yields
    ------
    file
        Opened for writing bytes; it can be read and positioned too.

    Raises
    ------
    OSError
        When the folder cannot be written to, the disk is full, ``path`` is no regular file, or
        symbolic links point to each other.

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
    if target.is_symlink():  # one of a circle
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
    if target.exists() and not target.is_file():
        raise OSError("it exists already and is not a regular file")
    replaced = target.stat() if target.exists() else None
    remove_stale(target.parent)
    with _temporary_file(target.parent, replaced) as temporary:
        with open(temporary, "rb+") as file:
            yield file
        if replaced is not None:
            _copy_owner(temporary, replaced)
        rename_durably(temporary, target)


def remove_stale(folder: Path, *, exclusive: bool = False) -> None:
    """Delete temporary files that processes of this host left in a folder when they were killed.

    Their writers hold a lock on them, which ends with the process. Files of other hosts that share
    the folder are left alone, as are all where the system has no such locks.

    Parameters
    ----------
    folder : Path
        Where the files are.
    exclusive : bool, default=False
        Whether the caller alone may write to the folder now: then all such files are deleted.
    """
    if fcntl is None and not exclusive:
        return
    ending = TEMPORARY_SUFFIX if exclusive else f".{_host()}{TEMPORARY_SUFFIX}"
    remove = os.unlink if exclusive else _remove_unlocked
    with suppress(OSError):  # a folder may be open for writing alone
        with os.scandir(folder) as entries:
            names = [
                entry.path
                for entry in entries
                if entry.name.startswith(".") and entry.name.endswith(ending)
            ]
        for name in names:
            with suppress(OSError):  # in use, of another user, or removed in the meantime
                remove(name)


def rename_durably(source: Path, target: Path) -> None:
    """Rename a complete file, so that a crash of the machine leaves ``target`` old or new."""
    with open(source, "rb+") as file:
        os.fsync(file.fileno())
    os.replace(source, target)
    _sync_folder(target.parent)


@contextmanager
def _temporary_file(folder: Path, replaced: os.stat_result | None) -> Iterator[Path]:
    """Create a temporary file, locked until the end of the block, and delete it if it is left."""
    # From the first byte nobody may read it who may not read what it replaces.
    mode = 0o666 if replaced is None else stat.S_IMODE(replaced.st_mode) & 0o700
    temporary, descriptor = _create(folder, mode, _UNLOCKED if fcntl is None else _host())
    try:
        if fcntl is None:
            os.close(descriptor)  # Windows renames no open file
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)
        if fcntl is not None:
            os.close(descriptor)


def _create(folder: Path, mode: int, host: str) -> tuple[Path, int]:
    """Create a temporary file and lock it; return its path and an open descriptor."""
    while True:
        temporary = folder / f".{uuid.uuid4().hex}.{host}{TEMPORARY_SUFFIX}"
        descriptor = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL, mode | 0o600)
        if host == _UNLOCKED:
            return temporary, descriptor
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        except OSError:  # this file system has no locks
            os.close(descriptor)
            temporary.unlink(missing_ok=True)
            return _create(folder, mode, _UNLOCKED)
        # Before it was locked, another process may have taken it for a stale one.
        if os.fstat(descriptor).st_nlink > 0:
            return temporary, descriptor
        os.close(descriptor)


def _remove_unlocked(name: str) -> None:
    """Delete a temporary file; OSError if a process is writing it."""
    descriptor = os.open(name, os.O_RDWR)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.unlink(name)
    finally:
        os.close(descriptor)


@cache
def _host() -> str:
    """Return a name for this running system, which processes on other machines do not share."""
    name = socket.gethostname()
    with suppress(OSError):  # Linux: drawn at each start, the same in all containers
        name = Path("/proc/sys/kernel/random/boot_id").read_text()
    return hashlib.sha256(name.encode()).hexdigest()[:16]


def _copy_owner(path: Path, replaced: os.stat_result) -> None:
    """Give a file the owner, the group and the permissions of another, where the system allows."""
    mode = stat.S_IMODE(replaced.st_mode)
    if os.name == "posix":
        own = os.stat(path)
        if (own.st_uid, own.st_gid) != (replaced.st_uid, replaced.st_gid):
            mode = _change_owner(path, replaced, mode)
    os.chmod(path, mode)  # last: a new owner clears some bits, and the umask took others away


def _change_owner(path: Path, replaced: os.stat_result, mode: int) -> int:
    """Change owner and group, or the group alone; return the mode that then is safe."""
    try:
        os.chown(path, replaced.st_uid, replaced.st_gid)
    except OSError:
        mode &= 0o777  # set-user-ID and the like are for the former owner
        try:
            os.chown(path, -1, replaced.st_gid)
        except OSError:  # the group is another one: it may do what others may
            mode = mode & 0o707 | (mode & 0o007) << 3
    return mode


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
