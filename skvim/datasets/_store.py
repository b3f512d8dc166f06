"""Arrays stored as .npy files: written atomically, read through memory maps."""

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias, final

import numpy as np
from numpy.typing import NDArray

from skvim._disk import TEMPORARY_SUFFIX, write_atomically
from skvim._imports import import_whole
from skvim.datasets._extras import require_extra
from skvim.exceptions import DatasetError, SkvimWarning

__all__ = ["Chunks", "StoredArray", "load_or_build"]

# Batches of rows of all stored arrays, in the order of the arrays.
Chunks: TypeAlias = Iterator[tuple[NDArray[Any], ...]]

_LOCK_SECONDS = 3600.0  # longer than any download that still makes sense


@final
@dataclass(frozen=True)
class StoredArray:
    """Name, shape and dtype of an array that is stored as a file."""

    name: str
    shape: tuple[int, ...]
    dtype: str = "uint8"

    def path(self, folder: Path) -> Path:
        """Return the file; its name has a version, to be raised when the layout changes."""
        return folder / f"{self.name}.v1.npy"


def load_or_build(
    folder: Path, arrays: Sequence[StoredArray], build: Callable[[], Chunks]
) -> list[NDArray[Any]]:
    """Return read-only arrays mapped from files, building all files first if one is missing.

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
        with _storage_errors(folder), _folder_lock(folder):
            mapped = _load(folder, arrays)  # another process may have built them meanwhile
            if mapped is None:
                _warn_of_damage(folder, arrays)
                _write(folder, arrays, build())
                mapped = _load(folder, arrays)
    if mapped is None:
        raise DatasetError(
            f"The files just written to {folder} cannot be read back. Check the disk, or choose "
            "another folder with data_home or the environment variable SKVIM_DATA."
        )
    return mapped


def _load(folder: Path, arrays: Sequence[StoredArray]) -> list[NDArray[Any]] | None:
    """Map all files, or return None if one is missing or not as expected."""
    loaded = []
    for array in arrays:
        path = array.path(folder)
        try:
            mapped = np.lib.format.open_memmap(path, mode="r")
            size = path.stat().st_size
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise DatasetError(
                f"{path} cannot be read: {error.strerror}. Make it readable, or choose another "
                "folder with data_home or the environment variable SKVIM_DATA."
            ) from error
        except Exception:  # a damaged header makes NumPy's parser fail in many ways
            return None
        expected = (array.shape, np.dtype(array.dtype), size - mapped.nbytes, True)
        if (mapped.shape, mapped.dtype, mapped.offset, mapped.flags.c_contiguous) != expected:
            return None
        # As a plain ndarray, because reductions of a memmap return memmaps without dimensions.
        loaded.append(np.asarray(mapped))
    return loaded


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
    for leftover in folder.glob(f"*{TEMPORARY_SUFFIX}"):
        leftover.unlink()  # left by a process that was killed: this one holds the lock
    with ExitStack() as stack:
        # Plain writes, as a writable memory map kills the process when the disk is full.
        files = [stack.enter_context(write_atomically(array.path(folder))) for array in arrays]
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


@contextmanager
def _storage_errors(folder: Path) -> Iterator[None]:
    """Turn errors of the file system into a ``DatasetError`` that says what to do."""
    try:
        yield
    except DatasetError:
        raise
    except (OSError, NotImplementedError) as error:  # the latter where files cannot be locked
        reason = getattr(error, "strerror", None) or error
        raise DatasetError(
            f"Nothing could be stored in {folder}: {reason}. Free space there or make it a folder "
            "that can be written to, or choose another one with data_home or the environment "
            "variable SKVIM_DATA."
        ) from error


@contextmanager
def _folder_lock(folder: Path) -> Iterator[None]:
    """Hold the lock file of a folder; the system releases it when the process dies."""
    with require_extra("filelock", "Storing a data set"):
        import_whole("filelock")
        from filelock import FileLock, Timeout
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / ".lock", timeout=_LOCK_SECONDS)
    try:
        lock.acquire()
    except Timeout as error:
        raise DatasetError(
            f"Another process has held {lock.lock_file} for {_LOCK_SECONDS / 60:.0f} minutes. "
            "Wait until it has finished storing the data set, or end it, and call again."
        ) from error
    try:
        yield
    finally:
        lock.release()
