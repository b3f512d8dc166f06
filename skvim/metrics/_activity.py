"""Which latent dimensions a model uses."""

import numpy as np
from numpy.typing import ArrayLike

__all__ = ["active_units"]


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
        If ``codes`` is no finite matrix of at least two rows or ``threshold`` is negative.

    See Also
    --------
    robustness_curve : Scores a fitted estimator under corruptions.

    Notes
    -----
    Dimension u is active if ``Var_x(E[z_u | x]) > threshold``, [1]_ section 4.2; the variance is
    that of the given rows, divided by their number. The threshold of 0.01 is made for codes on
    the scale of a standard normal prior.

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
    # float64: the rounding of a float32 mean over many rows would itself pass for variance.
    means = np.asarray(codes, dtype=np.float64)
    if means.ndim != 2 or len(means) < 2:
        raise ValueError(
            "codes have to be of shape (n_samples, n_components) with at least two rows. "
            f"Got shape {means.shape} instead."
        )
    if not np.isfinite(means).all():
        raise ValueError("codes contain NaN or infinity. Pass finite posterior means.")
    if not threshold >= 0:
        raise ValueError(f"threshold has to be a float in [0, inf). Got {threshold!r} instead.")
    return int(np.count_nonzero(means.var(axis=0) > threshold))
