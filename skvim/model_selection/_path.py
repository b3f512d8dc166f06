"""Fits along a parameter, trained as one batched network."""

from collections.abc import Iterable, Sequence
from typing import Any

from sklearn.base import clone

from skvim._base import BaseAutoencoder
from skvim.engine import own_modes, train
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
    """Fit an autoencoder for every value of a parameter, all at once.

    The networks train as one batched network: each with its own weights, random numbers and
    history, as if it had been fitted by itself, up to the rounding of sums.

    Parameters
    ----------
    estimator : autoencoder
        It stays as it is; clones of it are fitted.
    X : array-like of shape (n_samples, n_features) or (n_samples, height, width[, channels])
        As its ``fit`` takes it.
    lams : iterable
        Values of the parameter, each for one fit.
    param : str, default="lam"
        The parameter. What trains together are weights and other numbers of the objective ("lam",
        "beta", "gamma", "alpha", "capacity") and "random_state"; values of any other parameter are
        fitted too, one by one unless they leave the network, the data and the training as they are.
    random_states : sequence of int or None, default=None
        Seeds, with each of which every value is fitted; None leaves the estimator's own.

    Returns
    -------
    list of estimators, or of lists of them
        Fitted, in the order of ``lams``; with ``random_states`` a list for each value, in the
        order of the seeds.

    Raises
    ------
    TypeError
        When the estimator is not an autoencoder.
    ValueError
        When the parameter does not exist, there is no value or seed, seeds are given twice, or a
        fit refuses its data.
    TrainingDivergedError
        When the loss of a model became infinite or not a number.

    Warns
    -----
    BatchingWarning
        When fits were made one by one, with the reason: :class:`BatchedSearchCV` lists them.

    See Also
    --------
    BatchedSearchCV : The same behind ``GridSearchCV``'s interface.

    Notes
    -----
    Networks train together as far as scikit-learn's ``working_memory`` allows (1 GiB unless
    ``sklearn.set_config`` says otherwise); more of them train in turns. The time that
    ``history_`` gives an epoch is that of all networks in it. With ``early_stopping`` each stops by
    its own validation loss.

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
    models = [[_with(estimator, param, value, seed) for seed in seeds] for value in values]
    every = [model for of_value in models for model in of_value]
    plan = Plan()
    requests = [model._make_request(X) for model in every]
    for request in requests:
        plan.add(request)
    plan.build_chunks()
    for model, request in zip(every, requests, strict=True):
        with own_modes(request.training.device):
            net = plan.take(request)
            model._finish_fit(request, train(request) if net is None else net)
    plan.finish()
    return models if random_states is not None else [model for (model,) in models]


def _with(estimator: Any, param: str, value: Any, seed: int | None) -> Any:
    """Return a clone with a value, and a seed if there is one."""
    model = clone(estimator).set_params(**{param: value})
    return model if seed is None else model.set_params(random_state=seed)
