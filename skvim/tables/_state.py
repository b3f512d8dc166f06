"""Objects as dictionaries of plain values, and back."""

import inspect
from typing import Any

from skvim.tables._field import Field
from skvim.tables._grid import Grid
from skvim.tables._labels import Categories, Ranks
from skvim.tables._numeric import Numbers
from skvim.tables._smooth import Smooth

__all__ = ["classes", "object_of", "state_of"]

_TYPE = "type"


def classes(*others: type) -> dict[str, type]:
    """Return the classes that a state may name."""
    return {c.__name__: c for c in (*others, Categories, Field, Grid, Numbers, Ranks, Smooth)}


def state_of(value: Any, known: dict[str, type]) -> Any:
    """Return a value with dictionaries in the place of objects of known classes."""
    if type(value) is tuple:
        return tuple(state_of(item, known) for item in value)
    if known.get(type(value).__name__) is not type(value):
        return value
    arguments = inspect.signature(type(value)).parameters
    items = {name: state_of(getattr(value, name), known) for name in arguments}
    return {_TYPE: type(value).__name__, **items}


def object_of(state: Any, expected: type, known: dict[str, type]) -> Any:
    """Return the object, of an expected class, that a state describes.

    Raises
    ------
    ValueError
        When it does not describe one.
    """
    try:
        made = _made(state, known)
        if type(made) is not expected:
            raise TypeError(f"it is no {expected.__name__}")
    except (AttributeError, IndexError, KeyError, OverflowError, TypeError, ValueError) as error:
        raise ValueError(f"The state of a table is invalid: {error}") from error
    return made


def _made(state: Any, known: dict[str, type]) -> Any:
    """Return the value that a state describes; objects are checked."""
    if type(state) is tuple:
        return tuple(_made(item, known) for item in state)
    if type(state) is not dict:
        return state
    arguments = {name: _made(item, known) for name, item in state.items() if name != _TYPE}
    made = known[state[_TYPE]](**arguments)
    made.check()
    return made
