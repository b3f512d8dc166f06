"""Lookup of the classes that files may hold, and of the arguments that made a part of a model.

A file holds names of classes. Each is looked up among the public names of ``_allowed.MODULES``;
nothing else is imported or called.
"""

import importlib
import inspect
from functools import cached_property
from typing import Any

from skvim._persistence._allowed import MODULES, PARTS, SKLEARN
from skvim.exceptions import FileFormatError

__all__ = ["part_arguments", "part_class", "public_class", "public_name"]

_VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


def public_name(cls: type) -> str | None:
    """Return the name under which a file may hold a class, or None for any other class.

    Examples
    --------
    >>> from skvim._persistence._registry import public_name
    >>> from skvim.objectives import Normal
    >>> public_name(Normal), public_name(dict)
    ('skvim.objectives.Normal', None)
    """
    modules = [name for name in MODULES if f"{cls.__module__}.".startswith(f"{name}.")]
    if not modules:
        return None
    module = max(modules, key=len)
    return f"{module}.{cls.__name__}" if _member(module, cls.__name__) is cls else None


def public_class(name: Any, base: type) -> type:
    """Return the class of a name, a concrete subclass of ``base``.

    Raises
    ------
    FileFormatError
        When it is not among those that a file may hold.
    """
    module, _, member = name.rpartition(".") if isinstance(name, str) else ("", "", "")
    cls = _member(module, member) if module in MODULES else None
    if cls is None or not issubclass(cls, base) or inspect.isabstract(cls):
        raise FileFormatError(
            f"it names {name!r}, which is no public {base.__name__} of skvim, scikit-learn or "
            "torch that files may hold. If a newer release has it, install that one"
        )
    return cls


def part_arguments(part: Any) -> tuple[str, dict[str, Any]] | None:
    """Return the name of a part's class and its constructor's arguments, read from attributes.

    None for everything else, a part with further attributes or invalid settings included.
    """
    name = public_name(type(part))
    if name is None or name not in PARTS:
        return None
    parameters = inspect.signature(type(part)).parameters.values()
    # A class without a constructor of its own shows that of its base, (*args, **kwargs).
    keys = [parameter.name for parameter in parameters if parameter.kind not in _VARIADIC]
    try:
        arguments = {key: getattr(part, key) for key in keys}
        unchanged = _has_only_settings(part, type(part)(**arguments))
    except (AttributeError, TypeError, ValueError):  # attributes were deleted or replaced
        return None
    return (name, arguments) if unchanged else None


def part_class(name: Any) -> type:
    """Return the class of a part by its name; ``FileFormatError`` where there is none."""
    return public_class(name if name in PARTS else None, object)


def _has_only_settings(part: Any, fresh: Any) -> bool:
    """Whether a part has no attribute that a fresh one with the same settings lacks."""
    members = inspect.getmembers_static(type(part))
    # Cached properties follow from the settings.
    derived = {name for name, member in members if isinstance(member, cached_property)}
    return set(vars(part)) - set(vars(fresh)) <= derived


def _member(module_name: str, name: str) -> type | None:
    """Return a public class of a module, which is imported."""
    if name not in SKLEARN.get(module_name, {name}):
        return None
    module = importlib.import_module(module_name)
    member = vars(module).get(name) if name in getattr(module, "__all__", dir(module)) else None
    own = isinstance(member, type) and f"{member.__module__}.".startswith(f"{module_name}.")
    return member if own else None
