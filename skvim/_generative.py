"""Autoencoders with a prior: sampling and the likelihood of rows."""

from typing import Any, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from skvim._base import BaseAutoencoder
from skvim._declare import estimator, parameter
from skvim._validation import StrOptions, check_count, check_is_fitted, draw_seed, real
from skvim.engine import child_seed, map_rows
from skvim.objectives import (
    MMD,
    Autoencoder,
    Divergence,
    Prior,
    importance_log_likelihood,
    make_prior,
)

__all__ = ["AggregatedDivergence", "BaseGenerativeAutoencoder", "BaseStochasticAutoencoder"]


@estimator
class BaseGenerativeAutoencoder(BaseAutoencoder):
    """An autoencoder with a prior: it samples, and it knows the likelihood of rows.

    Attributes
    ----------
    prior_ : Prior
        p(z), with its ``variance`` and ``entropy`` (nats) per dimension.
    """

    prior: str | Prior = parameter(
        default="normal",
        kind='{"normal", "logistic"} or Prior',
        allowed=[StrOptions({"normal", "logistic"}), Prior],
        doc="""
        p(z): N(0, 1) or Logistic(0, 1) in every dimension, or one of
        :mod:`skvim.objectives` with a scale of its own.
        """,
    )

    @final
    def _make_prior(self) -> Prior:
        return make_prior(self.prior)

    @final
    def sample(
        self, n_samples: int = 1, *, random_state: int | np.random.RandomState | None = None
    ) -> NDArray[Any]:
        """Draw z from the prior and decode it.

        Parameters
        ----------
        n_samples : int in [1, inf), default=1
            Rows to return.
        random_state : int, RandomState or None, default=None
            Seed of the draws.

        Returns
        -------
        X : ndarray of shape (n_samples, n_features)
            E[x|z] for z ~ p(z), in the dtype and units of the training data.

        Raises
        ------
        ValueError
            When n_samples is not a positive integer.
        """
        check_is_fitted(self)
        generator = torch.Generator().manual_seed(draw_seed(random_state))
        shape = (check_count("n_samples", n_samples), self._n_features_out)
        codes = self.prior_.draw(shape, generator, torch.float64).numpy().astype(self._dtype)
        return self.inverse_transform(codes)

    @final
    def score_samples(self, X: Any, *, n_draws: int = 100) -> NDArray[np.float64]:
        """Estimate the log-likelihood of rows by importance sampling.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.
        n_draws : int in [1, inf), default=100
            Draws a row. The estimate is a lower bound in expectation and tightens with them.

        Returns
        -------
        log_likelihood : ndarray of shape (n_samples,)
            log p(x) in nats, summed over features: log mean_j p(x|z_j) p(z_j)/r(z_j|x), computed
            in float64.

        Raises
        ------
        ValueError
            When n_draws is not a positive integer or X leaves the likelihood's support.

        Notes
        -----
        The proposal r is gaussian: the Laplace approximation of p(z|x), found by damped
        Gauss–Newton steps from the posterior mean. It takes nothing else from the encoder, so
        models with and without a stochastic encoder, and for any λ or β, are compared on equal
        terms. All rows share one set of draws seeded from ``random_state``: the result for a row
        does not depend on the others.
        """
        check_is_fitted(self)
        shape = (check_count("n_draws", n_draws), self._n_features_out)
        rows = self._rows_to_score(X)
        noise = _normal(child_seed(self.net_.seed, "score"), shape, np.dtype(np.float64))

        def score(model: Autoencoder, x: Tensor) -> list[Tensor]:
            draws = torch.from_numpy(noise).to(x.device)
            return [importance_log_likelihood(model, self.prior_, x, draws)]

        # Draws of a row, and the Jacobian's columns, pass through the decoder together.
        width = self._width * max(shape)
        (log_likelihood,) = map_rows(self.net_, score, rows, values_per_row=width)
        return log_likelihood

    @final
    def score(self, X: Any, y: Any = None) -> float:
        """Return the mean of :meth:`score_samples`, in nats per row; greater is better.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.
        y : None
            Ignored.

        Returns
        -------
        float
            Mean estimate of log p(x).
        """
        return float(np.mean(self.score_samples(X)))


@estimator
class BaseStochasticAutoencoder(BaseGenerativeAutoencoder):
    """One whose posterior may have a spread, so that codes can be drawn."""

    output: str = parameter(
        default="mean",
        kind='{"mean", "sample"}',
        allowed=[StrOptions({"mean", "sample"})],
        doc="""
        What ``transform`` returns: the posterior mean, or one draw z ~ q(z|x) a row, the same at
        every call with the same number of rows. It may be changed without fitting again.
        """,
    )

    @final
    def _codes(self, mean: NDArray[Any], std: NDArray[Any]) -> NDArray[Any]:
        if self.output == "mean":
            return mean
        if self.output != "sample":
            raise ValueError(f"output must be 'mean' or 'sample'. Got {self.output!r} instead.")
        noise = _normal(child_seed(self.net_.seed, "transform"), mean.shape, mean.dtype)
        codes: NDArray[Any] = mean + std * noise
        return codes


@estimator
class AggregatedDivergence:
    """A mixin: the parameters of models that compare q(z), all rows' codes, with the prior."""

    lam: float = parameter(
        default=10.0,
        kind="float in [0, inf)",
        allowed=[real(0)],
        doc="Weight λ of the divergence between aggregated posterior and prior.",
    )
    divergence: str | Divergence = parameter(
        default="mmd",
        kind='{"mmd"} or Divergence',
        allowed=[StrOptions({"mmd"}), Divergence],
        doc="""
        D(q(z) ‖ p(z)). "mmd" is :class:`~skvim.objectives.MMD` with its defaults; pass one of your
        own for another kernel.
        """,
    )

    @final
    def _make_divergence(self) -> Divergence:
        """Return D."""
        return MMD() if isinstance(self.divergence, str) else self.divergence


def _normal(seed: int, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return standard normal draws."""
    draws: NDArray[Any] = np.random.default_rng(seed).standard_normal(shape).astype(dtype)
    return draws
