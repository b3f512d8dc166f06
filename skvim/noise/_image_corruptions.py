"""Corruptions of images, as functions of an array or tensor.

Images have axes (n_samples, height, width, channels) and hold floating-point values. They are not
modified, and results have their shape and dtype. Generators are as in
:mod:`skvim.noise._corruptions`; torch is never imported here either.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skvim._layout import Layout
from skvim.noise._corruptions import (
    Generator,
    Values,
    check_interval,
    is_array,
    replace,
    uniform,
)

# Standard deviations at which a gaussian is cut off, and sides from which on it leaves the mean
# alone: what else is left of an image, a millionth, comes from the cut.
_TRUNCATE, _WIDEST = 4.0, 100

__all__ = [
    "as_images",
    "blur",
    "color_jitter",
    "complete_image_shape",
    "occlude",
    "reduce_contrast",
]


def complete_image_shape(
    axes: Sequence[int], image_shape: Sequence[int] | None
) -> tuple[int, int, int]:
    """Return (height, width, channels) of samples that have the shape ``axes``.

    A flat row without ``image_shape`` is one line of pixels. Raises ``ValueError`` for an
    ``image_shape`` that is none, or that contradicts the axes.
    """
    flat = len(axes) == 1
    layout = Layout.of(math.prod(axes), () if flat else tuple(axes), image_shape)
    return layout.image or (1, axes[0], 1)


def as_images(x: Values, image_shape: Sequence[int] | None) -> Values:
    """Return flat rows or images with axes (n_samples, height, width, channels)."""
    if x.ndim < 2:
        raise ValueError(
            "x has to hold flat rows, (n_samples, n_features), or images, (n_samples, height, "
            f"width[, channels]). Got shape {tuple(x.shape)} instead."
        )
    shape = complete_image_shape(tuple(x.shape[1:]), image_shape)
    images: Values = x.reshape(x.shape[0], *shape)
    return images


def occlude(images: Values, size: int, value: float, generator: Generator) -> Values:
    """Cover a square of each image with one value, in all channels.

    The side is ``size`` pixels, at most that of the image; the square lies inside, and all such
    places are equally likely.
    """
    check_interval("size", size, kind="an int")
    rows = _random_interval(images, images.shape[1], size, generator)
    columns = _random_interval(images, images.shape[2], size, generator)
    return replace(images, (rows[:, :, None] & columns[:, None, :])[..., None], value)


def blur(images: Values, sigma: float) -> Values:
    """Convolve each channel of each image with a gaussian, mirrored at the borders.

    Its standard deviation is ``sigma`` pixels, in [0, inf), and it is cut off at 4 of them. The
    mean of each channel stays.
    """
    check_interval("sigma", sigma)
    if isinstance(images, np.ndarray):
        blurred: NDArray[Any] = _blur_axis(_blur_axis(images, sigma, axis=1), sigma, axis=2)
        return blurred
    # The same filter as two matrix products, which have gradients and stay on the device.
    vertical, horizontal = (
        images.new_tensor(_blur_axis(np.eye(side), sigma, axis=0)) for side in images.shape[1:3]
    )
    return (vertical @ images.permute(0, 3, 1, 2) @ horizontal.T).permute(0, 2, 3, 1)


def _blur_axis(values: NDArray[Any], sigma: float, *, axis: int) -> NDArray[Any]:
    """Convolve an array with a gaussian along one axis, mirrored at its ends."""
    # Imported here: slow, and needed by this function only.
    from scipy import fft, ndimage

    side = values.shape[axis]
    if _TRUNCATE * sigma <= side:
        sigmas = [sigma if i == axis else 0 for i in range(values.ndim)]
        narrow: NDArray[Any] = ndimage.gaussian_filter(values, sigmas, truncate=_TRUNCATE)
        return narrow
    # A symmetric convolution with mirrored ends multiplies the coefficients of the cosine
    # transform, in a time that does not grow with the width of the kernel.
    shape = [side if i == axis else 1 for i in range(values.ndim)]
    coefficients = fft.dct(values.astype(np.float64), axis=axis, norm="ortho")
    coefficients *= _gaussian_response(sigma, side).reshape(shape)
    blurred = fft.idct(coefficients, axis=axis, norm="ortho")
    result: NDArray[Any] = np.asarray(blurred, dtype=values.dtype)
    return result


def _gaussian_response(sigma: float, side: int) -> NDArray[np.float64]:
    """Return the factors of the cosines that an axis of ``side`` pixels consists of."""
    if sigma > _WIDEST * side:
        return np.asarray(np.eye(1, side)[0], dtype=np.float64)  # the mean is left
    # Beyond its ends a mirrored axis repeats every 2 · side pixels: so do the kernel's weights.
    radius, period = int(_TRUNCATE * sigma + 0.5), 2 * side
    folded = np.zeros(period)
    for start in range(0, radius + 1, period):
        offsets = np.arange(start, min(start + period, radius + 1))
        folded[: len(offsets)] += np.exp(-0.5 * np.square(offsets / sigma))
    # Weights of both sides, of which that of offset 0 is one.
    response = 2 * np.fft.rfft(folded).real[:side] - 1
    return np.asarray(response / response[0])


def reduce_contrast(images: Values, reduction: float) -> Values:
    """Move all values towards the mean of their channel in their image.

    ``reduction``, in [0, 1], is the share of the distance from the mean that is taken away.
    """
    check_interval("reduction", reduction, 1.0, closed=True)
    mean = images.mean((1, 2))[:, None, None, :]
    # In this form a reduction of 0 changes no bit.
    reduced: Values = images + float(reduction) * (mean - images)
    return reduced


def color_jitter(
    images: Values, generator: Generator, *, contrast: float, brightness: float, tint: float
) -> Values:
    """Change contrast, brightness and colour of each image by random amounts of its own.

    Parameters
    ----------
    images : ndarray or tensor of shape (n_samples, height, width, channels)
        Returned as they are where all three amounts are 0.
    generator : numpy.random.Generator or torch.Generator
        Draws the amounts.
    contrast : float
        Largest relative change of distances from the image's mean, in [0, 1].
    brightness, tint : float
        Largest number added or subtracted, from all values and from those of each channel, in the
        units of ``images``, in [0, inf).
    """
    check_interval("contrast", contrast, 1.0, closed=True)
    check_interval("brightness", brightness)
    check_interval("tint", tint)
    if not any((contrast, brightness, tint)):
        return images
    n, channels = images.shape[0], images.shape[3]
    draw = 2.0 * uniform(images, (n, 1, 1, 2 + channels), generator) - 1.0
    added = brightness * draw[..., 1:2] + tint * draw[..., 2:]  # (n, 1, 1, channels)
    mean = images.mean((1, 2, 3))[:, None, None, None]
    jittered: Any = images + (contrast * draw[..., :1] * (images - mean) + added)
    cast = jittered.astype if is_array(jittered, generator) else jittered.to
    values: Values = cast(images.dtype)
    return values


def _random_interval(images: Any, side: int, size: int, generator: Generator) -> Any:
    """Draw ``size`` neighbouring pixels of one axis per image, as booleans (n_samples, side)."""
    length = min(size, side)
    n_starts = side - length + 1
    if is_array(images, generator):
        start, pixel = generator.integers(n_starts, size=len(images)), np.arange(side)
    else:
        draw = uniform(images, (images.shape[0],), generator)
        # Rounding may lift the product to n_starts.
        start = (draw * n_starts).floor().clamp(max=n_starts - 1)
        pixel = images.new_ones(side).float().cumsum(0) - 1
    return (pixel >= start[:, None]) & (pixel < start[:, None] + length)
