"""Features by which sets of rows are compared: the rows, codes, or a layer of a network."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import expit
from sklearn.base import BaseEstimator
from sklearn.pipeline import Pipeline
from torch import Tensor, nn

from skvim._layout import flatten
from skvim._validation import check_is_fitted, check_matrix, check_rows, count_rows
from skvim.metrics._inception import InceptionFeatures

__all__ = ["extract_features"]

_BATCH_ROWS = 256
# The activations of scikit-learn's perceptrons.
_ACTIVATIONS: dict[str, Callable[[NDArray[Any]], NDArray[Any]]] = {
    "identity": lambda a: a,
    "logistic": expit,
    "tanh": np.tanh,
    "relu": lambda a: np.maximum(a, 0),
}


def extract_features(
    features: Any, X: Any, Y: Any, *, least: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the features of two sets of rows, in float64.

    Parameters
    ----------
    features : None, callable, estimator, Module or "inception"
        As :func:`~skvim.metrics.frechet_distance` describes it.
    X, Y : array-like
        Rows or images, as ``features`` takes them.
    least : int
        Least number of rows of either set.

    Returns
    -------
    features_x, features_y : ndarray of shape (n_x, n_features), (n_y, n_features)
        Finite.

    Raises
    ------
    TypeError
        If ``features`` is none of these.
    ValueError
        If it does not return a matrix with one row per given row, or X and Y have different numbers
        of features.
    """
    extract = _extractor(features)
    matrices = []
    for name, rows in (("X", X), ("Y", Y)):
        n_rows = count_rows(name, rows)
        values = extract(rows)
        if isinstance(values, Tensor):
            values = values.detach().cpu().numpy()
        matrix = check_matrix(
            name if features is None else f"features of {name}", values, least=least
        )
        if len(matrix) != n_rows:
            raise ValueError(
                f"features must return one row per given row. Got {len(matrix)} rows for the "
                f"{n_rows} of {name}."
            )
        matrices.append(matrix)
    x, y = matrices
    if x.shape[1] != y.shape[1]:
        raise ValueError(
            f"X and Y must have the same features. Got {x.shape[1]} of X and {y.shape[1]} of Y."
        )
    return x, y


def _extractor(features: Any) -> Callable[[Any], Any]:
    """Return the function that computes features of rows."""
    if features is None:
        return lambda X: flatten(X)[0]
    if isinstance(features, str):
        if features == "inception":
            return InceptionFeatures()
        raise ValueError(
            f"features must be 'inception' if it is a string. Got {features!r} instead."
        )
    if isinstance(features, nn.Module):
        return partial(_penultimate, features)
    if isinstance(features, BaseEstimator):
        check_is_fitted(features)
        return lambda X: _estimator_features(features, flatten(X)[0])
    if callable(features) and not isinstance(features, type):
        extract: Callable[[Any], Any] = features
        return extract
    raise TypeError(
        "features must be None, a function of rows, a fitted estimator, a torch module or "
        f"'inception'. Got {features!r} instead."
    )


def _estimator_features(estimator: Any, X: Any) -> Any:
    """Return the codes of a transformer or the last hidden layer of a classifier."""
    if estimator in (None, "passthrough"):
        return X
    if isinstance(estimator, Pipeline):
        before = estimator[:-1].transform(X) if len(estimator) > 1 else X
        return _estimator_features(estimator[-1], before)
    if hasattr(estimator, "coefs_"):
        return _hidden_layer(estimator, X)
    if isinstance(getattr(estimator, "module_", None), nn.Module):
        return _penultimate(estimator.module_, X)
    if hasattr(estimator, "transform"):
        return estimator.transform(X)
    raise TypeError(
        "An estimator given as features must have transform, or be a multilayer perceptron of "
        f"scikit-learn or a net of skorch. Got {estimator!r} instead; pass a function of rows."
    )


def _hidden_layer(perceptron: Any, X: Any) -> NDArray[Any]:
    """Return the last hidden layer of a scikit-learn perceptron, or its input if it has none."""
    hidden = check_rows(perceptron, X, reset=False)
    activation = _ACTIVATIONS[perceptron.activation]
    for weights, bias in zip(perceptron.coefs_[:-1], perceptron.intercepts_[:-1], strict=True):
        hidden = activation(hidden @ weights + bias)
    return hidden


def _penultimate(module: nn.Module, X: Any) -> Tensor:
    """Return the input of the linear layer that a module calls last, in evaluation mode."""
    rows = np.asarray(X)
    like = next(module.parameters(), torch.zeros(()))
    inputs: list[Tensor] = []

    def store(_: nn.Module, arguments: tuple[Tensor, ...]) -> None:
        inputs[:] = [arguments[0]]

    linear = [layer for layer in module.modules() if isinstance(layer, nn.Linear)]
    handles = [layer.register_forward_pre_hook(store) for layer in linear]
    modes = {layer: layer.training for layer in module.modules()}
    batches = []
    try:
        module.eval()
        for start in range(0, len(rows), _BATCH_ROWS):
            inputs.clear()
            batch = torch.from_numpy(np.array(rows[start : start + _BATCH_ROWS]))
            with torch.no_grad():
                module(batch.to(like.device, like.dtype))
            if not inputs:
                raise ValueError(
                    "features is a module that calls no torch.nn.Linear, so that it has no "
                    "penultimate layer. Pass a function that returns the features, (n, n_features)."
                )
            batches.append(inputs[0].flatten(1).cpu())
    finally:
        for handle in handles:
            handle.remove()
        for layer, training in modes.items():
            layer.training = training
    return torch.cat(batches)
