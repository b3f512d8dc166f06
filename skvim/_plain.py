"""Autoencoders without a prior."""

import warnings
from typing import Any, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from skvim._base import BaseAutoencoder
from skvim._declare import estimator
from skvim._validation import check_count, check_is_fitted, draw_seed
from skvim.engine import map_rows
from skvim.exceptions import ChainLostWarning
from skvim.objectives import Autoencoder, DiracPosterior, Posterior, Term, markov_chain

__all__ = ["BaseChainAutoencoder", "BasePlainAutoencoder"]

# Root mean square of codes, beside 1 in training, above which a chain has left the data.
_LOST = 10.0
# Chains that run side by side: more cost memory, fewer cost time.
_CHAINS = 100


@estimator
class BasePlainAutoencoder(BaseAutoencoder):
    """No prior: what it scores is a row given its own code."""

    def _make_posterior(self) -> Posterior:
        """Return a point mass (hook)."""
        return DiracPosterior()

    @final
    def _make_prior(self) -> None:
        return None

    def _make_terms(self) -> list[tuple[float, Term]]:
        """Return no terms (hook)."""
        return []

    @final
    def score(self, X: Any, y: Any = None) -> float:
        """Return the mean of log p(x|e(x)), in nats per row; greater is better.

        Without a prior there is no likelihood of a row: this is minus the distortion, and must
        not be compared with the ``score`` of a model that has one.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or (n_samples, height, width[, channels])
            Rows or images.
        y : None
            Ignored.

        Returns
        -------
        float
            Mean log-density of rows given their own code.
        """
        check_is_fitted(self)
        rows = self._rows_to_score(X)

        def log_likelihood(model: Autoencoder, x: Tensor) -> list[Tensor]:
            return [model.likelihood(x, model.decode(model.encode(x).loc))]

        (values,) = map_rows(self.net_, log_likelihood, rows, values_per_row=self._width)
        return float(values.mean())


@estimator
class BaseChainAutoencoder(BasePlainAutoencoder):
    """One whose posterior has a spread: a Markov chain draws rows where there is no prior."""

    @final
    def sample(
        self,
        n_samples: int = 1,
        *,
        burn_in: int = 100,
        thin: int = 10,
        random_state: int | np.random.RandomState | None = None,
    ) -> NDArray[Any]:
        """Run the Markov chain x → z ~ q(z|x) → x ~ p(x|z) and return states of it.

        Parameters
        ----------
        n_samples : int in [1, inf), default=1
            Rows to return.
        burn_in : int in [0, inf), default=100
            Steps before the first state that is returned.
        thin : int in [1, inf), default=10
            Steps between two states of one chain. Up to 100 chains run side by side, each from a
            normal draw with the mean and scale of the training data.
        random_state : int, RandomState or None, default=None
            Seed of the chain.

        Returns
        -------
        X : ndarray of shape (n_samples, n_features) or (n_samples, height, width[, channels])
            E[x|z] at the chain's codes, in the dtype and units of the training data.

        Raises
        ------
        ValueError
            When one of the numbers is out of range.

        Warns
        -----
        ChainLostWarning
            When the chain has left the data, so that its states are no samples.
        """
        check_is_fitted(self)
        n_samples, thin = check_count("n_samples", n_samples), check_count("thin", thin)
        burn_in = check_count("burn_in", burn_in, least=0)
        generator = torch.Generator().manual_seed(draw_seed(random_state))
        model = self.net_.on_cpu(torch.float64)
        steps = (burn_in, thin, -(-n_samples // _CHAINS))
        with torch.no_grad():
            codes = markov_chain(model, min(n_samples, _CHAINS), steps, generator)
        spread = float(codes.square().mean().sqrt())
        if spread > _LOST:
            warnings.warn(
                f"The Markov chain has left the data: its codes have a root mean square of "
                f"{spread:.3g}, where those of training rows have 1. Fit with a larger scale, more "
                "epochs or fewer n_components, or take fewer steps of burn_in and thin.",
                ChainLostWarning,
                stacklevel=2,
            )
        return self.inverse_transform(codes[:n_samples].numpy().astype(self._dtype))
