"""Files that appear whole or not at all."""

import os
import stat
import uuid
from contextlib import suppress
from functools import partial
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
    mode = stat.S_IMODE(target.stat().st_mode) if target.exists() else None
    # From the first byte nobody may read it who may not read what it replaces.
    opener = partial(os.open, mode=0o666 if mode is None else mode)
    unfinished = target.with_name(f".{uuid.uuid4().hex}.unfinished")
    try:
        with open(unfinished, "xb", opener=opener) as file:
            file.write(content)
        if mode is not None:
            os.chmod(unfinished, mode)  # what the umask has taken away
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
    """Make a renaming last through a crash of the machine, where folders can be synchronised.

    Not all can: some file systems refuse, and a folder may be open for writing alone. The file has
    its new name by then, so that an error would say the contrary of what has happened.
    """
    if os.name == "posix":
        with suppress(OSError):
            descriptor = os.open(folder, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
