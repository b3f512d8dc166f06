"""Reading of official archives, packed or unpacked, and checks of their content."""

import hashlib
import os
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from skvim.datasets._store import Chunks
from skvim.exceptions import DatasetError

__all__ = ["decoding_errors", "open_source", "verify_digests"]

# What gzip, tarfile, zipfile, Pillow and NumPy raise for damaged files.
_UNREADABLE = (
    OSError,
    EOFError,
    SyntaxError,
    RuntimeError,  # a zip file that is encrypted, or packed in a way that Python lacks
    ValueError,
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
)


@contextmanager
def decoding_errors(source: Path, remedy: str = "") -> Iterator[None]:
    """Turn errors of decoding into a ``DatasetError`` that names the file and a remedy."""
    try:
        yield
    except DatasetError:
        raise
    except _UNREADABLE as error:
        remedy = remedy or "Delete it and call again to download it afresh."
        raise DatasetError(f"{source} cannot be decoded: {error}. {remedy}") from error


@contextmanager
def open_source(source: Path) -> Iterator[tuple[list[str], Callable[[str], bytes]]]:
    """Open a folder or zip file; yield the sorted names of its files and a function to read one.

    Names start with the folder's own name, as they do in a zip file made of the folder.
    """
    if source.is_dir():
        root = source.parent
        names = [
            Path(folder, name).relative_to(root).as_posix()
            for folder, _, files in os.walk(source)
            for name in files
        ]
        yield sorted(names), lambda name: (root / name).read_bytes()
    else:
        with zipfile.ZipFile(source) as archive:
            yield sorted(archive.namelist()), archive.read


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
