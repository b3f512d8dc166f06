"""Header of a file in the format of safetensors: version, check sum, document, table of arrays.

It is a JSON object in one fixed form, so that the check sum has a known place, and that nothing is
parsed that could need much more memory than it has bytes.
"""

import json
import math
import re
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "DIGITS",
    "DTYPES",
    "LONGEST",
    "MOST_ARRAYS",
    "START",
    "Arrays",
    "Entry",
    "make_header",
    "ordered",
    "parse_header",
]

Arrays = dict[str, NDArray[Any]]

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
_NAMES = {name: key for key, name in DTYPES.items()}
#: Hexadecimal digits of the check sum.
DIGITS = 64
#: Bytes of a header, a limit of safetensors.
LONGEST = 100_000_000
#: Arrays of a file; models have hundreds.
MOST_ARRAYS = 100_000
#: The beginning of a header, with the version of the format; the check sum follows.
START = re.compile(rb'\{"__metadata__":\{"format_version":"([1-9]\d{0,8})","sha256":"')
_MIDDLE = '","skvim":'
_ENTRY = re.compile(
    r',("(?:[^"\\]|\\.)*"):\{"dtype":"(\w+)","shape":\[((?:\d+(?:,\d+)*)?)\],'
    r'"data_offsets":\[(\d+),(\d+)\]\}'
)
_END = re.compile(r"\} *")
_ALIGNED = 8  # bytes: data start at a multiple
_MOST_AXES, _MOST_DIGITS, _MOST_VALUES = 32, 18, 2**59


class Entry(NamedTuple):
    """An array of the table, in the order of the file."""

    name: str
    dtype: str  # NumPy's name
    shape: tuple[int, ...]
    n_bytes: int


def ordered(arrays: Arrays) -> list[tuple[str, NDArray[Any]]]:
    """Return arrays in the order of the file, in which each is aligned to the size of its items."""
    return sorted(arrays.items(), key=lambda item: (-item[1].dtype.itemsize, item[0]))


def make_header(version: int, text: str, arrays: Arrays) -> tuple[bytes, int]:
    """Return the header, with zeros for the check sum, and the position of the latter.

    Parameters
    ----------
    version : int
        Version of the format.
    text : str
        The document.
    arrays : dict of ndarray
        Of the dtypes in ``DTYPES``.

    Returns
    -------
    header : bytes
        Padded to a multiple of 8 bytes.
    place : int
        Position of the first digit of the check sum in the header.
    """
    start = f'{{"__metadata__":{{"format_version":"{version}","sha256":"'
    parts, offset = [start, "0" * DIGITS, _MIDDLE, json.dumps(text), "}"], 0
    for name, array in ordered(arrays):
        end = offset + array.nbytes
        shape = ",".join(map(str, array.shape))
        parts.append(
            f',{json.dumps(name)}:{{"dtype":"{_NAMES[array.dtype.name]}","shape":[{shape}],'
            f'"data_offsets":[{offset},{end}]}}'
        )
        offset = end
    header = "".join([*parts, "}"]).encode("ascii")
    return header + b" " * (-len(header) % _ALIGNED), len(start)


def parse_header(header: bytes, place: int) -> tuple[str, list[Entry]]:
    """Return the document and the table of arrays; ValueError if the form is another one.

    Parameters
    ----------
    header : bytes
        It matches ``START``.
    place : int
        Position of the check sum.
    """
    text = header.decode("ascii")
    position = place + DIGITS
    if not text.startswith(f'{_MIDDLE}"', position):
        raise ValueError("its header has another form")
    document, position = json.JSONDecoder().raw_decode(text, position + len(_MIDDLE))
    if not text.startswith("}", position):
        raise ValueError("its header has further entries")
    entries, position = _entries(text, position + 1)
    if _END.fullmatch(text, position) is None:
        raise ValueError("its table of arrays has another form")
    return str(document), entries


def _entries(text: str, position: int) -> tuple[list[Entry], int]:
    """Return the table of arrays from a position on, and the position of its end."""
    entries: dict[str, Entry] = {}
    offset = 0
    while match := _ENTRY.match(text, position):
        name, dtype = json.loads(match[1]), DTYPES.get(match[2])
        sizes = match[3].split(",") if match[3] else []
        numbers = [*sizes, match[4], match[5]]
        if dtype is None or len(sizes) > _MOST_AXES or max(map(len, numbers)) > _MOST_DIGITS:
            raise ValueError("an array of its table has another type or shape")
        shape = tuple(map(int, sizes))
        # NumPy refuses empty arrays too whose other axes are that long.
        if math.prod(max(1, size) for size in shape) > _MOST_VALUES:
            raise ValueError("an array of its table is too large")
        n_bytes = np.dtype(dtype).itemsize * math.prod(shape)
        if (int(match[4]), int(match[5])) != (offset, offset + n_bytes):
            raise ValueError("an array of its table has another place")
        if name in entries or len(entries) == MOST_ARRAYS:
            raise ValueError("its table has an array twice, or too many")
        entries[name] = Entry(name, dtype, shape, n_bytes)
        offset, position = offset + n_bytes, match.end()
    return list(entries.values()), position
