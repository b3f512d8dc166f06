"""Base classes of autoencoders without a prior."""

import warnings
from collections.abc import Mapping
from copy import deepcopy
from typing import Any, final

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.utils.metaestimators import available_if
from torch import Tensor

from skvim._declare import estimator
from skvim._modes import own_modes
from skvim._row_format import takes_table
from skvim._tabular import TabularAutoencoder
from skvim._validation import check_count, check_is_fitted, draw_seed
from skvim.engine import encode_moments, map_rows, one_thread
from skvim.exceptions import ChainLostWarning
from skvim.objectives import Autoencoder, DiracPosterior, Posterior, Term, markov_chain

__all__ = ["BaseChainAutoencoder", "BaseCodeAutoencoder", "BasePlainAutoencoder"]

# Root mean square of codes, 1 for training rows, above which a chain has left the data.
_MAX_CODE_RMS = 10.0
# Chains run in parallel: more take memory, fewer take time.
_N_CHAINS = 100


@estimator
class BasePlainAutoencoder(TabularAutoencoder):
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

    def _posterior_codes(
        self, rows: NDArray[Any], n_draws: int, seed: int
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        loc, scale = map_rows(self.net_, encode_moments, rows, values_per_row=self._width)
        codes = loc[:, None, :]
        if scale.any():
            noise = np.random.default_rng(seed).standard_normal((n_draws, loc.shape[1]))
            codes = codes + scale[:, None, :] * noise
        return codes, np.full(codes.shape[:2], 1 / codes.shape[1])


def _has_density(model: Any) -> bool:
    """Tell whether a model has, or will have, a density of its codes to sample from."""
    return bool(model._asks_for_density())


@estimator
class BaseCodeAutoencoder(BasePlainAutoencoder):
    """Base class of autoencoders whose only samples are those of a density of their codes."""

    @final
    @available_if(_has_density)  # type: ignore[untyped-decorator]
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
        """Draw codes from the density fitted to those of training rows, and decode them.

        Available for tables (``likelihood="auto"``), or with another ``code_density`` than "auto".

        Parameters
        ----------
        n_samples : int in [1, inf), default=1
            Number of rows.
        codes : {"auto", "fitted"}, default="auto"
            The model has no prior: both are the density ``code_density_``.
        mean : bool or None, default=None
            Whether to return E[x|z], or else a draw x ~ p(x|z). None is True for arrays and images,
            False for tables (``likelihood="auto"``).
        given : mapping or None, default=None
            For tables, values of some columns by name (or position); the others are drawn given
            these.
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
            If n_samples is not a positive integer, given is not possible for the model, or a draw
            or its E[x|z] is beyond the range of the dtype of the training data.
        TypeError
            If given is no mapping, or a value of it is of another type than its column's.
        """
        law = self._law(codes, None)
        return self._sample(n_samples, law, None, mean, given, missing, draw_seed(random_state))


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
        codes: str = "auto",
        mean: bool | None = None,
        given: Mapping[Any, Any] | None = None,
        missing: bool = False,
        random_state: int | np.random.RandomState | None = None,
    ) -> Any:
        """Draw rows by the Markov chain x → z ~ q(z|x) → x ~ p(x|z), or by a density of codes.

        Parameters
        ----------
        n_samples : int in [1, inf), default=1
            Number of rows.
        burn_in : int in [0, inf), default=100
            Steps of each chain before its first row.
        thin : int in [1, inf), default=10
            Steps between two rows of one chain. Up to 100 chains run in parallel, each from a
            normal draw with mean and scale of the training data.
        codes : {"auto", "chain", "fitted"}, default="auto"
            Where codes come from: the chain, or the density ``code_density_`` that was fitted to
            the codes of training rows. "auto" is "fitted" if there is one. There is no chain for
            tables.
        mean : bool or None, default=None
            Whether to return E[x|z], or else a draw x ~ p(x|z). None is True for arrays and images,
            False for tables (``likelihood="auto"``).
        given : mapping or None, default=None
            For tables, values of some columns by name (or position); the others are drawn given
            these.
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
            If one of the numbers is out of range, codes or given are not possible for the model,
            or a code or its E[x|z] is beyond the range of the dtype of the training data.
        TypeError
            If given is no mapping, or a value of it is of another type than its column's.

        Warns
        -----
        ChainLostWarning
            If the chains have left the training data, so that the rows are no samples of them.
        """
        # From a drawn row of a table, the encoder's input is not known without its columns.
        own = None if takes_table(self.likelihood) else "chain"
        law, seed = self._law(codes, own), draw_seed(random_state)
        counts = check_count("n_samples", n_samples), check_count("thin", thin)
        burn_in = check_count("burn_in", burn_in, least=0)
        chain = law == "chain" and given is None
        drawn = self._chain_codes(*counts, burn_in, seed) if chain else None
        return self._sample(n_samples, law, drawn, mean, given, missing, seed)

    def _chain_codes(
        self, n_samples: int, thin: int, burn_in: int, seed: int
    ) -> NDArray[np.float64]:
        """Return codes of Markov chains; warn where they have left the data."""
        generator = torch.Generator().manual_seed(seed)
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
                stacklevel=4,
            )
        return codes[:n_samples].numpy()
