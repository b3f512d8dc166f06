"""Log-likelihood of rows by importance sampling, annealed importance sampling or Parzen windows."""

import hashlib
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from skvim._float_errors import ignore_overflow
from skvim._generative import BaseGenerativeAutoencoder
from skvim._modes import own_modes
from skvim._plain_numbers import is_real
from skvim._row_format import TableRows
from skvim._validation import check_count, check_is_fitted, check_results, draw_seed
from skvim.engine import child_seed, map_rows
from skvim.objectives import (
    Annealing,
    Autoencoder,
    annealed_log_weights,
    importance_log_weights,
    log_mean,
)

__all__ = ["LogLikelihood", "log_likelihood"]

# Options of each method and their defaults.
_OPTIONS: dict[str, dict[str, int | None]] = {
    "importance": {"n_draws": 1000},
    "ais": Annealing()._asdict(),
    "parzen": {"n_draws": 10_000, "bandwidth": None},
}
_N_BANDWIDTHS = 30
_MIN_VARIANCE = 1e-6  # of a kernel, in units of the mean squared distance
# Distances between rows and samples in memory at once.
_BLOCK_VALUES = 2**21
# Layers whose activations a transition keeps for its gradients.
_LAYERS = 4
# Draws of the importance sampling that annealing is compared with.
_N_CHECKS = 100
# Errors of a difference that chance explains.
_SIGNIFICANT = 2.0


@final
@dataclass(frozen=True, eq=False)
class LogLikelihood:
    """Estimates of log p(x), in nats per row and summed over features.

    Attributes
    ----------
    method : {"importance", "ais", "parzen"}
        Method of estimation.
    mean : float
        Mean of ``values``.
    standard_error : float
        Standard error of ``mean`` as an estimate of E log p(x) over the distribution that the rows
        are drawn from: √(s²/n + c) + b, with s the standard deviation of ``values``, which includes
        each row's own Monte Carlo error, c the covariance of the Monte Carlo errors of two rows,
        above 0 if rows share their draws, and b the mean of ``biases``. NaN for one row.
    monte_carlo_error : float
        Standard error of ``mean`` for fixed rows: its standard deviation over repetitions with
        other random numbers, plus the mean of ``biases``, which has one sign in all rows. NaN for
        one draw or chain.
    values : ndarray of shape (n_samples,)
        Estimate of log p(x) for each row.
    errors : ndarray of shape (n_samples,)
        Monte Carlo standard error of each value: that of the mean weight over the mean weight (the
        delta method), which is below 1 nat whatever the weights, plus the row's bias. NaN for one
        draw or chain.
    biases : ndarray of shape (n_samples,)
        What a value may be too low by, in nats: 0 where ``effective_draws`` is at least half the
        number of draws or chains, and more the smaller it is, see Notes of :func:`log_likelihood`.
        A mean of these near or above the differences of interest means that ``mean`` is not to be
        trusted.
    effective_draws : ndarray of shape (n_samples,)
        Effective sample size (Σ w)²/Σ w² of a row's weights w, between 1 and the number of draws or
        chains.
    acceptance : ndarray of shape (n_samples,) or None
        Mean acceptance probability of a row's transitions; "ais" only.
    bandwidth : ndarray of shape (n_samples,) or None
        Standard deviation of the kernel used for a row; "parzen" only.
    """

    method: str
    mean: float
    standard_error: float
    monte_carlo_error: float
    values: NDArray[np.float64] = field(repr=False)
    errors: NDArray[np.float64] = field(repr=False)
    biases: NDArray[np.float64] = field(repr=False)
    effective_draws: NDArray[np.float64] = field(repr=False)
    acceptance: NDArray[np.float64] | None = field(default=None, repr=False)
    bandwidth: NDArray[np.float64] | None = field(default=None, repr=False)


@own_modes()
def log_likelihood(
    estimator: BaseGenerativeAutoencoder,
    X: Any,
    *,
    method: str = "importance",
    n_draws: int | None = None,
    n_temperatures: int | None = None,
    n_chains: int | None = None,
    n_leapfrog: int | None = None,
    bandwidth: float | None = None,
    random_state: int | np.random.RandomState | None = None,
) -> LogLikelihood:
    """Estimate the log-likelihood of rows under a fitted model with a prior.

    Parameters
    ----------
    estimator : autoencoder
        A fitted model of skvim that has a prior, and so ``score_samples``.
    X : array-like of shape (n_samples, n_features) or (n_samples, height, width[, channels])
        Rows or images not used in training.
    method : {"importance", "ais", "parzen"}, default="importance"
        "importance" draws codes around the mode of p(z|x); "ais", annealed importance sampling,
        moves them from the prior to p(z|x) without use of the encoder; "parzen" uses samples of the
        model only.
    n_draws : int in [1, inf) or None, default=None
        "importance": draws per row, None for 1,000. "parzen": samples of the model, None for
        10,000.
    n_temperatures : int in [1, inf) or None, default=None
        "ais": temperatures from the prior to p(z|x), None for 2,000. At a given cost more
        temperatures are better than more chains or longer transitions, until ``effective_draws``
        approaches the number of chains.
    n_chains : int in [1, inf) or None, default=None
        "ais": chains per row, None for 8.
    n_leapfrog : int in [1, inf) or None, default=None
        "ais": leapfrog steps per transition, None for 2.
    bandwidth : float in (0, inf) or None, default=None
        "parzen": standard deviation of the kernel, in units of X. None selects it by two-fold
        cross-validation: X is split at random into halves, and each is evaluated with the
        bandwidth of greatest likelihood for the other, on a grid of 30 between the bounds of the
        optimum.
    random_state : int, RandomState or None, default=None
        Seed of the estimate; None uses that of the estimator, so that repeated calls agree.

    Returns
    -------
    LogLikelihood
        Mean, its errors, and the values and errors of all rows.

    Raises
    ------
    sklearn.exceptions.NotFittedError
        If the estimator is not fitted.
    TypeError
        If it has no prior or is not an autoencoder of skvim.
    ValueError
        If an option is out of range or belongs to another method, if X is outside the likelihood's
        support (not checked for "parzen"), if no bandwidth can be selected, or if a log-likelihood
        is beyond the range of float64.

    See Also
    --------
    log_likelihood_scorer : Scorer for model selection.

    Notes
    -----
    Each estimate is the logarithm of a mean of weights. For the first two the mean weight is an
    unbiased estimate of p(x), so that by Jensen's inequality the estimate of log p(x) is too low on
    average, by about half the squared error, and by far more where few weights dominate. ``biases``
    say by how much it may be, as far as the weights show it: with n draws, n_e of them effective,
    2 (log n/n_e − log 2)/(n_e − 1)^⅔ nats where this is above 0, but not more than the value is
    above the median log-weight. No weights show a mode of p(z|x) that no draw came near to.

    "importance", the estimate of ``score_samples``, shares its draws between rows. The weights are
    p(x|z) p(z)/r(z|x), r the Laplace approximation of p(z|x): fast and accurate where p(z|x) has
    one mode near the encoder's.

    "ais" [1]_ [2]_ needs no approximation of p(z|x), at many times the cost: decoder and gradient
    are computed (n_chains + 1) · n_leapfrog · (n_temperatures − 1) times per row. Transitions are
    Hamiltonian Monte Carlo with a target acceptance of 0.65. Step sizes are adapted on an
    additional pilot chain per row, which is not used in the estimate, so that adaptation does not
    bias the weights. A row's random numbers are seeded by its values: its estimate does not depend
    on the other rows, and equal rows have equal estimates.

    "parzen" is the density at x of a mixture of gaussians around ``sample``'s draws. It estimates
    the density of the model with its likelihood replaced by the kernel, the same model if
    p(x|z) = N(x̂(z), bandwidth² I), and needs a number of draws that is exponential in the
    dimension of the data: in high dimension it ranks models wrongly [3]_, and should be used only
    to compare with published values of the same kind. ``errors`` are for the kernel in use, and
    ``biases`` are 0.

    References
    ----------
    .. [1] R. M. Neal (2001). Annealed importance sampling. Statistics and Computing 11.
    .. [2] Y. Wu, Y. Burda, R. Salakhutdinov and R. Grosse (2017). On the quantitative analysis of
       decoder-based generative models. International Conference on Learning Representations,
       arXiv:1611.04273.
    .. [3] L. Theis, A. van den Oord and M. Bethge (2016). A note on the evaluation of generative
       models. International Conference on Learning Representations, arXiv:1511.01844.

    Examples
    --------
    >>> import numpy as np
    >>> from skvim import VAETransformer
    >>> from skvim.metrics import log_likelihood
    >>> X = np.random.default_rng(0).normal(size=(64, 6))
    >>> vae = VAETransformer(2, hidden_layer_sizes=(16,), max_epochs=5, random_state=0).fit(X)
    >>> sampled = log_likelihood(vae, X[:4], n_draws=500)
    >>> annealed = log_likelihood(vae, X[:4], method="ais", n_temperatures=50)
    >>> bool(abs(sampled.mean - annealed.mean) < 0.2)
    True
    """
    given = {
        "n_draws": n_draws,
        "n_temperatures": n_temperatures,
        "n_chains": n_chains,
        "n_leapfrog": n_leapfrog,
        "bandwidth": bandwidth,
    }
    options = _check_options(method, given)
    if not isinstance(estimator, BaseGenerativeAutoencoder):
        raise TypeError(
            "log_likelihood takes a fitted autoencoder of skvim that has a prior, such as "
            "VAETransformer or VIMAETransformer; of a pipeline, pass the last step. "
            f"Got {estimator!r} instead."
        )
    check_is_fitted(estimator)
    own = child_seed(estimator.net_.seed, "score")
    seed = own if random_state is None else draw_seed(random_state)
    return _METHODS[method](estimator, X, options, seed)


def _check_options(method: Any, given: dict[str, Any]) -> dict[str, Any]:
    """Return validated options of a method, with its defaults in place of None."""
    if not isinstance(method, str) or method not in _OPTIONS:
        raise ValueError(f"method must be 'importance', 'ais' or 'parzen'. Got {method!r} instead.")
    defaults = _OPTIONS[method]
    named = {name: value for name, value in given.items() if value is not None}
    for name, value in named.items():
        if name not in defaults:
            raise ValueError(
                f"{name} is not an option of method={method!r}, which takes {', '.join(defaults)}. "
                f"Got {name}={value!r}; omit it, or choose another method."
            )
        if name != "bandwidth":
            named[name] = check_count(name, value)
        elif not is_real(value) or not 0 < float(value) < math.inf:
            raise ValueError(
                f"bandwidth must be a float in (0, inf) or None. Got {value!r} instead."
            )
    return {**defaults, **named}


def _importance(
    estimator: BaseGenerativeAutoencoder, X: Any, options: dict[str, Any], seed: int
) -> LogLikelihood:
    """Estimate by importance sampling."""
    means = _SharedDraws(options["n_draws"])
    rows = estimator._rows_to_score(X)
    parts = estimator._map_weights(rows, options["n_draws"], seed, means.log_mean)
    _check(rows, parts)
    return _summary("importance", *parts, shared=means)


def _annealed(
    estimator: BaseGenerativeAutoencoder, X: Any, options: dict[str, Any], seed: int
) -> LogLikelihood:
    """Estimate by annealed importance sampling."""
    settings = Annealing(**options)

    def anneal(model: Autoencoder, x: Tensor) -> list[Tensor]:
        sources = [_generator(seed, row) for row in x.cpu().numpy()]
        weights, acceptance = annealed_log_weights(model, estimator.prior_, x, settings, sources)
        value, error, effective, bias, _ = log_mean(weights)
        drawn = log_mean(importance_log_weights(model, estimator.prior_, x, noise.to(x.device)))
        chance = _SIGNIFICANT * torch.hypot(error, drawn.error).nan_to_num()
        bias = torch.maximum(bias, drawn.value - value - chance)
        return [value, error, effective, bias, acceptance]

    shape = (_N_CHECKS, estimator._n_features_out)
    noise = torch.from_numpy(np.random.default_rng(seed).standard_normal(shape))
    width = estimator._width * max(_N_CHECKS, (settings.n_chains + 1) * _LAYERS)
    rows = estimator._rows_to_score(X)
    *parts, acceptance = map_rows(estimator.net_, anneal, rows, values_per_row=width)
    _check(rows, parts)
    return _summary("ais", *parts, acceptance=acceptance)


def _generator(seed: int, row: NDArray[np.float64]) -> torch.Generator:
    """Return the random number generator of a row, seeded by its values."""
    digest = hashlib.blake2b(row.tobytes(), digest_size=7, key=seed.to_bytes(8)).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest))


def _parzen(
    estimator: BaseGenerativeAutoencoder, X: Any, options: dict[str, Any], seed: int
) -> LogLikelihood:
    """Estimate by gaussian kernels on samples of the model."""
    check_is_fitted(estimator)
    if isinstance(estimator._format, TableRows):
        raise ValueError(
            "method='parzen' needs a density over rows of numbers, which a model of mixed columns "
            f"does not have. Use 'importance' or 'ais'. Got likelihood={estimator.likelihood!r}."
        )
    rows = torch.tensor(estimator._rows(X), dtype=torch.float64)
    drawn = estimator.sample(options["n_draws"], random_state=seed % 2**31)
    samples = torch.tensor(drawn.reshape(len(drawn), -1), dtype=torch.float64)
    given = options["bandwidth"]
    widths = (
        _select_bandwidths(rows, samples, seed)
        if given is None
        else torch.full((len(rows),), float(given), dtype=torch.float64)
    )
    means = _SharedDraws(len(samples))
    blocks = [
        means.log_mean(_log_kernel(distances, widths[block], rows.shape[1]))
        for block, distances in _squared_distances(rows, samples)
    ]
    parts = [torch.cat(part).numpy() for part in zip(*blocks, strict=True)]
    parts[-1][:] = 0.0
    _check(rows.numpy(), parts, advice=", or pass another bandwidth")
    return _summary("parzen", *parts, shared=means, bandwidth=widths.numpy())


def _check(rows: NDArray[Any], parts: list[NDArray[Any]], advice: str = "") -> None:
    """Raise ``ValueError`` where an estimate overflowed; the error of a single draw is NaN."""
    values, _, effective_draws, _ = parts
    for results in (values, effective_draws):
        check_results("log_likelihood", results, rows, advice=advice)


def _select_bandwidths(rows: Tensor, samples: Tensor, seed: int) -> Tensor:
    """Return for each row the best bandwidth for the half that does not contain it."""
    if len(rows) < 2:
        raise ValueError(
            "bandwidth=None needs at least two rows, to select it for one by the other. Got one "
            "row; pass a bandwidth."
        )
    order = torch.from_numpy(np.random.default_rng(seed).permutation(len(rows)))
    first, second = order[: len(rows) // 2], order[len(rows) // 2 :]
    widths = rows.new_empty(len(rows))
    widths[first] = _best_bandwidth(rows[second], samples)
    widths[second] = _best_bandwidth(rows[first], samples)
    return widths


def _best_bandwidth(rows: Tensor, samples: Tensor) -> float:
    """Return the bandwidth h on a grid that maximises the likelihood of the rows.

    Where the derivative is zero, h² d is the mean over rows of a weighted mean of the squared
    distances, with greater weights for nearer samples: h² d is between the mean smallest and the
    mean squared distance.
    """
    n_features = rows.shape[1]
    least, average = 0.0, 0.0
    for _, distances in _squared_distances(rows, samples):
        least += float(distances.amin(1).sum()) / len(rows) / n_features
        average += float(distances.mean(1).sum()) / len(rows) / n_features
    if not math.isfinite(average):
        raise ValueError(
            "No bandwidth can be selected: squared distances of rows and samples of the model "
            "overflow float64. Scale X as the rows that the model was fitted to."
        )
    if average == 0:
        raise ValueError(
            "No bandwidth can be selected: all rows and samples of the model are equal. Pass one."
        )
    # The smallest distance is 0 for a row equal to a sample.
    grid = np.sqrt(np.geomspace(max(least, _MIN_VARIANCE * average), average, _N_BANDWIDTHS))
    score = np.zeros(len(grid))
    for _, distances in _squared_distances(rows, samples):
        for i, width in enumerate(grid):
            log_kernel = _log_kernel(distances, rows.new_tensor([width]), n_features)
            score[i] += float(log_kernel.logsumexp(1).sum())
    return float(grid[score.argmax()])


def _log_kernel(distances: Tensor, widths: Tensor, n_features: int) -> Tensor:
    """Return log N(x; sample, h² I) for squared distances (n, n_samples) and h, (n,) or (1,)."""
    variance = widths.square().unsqueeze(1)
    return -0.5 * (distances / variance + n_features * (2 * math.pi * variance).log())


def _squared_distances(rows: Tensor, samples: Tensor) -> Iterator[tuple[slice, Tensor]]:
    """Yield blocks of rows with their squared distances from all samples."""
    # Centred, since squared distances would lose digits to an offset of the data.
    centre = samples.mean(0)
    rows, samples = rows - centre, samples - centre
    size = max(1, _BLOCK_VALUES // len(samples))
    for start in range(0, len(rows), size):
        block = slice(start, start + size)
        squares = rows[block].square().sum(1, keepdim=True) + samples.square().sum(1)
        yield block, (squares - 2 * rows[block] @ samples.T).clamp(min=0)


@final
class _SharedDraws:
    """Mean weights for draws shared by all rows, and the variance of the mean over rows."""

    def __init__(self, n_draws: int) -> None:
        self.total = np.zeros(n_draws)

    def log_mean(self, log_weights: Tensor) -> list[Tensor]:
        """Return value, error, effective sample size and bias for log weights (n, n_draws)."""
        means = log_mean(log_weights)
        self.total += means.relative.sum(0).cpu().numpy()
        return [means.value, means.error, means.effective, means.bias]

    def variance(self, n_rows: int) -> float:
        """Return the variance of the mean over rows, NaN for one draw."""
        n_draws = len(self.total)
        influence = self.total / n_rows - 1
        return _ratio(float((influence**2).sum()), n_draws * (n_draws - 1))


def _ratio(value: float, count: int) -> float:
    """Return the ratio, NaN for a count of 0."""
    return value / count if count > 0 else math.nan


def _summary(
    method: str,
    values: NDArray[np.float64],
    errors: NDArray[np.float64],
    effective_draws: NDArray[np.float64],
    biases: NDArray[np.float64],
    *,
    shared: _SharedDraws | None = None,
    **details: NDArray[np.float64],
) -> LogLikelihood:
    """Return the result with the standard errors of its mean."""
    n = len(values)
    independent, bias = float((errors**2).mean()) / n, float(biases.mean())
    variance = independent if shared is None else shared.variance(n)
    covariance = 0.0 if shared is None else max(0.0, _ratio((variance - independent) * n, n - 1))
    with ignore_overflow():
        mean = values.mean()
        spread = _ratio(float(((values - mean) ** 2).sum()), (n - 1) * n)
    spreads = [spread] if n > 1 else []  # of a single row there is none
    check_results("log_likelihood", np.array([mean, *spreads]), values, of="log p(x)")
    return LogLikelihood(
        method,
        float(mean),
        math.sqrt(spread + covariance) + bias,
        math.sqrt(variance) + bias,
        values,
        errors + biases,
        biases,
        effective_draws,
        **details,
    )


_METHODS: dict[str, Callable[..., LogLikelihood]] = {
    "importance": _importance,
    "ais": _annealed,
    "parzen": _parzen,
}
