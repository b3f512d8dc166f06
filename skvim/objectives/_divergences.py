"""Divergences: the terms that an objective adds to −log p(x|z)."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from typing import ClassVar, final

import torch
from torch import Tensor, nn

from skvim.objectives._kl import logistic_kl, normal_kl, quadrature_kl
from skvim.objectives._mmd import imq_kernel, rbf_kernel, unbiased_mmd
from skvim.objectives._numbers import is_real
from skvim.objectives._posteriors import Moments, Posterior
from skvim.objectives._priors import Logistic, Normal, Prior

__all__ = ["KL", "MMD", "Capacity", "Divergence"]

_KERNELS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"imq": imq_kernel, "rbf": rbf_kernel}


class Divergence(nn.Module, ABC):
    """A divergence from the prior, estimated on a batch.

    ``name`` is its key in the history; unless a subclass gives one, it is that of the class.
    """

    name: ClassVar[str]
    #: Rows that a batch needs for the estimate to exist.
    min_rows: ClassVar[int] = 1
    #: Share of the training that is done; the objective keeps it up to date.
    progress: float = 1.0

    def __init_subclass__(cls) -> None:
        """Name the class."""
        super().__init_subclass__()
        if "name" not in vars(cls):
            cls.name = cls.__name__.lower()

    @abstractmethod
    def check(self, posterior: Posterior) -> None:
        """Raise ``ValueError`` when settings or posterior do not fit; called by ``fit``."""

    @abstractmethod
    def forward(self, q: Moments, z: Tensor, prior: Prior, generator: torch.Generator) -> Tensor:
        """Return the divergence, a scalar.

        Parameters
        ----------
        q : Moments
            Posterior of every row of the batch.
        z : Tensor of shape (n_samples, n_components)
            One draw from each.
        prior : Prior
            What to diverge from.
        generator : torch.Generator
            Source of every random number used.
        """


@final
class KL(Divergence):
    """The rate E KL(q(z|x) ‖ p(z)) in nats, summed over latent dimensions, averaged over rows.

    In closed form for a normal prior, by quadrature to 1e-6 for a logistic one, and by 64 nodes
    of Gauss–Hermite quadrature for any other.

    Examples
    --------
    >>> import torch
    >>> from skvim.objectives import KL, Moments, Normal
    >>> q = Moments(loc=torch.ones(1, 2), scale=torch.ones(1, 2))
    >>> KL()(q, q.loc, Normal(), torch.Generator())  # ½ per dimension
    tensor(1.)
    """

    name = "kl"

    def check(self, posterior: Posterior) -> None:
        """Raise ``ValueError`` for a point mass, whose KL is infinite."""
        if not posterior.stochastic:
            raise ValueError(
                "The divergence KL(q(z|x) ‖ p(z)) needs a posterior with a spread, as "
                f"posterior='gaussian'. Got {type(posterior).__name__} instead, for which it is "
                "infinite."
            )

    def forward(
        self,
        q: Moments,
        z: Tensor,
        prior: Prior,
        generator: torch.Generator,
    ) -> Tensor:
        """Return the mean KL over the batch."""
        loc, scale = q
        if scale is None:
            raise ValueError("KL is infinite for a posterior without a spread.")
        if isinstance(prior, Normal):
            kl = normal_kl(loc, scale, prior.scale)  # (n, k)
        elif isinstance(prior, Logistic):
            kl = logistic_kl(loc, scale, prior.scale)
        else:
            kl = quadrature_kl(loc, scale, prior.log_density)
        return kl.sum(-1).mean()


@final
class Capacity(Divergence):
    """abs(R − C), the distance of the rate R = E KL(q(z|x) ‖ p(z)) from a capacity, in nats.

    Parameters
    ----------
    capacity : float in [0, inf)
        C at the end, in nats per row.
    warmup : float in [0, 1], default=0.5
        Share of the training in which C rises linearly from 0.

    References
    ----------
    C. P. Burgess et al., *Understanding disentangling in β-VAE*, 2018, arXiv:1804.03599.

    Examples
    --------
    >>> import torch
    >>> from skvim.objectives import Capacity, Moments, Normal
    >>> q = Moments(loc=torch.ones(1, 2), scale=torch.ones(1, 2))  # a rate of 1 nat
    >>> Capacity(3.0)(q, q.loc, Normal(), torch.Generator())
    tensor(2.)
    """

    name = "capacity"

    def __init__(self, capacity: float, warmup: float = 0.5) -> None:
        super().__init__()
        self.capacity = capacity
        self.warmup = warmup
        self.rate = KL()

    def check(self, posterior: Posterior) -> None:
        """Raise ``ValueError`` for a point mass or settings out of range."""
        self.rate.check(posterior)
        if not is_real(self.capacity) or not 0 <= self.capacity < math.inf:
            raise ValueError(
                f"The capacity must be a finite number from 0 on. Got {self.capacity!r}."
            )
        if not is_real(self.warmup) or not 0 <= self.warmup <= 1:
            raise ValueError(f"The warmup must be a number in [0, 1]. Got {self.warmup!r}.")

    def forward(self, q: Moments, z: Tensor, prior: Prior, generator: torch.Generator) -> Tensor:
        """Return the distance from what the capacity is by now."""
        share = min(1.0, self.progress / self.warmup) if self.warmup > 0 else 1.0
        rate: Tensor = self.rate(q, z, prior, generator)
        return (rate - share * float(self.capacity)).abs()

    def extra_repr(self) -> str:
        """Show the settings (torch's hook)."""
        return f"capacity={self.capacity!r}, warmup={self.warmup!r}"


@final
class MMD(Divergence):
    """Squared maximum mean discrepancy between q(z) and p(z), unbiased, over several widths.

    Parameters
    ----------
    kernel : {"imq", "rbf"}, default="imq"
        Inverse multiquadratic w/(w + d²), or gaussian exp(−d²/w).
    widths : tuple of float, default=(0.1, 0.2, 0.5, 1, 2, 5, 10)
        Kernel widths w in units of 2 k σ_p², the mean squared distance of two prior draws in k
        dimensions: they follow the prior's variance. Kernels are summed, not averaged.

    Notes
    -----
    MMD² = E k(z, z′) + E k(y, y′) − 2 E k(z, y), z ~ q(z), y ~ p(z), without the diagonal terms.

    References
    ----------
    I. Tolstikhin et al., *Wasserstein auto-encoders*, 2018, arXiv:1711.01558 (kernel and widths).

    Examples
    --------
    >>> import torch
    >>> from skvim.objectives import MMD, Moments, Normal
    >>> generator = torch.Generator().manual_seed(0)
    >>> z = torch.randn(500, 2, generator=generator)
    >>> same = MMD()(Moments(z, None), z, Normal(), generator)
    >>> far = MMD()(Moments(3 * z, None), 3 * z, Normal(), generator)
    >>> bool(same.abs() < 0.02), bool(far > 0.5)
    (True, True)
    """

    name = "mmd"
    min_rows = 2

    def __init__(
        self,
        kernel: str = "imq",
        widths: tuple[float, ...] = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0),
    ) -> None:
        super().__init__()
        self.kernel = kernel
        self.widths = widths

    def check(self, posterior: Posterior) -> None:
        """Raise ``ValueError`` for an unknown kernel or a width that is not positive."""
        if not isinstance(self.kernel, str) or self.kernel not in _KERNELS:
            raise ValueError(f"The kernel of MMD must be 'imq' or 'rbf'. Got {self.kernel!r}.")
        widths = list(self.widths) if isinstance(self.widths, Iterable) else []
        if not widths or not all(is_real(w) and 0 < w < math.inf for w in widths):
            raise ValueError(
                f"The widths of MMD must be positive finite numbers. Got {self.widths!r}."
            )

    def forward(self, q: Moments, z: Tensor, prior: Prior, generator: torch.Generator) -> Tensor:
        """Return the squared discrepancy to as many draws of the prior."""
        draws = prior.draw(tuple(z.shape), generator, z.dtype)
        unit = 2 * z.shape[1] * prior.variance
        widths = z.new_tensor([float(width) for width in self.widths]) * unit
        kernel = _KERNELS[self.kernel]
        return unbiased_mmd(z, draws, lambda distances: kernel(distances, widths))

    def extra_repr(self) -> str:
        """Show the settings (torch's hook)."""
        return f"kernel={self.kernel!r}, widths={self.widths!r}"
