"""File format: named arrays and one JSON document in a safetensors file, with a checksum."""

import hashlib
import json
import os
import re
import stat
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from skvim._disk import write_atomically
from skvim._persistence._header import (
    DIGITS,
    LONGEST,
    MOST_ARRAYS,
    START,
    Arrays,
    Entry,
    make_header,
    ordered,
    parse_header,
)
from skvim.exceptions import FileAccessError, FileFormatError, UnsavableError

__all__ = ["FORMAT_VERSION", "no_memory", "read_archive", "write_archive"]

#: To be raised when the format changes so that an older skvim would misread it.
FORMAT_VERSION = 1
_LENGTH = 8  # bytes that hold the length of the header
_CHUNK = 2**20  # bytes that are hashed while a cache holds them
_ALIGNED = 64  # bytes, as torch's memory: sums may be rounded by their alignment
_BEGINNING = 128  # bytes that are enough for START
# Lists and objects of a document, which need thirty times the memory of their characters.
_MOST_CONTAINERS = 1_000_000
_STRING_OR_CONTAINER = re.compile(r'"(?:[^"\\]|\\.)*"|[\[{]')
_PICKLES = (b"\x80", b"PK", b"(")
_DEVELOPMENT = b'{"__metadata__":{"skvim":'


def write_archive(path: str | os.PathLike[str], document: dict[str, Any], arrays: Arrays) -> None:
    """Write a document of plain JSON and arrays of the dtypes in ``DTYPES``, atomically.

    The check sum is the SHA-256 of all bytes of the file but its own digits. Next to nothing of the
    arrays is copied in memory.

    Raises
    ------
    UnsavableError
        When the document is longer than safetensors allows, or has too many parts.
    FileAccessError
        When the file cannot be written; a file that was there before stays as it was.
    """
    text = json.dumps(document, allow_nan=False)
    header, position = make_header(FORMAT_VERSION, text, arrays)
    if len(header) > LONGEST or len(arrays) > MOST_ARRAYS or _has_too_many_containers(text):
        raise UnsavableError(
            f"{len(text)} characters of parameters, text and settings and {len(arrays)} arrays are "
            f"too many for one file (at most {LONGEST} bytes, {_MOST_CONTAINERS} lists and "
            f"{MOST_ARRAYS} arrays). Use numbers for labels and names where it holds millions of "
            "them, or pickle the model."
        )
    place = Path(path)
    try:
        with write_atomically(place) as file:
            _write(file, header, position, arrays)
    except OSError as error:
        raise FileAccessError(
            f"{place} cannot be written: {error.strerror or error}. Nothing was changed. Free "
            "space there, make its folder one that exists and can be written to, or choose another."
        ) from error


def read_archive(path: str | os.PathLike[str]) -> tuple[dict[str, Any], Arrays]:
    """Read the document and the arrays of a file; check its format, version and checksum.

    The file is read once, and each array into memory of its own: together no more than the file
    has bytes. The document is parsed after its check sum was compared.

    Raises
    ------
    FileNotFoundError
        When there is no such file.
    FileAccessError
        When it cannot be read, or does not fit into memory.
    FileFormatError
        When skvim has not written it, or it has a later format or was truncated or changed.
    """
    place = Path(path)
    try:
        if not stat.S_ISREG(os.stat(place).st_mode):
            raise FileAccessError(
                f"{place} is no file. Give the path of one that save has written."
            )
        with open(place, "rb") as file:
            text, arrays = _read(place, file)
    except (FileNotFoundError, FileAccessError):
        raise
    except OSError as error:
        raise FileAccessError(
            f"{place} cannot be read: {error.strerror}. Make it a file that you may read."
        ) from error
    except MemoryError as error:
        raise no_memory(place, "memory") from error
    return _document(place, text), arrays


def no_memory(path: str | os.PathLike[str], memory: str) -> FileAccessError:
    """Return the error for a file whose contents do not fit into the named memory."""
    return FileAccessError(
        f"{os.fspath(path)} does not fit into {memory}. Free some, or open it on a larger machine."
    )


def _write(file: BinaryIO, header: bytes, position: int, arrays: Arrays) -> None:
    """Write all, and then the check sum into its place in the header."""
    length = len(header).to_bytes(_LENGTH, "little")
    digest = hashlib.sha256(length + header[:position] + header[position + DIGITS :])
    file.write(length + header)
    for _, array in ordered(arrays):
        little = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
        content = little.reshape(-1).view(np.uint8).data
        for start in range(0, len(content), _CHUNK):
            digest.update(content[start : start + _CHUNK])
            file.write(content[start : start + _CHUNK])
    file.seek(_LENGTH + position)
    file.write(digest.hexdigest().encode())


def _read(place: Path, file: BinaryIO) -> tuple[str, Arrays]:
    """Return the document's text and the arrays of an open file, whose check sum is right."""
    size = os.fstat(file.fileno()).st_size
    length, position = _beginning(place, file.read(_BEGINNING))
    if _LENGTH + length > size:
        raise _damaged(place, "its end is missing")
    file.seek(0)
    prefix, header = file.read(_LENGTH), file.read(length)
    try:
        text, entries = parse_header(header, position)
    except ValueError as error:
        raise _damaged(place, str(error)) from error
    # Nothing is allocated that the file does not hold.
    if size != _LENGTH + length + sum(entry.n_bytes for entry in entries):
        raise _damaged(place, "its end is missing, or there is more")
    digest = hashlib.sha256(prefix + header[:position])
    digest.update(header[position + DIGITS :])
    arrays = {entry.name: _array(place, file, entry, digest) for entry in entries}
    if header[position : position + DIGITS] != digest.hexdigest().encode():
        raise _damaged(place, "its contents do not have its check sum")
    return text, arrays


def _beginning(place: Path, content: bytes) -> tuple[int, int]:
    """Return length of the header and position of the check sum in it; check the version."""
    length = int.from_bytes(content[:_LENGTH], "little")
    match = START.match(content, _LENGTH)
    if match is None:
        raise _foreign(place, content)
    if length > LONGEST:
        raise _damaged(place, "its header is too long")
    version = int(match[1])
    if version > FORMAT_VERSION:
        raise FileFormatError(
            f"{place} has version {version} of the format, and this skvim reads up to version "
            f"{FORMAT_VERSION}. Install a newer skvim, or save the model again with this one."
        )
    return length, match.end() - _LENGTH


def _array(place: Path, file: BinaryIO, entry: Entry, digest: Any) -> NDArray[Any]:
    """Read and hash one array into aligned memory of its own."""
    memory = np.empty(entry.n_bytes + _ALIGNED, np.uint8)
    start = -memory.ctypes.data % _ALIGNED
    flat = memory[start : start + entry.n_bytes]
    done = 0
    while done < entry.n_bytes:
        chunk = flat[done : done + _CHUNK].data
        n_read = file.readinto(chunk)  # type: ignore[attr-defined]
        if not n_read:
            raise _damaged(place, "its end is missing")
        digest.update(chunk[:n_read])
        done += n_read
    if entry.dtype == "bool" and entry.n_bytes and flat.max() > 1:  # NumPy relies on it
        raise _damaged(place, f"{entry.name} has values that are neither true nor false")
    array = flat.view(np.dtype(entry.dtype).newbyteorder("<")).reshape(entry.shape)
    return array.astype(entry.dtype, copy=False)


def _document(place: Path, text: str) -> dict[str, Any]:
    """Return the JSON document."""
    if _has_too_many_containers(text):
        raise _damaged(place, f"its description has more than {_MOST_CONTAINERS} lists")
    try:
        document = json.loads(
            text, parse_constant=_refuse_constant, object_pairs_hook=_without_duplicates
        )
    except (ValueError, RecursionError) as error:
        raise _damaged(place, f"its description is no JSON: {error}") from error
    if not isinstance(document, dict):
        raise _damaged(place, "its description is no object of JSON's")
    return document


def _has_too_many_containers(text: str) -> bool:
    """Tell whether a document has more lists and objects than files may hold."""
    if text.count("[") + text.count("{") <= _MOST_CONTAINERS:
        return False
    marks = (match[0] for match in _STRING_OR_CONTAINER.finditer(text))
    return sum(mark[0] != '"' for mark in marks) > _MOST_CONTAINERS


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object of JSON's; ValueError if a key is there twice."""
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key is there twice")
    return found


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is no number of JSON's")


def _foreign(place: Path, content: bytes) -> FileFormatError:
    """Return the error for a file that skvim has not written."""
    header = content[_LENGTH:]
    if header.startswith(_DEVELOPMENT):
        return FileFormatError(
            f"{place} was written by a development version of skvim before 0.1.0, whose check sums "
            "did not cover the whole file. Fit the model again, or open the file with that version."
        )
    if header.startswith(b"{"):
        return FileFormatError(
            f"{place} looks like a safetensors file, but not one that skvim has written: it holds "
            "weights without what they belong to, or its beginning is damaged. Open it with the "
            "library that wrote it."
        )
    hint = ""
    if content.startswith(_PICKLES):
        hint = (
            " It looks like a pickle or an archive of torch's, which can run any code when it is "
            "opened: use pickle, joblib or torch, and only if you trust where it comes from."
        )
    return FileFormatError(
        f"{place} is not a file that skvim has written, or its beginning is damaged.{hint} Files "
        "for skvim.load are made by save."
    )


def _damaged(place: Path, reason: str) -> FileFormatError:
    """Return the error for a truncated or changed file."""
    return FileFormatError(
        f"{place} is damaged or was changed: {reason}. Copy it again from where it came, or save "
        "the model again."
    )
