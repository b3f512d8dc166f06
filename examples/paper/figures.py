"""Figures, as PNG and SVG: reconstructions, samples, robustness, and the plane of information."""

import base64
import io
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from data import available, load
from keys import fingerprint
from PIL import Image
from plan import FIGURE_SETS, SWEEP_SET
from results import BySeed, Results
from settings import DATA_SETS, MODELS, OURS, SWEEP, models_of
from store import Cell
from work import Run, model_settings

from skvim.exceptions import DatasetError
from skvim.inspection import ReconstructionDisplay, RobustnessDisplay, SamplesDisplay

__all__ = ["draw"]

_DPI = 80
_N_IMAGES, _N_SAMPLES = 20, 16
# Of a picture, and of an image inside an SVG file: enough for the eye, and small files.
_N_COLOURS, _N_GREYS = 160, 16
_NOISY = "masking 0.5"
# With a point posterior and an MMD the first is the second, and is not drawn over it.
_TWINS = ("wae", "vimae-n")
# Share of a panel's sides within which two labels would overlap.
_CLOSE = 0.14


def draw(run: Run, figures: Iterable[str]) -> list[Path]:
    """Draw figures into the folder of the results; return the files."""
    written = []
    for figure in figures:
        if figure == "noise":
            found = robustness(Results(run.results))
        elif figure == "plane":
            found = plane(Results(run.results))
        else:
            try:
                found = pictures(run, figure)
            except DatasetError as error:
                print(f"figure {figure}: {str(error).splitlines()[0]}")
                continue
        if not found:
            print(f"figure {figure}: not run")
        for name, drawn in found.items():
            for suffix, content in (".png", as_png(drawn)), (".svg", as_svg(drawn, name)):
                path = run.results / f"figure-{name}{suffix}"
                path.write_bytes(content)
                written.append(path)
            plt.close(drawn)
    return written


def as_png(drawn: Any) -> bytes:
    """Return a figure as a small PNG, equal for equal figures."""
    buffer = io.BytesIO()
    # The library's version would change the file.
    drawn.savefig(buffer, format="png", dpi=_DPI, metadata={"Software": None})
    return _small(buffer.getvalue())


def as_svg(drawn: Any, name: str) -> bytes:
    """Return a figure as a small SVG: text as text, images in their own resolution."""
    for image in (image for ax in drawn.axes for image in ax.get_images()):
        image.set_interpolation("none")
    buffer = io.StringIO()
    with plt.rc_context({"svg.hashsalt": name, "svg.fonttype": "none"}):
        drawn.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})

    def smaller(found: re.Match[str]) -> str:
        content = _small(base64.b64decode(found[1]))
        return f'"data:image/png;base64,{base64.b64encode(content).decode()}"'

    text = re.sub(r'"data:image/png;base64,\s*([^"]+)"', smaller, buffer.getvalue())
    return text.encode()


def _small(content: bytes) -> bytes:
    """Return a PNG in few colours, on white."""
    picture = Image.open(io.BytesIO(content)).convert("RGBA")
    paper = Image.new("RGBA", picture.size, "white")
    flat = Image.alpha_composite(paper, picture).convert("RGB")
    red, green, blue = (np.asarray(band) for band in flat.split())
    n_colours = _N_GREYS if (red == green).all() and (green == blue).all() else _N_COLOURS
    buffer = io.BytesIO()
    few = flat.quantize(n_colours, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    few.save(buffer, format="png", optimize=True)
    return buffer.getvalue()


def pictures(run: Run, figure: str) -> dict[str, Any]:
    """Return test reconstructions (left) and samples (right) of the models of seed 0."""
    data_set = FIGURE_SETS[figure]
    if not available(data_set, run.preset, run.data_home):
        return {}
    models = {}
    for name, model in models_of(data_set).items():
        cell = Cell(data_set, name, 0)
        if model.cls is not None:
            key = fingerprint(model_settings(run, cell))
            models[model.title] = run.store.load_model(cell, key)
    absent = [title for title, model in models.items() if model is None]
    models = {title: model for title, model in models.items() if model is not None}
    if models and absent:
        print(f"figure {figure}: not run for {', '.join(absent)}")
    if not models:
        return {}
    X = load(run.request(Cell(data_set, "", 0))).X_test
    size = (9, 2.2 * len(models))
    drawn, axes = plt.subplots(
        len(models), 2, figsize=size, layout="constrained", squeeze=False, width_ratios=(2, 1)
    )
    options = {"image_shape": DATA_SETS[data_set].image_shape, "value_range": (0, 1)}
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
    for data_set in ("mnist", "omniglot", "cifar10"):
        # Ours and the models each have a colour, the baselines are dashed.
        names = sorted(models_of(data_set), key=lambda n: (n not in OURS, MODELS[n].cls is None))
        curves = {
            name: curve(results, data_set, name)
            for name in names
            if results.part(data_set, name, "robustness")
        }
        said = "features: posterior mean; means over seeds, bands of one standard deviation."
        one, other = (curves.get(name) for name in _TWINS)
        if one is not None and one.equals(other):
            del curves[_TWINS[0]]
            said += f" {MODELS[_TWINS[0]].title} is {MODELS[_TWINS[1]].title}."
        if curves:
            titles = {name: models_of(data_set)[name].title for name in curves}
            drawn[f"noise-{data_set}"] = _noise(curves, titles)
            drawn[f"noise-{data_set}"].suptitle(f"{DATA_SETS[data_set].title}, {said}")
    return drawn


def _noise(curves: dict[str, pd.DataFrame], titles: dict[str, str]) -> Any:
    """Draw the curves of a data set."""
    display = RobustnessDisplay.from_curves(
        {titles[name]: found for name, found in curves.items()}, score_name="accuracy (%)"
    )
    display.figure_.set_size_inches(14, 7)
    for (label, _), line in display.lines_.items():
        if label in {titles.get(name) for name in OURS}:
            line.set_linewidth(3)
    # Raw pixels may fall so low that nothing else could be told apart.
    lowest = min(
        found.groupby(["corruption", "level"])["score"].mean().min()
        for name, found in curves.items()
        if name != "raw" or len(curves) == 1
    )
    for ax in display.ax_:
        ax.set_ylim(bottom=lowest - 2)
    return display.figure_


def curve(results: Results, data_set: str, model: str) -> pd.DataFrame:
    """Return accuracies as ``robustness_curve`` does, seeds in place of repeats."""
    rows = []
    for seed, values in results.part(data_set, model, "robustness").items():
        for column, score in values["mean"].items():
            name, _, level = column.partition(" ")
            corruption = "none" if name == "clean" else name
            rows.append((corruption, float(level or 0), seed, score))
    return pd.DataFrame(rows, columns=["corruption", "level", "repeat", "score"])


def plane(results: Results) -> dict[str, Any]:
    """Return rate, distortion, information and accuracy over λ and β."""
    measures: dict[str, Callable[[str], BySeed]] = {
        "rate": lambda m: results.values(SWEEP_SET, m, "information", "rate"),
        "information": lambda m: results.values(SWEEP_SET, m, "information", "mutual_information"),
        "error": lambda m: results.values(SWEEP_SET, m, "reconstruction", "sse"),
        "accuracy": lambda m: results.values(SWEEP_SET, m, "robustness", "mean", _NOISY),
    }
    points = {}
    for model in SWEEP:
        found = {name: of(model) for name, of in measures.items()}
        if all(found.values()):
            points[model] = {name: list(v.values()) for name, v in found.items()}
    if not points:
        return {}
    labels = {
        "rate": "rate, nats per row",
        "information": "I(x; z), nats per row (bounded by the log of the rows' number)",
        "error": "distortion: squared error of a test row",
        "accuracy": f"accuracy at {_NOISY}, %",
    }
    pairs = (("rate", "error"), ("information", "error"), ("rate", "accuracy"))
    drawn, axes = plt.subplots(1, 3, figsize=(15, 4.8), layout="constrained")
    for ax, (x, y) in zip(axes, pairs, strict=True):
        _panel(ax, points, x, y)
        ax.set(xlabel=labels[x], ylabel=labels[y])
    axes[0].legend(loc="upper right")
    return {"plane": drawn}


def _panel(ax: Any, points: dict[str, dict[str, list[float]]], x: str, y: str) -> None:
    """Draw one projection, λ and β as two lines, with standard deviations over seeds."""
    lines = {}
    for prefix, label in (("lam-", "VIMAE-n over λ, spread 0.3"), ("beta-", "β-VAE over β")):
        chosen = {name: point for name, point in points.items() if name.startswith(prefix)}
        means = [[np.mean(point[axis]) for point in chosen.values()] for axis in (x, y)]
        spreads = [[np.std(point[axis]) for point in chosen.values()] for axis in (x, y)]
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
        near = runs and np.abs((np.array(place) - places[runs[-1][-1]]) / sizes).max() < _CLOSE
        if near:
            runs[-1].append(name)
        else:
            runs.append([name])
    return runs
