"""Helpers for matplotlib, which only this module imports, and only on use."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from skvim._uninterrupted import import_whole
from skvim.exceptions import MissingExtraError

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes

__all__ = [
    "add_legend",
    "axes_or_new",
    "import_pyplot",
    "line_style",
    "require_method",
    "style",
]

# Seven colours of M. Okabe and K. Ito (2008), Color universal design (its yellow is too faint for
# lines on white), then three of P. Tol's muted scheme: ten, as many as digits. Ten colours and nine
# markers have no common factor, so that 90 series differ.
_COLORS = (
    *("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000"),
    *("#882255", "#999933", "#999999"),
)
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*", "<")
# For lines that repeat a colour: markers alone are hard to distinguish.
_DASHES = ("-", "--", ":", "-.")


def import_pyplot(display: object) -> Any:
    """Return ``matplotlib.pyplot``, or raise ``MissingExtraError`` with how to install it.

    Called before any computation for the plot.
    """
    try:
        import_whole("matplotlib.pyplot")
        import matplotlib.pyplot as plt
    except ImportError as error:
        name = display.__name__ if isinstance(display, type) else type(display).__name__
        raise MissingExtraError(
            f'{name} needs matplotlib, which cannot be imported. Run pip install "skvim[plot]".'
        ) from error
    return plt


def axes_or_new(plt: Any, ax: "Axes | None", **figure_options: Any) -> "Axes":
    """Return ``ax``, or the only axes of a new figure."""
    if ax is not None:
        return ax
    new: Axes = plt.subplots(layout="constrained", **figure_options)[1]
    return new


def style(index: int) -> dict[str, Any]:
    """Return colour and marker of a series, distinct for 90 of them."""
    return {
        "color": _COLORS[index % len(_COLORS)],
        "marker": _MARKERS[index % len(_MARKERS)],
    }


def line_style(index: int) -> dict[str, Any]:
    """Return colour, marker and dashes of a series drawn as a line."""
    return {**style(index), "linestyle": _DASHES[index // len(_COLORS) % len(_DASHES)]}


def add_legend(ax: "Axes", handles: Sequence["Artist"], *, outside: bool) -> None:
    """Add a legend beside the axes, or inside axes that were given by the user."""
    if outside:
        ax.legend(handles=handles, loc="upper left", bbox_to_anchor=(1.02, 1.0), borderaxespad=0.0)
    else:
        ax.legend(handles=handles)


def require_method(display: type, estimator: object, method: str) -> None:
    """Raise ``TypeError`` unless the estimator has the method that the display calls."""
    if not callable(getattr(estimator, method, None)):
        raise TypeError(
            f"{display.__name__} calls {method}, which {type(estimator).__name__} does not have. "
            "Pass a fitted model that has it; of a pipeline, pass that step."
        )
