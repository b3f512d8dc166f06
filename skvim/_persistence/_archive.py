"""File format: named arrays and one JSON document in a safetensors file, with a checksum."""

import hashlib
import json
import os
import stat
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
from numpy.typing import NDArray
from safetensors.numpy import save as serialise

from skvim._disk import write_atomically
from skvim.exceptions import FileAccessError, FileFormatError, UnsavableError

__all__ = ["DTYPES", "FORMAT_VERSION", "Arrays", "read_archive", "write_archive"]

Arrays = dict[str, NDArray[Any]]

#: To be raised when the format changes so that an older skvim would misread it.
FORMAT_VERSION = 1
#: NumPy's dtypes by their names in safetensors.
DTYPES = {
    "BOOL": "bool",
    "F16": "float16",
    "F32": "float32",
    "F64": "float64",
    **{
        f"{kind}{bits}": f"{name}{bits}"
        for kind, name in (("I", "int"), ("U", "uint"))
        for bits in (8, 16, 32, 64)
    },
}
_DOCUMENT, _DIGEST = "skvim", "sha256"
_LENGTH = 8  # bytes that hold the length of the header
_LONGEST = 100_000_000  # bytes of a header, a limit of safetensors
_PICKLES = (b"\x80", b"PK", b"(")


def write_archive(path: str | os.PathLike[str], document: dict[str, Any], arrays: Arrays) -> None:
    """Write a document of plain JSON and arrays of the dtypes in ``DTYPES``, atomically.

    Raises
    ------
    UnsavableError
        When the document is longer than safetensors allows.
    FileAccessError
        When the file cannot be written; a file that was there before stays as it was.
    """
    described = {"format_version": FORMAT_VERSION, **document}
    described[_DIGEST] = _digest(described, arrays)
    # One entry: safetensors writes several in an order that changes.
    text = json.dumps(described, allow_nan=False)
    content = _serialised(text, arrays)
    place = Path(path)
    try:
        with write_atomically(place) as file:
            file.write(content)
    except OSError as error:
        raise FileAccessError(
            f"{place} cannot be written: {error.strerror or error}. Nothing was changed. Free "
            "space there, make its folder one that exists and can be written to, or choose another."
        ) from error


def read_archive(path: str | os.PathLike[str]) -> tuple[dict[str, Any], Arrays]:
    """Read the document and the arrays of a file; check its format, version and checksum.

    Raises
    ------
    FileNotFoundError
        When there is no such file.
    FileAccessError
        When it cannot be read.
    FileFormatError
        When skvim has not written it, or it has a later format or was truncated or changed.
    """
    place = Path(path)
    document, content = _read(place)
    try:
        parts = safetensors.deserialize(content)  # type: ignore[no-untyped-call]
        arrays = {name: _array(part) for name, part in parts}
    except (safetensors.SafetensorError, KeyError, ValueError) as error:
        raise _damaged(place, str(error)) from error
    if document.pop(_DIGEST, None) != _digest(document, arrays):
        raise _damaged(place, "its contents do not have its check sum")
    return document, arrays


def _read(place: Path) -> tuple[dict[str, Any], bytes]:
    """Return the document and the whole content of a regular file."""
    try:
        if not stat.S_ISREG(os.stat(place).st_mode):
            raise FileAccessError(
                f"{place} is no file. Give the path of one that save has written."
            )
        with open(place, "rb") as file:
            start = file.read(_LENGTH)
            length = int.from_bytes(start, "little")
            # Other files are refused before they are read into memory.
            start += file.read(length) if length <= _LONGEST else b""
            document = _document(place, _metadata(place, start))
            file.seek(0)
            return document, file.read()
    except (FileNotFoundError, FileAccessError):
        raise
    except OSError as error:
        raise FileAccessError(
            f"{place} cannot be read: {error.strerror}. Make it a file that you may read."
        ) from error


def _metadata(place: Path, content: bytes) -> dict[str, Any]:
    """Return the metadata in the header of a safetensors file."""
    length = int.from_bytes(content[:_LENGTH], "little")
    header = content[_LENGTH : _LENGTH + length]
    if len(content) < _LENGTH or length > _LONGEST or not header.startswith(b"{"):
        raise _foreign(place, content)
    if len(header) < length:
        raise _damaged(place, "its end is missing")
    try:
        parsed = json.loads(header)
    except (ValueError, RecursionError) as error:
        raise _damaged(place, "its header is no JSON") from error
    metadata = parsed.get("__metadata__") if isinstance(parsed, dict) else None
    if not isinstance(metadata, dict) or not isinstance(metadata.get(_DOCUMENT), str):
        raise FileFormatError(
            f"{place} is a safetensors file, but not one that skvim has written: it holds weights "
            "without what they belong to. Open it with the library that wrote it."
        )
    return metadata


def _document(place: Path, metadata: dict[str, Any]) -> dict[str, Any]:
    """Return the JSON document, after checking the version of the format."""
    try:
        document = json.loads(metadata[_DOCUMENT], parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise _damaged(place, f"its description is no JSON: {error}") from error
    version = document.get("format_version") if isinstance(document, dict) else None
    if type(version) is not int or version < 1:
        raise _damaged(place, "its description names no version of the format")
    if version > FORMAT_VERSION:
        raise FileFormatError(
            f"{place} has version {version} of the format, and this skvim reads up to version "
            f"{FORMAT_VERSION}. Install a newer skvim, or save the model again with this one."
        )
    checked: dict[str, Any] = document
    return checked


def _array(part: dict[str, Any]) -> NDArray[Any]:
    """Return one array, copied from the file's bytes."""
    flat = np.frombuffer(part["data"], dtype=np.dtype(DTYPES[part["dtype"]]).newbyteorder("<"))
    return flat.reshape(part["shape"]).astype(DTYPES[part["dtype"]], copy=True)


def _serialised(text: str, arrays: Arrays) -> bytes:
    """Return the file's content; raise if its header is too long to be read again."""
    try:
        content: bytes = serialise(arrays, {_DOCUMENT: text})
    except safetensors.SafetensorError as error:  # older releases write what they do not read
        raise _too_long(text) from error
    if int.from_bytes(content[:8], "little") > _LONGEST:
        raise _too_long(text)
    return content


def _too_long(text: str) -> UnsavableError:
    """Return the error for more text than a header may hold."""
    return UnsavableError(
        f"{len(text)} characters of parameters, text and settings are too many for one file (at "
        f"most {_LONGEST} bytes). Use numbers for labels and names where it holds millions of "
        "them, or pickle the model."
    )


def _digest(document: dict[str, Any], arrays: Arrays) -> str:
    """Return the SHA-256 of a document and arrays, in hexadecimal digits."""
    digest = hashlib.sha256(json.dumps(document, sort_keys=True).encode())
    for name in sorted(arrays):
        array = arrays[name]
        digest.update(repr((name, str(array.dtype), array.shape)).encode())
        digest.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is no number of JSON's")


def _foreign(place: Path, content: bytes) -> FileFormatError:
    """Return the error for a file that skvim has not written."""
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
