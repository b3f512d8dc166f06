"""Work that an interruption must not break off, such as the first import of a package."""

import sys
from collections.abc import Callable
from concurrent.futures import Future
from importlib import import_module
from threading import Thread
from types import FrameType, ModuleType
from typing import TypeVar

__all__ = ["import_whole", "run_whole"]

T = TypeVar("T")

# Names of modules that were imported here.
_imported: set[str] = set()


def run_whole(function: Callable[[], T]) -> T:
    """Return what a function returns, run in a thread of its own.

    A KeyboardInterrupt reaches the main thread alone: it leaves this call when the function has
    ended, a second one leaves it at once, and the function goes on.
    """
    result: Future[T] = Future()

    def run() -> None:
        try:
            result.set_result(function())
        except BaseException as error:
            result.set_exception(error)

    try:
        # No daemon: at its exit, Python waits for the thread instead of ending it halfway.
        Thread(target=run, name=f"skvim: {getattr(function, '__name__', 'work')}").start()
    except RuntimeError:  # no thread can start, as when Python is about to exit
        run()
    try:
        return result.result()
    except KeyboardInterrupt:
        # Strings of code that an import executes would reset Python's exit status for an interrupt.
        result.exception()
        raise


def import_whole(name: str) -> ModuleType:
    """Return a module, imported in a thread of its own if this is the first call for it.

    An import that breaks off leaves parts of a package behind, with which later imports fail. While
    the caller is itself imported, it holds a lock that the thread may need: then the import is made
    in place.
    """
    known = sys.modules.get(name)
    if known is not None and name in _imported:
        return known
    if _is_importing():
        return import_module(name)
    module = run_whole(lambda: import_module(name))
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
