"""Releases of scikit-learn whose fitted estimators can be read by one another."""

import inspect
import re
from collections.abc import Set as AbstractSet
from typing import Any

from sklearn.base import BaseEstimator

from skvim.exceptions import FileFormatError

__all__ = ["check_releases", "default_parameters", "known_parameters", "minor"]

#: The first and the last release between which files are exchanged in the tests.
_OLDEST, _NEWEST = (1, 7), (1, 9)
# Estimators whose fitted attributes changed, and the first release with the new ones.
_CHANGED = {
    "RidgeClassifier": (1, 8),
    "RidgeClassifierCV": (1, 8),
    "SimpleImputer": (1, 8),
    "SparseCoder": (1, 8),
}


def minor(version: str) -> tuple[int, ...]:
    """Return the major and the minor number of a version."""
    return tuple(int(number) for number in re.findall(r"\d+", version)[:2])


def check_releases(classes: set[str], written: str, here: str) -> bool:
    """Tell whether another release of scikit-learn has fitted some estimators of a file.

    Parameters
    ----------
    classes : set of str
        Names of the file's estimators of scikit-learn.
    written, here : str
        The releases that wrote the file and that reads it.

    Raises
    ------
    FileFormatError
        When this release is not known to read the estimators of that one.
    """
    first, second = sorted([minor(written), minor(here)])
    if first == second or not classes:
        return False
    if first < _OLDEST or second > _NEWEST:
        raise FileFormatError(
            f"it holds {_listed(classes)}, fitted by scikit-learn {written}, and this is {here}. "
            f"Between releases, skvim reads those of {_shown(_OLDEST)} to {_shown(_NEWEST)}"
        )
    changed = {name for name in classes if first < _CHANGED.get(name, first) <= second}
    if changed:
        raise FileFormatError(
            f"it holds {_listed(changed)}, fitted by scikit-learn {written}, whose fitted "
            f"attributes differ from those of this one, {here}"
        )
    return True


def default_parameters(estimator: BaseEstimator, parameters: dict[str, Any]) -> list[str]:
    """Return the names of parameters that have their default values in this release."""
    signature = inspect.signature(type(estimator)).parameters
    return [
        name
        for name, value in parameters.items()
        if name in signature and _equal(value, signature[name].default)
    ]


def known_parameters(cls: type, parameters: dict[str, Any], defaults: list[str]) -> dict[str, Any]:
    """Return the parameters that an estimator of scikit-learn gets here.

    One that had the default of the release that wrote the file gets the default of this one: it may
    not exist here, or have another name for the same. FileFormatError for others that this release
    does not know.
    """
    signature = inspect.signature(cls).parameters
    kept = {name: value for name, value in parameters.items() if name not in defaults}
    unknown = kept.keys() - signature.keys()
    if unknown:
        raise FileFormatError(
            f"{cls.__name__} of this scikit-learn has no parameters {_listed(unknown)}, which are "
            "set in the file"
        )
    return kept


def _equal(value: Any, default: Any) -> bool:
    """Tell whether a value is a default, which are numbers, text and the like."""
    if value is default:
        return True
    plain = isinstance(value, bool | int | float | str) and type(value) is type(default)
    return plain and bool(value == default)


def _listed(names: AbstractSet[str]) -> str:
    """Return names as text."""
    return ", ".join(sorted(names))


def _shown(release: tuple[int, ...]) -> str:
    """Return a release as text."""
    return ".".join(map(str, release))
