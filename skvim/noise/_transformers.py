"""Corruptions of single values and of features, as scikit-learn transformers."""

from abc import ABC
from collections.abc import Sequence
from typing import final

from skvim._declare import estimator, parameter
from skvim._validation import real
from skvim.noise._base_noise import BaseNoise
from skvim.noise._corruptions import (
    Generator,
    Values,
    check_groups,
    check_range,
    drop_features,
    gaussian,
    mask,
    salt_pepper,
    swap,
)

__all__ = [
    "GaussianNoise",
    "MaskingNoise",
    "MissingFeaturesNoise",
    "SaltPepperNoise",
    "SwapNoise",
]


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
    ``x + ε`` with ``ε ~ N(0, scale²)`` drawn independently for every value, as in [1]_. Values are
    neither rescaled before, so that ``scale`` is in the units of ``X``, nor clipped afterwards.

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

    _in_units = ("scale",)

    @property
    def level(self) -> float:
        """Strength of the corruption: the scale."""
        return float(self.scale)

    def _corrupt(self, x: Values, generator: Generator) -> Values:
        return gaussian(x, self.scale, generator)


@estimator
class _GroupedNoise(BaseNoise, ABC):
    """A corruption that can treat features of one group together."""

    groups: Sequence[int] | None = parameter(
        default=None,
        kind="sequence of int of length n_features or None",
        allowed=[tuple, list, None],
        doc="""
        Group of each feature; features with the same number are corrupted together, such as the
        columns of a one-hot encoded category, or a value and the indicator that it is missing.
        With None every feature is corrupted by itself.
        """,
    )

    def _check(self, n_features: int) -> None:
        if self.groups is not None:
            check_groups(self.groups, n_features)


@final
@estimator
class MaskingNoise(_GroupedNoise):
    """Set every value to 0 independently, with one probability.

    See Also
    --------
    GaussianNoise : Adds normal noise.
    SwapNoise : Replaces values by those of other rows.
    skvim.metrics.robustness_curve : Scores a fitted estimator under corruptions.

    Notes
    -----
    ``x · (1 - m)`` with ``m ~ Bernoulli(rate)`` drawn independently for every value. The masking
    noise of [1]_ masks a fixed number of values per row; here the number varies around
    ``rate · n_features``. Other values are not rescaled, unlike in dropout. With ``groups``, the
    values of a row that are in one group share one m.

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

    _keeps_range = True

    @property
    def level(self) -> float:
        """Strength of the corruption: the rate."""
        return float(self.rate)

    def _corrupt(self, x: Values, generator: Generator) -> Values:
        return mask(x, self.rate, generator, self.groups)


@final
@estimator
class SwapNoise(_GroupedNoise):
    """Replace values by those of the same feature in other rows, at random.

    See Also
    --------
    MaskingNoise : Sets values to 0.
    severities : Five documented levels.
    skvim.metrics.robustness_curve : Scores a fitted estimator under corruptions.

    Notes
    -----
    Every value is replaced with probability ``rate``, by the value of its feature in another row,
    which is drawn uniformly from the rows given: from those of the batch, if this is the ``noise``
    of a model. Corrupted values thus have the distribution of their feature, whatever its scale,
    and only their relation to other features is lost. Draws are independent for every value, or for
    every group of features in ``groups``. A single row stays as it is. Also called marginal
    sampling, as in [1]_.

    References
    ----------
    .. [1] D. Bahri, H. Jiang, Y. Tay and D. Metzler (2022). SCARF: Self-supervised contrastive
       learning using random feature corruption. International Conference on Learning
       Representations.

    Examples
    --------
    >>> import numpy as np
    >>> from skvim.noise import SwapNoise
    >>> X = np.arange(20_000.0).reshape(10_000, 2)
    >>> swapped = SwapNoise(0.3, random_state=0).fit(X).transform(X)
    >>> round(float((swapped != X).mean()), 1)
    0.3
    >>> bool(np.isin(swapped[:, 0], X[:, 0]).all())
    True
    """

    rate: float = parameter(
        default=0.2,
        kind="float in [0, 1]",
        allowed=[real(0.0, 1.0, closed="both")],
        doc="Probability that a value is replaced.",
        kw_only=False,
    )

    _keeps_range = True

    @property
    def level(self) -> float:
        """Strength of the corruption: the rate."""
        return float(self.rate)

    def _corrupt(self, x: Values, generator: Generator) -> Values:
        return swap(x, self.rate, generator, self.groups)


@final
@estimator
class SaltPepperNoise(BaseNoise):
    """Set values to the lowest or highest one at random (impulse noise).

    See Also
    --------
    MaskingNoise : Sets values to 0.
    severities : Five documented levels.
    skvim.metrics.robustness_curve : Scores a fitted estimator under corruptions.

    Notes
    -----
    Every value is replaced independently with probability ``rate``, by either end of
    ``value_range`` with probability 1/2: also called impulse noise [1]_. The channels of a pixel
    are independent.

    References
    ----------
    .. [1] D. Hendrycks and T. Dietterich (2019). Benchmarking neural network robustness to common
       corruptions and perturbations. International Conference on Learning Representations.

    Examples
    --------
    >>> import numpy as np
    >>> from skvim.noise import SaltPepperNoise
    >>> X = np.full((10_000, 4), 0.3)
    >>> corrupted = SaltPepperNoise(0.2, random_state=0).fit(X).transform(X)
    >>> [round(float((corrupted == value).mean()), 1) for value in (0.0, 0.3, 1.0)]
    [0.1, 0.8, 0.1]
    """

    rate: float = parameter(
        default=0.2,
        kind="float in [0, 1]",
        allowed=[real(0.0, 1.0, closed="both")],
        doc="Probability that a value is replaced.",
        kw_only=False,
    )
    value_range: tuple[float, float] = parameter(
        default=(0.0, 1.0),
        kind="pair of float (low, high)",
        allowed=[tuple, list],
        doc="Values of pepper and salt, in the units of ``X``; low below high.",
    )

    _in_units = ("value_range",)
    _keeps_range = True

    @property
    def level(self) -> float:
        """Strength of the corruption: the rate."""
        return float(self.rate)

    def _corrupt(self, x: Values, generator: Generator) -> Values:
        return salt_pepper(x, self.rate, self.value_range, generator)

    def _check(self, n_features: int) -> None:
        check_range(self.value_range)


@final
@estimator
class MissingFeaturesNoise(BaseNoise):
    """Drop a share of the features, the same in all rows or others in each row.

    See Also
    --------
    MaskingNoise : Sets values to 0 independently of each other.
    severities : Five documented levels.
    skvim.metrics.robustness_curve : Scores a fitted estimator under corruptions.

    Notes
    -----
    ``rate · n_features`` features are lost, rounded to the nearest whole number, halves up, and
    at least one unless ``rate`` is 0; every set of that many features is equally likely. Whole
    columns model a measurement that fails altogether. All rows of a call then share one draw, so
    that scores vary with it much more than with other corruptions, however many rows there are:
    repeat it often. Other features are not rescaled.

    With ``value=nan`` the estimator has to support missing values, for example by an imputer before
    it.

    Examples
    --------
    >>> import numpy as np
    >>> from skvim.noise import MissingFeaturesNoise
    >>> X = np.ones((3, 4))
    >>> MissingFeaturesNoise(0.5, random_state=0).fit(X).transform(X).mean(axis=1).tolist()
    [0.5, 0.5, 0.5]
    """

    rate: float = parameter(
        default=0.2,
        kind="float in [0, 1]",
        allowed=[real(0.0, 1.0, closed="both")],
        doc="Share of the features to drop.",
        kw_only=False,
    )
    value: float = parameter(
        default=0.0,
        kind="float or nan",
        allowed=[real(None, closed="neither"), "nan"],
        doc="Value in their place, in the units of ``X``.",
    )
    per_row: bool = parameter(
        default=False,
        kind="bool",
        allowed=["boolean"],
        doc="Whether each row loses other features. If not, whole columns are lost.",
    )

    _in_units = ("value",)
    _keeps_range = True

    @property
    def level(self) -> float:
        """Strength of the corruption: the rate."""
        return float(self.rate)

    def _corrupt(self, x: Values, generator: Generator) -> Values:
        return drop_features(x, self.rate, generator, value=self.value, per_row=self.per_row)
