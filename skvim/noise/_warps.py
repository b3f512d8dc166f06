"""The maths of warped images: plain functions of arrays and tensors.

Images lie on axes (n_samples, height, width, channels). Torch is imported for tensors alone.
"""

import math
from typing import Any

import numpy as np

from skvim.noise._corruptions import Generator, Values, uniform

__all__ = ["random_warp", "warp"]


def random_warp(
    images: Values,
    generator: Generator,
    *,
    shift: float,
    angle: float,
    stretch: float,
    shear: float,
    crop: float = 0.0,
    mirror: bool = False,
) -> Values:
    """Warp each image by an affine map of its own, drawn uniformly.

    Parameters
    ----------
    images : ndarray or tensor of shape (n_samples, height, width, channels)
        Floating-point values; not modified.
    generator : numpy.random.Generator or torch.Generator
        Of the same library (and device) as ``images``.
    shift, angle, stretch, shear : float
        Largest sizes of what :func:`warp` takes, which are drawn from both sides of 0: pixels in
        [0, inf), degrees in [0, 180], shares in [0, 1) and in [0, inf).
    crop : float in [0, 1), default=0.0
        By which share at most the window is smaller than the image that is drawn out to its size;
        the window lies anywhere inside.
    mirror : bool, default=False
        Whether half of the images are mirrored, left to right.

    Returns
    -------
    ndarray or tensor
        New images; ``images`` itself where there is nothing to do.
    """
    _check_size("shift", shift, math.inf)
    _check_size("angle", angle, 180.0, closed=True)
    _check_size("stretch", stretch, 1.0)
    _check_size("shear", shear, math.inf)
    _check_size("crop", crop, 1.0)
    if not any((shift, angle, stretch, shear, crop, mirror)):
        return images
    draw = 2.0 * uniform(images, (6, images.shape[0]), generator) - 1.0
    moved, seen = shift * draw[:2], 1.0 + stretch * draw[3:5]
    if crop:
        window = uniform(images, (3, images.shape[0]), generator)
        side = 1.0 - crop * window[0]
        place = (1.0 - side) * (window[1:] - 0.5)
        moved = moved + _stacked(place[0] * images.shape[1], place[1] * images.shape[2])
        seen = seen * side
    if mirror:
        turned = uniform(images, (images.shape[0],), generator) < 0.5
        seen = _stacked(seen[0], seen[1] * (1.0 - 2.0 * turned))
    return warp(images, moved, angle * draw[2], seen - 1.0, shear * draw[5])


def warp(images: Values, shift: Any, angle: Any, stretch: Any, shear: Any) -> Values:
    """Warp each image by its own affine map about its centre, with bilinear interpolation.

    Parameters
    ----------
    images : ndarray or tensor of shape (n_samples, height, width, channels)
        Floating-point values; not modified.
    shift : array or tensor of shape (2, n_samples)
        How far the image moves, down and to the right, in pixels.
    angle : array or tensor of shape (n_samples,)
        By how many degrees it is turned, anticlockwise.
    stretch : array or tensor of shape (2, n_samples)
        By which share more is seen, from top to bottom and from left to right; below -1 the
        image is mirrored.
    shear : array or tensor of shape (n_samples,)
        How far each row of pixels is displaced against the next, in pixels.

    Returns
    -------
    ndarray or tensor
        New images. Beyond its borders an image goes on as its outermost pixels; all channels move
        alike.

    Notes
    -----
    With rows y and columns x from the centre of an image, the new image shows at (x, y) what was
    at ::

        x' = cos(a) (1 + s_x) x + (k - sin(a) (1 + s_y)) y - t_x
        y' = sin(a) (1 + s_x) x + cos(a) (1 + s_y) y - t_y

    Half precision is too coarse for places, which are worked out in float32.
    """
    height, width = images.shape[1:3]
    y, x = _centred(images, height)[:, None], _centred(images, width)
    cos, sin = _turn(angle[:, None, None] * (math.pi / 180.0))
    t_y, t_x = shift[:, :, None, None]
    s_y, s_x = 1.0 + stretch[:, :, None, None]
    down = sin * s_x * x + cos * s_y * y - t_y
    across = cos * s_x * x + (shear[:, None, None] - sin * s_y) * y - t_x
    down, across = down + (height - 1) / 2, across + (width - 1) / 2
    warped: Values = _interpolate(images, down, across)
    return warped


def _stacked(first: Any, second: Any) -> Any:
    """Return two rows as an array of shape (2, n)."""
    if isinstance(first, np.ndarray):
        return np.stack([first, second])
    # Imported already: there is a tensor.
    from torch import stack

    return stack([first, second])


def _interpolate(images: Any, down: Any, across: Any) -> Any:
    """Read images at places in pixels, of shape (n_samples, height, width)."""
    if isinstance(images, np.ndarray):
        return _interpolate_array(images, down, across)
    # Imported already: there is a tensor.
    from torch import stack
    from torch.nn import functional

    sides = ((across, images.shape[2]), (down, images.shape[1]))
    grid = stack([(2.0 * places + 1.0) / side - 1.0 for places, side in sides], -1)
    values = _wide(images).permute(0, 3, 1, 2)
    found = functional.grid_sample(
        values, grid.to(values.dtype), padding_mode="border", align_corners=False
    )
    return found.permute(0, 2, 3, 1).to(images.dtype)


def _interpolate_array(images: Any, down: Any, across: Any) -> Any:
    """Do so with NumPy."""
    n, height, width, channels = images.shape
    top, below, down = _neighbours(down, height)
    left, right, across = _neighbours(across, width)
    pixels = images.reshape(n * height * width, channels)
    first = (np.arange(n) * (height * width))[:, None, None]

    def along(row: Any) -> Any:
        start = first + row * width
        before = pixels[start + left]
        return before + across * (pixels[start + right] - before)

    above = along(top)
    return (above + down * (along(below) - above)).astype(images.dtype, copy=False)


def _neighbours(places: Any, side: int) -> tuple[Any, Any, Any]:
    """Return the pixels before and after places on an axis, and how far towards the second."""
    places = places.clip(0.0, side - 1.0)
    before = places.astype(np.int64)
    return before, np.minimum(before + 1, side - 1), (places - before)[..., None]


def _turn(radians: Any) -> tuple[Any, Any]:
    """Return cosine and sine."""
    if isinstance(radians, np.ndarray):
        return np.cos(radians), np.sin(radians)
    return radians.cos(), radians.sin()


def _wide(images: Any) -> Any:
    """Return a tensor in a type in which places can be told apart."""
    return images.float() if images.element_size() < 4 else images


def _centred(images: Any, side: int) -> Any:
    """Return the places of the pixels of an axis, from its middle."""
    if isinstance(images, np.ndarray):
        return np.arange(side) - (side - 1) / 2
    return _wide(images.new_ones(side)).cumsum(0) - (side + 1) / 2


def _check_size(name: str, size: float, end: float, *, closed: bool = False) -> None:
    """Raise ``ValueError`` unless a size lies between 0 and an end."""
    if not 0.0 <= size <= end or (size == end and not closed):
        interval = f"[0, {end:g}{']' if closed else ')'}"
        raise ValueError(f"{name} has to be a float in {interval}. Got {size!r} instead.")
