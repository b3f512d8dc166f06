"""Densities fitted to the codes of training rows, from which samples can be drawn."""

import copy
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, clone

from skvim._modes import numpy_alone
from skvim._uninterrupted import import_whole
from skvim.engine import AutoencoderNet, child_seed, encode_moments, map_rows

__all__ = ["density_of_codes", "draw_codes", "fitted_density"]

# Rows to fit by, of which a share is held out to choose among numbers of components.
_N_ROWS, _HELD_OUT = 4000, 0.2
_N_COMPONENTS = (1, 2, 4, 8, 16, 32)
# Rows that a component needs at least, in multiples of the dimensions of a code.
_ROWS_PER_DIMENSION = 2
# Added to variances, as a share of the mean variance of codes.
_SHARE = 1e-4
# Nats per row by which an iteration has to improve a mixture for another one to follow.
_TOL, _MAX_ITER = 1e-2, 1000


def density_of_codes(
    given: str | BaseEstimator | None, net: AutoencoderNet, rows: NDArray[Any], width: int
) -> BaseEstimator | None:
    """Return a density of codes z ~ q(z|x) of training rows, or None if none is asked for.

    Parameters
    ----------
    given : str, estimator or None
        See :func:`fitted_density`.
    net : AutoencoderNet
        Trained net.
    rows : ndarray of shape (n_samples, n_stored)
        Training rows; of more than 4,000 a random subset is used.
    width : int
        Size of the largest intermediate result for one row.
    """
    if given is None:
        return None
    seed = child_seed(net.seed, "code density")
    rng = np.random.default_rng(seed)
    chosen = np.sort(rng.permutation(len(rows))[:_N_ROWS])

    loc, scale = map_rows(net, encode_moments, rows[chosen], values_per_row=width)
    posterior = net.autoencoder.posterior
    base = posterior.moments(torch.zeros(1, posterior.n_outputs(loc.shape[1]))).base
    noise = base.draw(loc.shape, torch.Generator().manual_seed(seed), torch.float64).numpy()
    codes = loc.astype(np.float64) + scale * noise
    with numpy_alone():
        return fitted_density(given, codes, seed)


def fitted_density(
    given: str | BaseEstimator, codes: NDArray[np.float64], seed: int
) -> BaseEstimator:
    """Return a density fitted to codes (n_samples, n_components).

    Parameters
    ----------
    given : {"gaussian-mixture"} or estimator
        A mixture of normal distributions with full covariances, whose number of components, at
        most 32, is doubled while the log-likelihood of a fifth of the codes grows; or an estimator
        with ``fit`` and ``sample``, which is cloned.
    codes : ndarray of shape (n_samples, n_components)
        Codes of training rows; of more than 4,000 a random subset is used.
    seed : int
        Of the subset, the held-out rows and the mixtures.
    """
    rng = np.random.default_rng(seed)
    codes = codes[rng.permutation(len(codes))[:_N_ROWS]]
    if not isinstance(given, str):
        density = clone(given)
        return density.fit(codes)
    n_held = max(1, int(_HELD_OUT * len(codes)))
    held, rest = codes[:n_held], codes[n_held:]
    largest = len(rest) // (_ROWS_PER_DIMENSION * codes.shape[1])
    least = _SHARE * float(codes.var(0).mean()) + np.finfo(np.float64).tiny
    best, best_score = 1, -np.inf
    for n_components in (n for n in _N_COMPONENTS if n <= largest):
        score = _mixture(n_components, least, seed).fit(rest).score(held)
        if score <= best_score:
            break
        best, best_score = n_components, score
    return _mixture(best, least, seed).fit(codes)


def _mixture(n_components: int, least_variance: float, seed: int) -> Any:
    """Return a mixture to fit."""
    mixture = import_whole("sklearn.mixture")  # not with skvim: most models fit none
    return mixture.GaussianMixture(
        n_components,
        tol=_TOL,
        reg_covar=least_variance,
        max_iter=_MAX_ITER,
        init_params="k-means++",
        random_state=seed % 2**32,
    )


def draw_codes(density: Any, n_samples: int, seed: int) -> NDArray[np.float64]:
    """Return draws of a fitted density, in random order, of shape (n_samples, n_components)."""
    own = copy.copy(density)
    generator = np.random.RandomState(seed % 2**32)
    with numpy_alone():
        if "random_state" in own.get_params(deep=False):
            own.random_state = generator
            drawn = own.sample(n_samples)
        else:
            drawn = own.sample(n_samples, random_state=generator)
    # Mixtures return the components too, by which their draws are sorted.
    codes = np.asarray(drawn[0] if isinstance(drawn, tuple) else drawn, dtype=np.float64)
    return codes[generator.permutation(len(codes))]
