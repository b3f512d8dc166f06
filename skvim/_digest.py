"""SHA-256 of values that is the same in every process."""

import hashlib
import pickle
import sys
from types import BuiltinFunctionType, CodeType, FunctionType, ModuleType
from typing import Any, final

import torch

from skvim._values import NotComparableError, describe

__all__ = ["digest"]

_PLAIN: tuple[type, ...] = (str, bool, int, float, complex, type(None), type(Ellipsis))
_PLAIN += (torch.dtype, torch.device, torch.Size)
# Functions and classes of these packages and of Python's count by their names.
_KNOWN = {"numpy", "scipy", "sklearn", "skorch", "skvim", "torch"} | sys.stdlib_module_names


def digest(value: Any) -> bytes:
    """Return a SHA-256 of a value's description, the same in every process.

    Parameters
    ----------
    value : object
        As :func:`skvim._values.describe` takes it.

    Returns
    -------
    bytes
        32 bytes. Functions of users count by their code, defaults and what they close over, but not
        by the global variables that they read; classes by their names and functions.

    Raises
    ------
    NotComparableError
        When a part of the value cannot be described, or has a name that leads to something else.
    """
    return _Digest().of(describe(value))


@final
class _Digest:
    """One computation, which knows the functions and classes that it is in the middle of."""

    def __init__(self) -> None:
        self.under_way: list[Any] = []

    def of(self, described: Any) -> bytes:
        """Return the SHA-256 of a description."""
        kind, content = self._parts(described)
        return hashlib.sha256(kind.encode() + b" " + content).digest()

    def _parts(self, described: Any) -> tuple[str, bytes]:
        """Return kind and content of a description."""
        if isinstance(described, tuple):
            return "tuple", b"".join(map(self.of, described))
        if isinstance(described, frozenset):
            return "frozenset", b"".join(sorted(map(self.of, described)))
        if isinstance(described, bytes):
            return "bytes", described
        if isinstance(described, float) and described.is_integer():
            return "int", repr(int(described)).encode()  # equal numbers, equal digests
        if isinstance(described, _PLAIN):
            return type(described).__name__, repr(described).encode()
        if isinstance(described, CodeType):
            return "code", self._of_code(described)
        return "named", self._of_named(described)

    def _of_named(self, named: Any) -> bytes:
        """Return what tells a function, a class or an object with a name from others."""
        if any(named is one for one in self.under_way):
            return b"again"
        self.under_way.append(named)
        try:
            return self._of_content(named)
        finally:
            self.under_way.pop()

    def _of_content(self, named: Any) -> bytes:
        """Return the same, without regard to what refers to itself."""
        is_builtin = isinstance(named, BuiltinFunctionType)
        if is_builtin and not isinstance(named.__self__, ModuleType | type(None)):
            return str(named.__name__).encode() + self.of(describe(named.__self__))
        if _is_known(named) or not isinstance(named, FunctionType | type):
            return _reference(named)
        name = f"{named.__module__} {named.__qualname__}".encode()
        if isinstance(named, FunctionType):
            return name + self._of_function(named)
        own = sorted((n, f) for n, f in vars(named).items() if isinstance(f, FunctionType))
        return _reference(named) + b"".join(n.encode() + self.of(f) for n, f in own)

    def _of_function(self, function: FunctionType) -> bytes:
        """Return the digest of code, defaults and what a function closes over."""
        cells = [_content(cell) for cell in function.__closure__ or ()]
        rest = (function.__defaults__, function.__kwdefaults__, cells)
        return self._of_code(function.__code__) + self.of(describe(rest))

    def _of_code(self, code: CodeType) -> bytes:
        """Return the digest of the instructions of a function, and of those within it."""
        constants = tuple(
            self.of(part if isinstance(part, CodeType) else describe(part))
            for part in code.co_consts
        )
        return self.of((code.co_code, code.co_names, code.co_varnames, constants))


def _is_known(named: Any) -> bool:
    """Tell whether something is part of a package whose version a checkpoint tells."""
    return (getattr(named, "__module__", None) or "builtins").split(".")[0] in _KNOWN


def _content(cell: Any) -> Any:
    """Return what a cell of a closure holds."""
    try:
        return cell.cell_contents
    except ValueError:  # not yet set
        return None


def _reference(named: Any) -> bytes:
    """Return a pickle of a name; NotComparableError if it leads to something else."""
    try:
        content = pickle.dumps(named, protocol=4)
        found = pickle.loads(content)
    except (pickle.PicklingError, AttributeError, TypeError):
        found = None
    if found is not named:
        name = getattr(named, "__qualname__", repr(named))
        raise NotComparableError(f"{name} cannot be told from others by its name.")
    return content
