"""Files that appear whole or not at all."""

import os
import stat
import uuid
from pathlib import Path

__all__ = ["move", "write_whole"]


def write_whole(path: Path, content: bytes) -> None:
    """Write a file under another name in the same folder, and rename it once it is on the disk.

    Whatever happens on the way, ``path`` holds what it held before or all of the content. Only a
    process that is killed leaves the other file, ``.*.unfinished``, behind.

    Parameters
    ----------
    path : Path
        A link is followed, and the mode of a file that is replaced is kept.
    content : bytes
        What to write.

    Raises
    ------
    OSError
        When the folder cannot be written to, the disk is full, or ``path`` is no ordinary file.
    """
    target = Path(os.path.realpath(path))
    if target.exists() and not target.is_file():
        raise OSError("it is there already, and is no ordinary file")
    unfinished = target.with_name(f".{uuid.uuid4().hex}.unfinished")
    try:
        with open(unfinished, "xb") as file:
            file.write(content)
        if target.exists():
            os.chmod(unfinished, stat.S_IMODE(target.stat().st_mode))
        move(unfinished, target)
    finally:
        unfinished.unlink(missing_ok=True)


def move(source: Path, target: Path) -> None:
    """Replace one file by another that is complete, so that a crash leaves one of the two."""
    with open(source, "rb+") as file:
        os.fsync(file.fileno())
    os.replace(source, target)
    _sync(target.parent)


def _sync(folder: Path) -> None:
    """Make a renaming last through a crash of the machine, where folders can be synchronised."""
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
