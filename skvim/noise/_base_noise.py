"""Base class of the corruptions as scikit-learn transformers."""

import math
from abc import ABC, abstractmethod
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, OneToOneFeatureMixin, TransformerMixin
from sklearn.utils import Tags

from skvim._declare import estimator, parameter
from skvim._float_errors import ignore_overflow, numpy_defaults
from skvim._persistence import Savable
from skvim._plain_numbers import is_real
from skvim._validation import (
    StrOptions,
    all_finite,
    atomic,
    check_is_fitted,
    check_parameters,
    check_results,
    check_rows,
    draw_seed,
    with_plain_parameters,
)
from skvim.noise._corruptions import Generator, Values, check_floating

__all__ = ["BaseNoise"]

# One random stream per method: with when="both", training and test rows of equal shape would
# otherwise receive the same noise.
_STREAMS = {"fit": 0, "transform": 1}


@estimator
class BaseNoise(Savable, OneToOneFeatureMixin, TransformerMixin, BaseEstimator, ABC):
    """Corrupt training rows, new rows or both with random noise.

    Attributes
    ----------
    n_features_in_ : int
        Number of features seen in ``fit``.
    feature_names_in_ : ndarray of shape (n_features,)
        Names of the features; defined only if ``X`` has string column names.
    """

    #: Parameters in the units of the values.
    _in_units: ClassVar[tuple[str, ...]] = ()
    #: Whether corrupted values are in the range of the values and of these parameters.
    _keeps_range: ClassVar[bool] = False

    when: str = parameter(
        default="transform",
        kind='{"transform", "fit", "both"}',
        allowed=[StrOptions({"transform", "fit", "both"})],
        doc="""
        Which rows are corrupted. With ``"transform"``, ``fit_transform`` leaves the training rows
        clean and ``transform`` corrupts: inside a pipeline, this measures the robustness of the
        next steps. With ``"fit"`` it is the other way round: augmentation of the training rows.
        ``"both"`` corrupts both.
        """,
    )
    random_state: Any = parameter(
        default=None,
        kind="int, RandomState instance or None",
        allowed=["random_state"],
        doc="""
        Seed of the noise. With an int, each method repeats its noise from call to call for ``X`` of
        the same shape and dtype, and the noise of ``fit_transform`` differs from that of
        ``transform``. A ``RandomState`` instance advances at every call. None takes fresh entropy
        at every call; NumPy's global generator is never used.
        """,
    )

    @numpy_defaults()
    def fit(self, X: Any, y: Any = None) -> Self:
        """Check the parameters and remember the features; noise has nothing to learn.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Finite numbers.
        y : None
            Ignored.

        Returns
        -------
        object
            The transformer itself.
        """
        self._fit(X)
        return self

    @numpy_defaults()
    def fit_transform(self, X: Any, y: Any = None) -> NDArray[Any]:
        """Fit, and return the training rows, corrupted with ``when="fit"`` or ``"both"``.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Training rows, finite numbers; not modified.
        y : None
            Ignored.

        Returns
        -------
        ndarray of shape (n_samples, n_features)
            A new array; float32 for float32, else float64.
        """
        return self._apply(self._fit(X), "fit")

    @numpy_defaults()
    def transform(self, X: Any) -> NDArray[Any]:
        """Return new rows, corrupted with ``when="transform"`` or ``"both"``.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Finite numbers; not modified.

        Returns
        -------
        ndarray of shape (n_samples, n_features)
            A new array; float32 for float32, else float64.
        """
        check_is_fitted(self)
        check_parameters(self)
        return self._apply(check_rows(self, X, reset=False), "transform")

    def corrupt(self, x: Values, generator: Generator) -> Values:
        """Corrupt values with a given generator, whatever ``when`` and ``random_state`` are.

        Needs no ``fit`` and does not change the transformer.

        Parameters
        ----------
        x : ndarray or tensor of shape (n_samples, ...)
            Values in float32 or float64, tensors also in half precision; not modified. Corruptions
            of single values take any shape.
        generator : numpy.random.Generator or torch.Generator
            Of the same library (and device) as ``x``.

        Returns
        -------
        ndarray or tensor
            New values of the shape and dtype of ``x``.

        Raises
        ------
        TypeError
            If ``x`` holds whole numbers, which would round most corruptions, or ``generator``
            belongs to the other library.
        ValueError
            If a parameter, or a corrupted array, is beyond the range of the dtype of ``x``.
        """
        check_floating(x)
        settings = with_plain_parameters(self)
        settings._check_units(x)
        if not isinstance(x, np.ndarray):  # captured training steps may not depend on values
            of_tensor: Values = settings._corrupt(x, generator)
            return of_tensor
        with numpy_defaults(), ignore_overflow():
            corrupted: Any = settings._corrupt(x, generator)
        if not self._keeps_range and all_finite(x):
            check_results(type(self).__name__, corrupted, x)
        result: Values = corrupted
        return result

    @property
    @abstractmethod
    def level(self) -> float:
        """Strength of the corruption, 0 for none."""

    @abstractmethod
    def _corrupt(self, x: Values, generator: Generator) -> Values:
        """Return corrupted values in the shape, dtype and library of ``x``."""

    def _check_units(self, x: Any) -> None:
        """Raise ``ValueError`` for a parameter in the units of ``x`` that its dtype cannot hold."""
        most = _largest_number(x)
        for name in self._in_units:
            value = getattr(self, name)
            numbers = value if isinstance(value, list | tuple) else [value]
            if any(is_real(number) and most < abs(number) < math.inf for number in numbers):
                raise ValueError(
                    f"{name} of {type(self).__name__} is in the units of X, and {x.dtype} holds "
                    f"values of up to {most:.3g}. Got {name}={value!r}: reduce it, or pass X in "
                    "float64."
                )

    def _check(self, n_features: int) -> None:
        """Raise ``ValueError`` for parameters that contradict each other or the rows (hook)."""

    def _fit(self, X: Any) -> NDArray[Any]:
        """Validate parameters and training rows; return the rows."""
        with atomic(self):
            check_parameters(self)
            rows = check_rows(self, X, reset=True)
            self._check(rows.shape[1])
            return rows

    def _apply(self, rows: NDArray[Any], method: str) -> NDArray[Any]:
        """Corrupt the rows if ``when`` names the method, else copy them."""
        if self.when not in (method, "both"):
            return rows.copy()  # a next step in place must not change the user's data
        seed = draw_seed(self.random_state)
        stream = np.random.SeedSequence(seed, spawn_key=(_STREAMS[method],))
        return self.corrupt(rows, np.random.default_rng(stream))

    def __sklearn_tags__(self) -> Tags:
        """Declare non-deterministic output and the dtypes that are kept.

        Also without random numbers: the tag says that ``fit_transform`` and ``transform`` differ,
        and here only one of them corrupts.
        """
        tags = super().__sklearn_tags__()
        tags.non_deterministic = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags


def _largest_number(x: Any) -> float:
    """Return the largest number of the dtype of an array or tensor."""
    if isinstance(x, np.ndarray):
        return float(np.finfo(x.dtype).max)
    from torch import finfo  # imported already: there is a tensor

    return finfo(x.dtype).max
