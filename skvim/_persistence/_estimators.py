"""Estimators in files: their class, parameters and fitted state."""

from typing import Any

from sklearn.base import BaseEstimator

from skvim._persistence._allowed import alternative
from skvim._persistence._codec import Kind, Reader, Writer, refusal
from skvim._persistence._registry import public_class, public_name
from skvim._persistence._releases import default_parameters, known_parameters
from skvim._sklearn_private import names_of_callbacks
from skvim.exceptions import FileFormatError

__all__ = ["ESTIMATOR", "fitted_state", "is_foreign"]

# Parameters that name a folder of one machine: caches, which hold pickles, and checkpoints.
_FOLDERS = ("memory", "checkpoint")


def fitted_state(estimator: BaseEstimator) -> dict[str, Any]:
    """Return every attribute that is not a parameter."""
    parameters = estimator.get_params(deep=False)
    return {key: value for key, value in vars(estimator).items() if key not in parameters}


def _write(writer: Writer, estimator: BaseEstimator, path: str) -> dict[str, Any]:
    name = public_name(type(estimator))
    if name is None:
        raise _unsavable(estimator, path)
    parameters = estimator.get_params(deep=False)
    parameters.update({name: None for name in _FOLDERS if name in parameters})
    own = hasattr(estimator, "_saved_state")
    state = estimator._saved_state() if own else fitted_state(estimator)
    callbacks = names_of_callbacks(state)
    if callbacks:
        writer.left_out.append(path)
        state = {key: value for key, value in state.items() if key not in callbacks}
    node = {
        "class": name,
        "parameters": writer.write(parameters, f"{path}.parameters"),
        "state": writer.write(state, f"{path}.state"),
    }
    if is_foreign(name):  # other releases have other parameters
        node["defaults"] = default_parameters(estimator, parameters)
    return node


def is_foreign(name: str) -> bool:
    """Tell whether a class of this name is one of scikit-learn."""
    return name.startswith("sklearn.")


def _unsavable(estimator: BaseEstimator, path: str) -> Exception:
    """Return the error for an estimator whose class files do not hold."""
    cls = type(estimator)
    if not cls.__module__.startswith("sklearn."):
        return refusal(estimator, path, "no public estimator of skvim or scikit-learn")
    return refusal(
        estimator,
        path,
        "whose fitted state is code or a compiled object, or is read by compiled code that does "
        "not check it",
        f"{alternative(cls.__name__)}, or fit it again after loading the steps before it",
    )


def _read(reader: Reader, node: Any) -> BaseEstimator:
    cls = public_class(node["class"], BaseEstimator)
    parameters, state = reader.read(node["parameters"]), reader.read(node["state"])
    if any(parameters.get(name) is not None for name in _FOLDERS):
        raise FileFormatError("it names a folder that fit would open files from")
    if is_foreign(node["class"]):
        parameters = known_parameters(cls, parameters, node["defaults"])
    estimator = cls(**parameters)
    if names_of_callbacks(state):
        raise FileFormatError("it holds callbacks, which are code")
    _check_names(cls, set(estimator.get_params(deep=False)), state)
    if hasattr(estimator, "_restore_state"):
        estimator._restore_state(state, reader.device)
    else:
        vars(estimator).update(state)
    _check_features(estimator)
    return estimator


def _check_names(cls: type, parameters: set[str], state: dict[str, Any]) -> None:
    """Raise where state would replace a parameter or a member of the class."""
    for name in state:
        if isinstance(getattr(cls, name, None), property):
            raise FileFormatError(f"{cls.__name__} computes {name!r} itself")
        taken = name in parameters or hasattr(cls, name)
        if taken or not name.isidentifier() or name.startswith("__"):
            raise FileFormatError(f"{cls.__name__} has no attribute {name!r} to restore")


def _check_features(estimator: BaseEstimator) -> None:
    """Raise unless number and names of the features agree."""
    names = vars(estimator).get("feature_names_in_")
    count = vars(estimator).get("n_features_in_", 1 if names is None else len(names))
    if type(count) is not int or count < 1 or (names is not None and len(names) != count):
        raise FileFormatError(f"number and names of features differ: {count!r} and {names!r}")


ESTIMATOR = Kind("estimator", lambda v: isinstance(v, BaseEstimator), _write, _read)
