"""Corruptions as scikit-learn transformers."""

from abc import ABC, abstractmethod
from typing import Any, Self, final

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, OneToOneFeatureMixin, TransformerMixin
from sklearn.utils import Tags

from skvim._declare import estimator, parameter
from skvim._persistence import Savable
from skvim._validation import (
    StrOptions,
    atomic,
    check_is_fitted,
    check_parameters,
    check_rows,
    draw_seed,
    real,
)
from skvim.noise._corruptions import Generator, Values, gaussian, mask

__all__ = ["BaseNoise", "GaussianNoise", "MaskingNoise"]

# One stream of random numbers per method: under when="both", training and test rows of equal
# shape would otherwise receive the very same noise.
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

    when: str = parameter(
        default="transform",
        kind='{"transform", "fit", "both"}',
        allowed=[StrOptions({"transform", "fit", "both"})],
        doc="""
        Which rows are corrupted. With ``"transform"``, ``fit_transform`` leaves the training rows
        clean and ``transform`` corrupts: inside a pipeline, this measures the robustness of what
        follows. With ``"fit"`` it is the other way round: augmentation of the training rows.
        ``"both"`` corrupts all of them.
        """,
    )
    random_state: Any = parameter(
        default=None,
        kind="int, RandomState instance or None",
        allowed=["random_state"],
        doc="""
        Where the noise comes from. With an int, each method repeats its noise from call to call
        for ``X`` of the same shape and dtype, and the noise of ``fit_transform`` differs from that
        of ``transform``. A ``RandomState`` instance advances at every call. None takes fresh
        entropy at every call; NumPy's global generator is never touched.
        """,
    )

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
        """Corrupt values whatever ``when`` says, with random numbers of the given generator.

        Needs no ``fit``, uses no ``random_state`` and changes nothing in the transformer.

        Parameters
        ----------
        x : ndarray or tensor of any shape
            Floating-point values; not modified.
        generator : numpy.random.Generator or torch.Generator
            Of the same library (and device) as ``x``.

        Returns
        -------
        ndarray or tensor
            New values of the shape and dtype of ``x``.
        """
        return self._corrupt(x, generator)

    @property
    @abstractmethod
    def level(self) -> float:
        """Strength of the corruption, 0 for none."""

    @abstractmethod
    def _corrupt(self, x: Values, generator: Generator) -> Values:
        """Return corrupted values in the shape, dtype and library of ``x``."""

    def _fit(self, X: Any) -> NDArray[Any]:
        """Validate parameters and training rows; return the rows."""
        with atomic(self):
            check_parameters(self)
            return check_rows(self, X, reset=True)

    def _apply(self, rows: NDArray[Any], method: str) -> NDArray[Any]:
        """Corrupt the rows if ``when`` names the method, else copy them.

        Copied, so that a later step which works in place never writes into the user's data.
        """
        if self.when not in (method, "both"):
            return rows.copy()
        seed = draw_seed(self.random_state)
        stream = np.random.SeedSequence(seed, spawn_key=(_STREAMS[method],))
        return self.corrupt(rows, np.random.default_rng(stream))

    def __sklearn_tags__(self) -> Tags:
        """Declare random output and the dtypes that are kept."""
        tags = super().__sklearn_tags__()
        tags.non_deterministic = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags


@final
@estimator
class GaussianNoise(BaseNoise):
    """Add independent normal noise of one standard deviation to every value.

    See Also
    --------
    MaskingNoise : Sets values to 0 at random.
    skvim.metrics.robustness_curve : Scores a fitted estimator under corruptions.

    Notes
    -----
    ``x + ε`` with ``ε ~ N(0, scale²)`` drawn afresh for every value, as in [1]_. Values are taken
    as they are: nothing is rescaled, and the result is not clipped to the range of the data, so
    ``scale`` is in the units of ``X``.

    References
    ----------
    .. [1] P. Vincent, H. Larochelle, I. Lajoie, Y. Bengio and P.-A. Manzagol (2010). Stacked
       denoising autoencoders. Journal of Machine Learning Research 11, 3371-3408.

    Examples
    --------
    >>> import numpy as np
    >>> from skvim.noise import GaussianNoise
    >>> X = np.zeros((10_000, 4))
    >>> noise = GaussianNoise(0.5, random_state=0)
    >>> float(noise.fit_transform(X).std())
    0.0
    >>> round(float(noise.transform(X).std()), 1)
    0.5
    """

    scale: float = parameter(
        default=0.2,
        kind="float in [0, inf)",
        allowed=[real(0.0)],
        doc="Standard deviation of the noise, in the units of ``X``.",
        kw_only=False,
    )

    @property
    def level(self) -> float:
        """Strength of the corruption: the scale."""
        return self.scale

    def _corrupt(self, x: Values, generator: Generator) -> Values:
        return gaussian(x, self.scale, generator)


@final
@estimator
class MaskingNoise(BaseNoise):
    """Set every value to 0 with one probability, independently of all others.

    See Also
    --------
    GaussianNoise : Adds normal noise.
    skvim.metrics.robustness_curve : Scores a fitted estimator under corruptions.

    Notes
    -----
    ``x · (1 - m)`` with ``m ~ Bernoulli(rate)`` drawn afresh for every value. The masking noise of
    [1]_ hides a fixed number of values per row; here the number varies around
    ``rate · n_features``. What remains is not rescaled, unlike in dropout.

    References
    ----------
    .. [1] P. Vincent, H. Larochelle, Y. Bengio and P.-A. Manzagol (2008). Extracting and composing
       robust features with denoising autoencoders. International Conference on Machine Learning.

    Examples
    --------
    >>> import numpy as np
    >>> from skvim.noise import MaskingNoise
    >>> X = np.ones((10_000, 4))
    >>> noise = MaskingNoise(0.3, random_state=0)
    >>> float(noise.fit_transform(X).mean())
    1.0
    >>> round(float(noise.transform(X).mean()), 1)
    0.7
    """

    rate: float = parameter(
        default=0.2,
        kind="float in [0, 1]",
        allowed=[real(0.0, 1.0, closed="both")],
        doc="Probability that a value is set to 0.",
        kw_only=False,
    )

    @property
    def level(self) -> float:
        """Strength of the corruption: the rate."""
        return self.rate

    def _corrupt(self, x: Values, generator: Generator) -> Values:
        return mask(x, self.rate, generator)
