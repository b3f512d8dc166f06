"""Base classes of autoencoders without a prior."""

import warnings
from copy import deepcopy
from typing import Any, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from skvim._base import BaseAutoencoder
from skvim._declare import estimator
from skvim._float_errors import ignore_overflow
from skvim._modes import own_modes
from skvim._validation import check_count, check_is_fitted, draw_seed
from skvim.engine import map_rows, one_thread
from skvim.exceptions import ChainLostWarning
from skvim.objectives import Autoencoder, DiracPosterior, Posterior, Term, markov_chain

__all__ = ["BaseChainAutoencoder", "BasePlainAutoencoder"]

# Root mean square of codes, 1 for training rows, above which a chain has left the data.
_MAX_CODE_RMS = 10.0
# Chains run in parallel: more take memory, fewer take time.
_N_CHAINS = 100


@estimator
class BasePlainAutoencoder(BaseAutoencoder):
    """Base class of autoencoders without a prior, scored by the distortion."""

    def _make_posterior(self) -> Posterior:
        """Return the posterior: a deterministic encoder by default (hook)."""
        return DiracPosterior()

    @final
    def _make_prior(self) -> None:
        return None

    def _make_terms(self) -> list[tuple[float, Term]]:
        """Return loss terms: none by default (hook)."""
        return []

    @final
    @own_modes()
    def score(self, X: Any, y: Any = None) -> float:
        """Return the mean of log p(x|e(x)), in nats per row; greater is better.

        This is minus the distortion, given the codes e(x). Without a prior the likelihood p(x) is
        not defined: do not compare this with the ``score`` of a model that has a prior.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or (n_samples, height, width[, channels])
            Rows or images.
        y : None
            Ignored.

        Returns
        -------
        float
            Mean log-density of rows given their codes.

        Raises
        ------
        ValueError
            If X is invalid, values of X lie outside the support of the likelihood, or the mean is
            beyond the range of float64.
        """
        check_is_fitted(self)
        rows = self._rows_to_score(X)

        def log_likelihood(model: Autoencoder, x: Tensor) -> list[Tensor]:
            return [model.likelihood(x, model.decode(model.encode(x).loc))]

        (values,) = map_rows(self.net_, log_likelihood, rows, values_per_row=self._width)
        return self._mean_score(values, rows)


@estimator
class BaseChainAutoencoder(BasePlainAutoencoder):
    """Base class of stochastic autoencoders without a prior, sampled by a Markov chain."""

    @final
    @own_modes()
    def sample(
        self,
        n_samples: int = 1,
        *,
        burn_in: int = 100,
        thin: int = 10,
        random_state: int | np.random.RandomState | None = None,
    ) -> NDArray[Any]:
        """Draw rows by the Markov chain x → z ~ q(z|x) → x ~ p(x|z).

        Parameters
        ----------
        n_samples : int in [1, inf), default=1
            Number of rows.
        burn_in : int in [0, inf), default=100
            Steps of each chain before its first row.
        thin : int in [1, inf), default=10
            Steps between two rows of one chain. Up to 100 chains run in parallel, each from a
            normal draw with mean and scale of the training data.
        random_state : int, RandomState or None, default=None
            Seed of the chain.

        Returns
        -------
        X : ndarray of shape (n_samples, n_features) or (n_samples, height, width[, channels])
            E[x|z] of the codes of the chains, in dtype, units and layout of the training data.

        Raises
        ------
        ValueError
            If one of the numbers is out of range, or a code or its E[x|z] is beyond the range of
            the dtype of the training data.

        Warns
        -----
        ChainLostWarning
            If the chains have left the training data, so that the rows are no samples of them.
        """
        check_is_fitted(self)
        n_samples, thin = check_count("n_samples", n_samples), check_count("thin", thin)
        burn_in = check_count("burn_in", burn_in, least=0)
        generator = torch.Generator().manual_seed(draw_seed(random_state))
        model = deepcopy(self.net_.in_precision(torch.float64)).cpu()
        steps = (burn_in, thin, -(-n_samples // _N_CHAINS))
        with torch.no_grad(), one_thread():
            codes = markov_chain(model, min(n_samples, _N_CHAINS), steps, generator)
        rms = float(codes.square().mean().sqrt())
        if rms > _MAX_CODE_RMS:
            warnings.warn(
                f"The Markov chain has left the data: its codes have a root mean square "
                f"of {rms:.3g}, those of training rows 1. Fit with a larger scale, more epochs or "
                "fewer n_components, or reduce burn_in and thin.",
                ChainLostWarning,
                stacklevel=3,
            )
        with ignore_overflow():
            drawn = codes[:n_samples].numpy().astype(self._dtype)
        return self.inverse_transform(self._checked("sample", drawn, codes.numpy(), of="the chain"))
