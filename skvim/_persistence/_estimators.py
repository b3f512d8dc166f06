"""Estimators as values: parameters, and what fit has left."""

from typing import Any

import numpy as np
from sklearn.base import BaseEstimator

from skvim._persistence._codec import Kind, Reader, Writer, refusal
from skvim._persistence._registry import public_class, public_name
from skvim._persistence._savable import fitted_state
from skvim.exceptions import FileFormatError

__all__ = ["ESTIMATOR"]

# Folders of one machine, and no part of a model.
_LOCAL = "memory"
_TREES = {"ball_tree": "BallTree", "kd_tree": "KDTree"}


def _write(writer: Writer, estimator: BaseEstimator, path: str) -> dict[str, Any]:
    name = public_name(type(estimator))
    if name is None:
        raise refusal(
            estimator,
            path,
            "no public estimator of skvim or of a module of scikit-learn's known here",
        )
    parameters = estimator.get_params(deep=False)
    if _LOCAL in parameters:
        parameters[_LOCAL] = None
    own = hasattr(estimator, "_saved_state")
    state = estimator._saved_state() if own else _foreign_state(estimator)
    return {
        "class": name,
        "parameters": writer.write(parameters, f"{path}.parameters"),
        "state": writer.write(state, f"{path}.state"),
    }


def _read(reader: Reader, node: Any) -> BaseEstimator:
    cls = public_class(node["class"], BaseEstimator)
    parameters, state = reader.read(node["parameters"]), reader.read(node["state"])
    if parameters.get(_LOCAL) is not None:
        raise FileFormatError("it names a folder to open pickles from")
    estimator = cls(**parameters)
    _check_names(cls, set(parameters), state)
    if hasattr(estimator, "_restore_state"):
        estimator._restore_state(state, reader.device)
    else:
        _restore_foreign(estimator, state)
    _check_features(estimator)
    return estimator


def _check_names(cls: type, parameters: set[str], state: dict[str, Any]) -> None:
    """Raise where state would take the place of a parameter or of what the class itself has."""
    for name in state:
        if isinstance(getattr(cls, name, None), property):
            raise FileFormatError(f"{cls.__name__} works {name!r} out itself")
        taken = name in parameters or hasattr(cls, name)
        if taken or not name.isidentifier() or name.startswith("__"):
            raise FileFormatError(f"{cls.__name__} has no attribute {name!r} to restore")


def _check_features(estimator: BaseEstimator) -> None:
    """Raise unless number and names of the features agree."""
    names = vars(estimator).get("feature_names_in_")
    count = vars(estimator).get("n_features_in_", 1 if names is None else len(names))
    if type(count) is not int or count < 1 or (names is not None and len(names) != count):
        raise FileFormatError(f"number and names of features differ: {count!r} and {names!r}")


def _foreign_state(estimator: BaseEstimator) -> dict[str, Any]:
    """Return the state of an estimator of scikit-learn's, without trees that rows make again."""
    state = fitted_state(estimator)
    tree = state.get("_tree")
    if tree is not None and type(tree).__name__ in _TREES.values():
        state["_tree"] = {"leaf_size": tree.__getstate__()[4]}
    return state


def _restore_foreign(estimator: BaseEstimator, state: dict[str, Any]) -> None:
    """Set the state of an estimator of scikit-learn's.

    Compiled code that trusts what fit has left is fed only what agrees in size.
    """
    if "support_vectors_" in state:
        _check_support_vectors(estimator, state)
    if "n_samples_fit_" in state:
        _check_neighbours(state)
    vars(estimator).update(state)
    if isinstance(state.get("_tree"), dict):
        from sklearn import neighbors

        tree = getattr(neighbors, _TREES[state["_fit_method"]])
        metric, options = state["effective_metric_"], state["effective_metric_params_"]
        size = int(state["_tree"]["leaf_size"])
        estimator._tree = tree(state["_fit_X"], leaf_size=size, metric=metric, **options)


def _check_neighbours(state: dict[str, Any]) -> None:
    """Raise unless every stored row has its target, and every class its name."""
    rows, targets = state["_fit_X"], state.get("_y")
    n_features = state["n_features_in_"]
    if rows.ndim != 2 or rows.shape[1] != n_features or state["n_samples_fit_"] != len(rows):
        raise FileFormatError(f"rows to compare with have the shape {rows.shape}")
    if targets is not None and len(targets) != len(rows):
        raise FileFormatError(f"{len(targets)} targets belong to {len(rows)} rows")
    classes = state.get("classes_")
    if isinstance(classes, np.ndarray) and targets is not None:
        known = targets.dtype.kind in "iu" and 0 <= targets.min() <= targets.max() < len(classes)
        if not known:
            raise FileFormatError("targets are no numbers of classes")


def _check_support_vectors(estimator: Any, state: dict[str, Any]) -> None:
    """Raise unless what libsvm reads has the sizes that it takes for granted."""
    vectors, counts = state["support_vectors_"], state["_n_support"]
    n, n_classes = len(state["support_"]), len(state.get("classes_", (0, 1)))
    n_pairs = n_classes * (n_classes - 1) // 2
    precomputed = estimator.kernel == "precomputed"
    shapes = {
        "support_": (n,),
        "support_vectors_": (0, 0) if precomputed else (n, state["n_features_in_"]),
        "_n_support": (n_classes,),
        "_dual_coef_": (n_classes - 1, n),
        "_intercept_": (n_pairs,),
    }
    wrong = [name for name, shape in shapes.items() if state[name].shape != shape]
    widths = {state[name].shape for name in ("_probA", "_probB")}
    wrong += ["_probA"] if not widths <= {(0,), (n_pairs,)} or len(widths) > 1 else []
    # With kernels that are given, these are the columns where libsvm looks them up.
    support, n_rows = state["support_"], state["shape_fit_"][0]
    wrong += [] if ((support >= 0) & (support < n_rows)).all() else ["support_"]
    # Regressions count in the first place alone.
    total = counts.sum() if "classes_" in state else counts[0]
    if wrong or vectors.dtype != np.float64 or (counts < 0).any() or total != n:
        raise FileFormatError(f"support vectors do not fit together: {wrong or ['_n_support']}")


ESTIMATOR = Kind("estimator", lambda v: isinstance(v, BaseEstimator), _write, _read)
