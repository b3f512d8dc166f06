"""Fits for a range of values of a parameter, trained as one batch."""

from collections.abc import Iterable, Sequence
from typing import Any

from sklearn.base import clone

from skvim._base import BaseAutoencoder
from skvim._modes import own_modes
from skvim.engine import train
from skvim.engine.batched import Plan

__all__ = ["lam_path"]


def lam_path(
    estimator: Any,
    X: Any,
    lams: Iterable[Any],
    *,
    param: str = "lam",
    random_states: Sequence[int] | None = None,
) -> list[Any]:
    """Fit an autoencoder for each value of a parameter, all in one batch.

    Each network has its own weights, random numbers and history, and the same results as a single
    fit up to the rounding of sums.

    Parameters
    ----------
    estimator : autoencoder
        Estimator of which clones are fitted.
    X : array-like of shape (n_samples, n_features) or (n_samples, height, width[, channels])
        Rows or images.
    lams : iterable
        Values of the parameter, one for each fit.
    param : str, default="lam"
        Name of the parameter. Fits train as one batch if they differ in weights or other numbers of
        the objective ("lam", "beta", "gamma", "alpha", "capacity") or in "random_state". Fits that
        differ in the network, the data or the training are made one by one.
    random_states : sequence of int or None, default=None
        Seeds; every value is fitted with each of them. None keeps that of the estimator.

    Returns
    -------
    list of estimators, or of lists of them
        Fitted estimators in the order of ``lams``; with ``random_states`` a list for each value, in
        the order of the seeds.

    Raises
    ------
    TypeError
        If the estimator is not an autoencoder.
    ValueError
        If the parameter does not exist, there is no value or seed, seeds are given twice, or X or a
        value is invalid.
    TrainingDivergedError
        If a model or its loss becomes infinite or NaN.

    Warns
    -----
    BatchingWarning
        If fits were made one by one, with the reason, see :class:`BatchedSearchCV`.

    See Also
    --------
    BatchedSearchCV : Cross-validated search that trains fits as one batch.

    Notes
    -----
    A batch has as many networks as scikit-learn's ``working_memory`` has room for (by default
    1 GiB); batches train one after another. The times in ``history_`` are those of
    all networks of a batch. With ``early_stopping`` each network stops by its own validation loss.

    Examples
    --------
    >>> import numpy as np
    >>> from skvim import VIMAETransformer
    >>> from skvim.model_selection import lam_path
    >>> X = np.random.default_rng(0).normal(size=(64, 6))
    >>> vim = VIMAETransformer(2, hidden_layer_sizes=(16,), max_epochs=5, random_state=0)
    >>> [model.lam for model in lam_path(vim, X, [0.1, 1.0, 10.0])]
    [0.1, 1.0, 10.0]
    """
    if not isinstance(estimator, BaseAutoencoder):
        raise TypeError(f"estimator must be one of skvim's autoencoders. Got {estimator!r}.")
    values = list(lams)
    if not values:
        raise ValueError("lams must hold at least one value. Got none.")
    seeds = [None] if random_states is None else list(random_states)
    if not seeds:
        raise ValueError("random_states must hold at least one seed, or be None. Got none.")
    if param == "random_state" and random_states is not None:
        raise ValueError(
            "param='random_state' has the seeds in lams. Got random_states too: leave it out."
        )
    models = [_clone_with(estimator, param, value, seed) for value in values for seed in seeds]
    plan = Plan()
    with own_modes():
        requests = [model._make_request(X) for model in models]
        for request in requests:
            plan.add(request)
        plan.build_chunks()
        for model, request in zip(models, requests, strict=True):
            net = plan.take(request)
            model._finish_fit(request, train(request) if net is None else net)
    plan.finish()
    if random_states is None:
        return models
    return [models[i : i + len(seeds)] for i in range(0, len(models), len(seeds))]


def _clone_with(estimator: Any, param: str, value: Any, seed: int | None) -> Any:
    """Return a clone with a value of a parameter and, unless it is None, a seed."""
    model = clone(estimator).set_params(**{param: value})
    return model if seed is None else model.set_params(random_state=seed)
