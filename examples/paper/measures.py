"""What is measured of a fitted model: one function for each part of a cell."""

import copy
import importlib.util
import inspect
import uuid
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, NamedTuple

import joblib
import numpy as np
import torch
from data import Problem, Task
from keys import changed_defaults
from settings import CLASSIFIER, DATA_SETS, MODELS, PRESETS, TABULAR, DataSet, Preset
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import Pipeline

from skvim import VAETransformer
from skvim.exceptions import UnreliableMeasureWarning
from skvim.metrics import (
    InceptionFeatures,
    frechet_distance,
    log_likelihood,
    reconstruction_error,
    robustness_curve,
)
from skvim.semi_supervised import TransductiveSVC

__all__ = ["MADE_BY", "PARTS", "Context", "parts_of", "robustness", "settings_of"]

_INCEPTION = "weights-inception-2015-12-05-6726825d.pth"
_VERSION = 1  # of this file: raise it where what is measured changes, and all is measured again
_DRAWS = 500  # of importance sampling
_CHAINS = 8
# What parts are made by, of skvim: where it changes a default, they are measured again.
MADE_BY: dict[str, tuple[Callable[..., Any], ...]] = {
    "reconstruction": (reconstruction_error,),
    "likelihood": (log_likelihood, reconstruction_error),
    "frechet": (frechet_distance, InceptionFeatures, VAETransformer.sample),
    "robustness": (TransductiveSVC, robustness_curve),
    "information": (VAETransformer.information,),
    "blur": (VAETransformer.sample,),
}
# The reference measures squared errors of colours on [-1, 1], here they are on [0, 1].
_UNIT = {"cifar10": 2.0, "celeba": 2.0}


class Context(NamedTuple):
    """What a part may need beside the model and the rows."""

    data_set: str
    preset: str
    seed: int
    cache: Path
    first: Callable[[], Task]  # returns the rows of seed 0

    @property
    def data(self) -> DataSet:
        """Settings of the data set."""
        return DATA_SETS[self.data_set]

    @property
    def amount(self) -> Preset:
        """How much is measured."""
        return PRESETS[self.preset]


def parts_of(data_set: str, model: str) -> tuple[str, ...]:
    """Return what can be measured of a model on a data set."""
    cls = MODELS[model].cls
    generative = cls is not None and "prior" in inspect.signature(cls).parameters
    wanted = {
        "reconstruction": data_set not in TABULAR
        and (cls is not None or model in ("pca", "pca-ours")),
        "likelihood": generative and data_set in ("mnist", "omniglot"),
        "frechet": generative and data_set in ("cifar10", "celeba"),
        "robustness": data_set != "celeba",
        "information": cls is not None and data_set not in TABULAR,
        "blur": generative and data_set in ("mnist", "omniglot"),
    }
    return tuple(part for part, is_wanted in wanted.items() if is_wanted)


def settings_of(part: str, data_set: str, preset: str) -> dict[str, Any]:
    """Return what the figures of a part depend on beside the model."""
    amount, data = PRESETS[preset], DATA_SETS[data_set]
    chosen: dict[str, dict[str, Any]] = {
        "reconstruction": {},
        "likelihood": {
            "rows": amount.n_likelihood,
            "draws": _DRAWS,
            "annealed rows": amount.n_annealed,
            "temperatures": amount.n_temperatures,
            "chains": _CHAINS,
        },
        "frechet": {"samples": amount.n_samples, "classifier rows": amount.n_classifier},
        "robustness": {
            "classifier": CLASSIFIER | data.classifier,
            "labels": data.n_labeled,
            "problems": amount.n_tasks if data_set == "omniglot" else 1,
            "noises": data.noises,
            "repeats": amount.n_repeats,
            "trained on": data.labeled_columns,
        },
        "information": {"rows": amount.n_information},
        "blur": {"samples": amount.n_samples},
    }
    changed = changed_defaults(*MADE_BY[part])
    own = chosen[part] | ({"changed defaults": changed} if changed else {})
    return {"version": _VERSION, "test rows": amount.n_test, **own}


def reconstruction(model: Any, task: Task, context: Context) -> dict[str, Any]:
    """Measure squared errors of test rows, on [0, 1] and on the reference's range."""
    found = reconstruction_error(model, task.X_test)
    error = found.to_frame()["standard_error"]["sse_per_sample"]
    unit = _UNIT.get(context.data_set, 1.0) ** 2
    return {
        "sse": found.sse_per_sample,
        "sse standard error": float(error),
        "table_ii": found.table_ii * unit,
        "rows": found.n_samples,
    }


def likelihood(model: Any, task: Task, context: Context) -> dict[str, Any]:
    """Estimate log p(x) of test rows at the maximum-likelihood variance of the training rows."""
    amount = context.amount
    judged = at_best_variance(model, task.X)
    found = {
        "importance": log_likelihood(
            judged, task.X_test[: amount.n_likelihood], n_draws=_DRAWS, random_state=context.seed
        ),
        "ais": log_likelihood(
            judged,
            task.X_test[: amount.n_annealed],
            method="ais",
            n_temperatures=amount.n_temperatures,
            n_chains=_CHAINS,
            random_state=context.seed,
        ),
    }
    values: dict[str, Any] = {
        name: {
            "nats": estimate.mean,
            "standard error": estimate.standard_error,
            "monte carlo error": estimate.monte_carlo_error,
            "rows": len(estimate.values),
        }
        for name, estimate in found.items()
    }
    # Rows differ much more than estimates of one row do: the two agree where they have equal rows.
    few = found["importance"].values[: amount.n_annealed]
    values["ais"]["importance"] = float(few.mean())
    variance = float(judged.net_.autoencoder.likelihood.value)
    return {"likelihood": "gaussian, one variance", "variance": variance, **values}


def at_best_variance(model: Any, X: Any) -> Any:
    """Return the model with a fixed variance replaced by the mean squared error on training rows.

    The fixed one is a weight in the objective. A learned one is already the best.
    """
    judged = copy.deepcopy(model)
    part = judged.net_.autoencoder.likelihood
    if not part.learns:
        rows = X[: min(len(X), 10_000)]
        part.value.fill_(reconstruction_error(model, rows).mse_per_value)
    return judged


def frechet(model: Any, task: Task, context: Context) -> dict[str, Any]:
    """Compare samples, cut off at black and white, with test rows."""
    n_rows = min(context.amount.n_samples, len(task.X_test))
    samples = model.sample(n_rows, random_state=context.seed).clip(0, 1)
    name, features = _features(task, context)
    found = frechet_distance(task.X_test[:n_rows], samples, features=features, n_partitions=0)
    return {"value": found.value, "features": name, "rows": n_rows}


def _features(task: Task, context: Context) -> tuple[str, Any]:
    """Return Inception where its weights are at hand, else what the training rows teach."""
    weights = Path(torch.hub.get_dir(), "checkpoints", _INCEPTION)
    if weights.exists() and importlib.util.find_spec("torch_fidelity"):
        shape = context.data.image_shape
        return "Inception", InceptionFeatures(weights, value_range=(0, 1), image_shape=shape)
    n_rows = context.amount.n_classifier
    name = f"features-{context.preset}-{task.source}-{n_rows}.joblib"
    path = context.cache / context.data_set / name
    try:
        return joblib.load(path)
    except (OSError, EOFError, KeyError, ValueError, UnpicklingError):
        pass  # not there, or not whole
    # All seeds are measured by one ruler, whichever comes first.
    trained = _trained_features(context.first(), n_rows)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(f".{uuid.uuid4().hex}.part")
    joblib.dump(trained, part)
    part.replace(path)
    return trained


def _trained_features(task: Task, n_rows: int) -> tuple[str, Any]:
    """Fit a classifier to the training rows, or without labels their principal components."""
    X = task.X[:n_rows]
    if task.target is None:
        n_components = min(64, len(X) - 1)
        name = f"PCA-{n_components} of the training rows"
        return name, PCA(n_components, random_state=0).fit(X)
    classifier = MLPClassifier((128,), max_iter=20, batch_size=100, random_state=0)
    name = "penultimate layer (128 units) of a perceptron trained on the training rows' labels"
    return name, classifier.fit(X, task.target[:n_rows])


def blur(model: Any, task: Task, context: Context) -> dict[str, Any]:
    """Measure how much ink of samples is grey, Σ x(1 − x)/Σ x, and of test rows.

    0 in black and white, and the larger the more edges are smeared.
    """
    drawn = model.sample(context.amount.n_samples, random_state=context.seed).clip(0, 1)
    grey = {
        name: float((rows * (1 - rows)).sum() / rows.sum())
        for name, rows in (("samples", drawn), ("test rows", task.X_test))
    }
    return {**grey, "rows": len(drawn)}


def information(model: Any, task: Task, context: Context) -> dict[str, Any]:
    """Measure rate, information and use of the codes on training rows."""
    found = model.information(task.X[: context.amount.n_information]).to_series()
    plain = {name: value for name, value in found.items() if np.ndim(value) == 0}
    return {
        str(name): None if value is None or not np.isfinite(float(value)) else float(value)
        for name, value in plain.items()
    }


def robustness(model: Any, task: Task, context: Context) -> dict[str, Any]:
    """Measure the accuracy of a classifier of codes, clean and noisy.

    Encoder and classifier have learned from clean rows; test rows alone are corrupted, and not
    clipped. "corrupted" holds what a classifier reaches that has learned from corrupted codes: it
    knows the noise, and never counts.
    """
    data, repeats = context.data, context.amount.n_repeats
    encoders = {"mean": model}
    net = getattr(model, "net_", None)
    if net is not None and net.autoencoder.posterior.stochastic and hasattr(model, "output"):
        encoders["sample"] = copy.copy(model).set_params(output="sample")
    # Of draws the columns of the table alone, of means the whole curve.
    noises = {
        "mean": data.noises,
        "sample": [noise for noise in data.noises if _column(noise) in data.columns],
    }
    values: dict[str, Any] = {
        features: _average(
            [
                accuracies(encoder, p, noises[features], repeats, context.seed, data.classifier)
                for p in task.problems
            ]
        )
        for features, encoder in encoders.items()
    }
    known = [noise for noise in data.noises if _column(noise) in data.labeled_columns]
    values["corrupted"] = _average(
        [
            _knowing(model, p, noise, context.seed, data.classifier)
            for p in task.problems
            for noise in known
        ]
    )
    values["labelled rows"] = int((task.problems[0].y != -1).sum())
    values["test rows"] = sum(len(problem.y_test) for problem in task.problems)
    return values


def accuracies(
    encoder: Any,
    problem: Problem,
    noises: Sequence[Any],
    n_repeats: int,
    seed: int,
    own: dict[str, float],
) -> dict[str, float]:
    """Return accuracies in %, by column, of a classifier of clean codes."""
    classifier = TransductiveSVC(**CLASSIFIER, **own, random_state=seed)
    classifier.fit(encoder.transform(problem.X), problem.y)
    pipeline = Pipeline([("encoder", encoder), ("classifier", classifier)])
    return _scores(pipeline, problem, noises, n_repeats, seed)


def _knowing(
    encoder: Any, problem: Problem, noise: Any, seed: int, own: dict[str, float]
) -> dict[str, float]:
    """Return the accuracy of a classifier of codes that bear the noise of the test rows."""
    corrupted = noise.corrupt(problem.X, np.random.default_rng([seed, 3]))
    classifier = TransductiveSVC(**CLASSIFIER, **own, random_state=seed)
    classifier.fit(encoder.transform(corrupted), problem.y)
    pipeline = Pipeline([("encoder", encoder), ("classifier", classifier)])
    scores = _scores(pipeline, problem, [noise], 1, seed)
    return {_column(noise): scores[_column(noise)]}


def _scores(
    pipeline: Pipeline, problem: Problem, noises: Sequence[Any], n_repeats: int, seed: int
) -> dict[str, float]:
    curve = robustness_curve(
        pipeline, problem.X_test, problem.y_test, noises, n_repeats=n_repeats, random_state=seed
    )
    means = curve.groupby(["corruption", "level"], sort=False)["score"].mean()
    return {
        "clean" if name == "none" else f"{name} {level:g}": 100 * float(score)
        for (name, level), score in means.items()
    }


def _column(noise: Any) -> str:
    """Name the column of a noise, as the curve does."""
    names = {"GaussianNoise": "gaussian", "MaskingNoise": "masking"}
    return f"{names.get(type(noise).__name__, 'missing_features')} {noise.level:g}"


def _average(scores: list[dict[str, float]]) -> dict[str, float]:
    """Average over problems."""
    columns = dict.fromkeys(column for score in scores for column in score)
    return {
        column: float(np.mean([score[column] for score in scores if column in score]))
        for column in columns
    }


def _quiet(measure: Callable[..., dict[str, Any]]) -> Callable[..., dict[str, Any]]:
    """Leave out warnings of few rows and few steps, which presets choose knowingly."""

    def measured(model: Any, task: Task, context: Context) -> dict[str, Any]:
        with warnings.catch_warnings():
            for category in (UnreliableMeasureWarning, ConvergenceWarning):
                warnings.simplefilter("ignore", category)
            return measure(model, task, context)

    return measured


PARTS = {
    measure.__name__: _quiet(measure)
    for measure in (reconstruction, likelihood, frechet, robustness, information, blur)
}
