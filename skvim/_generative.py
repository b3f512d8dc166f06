"""Base classes of autoencoders with a prior: sampling and log-likelihood."""

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.distributions import Distribution

from skvim._declare import estimator, parameter
from skvim._float_errors import ignore_overflow
from skvim._modes import own_modes
from skvim._sampling import table_rows
from skvim._tabular import TabularAutoencoder
from skvim._validation import (
    StrOptions,
    check_count,
    check_flag,
    check_is_fitted,
    draw_seed,
    integer,
    real,
)
from skvim.engine import child_seed, map_rows
from skvim.objectives import (
    DIVERGENCES,
    KL,
    Autoencoder,
    Divergence,
    ImportanceSampler,
    InfoNCE,
    Normal,
    Posterior,
    Prior,
    Term,
    log_mean,
    make_divergence,
    make_posterior,
    make_prior,
    values_of_draws,
)

__all__ = [
    "AggregatedDivergence",
    "AnnealedRate",
    "BaseGenerativeAutoencoder",
    "BaseStochasticAutoencoder",
    "ContrastiveAgreement",
]


@estimator
class BaseGenerativeAutoencoder(TabularAutoencoder):
    """Base class of autoencoders with a prior: sampling and log-likelihood.

    Attributes
    ----------
    prior_ : Prior
        p(z), with ``variance`` and ``entropy`` (nats) per dimension.
    """

    prior: str | Prior | Distribution = parameter(
        default="normal",
        kind='{"normal", "logistic"}, Prior or torch.distributions.Distribution',
        allowed=[StrOptions({"normal", "logistic"}), Prior, Distribution],
        doc="""
        Prior p(z): N(0, 1) or Logistic(0, 1) in every dimension; an object of
        :mod:`skvim.objectives` with another scale; or a continuous univariate distribution of torch
        with finite variance and ``icdf``, or ``torch.distributions.StudentT``, either the same for
        all dimensions or, with batch shape (n_components,), one for each, see
        :class:`~skvim.objectives.Factorised`.
        """,
    )
    pretraining: int = parameter(
        default=0,
        kind="int in [0, inf)",
        allowed=[integer(0)],
        doc="""
        Greatest number of steps that train the encoder alone before the first epoch, so that mean
        and covariance of the codes match those of draws from the prior: Adam with learning rate
        1e-3 on 1000 rows a step. They end when the squared differences per latent dimension, in
        units of the prior's variance, are below 0.1. The WAE reference takes up to 200.
        """,
    )

    @final
    def _pretraining_steps(self) -> int:
        return self.pretraining

    @final
    def _make_prior(self) -> Prior:
        return make_prior(self.prior, int(self.n_components))

    @final
    @own_modes()
    def sample(
        self,
        n_samples: int = 1,
        *,
        codes: str = "auto",
        mean: bool | None = None,
        given: Mapping[Any, Any] | None = None,
        missing: bool = False,
        random_state: int | np.random.RandomState | None = None,
    ) -> Any:
        """Draw codes and decode them.

        Parameters
        ----------
        n_samples : int in [1, inf), default=1
            Number of rows.
        codes : {"auto", "prior", "fitted"}, default="auto"
            Law of the codes: the prior p(z), or the density ``code_density_`` that was fitted to
            the codes of training rows, closer to the data where the codes do not follow the prior.
            "auto" is "fitted" if there is one.
        mean : bool or None, default=None
            Whether to return E[x|z], or else a draw x ~ p(x|z). None is True for arrays and images,
            False for tables (``likelihood="auto"``).
        given : mapping or None, default=None
            For tables, values of some columns by name (or position); the others are drawn given
            these, with codes chosen among 4,000 draws by how probable they make these values.
        missing : bool, default=False
            For tables, whether cells are missing in a sample as in the training row of the nearest
            code, of up to 1,000 such rows.
        random_state : int, RandomState or None, default=None
            Seed of the draws.

        Returns
        -------
        X : ndarray or data frame of shape (n_samples, n_features), or images
            In kind, dtypes, units and layout of the training data.

        Raises
        ------
        ValueError
            If n_samples is not a positive integer, codes or given are not possible for the model,
            or a draw or its E[x|z] is beyond the range of the dtype of the training data.
        TypeError
            If given is no mapping, or a value of it is of another type than its column's.
        """
        law = self._law(codes, "prior")
        seed = draw_seed(random_state)
        draws = None
        if law == "prior" and given is None:
            generator = torch.Generator().manual_seed(seed)
            shape = (check_count("n_samples", n_samples), self._n_features_out)
            draws = self.prior_.draw(shape, generator, torch.float64).numpy()
        return self._sample(n_samples, law, draws, mean, given, missing, seed)

    def _posterior_codes(
        self, rows: NDArray[Any], n_draws: int, seed: int
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        shape = (n_draws, self._n_features_out)
        noise = torch.from_numpy(_standard_normal(seed, shape, np.dtype(np.float64)))
        sampler = cache(lambda model: ImportanceSampler(model, self.prior_, noise))

        def draw(model: Autoencoder, x: Tensor) -> list[Tensor]:
            codes, log_weights = sampler(model)(x)
            return [codes, log_weights.softmax(-1)]

        width = values_of_draws(self.net_.autoencoder, self._width, *shape)
        codes, weights = map_rows(self.net_, draw, rows, values_per_row=width)
        return codes, weights

    @final
    @own_modes()
    def score_samples(
        self, X: Any, *, n_draws: int = 100, missing: bool = False
    ) -> NDArray[np.float64]:
        """Estimate the log-likelihood of rows by importance sampling.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or (n_samples, height, width[, channels])
            Rows or images.
        n_draws : int in [1, inf), default=100
            Draws per row. In expectation the estimate is a lower bound, tighter with more draws.
        missing : bool, default=False
            For tables, whether to add the log-probability of which cells are missing, each by
            itself as often as in up to 1,000 training rows. Then rows are comparable that miss
            different cells: take it to find odd rows.

        Returns
        -------
        log_likelihood : ndarray of shape (n_samples,)
            log p(x) in nats, summed over features: log mean_j p(x|z_j) p(z_j)/r(z_j|x) with draws
            z_j of a proposal r, in float64. For tables log p(x_observed), a sum of log-densities of
            continuous columns, per unit of the column, and log-probabilities of others.

        Raises
        ------
        ValueError
            If X is invalid, n_draws is not a positive integer, ``missing`` is not a bool or is
            True for a model that is not of mixed columns, values of X lie outside the support of
            the likelihood, or a log-likelihood is beyond the range of float64.

        Notes
        -----
        The proposal r is the Laplace approximation of p(z|x), a normal distribution around the mode
        that damped Gauss–Newton steps reach from the posterior mean, with a standard deviation of
        its own on either side of each axis that the density there gives. Where a point there is
        denser than the mode, the steps start anew from it. For a prior with bounded support both
        work in unbounded coordinates. :func:`~skvim.metrics.log_likelihood` gives the
        same values with their errors. Since nothing else comes from the encoder,
        models with stochastic and deterministic encoders and any λ or β are comparable. All rows
        share one set of standard normal draws seeded by ``random_state``, so that the result for a
        row does not depend on the other rows.
        """
        check_is_fitted(self)
        seed = child_seed(self.net_.seed, "score")
        form = None
        if check_flag("missing", missing):
            form = table_rows(self, "score_samples with missing=True")
        rows = self._rows_to_score(X)
        (values,) = self._map_weights(rows, n_draws, seed, lambda w: [log_mean(w).value])
        if form is not None:
            values += form.log_patterns(rows)
        return self._checked("score_samples", values, rows)

    @final
    def _map_weights(
        self,
        rows: NDArray[np.float64],
        n_draws: int,
        seed: int,
        function: Callable[[Tensor], list[Tensor]],
    ) -> list[NDArray[np.float64]]:
        """Apply a function to log importance weights of shape (rows of a chunk, n_draws)."""
        shape = (check_count("n_draws", n_draws), self._n_features_out)
        noise = torch.from_numpy(_standard_normal(seed, shape, np.dtype(np.float64)))
        sampler = cache(lambda model: ImportanceSampler(model, self.prior_, noise))

        def apply(model: Autoencoder, x: Tensor) -> list[Tensor]:
            return function(sampler(model)(x)[1])

        width = values_of_draws(self.net_.autoencoder, self._width, *shape)
        return map_rows(self.net_, apply, rows, values_per_row=width)

    @final
    def score(self, X: Any, y: Any = None) -> float:
        """Return the mean log-likelihood of rows, in nats per row; greater is better.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or (n_samples, height, width[, channels])
            Rows or images.
        y : None
            Ignored.

        Returns
        -------
        float
            Mean of :meth:`score_samples`.

        Raises
        ------
        ValueError
            As :meth:`score_samples`, or if the mean is beyond the range of float64.
        """
        return self._mean_score(self.score_samples(X), X)


@estimator
class BaseStochasticAutoencoder(BaseGenerativeAutoencoder):
    """Base class of autoencoders with a prior and a choice of posteriors."""

    posterior: str | Posterior = parameter(
        default="gaussian",
        kind='{"dirac", "gaussian", "logistic"} or Posterior',
        allowed=[StrOptions({"dirac", "gaussian", "logistic"}), Posterior],
        doc="""
        Posterior q(z|x). "dirac": a deterministic encoder; "gaussian": N(μ(x), σ(x)²); "logistic":
        the logistic distribution with mean μ(x) and standard deviation σ(x); or an object of
        :mod:`skvim.objectives`, also with a fixed standard deviation. The rate KL(q(z|x) ‖ p(z)) is
        infinite for "dirac".
        """,
    )
    output: str = parameter(
        default="mean",
        kind='{"mean", "sample"}',
        allowed=[StrOptions({"mean", "sample"})],
        doc="""
        What ``transform`` returns: the posterior mean, or one draw z ~ q(z|x) per row, the same at
        every call with the same number of rows. It may be changed after ``fit``.
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
        draws = _standard_draws(self._standard_density(), seed, mean.shape, mean.dtype)
        with ignore_overflow():
            codes: NDArray[Any] = mean + std * draws
        return codes

    def _standard_density(self) -> Prior:
        """Return the density of (z − mean)/std under the fitted posterior."""
        posterior = self.net_.autoencoder.posterior
        output = torch.zeros(1, posterior.n_outputs(self._n_features_out))
        return posterior.moments(output).base


@estimator
class AnnealedRate:
    """Mixin of models with the rate E KL(q(z|x) ‖ p(z)) in their loss: its warm-up."""

    warmup: float = parameter(
        default=0.0,
        kind="float in [0, 1]",
        allowed=[real(0, 1, closed="both")],
        doc="Share of the training during which the weight of the rate rises linearly from 0.",
    )

    @final
    def _make_rate(self) -> Divergence:
        """Return the loss term."""
        return KL(self.warmup)


@estimator
class ContrastiveAgreement:
    """Mixin of models with an optional contrastive loss on codes of corrupted rows."""

    agreement: float = parameter(
        default=0.0,
        kind="float in [0, inf)",
        allowed=[real(0)],
        doc="""
        Weight κ of the contrastive loss (nats) between codes of corrupted and clean rows; 0 omits
        it. It needs ``noise`` and at least two components. With
        ``likelihood=Gaussian(variance=10)``, 1 to 10 suits images.
        """,
    )
    temperature: float = parameter(
        default=0.1,
        kind="float in (0, inf)",
        allowed=[real(0, closed="neither")],
        doc="Temperature τ of the contrastive loss.",
    )

    @final
    def _make_agreement(self) -> list[tuple[float, Term]]:
        """Return weight and contrastive loss, or nothing if the weight is 0."""
        return [(self.agreement, InfoNCE(self.temperature))] if self.agreement > 0 else []


@estimator
class AggregatedDivergence:
    """Mixin of models with a divergence of the aggregated posterior q(z) from the prior."""

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
        Divergence D(q(z) ‖ p(z)), a name or an object: :class:`~skvim.objectives.MMD`,
        :class:`~skvim.objectives.MixtureKL` (needs a stochastic posterior),
        :class:`~skvim.objectives.DensityRatioKL`, :class:`~skvim.objectives.Adversarial`,
        :class:`~skvim.objectives.SlicedWasserstein` or a subclass of
        :class:`~skvim.objectives.Divergence`.
        """,
    )

    @final
    def _make_divergence(self) -> Divergence:
        """Return the divergence."""
        return make_divergence(self.divergence)


def _standard_draws(
    base: Prior, seed: int, shape: tuple[int, ...], dtype: np.dtype[Any]
) -> NDArray[Any]:
    """Return draws of the standardised density of a posterior."""
    if base == Normal():
        return _standard_normal(seed, shape, dtype)
    draws = base.draw(shape, torch.Generator().manual_seed(seed), torch.float64)
    converted: NDArray[Any] = draws.numpy().astype(dtype)
    return converted


def _standard_normal(seed: int, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return standard normal draws."""
    draws: NDArray[Any] = np.random.default_rng(seed).standard_normal(shape).astype(dtype)
    return draws
