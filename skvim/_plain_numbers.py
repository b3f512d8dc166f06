"""Numbers among parameters: what counts as one, and plain numbers of Python.

Arithmetic with NumPy's scalars of 8 and 16 bits overflows: ``np.int8(100) + np.int8(100)`` is -56.
NumPy is not imported here, as in all that networks and objectives use.
"""

from numbers import Integral, Real
from typing import Any

__all__ = ["is_real", "plain"]


def is_real(value: Any) -> bool:
    """Return whether a value is a real number that a float can hold; True and False are not."""
    if not isinstance(value, Real) or isinstance(value, bool):
        return False
    try:
        float(value)
    except OverflowError:
        return False
    return True


def plain(value: Any) -> Any:
    """Return a setting with int and float in the place of other numbers, also in containers.

    Parameters
    ----------
    value : object
        A number, a list, tuple or dict of settings, an object with the method
        ``with_plain_numbers``, or anything else.

    Returns
    -------
    object
        ``value`` itself where nothing is to be replaced; it is never changed.
    """
    kind: type = type(value)
    if isinstance(value, Real) and kind not in (bool, int, float):
        return int(value) if isinstance(value, Integral) else float(value)
    if kind in (list, tuple):
        items = [plain(item) for item in value]
        same = all(new is old for new, old in zip(items, value, strict=True))
        return value if same else kind(items)
    if kind is dict:
        entries = {name: plain(entry) for name, entry in value.items()}
        return value if all(entries[name] is value[name] for name in value) else entries
    convert = getattr(kind, "with_plain_numbers", None)
    return value if convert is None else convert(value)
