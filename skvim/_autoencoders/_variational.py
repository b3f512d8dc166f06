"""The family: each model is its posterior and the terms it adds to −log p(x|z)."""

from collections.abc import Callable
from copy import deepcopy
from typing import Any, final

import torch
from torch import Tensor

from skvim._declare import estimator, parameter
from skvim._deterministic import BaseDeterministicAutoencoder
from skvim._generative import (
    AggregatedDivergence,
    BaseGenerativeAutoencoder,
    BaseStochasticAutoencoder,
)
from skvim._validation import HasMethods, StrOptions, real
from skvim.noise import GaussianNoise, MaskingNoise
from skvim.objectives import (
    KL,
    Capacity,
    DiracPosterior,
    Divergence,
    GaussianPosterior,
    Posterior,
    make_posterior,
)

__all__ = [
    "AETransformer",
    "BetaVAETransformer",
    "CapacityVAETransformer",
    "DenoisingAETransformer",
    "InfoVAETransformer",
    "VAETransformer",
    "VIMAETransformer",
    "WAETransformer",
]

_NOISES: dict[str, type[GaussianNoise] | type[MaskingNoise]] = {
    "gaussian": GaussianNoise,
    "masking": MaskingNoise,
}


@final
@estimator
class AETransformer(BaseDeterministicAutoencoder):
    """Unregularised autoencoder: minimise E[−log p(x|e(x))].

    It has no prior, and so neither ``sample`` nor ``score_samples``.

    See Also
    --------
    DenoisingAETransformer : Reconstructs from corrupted rows.
    VIMAETransformer : Adds a prior that codes follow as a whole.
    VAETransformer : Adds a prior that every row's posterior is drawn to.

    Notes
    -----
    The first of the models in section IV of the VIMAE paper: codes hold whatever helps
    reconstruction, without a bound on their information.

    Examples
    --------
    >>> import numpy as np
    >>> from skvim import AETransformer
    >>> X = np.random.default_rng(0).normal(size=(64, 6))
    >>> ae = AETransformer(2, hidden_layer_sizes=(16,), max_epochs=5, random_state=0).fit(X)
    >>> ae.transform(X).shape, ae.reconstruct(X).shape
    ((64, 2), (64, 6))
    """


@final
@estimator
class DenoisingAETransformer(BaseDeterministicAutoencoder):
    """Denoising autoencoder: minimise E[−log p(x|e(x̃))] over corrupted copies x̃ of x.

    Every batch is corrupted afresh, and its clean rows are the target. ``transform`` encodes rows
    as they are.

    See Also
    --------
    AETransformer : Sees clean rows only.
    skvim.noise : The corruptions.

    References
    ----------
    P. Vincent, H. Larochelle, Y. Bengio and P.-A. Manzagol, *Extracting and composing robust
    features with denoising autoencoders*, ICML 2008.

    Examples
    --------
    >>> import numpy as np
    >>> from skvim import DenoisingAETransformer
    >>> from skvim.noise import MaskingNoise
    >>> X = np.random.default_rng(0).normal(size=(64, 6))
    >>> dae = DenoisingAETransformer(2, noise=MaskingNoise(0.3), hidden_layer_sizes=(16,))
    >>> dae.set_params(max_epochs=5, random_state=0).fit(X).transform(X).shape
    (64, 2)
    """

    noise: Any = parameter(
        default="gaussian",
        kind='{"gaussian", "masking"} or noise transformer',
        allowed=[StrOptions({"gaussian", "masking"}), HasMethods("corrupt")],
        doc="""
        The corruption: one of :mod:`skvim.noise` at its default level, or such a transformer,
        whose ``when`` and ``random_state`` play no part; any object with a method
        ``corrupt(batch, generator)`` on tensors will do. Levels are in the units of X.
        """,
    )

    def _make_corruption(self) -> Callable[[Tensor, torch.Generator], Tensor]:
        noise = _NOISES[self.noise]() if isinstance(self.noise, str) else deepcopy(self.noise)
        corruption: Callable[[Tensor, torch.Generator], Tensor] = noise.corrupt
        return corruption


@final
@estimator
class VAETransformer(BaseStochasticAutoencoder):
    """Variational autoencoder: minimise E[−log p(x|z)] + KL(q(z|x) ‖ p(z)).

    See Also
    --------
    BetaVAETransformer : Weighs the divergence.
    VIMAETransformer : Compares the aggregated posterior with the prior instead.

    Notes
    -----
    Maximises the evidence lower bound, equation (2) of the VIMAE paper, with a gaussian posterior.

    References
    ----------
    D. P. Kingma and M. Welling, *Auto-encoding variational Bayes*, 2014, arXiv:1312.6114.

    Examples
    --------
    >>> import numpy as np
    >>> from skvim import VAETransformer
    >>> X = np.random.default_rng(0).normal(size=(64, 6))
    >>> vae = VAETransformer(2, hidden_layer_sizes=(16,), max_epochs=5, random_state=0).fit(X)
    >>> vae.transform(X).shape, vae.sample(3, random_state=0).shape
    ((64, 2), (3, 6))
    """

    def _make_posterior(self) -> Posterior:
        return GaussianPosterior()

    def _make_terms(self) -> list[tuple[float, Divergence]]:
        return [(1.0, KL())]


@final
@estimator
class BetaVAETransformer(BaseStochasticAutoencoder):
    """β-VAE: minimise E[−log p(x|z)] + β KL(q(z|x) ‖ p(z)).

    See Also
    --------
    VAETransformer : The same with β = 1.

    Notes
    -----
    Equation (9) of the VIMAE paper with its sign put right. β > 1 (β_H there) bounds the rate,
    β < 1 (β_A there) favours the distortion.

    References
    ----------
    I. Higgins et al., *beta-VAE: Learning basic visual concepts with a constrained variational
    framework*, ICLR 2017. A. A. Alemi et al., *Fixing a broken ELBO*, 2018, arXiv:1711.00464.

    Examples
    --------
    >>> import numpy as np
    >>> from skvim import BetaVAETransformer
    >>> X = np.random.default_rng(0).normal(size=(64, 6))
    >>> model = BetaVAETransformer(2, beta=0.2, hidden_layer_sizes=(16,), max_epochs=5)
    >>> model.set_params(random_state=0).fit_transform(X).shape
    (64, 2)
    """

    beta: float = parameter(
        default=2.0,
        kind="float in [0, inf)",
        allowed=[real(0)],
        doc="Weight β of the rate; 1 is the VAE. Large values collapse: 4 does on small tables.",
    )

    def _make_posterior(self) -> Posterior:
        return GaussianPosterior()

    def _make_terms(self) -> list[tuple[float, Divergence]]:
        return [(self.beta, KL())]


@final
@estimator
class CapacityVAETransformer(BaseStochasticAutoencoder):
    """Capacity VAE: minimise E[−log p(x|z)] + γ abs(KL(q(z|x) ‖ p(z)) − C), C rising from 0.

    See Also
    --------
    BetaVAETransformer : The same at C = 0, with β = γ.

    Notes
    -----
    Equation (10) of the VIMAE paper, with the absolute value without which C has no effect. C is a
    rate in nats per row that training approaches while it anneals, as a share of its epochs.

    References
    ----------
    C. P. Burgess et al., *Understanding disentangling in β-VAE*, 2018, arXiv:1804.03599.

    Examples
    --------
    >>> import numpy as np
    >>> from skvim import CapacityVAETransformer
    >>> X = np.random.default_rng(0).normal(size=(64, 6))
    >>> model = CapacityVAETransformer(2, capacity=2.0, hidden_layer_sizes=(16,), max_epochs=5)
    >>> model.set_params(random_state=0).fit_transform(X).shape
    (64, 2)
    """

    capacity: float = parameter(
        default=10.0,
        kind="float in [0, inf)",
        allowed=[real(0)],
        doc="C at the end of the annealing, in nats per row.",
    )
    gamma: float = parameter(
        default=10.0,
        kind="float in [0, inf)",
        allowed=[real(0)],
        doc="Weight γ of the distance between rate and capacity.",
    )
    warmup: float = parameter(
        default=0.5,
        kind="float in [0, 1]",
        allowed=[real(0, 1, closed="both")],
        doc="Share of the training in which C rises linearly from 0.",
    )

    def _make_posterior(self) -> Posterior:
        return GaussianPosterior()

    def _make_terms(self) -> list[tuple[float, Divergence]]:
        return [(self.gamma, Capacity(self.capacity, self.warmup))]


@final
@estimator
class VIMAETransformer(AggregatedDivergence, BaseStochasticAutoencoder):
    """Variational InfoMax autoencoder: minimise E[−log p(x|z)] + λ D(q(z) ‖ p(z)).

    The prior bounds the codes as a whole and leaves each row its information. ``prior="normal"``
    is the paper's VIMAE-n, ``prior="logistic"`` its VIMAE-l.

    See Also
    --------
    WAETransformer : The same with a deterministic encoder.
    InfoVAETransformer : Weighs rate and divergence.
    VAETransformer : Draws every row's posterior to the prior.

    Notes
    -----
    Equation (5) of the paper with its sign put right, D by default the squared maximum mean
    discrepancy (12). λ weighs nats: beside a gaussian likelihood of variance v, the paper's λ = 10
    (beside 0.05 · SSE) is λ = 100/v.

    References
    ----------
    V. Crescimanna and B. Graham, *The Variational InfoMax AutoEncoder*.

    Examples
    --------
    >>> import numpy as np
    >>> from skvim import VIMAETransformer
    >>> X = np.random.default_rng(0).normal(size=(64, 6))
    >>> vim = VIMAETransformer(2, prior="logistic", hidden_layer_sizes=(16,), max_epochs=5)
    >>> vim.set_params(random_state=0).fit(X).transform(X).shape
    (64, 2)
    >>> vim.prior_.entropy
    2.0
    """

    posterior: str = parameter(
        default="dirac",
        kind='{"dirac", "gaussian"}',
        allowed=[StrOptions({"dirac", "gaussian"})],
        doc="q(z|x): a deterministic encoder, as in the reference setting, or N(μ(x), σ(x)²).",
    )

    def _make_posterior(self) -> Posterior:
        return make_posterior(self.posterior)

    def _make_terms(self) -> list[tuple[float, Divergence]]:
        return [(self.lam, self._make_divergence())]


@final
@estimator
class WAETransformer(AggregatedDivergence, BaseGenerativeAutoencoder):
    """Wasserstein autoencoder, WAE-MMD: minimise E[−log p(x|e(x))] + λ D(q(z) ‖ p(z)).

    See Also
    --------
    VIMAETransformer : The same objective, for a stochastic encoder too.

    Notes
    -----
    A relaxed optimal transport from the data to the model whose cost is −log p(x|z). The reference
    code weighs squared errors as 0.05 · SSE: that is ``likelihood=Gaussian(variance=10)``.

    References
    ----------
    I. Tolstikhin, O. Bousquet, S. Gelly and B. Schölkopf, *Wasserstein auto-encoders*, 2018,
    arXiv:1711.01558.

    Examples
    --------
    >>> import numpy as np
    >>> from skvim import WAETransformer
    >>> X = np.random.default_rng(0).normal(size=(64, 6))
    >>> wae = WAETransformer(2, hidden_layer_sizes=(16,), max_epochs=5, random_state=0).fit(X)
    >>> wae.transform(X).shape, wae.sample(3, random_state=0).shape
    ((64, 2), (3, 6))
    """

    def _make_posterior(self) -> Posterior:
        return DiracPosterior()

    def _make_terms(self) -> list[tuple[float, Divergence]]:
        return [(self.lam, self._make_divergence())]


@final
@estimator
class InfoVAETransformer(AggregatedDivergence, BaseStochasticAutoencoder):
    """InfoVAE: minimise E[−log p(x|z)] + (1 − α) KL(q(z|x) ‖ p(z)) + (α + λ − 1) D(q(z) ‖ p(z)).

    See Also
    --------
    VIMAETransformer : The same at α = 1.
    VAETransformer : The same at α = 0, λ = 1.

    Notes
    -----
    α weighs the information between row and code, which the VAE charges for in full and
    variational InfoMax not at all; λ weighs the divergence of all codes together. A term of weight
    0 is left out, from the history too.

    References
    ----------
    S. Zhao, J. Song and S. Ermon, *InfoVAE: Information maximizing variational autoencoders*, 2017,
    arXiv:1706.02262.

    Examples
    --------
    >>> import numpy as np
    >>> from skvim import InfoVAETransformer
    >>> X = np.random.default_rng(0).normal(size=(64, 6))
    >>> model = InfoVAETransformer(2, alpha=0.5, hidden_layer_sizes=(16,), max_epochs=5)
    >>> model.set_params(random_state=0).fit_transform(X).shape
    (64, 2)
    """

    alpha: float = parameter(
        default=0.5,
        kind="float in [0, 1]",
        allowed=[real(0, 1, closed="both")],
        doc="Weight α: 0 charges for information as the VAE does, 1 does not charge for it.",
    )

    def _make_posterior(self) -> Posterior:
        return GaussianPosterior()

    def _make_terms(self) -> list[tuple[float, Divergence]]:
        weight = self.alpha + self.lam - 1
        if weight < 0:
            raise ValueError(
                "lam must be at least 1 - alpha, for a divergence that is not rewarded. "
                f"Got lam={self.lam!r} with alpha={self.alpha!r}."
            )
        terms = [(1 - self.alpha, KL()), (weight, self._make_divergence())]
        return [(weight, divergence) for weight, divergence in terms if weight > 0]
