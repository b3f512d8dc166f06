"""Priors from ``torch.distributions``."""

import copy
import copyreg
import io
import math
import pickle
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property, wraps
from typing import Any, ParamSpec, TypeVar, final

import torch
from torch import Tensor
from torch.distributions import Distribution, Independent, StudentT, Transform

from skvim.objectives._priors import Logistic, Normal, Prior
from skvim.objectives._quantiles import LEAST, draw_student, integrate, quantile, support
from skvim.objectives._support import is_unbounded

__all__ = ["Factorised", "make_prior"]

_CPU = torch.device("cpu")

_P = ParamSpec("_P")
_T = TypeVar("_T")


def _apart(method: Callable[_P, _T]) -> Callable[_P, _T]:
    """Let a method run in a thread of its own.

    torch marks every tensor that is made inside ``torch.func.grad`` or ``torch.inference_mode``
    for use inside alone, but what is kept has to serve anywhere. Both end at the thread.
    """

    @wraps(method)
    def run(*args: _P.args, **kwargs: _P.kwargs) -> _T:
        with ThreadPoolExecutor(1) as pool:
            return pool.submit(method, *args, **kwargs).result()

    return run


@final
class Factorised(Prior):
    """Any continuous distribution of ``torch.distributions`` with independent dimensions.

    An estimator's ``prior`` takes the distribution itself; this class is what becomes of it.

    Parameters
    ----------
    distribution : torch.distributions.Distribution
        Of batch shape () for all latent dimensions alike or (n_components,) for one each, and of
        event shape (); or ``Independent(base, 1)`` of the latter. It needs a finite variance, and a
        method ``icdf`` or ``cdf`` to draw from, Student's t apart. It is not changed.

    Notes
    -----
    Draws are quantiles of uniform numbers in float64, found by bisection where there is ``cdf``
    alone; those of Student's t are ε/√(χ²/ν). ``variance`` and ``entropy`` are torch's where it
    has them, otherwise integrals, right to about 1e-6 unless the tails are power laws or the
    density jumps within its support. The mean need not be zero.

    Examples
    --------
    >>> import torch
    >>> from skvim.objectives import Factorised
    >>> prior = Factorised(torch.distributions.Laplace(0.0, 1.0))
    >>> prior.variance, round(prior.entropy, 3)
    (2.0, 1.693)
    >>> prior.log_density(torch.tensor([[0.0, 1.0]]))
    tensor([[-0.6931, -1.6931]])
    """

    def __init__(self, distribution: Distribution) -> None:
        self.distribution = distribution

    @cached_property
    @_apart
    def variance(self) -> float:
        """Variance of one dimension; their mean where dimensions differ."""
        return float(self.variances.mean())

    @cached_property
    @_apart
    def entropy(self) -> float:
        """Differential entropy of one dimension in nats; their mean where dimensions differ."""
        distribution = self._working
        try:
            return float(distribution.entropy().mean())
        except NotImplementedError:
            density = distribution.log_prob
            return float(integrate(distribution, self.support, lambda z: -density(z)).mean())

    @cached_property
    @_apart
    def variances(self) -> Tensor:
        """Variance of every dimension: shape () or (n_components,)."""
        distribution = self._working
        try:
            return distribution.variance
        except NotImplementedError:
            mean = integrate(distribution, self.support, lambda z: z)
            return integrate(distribution, self.support, lambda z: (z - mean).square())

    @cached_property
    @_apart
    def centre(self) -> Tensor:
        """Median of every dimension: shape () or (n_components,)."""
        distribution = self._working
        if isinstance(distribution, StudentT):
            return distribution.loc
        half = torch.full(distribution.batch_shape, 0.5, dtype=torch.float64)
        return quantile(distribution, self.support, half)

    @cached_property
    @_apart
    def support(self) -> tuple[Tensor, Tensor]:
        """Lower and upper bound of every dimension: shapes () or (n_components,)."""
        return support(self._working)

    @property
    def n_components(self) -> int | None:
        """The number of dimensions if it has one distribution each, else None."""
        shape = self._working.batch_shape
        return shape[0] if shape else None

    def check(self) -> None:
        """Raise ``TypeError`` or ``ValueError`` for a distribution that is no such prior."""
        if not isinstance(self.distribution, Distribution):
            raise TypeError(
                "Factorised takes a torch.distributions.Distribution. "
                f"Got {self.distribution!r} instead."
            )
        distribution = self._working
        if distribution.event_shape or len(distribution.batch_shape) > 1:
            raise self._refusal(
                "must have independent dimensions: batch shape () or (n_components,) and event "
                f"shape (), or Independent(base, 1) of such. It has {self.distribution.batch_shape}"
                f" and {self.distribution.event_shape}"
            )
        if _is_discrete(distribution):
            raise self._refusal("must be continuous: codes are real numbers")
        self._check_methods(distribution)
        for name, values in (("variance", self.variances), ("entropy", self.entropy)):
            figures = torch.as_tensor(values)
            positive = name == "entropy" or bool((figures > 0).all())
            if not positive or not figures.isfinite().all():
                raise self._refusal(
                    f"must have a finite {name}, which sets the scale of codes. It is {values}"
                )

    def log_density(self, z: Tensor) -> Tensor:
        """Return log p of every entry, −∞ outside the support: the shape of ``z``."""
        distribution = self._on(z.dtype, z.device)
        if self._unbounded:
            return distribution.log_prob(z)
        low, high, centre = (value.to(z) for value in (*self.support, self.centre))
        # torch's own densities do not all end at the bounds.
        inside = (z >= low) & (z <= high)
        density = distribution.log_prob(torch.where(inside, z, centre))
        return torch.where(inside, density, -math.inf)

    def draw(
        self, shape: tuple[int, ...], generator: torch.Generator, dtype: torch.dtype
    ) -> Tensor:
        """Draw independent entries, (..., n_components), on the device of ``generator``."""
        distribution = self._on(torch.float64, generator.device)
        if isinstance(distribution, StudentT):
            return draw_student(distribution, shape, generator).to(dtype)
        options: dict[str, Any] = {"dtype": torch.float64, "device": generator.device}
        u = torch.rand(shape, generator=generator, **options)
        return quantile(distribution, self.support, u.clamp(min=LEAST)).to(dtype)

    def __repr__(self) -> str:
        """Show the distribution."""
        return f"Factorised({self.distribution!r})"

    def __getstate__(self) -> dict[str, Any]:
        return {"distribution": _packed(self.distribution)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.distribution = pickle.loads(state["distribution"])

    @property
    def _working(self) -> Distribution:
        """The distribution as figures are computed from it."""
        return self._on(torch.float64, _CPU)

    @cached_property
    @_apart
    def _unbounded(self) -> bool:
        """Whether the support is the real line in every dimension."""
        return is_unbounded(self)

    @cached_property
    def _converted(self) -> dict[tuple[torch.dtype, torch.device], Distribution]:
        """Copies of the distribution, kept while this object lives and never pickled."""
        return {}

    def _on(self, dtype: torch.dtype, device: torch.device) -> Distribution:
        """Return a copy with parameters of that dtype and device, which checks no arguments."""
        if (dtype, device) not in self._converted:
            self._converted[dtype, device] = self._copied(dtype, device)
        return self._converted[dtype, device]

    @_apart
    def _copied(self, dtype: torch.dtype, device: torch.device) -> Distribution:
        """Return a new such copy, without the declaration that dimensions are independent."""
        made: Distribution = pickle.loads(_packed(self.distribution))
        while isinstance(made, Independent) and len(made.event_shape) < 2:
            made = made.base_dist
        _convert(made, dtype, device, set())
        return made

    def _check_methods(self, distribution: Distribution) -> None:
        """Raise ``ValueError`` unless there is a density, and a way to draw."""
        try:
            distribution.log_prob(self.centre)
        except NotImplementedError as error:
            raise self._refusal(
                "must have a method log_prob, and icdf or cdf to draw from with a generator of its "
                "own. Subclass skvim.objectives.Prior for one that has not"
            ) from error

    def _refusal(self, reason: str) -> ValueError:
        """Return the error that says what the distribution lacks."""
        return ValueError(f"The prior {self.distribution!r} {reason}.")


def make_prior(prior: "str | Prior | Distribution", n_components: int | None = None) -> Prior:
    """Return the prior that a name or a distribution stands for, or a copy of the given object.

    Parameters
    ----------
    prior : {"normal", "logistic"}, Prior or torch.distributions.Distribution
        Value of an estimator's ``prior`` parameter, already known to be one of these.
    n_components : int or None, default=None
        Latent dimensions that it has to fit; None asks nothing.

    Returns
    -------
    Prior
        Checked: its settings are in range.

    Raises
    ------
    ValueError
        When a setting is out of range, or a distribution is not a prior of that many independent
        dimensions.
    """
    known: dict[str, type[Normal] | type[Logistic]] = {"normal": Normal, "logistic": Logistic}
    if isinstance(prior, str):
        return known[prior]()
    made = copy.deepcopy(Factorised(prior) if isinstance(prior, Distribution) else prior)
    made.check()
    if n_components is not None and made.n_components not in (None, n_components):
        raise ValueError(
            f"The prior {prior!r} has {made.n_components} dimensions, but n_components is "
            f"{n_components}. Give one distribution for all dimensions, or one for each."
        )
    return made


def _is_discrete(distribution: Distribution) -> bool:
    """Tell whether it has a mass function instead of a density."""
    try:
        return bool(distribution.support.is_discrete)  # type: ignore[union-attr]
    except NotImplementedError:
        return False


@final
class _Pickler(pickle.Pickler):
    """One that keeps what the inverse of a transform inverts, which torch's own state drops.

    Tensors become constants on the CPU, so that the result opens anywhere.
    """

    def reducer_override(self, value: Any) -> Any:
        """Return how to rebuild a tensor or a transform (pickle's hook)."""
        if isinstance(value, Tensor):
            constant: Any = value.detach().cpu()
            return constant.__reduce_ex__(pickle.HIGHEST_PROTOCOL)
        if not isinstance(value, Transform):
            return NotImplemented
        # Results and inverses that were kept for speed stay behind.
        state = vars(value) | {"_cache_size": 0, "_cached_x_y": (None, None)}
        if not isinstance(state["_inv"], Transform):
            state["_inv"] = None
        return copyreg.__newobj__, (type(value),), state  # type: ignore[attr-defined]


def _packed(value: Any) -> bytes:
    """Return a distribution as bytes."""
    buffer = io.BytesIO()
    _Pickler(buffer, protocol=pickle.HIGHEST_PROTOCOL).dump(value)
    return buffer.getvalue()


def _convert(node: Any, dtype: torch.dtype, device: torch.device, seen: set[int]) -> None:
    """Change the tensors that a distribution is made of, and let it check none, in place."""
    if id(node) in seen or not isinstance(node, Distribution | Transform | list | dict):
        return
    seen.add(id(node))
    if isinstance(node, Transform) and node.inv is None:
        raise ValueError(
            "The prior has a transform that torch has lost the inverse of, as it does in a copy. "
            "Pass skvim.objectives.Factorised(distribution), which can be copied."
        )
    items: Any = node if isinstance(node, list | dict) else vars(node)
    if isinstance(node, Distribution):
        items["_validate_args"] = False
    for key, value in enumerate(items) if isinstance(items, list) else list(items.items()):
        if isinstance(value, Tensor):
            real = value.is_floating_point()
            items[key] = value.detach().to(device, dtype if real else value.dtype)
        else:
            _convert(value, dtype, device, seen)
