"""Making pictures smaller by averaging over areas."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["average_areas"]


def average_areas(images: NDArray[Any], size: int) -> NDArray[np.uint8]:
    """Average square black and white images over equal areas.

    A pixel that lies in several areas counts for each by the part that lies in it. All sums are of
    integers that float32 holds exactly, so that every machine gives the same bytes; a half is
    rounded up.

    Parameters
    ----------
    images : ndarray of shape (n_images, n, n)
        Zero where there is paper, anything else where there is ink; ``n`` is at most 4095.
    size : int in [1, n]
        Pixels per side of the result.

    Returns
    -------
    ndarray of shape (n_images, size, size)
        255 times the share of ink.
    """
    n = images.shape[-1]
    # In units that make both kinds of edges integers: a pixel is ``size`` long, an area ``n``.
    pixel, area = np.arange(n) * size, np.arange(size)[:, None] * n
    overlap = np.minimum(pixel + size, area + n) - np.maximum(pixel, area)
    weights = np.maximum(overlap, 0).astype(np.float32)
    ink = (weights @ (images != 0).astype(np.float32) @ weights.T).astype(np.int64)
    grey: NDArray[np.uint8] = ((2 * 255 * ink + n * n) // (2 * n * n)).astype(np.uint8)
    return grey
