"""Random affine transformations of images, as functions of an array or tensor.

Images have axes (n_samples, height, width, channels). Torch is imported for tensors only.
"""

import math
from typing import Any

import numpy as np

from skvim.noise._corruptions import Generator, Values, check_interval, uniform

__all__ = ["affine", "random_affine"]


def random_affine(
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
    """Transform each image by a random affine map of its own.

    Parameters
    ----------
    images : ndarray or tensor of shape (n_samples, height, width, channels)
        Returned as they are where there is nothing to do.
    generator : numpy.random.Generator or torch.Generator
        Draws the maps.
    shift, angle, stretch, shear : float
        Largest absolute values of what :func:`affine` takes, drawn uniformly: pixels in [0, inf),
        degrees in [0, 180], shares in [0, 1) and in [0, inf).
    crop : float in [0, 1), default=0.0
        Largest share by which a window, uniform inside the image, is smaller than the image; it is
        resized to the image.
    mirror : bool, default=False
        Whether each image is mirrored, left to right, with probability 1/2.
    """
    check_interval("shift", shift)
    check_interval("angle", angle, 180.0, closed=True)
    check_interval("stretch", stretch, 1.0)
    check_interval("shear", shear)
    check_interval("crop", crop, 1.0)
    if not any((shift, angle, stretch, shear, crop, mirror)):
        return images
    draw = 2.0 * uniform(images, (6, images.shape[0]), generator) - 1.0
    shifts, scales = shift * draw[:2], 1.0 + stretch * draw[3:5]
    if crop:
        window = uniform(images, (3, images.shape[0]), generator)
        side = 1.0 - crop * window[0]
        centre = (1.0 - side) * (window[1:] - 0.5)
        shifts = shifts + _stack(centre[0] * images.shape[1], centre[1] * images.shape[2])
        scales = scales * side
    if mirror:
        mirrored = uniform(images, (images.shape[0],), generator) < 0.5
        scales = _stack(scales[0], scales[1] * (1.0 - 2.0 * mirrored))
    return affine(images, shifts, angle * draw[2], scales - 1.0, shear * draw[5])


def affine(images: Values, shift: Any, angle: Any, stretch: Any, shear: Any) -> Values:
    """Transform each image by its own affine map about its centre, with bilinear interpolation.

    Beyond its borders an image repeats its outermost pixels; all channels are transformed alike.

    Parameters
    ----------
    images : ndarray or tensor of shape (n_samples, height, width, channels)
        Not modified.
    shift : array or tensor of shape (2, n_samples)
        Translation down and to the right, in pixels.
    angle : array or tensor of shape (n_samples,)
        Anticlockwise rotation, in degrees.
    stretch : array or tensor of shape (2, n_samples)
        Share by which the visible height and width grow; below -1 the image is mirrored.
    shear : array or tensor of shape (n_samples,)
        Displacement of each row of pixels against the next, in pixels.

    Notes
    -----
    With rows y and columns x from the centre of an image, the new image has at (x, y) what was
    at ::

        x' = cos(a) (1 + s_x) x + (k - sin(a) (1 + s_y)) y - t_x
        y' = sin(a) (1 + s_x) x + cos(a) (1 + s_y) y - t_y

    Coordinates are computed in float32 at least: half precision is too coarse.
    """
    height, width = images.shape[1:3]
    y, x = _coordinates(images, height)[:, None], _coordinates(images, width)
    cos, sin = _cos_sin(angle[:, None, None] * (math.pi / 180.0))
    t_y, t_x = shift[:, :, None, None]
    s_y, s_x = 1.0 + stretch[:, :, None, None]
    rows = sin * s_x * x + cos * s_y * y - t_y
    columns = cos * s_x * x + (shear[:, None, None] - sin * s_y) * y - t_x
    rows, columns = rows + (height - 1) / 2, columns + (width - 1) / 2
    transformed: Values = _interpolate(images, rows, columns)
    return transformed


def _stack(first: Any, second: Any) -> Any:
    """Return two arrays or tensors of shape (n,) as one of shape (2, n)."""
    if isinstance(first, np.ndarray):
        return np.stack([first, second])
    from torch import stack  # imported already: there is a tensor

    return stack([first, second])


def _interpolate(images: Any, rows: Any, columns: Any) -> Any:
    """Interpolate images at coordinates in pixels, each of shape (n_samples, height, width)."""
    if isinstance(images, np.ndarray):
        return _interpolate_array(images, rows, columns)
    from torch import stack
    from torch.nn import functional

    sides = ((columns, images.shape[2]), (rows, images.shape[1]))
    grid = stack([(2.0 * coordinates + 1.0) / side - 1.0 for coordinates, side in sides], -1)
    values = _at_least_float32(images).permute(0, 3, 1, 2)
    interpolated = functional.grid_sample(
        values, grid.to(values.dtype), padding_mode="border", align_corners=False
    )
    return interpolated.permute(0, 2, 3, 1).to(images.dtype)


def _interpolate_array(images: Any, rows: Any, columns: Any) -> Any:
    """Interpolate arrays, with NumPy."""
    n, height, width, channels = images.shape
    top, below, down = _neighbours(rows, height)
    left, right, across = _neighbours(columns, width)
    pixels = images.reshape(n * height * width, channels)
    first = (np.arange(n) * (height * width))[:, None, None]

    def along_row(row: Any) -> Any:
        start = first + row * width
        before = pixels[start + left]
        return before + across * (pixels[start + right] - before)

    above = along_row(top)
    return (above + down * (along_row(below) - above)).astype(images.dtype, copy=False)


def _neighbours(coordinates: Any, side: int) -> tuple[Any, Any, Any]:
    """Return the pixels before and after coordinates on an axis, and the weight of the latter."""
    coordinates = coordinates.clip(0.0, side - 1.0)
    before = coordinates.astype(np.int64)
    return before, np.minimum(before + 1, side - 1), (coordinates - before)[..., None]


def _cos_sin(radians: Any) -> tuple[Any, Any]:
    """Return cosine and sine of an array or tensor."""
    if isinstance(radians, np.ndarray):
        return np.cos(radians), np.sin(radians)
    return radians.cos(), radians.sin()


def _at_least_float32(images: Any) -> Any:
    """Return a tensor in float32 where it is in half precision."""
    return images.float() if images.element_size() < 4 else images


def _coordinates(images: Any, side: int) -> Any:
    """Return the coordinates of an axis' pixels from its centre."""
    if isinstance(images, np.ndarray):
        return np.arange(side) - (side - 1) / 2
    return _at_least_float32(images.new_ones(side)).cumsum(0) - (side + 1) / 2
