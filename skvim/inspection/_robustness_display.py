"""Plot of robustness curves: score against the level of corruption."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Self, final

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator

from skvim._float_errors import numpy_defaults
from skvim.inspection._matplotlib import add_legend, import_pyplot, line_style
from skvim.metrics import robustness_curve
from skvim.metrics._corrupted import CLEAN, check_columns

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.lines import Line2D

__all__ = ["RobustnessDisplay", "summarise"]

_COLUMNS = ("estimator", "corruption", "level", "score")


@final
class RobustnessDisplay:
    """Plot of robustness curves of one or several estimators.

    One panel per corruption, with score against level; a line for the mean of the repeats, a band
    of ± one standard deviation, and the clean score at level 0.

    Parameters
    ----------
    curves : DataFrame
        Concatenated results of :func:`skvim.metrics.robustness_curve`, with an additional column
        ``estimator`` of labels. Several fits under one label are pooled.
    score_name : str, default="score"
        Label of the vertical axis.

    Attributes
    ----------
    ax_ : ndarray of matplotlib Axes, of shape (n_corruptions,)
        Axes of the panels.
    figure_ : matplotlib Figure
        Figure of the axes.
    lines_ : dict of (str, str) to matplotlib Line2D
        Lines of the means by (estimator, corruption).
    bands_ : dict of (str, str) to matplotlib PolyCollection
        Bands by (estimator, corruption).

    See Also
    --------
    skvim.metrics.robustness_curve : Computes the scores.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.linear_model import LogisticRegression
    >>> from skvim.inspection import RobustnessDisplay
    >>> from skvim.noise import GaussianNoise
    >>> X, y = load_iris(return_X_y=True)
    >>> model = LogisticRegression(max_iter=500).fit(X[::2], y[::2])
    >>> noises = [GaussianNoise(scale) for scale in (0.5, 1.0, 2.0)]
    >>> display = RobustnessDisplay.from_estimator(
    ...     model, X[1::2], y[1::2], noises, random_state=0, score_name="accuracy"
    ... )
    >>> [float(level) for level in display.lines_["LogisticRegression", "gaussian"].get_xdata()]
    [0.0, 0.5, 1.0, 2.0]
    """

    ax_: "NDArray[Any]"
    figure_: Any
    lines_: "dict[tuple[str, str], Line2D]"
    bands_: dict[tuple[str, str], Any]

    def __init__(self, curves: pd.DataFrame, *, score_name: str = "score") -> None:
        self.curves = curves
        self.score_name = score_name

    @classmethod
    @numpy_defaults()
    def from_estimator(
        cls,
        estimator: BaseEstimator,
        X: Any,
        y: ArrayLike | None,
        corruptions: Any,
        *,
        scoring: str | Callable[..., float] | None = None,
        n_repeats: int = 5,
        random_state: Any = None,
        name: str | None = None,
        score_name: str | None = None,
        ax: "Axes | ArrayLike | None" = None,
    ) -> Self:
        """Compute the robustness curve of one fitted estimator and plot it.

        Parameters
        ----------
        estimator : estimator
            A fitted pipeline or estimator.
        X : array-like or DataFrame of shape (n_samples, n_features)
            Rows not used in training.
        y : array-like of shape (n_samples,) or None
            Their labels.
        corruptions : sequence of transformers, or mapping of str to one or several of them
            As in :func:`skvim.metrics.robustness_curve`, like the next three.
        scoring : str, callable or None, default=None
            The score; None uses ``estimator.score``.
        n_repeats : int, default=5
            Draws of each corruption.
        random_state : int, RandomState instance or None, default=None
            Where the noise comes from.
        name : str or None, default=None
            Label of the estimator; None uses its class.
        score_name : str or None, default=None
            Label of the vertical axis; None uses ``scoring`` if it is a string, else "score".
        ax : matplotlib Axes, sequence of them or None, default=None
            One per corruption; None makes a new figure.

        Returns
        -------
        RobustnessDisplay
            The plotted display.
        """
        import_pyplot(cls)
        curve = robustness_curve(
            estimator,
            X,
            y,
            corruptions,
            scoring=scoring,
            n_repeats=n_repeats,
            random_state=random_state,
        )
        if score_name is None:
            score_name = scoring.replace("_", " ") if isinstance(scoring, str) else "score"
        label = type(estimator).__name__ if name is None else name
        return cls.from_curves({label: curve}, score_name=score_name, ax=ax)

    @classmethod
    @numpy_defaults()
    def from_curves(
        cls,
        curves: Mapping[str, pd.DataFrame],
        *,
        score_name: str = "score",
        ax: "Axes | ArrayLike | None" = None,
    ) -> Self:
        """Plot curves computed before.

        Parameters
        ----------
        curves : mapping of str to DataFrame
            Results of :func:`skvim.metrics.robustness_curve` by label, plotted in this order.
        score_name : str, default="score"
            Label of the vertical axis.
        ax : matplotlib Axes, sequence of them or None, default=None
            One per corruption; None makes a new figure.

        Returns
        -------
        RobustnessDisplay
            The plotted display.
        """
        import_pyplot(cls)
        if not curves:
            raise ValueError("curves is empty. Pass at least one label with its curve.")
        labelled = [curve.assign(estimator=label) for label, curve in curves.items()]
        return cls(pd.concat(labelled, ignore_index=True), score_name=score_name).plot(ax)

    @numpy_defaults()
    def plot(self, ax: "Axes | ArrayLike | None" = None) -> Self:
        """Plot the curves.

        Parameters
        ----------
        ax : matplotlib Axes, sequence of them or None, default=None
            One per corruption; None makes a new figure.

        Returns
        -------
        RobustnessDisplay
            The display itself.
        """
        plt = import_pyplot(self)
        table = summarise(self.curves)
        panels = [str(corruption) for corruption in table["corruption"].unique()]
        styles = {str(label): line_style(i) for i, label in enumerate(table["estimator"].unique())}
        axes = _panels(plt, ax, len(panels))
        self.lines_, self.bands_ = {}, {}
        handles: dict[str, Line2D] = {}
        for key, points in table.groupby(["estimator", "corruption"], sort=False):
            label, corruption = (str(part) for part in key)
            line, band = _plot_line(axes[panels.index(corruption)], points, label, styles[label])
            self.lines_[label, corruption], self.bands_[label, corruption] = line, band
            handles.setdefault(label, line)
        for panel, corruption in zip(axes, panels, strict=True):
            panel.set(xlabel=f"level of {corruption} noise", ylabel=self.score_name)
        add_legend(axes[-1], list(handles.values()), outside=ax is None)
        self.ax_, self.figure_ = axes, axes[0].get_figure()
        return self


def summarise(curves: pd.DataFrame) -> pd.DataFrame:
    """Average the repeats of robustness curves.

    Parameters
    ----------
    curves : DataFrame
        With columns ``estimator``, ``corruption``, ``level`` and ``score``.

    Returns
    -------
    DataFrame
        With columns ``estimator``, ``corruption``, ``level``, ``mean`` and ``std`` (with Bessel's
        correction; 0 for a single score), one row per point. The clean score is level 0 of every
        corruption. Estimators and corruptions keep their order, levels are ascending.
    """
    check_columns("curves", curves, _COLUMNS)
    clean = curves["corruption"] == CLEAN
    if clean.all():
        raise ValueError("curves holds clean scores only. Score at least one corruption too.")
    noisy = curves.loc[~clean, list(_COLUMNS)]
    pairs = noisy[["estimator", "corruption"]].drop_duplicates()
    start = pairs.merge(curves.loc[clean, ["estimator", "level", "score"]], on="estimator")
    points = pd.concat([part for part in (start, noisy) if len(part)], ignore_index=True)
    groups = points.groupby(["estimator", "corruption", "level"], sort=False)["score"]
    table = groups.agg(["mean", "std"]).fillna({"std": 0.0}).reset_index()
    # Sorted by level, then stably by pair: groupby alone would leave levels in the given order.
    order = {pair: i for i, pair in enumerate(pairs.itertuples(index=False, name=None))}
    table = table.sort_values("level", kind="stable")
    rank = [order[pair] for pair in zip(table["estimator"], table["corruption"], strict=True)]
    return table.iloc[np.argsort(rank, kind="stable")].reset_index(drop=True)


def _plot_line(
    panel: "Axes", points: pd.DataFrame, label: str, style: dict[str, Any]
) -> tuple["Line2D", Any]:
    """Plot the mean line and the band of one estimator into the panel of one corruption."""
    level, mean, std = (points[column].to_numpy() for column in ("level", "mean", "std"))
    band = panel.fill_between(
        level, mean - std, mean + std, color=style["color"], alpha=0.15, linewidth=0
    )
    (line,) = panel.plot(level, mean, label=label, **style)
    return line, band


def _panels(plt: Any, ax: Any, n_panels: int) -> NDArray[Any]:
    """Return one axes per corruption: those given, or of a new figure."""
    if ax is None:
        size = (4.0 * n_panels + 1.5, 3.5)
        options = {"figsize": size, "sharey": True, "squeeze": False, "layout": "constrained"}
        created: NDArray[Any] = plt.subplots(1, n_panels, **options)[1][0]
        return created
    axes = np.asarray(ax, dtype=object).ravel()
    if len(axes) != n_panels:
        raise ValueError(
            f"ax must hold one axes per corruption, {n_panels} here. Got {len(axes)} instead."
        )
    return axes
