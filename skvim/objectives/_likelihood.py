"""The base of likelihoods p(x|z), and the module that holds one in a model."""

import math
from abc import ABC, abstractmethod
from typing import ClassVar, NamedTuple, final

import torch
from torch import Tensor, nn

from skvim.objectives._settings import Settings

__all__ = ["DataStatistics", "Likelihood", "LikelihoodModule"]


class DataStatistics(NamedTuple):
    """Statistics of the training rows, which ``fit`` measures before training.

    Attributes
    ----------
    mean : Tensor of shape (n_features,)
        Mean of every feature.
    scale : float
        Root of the features' mean variance; 1 for constant data.
    low, high : float
        Smallest and largest value.
    n_rows : int
        Number of rows.
    observed : Tensor of shape (n_features,) or None
        Share of the rows in which every feature is observed; None where all are.
    """

    mean: Tensor
    scale: float
    low: float
    high: float
    n_rows: int
    observed: Tensor | None = None


class Likelihood(Settings, ABC):
    """A density over the features of a row given the decoder's output.

    Subclass it to bring your own: the abstract methods are enough for one without state. One that
    learns, as :class:`Gaussian` does its variance, returns tensors from :meth:`start` and updates
    them in :meth:`observe` and :meth:`settle`. In all methods but :meth:`check`, :meth:`start` and
    :meth:`output_affine` these tensors are attributes of ``self``, beside ``n_rows``, the number
    of training rows.

    Called with rows and outputs it returns their log-density as it is before any training, on data
    of mean 0 and scale 1.
    """

    #: Smallest and largest value that the density is defined for.
    support: ClassVar[tuple[float, float]] = (-math.inf, math.inf)
    #: Whether features may be missing, NaN; the log-density is then that of the others.
    takes_missing: ClassVar[bool] = False

    @abstractmethod
    def check(self) -> None:
        """Raise ``ValueError`` when a setting is out of range; called by ``fit``."""

    @abstractmethod
    def output_affine(self, data: DataStatistics) -> tuple[Tensor, float]:
        """Return offset (n_features,) and scale of the decoder's output that suit the data."""

    @abstractmethod
    def error(self, x: Tensor, output: Tensor) -> Tensor:
        """Return what the log-density depends on: (n_samples,), or some numbers a row."""

    @abstractmethod
    def log_density(self, error: Tensor, n_features: int) -> Tensor:
        """Return the log-density of rows with these errors, in nats, of shape (n_samples,)."""

    @abstractmethod
    def mean(self, output: Tensor) -> Tensor:
        """Return E[x|z], of the output's shape."""

    @abstractmethod
    def precision(self, output: Tensor) -> Tensor:
        """Return the Fisher information of each output, of the output's shape."""

    @abstractmethod
    def draw(self, output: Tensor, generator: torch.Generator) -> Tensor:
        """Draw x ~ p(x|z), of the rows' shape."""

    def input_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return the shape of what the encoder sees of rows of a shape (hook; the same)."""
        return shape

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return the shape of the decoder's output for rows of a shape (hook; the same)."""
        return shape

    def inputs(self, x: Tensor) -> Tensor:
        """Return what the encoder sees of rows, before it is standardised (hook; ``x``)."""
        return x

    def input_affine(self, data: DataStatistics) -> tuple[Tensor, float]:
        """Return offset and scale by which the encoder's input is standardised (hook)."""
        return data.mean, data.scale

    def information(self, x: Tensor, output: Tensor, jacobian: Tensor) -> tuple[Tensor, Tensor]:
        """Return a matrix and a diagonal whose product J D Jᵀ is the information on codes (hook).

        Parameters
        ----------
        x : Tensor of shape (..., n_features)
            Rows, of which features may be missing.
        output : Tensor of shape (..., n_outputs)
            The decoder's output.
        jacobian : Tensor of shape (..., n_components, n_outputs)
            Its derivative by codes, transposed.

        Returns
        -------
        matrix, diagonal : Tensor of shape (..., n_components, n_outputs), (..., n_outputs)
            By default the Jacobian and :meth:`precision`, for outputs without information on each
            other.
        """
        return jacobian, self.precision(output)

    def evaluate(self, x: Tensor, output: Tensor) -> Tensor:
        """Return the log-density of rows after training, where values may decide on the way (hook).

        Parameters
        ----------
        x : Tensor of shape (..., n_features)
            Rows, of which features may be missing.
        output : Tensor of shape (..., n_outputs)
            The decoder's output, with leading axes that those of ``x`` are broadcast to.

        Returns
        -------
        Tensor of shape (...)
            In nats; by default :meth:`log_density` of :meth:`error`, which captured steps of
            training use.
        """
        return self.log_density(self.error(x, output), x.shape[-1])

    @property
    def learns(self) -> bool:
        """Whether :meth:`observe` and :meth:`settle` update the state (hook)."""
        return False

    @property
    def least_observed(self) -> float:
        """Share of rows in which the feature that is missing most is observed (hook; 1)."""
        return 1.0

    def start(self, data: DataStatistics) -> dict[str, Tensor]:
        """Return the state before training by name: tensors like ``data.mean`` (hook)."""
        return {}

    def observe(self, error: Tensor, n_features: int) -> None:
        """Update the state by the errors of a training batch (hook)."""

    def settle(self, error: Tensor, n_features: int) -> None:
        """Set the state to its optimum for these errors, after training (hook)."""

    @final
    def check_support(self, low: float, high: float) -> None:
        """Raise ``ValueError`` when values from ``low`` to ``high`` leave the support."""
        least, greatest = self.support
        if low < least or high > greatest:
            raise ValueError(
                f"The likelihood {type(self).__name__} expects every value of X in "
                f"[{least:g}, {greatest:g}]. Got values from {low:g} to {high:g}. Rescale X, for "
                "example with MinMaxScaler, or use likelihood='gaussian'."
            )

    @final
    def __call__(self, x: Tensor, output: Tensor) -> Tensor:
        """Return log p(x|z) of every row before any training, of shape (n_samples,)."""
        module = LikelihoodModule(self).eval()
        n_features = x.shape[-1]
        module.prepare(DataStatistics(x.new_zeros(n_features), 1.0, 0.0, 0.0, len(x)))
        log_density: Tensor = module(x, output)
        return log_density


@final
class LikelihoodModule(nn.Module):
    """A likelihood in a model: settings and, as buffers, the state that training updates.

    Called with rows and outputs it returns log p(x|z) of every row in nats, summed over features,
    of shape (n_samples,). In training mode the likelihood observes the errors first.

    Parameters
    ----------
    settings : Likelihood
        Not changed.

    Attributes
    ----------
    n_rows : float
        Number of training rows; a tensor of shape () while many models are traced as one.
    """

    def __init__(self, settings: Likelihood) -> None:
        super().__init__()
        self.settings = settings
        self.n_rows: float = math.inf

    @property
    def variable(self) -> tuple[str, ...]:
        """Attributes in which models that train together may differ."""
        return ("n_rows",) if self.settings.learns else ()

    @property
    def learns(self) -> bool:
        """Whether training updates the state."""
        return self.settings.learns

    def prepare(self, data: DataStatistics) -> None:
        """Start from the training data's statistics."""
        for name, tensor in self.settings.start(data).items():
            self.register_buffer(name, tensor.clone())
        self.n_rows = data.n_rows

    def check_support(self, low: float, high: float) -> None:
        """Raise ``ValueError`` when values from ``low`` to ``high`` leave the support."""
        self.settings.check_support(low, high)

    def inputs(self, x: Tensor) -> Tensor:
        """Return what the encoder sees of rows, before it is standardised."""
        return self.settings.inputs(x)

    def error(self, x: Tensor, output: Tensor) -> Tensor:
        """Return what the log-density depends on: (n_samples,), or some numbers a row."""
        return self.bound().error(x, output)

    def mean(self, output: Tensor) -> Tensor:
        """Return E[x|z], of the output's shape."""
        return self.bound().mean(output)

    def precision(self, output: Tensor) -> Tensor:
        """Return the Fisher information of each output, of the output's shape."""
        return self.bound().precision(output)

    def information(self, x: Tensor, output: Tensor, jacobian: Tensor) -> tuple[Tensor, Tensor]:
        """Return a matrix and a diagonal whose product J D Jᵀ is the information on codes."""
        return self.bound().information(x, output, jacobian)

    def evaluate(self, x: Tensor, output: Tensor) -> Tensor:
        """Return log p(x|z) after training, for outputs (..., n_outputs)."""
        return self.bound().evaluate(x, output)

    def draw(self, output: Tensor, generator: torch.Generator) -> Tensor:
        """Draw x ~ p(x|z), of the rows' shape."""
        return self.bound().draw(output, generator)

    def settle(self, error: Tensor, n_features: int) -> None:
        """Set the state to its optimum for these errors, after training."""
        bound = self.bound()
        bound.settle(error, n_features)
        self._keep(bound)

    def forward(self, x: Tensor, output: Tensor) -> Tensor:
        """Return log p(x|z) of every row in nats, of shape (n_samples,)."""
        bound, n_features = self.bound(), x.shape[-1]
        error = bound.error(x, output)
        if self.training:
            bound.observe(error.detach(), n_features)
            self._keep(bound)
        return bound.log_density(error, n_features)

    def bound(self) -> Likelihood:
        """Return a copy of the settings with the state as attributes."""
        return self.settings.bound(**{"n_rows": self.n_rows, **self._buffers})

    def _keep(self, bound: Likelihood) -> None:
        """Copy tensors that a hook replaced, instead of writing to them, into the buffers."""
        for name, tensor in self._buffers.items():
            updated = vars(bound)[name]
            if tensor is not None and updated is not tensor:
                tensor.copy_(updated)
