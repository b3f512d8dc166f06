"""Divergences that a critic estimates, a network trained against the encoder."""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import final

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional

from skvim._plain_numbers import is_real
from skvim.networks import MLP, Perceptrons
from skvim.objectives._posteriors import Moments, Posterior
from skvim.objectives._priors import Prior
from skvim.objectives._support import is_unbounded
from skvim.objectives._terms import Divergence

__all__ = ["Adversarial", "DensityRatioKL"]


class _CriticDivergence(Divergence, ABC):
    """A divergence read from a critic's logit T(z), which estimates log q(z)/p(z)."""

    adversarial = True
    should_decrease = True

    def __init__(
        self,
        hidden_layer_sizes: Sequence[int] = (256, 256),
        lr: float | None = None,
        penalty: float = 3.0,
        prior_trick: bool = False,
    ) -> None:
        self.hidden_layer_sizes = hidden_layer_sizes
        self.lr = lr
        self.penalty = penalty
        self.prior_trick = prior_trick

    @final
    def check(self, posterior: Posterior, prior: Prior | None) -> None:
        """Raise ``ValueError`` for settings out of range, or a trick that the prior forbids."""
        name, sizes = type(self).__name__, self.hidden_layer_sizes
        if not isinstance(sizes, Sequence) or isinstance(sizes, str):
            raise ValueError(
                f"The hidden_layer_sizes of {name} must be a sequence of integers. Got {sizes!r}."
            )
        Perceptrons(tuple(sizes)).check((1,))
        if self.lr is not None and not (is_real(self.lr) and 0 < self.lr < math.inf):
            raise ValueError(
                f"The lr of {name} must be None or a positive finite number. Got {self.lr!r}."
            )
        if not (is_real(self.penalty) and 0 <= self.penalty < math.inf):
            raise ValueError(
                f"The penalty of {name} must be a finite number from 0 on. Got {self.penalty!r}."
            )
        if not isinstance(self.prior_trick, bool):
            raise ValueError(
                f"The prior_trick of {name} must be True or False. Got {self.prior_trick!r}."
            )
        if self.prior_trick and prior is not None and not is_unbounded(prior):
            raise ValueError(
                f"The prior_trick of {name} needs a prior without bounds, as codes may lie beyond "
                f"them, where log p(z) is infinite. Got {prior!r}."
            )

    @final
    def build(self, n_components: int, generator: torch.Generator) -> nn.Module:
        """Return a critic with initial weights."""
        hidden = tuple(self.hidden_layer_sizes)
        return MLP(n_components, hidden, 1, activation="relu", generator=generator)

    @abstractmethod
    def divergence(self, logits: Tensor) -> Tensor:
        """Return the estimate, a scalar, from the critic's logits of codes."""

    def forward(self, q: Moments, z: Tensor, prior: Prior, generator: torch.Generator) -> Tensor:
        """Return the estimate, without a gradient in the critic."""
        return self.divergence(self._logits(z, prior, frozen=True))

    @final
    def critic_loss(self, z: Tensor, prior: Prior, generator: torch.Generator) -> Tensor:
        """Return the critic's mean cross-entropy in nats, log 2 where q(z) = p(z).

        Its gradient includes that of the penalty; the codes get none.
        """
        draws = prior.draw(tuple(z.shape), generator, z.dtype)
        points = torch.cat([z.detach(), draws])
        penalised = self.penalty > 0 and torch.is_grad_enabled()
        logits = self._logits(points.requires_grad_(penalised), prior)
        codes, drawn = logits.chunk(2)
        loss = 0.5 * (functional.softplus(-codes).mean() + functional.softplus(drawn).mean())
        if not penalised:
            return loss
        (slope,) = torch.autograd.grad(logits.sum(), points, create_graph=True)
        _, scale = _location_and_scale(prior, points)
        penalty = 0.5 * self.penalty * (scale * slope).square().sum(-1).mean()
        # The history shows the cross-entropy alone.
        return loss + (penalty - penalty.detach())

    def _logits(self, z: Tensor, prior: Prior, *, frozen: bool = False) -> Tensor:
        """Return T(z) of shape (n,), without a gradient in the critic if frozen."""
        critic = self.critic
        if critic is None:
            raise ValueError(
                f"{type(self).__name__} needs a critic. Call a copy of it with one: "
                "divergence.bound(critic=divergence.build(n_components, generator))."
            )
        named = critic.named_parameters()
        weights = {name: weight.detach() if frozen else weight for name, weight in named}
        centre, scale = _location_and_scale(prior, z)
        logits: Tensor = functional_call(critic, weights, ((z - centre) / scale,)).squeeze(-1)
        if self.prior_trick:
            # Without the entropy T would start tens of nats from 0, which the last bias would have
            # to learn.
            logits = logits - (prior.log_density(z) + prior.entropy).sum(-1)
        return logits


def _location_and_scale(prior: Prior, like: Tensor) -> tuple[Tensor | float, Tensor | float]:
    """Return the prior's centre and standard deviation: numbers, or one for each dimension."""
    centre, scale = prior.centre, prior.variances**0.5
    return (
        centre.to(like) if isinstance(centre, Tensor) else centre,
        scale.to(like) if isinstance(scale, Tensor) else scale,
    )


@final
class Adversarial(_CriticDivergence):
    """The non-saturating adversarial divergence of AAE and WAE-GAN, estimated by a critic.

    Parameters
    ----------
    hidden_layer_sizes : sequence of int, default=(256, 256)
        Widths of the critic's hidden layers, with ReLU between them. Its input are codes minus the
        prior's centre, divided by its standard deviation σ_p.
    lr : float in (0, inf) or None, default=None
        Learning rate of the critic; None takes the model's.
    penalty : float in [0, inf), default=3.0
        Weight γ of ½ σ_p² E‖∇T(z)‖² in the critic's loss, half over codes and half over draws of
        the prior.
    prior_trick : bool, default=False
        Whether −log p(z) is added to the network's output, so that it only has to learn log q(z);
        for priors without bounds.

    Notes
    -----
    E_q log(1 + exp T) − log 2 in nats, T the critic's logit. At the optimal critic, T = log q/p,
    this is KL(q ‖ p) − KL(q ‖ ½ (q + p)): never negative, and 0 where q(z) = p(z) only. Its
    gradient, with T constant, is that of KL(q ‖ p) − 2 JS(q, p).

    The penalty stabilises the training of encoder and critic. It does not move the optimum,
    q(z) = p(z) with T = 0; elsewhere it makes T much flatter than log q/p, and the estimate much
    too small: 0.02 for N(0, 4) against N(0, 1), where 0.74 is right. Compare values between epochs;
    to measure the divergence, use ``penalty=0``.

    The history also holds the critic's own loss without the penalty, ``adversarial_critic``: its
    mean cross-entropy, log 2 minus a lower bound on the Jensen–Shannon divergence JS(q, p).

    References
    ----------
    I. Goodfellow et al., *Generative adversarial nets*, 2014, arXiv:1406.2661. A. Makhzani et al.,
    *Adversarial autoencoders*, 2016, arXiv:1511.05644. M. Arjovsky and L. Bottou, *Towards
    principled methods for training generative adversarial networks*, 2017, arXiv:1701.04862 (the
    gradient). L. Mescheder, A. Geiger and S. Nowozin, *Which training methods for GANs do actually
    converge?*, 2018, arXiv:1801.04406 (the penalty).

    Examples
    --------
    >>> import torch
    >>> from skvim.objectives import Adversarial, Moments, Normal
    >>> generator = torch.Generator().manual_seed(0)
    >>> z = torch.randn(100, 2, generator=generator)
    >>> divergence = Adversarial(hidden_layer_sizes=(8,))
    >>> divergence = divergence.bound(critic=divergence.build(2, generator))
    >>> divergence(Moments(z, None), z, Normal(), generator).shape
    torch.Size([])
    >>> divergence.critic_loss(z, Normal(), generator) > 0.5  # about log 2
    tensor(True)
    """

    name = "adversarial"

    def divergence(self, logits: Tensor) -> Tensor:
        """Return E log(1 + exp T) − log 2."""
        return functional.softplus(logits).mean() - math.log(2)


@final
class DensityRatioKL(_CriticDivergence):
    """KL(q(z) ‖ p(z)) by a density ratio that a critic estimates, for any posterior.

    Parameters
    ----------
    hidden_layer_sizes : sequence of int, default=(256, 256)
        Widths of the critic's hidden layers, with ReLU between them. Its input are codes minus the
        prior's centre, divided by its standard deviation σ_p.
    lr : float in (0, inf) or None, default=None
        Learning rate of the critic; None takes the model's.
    penalty : float in [0, inf), default=3.0
        Weight γ of ½ σ_p² E‖∇T(z)‖² in the critic's loss, half over codes and half over draws of
        the prior.
    prior_trick : bool, default=False
        Whether −log p(z) is added to the network's output, so that it only has to learn log q(z);
        for priors without bounds.

    Notes
    -----
    E_q T(z), in nats, T the critic's logit: exact at the optimal critic, T = log q/p, and so is its
    gradient. Before the critic has converged, the estimate may have either sign.

    The penalty stabilises the training of encoder and critic. It does not move the optimum,
    q(z) = p(z) with T = 0; elsewhere it makes T much flatter than log q/p, and the estimate much
    too small: 0.03 for N(0, 4) against N(0, 1), where 0.81 is right. Compare values between epochs;
    to measure the divergence, use ``penalty=0``. ``density_ratio_critic`` in the history is the
    critic's mean cross-entropy without the penalty, log 2 at the optimum.

    References
    ----------
    M. Sugiyama, T. Suzuki and T. Kanamori, *Density ratio estimation in machine learning*, 2012.
    L. Mescheder, A. Geiger and S. Nowozin, *Which training methods for GANs do actually converge?*,
    2018, arXiv:1801.04406 (the penalty).

    Examples
    --------
    >>> import torch
    >>> from skvim.objectives import DensityRatioKL, Moments, Normal
    >>> generator = torch.Generator().manual_seed(0)
    >>> divergence = DensityRatioKL(hidden_layer_sizes=(16,), penalty=0)
    >>> divergence = divergence.bound(critic=divergence.build(1, generator))
    >>> optimizer = torch.optim.Adam(divergence.critic.parameters(), lr=0.01)
    >>> for _ in range(300):
    ...     z = 2 * torch.randn(200, 1, generator=generator)
    ...     optimizer.zero_grad()
    ...     divergence.critic_loss(z, Normal(), generator).backward()
    ...     _ = optimizer.step()
    >>> value = divergence(Moments(z, None), z, Normal(), generator)
    >>> bool(0.5 < value < 1.1)  # KL(N(0, 4) ‖ N(0, 1)) is 0.81
    True
    """

    name = "density_ratio"

    def divergence(self, logits: Tensor) -> Tensor:
        """Return E T."""
        return logits.mean()
