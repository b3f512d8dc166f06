"""Declaration of constructor parameters: signature, validation and documentation from one place.

scikit-learn reads the parameters of an estimator from the signature of ``__init__`` and expects
each to be stored unchanged and validated in ``fit``. :func:`estimator` generates all of this from
class-level declarations with :func:`parameter`, inherited ones included.
"""

import dataclasses
import inspect
import re
from typing import Any, TypeVar, dataclass_transform

__all__ = ["estimator", "parameter"]

_KEY = "skvim"
_SECTION = re.compile(r"^(?P<title>[A-Z][A-Za-z ]+)\n-{3,}\n", re.MULTILINE)

_Class = TypeVar("_Class", bound=type)


def parameter(
    *,
    default: Any,
    kind: str,
    allowed: list[Any],
    doc: str,
    kw_only: bool = True,
) -> Any:
    """Declare a constructor parameter in the body of a class.

    Parameters
    ----------
    default : object
        Default value; immutable.
    kind : str
        Type in the documentation, for example ``"float in [0, inf)"``.
    allowed : list
        Constraints in scikit-learn's form; in ``fit`` the value has to meet one of them.
    doc : str
        Description; indented as needed.
    kw_only : bool, default=True
        Whether the parameter is keyword-only.

    Returns
    -------
    dataclasses.Field
        Field that :func:`estimator` reads.
    """
    declaration = {"kind": kind, "allowed": allowed, "doc": inspect.cleandoc(doc)}
    return dataclasses.field(default=default, kw_only=kw_only, metadata={_KEY: declaration})


@dataclass_transform(kw_only_default=True, eq_default=False, field_specifiers=(parameter,))
def estimator(cls: _Class) -> _Class:
    """Add constructor, parameter constraints and documentation of declared parameters to a class.

    The constructor only assigns. ``_parameter_constraints`` is read by scikit-learn's validation.
    The docstring gets a "Parameters" section, and its "Attributes" section those of the bases.
    """
    # Changes the class in place, by adding __init__.
    dataclasses.dataclass(kw_only=True, eq=False, repr=False)(cls)
    fields = [field for field in dataclasses.fields(cls) if _KEY in field.metadata]
    # scikit-learn reads the attribute of the class alone, so it has to hold inherited ones too.
    cls._parameter_constraints = {  # type: ignore[attr-defined]
        field.name: field.metadata[_KEY]["allowed"] for field in fields
    }
    if cls.__doc__ is not None:  # python -OO strips docstrings
        cls.__doc__ = _complete(cls, fields)
    return cls


def _complete(cls: type, fields: list[dataclasses.Field[Any]]) -> str:
    """Return the docstring with the parameters and the attributes of the bases."""
    sections = _split(inspect.cleandoc(cls.__doc__ or ""))
    lead = sections.pop("")
    own = sections.pop("Attributes", "")
    inherited = [_split(base.__doc__ or "").get("Attributes", "") for base in cls.__bases__]
    attributes = "\n".join(part.strip("\n") for part in (*inherited, own) if part.strip())
    ordered = {"Parameters": _parameters(fields)}
    if attributes:
        ordered["Attributes"] = attributes
    ordered |= sections
    parts = [lead.strip("\n")]
    parts += [f"{title}\n{'-' * len(title)}\n{body.strip()}" for title, body in ordered.items()]
    return "\n\n".join(parts) + "\n"


def _split(doc: str) -> dict[str, str]:
    """Return the sections of a numpydoc docstring by title; "" has the text before the first."""
    pieces = _SECTION.split(doc)
    return {"": pieces[0], **dict(zip(pieces[1::2], pieces[2::2], strict=True))}


def _parameters(fields: list[dataclasses.Field[Any]]) -> str:
    """Return the body of a "Parameters" section, positional parameters first."""
    ordered = sorted(fields, key=lambda field: bool(field.kw_only))
    return "\n".join(_entry(field) for field in ordered)


def _entry(field: dataclasses.Field[Any]) -> str:
    """Return the entry of one parameter in numpydoc's form."""
    declaration = field.metadata[_KEY]
    indented = "\n".join(f"    {line}" if line else "" for line in declaration["doc"].split("\n"))
    return f"{field.name} : {declaration['kind']}, default={field.default!r}\n{indented}"
