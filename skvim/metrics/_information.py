"""What a fitted model knows of rows, as a function."""

from typing import Any

from skvim._base import BaseAutoencoder
from skvim._information import Information

__all__ = ["Information", "information"]


def information(estimator: BaseAutoencoder, X: Any, *, max_samples: int = 5000) -> Information:
    """Measure what the codes of a fitted autoencoder know of rows, in nats per row.

    Parameters
    ----------
    estimator : autoencoder
        A fitted model of skvim; its method ``information`` does the same.
    X : array-like of shape (n_samples, n_features)
        Rows.
    max_samples : int in [10, inf), default=5000
        Rows to use, of which all pairs are compared: a subset seeded from the estimator's
        ``random_state`` where X has more.

    Returns
    -------
    Information
        Distortion, rate, mutual information, divergences of q(z), use of the latent dimensions.

    Raises
    ------
    sklearn.exceptions.NotFittedError
        If the estimator is not fitted.
    TypeError
        If it is no autoencoder of skvim.
    ValueError
        If X or max_samples has fewer than 10 rows, or X leaves the likelihood's support.

    See Also
    --------
    active_units : Counts the latent dimensions in use, for codes of any model.

    Examples
    --------
    >>> import numpy as np
    >>> from skvim import VAETransformer
    >>> from skvim.metrics import information
    >>> X = np.random.default_rng(0).normal(size=(64, 6))
    >>> vae = VAETransformer(2, hidden_layer_sizes=(16,), max_epochs=5, random_state=0).fit(X)
    >>> known = information(vae, X)
    >>> bool(np.isclose(known.rate, known.mutual_information + known.aggregated_kl))
    True
    >>> known.mutual_information < known.mutual_information_bound  # log 64
    True
    """
    if not isinstance(estimator, BaseAutoencoder):
        raise TypeError(
            "information takes a fitted autoencoder of skvim, and of a pipeline its last step. "
            f"Got {estimator!r} instead."
        )
    return estimator.information(X, max_samples=max_samples)
