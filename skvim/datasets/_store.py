"""Arrays stored as .npy files: written atomically, checked and read through memory maps.

After the array stands a checksum of all before it, where NumPy does not read.
"""

import math
import os
import shutil
import warnings
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias, final

import numpy as np
from filelock import FileLock, Timeout
from numpy.typing import NDArray

from skvim._disk import remove_stale, write_atomically
from skvim.exceptions import DatasetError, SkvimWarning

__all__ = [
    "DOWNLOADS",
    "Chunks",
    "StoredArray",
    "folder_lock",
    "load_or_build",
    "storage_errors",
]

# Batches of rows of all stored arrays, in the order of the arrays.
Chunks: TypeAlias = Iterator[tuple[NDArray[Any], ...]]

#: Folder of unfinished downloads, in the folder of a data set.
DOWNLOADS = ".download"
_REMEDY = "choose another folder with data_home or the environment variable SKVIM_DATA"
_LOCK_SECONDS = 3600.0  # longer than any download that still makes sense
_N_CHECKSUM = 4  # bytes
_LONGEST_HEADER = 1024  # bytes; NumPy writes 128
_CHUNK = 1 << 20  # bytes


@final
@dataclass(frozen=True)
class StoredArray:
    """Name, shape and dtype of an array that is stored as a file."""

    name: str
    shape: tuple[int, ...]
    dtype: str = "uint8"

    def path(self, folder: Path) -> Path:
        """Return the file; its name has a version, to be raised when the layout changes."""
        return folder / f"{self.name}.v2.npy"

    @property
    def n_bytes(self) -> int:
        """Bytes of the array."""
        return math.prod(self.shape) * np.dtype(self.dtype).itemsize


def load_or_build(
    folder: Path, arrays: Sequence[StoredArray], build: Callable[[], Chunks]
) -> list[NDArray[Any]]:
    """Return read-only arrays mapped from files, building all files first if one is missing.

    Files are read once, to compare them with their checksums; a damaged one is built again.

    Safe when several processes or threads call it at once: one builds, and the others wait.

    Parameters
    ----------
    folder : Path
        Where the files are; created if missing.
    arrays : sequence of StoredArray
        Expected name, shape and dtype of each file.
    build : callable
        Called under the lock of the folder. Yields rows of all arrays, chunk by chunk.

    Returns
    -------
    list of ndarray
        In the order of ``arrays``.

    Raises
    ------
    DatasetError
        If the files cannot be read or written; what was stored before is left as it was.
    """
    mapped = _load(folder, arrays)
    if mapped is None:
        # Before anything can fail because the folder must not be written to.
        _warn_of_damage(folder, arrays)
        with storage_errors(folder, _REMEDY), folder_lock(folder):
            mapped = _load(folder, arrays)  # another process may have built them meanwhile
            if mapped is None:
                _write(folder, arrays, build())
                mapped = _load(folder, arrays)
    if mapped is None:
        raise DatasetError(
            f"The files just written to {folder} cannot be read back. Check the disk, or {_REMEDY}."
        )
    return mapped


def _load(folder: Path, arrays: Sequence[StoredArray]) -> list[NDArray[Any]] | None:
    """Map all files, or return None if one is missing or damaged."""
    loaded = []
    for array in arrays:
        path = array.path(folder)
        try:
            with open(path, "rb") as file:
                mapped = _map(file, array) if _is_sound(file, array) else None
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise DatasetError(
                f"{path} cannot be read: {error.strerror}. Make it readable, or {_REMEDY}."
            ) from error
        if mapped is None:
            return None
        loaded.append(mapped)
    return loaded


def _is_sound(file: BinaryIO, array: StoredArray) -> bool:
    """Tell whether a file has the right size and ends with the checksum of what is before."""
    left = os.fstat(file.fileno()).st_size - _N_CHECKSUM
    if not 0 < left - array.n_bytes <= _LONGEST_HEADER:
        return False
    checksum = 0
    # Read and not mapped: an error of the disk then raises OSError instead of ending the process.
    while left > 0 and (content := file.read(min(left, _CHUNK))):
        checksum = zlib.crc32(content, checksum)
        left -= len(content)
    return file.read(_N_CHECKSUM + 1) == _as_bytes(checksum)


def _as_bytes(checksum: int) -> bytes:
    return checksum.to_bytes(_N_CHECKSUM, "little")


def _map(file: BinaryIO, array: StoredArray) -> NDArray[Any] | None:
    """Map the array of a file that is sound, or return None if it holds another array."""
    file.seek(0)
    try:
        np.lib.format.read_magic(file)
        header = np.lib.format.read_array_header_1_0(file)
    except ValueError:
        return None
    if header != (array.shape, False, np.dtype(array.dtype)):
        return None
    mapped = np.memmap(file, array.dtype, "r", file.tell(), array.shape)
    # As a plain ndarray, because reductions of a memmap return memmaps without dimensions.
    return np.asarray(mapped)


def _warn_of_damage(folder: Path, arrays: Sequence[StoredArray]) -> None:
    for array in arrays:
        path = array.path(folder)
        if path.exists() and _load(folder, [array]) is None:
            warnings.warn(
                f"{path} is damaged and is built again. If this happens twice, check the disk.",
                SkvimWarning,
                stacklevel=5,
            )


def _write(folder: Path, arrays: Sequence[StoredArray], chunks: Chunks) -> None:
    """Write all files, each under a temporary name until all are complete."""
    with ExitStack() as stack:
        # Plain writes, as a writable memory map kills the process when the disk is full.
        files = [
            _CheckedFile(stack.enter_context(write_atomically(array.path(folder))))
            for array in arrays
        ]
        for file, array in zip(files, arrays, strict=True):
            header = {
                "descr": np.dtype(array.dtype).str,
                "fortran_order": False,
                "shape": array.shape,
            }
            np.lib.format.write_array_header_1_0(file, header)
        for chunk in chunks:
            for file, array, rows in zip(files, arrays, chunk, strict=True):
                file.write(np.ascontiguousarray(rows, dtype=array.dtype).data)
        for file in files:
            file.write_checksum()


@final
class _CheckedFile:
    """Writes a file and, at its end, a checksum of all that was written."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._checksum = 0

    def write(self, content: bytes | memoryview, /) -> int:
        self._checksum = zlib.crc32(content, self._checksum)
        return self._file.write(content)

    def write_checksum(self) -> None:
        self._file.write(_as_bytes(self._checksum))


@contextmanager
def storage_errors(folder: Path, remedy: str) -> Iterator[None]:
    """Turn errors of the file system into a ``DatasetError`` that says what to do.

    Parameters
    ----------
    folder : Path
        Where the block stores files.
    remedy : str
        How the user chooses another folder.
    """
    try:
        yield
    except DatasetError:
        raise
    except (OSError, NotImplementedError) as error:  # the latter where files cannot be locked
        reason = getattr(error, "strerror", None) or error
        raise DatasetError(
            f"Nothing could be stored in {folder}: {reason}. Free space there or make it a folder "
            f"that can be written to, or {remedy}."
        ) from error


@contextmanager
def folder_lock(folder: Path) -> Iterator[None]:
    """Hold the lock file of a folder; the system releases it when the process ends.

    What a process that was killed has left unfinished in the folder is deleted.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / ".lock", timeout=_LOCK_SECONDS)
    try:
        lock.acquire()
    except Timeout as error:
        raise DatasetError(
            f"Another process has held {lock.lock_file} for {_LOCK_SECONDS / 60:.0f} minutes. "
            "Wait until it has finished storing files, or end it, and call again."
        ) from error
    try:
        remove_stale(folder, exclusive=True)
        shutil.rmtree(folder / DOWNLOADS, ignore_errors=True)
        yield
    finally:
        lock.release()
