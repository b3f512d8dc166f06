"""Figures as PNG: reconstructions and samples, robustness, and the plane of information."""

import io
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from PIL import Image

from skvim.exceptions import DatasetError
from skvim.inspection import ReconstructionDisplay, RobustnessDisplay, SamplesDisplay
from vimae_paper.cells import load_model
from vimae_paper.data import load, source_of
from vimae_paper.plan import FIGURE_SETS, SWEEP_SET
from vimae_paper.results import Results
from vimae_paper.settings import DATA_SETS, LABELED, MODELS, SWEEP, Cell, Run, models_of

_DPI = 80
_N_IMAGES, _N_SAMPLES = 20, 16
_N_COLOURS, _N_GREYS = 160, 16  # of a PNG: enough for the eye, and small files
_NOISY = "masking 0.5"
# With a point posterior and an MMD the first is the second, and is not drawn over it.
_TWINS = ("wae", "vimae-n")
# Share of a panel's sides within which two labels would overlap.
_CLOSE = 0.14


def draw(run: Run, results: Results, figures: Iterable[str], folder: Path) -> list[Path]:
    """Draw figures; return the files."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for figure in figures:
        try:
            if figure in FIGURE_SETS:
                drawn = pictures(run, figure)
            else:
                drawn = robustness(results) if figure == "noise" else plane(results)
        except DatasetError as error:
            print(f"figure {figure}: {str(error).splitlines()[0]}")
            continue
        if not drawn:
            print(f"figure {figure}: not run")
        for name, made in drawn.items():
            written.append(folder / f"figure-{name}.png")
            written[-1].write_bytes(as_png(made))
            plt.close(made)
    return written


def as_png(drawn: Any) -> bytes:
    """Return a figure as a PNG in few colours, equal for equal figures."""
    buffer = io.BytesIO()
    # The library's version would change the file.
    drawn.savefig(buffer, format="png", dpi=_DPI, metadata={"Software": None})
    picture = Image.open(buffer).convert("RGB")
    red, green, blue = (np.asarray(band) for band in picture.split())
    n_colours = _N_GREYS if (red == green).all() and (green == blue).all() else _N_COLOURS
    small = io.BytesIO()
    few = picture.quantize(n_colours, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    few.save(small, format="png", optimize=True)
    return small.getvalue()


def pictures(run: Run, figure: str) -> dict[str, Any]:
    """Return test reconstructions (left) and samples (right) of the models of seed 0."""
    data_set = FIGURE_SETS[figure]
    if source_of(data_set, run.preset, run.data_home) is None:
        return {}
    rows = {name: model for name, model in models_of(data_set).items() if model.cls is not None}
    fitted = {model.title: load_model(run, Cell(data_set, n, 0)) for n, model in rows.items()}
    models = {title: model for title, model in fitted.items() if model is not None}
    if not models:
        return {}
    if len(models) < len(fitted):
        absent = ", ".join(title for title in fitted if title not in models)
        print(f"figure {figure}: not run for {absent}")
    X = load(run, data_set, 0).X_test
    size = (9, 2.2 * len(models))
    drawn, axes = plt.subplots(
        len(models), 2, figsize=size, layout="constrained", squeeze=False, width_ratios=(2, 1)
    )
    options = {"image_shape": tuple(DATA_SETS[data_set].image_shape), "value_range": (0, 1)}
    for (left, right), (title, model) in zip(axes, models.items(), strict=True):
        ReconstructionDisplay.from_estimator(model, X, n_images=_N_IMAGES, ax=left, **options)
        left.set_title(f"{title}: test, odd rows are originals")
        if hasattr(model, "sample"):
            SamplesDisplay.from_estimator(
                model, n_samples=_N_SAMPLES, random_state=0, ax=right, **options
            )
            right.set_title(f"{title}: samples")
        else:
            right.set_axis_off()
            right.set_title("no prior to sample from")
    return {figure: drawn}


def robustness(results: Results) -> dict[str, Any]:
    """Return accuracy against the level of noise, one figure a data set."""
    drawn = {}
    for data_set in LABELED:
        models = models_of(data_set)
        # Ours and the models each have a colour, the baselines are dashed.
        names = sorted(models, key=lambda name: (name != "ours", models[name].cls is None))
        curves = {name: _curve(results, data_set, name) for name in names}
        curves = {name: curve for name, curve in curves.items() if not curve.empty}
        said = "features: posterior mean; means over seeds, bands of one standard deviation."
        one, other = (curves.get(name) for name in _TWINS)
        if one is not None and one.equals(other):
            del curves[_TWINS[0]]
            said += f" {MODELS[_TWINS[0]].title} is {MODELS[_TWINS[1]].title}."
        if curves:
            drawn[f"noise-{data_set}"] = _noise(curves, models)
            drawn[f"noise-{data_set}"].suptitle(f"{DATA_SETS[data_set].title}, {said}")
    return drawn


def _noise(curves: dict[str, pd.DataFrame], models: dict[str, Any]) -> Any:
    """Draw the curves of a data set."""
    display = RobustnessDisplay.from_curves(
        {models[name].title: curve for name, curve in curves.items()}, score_name="accuracy (%)"
    )
    display.figure_.set_size_inches(14, 7)
    for (label, _), line in display.lines_.items():
        if label == models["ours"].title:
            line.set_linewidth(3)
    # Raw pixels may fall so low that nothing else could be told apart.
    lowest = min(
        curve.groupby(["corruption", "level"])["score"].mean().min()
        for name, curve in curves.items()
        if name != "raw" or len(curves) == 1
    )
    for ax in display.ax_:
        ax.set_ylim(bottom=lowest - 2)
    return display.figure_


def _curve(results: Results, data_set: str, model: str) -> pd.DataFrame:
    """Return accuracies as ``robustness_curve`` does, seeds in place of repeats."""
    rows = []
    for seed, values in results.part(data_set, model, "robustness").items():
        for column, score in values["mean"].items():
            name, _, level = column.partition(" ")
            corruption = "none" if name == "clean" else name
            rows.append((corruption, float(level or 0), seed, score))
    return pd.DataFrame(rows, columns=["corruption", "level", "repeat", "score"])


_MEASURES = {
    "rate": ("information", "rate"),
    "information": ("information", "mutual_information"),
    "error": ("reconstruction", "sse"),
    "accuracy": ("robustness", "mean", _NOISY),
}
_LABELS = {
    "rate": "rate, nats per row",
    "information": "I(x; z), nats per row (bounded by the log of the rows' number)",
    "error": "distortion: squared error of a test row",
    "accuracy": f"accuracy at {_NOISY}, %",
}


def plane(results: Results) -> dict[str, Any]:
    """Return rate, distortion, information and accuracy over λ and β."""
    points = {}
    for model in SWEEP:
        measured = {
            name: results.values(SWEEP_SET, model, *path) for name, path in _MEASURES.items()
        }
        if not any(values.empty for values in measured.values()):
            points[model] = measured
    if not points:
        return {}
    drawn, axes = plt.subplots(1, 3, figsize=(15, 4.8), layout="constrained")
    pairs = (("rate", "error"), ("information", "error"), ("rate", "accuracy"))
    for ax, (x, y) in zip(axes, pairs, strict=True):
        _panel(ax, points, x, y)
        ax.set(xlabel=_LABELS[x], ylabel=_LABELS[y])
    axes[0].legend(loc="upper right")
    return {"plane": drawn}


def _panel(ax: Any, points: dict[str, dict[str, pd.Series]], x: str, y: str) -> None:
    """Draw one projection, λ and β as two lines, with standard deviations over seeds."""
    lines = {}
    for prefix, label in (("lam-", "VIMAE-n over λ, spread 0.3"), ("beta-", "β-VAE over β")):
        chosen = {name: point for name, point in points.items() if name.startswith(prefix)}
        means = [[point[axis].mean() for point in chosen.values()] for axis in (x, y)]
        spreads = [[point[axis].std(ddof=0) for point in chosen.values()] for axis in (x, y)]
        drawn = ax.errorbar(*means, *spreads[::-1], marker="o", capsize=2, label=label)
        lines[drawn.lines[0].get_color()] = dict(zip(chosen, zip(*means, strict=True), strict=True))
    ax.margins(0.15)
    sizes = np.ptp([ax.get_xlim(), ax.get_ylim()], axis=1)
    for (color, places), side in zip(lines.items(), (1, -1), strict=True):
        for names in _close(places, sizes):
            values = ", ".join(MODELS[name].title.rpartition(" = ")[2] for name in names)
            letter = MODELS[names[0]].title.partition(", ")[2].partition(" = ")[0]
            ax.annotate(
                f"{letter} = {values}",
                np.mean([places[name] for name in names], axis=0),
                textcoords="offset points",
                xytext=(8 * side, 8 if side > 0 else -16),
                ha="left" if side > 0 else "right",
                color=color,
            )


def _close(places: dict[str, tuple[float, ...]], sizes: Any) -> list[list[str]]:
    """Return the names of points in runs of which each is too close to the next for two labels."""
    runs: list[list[str]] = []
    for name, place in places.items():
        if runs and np.abs((np.array(place) - places[runs[-1][-1]]) / sizes).max() < _CLOSE:
            runs[-1].append(name)
        else:
            runs.append([name])
    return runs
