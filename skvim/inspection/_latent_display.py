"""Scatter plot of latent codes."""

from typing import TYPE_CHECKING, Any, Self, final

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.decomposition import PCA

from skvim._float_errors import numpy_defaults
from skvim._labeled import reject_missing
from skvim.inspection._matplotlib import (
    add_legend,
    axes_or_new,
    import_pyplot,
    require_method,
    style,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["LatentDisplay", "project"]


@final
class LatentDisplay:
    """Scatter plot of two-dimensional codes, or of their first two principal components.

    Points are coloured by class; the axis labels say which components are shown.

    Parameters
    ----------
    codes : array-like of shape (n_samples, n_components)
        At least two components.
    y : array-like of shape (n_samples,) or None, default=None
        Class labels, numbers or strings; None plots all points in one colour. -1, the mark of rows
        without a label, is a class of its own.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes with the points.
    figure_ : matplotlib Figure
        Figure of the axes.
    scatter_ : list of matplotlib PathCollection
        Points, one collection per class in sorted order, numbers before strings.

    See Also
    --------
    skvim.metrics.active_units : Number of active latent dimensions.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.decomposition import PCA
    >>> from skvim.inspection import LatentDisplay
    >>> X, y = load_iris(return_X_y=True)
    >>> display = LatentDisplay.from_estimator(PCA(2).fit(X), X, y)
    >>> display.ax_.get_xlabel(), len(display.scatter_)
    ('latent component 1', 3)
    """

    ax_: "Axes"
    figure_: Any
    scatter_: list[Any]

    def __init__(self, codes: ArrayLike, y: ArrayLike | None = None) -> None:
        self.codes = codes
        self.y = y

    @classmethod
    @numpy_defaults()
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        y: ArrayLike | None = None,
        *,
        ax: "Axes | None" = None,
    ) -> Self:
        """Encode rows and plot their codes.

        Parameters
        ----------
        estimator : object
            A fitted model or pipeline with a method ``transform(X)``.
        X : array-like or DataFrame of shape (n_samples, n_features)
            Rows to encode.
        y : array-like of shape (n_samples,) or None, default=None
            Class labels of the rows.
        ax : matplotlib Axes or None, default=None
            Axes to plot into; None makes a new figure.

        Returns
        -------
        LatentDisplay
            The plotted display.
        """
        import_pyplot(cls)
        require_method(cls, estimator, "transform")
        return cls(estimator.transform(X), y).plot(ax)

    @numpy_defaults()
    def plot(self, ax: "Axes | None" = None) -> Self:
        """Plot the codes.

        Parameters
        ----------
        ax : matplotlib Axes or None, default=None
            Axes to plot into; None makes a new figure.

        Returns
        -------
        LatentDisplay
            The display itself.
        """
        plt = import_pyplot(self)
        points, labels = project(self.codes)
        groups = [("", points)] if self.y is None else _by_class(points, self.y)
        axes = axes_or_new(plt, ax)
        self.scatter_ = [
            axes.scatter(
                group[:, 0], group[:, 1], s=18, alpha=0.8, linewidths=0, label=name, **style(i)
            )
            for i, (name, group) in enumerate(groups)
        ]
        if self.y is not None:
            add_legend(axes, self.scatter_, outside=ax is None)
        axes.set(xlabel=labels[0], ylabel=labels[1])
        self.ax_, self.figure_ = axes, axes.get_figure()
        return self


def project(codes: ArrayLike) -> tuple[NDArray[Any], tuple[str, str]]:
    """Reduce codes to two dimensions.

    Parameters
    ----------
    codes : array-like of shape (n_samples, n_components)
        At least two components.

    Returns
    -------
    points : ndarray of shape (n_samples, 2)
        The codes themselves, or their first two principal components.
    labels : tuple of str
        Labels of the two axes.
    """
    values = np.asarray(codes, dtype=np.float64)
    if values.ndim != 2 or values.shape[1] < 2:
        raise ValueError(
            "codes must be of shape (n_samples, n_components) with at least two components. "
            f"Got shape {values.shape} instead."
        )
    if values.shape[1] == 2:
        return values, ("latent component 1", "latent component 2")
    # Codes of a collapsed model are constant; PCA then divides 0 by 0 in a ratio not used here.
    with np.errstate(invalid="ignore"):
        points = PCA(n_components=2, svd_solver="full").fit_transform(values)
    total = values.var(axis=0).sum() or 1.0
    shares = points.var(axis=0) / total
    first, second = (
        f"principal component {i} of {values.shape[1]} ({share:.0%} of variance)"
        for i, share in enumerate(shares, start=1)
    )
    return points, (first, second)


def _by_class(points: NDArray[Any], y: ArrayLike) -> list[tuple[str, NDArray[Any]]]:
    """Split points by label, in sorted order."""
    labels = np.asarray(y)
    if labels.shape != (len(points),):
        raise ValueError(
            f"y must hold one class label per row, {len(points)} here. "
            f"Got shape {labels.shape} instead."
        )
    reject_missing(y, labels, "LatentDisplay")
    if labels.dtype.kind == "f" and not np.array_equal(labels, np.round(labels)):
        raise ValueError(
            "y must hold class labels. Got real numbers instead; omit y, or bin it first."
        )
    return [(str(label), points[labels == label]) for label in _sorted(labels)]


def _sorted(labels: NDArray[Any]) -> list[Any]:
    """Return the distinct labels in order; strings, which may have -1 among them, come last."""
    # The order of np.unique is kept for arrays of one type; str and int have no common order.
    if labels.dtype.kind != "O":
        return list(np.unique(labels))
    return sorted(set(labels.tolist()), key=lambda label: (isinstance(label, str), label))
