"""Autoencoders that penalise the rate, KL(q(z|x) ‖ p(z)), of every row."""

from typing import final

from skvim._declare import estimator, parameter
from skvim._generative import AnnealedRate, BaseStochasticAutoencoder
from skvim._validation import real
from skvim.objectives import Capacity, Term

__all__ = ["BetaVAETransformer", "CapacityVAETransformer", "VAETransformer"]


@final
@estimator
class VAETransformer(AnnealedRate, BaseStochasticAutoencoder):
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

    def _make_terms(self) -> list[tuple[float, Term]]:
        return [(1.0, self._make_rate())]


@final
@estimator
class BetaVAETransformer(AnnealedRate, BaseStochasticAutoencoder):
    """β-VAE: minimise E[−log p(x|z)] + β KL(q(z|x) ‖ p(z)).

    See Also
    --------
    VAETransformer : The same with β = 1.

    Notes
    -----
    Equation (9) of the VIMAE paper with its sign corrected. β > 1 (β_H there) lowers the rate,
    β < 1 (β_A there) the distortion.

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

    def _make_terms(self) -> list[tuple[float, Term]]:
        return [(self.beta, self._make_rate())]


@final
@estimator
class CapacityVAETransformer(BaseStochasticAutoencoder):
    """Capacity VAE: minimise E[−log p(x|z)] + γ abs(KL(q(z|x) ‖ p(z)) − C), C rising from 0.

    See Also
    --------
    BetaVAETransformer : The same at C = 0, with β = γ.

    Notes
    -----
    Equation (10) of the VIMAE paper with the absolute value added, without which C has no effect.
    C is a rate in nats per row; the warm-up is a share of the epochs.

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

    def _make_terms(self) -> list[tuple[float, Term]]:
        return [(self.gamma, Capacity(self.capacity, self.warmup))]
