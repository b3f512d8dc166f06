"""What inputs of a training may go through without a change of what they show."""

from collections.abc import Sequence
from typing import final

from skvim._declare import estimator, parameter
from skvim._validation import real
from skvim.noise._corruptions import Generator, Values, gaussian_up_to, mask_up_to
from skvim.noise._image_transformers import BaseImageNoise
from skvim.noise._images import as_images
from skvim.noise._warps import random_warp

__all__ = ["AugmentationNoise"]


@final
@estimator
class AugmentationNoise(BaseImageNoise):
    """Warp images, mask values and add normal noise, by amounts that each row draws for itself.

    As the ``noise`` of an autoencoder, it says what codes should not follow: where an image lies,
    how it is turned, and which of its values are lost or disturbed.

    See Also
    --------
    GaussianNoise : Normal noise of one standard deviation.
    MaskingNoise : Masking at one rate.
    skvim.VIMAETransformer : Takes it as ``noise``.

    Notes
    -----
    Of an image u, with places (x, y) in pixels from its centre, comes ``m · w + σ ε`` with::

        w(x, y) = u(cos(a) p x + (k - sin(a) q) y - t_x, sin(a) p x + cos(a) q y - t_y)

    read between pixels by bilinear interpolation, in all channels alike; beyond its borders an
    image goes on as its outermost pixels. Of each image, t_x and t_y are uniform between
    ``-shift`` and ``shift``, a between ``-angle`` and ``angle``, p and q between ``1 - stretch``
    and ``1 + stretch``, k between ``-shear`` and ``shear``: the affine distortions of [1]_. All
    values of a row then share a rate, uniform in [0, ``rate``], at which they are masked
    independently, m = 0 rather than 1, and a standard deviation σ, uniform in [0, ``scale``], of
    ε ~ N(0, 1). So ``rate / 2`` of all values are masked on average, and the mean of σ² is
    ``scale² / 3``. Nothing is rescaled or clipped.

    Flat rows without ``image_shape`` are not warped. With a parameter at 0 its step does nothing,
    and with all of them at 0 rows stay as they are.

    References
    ----------
    .. [1] P. Y. Simard, D. Steinkraus and J. C. Platt (2003). Best practices for convolutional
       neural networks applied to visual document analysis. International Conference on Document
       Analysis and Recognition, 958-963.

    Examples
    --------
    >>> import numpy as np
    >>> from skvim.noise import AugmentationNoise
    >>> X = np.ones((10_000, 64))
    >>> noise = AugmentationNoise(scale=0.0, image_shape=(8, 8), random_state=0)
    >>> round(float((noise.fit(X).transform(X) == 0).mean()), 1)
    0.3
    """

    shift: float = parameter(
        default=2.0,
        kind="float in [0, inf)",
        allowed=[real(0.0)],
        doc="How many pixels an image is moved at most, up or down and to either side.",
    )
    angle: float = parameter(
        default=15.0,
        kind="float in [0, 180]",
        allowed=[real(0.0, 180.0, closed="both")],
        doc="By how many degrees it is turned at most, either way.",
    )
    stretch: float = parameter(
        default=0.15,
        kind="float in [0, 1)",
        allowed=[real(0.0, 1.0)],
        doc="By which share its height and its width change at most, each by itself.",
    )
    shear: float = parameter(
        default=0.2,
        kind="float in [0, inf)",
        allowed=[real(0.0)],
        doc="By how many pixels at most a row of pixels is displaced against the next.",
    )
    rate: float = parameter(
        default=0.6,
        kind="float in [0, 1]",
        allowed=[real(0.0, 1.0, closed="both")],
        doc="Largest probability that a value is set to 0.",
    )
    scale: float = parameter(
        default=0.5,
        kind="float in [0, inf)",
        allowed=[real(0.0)],
        doc="Largest standard deviation of the normal noise, in the units of ``X``.",
    )
    image_shape: Sequence[int] | None = parameter(
        default=None,
        kind="tuple (height, width[, channels]) or None",
        allowed=[tuple, list, None],
        doc="""
        Shape of the image that a flat row holds, channels last. With None flat rows are not warped;
        ``corrupt`` also takes images, whose shape it then sees.
        """,
    )

    @property
    def level(self) -> float:
        """Strength of the corruption: 1, or 0 if it does nothing; no number tells more."""
        sizes = (self.shift, self.angle, self.stretch, self.shear, self.rate, self.scale)
        return float(any(sizes))

    def _corrupt(self, x: Values, generator: Generator) -> Values:
        images = as_images(x, self.image_shape)
        if x.ndim > 2 or self.image_shape is not None:
            images = random_warp(
                images,
                generator,
                shift=self.shift,
                angle=self.angle,
                stretch=self.stretch,
                shear=self.shear,
            )
        masked = mask_up_to(images, self.rate, generator)
        noisy: Values = gaussian_up_to(masked, self.scale, generator).reshape(x.shape)
        return noisy
