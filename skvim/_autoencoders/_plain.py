"""Autoencoders without a prior."""

from typing import Any, final

from skvim._declare import estimator, parameter
from skvim._plain import BaseChainAutoencoder, BasePlainAutoencoder
from skvim._validation import HasMethods, StrOptions, real
from skvim.objectives import Contraction, GaussianPosterior, Posterior, Term

__all__ = [
    "AETransformer",
    "ContractiveAETransformer",
    "DenoisingAETransformer",
    "UncertaintyAETransformer",
]


@final
@estimator
class AETransformer(BasePlainAutoencoder):
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

    References
    ----------
    D. E. Rumelhart, G. E. Hinton and R. J. Williams, *Learning internal representations by error
    propagation*, in Parallel distributed processing, 1986.

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
class DenoisingAETransformer(BasePlainAutoencoder):
    """Denoising autoencoder: minimise E[−log p(x|e(x̃))] over corrupted copies x̃ of x.

    Every batch is corrupted afresh, and its clean rows are the target. ``transform`` encodes rows
    as they are.

    See Also
    --------
    AETransformer : The same with ``noise``, which every model takes, at None.
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


@final
@estimator
class ContractiveAETransformer(BasePlainAutoencoder):
    """Contractive autoencoder: minimise E[−log p(x|e(x))] + λ E‖∂e/∂x‖².

    With ``gamma`` above 0 it is the higher-order form, which adds γ E‖∂e/∂x(x) − ∂e/∂x(x + ε)‖².

    See Also
    --------
    DenoisingAETransformer : Contracts by example, where this one does by derivative.

    Notes
    -----
    The norm is Frobenius', of the whole encoder's Jacobian, with x in units of the data's scale.
    The encoder does not share its weights with the decoder, so that a small penalty may also
    reflect codes of a small scale.

    References
    ----------
    S. Rifai, P. Vincent, X. Muller, X. Glorot and Y. Bengio, *Contractive auto-encoders: Explicit
    invariance during feature extraction*, ICML 2011. S. Rifai et al., *Higher order contractive
    auto-encoder*, ECML 2011.

    Examples
    --------
    >>> import numpy as np
    >>> from skvim import ContractiveAETransformer
    >>> X = np.random.default_rng(0).normal(size=(64, 6))
    >>> cae = ContractiveAETransformer(2, lam=0.1, hidden_layer_sizes=(16,), max_epochs=5)
    >>> cae.set_params(random_state=0).fit(X).transform(X).shape
    (64, 2)
    """

    lam: float = parameter(
        default=0.1,
        kind="float in [0, inf)",
        allowed=[real(0)],
        doc="Weight λ of the squared norm of the encoder's Jacobian.",
    )
    gamma: float = parameter(
        default=0.0,
        kind="float in [0, inf)",
        allowed=[real(0)],
        doc="Weight γ of the Jacobian's squared change over a small step ε; 0 leaves it out.",
    )
    radius: float = parameter(
        default=0.1,
        kind="float in (0, inf)",
        allowed=[real(0, closed="neither")],
        doc="Standard deviation of ε, in units of the data's scale.",
    )

    def _make_terms(self) -> list[tuple[float, Term]]:
        if self.lam == 0 and self.gamma == 0:
            return []
        if self.lam == 0:
            raise ValueError("lam must be positive where gamma is. Got lam=0.")
        return [(self.lam, Contraction(self.gamma / self.lam, self.radius))]


@final
@estimator
class UncertaintyAETransformer(BaseChainAutoencoder):
    """Uncertainty autoencoder: minimise E[−log p(x|z)] over z = e(x) + σ ε, ε ~ N(0, I).

    Codes e(x) are standardised over rows, so that the noise bounds what they can tell of a row:
    I(x; z) ≤ k/2 · log(1 + 1/σ²) nats for k latent dimensions. The objective makes the most of
    that. There is no prior; :meth:`sample` runs a Markov chain between rows and codes instead.

    See Also
    --------
    VIMAETransformer : Adds a prior, and with it direct samples.

    Notes
    -----
    −E log p(x|z) is, up to the entropy of the data, an upper bound on minus the mutual information
    I(x; z). The published model leaves the scale of e(x) to the norm of its weights. Without any
    bound larger codes buy off the noise, and the chain, which then hardly contracts, leaves the
    data: on handwritten digits by orders of magnitude within a thousand steps. With standardised
    codes and σ = 0.5 it stays there; nothing makes sure that it does everywhere, and ``sample``
    warns where it does not.

    References
    ----------
    A. Grover and S. Ermon, *Uncertainty autoencoders: Learning compressed representations via
    variational information maximization*, AISTATS 2019, arXiv:1812.10539.

    Examples
    --------
    >>> import numpy as np
    >>> from skvim import UncertaintyAETransformer
    >>> X = np.random.default_rng(0).normal(size=(64, 6))
    >>> uae = UncertaintyAETransformer(2, hidden_layer_sizes=(16,), max_epochs=5, random_state=0)
    >>> uae.fit(X).sample(3, burn_in=20, random_state=0).shape
    (3, 6)
    """

    scale: float = parameter(
        default=0.5,
        kind="float in (0, inf)",
        allowed=[real(0, closed="neither")],
        doc="Standard deviation σ of the noise on codes, whose own is 1.",
    )

    _unit_codes = True

    def _make_posterior(self) -> Posterior:
        return GaussianPosterior(self.scale)
