"""Checkpoints of a training: where they are, which fit they belong to, writing and reading."""

import os
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from itertools import chain, count
from pathlib import Path
from typing import Any, final

import torch
from filelock import BaseFileLock, FileLock, Timeout

from skvim._persistence._archive import read_archive, write_archive
from skvim._persistence._codec import Reader, Writer
from skvim._persistence._files import versions
from skvim._persistence._kinds import KINDS
from skvim._plain_numbers import is_real
from skvim._uninterrupted import run_whole
from skvim._validation import check_count
from skvim._values import ByValue
from skvim.exceptions import (
    CheckpointWarning,
    FileAccessError,
    FileFormatError,
    TrainingDivergedError,
    UnsavableError,
)

__all__ = ["CheckpointFile", "Checkpoints", "open_checkpoint", "warn_of_checkpoint"]

_SECONDS = 30.0  # between checkpoints, unless given
_WAIT = 60.0  # seconds for a lock that others hold for milliseconds
# To be raised when the state of a training changes, so that older checkpoints are not used.
_LAYOUT = 4
# Packages between the caller of ``fit`` and a warning.
_OWN = {"contextlib", "skorch", "skvim"}


@final
class Checkpoints(ByValue):
    """Where and how often a training writes checkpoints, for ``checkpoint=``.

    A checkpoint is written after every ``epochs``-th epoch, and when ``seconds`` have passed since
    the last one, within an epoch too.

    Parameters
    ----------
    folder : str or path-like
        Folder of the checkpoints, made if there is none. Any number of fits can share it, in any
        number of processes.
    epochs : int in [1, inf) or None, default=None
        Number of epochs between checkpoints; None for none by their number.
    seconds : float in [0, inf) or None, default=None
        Seconds between checkpoints; None for none by time, or for 30 if ``epochs`` is None too.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> import skvim
    >>> X = np.random.default_rng(0).normal(size=(64, 6))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     every_epoch = skvim.Checkpoints(folder, epochs=1)
    ...     vae = skvim.VAETransformer(2, max_epochs=3, checkpoint=every_epoch, random_state=0)
    ...     codes = vae.fit_transform(X)
    >>> codes.shape
    (64, 2)
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        *,
        epochs: int | None = None,
        seconds: float | None = None,
    ) -> None:
        self.folder = folder
        self.epochs = epochs
        self.seconds = seconds

    def __repr__(self) -> str:
        return f"Checkpoints({self.folder!r}, epochs={self.epochs!r}, seconds={self.seconds!r})"

    def check(self) -> None:
        """Raise ValueError for invalid arguments."""
        folder = os.fspath(self.folder) if isinstance(self.folder, str | os.PathLike) else None
        if not isinstance(folder, str) or not folder or "\0" in folder:
            raise ValueError(
                "checkpoint, or folder of Checkpoints, must be the path of a folder. Got "
                f"{self.folder!r} instead."
            )
        if self.epochs is not None:
            check_count("epochs of Checkpoints", self.epochs)
        given = self.seconds
        if given is not None and not (is_real(given) and 0 <= given < float("inf")):
            raise ValueError(
                "seconds of Checkpoints must be a float in [0, inf) or None. Got "
                f"{self.seconds!r} instead."
            )

    @property
    def interval(self) -> float:
        """Seconds between checkpoints."""
        if self.seconds is None:
            return _SECONDS if self.epochs is None else float("inf")
        return float(self.seconds)


@contextmanager
def open_checkpoint(settings: Checkpoints, fingerprint: str) -> Iterator["CheckpointFile"]:
    """Open the checkpoint of a training that is told from others by its fingerprint.

    It is removed at the end of the block, and when training diverges; when the block raises
    anything else it stays, for the same training to go on from. ValueError when the folder cannot
    be used.
    """
    folder = Path(settings.folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # Inside a lock's code an interruption could leave it locked until the process ends.
        slot = run_whole(partial(_Slot, folder, fingerprint))
    except (OSError, NotImplementedError) as error:
        raise ValueError(
            f"checkpoint must name a folder that can be written to and locked. Got {folder}: "
            f"{error}. Choose another folder, or set checkpoint=None."
        ) from error
    keep = True
    try:
        yield CheckpointFile(slot.path, settings)
        keep = False
    except TrainingDivergedError:
        keep = False
        raise
    finally:
        problem = run_whole(partial(slot.close, keep=keep))
        if problem:
            warn_of_checkpoint(problem)


@final
class CheckpointFile:
    """The checkpoint of one training, which no other process writes to."""

    def __init__(self, path: Path, settings: Checkpoints) -> None:
        self.path = path
        self.settings = settings
        self._environment = _environment()
        self._next_time = time.monotonic() + settings.interval
        self._has_warned = False

    def is_due(self, n_epochs: int = 0) -> bool:
        """Tell whether to write one, by time or, at the end of an epoch, by their number."""
        every = self.settings.epochs
        by_epochs = n_epochs > 0 and every is not None and n_epochs % int(every) == 0
        return by_epochs or time.monotonic() >= self._next_time

    def write(self, state: dict[str, Any]) -> None:
        """Replace the checkpoint by a new one; where this fails, keep the last and warn once."""
        try:
            writer = Writer(KINDS)
            document = {
                "layout": _LAYOUT,
                "environment": self._environment,
                "state": writer.write(state, "state"),
            }
            write_archive(self.path, document, writer.arrays)
        except (FileAccessError, UnsavableError) as error:
            if not self._has_warned:
                self._has_warned = True
                warn_of_checkpoint(
                    f"Training goes on, but its checkpoint cannot be written. {error}"
                )
        self._next_time = time.monotonic() + self.settings.interval

    def read(self) -> dict[str, Any] | None:
        """Return the state to go on from; None if there is none or, with a warning, it is lost."""
        if not self.path.exists():
            return None
        try:
            document, arrays = read_archive(self.path)
        except (FileFormatError, FileAccessError) as error:
            warn_of_checkpoint(f"Training starts anew, as its checkpoint cannot be read. {error}")
            return None
        if document.get("layout") != _LAYOUT:
            warn_of_checkpoint(
                f"Training starts anew: {self.path} is no checkpoint of skvim "
                f"{self._environment['skvim']}. Files of other releases may hold something else."
            )
            return None
        written, here = document["environment"], self._environment.items()
        changed = [f"{k} {written.get(k)} (now {v})" for k, v in here if written.get(k) != v]
        if changed:
            warn_of_checkpoint(
                f"Training goes on from {self.path}, which was written with {', '.join(changed)}: "
                "the result may differ from that of an uninterrupted fit by rounding."
            )
        state: dict[str, Any] = Reader(KINDS, arrays, torch.device("cpu")).read(document["state"])
        return state


@final
class _Slot:
    """A file that belongs to one of the equal fits under way, guarded by a lock.

    A second fit with the same fingerprint, in any process, gets a slot of its own. Of the free
    slots those with a checkpoint come first.
    """

    def __init__(self, folder: Path, fingerprint: str) -> None:
        # Slots are taken and released under the folder's lock, so that no lock is removed while
        # somebody else opens it.
        self._folder_lock = _lock(folder / "folder.lock", timeout=_WAIT)
        with self._folder_lock:
            left = sorted(folder.glob(f"{fingerprint}-*.checkpoint"))
            fresh = (folder / f"{fingerprint}-{i}.checkpoint" for i in count())
            for path in chain(left, fresh):
                self.path, self._lock = path, _lock(path.with_suffix(".lock"))
                with suppress(Timeout):
                    self._lock.acquire()
                    break
            self._remove_unused_locks(folder, fingerprint)

    def _remove_unused_locks(self, folder: Path, fingerprint: str) -> None:
        """Remove locks of processes that were killed and left no checkpoint."""
        for path in folder.glob(f"{fingerprint}-*.lock"):
            if path.with_suffix(".checkpoint") == self.path:
                continue
            with suppress(Timeout, OSError), _lock(path):
                if not path.with_suffix(".checkpoint").exists():
                    path.unlink()

    def close(self, *, keep: bool) -> str:
        """Release the slot, with or without its checkpoint; return what went wrong, or ""."""
        problem = ""
        if not keep:
            try:
                self.path.unlink(missing_ok=True)
            except OSError as error:
                problem = f"{self.path} could not be removed: {error}. Delete it yourself."
        with suppress(OSError), self._folder_lock:
            self._lock.release()
            Path(self._lock.lock_file).unlink(missing_ok=True)
        self._lock.release(force=True)
        return problem


def _lock(path: Path, timeout: float = 0) -> BaseFileLock:
    """Return a lock that any thread may release."""
    return FileLock(path, timeout=timeout, thread_local=False)


def warn_of_checkpoint(message: str) -> None:
    """Give a CheckpointWarning at the first line outside of skvim, skorch and contextlib."""
    level, frame = 1, sys._getframe()
    while frame.f_back is not None and frame.f_globals["__name__"].split(".")[0] in _OWN:
        level, frame = level + 1, frame.f_back
    warnings.warn(message, CheckpointWarning, stacklevel=level)


def _environment() -> dict[str, Any]:
    """Return what the bits of a result depend on beside data and settings."""
    used = {name: version for name, version in versions().items() if name != "scikit-learn"}
    kernels = torch.backends.cpu.get_cpu_capability()
    return {**used, "threads": torch.get_num_threads(), "kernels": kernels}
