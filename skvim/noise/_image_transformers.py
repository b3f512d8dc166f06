"""Corruptions of images as scikit-learn transformers."""

from abc import ABC
from collections.abc import Sequence
from typing import final

from skvim._declare import estimator, parameter
from skvim._validation import integer, real
from skvim.noise._base_noise import BaseNoise
from skvim.noise._corruptions import Generator, Values, check_range, shift_brightness
from skvim.noise._image_corruptions import (
    as_images,
    blur,
    complete_image_shape,
    occlude,
    reduce_contrast,
)

__all__ = ["BaseImageNoise", "BlurNoise", "BrightnessNoise", "ContrastNoise", "OcclusionNoise"]


@estimator
class BaseImageNoise(BaseNoise, ABC):
    """A corruption that depends on the shape of the image."""

    image_shape: Sequence[int] | None = parameter(
        default=None,
        kind="tuple (height, width[, channels]) or None",
        allowed=[tuple, list, None],
        doc="""
        Shape of the image in a flat row, channels last. None takes a flat row for one line of
        pixels, as of a signal. ``corrupt`` also takes images, with their own shape, and an
        autoencoder passes its ``image_shape``.
        """,
    )

    def _check(self, n_features: int) -> None:
        complete_image_shape((n_features,), self.image_shape)


@final
@estimator
class OcclusionNoise(BaseImageNoise):
    """Cover a square at a random place of each image (cutout).

    See Also
    --------
    MaskingNoise : Hides single values.
    severities : Five documented levels.
    skvim.metrics.robustness_curve : Scores a fitted estimator under corruptions.

    Notes
    -----
    Each image draws its own place, and all channels are covered. The square lies inside the image,
    each place equally likely, so that ``size² / (height · width)`` of the pixels are lost in every
    image; the cutout of [1]_ may overlap the border instead. A side longer than the image's is cut;
    of a line of pixels, ``size`` in a row are covered.

    References
    ----------
    .. [1] T. DeVries and G. W. Taylor (2017). Improved regularization of convolutional neural
       networks with cutout. arXiv:1708.04552.

    Examples
    --------
    >>> import numpy as np
    >>> from skvim.noise import OcclusionNoise
    >>> X = np.ones((2, 64))
    >>> noise = OcclusionNoise(4, image_shape=(8, 8), random_state=0)
    >>> noise.fit(X).transform(X).mean(axis=1).tolist()
    [0.75, 0.75]
    """

    size: int = parameter(
        default=2,
        kind="int in [0, inf)",
        allowed=[integer(0)],
        doc="Side of the square in pixels.",
        kw_only=False,
    )
    value: float = parameter(
        default=0.0,
        kind="float",
        allowed=[real(None, closed="neither")],
        doc="Value of the covered pixels, in the units of ``X``.",
    )

    _in_units = ("value",)
    _keeps_range = True

    @property
    def level(self) -> float:
        """Strength of the corruption: the size."""
        return float(self.size)

    def _corrupt(self, x: Values, generator: Generator) -> Values:
        images = as_images(x, self.image_shape)
        covered: Values = occlude(images, self.size, self.value, generator).reshape(x.shape)
        return covered


@final
@estimator
class BlurNoise(BaseImageNoise):
    """Blur each image with a gaussian.

    See Also
    --------
    ContrastNoise : Reduces contrast at all scales.
    severities : Five documented levels.
    skvim.metrics.robustness_curve : Scores a fitted estimator under corruptions.

    Notes
    -----
    A convolution with a gaussian of standard deviation ``sigma`` pixels, cut off at four of them.
    Beyond its borders an image is mirrored, so that the mean of each channel stays. A sigma below
    about 0.3 pixels has almost no effect. Not random: ``random_state`` has no effect.

    The time does not grow with sigma: a gaussian wider than the image multiplies coefficients of
    the image's cosine transform, and above 100 times the image's side each channel becomes its
    mean.

    Arrays are filtered by ``scipy``. Tensors are multiplied by the matrices of the same
    filter, which is differentiable.

    Examples
    --------
    >>> import numpy as np
    >>> from skvim.noise import BlurNoise
    >>> X = np.eye(1, 9, 4)
    >>> BlurNoise(0.5).fit(X).transform(X).round(2)[0, 2:7].tolist()
    [0.0, 0.11, 0.79, 0.11, 0.0]
    """

    sigma: float = parameter(
        default=1.0,
        kind="float in [0, inf)",
        allowed=[real(0.0)],
        doc="Standard deviation of the gaussian in pixels.",
        kw_only=False,
    )

    @property
    def level(self) -> float:
        """Strength of the corruption: sigma."""
        return float(self.sigma)

    def _corrupt(self, x: Values, generator: Generator) -> Values:
        blurred: Values = blur(as_images(x, self.image_shape), self.sigma).reshape(x.shape)
        return blurred


@final
@estimator
class ContrastNoise(BaseImageNoise):
    """Reduce contrast: move the pixels of each image towards their mean.

    See Also
    --------
    BrightnessNoise : Shifts all pixels.
    severities : Five documented levels.
    skvim.metrics.robustness_curve : Scores a fitted estimator under corruptions.

    Notes
    -----
    ``m + (1 - reduction) · (x - m)``, where m is the mean of a channel of an image, as in [1]_.
    The standard deviation within each channel is multiplied by ``1 - reduction``. Not random:
    ``random_state`` has no effect.

    References
    ----------
    .. [1] D. Hendrycks and T. Dietterich (2019). Benchmarking neural network robustness to common
       corruptions and perturbations. International Conference on Learning Representations.

    Examples
    --------
    >>> import numpy as np
    >>> from skvim.noise import ContrastNoise
    >>> X = np.array([[0.0, 1.0, 0.0, 1.0]])
    >>> ContrastNoise(0.5, image_shape=(2, 2)).fit(X).transform(X).tolist()
    [[0.25, 0.75, 0.25, 0.75]]
    """

    reduction: float = parameter(
        default=0.5,
        kind="float in [0, 1]",
        allowed=[real(0.0, 1.0, closed="both")],
        doc="Share of the contrast to take away; 1 leaves a uniform image.",
        kw_only=False,
    )

    @property
    def level(self) -> float:
        """Strength of the corruption: the reduction."""
        return float(self.reduction)

    def _corrupt(self, x: Values, generator: Generator) -> Values:
        images = as_images(x, self.image_shape)
        reduced: Values = reduce_contrast(images, self.reduction).reshape(x.shape)
        return reduced


@final
@estimator
class BrightnessNoise(BaseNoise):
    """Change brightness: add one number to all values.

    See Also
    --------
    ContrastNoise : Reduces contrast.
    severities : Five documented levels.
    skvim.metrics.robustness_curve : Scores a fitted estimator under corruptions.

    Notes
    -----
    ``x + shift``, the same for all images, pixels and channels, clipped to ``value_range`` if
    given. On grey images this is the brightness of [1]_, which shifts the value of hue, saturation
    and value in colour. Not random: ``random_state`` has no effect.

    References
    ----------
    .. [1] D. Hendrycks and T. Dietterich (2019). Benchmarking neural network robustness to common
       corruptions and perturbations. International Conference on Learning Representations.

    Examples
    --------
    >>> import numpy as np
    >>> from skvim.noise import BrightnessNoise
    >>> X = np.array([[0.0, 0.5, 1.0]])
    >>> BrightnessNoise(0.25, value_range=(0, 1)).fit(X).transform(X).tolist()
    [[0.25, 0.75, 1.0]]
    """

    shift: float = parameter(
        default=0.2,
        kind="float",
        allowed=[real(None, closed="neither")],
        doc="Number to add, in the units of ``X``; below 0, images become darker.",
        kw_only=False,
    )
    value_range: tuple[float, float] | None = parameter(
        default=None,
        kind="pair of float (low, high) or None",
        allowed=[tuple, list, None],
        doc="Range that values are clipped to; with None they are not, as in other corruptions.",
    )

    _in_units = ("shift", "value_range")

    @property
    def level(self) -> float:
        """Strength of the corruption: the shift, with its sign."""
        return float(self.shift)

    def _corrupt(self, x: Values, generator: Generator) -> Values:
        return shift_brightness(x, self.shift, self.value_range)

    def _check(self, n_features: int) -> None:
        if self.value_range is not None:
            check_range(self.value_range)
