"""Reading of official archives, packed or unpacked, and checks of their content."""

import gzip
import hashlib
import io
import os
import tarfile
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, final

from skvim.datasets._store import Chunks
from skvim.exceptions import DatasetError

if TYPE_CHECKING:
    from PIL import Image

__all__ = [
    "decoding_errors",
    "open_picture",
    "open_source",
    "open_tar",
    "read_bounded",
    "read_file",
    "verify_digests",
]


class _Readable(Protocol):
    def read(self, n: int, /) -> bytes: ...


@contextmanager
def decoding_errors(source: Path, remedy: str = "") -> Iterator[None]:
    """Turn errors of decoding into a ``DatasetError`` that names the file and a remedy.

    These are all errors: decoders of damaged files fail in more ways than they document. Missing
    memory is not the fault of the file.
    """
    try:
        yield
    except (DatasetError, MemoryError):
        raise
    except PermissionError as error:
        raise DatasetError(f"{source} cannot be read: {error}. Make it readable.") from error
    except Exception as error:
        remedy = remedy or "Delete it and call again to download it afresh."
        raise DatasetError(f"{source} cannot be decoded: {_reason(error)}. {remedy}") from error


def _reason(error: Exception) -> str:
    return str(error).rstrip(".") or type(error).__name__


def read_bounded(file: _Readable, limit: int, name: str = "it") -> bytes:
    """Return all that a file holds, and raise ``ValueError`` if it is more than ``limit`` bytes.

    Of a packed file no more than that is unpacked, whatever size it claims to have.
    """
    content = file.read(limit + 1)
    if len(content) > limit:
        raise ValueError(f"{name} holds more than {limit} bytes")
    return content


def read_file(path: Path, limit: int) -> bytes:
    """Return the content of a file, and raise ``ValueError`` if it is more than ``limit`` bytes."""
    with open(path, "rb") as file:
        return read_bounded(file, limit, path.name)


@contextmanager
def open_source(source: Path, limit: int) -> Iterator[tuple[list[str], Callable[[str], bytes]]]:
    """Open a folder or zip file; yield the sorted names of its files and a function to read one.

    Names start with the folder's own name, as they do in a zip file made of the folder. A file of
    more than ``limit`` bytes is not read.
    """
    if source.is_dir():
        root = source.parent
        names = [
            Path(folder, name).relative_to(root).as_posix()
            for folder, _, files in os.walk(source)
            for name in files
        ]
        yield sorted(names), lambda name: read_file(root / name, limit)
    else:
        with zipfile.ZipFile(source) as archive:
            yield sorted(archive.namelist()), partial(_read_member, archive, limit)


def _read_member(archive: zipfile.ZipFile, limit: int, name: str) -> bytes:
    method = archive.getinfo(name).compress_type
    # zipfile unpacks the others chunk by chunk, and puts no limit on what becomes of a chunk.
    if method not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ValueError(f"{name}: compression method is not supported ({method})")
    with archive.open(name) as member:
        return read_bounded(member, limit, name)


@contextmanager
def open_tar(source: Path, limit: int) -> Iterator[tarfile.TarFile]:
    """Open a tar file, packed with gzip, as a stream of at most ``limit`` unpacked bytes.

    Reading more raises ``ValueError``. Members have to be read in their order.
    """
    with gzip.open(source) as unpacked:
        stream = _LimitedStream(unpacked, limit)
        with tarfile.open(fileobj=stream, mode="r|", bufsize=1 << 16) as archive:
            yield archive


@final
class _LimitedStream(io.RawIOBase):
    """Passes on a stream, and raises ``ValueError`` if it holds more than ``limit`` bytes."""

    def __init__(self, stream: _Readable, limit: int) -> None:
        self._stream = stream
        self._limit = limit
        self._n_read = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        content = self._stream.read(min(len(buffer), self._limit + 1 - self._n_read))
        self._n_read += len(content)
        if self._n_read > self._limit:
            raise ValueError(f"it unpacks to more than {self._limit} bytes")
        buffer[: len(content)] = content
        return len(content)


@contextmanager
def open_picture(
    name: str, content: bytes, file_format: str, size: tuple[int, int]
) -> Iterator["Image.Image"]:
    """Open a picture of a known format, width and height; errors are ``ValueError`` with its name.

    No other format is tried: Pillow starts other programs to decode some, and decoders of rare
    formats are little tested.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(content), formats=[file_format]) as image:
            # A format may be opened as a variant of it.
            if (image.format, image.size) != (file_format, size):
                raise ValueError(f"{image.format}, {image.width} × {image.height} pixels")
            yield image
    except MemoryError:
        raise
    except Exception as error:
        # Pillow names an address in memory.
        reason = "the format" if isinstance(error, UnidentifiedImageError) else _reason(error)
        raise ValueError(
            f"{name} is no {file_format} picture of {size[0]} × {size[1]} pixels: {reason}"
        ) from error


def verify_digests(chunks: Chunks, digests: Sequence[str], source: Path) -> Chunks:
    """Yield chunks unchanged, and raise at the end unless each array has its SHA-256.

    This checks the decoded data, independently of how the archive was packed.
    """
    hashes = [hashlib.sha256() for _ in digests]
    for chunk in chunks:
        for hasher, rows in zip(hashes, chunk, strict=True):
            hasher.update(rows.tobytes())
        yield chunk
    if [hasher.hexdigest() for hasher in hashes] != list(digests):
        raise DatasetError(
            f"What was decoded from {source} is not the official data: its SHA-256 differs. "
            "Delete the archive there and call again to download it afresh."
        )
