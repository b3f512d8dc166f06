"""Scores for model selection: ``scoring=log_likelihood_scorer`` and the like."""

from typing import Any

from sklearn.pipeline import Pipeline

from skvim.metrics._information import information
from skvim.metrics._likelihood import log_likelihood
from skvim.metrics._reconstruction import reconstruction_error

__all__ = ["information_scorer", "log_likelihood_scorer", "reconstruction_scorer"]

# As many as ``score`` takes: a search scores many models.
_N_DRAWS = 100


def log_likelihood_scorer(estimator: Any, X: Any, y: Any = None) -> float:
    """Score a model by the mean log-likelihood of rows, in nats per row; greater is better.

    To be passed as ``scoring`` to ``GridSearchCV`` and to all else that takes scorers.

    Parameters
    ----------
    estimator : autoencoder or Pipeline
        A fitted model of skvim that has a prior, or a pipeline that ends in one. The density is
        then that of the rows that reach the model: do not search over steps that change their
        scale.
    X : array-like of shape (n_samples, n_features)
        Rows.
    y : None
        Ignored.

    Returns
    -------
    float
        ``mean`` of :func:`log_likelihood` by importance sampling with 100 draws.

    Raises
    ------
    TypeError
        If the model has no prior: its ``score`` is no likelihood of rows.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.model_selection import GridSearchCV
    >>> from skvim import VAETransformer
    >>> from skvim.metrics import log_likelihood_scorer
    >>> X = np.random.default_rng(0).normal(size=(64, 6))
    >>> vae = VAETransformer(2, hidden_layer_sizes=(16,), max_epochs=5, random_state=0)
    >>> search = GridSearchCV(vae, {"lr": [1e-3, 1e-2]}, cv=2, scoring=log_likelihood_scorer)
    >>> sorted(search.fit(X).best_params_)
    ['lr']
    """
    model, rows = _last_step(estimator, X)
    return log_likelihood(model, rows, n_draws=_N_DRAWS).mean


def reconstruction_scorer(estimator: Any, X: Any, y: Any = None) -> float:
    """Score a model by minus the squared error of its reconstructions; greater is better.

    To be passed as ``scoring`` to ``GridSearchCV`` and to all else that takes scorers.

    Parameters
    ----------
    estimator : estimator or Pipeline
        Fitted, with ``transform`` and ``inverse_transform``. Of a pipeline all steps are undone, so
        that the error is in the units of X, and scalings can be compared.
    X : array-like of shape (n_samples, n_features)
        Rows.
    y : None
        Ignored.

    Returns
    -------
    float
        −``sse_per_sample`` of :func:`reconstruction_error`: summed over features, mean over rows.

    Examples
    --------
    >>> from sklearn.decomposition import PCA
    >>> from skvim.metrics import reconstruction_scorer
    >>> rows = [[1.0, 0.1], [-1.0, 0.1], [1.0, -0.1], [-1.0, -0.1]]
    >>> round(reconstruction_scorer(PCA(1).fit(rows), rows), 6)
    -0.01
    """
    return -reconstruction_error(estimator, X).sse_per_sample


def information_scorer(estimator: Any, X: Any, y: Any = None) -> float:
    """Score a model by what its codes know of rows, I(X; Z) in nats; greater is better.

    To be passed as ``scoring`` to ``GridSearchCV`` and to all else that takes scorers.

    Parameters
    ----------
    estimator : autoencoder or Pipeline
        A fitted model of skvim with a stochastic encoder, or a pipeline that ends in one.
    X : array-like of shape (n_samples, n_features)
        At least 10 rows.
    y : None
        Ignored.

    Returns
    -------
    float
        ``mutual_information`` of :func:`information`, at most log n for n rows: models that come
        close to it are not told apart, and folds of different sizes have different bounds.

    Raises
    ------
    TypeError
        If it is no autoencoder of skvim.
    ValueError
        If the encoder is deterministic, so that the information is not defined.

    Examples
    --------
    >>> import numpy as np
    >>> from skvim import VIMAETransformer
    >>> from skvim.metrics import information_scorer
    >>> X = np.random.default_rng(0).normal(size=(64, 6))
    >>> model = VIMAETransformer(
    ...     2, posterior="gaussian", hidden_layer_sizes=(16,), max_epochs=5, random_state=0
    ... )
    >>> bool(0 <= information_scorer(model.fit(X), X) <= np.log(64))
    True
    """
    model, rows = _last_step(estimator, X)
    found = information(model, rows).mutual_information
    if found is None:
        raise ValueError(
            "information_scorer takes models with a stochastic encoder: codes of a deterministic "
            f"one have no density, and their information is not defined. Got {model!r}."
        )
    return found


def _last_step(estimator: Any, X: Any) -> tuple[Any, Any]:
    """Return the last step of a pipeline, and the rows that reach it."""
    if isinstance(estimator, Pipeline) and len(estimator) > 1:
        return estimator[-1], estimator[:-1].transform(X)
    return (estimator[-1] if isinstance(estimator, Pipeline) else estimator), X
