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
from vimae_paper.results import Results
from vimae_paper.settings import DATA_SETS, LABELED, MODELS, PICTURES, SWEEP, Cell, Run, models_of
from vimae_paper.tables import TEXTS

_N_COLOURS, _N_GREYS = 160, 16  # of a PNG, and of a grey one: enough for the eye, and small files
_CLOSE = 0.14  # share of a panel's sides within which two labels would overlap


def draw(run: Run, results: Results, figures: Iterable[str], folder: Path) -> list[Path]:
    """Draw figures; return the files."""
    written = []
    for figure in figures:
        try:
            if figure in PICTURES:
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
    buffer, small = io.BytesIO(), io.BytesIO()
    # The library's version would change the file.
    drawn.savefig(buffer, format="png", dpi=80, metadata={"Software": None})
    picture = Image.open(buffer).convert("RGB")
    n_colours = _N_COLOURS if np.ptp(np.asarray(picture), axis=-1).any() else _N_GREYS
    few = picture.quantize(n_colours, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    few.save(small, format="png", optimize=True)
    return small.getvalue()


def pictures(run: Run, figure: str) -> dict[str, Any]:
    """Return test reconstructions (left) and samples (right) of the models of seed 0."""
    data_set = PICTURES[figure]
    rows = {name: model for name, model in models_of(data_set).items() if model.cls is not None}
    cached = {model.title: load_model(run, Cell(data_set, n, 0)) for n, model in rows.items()}
    models = {title: model for title, model in cached.items() if model is not None}
    if not models or source_of(run, data_set) is None:
        return {}
    if len(models) < len(cached):
        absent = ", ".join(title for title in cached if title not in models)
        print(f"figure {figure}: not run for {absent}")
    X = load(run, data_set, 0).X_test
    layout = {"layout": "constrained", "squeeze": False, "width_ratios": (2, 1)}
    drawn, axes = plt.subplots(len(models), 2, figsize=(9, 2.2 * len(models)), **layout)
    options = {"image_shape": tuple(DATA_SETS[data_set].image_shape), "value_range": (0, 1)}
    for (left, right), (title, model) in zip(axes, models.items(), strict=True):
        ReconstructionDisplay.from_estimator(model, X, n_images=20, ax=left, **options)
        left.set_title(f"{title}: test, odd rows are originals")
        if hasattr(model, "sample"):
            drawing = {"n_samples": 16, "random_state": 0, "ax": right}
            SamplesDisplay.from_estimator(model, **drawing, **options)
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
        text = f"{DATA_SETS[data_set].title}, {TEXTS['figures']['noise_note']}"
        # With a point posterior and an MMD they are one model, which is drawn once.
        if "wae" in curves and curves["wae"].equals(curves.get("vimae-n")):
            del curves["wae"]
            text += f" {models['wae'].title} is {models['vimae-n'].title}."
        if curves:
            drawn[f"noise-{data_set}"] = _noise(curves)
            drawn[f"noise-{data_set}"].suptitle(text)
    return drawn


def _noise(curves: dict[str, pd.DataFrame]) -> Any:
    """Draw the curves of a data set."""
    titled = {models_of("mnist")[name].title: curve for name, curve in curves.items()}
    display = RobustnessDisplay.from_curves(titled, score_name="accuracy (%)")
    display.figure_.set_size_inches(14, 7)
    for (label, _), line in display.lines_.items():
        if label == MODELS["ours"].title:
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
            name, level = ("none", "0") if column == "clean" else column.split()
            rows.append((name, float(level), seed, score))
    return pd.DataFrame(rows, columns=["corruption", "level", "repeat", "score"])


def plane(results: Results) -> dict[str, Any]:
    """Return rate, distortion, information and accuracy over λ and β."""
    axes_of, points = TEXTS["plane"], {}
    for model in SWEEP:
        found = {k: results.values("mnist", model, *axis["path"]) for k, axis in axes_of.items()}
        if not any(values.empty for values in found.values()):
            points[model] = found
    if not points:
        return {}
    drawn, axes = plt.subplots(1, 3, figsize=(15, 4.8), layout="constrained")
    pairs = (("rate", "error"), ("information", "error"), ("rate", "accuracy"))
    for ax, (x, y) in zip(axes, pairs, strict=True):
        _panel(ax, points, x, y)
        ax.set(xlabel=axes_of[x]["label"], ylabel=axes_of[y]["label"])
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
            titles = [MODELS[name].title.partition(", ")[2].partition(" = ") for name in names]
            ax.annotate(
                f"{titles[0][0]} = {', '.join(value for *_, value in titles)}",
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
