"""Autoencoders without a prior."""

from typing import Any, final

from skvim._declare import estimator, parameter
from skvim._validation import HasMethods, StrOptions, real
from skvim._without_prior import BaseChainAutoencoder, BaseCodeAutoencoder
from skvim.objectives import Contraction, GaussianPosterior, Posterior, Term

__all__ = [
    "AETransformer",
    "ContractiveAETransformer",
    "DenoisingAETransformer",
    "UncertaintyAETransformer",
]


@final
@estimator
class AETransformer(BaseCodeAutoencoder):
    """Unregularised autoencoder: minimise E[−log p(x|e(x))].

    It has no prior, hence no ``score_samples``, and ``sample`` only with a density of its codes
    (``code_density``).

    See Also
    --------
    DenoisingAETransformer : Reconstructs from corrupted rows.
    VIMAETransformer : Compares the codes of all rows together with a prior.
    VAETransformer : Compares every row's posterior with a prior.

    Notes
    -----
    The first of the models in section IV of the VIMAE paper. The information in codes is not
    bounded.

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
class DenoisingAETransformer(BaseCodeAutoencoder):
    """Denoising autoencoder: minimise E[−log p(x|e(x̃))] over corrupted copies x̃ of x.

    Every batch is corrupted anew; the target of the reconstruction is its clean rows.
    ``transform`` encodes rows without corruption.

    See Also
    --------
    AETransformer : The same with ``noise=None`` by default, a parameter of all models.
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
        kind='{"gaussian", "masking", "swap"} or noise transformer',
        allowed=[StrOptions({"gaussian", "masking", "swap"}), HasMethods("corrupt")],
        doc="""
        The corruption: one of :mod:`skvim.noise` at its default level, or such a transformer,
        whose ``when`` and ``random_state`` are ignored, or any object with a method
        ``corrupt(batch, generator)`` for tensors. Levels are in the units of X.
        """,
    )


@final
@estimator
class ContractiveAETransformer(BaseCodeAutoencoder):
    """Contractive autoencoder: minimise E[−log p(x|e(x))] + λ E‖∂e/∂x‖².

    With ``gamma`` above 0 it is the higher-order form, which adds γ E‖∂e/∂x(x) − ∂e/∂x(x + ε)‖².

    See Also
    --------
    DenoisingAETransformer : Trains on corrupted rows instead of penalising the Jacobian.

    Notes
    -----
    The norm is the Frobenius norm of the whole encoder's Jacobian, with x in units of the data's
    scale. Encoder and decoder do not share weights, so that small codes also make the penalty
    small.

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

    Codes e(x) are standardised over rows, so that the noise bounds their information on a row:
    I(x; z) ≤ k/2 · log(1 + 1/σ²) nats for k latent dimensions. There is no prior; :meth:`sample`
    runs a Markov chain between rows and codes instead.

    See Also
    --------
    VIMAETransformer : Adds a prior, and with it direct samples.

    Notes
    -----
    −E log p(x|z) is, up to the entropy of the data, an upper bound on minus the mutual information
    I(x; z). The published model bounds the scale of e(x) by the norm of its weights only. Without
    a bound, large codes make the noise negligible and the Markov chain diverges from the data: on
    handwritten digits by orders of magnitude within a thousand steps. With standardised codes and
    σ = 0.5 it did not there; this is not guaranteed, and ``sample`` warns where it diverges.

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
