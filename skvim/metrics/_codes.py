"""Information and active units of the codes of a fitted model."""

import math
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike

from skvim._base import BaseAutoencoder
from skvim._information import Information
from skvim._modes import own_modes
from skvim._plain_numbers import is_real
from skvim._validation import largest
from skvim.objectives import count_active_units

__all__ = ["Information", "active_units", "information"]

# Of values whose squares, and sums of many, are in the range of float64.
_SAFE_EXPONENT = 480


def information(estimator: BaseAutoencoder, X: Any, *, max_samples: int = 5000) -> Information:
    """Compute rate, mutual information, total correlation and more of a fitted autoencoder.

    Parameters
    ----------
    estimator : autoencoder
        A fitted model of skvim; its method ``information`` does the same.
    X : array-like of shape (n_samples, n_features) or (n_samples, height, width[, channels])
        At least 10 rows or images.
    max_samples : int in [10, inf), default=5000
        Most rows to use, since all pairs are compared; of more, a subset seeded from the
        estimator's ``random_state``.

    Returns
    -------
    Information
        Distortion, rate, mutual information, divergences of q(z), in nats per row, and statistics
        of the latent dimensions.

    Raises
    ------
    sklearn.exceptions.NotFittedError
        If the estimator is not fitted.
    TypeError
        If it is not an autoencoder of skvim.
    ValueError
        If X is invalid, X or max_samples has fewer than 10 rows, X leaves the likelihood's
        support, or a measure is beyond the range of float64.

    See Also
    --------
    active_units : Number of active latent dimensions, for codes of any model.

    Examples
    --------
    >>> import numpy as np
    >>> from skvim import VAETransformer
    >>> from skvim.metrics import information
    >>> X = np.random.default_rng(0).normal(size=(64, 6))
    >>> vae = VAETransformer(2, hidden_layer_sizes=(16,), max_epochs=5, random_state=0).fit(X)
    >>> measured = information(vae, X)
    >>> bool(np.isclose(measured.rate, measured.mutual_information + measured.aggregated_kl))
    True
    >>> measured.mutual_information < measured.mutual_information_bound  # log 64
    True
    """
    if not isinstance(estimator, BaseAutoencoder):
        raise TypeError(
            "information takes a fitted autoencoder of skvim; of a pipeline, pass the last step. "
            f"Got {estimator!r} instead."
        )
    return estimator.information(X, max_samples=max_samples)


@own_modes()
def active_units(codes: ArrayLike, threshold: float = 0.01) -> int:
    """Count the latent dimensions whose posterior mean varies over the data.

    Parameters
    ----------
    codes : array-like of shape (n_samples, n_components)
        Posterior means of the data, as ``transform`` returns them; at least two rows.
    threshold : float, default=0.01
        Variance above which a dimension counts as active, in [0, inf), in squared latent units.

    Returns
    -------
    int
        Between 0 (the posterior has collapsed onto the prior) and ``n_components``.

    Raises
    ------
    ValueError
        If ``codes`` is not a finite matrix of at least two rows, or ``threshold`` is out of
        range.

    See Also
    --------
    information : Mutual information, rate and more, of models of skvim.

    Notes
    -----
    Dimension u is active if ``Var_x(E[z_u | x]) > threshold``, [1]_ section 4.2; the variance is
    that of the given rows, divided by their number. The threshold of 0.01 assumes codes on the
    scale of a standard normal prior.

    References
    ----------
    .. [1] Y. Burda, R. Grosse and R. Salakhutdinov (2016). Importance weighted autoencoders.
       International Conference on Learning Representations, arXiv:1509.00519.

    Examples
    --------
    >>> from skvim.metrics import active_units
    >>> active_units([[1.0, 0.01, 5.0], [-1.0, 0.02, 5.0]])
    1
    """
    # float64: rounding of a float32 mean over many rows would itself appear as variance.
    means = np.array(codes, dtype=np.float64, order="C")  # a copy, which torch can share
    if means.ndim != 2 or len(means) < 2:
        raise ValueError(
            "codes must be of shape (n_samples, n_components) with at least two rows. "
            f"Got shape {means.shape} instead."
        )
    if not np.isfinite(means).all():
        raise ValueError("codes contain NaN or infinity. Pass finite posterior means.")
    if not is_real(threshold) or not 0 <= threshold < math.inf:
        raise ValueError(f"threshold must be a float in [0, inf). Got {threshold!r} instead.")
    # A power of 2, so that nothing is rounded: squares of large values would overflow.
    _, exponent = math.frexp(largest(means))
    exponent = max(0, exponent - _SAFE_EXPONENT)
    scaled = torch.from_numpy(np.ldexp(means, -exponent))
    return count_active_units(scaled, math.ldexp(threshold, -2 * exponent))
