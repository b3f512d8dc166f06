"""What inputs of a training may go through without a change of what they show."""

from collections.abc import Sequence
from typing import final

from skvim._declare import estimator, parameter
from skvim._validation import real
from skvim.noise._corruptions import Generator, Values, gaussian_up_to, mask_up_to
from skvim.noise._image_transformers import BaseImageNoise
from skvim.noise._images import as_images, random_light
from skvim.noise._warps import random_warp

__all__ = ["AugmentationNoise"]


@final
@estimator
class AugmentationNoise(BaseImageNoise):
    """Warp and light images, mask values, add normal noise, by amounts each row draws for itself.

    As the ``noise`` of an autoencoder, it says what codes should not follow: where an image lies,
    how it is turned and lit, and which of its values are lost or disturbed.

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
    and ``1 + stretch``, k between ``-shear`` and ``shear``: the affine distortions of [1]_. With
    ``crop`` p and q are multiplied by one more number, uniform between ``1 - crop`` and 1, and t
    gets what puts the window anywhere in the image; with ``mirror`` the sign of p is drawn. An
    image of mean μ, over all its values, then becomes ``w + c (w - μ) + b + b_channel``, with c, b
    and each b_channel uniform between minus and plus ``contrast``, ``brightness`` and ``tint``:
    what [2]_ found contrastive losses to need of natural images. All values of a row then share a
    rate, uniform in [0, ``rate``], at which they are masked independently, m = 0 rather than 1, and
    a standard deviation σ, uniform in [0, ``scale``], of ε ~ N(0, 1). So ``rate / 2`` of all
    values are masked on average, and the mean of σ² is ``scale² / 3``. Nothing is rescaled or
    clipped.

    Flat rows without ``image_shape`` are neither warped nor lit. With a parameter at 0 its step
    does nothing, and with all of them at 0 rows stay as they are.

    References
    ----------
    .. [1] P. Y. Simard, D. Steinkraus and J. C. Platt (2003). Best practices for convolutional
       neural networks applied to visual document analysis. International Conference on Document
       Analysis and Recognition, 958-963.
    .. [2] T. Chen, S. Kornblith, M. Norouzi and G. Hinton (2020). A simple framework for
       contrastive learning of visual representations. International Conference on Machine Learning.

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
    crop: float = parameter(
        default=0.0,
        kind="float in [0, 1)",
        allowed=[real(0.0, 1.0)],
        doc="""
        By which share at most a window, anywhere inside, is smaller than the image; it is drawn out
        to the image's size.
        """,
    )
    mirror: bool = parameter(
        default=False,
        kind="bool",
        allowed=["boolean"],
        doc="Whether half of the images are mirrored, left to right.",
    )
    contrast: float = parameter(
        default=0.0,
        kind="float in [0, 1]",
        allowed=[real(0.0, 1.0, closed="both")],
        doc="By which share at most distances from the image's mean change.",
    )
    brightness: float = parameter(
        default=0.0,
        kind="float in [0, inf)",
        allowed=[real(0.0)],
        doc="What is added to all values of an image at most, up or down, in the units of ``X``.",
    )
    tint: float = parameter(
        default=0.0,
        kind="float in [0, inf)",
        allowed=[real(0.0)],
        doc="What is added to each channel by itself at most, in the units of ``X``.",
    )
    image_shape: Sequence[int] | None = parameter(
        default=None,
        kind="tuple (height, width[, channels]) or None",
        allowed=[tuple, list, None],
        doc="""
        Shape of the image that a flat row holds, channels last. With None flat rows are neither
        warped nor lit; ``corrupt`` also takes images, whose shape it then sees, and an autoencoder
        that knows its rows to be images gives their shape.
        """,
    )

    @property
    def level(self) -> float:
        """Strength of the corruption: 1, or 0 if it does nothing; no number tells more."""
        warps = (self.shift, self.angle, self.stretch, self.shear, self.crop, self.mirror)
        lights = (self.contrast, self.brightness, self.tint)
        return float(any((*warps, *lights, self.rate, self.scale)))

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
                crop=self.crop,
                mirror=self.mirror,
            )
            images = random_light(
                images,
                generator,
                contrast=self.contrast,
                brightness=self.brightness,
                tint=self.tint,
            )
        masked = mask_up_to(images, self.rate, generator)
        noisy: Values = gaussian_up_to(masked, self.scale, generator).reshape(x.shape)
        return noisy
