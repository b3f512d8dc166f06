"""What results depend on, as JSON, and the key that follows from it."""

import hashlib
import inspect
import json
from collections.abc import Callable, Mapping
from functools import cache
from numbers import Integral, Real
from pathlib import Path
from typing import Any

import numpy as np

__all__ = [
    "DEFAULTS",
    "changed_defaults",
    "defaults_of",
    "describe",
    "fingerprint",
    "is_ours",
    "recorded",
]

# The defaults of skvim when results were made, by the name of a class or function.
DEFAULTS = Path(__file__).with_name("defaults.json")


@cache
def recorded() -> dict[str, dict[str, Any]]:
    """Return the defaults on record."""
    found: dict[str, dict[str, Any]] = json.loads(DEFAULTS.read_text(encoding="utf-8"))
    return found


def describe(value: Any) -> Any:
    """Return settings as JSON holds them: of objects the class and what differs from its defaults.

    Neither order of creation nor addresses nor parameters that a later release adds change it. A
    default that a later release of skvim changes does: it is compared with the one on record.
    """
    if value is None or value is inspect.Parameter.empty or isinstance(value, (str, bool)):
        return value if value is not inspect.Parameter.empty else "(none)"
    if isinstance(value, Integral):
        return int(value)
    if isinstance(value, Real):
        return float(value)
    if isinstance(value, Mapping):
        return {str(key): describe(item) for key, item in sorted(value.items())}
    if isinstance(value, (list, tuple, np.ndarray)):
        return [describe(item) for item in value]
    parameters = inspect.signature(type(value)).parameters
    given = {name: getattr(value, name) for name in sorted(parameters) if hasattr(value, name)}
    defaults = _as_recorded(type(value))
    differing = {
        name: described
        for name, item in given.items()
        if (described := describe(item)) != defaults[name]
    }
    return {"class": type(value).__name__, **differing}


def changed_defaults(*makers: Callable[..., Any]) -> dict[str, Any]:
    """Return the defaults of classes and functions that are others than on record."""
    found = {}
    for maker in makers:
        before, now = _as_recorded(maker), defaults_of(maker)
        changed = {name: now[name] for name in now if now[name] != before[name]}
        if changed:
            found[maker.__name__] = changed
    return found


def fingerprint(settings: Any) -> str:
    """Return a hash of settings."""
    text = json.dumps(settings, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def is_ours(maker: Callable[..., Any]) -> bool:
    """Whether a class or function is one of skvim."""
    return maker.__module__.partition(".")[0] == "skvim"


def defaults_of(maker: Callable[..., Any]) -> dict[str, Any]:
    """Return the defaults of a class or function as they are now."""
    parameters = inspect.signature(maker).parameters
    return {name: describe(parameter.default) for name, parameter in parameters.items()}


def _as_recorded(maker: Callable[..., Any]) -> dict[str, Any]:
    """Return defaults as on record, of parameters that are not there as they are now."""
    # Those of other libraries are no news: results say which version they were made with.
    return defaults_of(maker) | (recorded().get(maker.__name__, {}) if is_ours(maker) else {})
