"""Encoding of values as JSON and named arrays, and decoding.

A JSON object with one key that begins with "$" encodes a value that JSON lacks: the key names its
*kind*, which has a function for writing and one for reading.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, final

from numpy.typing import NDArray

from skvim.exceptions import FileFormatError, UnsavableError

if TYPE_CHECKING:
    import torch

__all__ = ["Kind", "Reader", "Writer", "refusal"]

_DEEPEST = 50  # of values within values; models need ten
_DEEPEST_NODE = 200  # of JSON within JSON; a value within a value takes up to three levels
# Bytes that arrays of text may have beyond sixteen for each of their characters.
_SPARE_TEXT = 2**26
_PLAIN = (bool, int, str, type(None))


@final
@dataclass(frozen=True)
class Kind:
    """A kind of value, with its encoder and decoder.

    Parameters
    ----------
    tag : str
        Its name in the file.
    holds : callable
        Whether a value is of this kind.
    write : callable
        (writer, value, path) → JSON.
    read : callable
        (reader, JSON) → value; raises an error of any type for invalid JSON.
    """

    tag: str
    holds: Callable[[Any], bool]
    write: Callable[["Writer", Any, str], Any]
    read: Callable[["Reader", Any], Any]


@final
class TextMemory:
    """Bounds the memory of arrays of text, which can be much wider than their items.

    A file that is shorter than its arrays by orders of magnitude is neither written nor read.
    """

    def __init__(self) -> None:
        self._left = _SPARE_TEXT

    def suffices(self, item_bytes: int, items: list[Any]) -> bool:
        """Tell whether there is memory for one more array, and take it."""
        n_characters = sum(len(item) for item in items if isinstance(item, str))
        self._left -= max(0, item_bytes * len(items) - 16 * n_characters)
        return self._left >= 0


@final
class Writer:
    """Encodes values as JSON and collects their arrays.

    Parameters
    ----------
    kinds : list of Kind
        Kinds of values beyond JSON; the first that matches is used.

    Attributes
    ----------
    arrays : dict of ndarray
        By the path of each in the value.
    left_out : list of str
        Paths of estimators whose callbacks were left out.
    text : TextMemory
        Bounds arrays of text.
    """

    def __init__(self, kinds: list[Kind]) -> None:
        self.arrays: dict[str, NDArray[Any]] = {}
        self.left_out: list[str] = []
        self.text = TextMemory()
        self._kinds = kinds
        self._depth = 0

    def write(self, value: Any, path: str) -> Any:
        """Encode a value as JSON.

        Raises
        ------
        UnsavableError
            When it contains something that files cannot hold; the message names its path.
        """
        if type(value) in _PLAIN or (type(value) is float and math.isfinite(value)):
            return value
        self._depth += 1
        if self._depth > _DEEPEST:
            raise refusal(value, path, "which contains itself or is nested too deeply")
        try:
            return self._write(value, path)
        finally:
            self._depth -= 1

    def _write(self, value: Any, path: str) -> Any:
        """Encode a container or a value of one of the kinds."""
        if type(value) is list:
            return [self.write(item, f"{path}[{i}]") for i, item in enumerate(value)]
        if type(value) is dict and all(type(k) is str and k[:1] != "$" for k in value):
            return {key: self.write(item, f"{path}.{key}") for key, item in value.items()}
        for kind in self._kinds:
            if kind.holds(value):
                return {f"${kind.tag}": kind.write(self, value, path)}
        raise refusal(value, path, "a kind of value that files do not support")

    def keep(self, array: NDArray[Any], path: str) -> str:
        """Add an array to ``arrays``, and return its name."""
        name = path
        while name in self.arrays:
            name += "'"
        self.arrays[name] = array
        return name


@final
class Reader:
    """Decodes JSON to values.

    Parameters
    ----------
    kinds : list of Kind
        Kinds of values beyond JSON.
    arrays : dict of ndarray
        Arrays that the JSON refers to; each is used once.
    device : torch.device
        Device of the networks.

    Attributes
    ----------
    text : TextMemory
        Bounds arrays of text.
    """

    def __init__(
        self, kinds: list[Kind], arrays: dict[str, NDArray[Any]], device: "torch.device"
    ) -> None:
        self.device = device
        self.text = TextMemory()
        self._kinds = {f"${kind.tag}": kind for kind in kinds}
        self._arrays = dict(arrays)
        self._depth = 0

    def read(self, node: Any) -> Any:
        """Decode a value; any error means that the file is invalid."""
        if not isinstance(node, list | dict):
            return node
        self._depth += 1
        if self._depth > _DEEPEST_NODE:
            raise FileFormatError("it holds values that are nested too deeply")
        try:
            return self._read(node)
        finally:
            self._depth -= 1

    def _read(self, node: Any) -> Any:
        """Decode a container or a value of one of the kinds."""
        if isinstance(node, list):
            return [self.read(item) for item in node]
        if not any(key.startswith("$") for key in node):
            return {key: self.read(item) for key, item in node.items()}
        ((tag, payload),) = node.items()
        if tag not in self._kinds:
            raise FileFormatError(f"it holds a value of the unknown kind {tag!r}")
        return self._kinds[tag].read(self, payload)

    def take(self, name: str) -> NDArray[Any]:
        """Return an array by its name; each can be taken once."""
        return self._arrays.pop(name)

    def finish(self) -> None:
        """Raise ``FileFormatError`` when arrays are left over."""
        if self._arrays:
            raise FileFormatError(f"it holds arrays that belong to nothing: {sorted(self._arrays)}")


def refusal(
    value: Any, path: str, reason: str, instead: str = "another there, of skvim or scikit-learn"
) -> UnsavableError:
    """Return the error for a value that cannot be saved."""
    shown = repr(value)
    shown = shown if len(shown) <= 80 else f"{shown[:77]}..."
    return UnsavableError(
        f"{path} is {shown} ({type(value).__module__}.{type(value).__qualname__}), {reason}: a "
        f"file without code cannot hold it. Use {instead}, or pickle the model (pickle.dump, "
        "joblib.dump), and open pickles only if you trust their source."
    )
