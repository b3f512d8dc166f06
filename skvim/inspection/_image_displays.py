"""Grids of images: reconstructions and samples."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Self, final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from skvim._float_errors import numpy_defaults
from skvim._validation import check_count, count_rows
from skvim.inspection._matplotlib import axes_or_new, import_pyplot, require_method

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["ReconstructionDisplay", "SamplesDisplay", "as_images", "interleave", "tile"]

_MAX_COLUMNS = 10


@final
class ReconstructionDisplay:
    """Grid of images and their reconstructions: odd rows are the originals.

    Parameters
    ----------
    originals : array-like of shape (n_images, n_features)
        Images as rows, or in any shape with as many values.
    reconstructions : array-like of shape (n_images, n_features)
        Their reconstructions.
    image_shape : tuple of int
        ``(height, width)`` or ``(height, width, 3)``.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes with the grid.
    figure_ : matplotlib Figure
        Figure of the axes.
    im_ : matplotlib AxesImage
        The grid as one image, with a gap of one pixel between cells.

    See Also
    --------
    SamplesDisplay : Samples of a generative model.

    Examples
    --------
    >>> from sklearn.base import BaseEstimator
    >>> from sklearn.datasets import load_digits
    >>> from skvim.inspection import ReconstructionDisplay
    >>> class Smoother(BaseEstimator):
    ...     def reconstruct(self, X):
    ...         return 0.5 * X + 0.5 * X.mean(axis=0)
    >>> X, _ = load_digits(return_X_y=True)
    >>> display = ReconstructionDisplay.from_estimator(Smoother(), X, image_shape=(8, 8))
    >>> display.im_.get_array().shape
    (17, 89)
    """

    ax_: "Axes"
    figure_: Any
    im_: Any

    def __init__(
        self,
        originals: ArrayLike,
        reconstructions: ArrayLike,
        *,
        image_shape: Sequence[int],
    ) -> None:
        self.originals = originals
        self.reconstructions = reconstructions
        self.image_shape = image_shape

    @classmethod
    @numpy_defaults()
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        *,
        image_shape: Sequence[int],
        n_images: int = 10,
        value_range: tuple[float, float] | None = None,
        ax: "Axes | None" = None,
    ) -> Self:
        """Reconstruct the first images and plot both.

        Parameters
        ----------
        estimator : object
            A fitted model with a method ``reconstruct(X)``.
        X : array-like or DataFrame of shape (n_samples, n_features)
            Images as rows.
        image_shape : tuple of int
            ``(height, width)`` or ``(height, width, 3)``.
        n_images : int, default=10
            Number of first rows to show, at least 1; all if ``X`` has fewer.
        value_range : tuple of float or None, default=None
            Values of the darkest and the brightest tone; None uses the range of the originals.
        ax : matplotlib Axes or None, default=None
            Axes to plot into; None makes a new figure.

        Returns
        -------
        ReconstructionDisplay
            The plotted display.
        """
        import_pyplot(cls)
        require_method(cls, estimator, "reconstruct")
        n_images = check_count("n_images", n_images)
        count_rows("X", X)
        first = X.iloc[:n_images] if hasattr(X, "iloc") else np.asarray(X)[:n_images]
        display = cls(first, estimator.reconstruct(first), image_shape=image_shape)
        return display.plot(ax, value_range=value_range)

    @numpy_defaults()
    def plot(
        self,
        ax: "Axes | None" = None,
        *,
        value_range: tuple[float, float] | None = None,
    ) -> Self:
        """Plot the images, up to ten in a row, with their reconstructions below.

        Parameters
        ----------
        ax : matplotlib Axes or None, default=None
            Axes to plot into; None makes a new figure.
        value_range : tuple of float or None, default=None
            Values of the darkest and the brightest tone; None uses the range of the originals.

        Returns
        -------
        ReconstructionDisplay
            The display itself.
        """
        plt = import_pyplot(self)
        originals = as_images(self.originals, self.image_shape)
        reconstructions = as_images(self.reconstructions, self.image_shape)
        if len(originals) != len(reconstructions):
            raise ValueError(
                f"There must be one reconstruction per image. Got {len(originals)} images and "
                f"{len(reconstructions)} reconstructions."
            )
        limits = _limits(originals, value_range)
        n_columns = min(len(originals), _MAX_COLUMNS)
        cells = interleave(originals, reconstructions, n_columns, fill=limits[1])
        self.ax_, self.im_ = _show(plt, ax, cells, n_columns, limits)
        self.ax_.set_title("odd rows: originals, even rows: reconstructions")
        self.figure_ = self.ax_.get_figure()
        return self


@final
class SamplesDisplay:
    """Square grid of samples of a generative model.

    Parameters
    ----------
    samples : array-like of shape (n_samples, n_features)
        Images as rows, or in any shape with as many values.
    image_shape : tuple of int
        ``(height, width)`` or ``(height, width, 3)``.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes with the grid.
    figure_ : matplotlib Figure
        Figure of the axes.
    im_ : matplotlib AxesImage
        The grid as one image, with a gap of one pixel between cells.

    See Also
    --------
    ReconstructionDisplay : Images and their reconstructions.

    Examples
    --------
    >>> import numpy as np
    >>> from skvim.inspection import SamplesDisplay
    >>> class Uniform:
    ...     def sample(self, n_samples=1, *, random_state=None):
    ...         return np.random.default_rng(random_state).random((n_samples, 64))
    >>> display = SamplesDisplay.from_estimator(Uniform(), image_shape=(8, 8), random_state=0)
    >>> display.im_.get_array().shape
    (71, 71)
    """

    ax_: "Axes"
    figure_: Any
    im_: Any

    def __init__(self, samples: ArrayLike, *, image_shape: Sequence[int]) -> None:
        self.samples = samples
        self.image_shape = image_shape

    @classmethod
    @numpy_defaults()
    def from_estimator(
        cls,
        estimator: Any,
        *,
        image_shape: Sequence[int],
        n_samples: int = 64,
        random_state: Any = None,
        value_range: tuple[float, float] | None = None,
        ax: "Axes | None" = None,
    ) -> Self:
        """Draw samples from a model and plot them.

        Parameters
        ----------
        estimator : object
            A fitted model with a method ``sample(n_samples, *, random_state)``.
        image_shape : tuple of int
            ``(height, width)`` or ``(height, width, 3)``.
        n_samples : int, default=64
            Number of samples, at least 1.
        random_state : int, RandomState instance or None, default=None
            Passed to ``sample``.
        value_range : tuple of float or None, default=None
            Values of the darkest and the brightest tone; None uses the range of the samples.
        ax : matplotlib Axes or None, default=None
            Axes to plot into; None makes a new figure.

        Returns
        -------
        SamplesDisplay
            The plotted display.
        """
        import_pyplot(cls)
        require_method(cls, estimator, "sample")
        n_samples = check_count("n_samples", n_samples)
        samples = estimator.sample(n_samples, random_state=random_state)
        return cls(samples, image_shape=image_shape).plot(ax, value_range=value_range)

    @numpy_defaults()
    def plot(
        self,
        ax: "Axes | None" = None,
        *,
        value_range: tuple[float, float] | None = None,
    ) -> Self:
        """Plot the samples row by row.

        Parameters
        ----------
        ax : matplotlib Axes or None, default=None
            Axes to plot into; None makes a new figure.
        value_range : tuple of float or None, default=None
            Values of the darkest and the brightest tone; None uses the range of the samples.

        Returns
        -------
        SamplesDisplay
            The display itself.
        """
        plt = import_pyplot(self)
        samples = as_images(self.samples, self.image_shape)
        limits = _limits(samples, value_range)
        n_columns = math.ceil(math.sqrt(len(samples)))
        self.ax_, self.im_ = _show(plt, ax, samples, n_columns, limits)
        self.ax_.set_title(f"{len(samples)} samples")
        self.figure_ = self.ax_.get_figure()
        return self


def as_images(values: ArrayLike, image_shape: Sequence[int]) -> NDArray[np.float64]:
    """Reshape rows of shape (n, n_features) to (n, height, width) or (n, height, width, 3)."""
    rows = np.asarray(values, dtype=np.float64)
    shape = tuple(image_shape)
    if len(shape) == 3 and shape[2] == 1:
        shape = shape[:2]
    if len(shape) != 2 and shape[2:] != (3,):
        raise ValueError(
            "image_shape must be (height, width), with an optional last entry of 1 or 3 "
            f"channels. Got {image_shape!r} instead."
        )
    if rows.ndim < 2 or not len(rows):
        raise ValueError(f"Images must be rows of a matrix. Got an array of shape {rows.shape}.")
    if rows[0].size != math.prod(shape):
        raise ValueError(
            f"image_shape={image_shape!r} has {math.prod(shape)} values, but the images have "
            f"{rows[0].size}. Pass the shape that the rows were flattened from."
        )
    return rows.reshape(len(rows), *shape)


def interleave(
    originals: NDArray[Any],
    reconstructions: NDArray[Any],
    n_columns: int,
    *,
    fill: float,
) -> NDArray[Any]:
    """Order images for a grid of rows of originals, each above a row of reconstructions.

    Takes two arrays of shape (n, height, width[, 3]), returns one of shape
    (2 · n_columns · ceil(n / n_columns), height, width[, 3]) with blank images of value ``fill``.
    """
    pairs = [_pad(images, n_columns, fill) for images in (originals, reconstructions)]
    image_shape = originals.shape[1:]
    # (n_rows, n_columns, …) twice -> (n_rows, 2, n_columns, …)
    rows = [images.reshape(-1, n_columns, *image_shape) for images in pairs]
    return np.stack(rows, axis=1).reshape(-1, *image_shape)


def tile(images: NDArray[Any], n_columns: int, *, fill: float) -> NDArray[Any]:
    """Join images (n, height, width[, 3]) into one, row by row, one pixel apart."""
    padded = _pad(images, n_columns, fill)
    edge = [(0, 0), (0, 1), (0, 1)] + [(0, 0)] * (images.ndim - 3)
    cells = np.pad(padded, edge, constant_values=fill)
    n_rows = len(cells) // n_columns
    height, width = cells.shape[1:3]
    # (n_rows, n_columns, height, width, …) -> (n_rows, height, n_columns, width, …)
    grid = cells.reshape(n_rows, n_columns, *cells.shape[1:]).swapaxes(1, 2)
    joined = grid.reshape(n_rows * height, n_columns * width, *cells.shape[3:])
    return joined[:-1, :-1]


def _pad(images: NDArray[Any], n_columns: int, fill: float) -> NDArray[Any]:
    """Append blank images to fill the last row of the grid."""
    blank = np.full((-len(images) % n_columns, *images.shape[1:]), fill)
    return np.concatenate([images, blank])


def _limits(
    images: NDArray[np.float64], value_range: tuple[float, float] | None
) -> tuple[float, float]:
    """Return the values of the darkest and the brightest tone."""
    low, high = (images.min(), images.max()) if value_range is None else value_range
    return float(low), float(high)


def _show(
    plt: Any,
    ax: "Axes | None",
    images: NDArray[np.float64],
    n_columns: int,
    limits: tuple[float, float],
) -> tuple["Axes", Any]:
    """Plot a grid of images; return its axes and the image in them."""
    low, high = limits
    grid = tile(images, n_columns, fill=high)
    if grid.ndim == 3:
        # matplotlib takes colours in [0, 1] and ignores vmin and vmax for them.
        grid = np.clip((grid - low) / ((high - low) or 1.0), 0.0, 1.0)
    size = (0.8 * n_columns, 0.8 * math.ceil(len(images) / n_columns) + 0.4)
    axes = axes_or_new(plt, ax, figsize=size)
    drawn = axes.imshow(grid, cmap="gray", vmin=low, vmax=high, interpolation="nearest")
    axes.set_axis_off()
    return axes, drawn
