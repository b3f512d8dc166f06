"""What is measured of a fitted model: one function for each part of a cell."""

import copy
import importlib.util
import inspect
from functools import partial
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import torch
from sklearn.decomposition import PCA
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import Pipeline

from skvim import VAETransformer, metrics
from skvim.semi_supervised import TransductiveSVC
from vimae_paper.data import Problem, Task, load
from vimae_paper.settings import CLASSIFIER, DATA_SETS, MODELS, NOISES, PRESETS, TABULAR, Cell, Run

VERSION = 1  # of this file: raise it where what is measured changes, and all is measured again

Values = dict[str, Any]

_errors = metrics.reconstruction_error
_importance = partial(metrics.log_likelihood, n_draws=500)
_annealed = partial(metrics.log_likelihood, method="ais", n_chains=8)
_distance = partial(metrics.frechet_distance, n_partitions=0)
_curve = partial(metrics.robustness_curve, n_repeats=1)
# What parts call of skvim: where a default of these changes, they are measured again.
_CALLED = {
    "reconstruction": (_errors,),
    "likelihood": (_importance, _annealed, _errors),
    "frechet": (_distance, metrics.InceptionFeatures, VAETransformer.sample),
    "robustness": (_curve,),
    "information": (VAETransformer.information,),
    "blur": (VAETransformer.sample,),
}


def parts_of(data_set: str, model: str) -> set[str]:
    """Return what can be measured of a model on a data set."""
    cls = MODELS[model].cls
    generative = cls is not None and "prior" in inspect.signature(cls).parameters
    is_image, is_grey = data_set not in TABULAR, data_set in ("mnist", "omniglot")
    wanted = {
        "reconstruction": is_image and (cls is not None or model in ("pca", "pca-ours")),
        "likelihood": generative and is_grey,
        "frechet": generative and is_image and not is_grey,
        "robustness": data_set != "celeba",
        "information": cls is not None and is_image,
        "blur": generative and is_grey,
    }
    return {part for part, is_wanted in wanted.items() if is_wanted}


_ADDED: dict[str, Values] = {
    "sample": {"codes": "auto", "mean": None, "given": None, "missing": False},
}


def part_settings(part: str, data_set: str) -> Values:
    """Return what a part depends on beside the model and the sizes: all arguments of the calls."""
    calls = []
    for function in _CALLED[part]:
        parameters = inspect.signature(function).parameters.values()
        given = {p.name: p.default for p in parameters if p.default is not p.empty}
        # Arguments that older results lack, at the values that these have.
        added = _ADDED.get(getattr(function, "__name__", ""), {})
        calls.append({k: v for k, v in given.items() if k not in added or v != added[k]})
    if part != "robustness":
        return {"calls": calls}
    data, own = DATA_SETS[data_set], {"noises": NOISES[data_set]}
    own |= {"labels": data.n_labeled, "columns": data.columns, "known noise": data.known_noise}
    return {"calls": calls, "classifier": _classifier(data_set), **own}


def _classifier(data_set: str, seed: int | None = None) -> TransductiveSVC:
    settings = CLASSIFIER | DATA_SETS[data_set].classifier
    return TransductiveSVC(**settings, safe=False, random_state=seed)


def reconstruction(model: Any, task: Task, run: Run, cell: Cell) -> Values:
    """Measure squared errors of test rows, on [0, 1] and on the reference's range."""
    error = _errors(model, task.X_test)
    # The reference has colours on [-1, 1].
    unit = 4.0 if cell.data_set in ("cifar10", "celeba") else 1.0
    return {"sse": error.sse_per_sample, "table_ii": error.table_ii * unit}


def likelihood(model: Any, task: Task, run: Run, cell: Cell) -> Values:
    """Estimate log p(x) of test rows at the maximum-likelihood variance of the training rows."""
    amount, seed = PRESETS[run.preset], cell.seed
    judged, temperatures = at_best_variance(model, task.X), amount.n_temperatures
    many, few = task.X_test[: amount.n_likelihood], task.X_test[: amount.n_annealed]
    estimates = {
        "importance": _importance(judged, many, random_state=seed),
        "ais": _annealed(judged, few, n_temperatures=temperatures, random_state=seed),
    }
    values: Values = {"variance": float(judged.net_.autoencoder.likelihood.value)}
    for name, estimate in estimates.items():
        values[name] = {"nats": estimate.mean, "standard error": estimate.standard_error}
        values[name]["monte carlo error"] = estimate.monte_carlo_error
    # Rows differ much more than estimates of one row do: the two agree where they have equal rows.
    values["ais"]["importance"] = float(estimates["importance"].values[: len(few)].mean())
    return values


def at_best_variance(model: Any, X: Any) -> Any:
    """Return the model with a fixed variance replaced by the mean squared error on training rows.

    The fixed one is a weight in the objective. A learned one is already the best.
    """
    judged = copy.deepcopy(model)
    part = judged.net_.autoencoder.likelihood
    if not part.learns:
        part.value.fill_(_errors(model, X[:10_000]).mse_per_value)
    return judged


def frechet(model: Any, task: Task, run: Run, cell: Cell) -> Values:
    """Compare samples, cut off at black and white, with test rows.

    By Inception where its weights are at hand, else by what the training rows teach.
    """
    n_rows = min(PRESETS[run.preset].n_samples, len(task.X_test))
    samples = model.sample(n_rows, random_state=cell.seed).clip(0, 1)
    weights = Path(torch.hub.get_dir(), "checkpoints", "weights-inception-2015-12-05-6726825d.pth")
    if weights.exists() and importlib.util.find_spec("torch_fidelity"):
        options = {
            "value_range": (0, 1),
            "image_shape": tuple(DATA_SETS[cell.data_set].image_shape),
        }
        name, features = "Inception", metrics.InceptionFeatures(weights, **options)
    else:
        name, features = trained_features(run, cell.data_set)
    distance = _distance(task.X_test[:n_rows], samples, features=features)
    return {"value": distance.value, "features": name, "rows": n_rows}


def trained_features(run: Run, data_set: str) -> tuple[str, Any]:
    """Return features that the training rows of seed 0 teach, one ruler for all seeds."""
    train = joblib.Memory(run.cache, verbose=0).cache(_train_features)
    task = load(run, data_set, 0)
    return train(task.X[: PRESETS[run.preset].n_classifier], task.target)


def _train_features(X: Any, target: Any) -> tuple[str, Any]:
    """Fit a classifier to the training rows, or without labels their principal components."""
    if target is None:
        n_components = min(64, len(X) - 1)
        name = f"PCA-{n_components} of the training rows"
        return name, PCA(n_components, random_state=0).fit(X)
    classifier = MLPClassifier((128,), max_iter=20, batch_size=100, random_state=0)
    name = "penultimate layer (128 units) of a perceptron trained on the training rows' labels"
    return name, classifier.fit(X, target[: len(X)])


def blur(model: Any, task: Task, run: Run, cell: Cell) -> Values:
    """Measure how much ink of samples is grey, Σ x(1 − x)/Σ x, and of test rows.

    0 in black and white, and the larger the more edges are smeared.
    """
    drawn = model.sample(PRESETS[run.preset].n_samples, random_state=cell.seed).clip(0, 1)
    grey = lambda rows: float((rows * (1 - rows)).sum() / rows.sum())
    return {"samples": grey(drawn), "test rows": grey(task.X_test)}


def information(model: Any, task: Task, run: Run, cell: Cell) -> Values:
    """Measure rate, information and use of the codes on training rows, over all dimensions."""
    series = model.information(task.X[: PRESETS[run.preset].n_information]).to_series()
    return {
        str(name): None if value is None or not np.isfinite(float(value)) else float(value)
        for name, value in series.items()
        if np.ndim(value) == 0 and not str(name)[-1].isdigit()  # those of one dimension
    }


def robustness(model: Any, task: Task, run: Run, cell: Cell) -> Values:
    """Measure the accuracy of a classifier of codes, clean and noisy.

    Encoder and classifier have learned from clean rows; test rows alone are corrupted, and not
    clipped. "corrupted" holds what a classifier reaches that has learned from corrupted codes: it
    knows the noise, and never counts.
    """
    data, problems, noises = DATA_SETS[cell.data_set], task.problems, NOISES[cell.data_set]
    # Of draws the columns of the table alone, of means the whole curve.
    tabled = [noise for noise in noises if _column(noise) in data.columns]
    (known,) = (noise for noise in noises if _column(noise) == data.known_noise)
    corrupted = [known.corrupt(p.X, np.random.default_rng([cell.seed, 3])) for p in problems]
    both = zip(problems, corrupted, strict=True)
    knowing = _average([accuracies(model, p, [known], cell, X) for p, X in both])
    values: Values = {
        "mean": _average([accuracies(model, p, noises, cell) for p in problems]),
        "corrupted": {data.known_noise: knowing[data.known_noise]},
        "labelled rows": int((problems[0].y != -1).sum()),
    }
    net = getattr(model, "net_", None)
    if net is not None and net.autoencoder.posterior.stochastic and hasattr(model, "output"):
        encoder = copy.copy(model).set_params(output="sample")
        values["sample"] = _average([accuracies(encoder, p, tabled, cell) for p in problems])
    return values


def accuracies(encoder: Any, problem: Problem, noises: Any, cell: Cell, X: Any = None) -> Values:
    """Return accuracies in %, by column, of a classifier of codes of clean rows, or of ``X``."""
    classifier = _classifier(cell.data_set, cell.seed)
    classifier.fit(encoder.transform(problem.X if X is None else X), problem.y)
    pipeline = Pipeline([("encoder", encoder), ("classifier", classifier)])
    curve = _curve(pipeline, problem.X_test, problem.y_test, noises, random_state=cell.seed)
    means = curve.groupby(["corruption", "level"], sort=False)["score"].mean()
    return {
        "clean" if name == "none" else f"{name} {level:g}": 100 * float(score)
        for (name, level), score in means.items()
    }


def _column(noise: Any) -> str:
    """Name the column of a noise, as the curve does."""
    names = {"GaussianNoise": "gaussian", "MaskingNoise": "masking"}
    return f"{names.get(type(noise).__name__, 'missing_features')} {noise.level:g}"


def _average(scores: list[Values]) -> Values:
    """Average over problems."""
    return {column: float(np.mean([score[column] for score in scores])) for column in scores[0]}


PARTS = {
    function.__name__: function
    for function in (reconstruction, likelihood, frechet, robustness, information, blur)
}
