"""Conversion between images and flat rows."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

__all__ = ["Layout", "flatten"]


def flatten(X: Any) -> tuple[Any, tuple[int, ...]]:
    """Return images as flat rows, and anything else unchanged.

    Parameters
    ----------
    X : array-like
        Images of shape (n, height, width) or (n, height, width, channels) and any numeric dtype, or
        flat rows in any form.

    Returns
    -------
    rows : object
        Array of shape (n, height * width * channels), with unchanged values and dtype; or X.
    axes : tuple of int
        Shape of one image; empty if X is not an array of images.

    Raises
    ------
    ValueError
        If X has more than four axes.
    """
    if isinstance(X, list | tuple) and X and np.ndim(X[0]) > 1:
        X = np.asarray(X)
    n_axes = getattr(X, "ndim", 0)
    if n_axes <= 2:
        return X, ()
    images = np.asarray(X)
    if n_axes > 4:
        raise ValueError(
            "X must hold rows, (n_samples, n_features), or images, (n_samples, height, width) or "
            f"(n_samples, height, width, channels). Got shape {images.shape}."
        )
    axes = images.shape[1:]
    return images.reshape(len(images), math.prod(axes)), axes


@final
@dataclass(frozen=True)
class Layout:
    """Shape of the rows or images that ``fit`` got.

    Parameters
    ----------
    axes : tuple of int
        Shape of X after the first axis: (n_features,), or that of an image.
    image : (height, width, channels) or None
        Shape of a row as an image, if it is known to be one.
    """

    axes: tuple[int, ...]
    image: tuple[int, int, int] | None

    @classmethod
    def of(
        cls, n_features: int, axes: tuple[int, ...], image_shape: Sequence[int] | None
    ) -> "Layout":
        """Return the layout of flat rows or, if ``axes`` is not empty, of images.

        Raises
        ------
        ValueError
            If ``image_shape``, the estimator's parameter, is invalid or contradicts X.
        """
        given = None if image_shape is None else _image(image_shape)
        image = _image(axes) if axes else given
        if given is not None and image != given:
            raise ValueError(
                f"image_shape={image_shape!r} contradicts X, which holds images of shape {axes}. "
                "Leave image_shape at None, or reshape X."
            )
        if given is not None and math.prod(given) != n_features:
            raise ValueError(
                f"image_shape={image_shape!r} has {math.prod(given)} values, but X has "
                f"{n_features} features. Pass the shape of an image, channels last."
            )
        return cls(axes or (n_features,), image)

    @property
    def shape(self) -> tuple[int, ...]:
        """(height, width, channels) of an image, or (n_features,)."""
        return self.image or self.axes

    def check(self, axes: tuple[int, ...]) -> None:
        """Raise ``ValueError`` if new images have another shape."""
        if axes and self.image is not None and _image(axes) != self.image:
            raise ValueError(
                f"X holds images of shape {axes}, but the model was fitted on images of shape "
                f"{self.image} (height, width, channels)."
            )

    def restore(self, rows: NDArray[Any]) -> NDArray[Any]:
        """Return flat rows in the layout of ``fit``."""
        return rows.reshape(len(rows), *self.axes)


def _image(shape: Sequence[int]) -> tuple[int, int, int]:
    """Return (height, width, channels), with one channel if none is given."""
    sides = tuple(shape)
    whole = all(isinstance(s, Integral) and not isinstance(s, bool) and s > 0 for s in sides)
    if len(sides) not in {2, 3} or not whole:
        raise ValueError(
            "image_shape must be (height, width) or (height, width, channels), positive integers. "
            f"Got {shape!r} instead."
        )
    height, width, channels = (int(side) for side in (*sides, 1)[:3])
    return height, width, channels
