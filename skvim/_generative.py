"""Autoencoders with a prior: sampling and the likelihood of rows."""

from collections.abc import Callable
from typing import Any, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.distributions import Distribution

from skvim._base import BaseAutoencoder
from skvim._declare import estimator, parameter
from skvim._validation import StrOptions, check_count, check_is_fitted, draw_seed, integer, real
from skvim.engine import child_seed, map_rows
from skvim.objectives import (
    DIVERGENCES,
    KL,
    Autoencoder,
    Divergence,
    InfoNCE,
    Normal,
    Posterior,
    Prior,
    Term,
    importance_log_weights,
    log_mean,
    make_divergence,
    make_posterior,
    make_prior,
)

__all__ = [
    "AggregatedDivergence",
    "AnnealedRate",
    "BaseGenerativeAutoencoder",
    "BaseStochasticAutoencoder",
    "ContrastiveAgreement",
]


@estimator
class BaseGenerativeAutoencoder(BaseAutoencoder):
    """An autoencoder with a prior: it samples, and it knows the likelihood of rows.

    Attributes
    ----------
    prior_ : Prior
        p(z), with its ``variance`` and ``entropy`` (nats) per dimension.
    """

    prior: str | Prior | Distribution = parameter(
        default="normal",
        kind='{"normal", "logistic"}, Prior or torch.distributions.Distribution',
        allowed=[StrOptions({"normal", "logistic"}), Prior, Distribution],
        doc="""
        p(z): N(0, 1) or Logistic(0, 1) in every dimension; one of :mod:`skvim.objectives` with a
        scale of its own; or a continuous distribution of torch with a finite variance, such as
        ``torch.distributions.StudentT(5.0)``, for all dimensions or, with batch shape
        (n_components,), one for each: see :class:`~skvim.objectives.Factorised`.
        """,
    )
    pretraining: int = parameter(
        default=0,
        kind="int in [0, inf)",
        allowed=[integer(0)],
        doc="""
        Steps, at most, that train the encoder alone before the first epoch: Adam at 1e-3, on 1000
        rows each, towards codes with the mean and covariance of draws from the prior. They end
        when the squared differences, in units of the prior's variance and per latent dimension,
        fall below 0.1. The WAE reference takes up to 200.
        """,
    )

    @final
    def _pretraining_steps(self) -> int:
        return self.pretraining

    @final
    def _make_prior(self) -> Prior:
        return make_prior(self.prior, self.n_components)

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
        X : ndarray of shape (n_samples, n_features) or (n_samples, height, width[, channels])
            E[x|z] for z ~ p(z), in the dtype, units and layout of the training data.

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
        X : array-like of shape (n_samples, n_features) or (n_samples, height, width[, channels])
            Rows or images.
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
        Gauss–Newton steps from the posterior mean, in coordinates without bounds where the prior
        has some. It takes nothing else from the encoder, so models with and without a stochastic
        encoder, and for any λ or β, are compared on equal terms. All rows share one set of draws
        seeded from ``random_state``: the result for a row does not depend on the others.
        """
        check_is_fitted(self)
        seed = child_seed(self.net_.seed, "score")
        (found,) = self._map_weights(X, n_draws, seed, lambda weights: [log_mean(weights).value])
        return found

    @final
    def _map_weights(
        self, X: Any, n_draws: int, seed: int, function: Callable[[Tensor], list[Tensor]]
    ) -> list[NDArray[np.float64]]:
        """Return what a function gives for log importance weights, (rows of a chunk, n_draws)."""
        shape = (check_count("n_draws", n_draws), self._n_features_out)
        rows = self._rows_to_score(X)
        noise = _normal(seed, shape, np.dtype(np.float64))

        def weigh(model: Autoencoder, x: Tensor) -> list[Tensor]:
            draws = torch.from_numpy(noise).to(x.device)
            return function(importance_log_weights(model, self.prior_, x, draws))

        # Draws of a row, and the Jacobian's columns, pass through the decoder together.
        return map_rows(self.net_, weigh, rows, values_per_row=self._width * max(shape))

    @final
    def score(self, X: Any, y: Any = None) -> float:
        """Return the mean of :meth:`score_samples`, in nats per row; greater is better.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or (n_samples, height, width[, channels])
            Rows or images.
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

    posterior: str | Posterior = parameter(
        default="gaussian",
        kind='{"dirac", "gaussian", "logistic"} or Posterior',
        allowed=[StrOptions({"dirac", "gaussian", "logistic"}), Posterior],
        doc="""
        q(z|x): a deterministic encoder, N(μ(x), σ(x)²), or the logistic density with mean μ(x) and
        standard deviation σ(x); or one of :mod:`skvim.objectives` with a fixed spread. A rate,
        KL(q(z|x) ‖ p(z)), is infinite for "dirac".
        """,
    )
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
    def _make_posterior(self) -> Posterior:
        return make_posterior(self.posterior)

    @final
    def _sampler(self) -> Callable[[NDArray[Any], NDArray[Any]], NDArray[Any]] | None:
        if self.output not in ("mean", "sample"):
            raise ValueError(f"output must be 'mean' or 'sample'. Got {self.output!r} instead.")
        return self._draw_codes if self.output == "sample" else None

    @final
    def _draw_codes(self, mean: NDArray[Any], std: NDArray[Any]) -> NDArray[Any]:
        """Draw one code from each posterior."""
        seed = child_seed(self.net_.seed, "transform")
        codes: NDArray[Any] = mean + std * _standardised(self._base(), seed, mean.shape, mean.dtype)
        return codes

    def _base(self) -> Prior:
        """Return the density of (z − mean)/std under the fitted posterior."""
        posterior = self.net_.autoencoder.posterior
        output = torch.zeros(1, posterior.n_outputs(self._n_features_out))
        return posterior.moments(output).base


@estimator
class AnnealedRate:
    """A mixin: the parameter of models whose rate, E KL(q(z|x) ‖ p(z)), may set in slowly."""

    warmup: float = parameter(
        default=0.0,
        kind="float in [0, 1]",
        allowed=[real(0, 1, closed="both")],
        doc="Share of the training in which the weight of the rate rises linearly from 0.",
    )

    @final
    def _make_rate(self) -> Divergence:
        """Return the rate."""
        return KL(self.warmup)


@estimator
class ContrastiveAgreement:
    """A mixin: the parameters of models whose codes of corrupted rows may have to tell the rows."""

    agreement: float = parameter(
        default=0.0,
        kind="float in [0, inf)",
        allowed=[real(0)],
        doc="""
        Weight κ of the contrastive loss between codes of corrupted and clean rows, in nats; it
        wants ``noise``, and two components or more. Beside ``Gaussian(variance=10)`` 1 to 10 suits
        images. With 0 it is left out.
        """,
    )
    temperature: float = parameter(
        default=0.1,
        kind="float in (0, inf)",
        allowed=[real(0, closed="neither")],
        doc="Temperature τ of that loss.",
    )

    @final
    def _make_agreement(self) -> list[tuple[float, Term]]:
        """Return weight and contrastive loss, if it has one."""
        return [(self.agreement, InfoNCE(self.temperature))] if self.agreement > 0 else []


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
        kind='{"mmd", "kl", "density-ratio", "adversarial", "sliced-wasserstein"} or Divergence',
        allowed=[StrOptions(set(DIVERGENCES)), Divergence],
        doc="""
        D(q(z) ‖ p(z)), by name or as an object with settings, also of your own:
        :class:`~skvim.objectives.MMD`, :class:`~skvim.objectives.MixtureKL` (needs a posterior
        with a spread), :class:`~skvim.objectives.DensityRatioKL`,
        :class:`~skvim.objectives.Adversarial`, :class:`~skvim.objectives.SlicedWasserstein`.
        """,
    )

    @final
    def _make_divergence(self) -> Divergence:
        """Return D."""
        return make_divergence(self.divergence)


def _standardised(
    base: Prior, seed: int, shape: tuple[int, ...], dtype: np.dtype[Any]
) -> NDArray[Any]:
    """Return draws of a posterior's base."""
    if base == Normal():
        return _normal(seed, shape, dtype)
    draws = base.draw(shape, torch.Generator().manual_seed(seed), torch.float64)
    converted: NDArray[Any] = draws.numpy().astype(dtype)
    return converted


def _normal(seed: int, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return standard normal draws."""
    draws: NDArray[Any] = np.random.default_rng(seed).standard_normal(shape).astype(dtype)
    return draws
