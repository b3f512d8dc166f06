"""Autoencoders without a prior."""

from typing import Any, final

from torch import Tensor

from skvim._base import BaseAutoencoder
from skvim._declare import estimator
from skvim._validation import check_is_fitted
from skvim.engine import map_rows
from skvim.objectives import Autoencoder, DiracPosterior, Divergence, Posterior

__all__ = ["BaseDeterministicAutoencoder"]


@estimator
class BaseDeterministicAutoencoder(BaseAutoencoder):
    """A point posterior and no prior: neither ``sample`` nor ``score_samples``."""

    @final
    def _make_posterior(self) -> Posterior:
        return DiracPosterior()

    @final
    def _make_prior(self) -> None:
        return None

    @final
    def _make_terms(self) -> list[tuple[float, Divergence]]:
        return []

    @final
    def score(self, X: Any, y: Any = None) -> float:
        """Return the mean of log p(x|e(x)), in nats per row; greater is better.

        Without a prior there is no likelihood of a row: this is minus the distortion, and must
        not be compared with the ``score`` of a model that has one.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.
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
