"""The maths of the corruptions of images: plain functions of arrays and tensors.

Images lie on axes (n_samples, height, width, channels). As with single values, torch is never
imported: a tensor brings along all that is needed.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skvim._layout import Layout
from skvim.noise._corruptions import Generator, Values, is_array, replace, uniform

__all__ = ["as_images", "blur", "fade", "occlude", "random_light", "shape_of"]


def shape_of(axes: Sequence[int], image_shape: Sequence[int] | None) -> tuple[int, int, int]:
    """Return (height, width, channels) of rows whose axes, but for the first, are ``axes``.

    A flat row without a shape is one line of pixels. Raises ``ValueError`` for a shape that is
    none, or that contradicts the axes.
    """
    flat = len(axes) == 1
    layout = Layout.of(math.prod(axes), () if flat else tuple(axes), image_shape)
    return layout.image or (1, axes[0], 1)


def as_images(x: Values, image_shape: Sequence[int] | None) -> Values:
    """Return rows, flat or images already, on axes (n_samples, height, width, channels)."""
    if x.ndim < 2:
        raise ValueError(
            "x has to hold flat rows, (n_samples, n_features), or images, (n_samples, height, "
            f"width[, channels]). Got shape {tuple(x.shape)} instead."
        )
    images: Values = x.reshape(x.shape[0], *shape_of(tuple(x.shape[1:]), image_shape))
    return images


def occlude(images: Values, size: int, value: float, generator: Generator) -> Values:
    """Cover a square of each image, at a place of its own, with one value.

    Parameters
    ----------
    images : ndarray or tensor of shape (n_samples, height, width, channels)
        Floating-point values; not modified.
    size : int
        Side of the square in pixels, at least 0; a longer side is that of the image.
    value : float
        What covers it, in all channels.
    generator : numpy.random.Generator or torch.Generator
        Of the same library (and device) as ``images``.

    Returns
    -------
    ndarray or tensor
        New images. The square lies inside; all such places are equally likely.
    """
    if size < 0:
        raise ValueError(f"size has to be an int in [0, inf). Got {size!r} instead.")
    down = _stretch(images, images.shape[1], size, generator)
    across = _stretch(images, images.shape[2], size, generator)
    return replace(images, (down[:, :, None] & across[:, None, :])[..., None], value)


def blur(images: Values, sigma: float) -> Values:
    """Convolve each channel of each image with a gaussian, mirrored at the borders.

    Parameters
    ----------
    images : ndarray or tensor of shape (n_samples, height, width, channels)
        Floating-point values; not modified.
    sigma : float
        Standard deviation of the gaussian in pixels, in [0, inf); it ends at 4 of them.

    Returns
    -------
    ndarray or tensor
        New images; the mean of each channel stays.
    """
    if not 0.0 <= sigma < math.inf:
        raise ValueError(f"sigma has to be a float in [0, inf). Got {sigma!r} instead.")
    # Slow to import, and of use to this alone.
    from scipy import ndimage

    if isinstance(images, np.ndarray):
        blurred: NDArray[Any] = ndimage.gaussian_filter(images, (0, sigma, sigma, 0))
        return blurred
    # The same filter as two products, which know gradients and stay on the device.
    down, across = (
        images.new_tensor(ndimage.gaussian_filter(np.eye(side), (sigma, 0)))
        for side in images.shape[1:3]
    )
    return (down @ images.permute(0, 3, 1, 2) @ across.T).permute(0, 2, 3, 1)


def fade(images: Values, reduction: float) -> Values:
    """Draw all values towards the mean of their channel in their image.

    Parameters
    ----------
    images : ndarray or tensor of shape (n_samples, height, width, channels)
        Floating-point values; not modified.
    reduction : float
        Share of the distance from the mean that is taken away, in [0, 1].

    Returns
    -------
    ndarray or tensor
        New images.
    """
    if not 0.0 <= reduction <= 1.0:
        raise ValueError(f"reduction has to be a float in [0, 1]. Got {reduction!r} instead.")
    mean = images.mean((1, 2))[:, None, None, :]
    # In this form a reduction of 0 changes not a bit.
    faded: Values = images + float(reduction) * (mean - images)
    return faded


def random_light(
    images: Values, generator: Generator, *, contrast: float, brightness: float, tint: float
) -> Values:
    """Change each image's contrast, brightness and colour by amounts of its own.

    Parameters
    ----------
    images : ndarray or tensor of shape (n_samples, height, width, channels)
        Floating-point values; not modified.
    generator : numpy.random.Generator or torch.Generator
        Of the same library (and device) as ``images``.
    contrast : float
        By which share distances from the image's mean change at most, in [0, 1].
    brightness, tint : float
        What is added at most, up or down, to all values and to those of each channel, in the units
        of ``images``, in [0, inf).

    Returns
    -------
    ndarray or tensor
        New images; ``images`` itself where all three are 0.
    """
    for name, size, end in (
        ("contrast", contrast, 1.0),
        ("brightness", brightness, math.inf),
        ("tint", tint, math.inf),
    ):
        if not 0.0 <= size <= end or size == math.inf:
            interval = "[0, 1]" if end == 1.0 else "[0, inf)"
            raise ValueError(f"{name} has to be a float in {interval}. Got {size!r} instead.")
    if not any((contrast, brightness, tint)):
        return images
    n, channels = images.shape[0], images.shape[3]
    draw = 2.0 * uniform(images, (n, 1, 1, 2 + channels), generator) - 1.0
    added = brightness * draw[..., 1:2] + tint * draw[..., 2:]  # (n, 1, 1, channels)
    mean = images.mean((1, 2, 3))[:, None, None, None]
    lit: Any = images + (contrast * draw[..., :1] * (images - mean) + added)
    values: Values = lit.astype(images.dtype) if is_array(lit, generator) else lit.to(images.dtype)
    return values


def _stretch(images: Any, side: int, size: int, generator: Generator) -> Any:
    """Choose a stretch of one axis for each image; booleans of shape (n_samples, side)."""
    length = min(size, side)
    n_places = side - length + 1
    if is_array(images, generator):
        start, pixel = generator.integers(n_places, size=len(images)), np.arange(side)
    else:
        draw = uniform(images, (images.shape[0],), generator)
        # Rounding may lift the product to n_places.
        start = (draw * n_places).floor().clamp(max=n_places - 1)
        pixel = images.new_ones(side).float().cumsum(0) - 1
    return (pixel >= start[:, None]) & (pixel < start[:, None] + length)
