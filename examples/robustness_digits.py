"""Robustness of codes to input noise: the robustness table of the VIMAE paper, on digits.

Every autoencoder is trained on clean images and followed by a transductive SVM with 100 labels;
only the test images are corrupted. Baselines are raw pixels and PCA with the same number of
components. Run it with ``make demo`` or::

    python examples/robustness_digits.py --out demo

It prints a table of accuracies, writes it to OUT/robustness.csv, and draws reconstructions,
samples from the prior, the latent space and the robustness curves into the same folder.
"""

import argparse
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from joblib import Parallel, delayed
from sklearn.base import BaseEstimator
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.model_selection import train_test_split
from sklearn.pipeline import Pipeline
from sklearn.svm import SVC
from tqdm import tqdm

from skvim import AETransformer, BetaVAETransformer, VAETransformer, VIMAETransformer
from skvim.inspection import (
    LatentDisplay,
    ReconstructionDisplay,
    RobustnessDisplay,
    SamplesDisplay,
)
from skvim.metrics import active_units, robustness_curve
from skvim.noise import GaussianNoise, MaskingNoise
from skvim.semi_supervised import TransductiveSVC

N_LABELED, N_TEST, N_COMPONENTS, IMAGE_SHAPE = 100, 360, 8, (8, 8)
CORRUPTIONS = [GaussianNoise(0.2), GaussianNoise(0.4), MaskingNoise(0.2), MaskingNoise(0.5)]
REFERENCE = "raw pixels, SVC"


class Task:
    """The digits of one seed: images in [0, 1], most training labels hidden as -1."""

    def __init__(self, seed: int) -> None:
        images, digits = load_digits(return_X_y=True)
        # One scale for all pixels: per-feature standardisation would blow up the noise of pixels
        # that are almost always blank.
        parts = train_test_split(
            images / 16, digits, test_size=N_TEST, stratify=digits, random_state=seed
        )
        self.X, self.X_test, self.y_all, self.y_test = parts
        labeled, _ = train_test_split(
            np.arange(len(self.X)), train_size=N_LABELED, stratify=self.y_all, random_state=seed
        )
        self.labeled = labeled
        self.y = np.full(len(self.X), -1)
        self.y[labeled] = self.y_all[labeled]


def encoders(seed: int, beta_h: float) -> dict[str, BaseEstimator | None]:
    """Return the encoders by their name in the table; None for raw pixels."""
    common: dict[str, Any] = {"max_epochs": 50, "random_state": seed}
    return {
        "raw pixels": None,
        "PCA": PCA(N_COMPONENTS, random_state=seed),
        "AE": AETransformer(N_COMPONENTS, **common),
        "VAE": VAETransformer(N_COMPONENTS, **common),
        f"β_H-VAE (β = {beta_h:g})": BetaVAETransformer(N_COMPONENTS, beta=beta_h, **common),
        "β_A-VAE (β = 0.2)": BetaVAETransformer(N_COMPONENTS, beta=0.2, **common),
        "VIMAE-n": VIMAETransformer(N_COMPONENTS, **common),
        "VIMAE-l": VIMAETransformer(N_COMPONENTS, prior="logistic", **common),
    }


def largest_active_beta(betas: tuple[float, ...] = (10.0, 4.0, 2.0)) -> float:
    """Return the largest β that leaves an active unit; the smallest if none does."""
    X = Task(seed=0).X
    for beta in betas:
        model = BetaVAETransformer(N_COMPONENTS, beta=beta, max_epochs=50, random_state=0)
        if active_units(model.fit_transform(X)) > 0:
            return beta
    return betas[-1]


def evaluate(name: str, encoder: BaseEstimator | None, seed: int) -> dict[str, Any]:
    """Fit one pipeline to clean rows and score it on clean and on corrupted test rows."""
    task = Task(seed)
    classifier = TransductiveSVC(random_state=seed, safe=False)
    steps = [("encoder", encoder), ("clf", classifier)] if encoder else [("clf", classifier)]
    pipeline = Pipeline(steps).fit(task.X, task.y)
    return {
        "name": name,
        "seed": seed,
        "curve": score(pipeline, task, seed),
        "model": encoder,
        "collapsed": hasattr(encoder, "reconstruct")
        and active_units(encoder.transform(task.X)) == 0,
    }


def evaluate_reference(seed: int) -> dict[str, Any]:
    """Score a supervised SVC on the labelled raw pixels alone."""
    task = Task(seed)
    svc = Pipeline([("clf", SVC())]).fit(task.X[task.labeled], task.y[task.labeled])
    curve = score(svc, task, seed)
    return {"name": REFERENCE, "seed": seed, "curve": curve, "model": None, "collapsed": False}


def score(pipeline: Pipeline, task: Task, seed: int) -> pd.DataFrame:
    """Return accuracies on clean and corrupted test rows, with the same noise for all of a seed."""
    curve = robustness_curve(
        pipeline, task.X_test, task.y_test, CORRUPTIONS, n_repeats=3, random_state=seed
    )
    return curve.assign(seed=seed)


def run(n_seeds: int, n_jobs: int) -> list[dict[str, Any]]:
    """Evaluate every method on every seed, in the order of the table."""
    beta_h = largest_active_beta()
    jobs = [delayed(evaluate_reference)(seed) for seed in range(n_seeds)]
    for seed in range(n_seeds):
        jobs += [delayed(evaluate)(*item, seed) for item in encoders(seed, beta_h).items()]
    parallel = Parallel(n_jobs=n_jobs, return_as="generator")
    return list(tqdm(parallel(jobs), total=len(jobs), desc="fit and score", unit="pipeline"))


def tabulate(results: list[dict[str, Any]]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return mean and standard deviation over seeds, in per cent; methods × corruptions."""
    labelled = [result["curve"].assign(method=result["name"]) for result in results]
    scores = pd.concat(labelled, ignore_index=True)
    scores["column"] = [column(*pair) for pair in zip(scores.corruption, scores.level, strict=True)]
    by_seed = 100 * scores.groupby(["method", "column", "seed"], sort=False)["score"].mean()
    groups = by_seed.groupby(["method", "column"], sort=False)
    return groups.mean().unstack(), groups.std().unstack()


def column(corruption: str, level: float) -> str:
    """Return the name of a table column."""
    return "clean" if corruption == "none" else f"{corruption} {level:g}"


def print_table(mean: pd.DataFrame, std: pd.DataFrame, collapsed: set[str], n_seeds: int) -> None:
    """Print the table of accuracies with standard deviations."""
    print(f"\nAccuracy (%) on {N_TEST} test digits, {N_LABELED} labels of 1437 training rows;")
    print(f"mean ± standard deviation over {n_seeds} seeds; * marks a collapsed model.\n")
    width = max(len(name) for name in mean.index) + 2
    print(" " * width + "".join(f"{name:>15}" for name in mean.columns))
    for name in mean.index:
        cells = "".join(f"{mean.loc[name, c]:>8.1f} ± {std.loc[name, c]:<4.1f}" for c in mean)
        print(f"{name + ('*' if name in collapsed else ''):<{width}}" + cells)


def conclude(mean: pd.DataFrame, collapsed: set[str]) -> str:
    """Summarise the table in one line."""
    noisy = mean.drop(columns="clean").mean(axis=1)
    learned = [name for name in noisy.index if not name.startswith(("raw", "PCA"))]
    best, worst = noisy[learned].idxmax(), noisy[learned].idxmin()
    vimae = noisy[["VIMAE-n", "VIMAE-l"]].idxmax()
    gap = noisy[vimae] - noisy["VAE"]
    linear = noisy[["raw pixels", "PCA"]].idxmax()
    excess = noisy[best] - noisy[linear]
    gone = f" {', '.join(sorted(collapsed))} collapsed." if collapsed else ""
    return (
        f"In short: over the noisy columns {best} is the most robust autoencoder "
        f"({noisy[best]:.1f} %) and {worst} the least ({noisy[worst]:.1f} %); {vimae} is "
        f"{abs(gap):.1f} points {'above' if gap >= 0 else 'below'} the VAE, the better prior "
        f"being {'logistic' if vimae == 'VIMAE-l' else 'normal'}; {best} is {abs(excess):.1f} "
        f"points {'above' if excess >= 0 else 'below'} {linear}, the better of raw pixels and "
        f"PCA.{gone}"
    )


def draw(results: list[dict[str, Any]], out: Path) -> None:
    """Draw and save the four figures."""
    models = {
        result["name"]: result["model"]
        for result in results
        if result["seed"] == 0 and hasattr(result["model"], "reconstruct")
    }
    task = Task(seed=0)
    generative = {name: model for name, model in models.items() if hasattr(model, "sample")}

    images: dict[str, Any] = {"image_shape": IMAGE_SHAPE, "value_range": (0, 1)}

    def reconstructions(model: Any, ax: Any) -> None:
        ReconstructionDisplay.from_estimator(model, task.X_test, n_images=10, ax=ax, **images)

    def samples(model: Any, ax: Any) -> None:
        SamplesDisplay.from_estimator(model, n_samples=64, random_state=0, ax=ax, **images)

    def codes(model: Any, ax: Any) -> None:
        LatentDisplay.from_estimator(model, task.X_test, task.y_test, ax=ax)

    title = "Test digits: originals in odd rows, reconstructions in even rows"
    grid(models, reconstructions, (3, 2), (11, 4.6), title, out / "reconstructions.png")
    title = "Samples: z drawn from the prior and decoded"
    grid(generative, samples, (2, 3), (11, 7.8), title, out / "samples.png")
    title = "Codes of the test digits"
    grid(models, codes, (2, 3), (13, 8.3), title, out / "latent_space.png")
    curves: dict[str, list[pd.DataFrame]] = {}
    for result in results:
        curves.setdefault(result["name"], []).append(result["curve"])
    pooled = {name: pd.concat(parts, ignore_index=True) for name, parts in curves.items()}
    display = RobustnessDisplay.from_curves(pooled, score_name="accuracy")
    display.figure_.savefig(out / "robustness.png", dpi=120)
    plt.close(display.figure_)


def grid(
    models: dict[str, Any],
    draw_one: Any,
    shape: tuple[int, int],
    size: tuple[float, float],
    title: str,
    path: Path,
) -> None:
    """Draw one panel per model and save the figure."""
    figure, axes = plt.subplots(*shape, figsize=size, layout="constrained", squeeze=False)
    figure.suptitle(title)
    for ax in axes.flat[len(models) :]:
        ax.set_axis_off()
    for ax, (name, model) in zip(axes.flat, models.items(), strict=False):
        draw_one(model, ax)
        ax.set_title(name)
    share_legend(figure, axes)
    figure.savefig(path, dpi=120)
    plt.close(figure)


def share_legend(figure: Any, axes: Any) -> None:
    """Replace the legends of the panels by one beside them."""
    legends = [ax.get_legend() for ax in axes.flat if ax.get_legend()]
    if legends:
        handles = legends[0].legend_handles
        figure.legend(handles, [h.get_label() for h in handles], loc="outside right center")
    for legend in legends:
        legend.remove()


def main() -> None:
    """Run the comparison."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--out", type=Path, default=Path("demo"), help="folder for the results")
    parser.add_argument("--seeds", type=int, default=5, help="number of train/test splits")
    parser.add_argument("--jobs", type=int, default=-1, help="number of parallel processes")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    results = run(options.seeds, options.jobs)
    mean, std = tabulate(results)
    collapsed = {result["name"] for result in results if result["collapsed"]}
    print_table(mean, std, collapsed, options.seeds)
    table = pd.concat({"mean": mean, "std": std}, axis=1).round(2)
    table.to_csv(options.out / "robustness.csv")
    draw(results, options.out)
    pictures = ", ".join(sorted(path.name for path in options.out.glob("*.png")))
    print(f"\nTable and pictures in {options.out}: robustness.csv, {pictures}\n")
    print(conclude(mean, collapsed))


if __name__ == "__main__":
    main()
