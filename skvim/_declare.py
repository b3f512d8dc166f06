"""One declaration per parameter: an explicit constructor, its validation and its documentation.

scikit-learn reads an estimator's parameters from the signature of ``__init__``, wants each stored
untouched, checked in ``fit`` and documented. :func:`estimator` derives all of this from class-level
declarations made with :func:`parameter`, inherited ones included.
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
    """Declare one constructor parameter in the body of a class.

    Parameters
    ----------
    default : object
        Value when the user gives none; immutable.
    kind : str
        The type as the documentation prints it, for example ``"float in [0, inf)"``.
    allowed : list
        Constraints in scikit-learn's form, one of which the value has to meet in ``fit``.
    doc : str
        What the parameter does; dedented and re-indented as needed.
    kw_only : bool, default=True
        Whether the constructor takes it by keyword only.

    Returns
    -------
    dataclasses.Field
        Understood by :func:`estimator`.
    """
    declaration = {"kind": kind, "allowed": allowed, "doc": inspect.cleandoc(doc)}
    return dataclasses.field(default=default, kw_only=kw_only, metadata={_KEY: declaration})


@dataclass_transform(kw_only_default=True, eq_default=False, field_specifiers=(parameter,))
def estimator(cls: _Class) -> _Class:
    """Give a class the constructor, constraints and docstring of its declared parameters.

    The constructor only assigns. ``_parameter_constraints`` is what scikit-learn's validation
    reads. The docstring receives a "Parameters" section, and its "Attributes" section those of
    its bases.
    """
    # In place: it adds __init__ to the class and returns the same one.
    dataclasses.dataclass(kw_only=True, eq=False, repr=False)(cls)
    fields = [field for field in dataclasses.fields(cls) if _KEY in field.metadata]
    # Copied into each class, so that scikit-learn's own class-level look-up finds all of them.
    cls._parameter_constraints = {  # type: ignore[attr-defined]
        field.name: field.metadata[_KEY]["allowed"] for field in fields
    }
    if cls.__doc__ is not None:  # python -OO strips docstrings
        cls.__doc__ = _complete(cls, fields)
    return cls


def _complete(cls: type, fields: list[dataclasses.Field[Any]]) -> str:
    """Insert the parameters, and the attributes of the bases, into the docstring of ``cls``."""
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
    """Cut a numpydoc docstring into its sections; the text before the first one is ``""``."""
    pieces = _SECTION.split(doc)
    return {"": pieces[0], **dict(zip(pieces[1::2], pieces[2::2], strict=True))}


def _parameters(fields: list[dataclasses.Field[Any]]) -> str:
    """Write the body of a "Parameters" section, positional parameters first."""
    ordered = sorted(fields, key=lambda field: bool(field.kw_only))
    return "\n".join(_entry(field) for field in ordered)


def _entry(field: dataclasses.Field[Any]) -> str:
    """Write one parameter in numpydoc's form."""
    declaration = field.metadata[_KEY]
    indented = "\n".join(f"    {line}" if line else "" for line in declaration["doc"].split("\n"))
    return f"{field.name} : {declaration['kind']}, default={field.default!r}\n{indented}"
