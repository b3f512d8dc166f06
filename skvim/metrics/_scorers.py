"""Scorers of autoencoders for model selection."""

from typing import Any

from sklearn.pipeline import Pipeline

from skvim._float_errors import numpy_defaults
from skvim.metrics._codes import information
from skvim.metrics._log_likelihood import log_likelihood
from skvim.metrics._reconstruction import reconstruction_error

__all__ = ["information_scorer", "log_likelihood_scorer", "reconstruction_scorer"]

# As in ``score``; few, since a search scores many models.
_N_DRAWS = 100


@numpy_defaults()
def log_likelihood_scorer(estimator: Any, X: Any, y: Any = None) -> float:
    """Score a model by the mean log-likelihood of rows, in nats per row; higher is better.

    To be passed as ``scoring`` to ``GridSearchCV`` or anything else that takes scorers.

    Parameters
    ----------
    estimator : autoencoder or Pipeline
        A fitted model of skvim that has a prior, or a pipeline that ends in one. The density of a
        pipeline is that of the transformed rows: do not search over steps that change their scale.
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
        If the model has no prior.

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


@numpy_defaults()
def reconstruction_scorer(estimator: Any, X: Any, y: Any = None) -> float:
    """Score a model by its negative squared reconstruction error; higher is better.

    To be passed as ``scoring`` to ``GridSearchCV`` or anything else that takes scorers.

    Parameters
    ----------
    estimator : estimator or Pipeline
        Fitted, with ``transform`` and ``inverse_transform``. All steps of a pipeline are inverted,
        so that the error is in the units of X and scalers can be compared.
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


@numpy_defaults()
def information_scorer(estimator: Any, X: Any, y: Any = None) -> float:
    """Score a model by the mutual information I(X; Z) of its codes, in nats; higher is better.

    To be passed as ``scoring`` to ``GridSearchCV`` or anything else that takes scorers.

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
        ``mutual_information`` of :func:`information`, at most log n for n rows: models close to
        this bound cannot be ranked, and folds of different sizes have different bounds.

    Raises
    ------
    TypeError
        If it is not an autoencoder of skvim.
    ValueError
        If the encoder is deterministic, since the information is then not defined.

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
    mutual_information = information(model, rows).mutual_information
    if mutual_information is None:
        raise ValueError(
            "information_scorer takes models with a stochastic encoder; the mutual information of "
            f"a deterministic encoder is not defined. Got {model!r}."
        )
    return mutual_information


def _last_step(estimator: Any, X: Any) -> tuple[Any, Any]:
    """Return the last step of a pipeline and the rows transformed by the others."""
    if isinstance(estimator, Pipeline) and len(estimator) > 1:
        return estimator[-1], estimator[:-1].transform(X)
    return (estimator[-1] if isinstance(estimator, Pipeline) else estimator), X
