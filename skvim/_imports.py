"""Imports on first use that an interruption cannot break off."""

import sys
from concurrent.futures import Future
from importlib import import_module
from threading import Thread
from types import FrameType, ModuleType

__all__ = ["import_whole"]

# Names of modules that were imported here.
_imported: set[str] = set()


def import_whole(name: str) -> ModuleType:
    """Return a module, imported in a thread of its own if this is the first call for it.

    An import that breaks off leaves parts of a package behind, with which later imports fail. A
    KeyboardInterrupt reaches the main thread alone: it leaves this call when the import is done, a
    second one leaves it at once, and the import goes on. While the caller is itself imported, it
    holds a lock that the thread may need: then the import is made in place.
    """
    known = sys.modules.get(name)
    if known is not None and name in _imported:
        return known
    if _is_importing():
        return import_module(name)
    result: Future[ModuleType] = Future()

    def run() -> None:
        try:
            result.set_result(import_module(name))
        except BaseException as error:
            result.set_exception(error)

    try:
        # No daemon: at its exit, Python waits for the thread instead of ending it halfway.
        Thread(target=run, name=f"import of {name}").start()
    except RuntimeError:  # no thread can start, as when Python is about to exit
        run()
    try:
        module = result.result()
    except KeyboardInterrupt:
        # Strings of code that it executes would reset Python's exit status for an interrupt.
        result.exception()
        raise
    _imported.add(name)
    return module


def _is_importing() -> bool:
    """Tell whether the calling thread is in the middle of an import."""
    frame: FrameType | None = sys._getframe()
    while frame is not None:
        if frame.f_globals.get("__name__") == "importlib._bootstrap":
            return True
        frame = frame.f_back
    return False
