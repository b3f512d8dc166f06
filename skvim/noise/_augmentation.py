"""Data augmentation: random changes that leave what an image shows the same."""

from collections.abc import Sequence
from typing import final

from skvim._declare import estimator, parameter
from skvim._validation import real
from skvim.noise._affine import random_affine
from skvim.noise._corruptions import Generator, Values, gaussian_random_scale, mask_random_rate
from skvim.noise._image_corruptions import as_images, color_jitter
from skvim.noise._image_transformers import BaseImageNoise

__all__ = ["AugmentationNoise"]


@final
@estimator
class AugmentationNoise(BaseImageNoise):
    """Augment images by affine maps, colour jitter, masking and noise of random strength.

    As the ``noise`` of an autoencoder, it makes codes robust to the position, rotation and lighting
    of an image and to lost or noisy values.

    See Also
    --------
    GaussianNoise : Normal noise of one standard deviation.
    MaskingNoise : Masking at one rate.
    skvim.VIMAETransformer : Takes it as ``noise``.

    Notes
    -----
    An image u, with coordinates (x, y) in pixels from its centre, becomes ``m · w + σ ε`` with::

        w(x, y) = u(cos(a) p x + (k - sin(a) q) y - t_x, sin(a) p x + cos(a) q y - t_y)

    by bilinear interpolation, in all channels alike; beyond its borders an image repeats its
    outermost pixels. For each image, t_x and t_y are uniform in [``-shift``, ``shift``], a in
    [``-angle``, ``angle``], p and q in [``1 - stretch``, ``1 + stretch``] and k in [``-shear``,
    ``shear``]: the affine distortions of [1]_. With ``crop``, p and q are multiplied by one more
    number, uniform in [``1 - crop``, 1], and t moves this window to a uniform place inside the
    image; with ``mirror`` the sign of p is random. Colour jitter then makes an image of mean μ,
    over all its values, ``w + c (w - μ) + b + b_channel``, with c, b and each b_channel uniform
    between minus and plus ``contrast``, ``brightness`` and ``tint``: what [2]_ found contrastive
    losses to need on natural images. All values of a row then share a rate, uniform in
    [0, ``rate``], at which they are masked independently (m = 0, else 1), and a standard deviation
    σ, uniform in [0, ``scale``], of the noise with ε ~ N(0, 1). So ``rate / 2`` of all values are
    masked on average, and the mean of σ² is ``scale² / 3``. Nothing is rescaled or clipped.

    Flat rows without ``image_shape`` are masked and get noise only. A parameter of 0 turns its step
    off; with all of them at 0 rows stay as they are.

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
        doc="Largest translation, vertically and horizontally, in pixels.",
    )
    angle: float = parameter(
        default=15.0,
        kind="float in [0, 180]",
        allowed=[real(0.0, 180.0, closed="both")],
        doc="Largest rotation either way, in degrees.",
    )
    stretch: float = parameter(
        default=0.15,
        kind="float in [0, 1)",
        allowed=[real(0.0, 1.0)],
        doc="Largest relative change of height and width, each drawn by itself.",
    )
    shear: float = parameter(
        default=0.2,
        kind="float in [0, inf)",
        allowed=[real(0.0)],
        doc="Largest shear: displacement of a row of pixels against the next, in pixels.",
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
        Largest share by which a random window is smaller than the image; the window is resized to
        the image.
        """,
    )
    mirror: bool = parameter(
        default=False,
        kind="bool",
        allowed=["boolean"],
        doc="Whether to mirror each image, left to right, with probability 1/2.",
    )
    contrast: float = parameter(
        default=0.0,
        kind="float in [0, 1]",
        allowed=[real(0.0, 1.0, closed="both")],
        doc="Largest relative change of distances from the image's mean.",
    )
    brightness: float = parameter(
        default=0.0,
        kind="float in [0, inf)",
        allowed=[real(0.0)],
        doc="Largest number added to or subtracted from an image, in the units of ``X``.",
    )
    tint: float = parameter(
        default=0.0,
        kind="float in [0, inf)",
        allowed=[real(0.0)],
        doc="Largest number added to or subtracted from each channel, in the units of ``X``.",
    )
    image_shape: Sequence[int] | None = parameter(
        default=None,
        kind="tuple (height, width[, channels]) or None",
        allowed=[tuple, list, None],
        doc="""
        Shape of the image in a flat row, channels last. With None flat rows are masked and get
        noise only. ``corrupt`` also takes images, with their own shape, and an autoencoder passes
        its ``image_shape``.
        """,
    )

    _in_units = ("scale", "brightness", "tint")

    @property
    def level(self) -> float:
        """Strength of the corruption: 0 if all parameters are 0, else 1."""
        affine = (self.shift, self.angle, self.stretch, self.shear, self.crop, self.mirror)
        jitter = (self.contrast, self.brightness, self.tint)
        return float(any((*affine, *jitter, self.rate, self.scale)))

    def _corrupt(self, x: Values, generator: Generator) -> Values:
        images = as_images(x, self.image_shape)
        if x.ndim > 2 or self.image_shape is not None:
            images = random_affine(
                images,
                generator,
                shift=self.shift,
                angle=self.angle,
                stretch=self.stretch,
                shear=self.shear,
                crop=self.crop,
                mirror=self.mirror,
            )
            images = color_jitter(
                images,
                generator,
                contrast=self.contrast,
                brightness=self.brightness,
                tint=self.tint,
            )
        masked = mask_random_rate(images, self.rate, generator)
        noisy: Values = gaussian_random_scale(masked, self.scale, generator).reshape(x.shape)
        return noisy
