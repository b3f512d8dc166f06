"""Autoencoders that compare the aggregated posterior q(z) with the prior."""

from typing import final

from skvim._declare import estimator, parameter
from skvim._generative import (
    AggregatedDivergence,
    AnnealedRate,
    BaseGenerativeAutoencoder,
    BaseStochasticAutoencoder,
    ContrastiveAgreement,
)
from skvim._validation import StrOptions, real
from skvim.objectives import DiracPosterior, Divergence, Posterior, Term

__all__ = ["AAETransformer", "InfoVAETransformer", "VIMAETransformer", "WAETransformer"]


@final
@estimator
class VIMAETransformer(ContrastiveAgreement, AggregatedDivergence, BaseStochasticAutoencoder):
    """Variational InfoMax autoencoder: minimise E[−log p(x|z)] + λ D(q(z) ‖ p(z)).

    The prior constrains the codes of all rows together, not the information in the code of each
    row. ``prior="normal"`` is the paper's VIMAE-n, ``prior="logistic"`` its VIMAE-l.

    See Also
    --------
    WAETransformer : The same with a deterministic encoder.
    InfoVAETransformer : Weighs rate and divergence.
    VAETransformer : Compares every row's posterior with the prior.

    Notes
    -----
    Equation (5) of the paper with its sign corrected, D by default the squared maximum mean
    discrepancy (12). λ is relative to nats: with a gaussian likelihood of variance v, the paper's
    λ = 10 (relative to 0.05 · SSE) is λ = 100/v.

    With ``agreement`` κ > 0 the objective adds κ times :class:`~skvim.objectives.InfoNCE`, a
    contrastive loss that matches the codes of rows corrupted by ``noise`` with the codes of the
    clean rows.

    References
    ----------
    V. Crescimanna and B. Graham, *The Variational InfoMax AutoEncoder*, 2019, arXiv:1905.10549.

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

    posterior: str | Posterior = parameter(
        default="dirac",
        kind='{"dirac", "gaussian", "logistic"} or Posterior',
        allowed=[StrOptions({"dirac", "gaussian", "logistic"}), Posterior],
        doc="""
        q(z|x): a deterministic encoder, as in the reference setting, N(μ(x), σ(x)²), or the
        logistic density of that mean and standard deviation; or one of :mod:`skvim.objectives`
        with a fixed spread.
        """,
    )

    def _make_terms(self) -> list[tuple[float, Term]]:
        return [(self.lam, self._make_divergence()), *self._make_agreement()]


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

    def _make_terms(self) -> list[tuple[float, Term]]:
        return [(self.lam, self._make_divergence())]


@final
@estimator
class AAETransformer(AggregatedDivergence, BaseGenerativeAutoencoder):
    """Adversarial autoencoder, WAE-GAN: a critic distinguishes codes from draws of the prior.

    Minimise E[−log p(x|e(x))] + λ D(q(z) ‖ p(z)) with D estimated by the critic, which is trained
    together with the model.

    See Also
    --------
    WAETransformer : The same with any divergence, by default without a critic.

    Notes
    -----
    "adversarial" is the non-saturating game on the Jensen–Shannon divergence of the published
    models; "density-ratio" uses the critic's logit, log q(z)/p(z), as an estimate of the
    Kullback–Leibler divergence.

    References
    ----------
    A. Makhzani et al., *Adversarial autoencoders*, 2016, arXiv:1511.05644. I. Tolstikhin et al.,
    *Wasserstein auto-encoders*, 2018, arXiv:1711.01558.

    Examples
    --------
    >>> import numpy as np
    >>> from skvim import AAETransformer
    >>> X = np.random.default_rng(0).normal(size=(64, 6))
    >>> aae = AAETransformer(2, hidden_layer_sizes=(16,), max_epochs=5, random_state=0).fit(X)
    >>> aae.transform(X).shape, "train_adversarial_critic" in aae.history_[-1]
    ((64, 2), True)
    """

    divergence: str | Divergence = parameter(
        default="adversarial",
        kind='{"adversarial", "density-ratio"} or Divergence',
        allowed=[StrOptions({"adversarial", "density-ratio"}), Divergence],
        doc="""
        The divergence that the critic estimates; pass :class:`~skvim.objectives.Adversarial` or
        :class:`~skvim.objectives.DensityRatioKL` for a critic of another size, learning rate or
        penalty, or a divergence of your own with a critic.
        """,
    )

    def _make_posterior(self) -> Posterior:
        return DiracPosterior()

    def _make_terms(self) -> list[tuple[float, Term]]:
        divergence = self._make_divergence()
        if not divergence.adversarial:
            raise ValueError(
                "divergence must have a critic; WAETransformer takes others. "
                f"Got {divergence!r} instead."
            )
        return [(self.lam, divergence)]


@final
@estimator
class InfoVAETransformer(AnnealedRate, AggregatedDivergence, BaseStochasticAutoencoder):
    """InfoVAE: minimise E[−log p(x|z)] + (1 − α) KL(q(z|x) ‖ p(z)) + (α + λ − 1) D(q(z) ‖ p(z)).

    See Also
    --------
    VIMAETransformer : The same at α = 1.
    VAETransformer : The same at α = 0, λ = 1.

    Notes
    -----
    α lowers the penalty on the information between row and code, which is full in the VAE (α = 0)
    and absent in variational InfoMax (α = 1); λ weighs the divergence of all codes together. A term
    of weight 0 is left out, also of the history.

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
        doc="Weight α: 0 penalises information as the VAE does, 1 does not penalise it.",
    )

    def _make_terms(self) -> list[tuple[float, Term]]:
        weight = self.alpha + self.lam - 1
        if weight < 0:
            raise ValueError(
                "lam must be at least 1 - alpha, so that the divergence has no negative weight. "
                f"Got lam={self.lam!r} with alpha={self.alpha!r}."
            )
        terms = [(1 - self.alpha, self._make_rate()), (weight, self._make_divergence())]
        return [(weight, divergence) for weight, divergence in terms if weight > 0]
