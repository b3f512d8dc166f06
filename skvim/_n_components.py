"""Number of latent dimensions for training rows, where it is not given."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.utils.extmath import randomized_svd

from skvim._modes import numpy_alone
from skvim._row_format import RowFormat
from skvim.engine import child_seed

__all__ = ["components_for_share", "number_of_components"]

# Share of the variance of the encoder's inputs that as many principal components explain, and the
# rows and components that are looked at.
_SHARE, _N_ROWS, _MOST = 0.9, 2000, 64


def number_of_components(
    settings: Any, row_format: RowFormat, rows: NDArray[Any], seed: int
) -> int:
    """Return ``n_components`` of an estimator; for "auto" by what its encoder sees of rows.

    Parameters
    ----------
    settings : estimator
        Its ``n_components`` is an int, or "auto": as many as principal components explain 90 % of
        the variance of the encoder's inputs.
    row_format : RowFormat
        Format of the rows.
    rows : ndarray of shape (n_samples, n_stored)
        Training rows; of more than 2,000 a random subset is looked at.
    seed : int
        Of the subset.

    Returns
    -------
    int
        For "auto" at least 1, and at most 64 and the number of columns less 1.
    """
    if not isinstance(settings.n_components, str):
        return int(settings.n_components)
    seed = child_seed(seed, "components")
    chosen = np.random.default_rng(seed).permutation(len(rows))[:_N_ROWS]
    few = torch.from_numpy(np.ascontiguousarray(rows[np.sort(chosen)], dtype=np.float64))
    inputs = row_format.likelihood(settings.likelihood).inputs(few).numpy()
    found = components_for_share(inputs, _SHARE, _MOST, seed)
    return max(1, min(found, row_format.n_columns - 1))


def components_for_share(X: NDArray[np.float64], share: float, most: int, seed: int) -> int:
    """Return the smallest number of principal components with a share of the variance.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        Rows.
    share : float in (0, 1)
        Of the variance, summed over features.
    most : int in [1, inf)
        Greatest number.
    seed : int
        Of the randomised decomposition.

    Examples
    --------
    >>> import numpy as np
    >>> from skvim._n_components import components_for_share
    >>> X = np.random.default_rng(0).normal(size=(500, 3)) * [3.0, 2.0, 0.1]
    >>> components_for_share(X, 0.9, most=64, seed=0)
    2
    """
    centred = X - X.mean(0)
    total = float(np.square(centred).sum())
    n_values = min(most, *X.shape)
    with numpy_alone():
        _, values, _ = randomized_svd(centred, n_values, random_state=seed % 2**32)
    explained = np.cumsum(np.square(values))
    return int(min(np.searchsorted(explained, share * total) + 1, n_values))
