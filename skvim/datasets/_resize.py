"""Downsampling of images by area averaging."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["average_areas"]


def average_areas(images: NDArray[Any], size: int) -> NDArray[np.uint8]:
    """Downsample square black and white images by averaging over equal areas.

    A pixel that overlaps several areas is weighted by its overlap with each. All sums are of
    integers that float32 represents exactly, so that every machine gives the same bytes; halves
    are rounded up.

    Parameters
    ----------
    images : ndarray of shape (n_images, n, n)
        Zero for paper, anything else for ink; ``n`` is at most 4095.
    size : int in [1, n]
        Pixels per side of the result.

    Returns
    -------
    ndarray of shape (n_images, size, size)
        255 times the fraction of ink.
    """
    n = images.shape[-1]
    # In units in which all edges are integers: a pixel is ``size`` long, an area ``n``.
    pixel, area = np.arange(n) * size, np.arange(size)[:, None] * n
    overlap = np.minimum(pixel + size, area + n) - np.maximum(pixel, area)
    weights = np.maximum(overlap, 0).astype(np.float32)
    ink = (weights @ (images != 0).astype(np.float32) @ weights.T).astype(np.int64)
    grey: NDArray[np.uint8] = ((2 * 255 * ink + n * n) // (2 * n * n)).astype(np.uint8)
    return grey
