"""Rate, mutual information, divergences and latent statistics of a trained model."""

import dataclasses
import math
from dataclasses import dataclass
from typing import Any, final

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from skvim._float_errors import ignore_overflow
from skvim.engine import AutoencoderNet, child_seed, map_rows, to_tensor
from skvim.objectives import (
    Autoencoder,
    InformationEstimates,
    Moments,
    Prior,
    count_active_units,
    effective_rank,
    estimate_information,
    is_unbounded,
)

__all__ = ["Information", "finite_values", "measure_information"]

# Share of the prior's variance above which the variance of posterior means counts as active.
_ACTIVE_SHARE = 0.01
# Fields that are infinite for a prior with a bounded support.
_KL = {"rate", "aggregated_kl", "total_correlation", "marginal_kl"}


@final
@dataclass(frozen=True, eq=False, repr=False)
class Information:
    """Information measures of a model on given rows, in nats per row; None where not defined.

    ``print`` shows a table; :meth:`to_series` returns a row for a data frame.

    Attributes
    ----------
    n_samples : int
        Number n of rows.
    distortion : float
        −E log p(x|z), summed over features, with one draw z ~ q(z|x) per row.
    rate : float or None
        R = E KL(q(z|x) ‖ p(z)), summed over latent dimensions.
    rate_se : float or None
        Standard error of ``rate``.
    mutual_information : float or None
        I(X; Z) = R − KL(q(z) ‖ p(z)), between 0 and ``mutual_information_bound``.
    mutual_information_se : float or None
        Standard error of ``mutual_information``.
    mutual_information_bound : float
        log n, the entropy of the index of a row and hence the greatest possible estimate from n
        rows. If ``mutual_information`` is close to it, the codes identify each row: use more rows.
    aggregated_kl : float or None
        KL(q(z) ‖ p(z)), the divergence of the aggregated posterior from the prior.
    aggregated_kl_se : float or None
        Standard error of ``aggregated_kl``.
    total_correlation : float or None
        KL(q(z) ‖ Π q(z_j)), the dependence between latent dimensions.
    marginal_kl : ndarray of shape (n_components,) or None
        KL(q(z_j) ‖ p(z_j)) of every dimension.
    active_units : int or None
        Number of dimensions in which the variance of the posterior means exceeds 1 % of the prior's
        variance, see :func:`~skvim.metrics.active_units`.
    effective_rank : float or None
        exp of the entropy of the normalised eigenvalues of the covariance of posterior means, in
        [1, n_components].
    latent_mean, latent_std : ndarray of shape (n_components,)
        Mean and standard deviation of q(z). The variance is the variance of the posterior means
        plus the mean of the posterior variances.
    prior_variance : ndarray of shape (n_components,) or None
        Variance of the prior.
    prior_entropy : float or None
        Differential entropy of the prior per dimension, in nats.

    See Also
    --------
    information : Computes these measures.

    Notes
    -----
    For a deterministic encoder the rate, the mutual information and the three KL divergences of
    q(z) are not defined, because point masses have no density. Without a prior, measures that
    refer to it are not defined. The effective rank is not defined if all codes are equal.

    Estimates are computed in float64 with one draw per row. q(z) is the mixture
    1/n Σ_j q(z|x_j) of the posteriors of all rows, including row i itself:

    - I = E[log q(z_i|x_i) − log q(z_i)] never exceeds log n. It is unbiased for the given rows. For
      the population they are drawn from it is biased downwards, and ``aggregated_kl`` upwards by
      the same amount; both biases shrink with more rows.
    - ``rate`` = ``mutual_information`` + ``aggregated_kl``, and ``aggregated_kl`` =
      ``total_correlation`` + sum of ``marginal_kl``, up to rounding, if they are finite.
    - Standard errors account for the sampling of rows and codes, not for the bias.
    - Estimates of a KL divergence near 0 may be slightly negative. They are infinite if the prior
      has a bounded support that the posteriors exceed.

    References
    ----------
    M. D. Hoffman and M. J. Johnson, *ELBO surgery: yet another way to carve up the variational
    evidence lower bound*, 2016 (R = I + KL). R. T. Q. Chen et al., *Isolating sources of
    disentanglement in variational autoencoders*, 2018, arXiv:1802.04942 (total correlation).
    A. A. Alemi et al., *Fixing a broken ELBO*, 2018, arXiv:1711.00464 (rate and distortion).
    O. Roy and M. Vetterli, *The effective rank*, EUSIPCO 2007.
    """

    n_samples: int
    distortion: float
    rate: float | None
    rate_se: float | None
    mutual_information: float | None
    mutual_information_se: float | None
    mutual_information_bound: float
    aggregated_kl: float | None
    aggregated_kl_se: float | None
    total_correlation: float | None
    marginal_kl: NDArray[np.float64] | None
    active_units: int | None
    effective_rank: float | None
    latent_mean: NDArray[np.float64]
    latent_std: NDArray[np.float64]
    prior_variance: NDArray[np.float64] | None
    prior_entropy: float | None

    def to_series(self) -> pd.Series:
        """Return all values as one series of floats, with one entry per element of an array.

        Returns
        -------
        Series
            Indexed by the names of the attributes, with ``_0``, ``_1``, … appended for elements of
            arrays; NaN where a quantity is not defined.
        """
        arrays = {"marginal_kl", "latent_mean", "latent_std", "prior_variance"}
        values: dict[str, float] = {}
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if field.name not in arrays:
                values[field.name] = math.nan if value is None else float(value)
                continue
            for j in range(len(self.latent_mean)):
                values[f"{field.name}_{j}"] = math.nan if value is None else float(value[j])
        return pd.Series(values, dtype=np.float64)

    def __repr__(self) -> str:
        """Return a table."""
        width = max(len(name) for name, _ in self._table())
        lines = [f"Information of {self.n_samples} rows, in nats per row"]
        lines += [f"  {name:<{width}}  {text}" for name, text in self._table()]
        reasons = {
            "a deterministic encoder has no density": self.mutual_information is None,
            "the model has no prior": self.prior_entropy is None,
        }
        absent = [reason for reason, holds in reasons.items() if holds]
        return "\n".join([*lines, f"not defined: {', and '.join(absent)}"] if absent else lines)

    def _table(self) -> list[tuple[str, str]]:
        """Return labels and values of the table."""
        ceiling = f" (at most {self.mutual_information_bound:.4g})"
        return [
            ("distortion", _number(self.distortion)),
            ("rate", _number(self.rate, self.rate_se)),
            (
                "mutual information",
                _number(self.mutual_information, self.mutual_information_se, ceiling),
            ),
            ("aggregated KL", _number(self.aggregated_kl, self.aggregated_kl_se)),
            ("total correlation", _number(self.total_correlation)),
            ("marginal KL", _range(self.marginal_kl)),
            ("active units", _number(self.active_units, note=f" of {len(self.latent_mean)}")),
            ("effective rank", _number(self.effective_rank)),
            ("latent mean", _range(self.latent_mean)),
            ("latent standard deviation", _range(self.latent_std)),
            ("prior variance", _range(self.prior_variance)),
            ("prior entropy per dimension", _number(self.prior_entropy)),
        ]


def measure_information(
    net: AutoencoderNet, rows: NDArray[np.float64], *, max_samples: int, values_per_row: int
) -> Information:
    """Compute the information measures of a trained net on given rows.

    Parameters
    ----------
    net : AutoencoderNet
        Trained net.
    rows : ndarray of shape (n_samples, n_features)
        Rows within the support of the likelihood.
    max_samples : int
        Greatest number of rows to use; from more, a random subset seeded by the net is drawn.
    values_per_row : int
        Size of the largest intermediate result for one row in the networks.

    Returns
    -------
    Information
        The measures.
    """
    seed = child_seed(net.seed, "information")
    if len(rows) > max_samples:
        chosen = np.random.default_rng(seed).choice(len(rows), max_samples, replace=False)
        rows = rows[np.sort(chosen)]
    q, z, distortion = _draw(net, rows, torch.Generator().manual_seed(seed), values_per_row)
    prior = net.objective.prior
    estimates = None if q.scale is None else estimate_information(q, z, prior)
    variance = q.loc.var(0, correction=0)
    if q.scale is not None:
        variance = variance + q.scale.square().mean(0)
    return Information(
        n_samples=len(rows),
        distortion=distortion,
        **_as_fields(estimates),
        mutual_information_bound=math.log(len(rows)),
        active_units=None if prior is None else _active_units(q.loc, prior),
        effective_rank=effective_rank(q.loc),
        latent_mean=_array(q.loc.mean(0)),
        latent_std=_array(variance.sqrt()),
        prior_variance=None if prior is None else _variances(prior, z.shape[1]),
        prior_entropy=None if prior is None else float(prior.entropy),
    )


def finite_values(measured: Information, prior: Prior | None) -> NDArray[np.float64]:
    """Return all defined values that have to be finite, as one array."""
    names = [field.name for field in dataclasses.fields(measured)]
    if prior is not None and not is_unbounded(prior):  # KL divergences from it may be infinite
        names = [name for name in names if name not in _KL]
    values = [getattr(measured, name) for name in names]
    defined = [np.ravel(value) for value in values if value is not None]
    return np.concatenate(defined, dtype=np.float64)


def _draw(
    net: AutoencoderNet, rows: NDArray[np.float64], generator: torch.Generator, values: int
) -> tuple[Moments, Tensor, float]:
    """Return the posteriors of rows, one draw from each, and the mean of −log p(x|z)."""
    device = net.autoencoder.mean.device
    with torch.no_grad():
        first = net.in_precision(torch.float64).encode(to_tensor(rows[:1], device=device))
    n_features, n_components = rows.shape[1], first.loc.shape[1]
    if first.scale is None:
        noise = np.zeros((len(rows), n_components))
    else:
        # Drawn on the CPU, so that all devices use the same draws.
        noise = first.base.draw((len(rows), n_components), generator, torch.float64).numpy()

    def encode(model: Autoencoder, both: Tensor) -> list[Tensor]:
        x, epsilon = both[:, :n_features], both[:, n_features:]
        loc, scale, _ = model.encode(x)
        scale = torch.zeros_like(loc) if scale is None else scale
        z = torch.addcmul(loc, scale, epsilon)
        return [loc, scale, z, -model.likelihood(x, model.decode(z))]

    both = np.hstack([rows, noise])
    *codes, costs = map_rows(net, encode, both, values_per_row=max(values, both.shape[1]))
    loc, scale, z = (to_tensor(part, device=device) for part in codes)
    q = Moments(loc, None if first.scale is None else scale, first.base)
    with ignore_overflow():
        return q, z, float(costs.mean())


def _as_fields(estimates: InformationEstimates | None) -> dict[str, Any]:
    """Return estimates as attributes of :class:`Information`, None where not defined."""
    fields: dict[str, Any] = {"total_correlation": None, "marginal_kl": None}
    for name in ("rate", "mutual_information", "aggregated_kl"):
        estimate = getattr(estimates, name, None)
        fields[name], fields[f"{name}_se"] = (None, None) if estimate is None else estimate
    if estimates is not None:
        fields["total_correlation"] = estimates.total_correlation
    if estimates is not None and estimates.marginal_kl is not None:
        fields["marginal_kl"] = _array(estimates.marginal_kl)
    return fields


def _active_units(codes: Tensor, prior: Prior) -> int:
    """Return the number of active units of codes."""
    variances = torch.as_tensor(prior.variances, device=codes.device)
    return count_active_units(codes, _ACTIVE_SHARE * variances)


def _variances(prior: Prior, n_components: int) -> NDArray[np.float64]:
    """Return the variance of the prior in every dimension."""
    return _array(torch.as_tensor(prior.variances, dtype=torch.float64).expand(n_components))


def _array(values: Tensor) -> NDArray[np.float64]:
    """Return a copy of a tensor as a float64 array."""
    array: NDArray[np.float64] = values.cpu().numpy().astype(np.float64)
    return array


def _number(value: float | None, error: float | None = None, note: str = "") -> str:
    """Format a value with its standard error."""
    if value is None:
        return "not defined"
    return f"{value:.4g}" + ("" if error is None else f" ± {error:.2g}") + note


def _range(values: NDArray[np.float64] | None) -> str:
    """Format the range of the values of all dimensions."""
    if values is None:
        return "not defined"
    low, high = values.min(), values.max()
    return f"{low:.4g}" if low == high else f"{low:.4g} to {high:.4g}"
