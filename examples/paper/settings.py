"""What is run: data sets, models, presets, noises. Everything that may be tuned stands here."""

import inspect
import math
from collections.abc import Callable
from typing import Any, NamedTuple

from sklearn.base import clone
from sklearn.decomposition import PCA, KernelPCA
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer

from skvim import (
    AAETransformer,
    AETransformer,
    BetaVAETransformer,
    CapacityVAETransformer,
    InfoVAETransformer,
    VAETransformer,
    VIMAETransformer,
    WAETransformer,
)
from skvim.noise import GaussianNoise, MaskingNoise, MissingFeaturesNoise
from skvim.objectives import GaussianPosterior, Logistic, Normal
from skvim.presets import preset as published

__all__ = [
    "CLASSIFIER",
    "DATA_SETS",
    "MODELS",
    "OURS",
    "PRESETS",
    "SWEEP",
    "TABULAR",
    "VARIANTS",
    "DataSet",
    "Model",
    "Preset",
    "ablation_of",
    "build",
    "models_of",
]

# Codes are not standardised. With gamma="scale" the kernel divides them by one scale for all
# dimensions; a scale for each blows up those that hold nothing but noise. On 10,000 MNIST rows
# with 1,000 labels that costs PCA-32 0.8 points clean and 1.9 under masking 0.5.
CLASSIFIER = {"gamma": "scale", "n_components": 500, "tol": 1e-3}

GRID = (
    *(GaussianNoise(scale) for scale in (0.1, 0.2, 0.3, 0.4, 0.5)),
    *(MaskingNoise(rate) for rate in (0.1, 0.2, 0.3, 0.4, 0.5)),
)
TABULAR_GRID = (
    *(GaussianNoise(scale) for scale in (0.5, 1.0)),
    MissingFeaturesNoise(0.3, per_row=True),
)


class DataSet(NamedTuple):
    """A data set and the settings that the paper gives for it, or leaves open."""

    title: str
    image_shape: tuple[int, ...] | None = None
    recipe: str | None = None  # of skvim.presets
    beta_high: float = 10.0
    beta_low: float = 0.2
    capacity: float = 25.0
    n_components: int = 8
    n_labeled: int | None = 1000  # None: all, or no classification
    # Of the classifier: the best for PCA codes on validation rows.
    classifier: dict[str, float] = {"C": 10.0}  # noqa: RUF012
    noises: tuple[Any, ...] = GRID
    # Columns of the paper's table, those of the issue of robustness beside them.
    columns: tuple[str, ...] = ()
    labeled_columns: tuple[str, ...] = ("gaussian 0.4",)  # classifier trained on corrupted codes


_GREY = ("clean", "gaussian 0.2", "gaussian 0.3", "gaussian 0.4", "masking 0.2", "masking 0.5")
_TABLE = ("clean", "gaussian 0.5", "gaussian 1", "missing_features 0.3")
_COLOUR = {
    "beta_high": 100.0,
    "beta_low": 0.4,
    "capacity": 50.0,
    "n_components": 64,
    # Where a third of the rows are told right, those without labels must not decide: their default
    # weight costs PCA-64 of CIFAR-10 3.3 points.
    "classifier": {"C": 1.0, "C_unlabeled": 0.01},
}

DATA_SETS = {
    "mnist": DataSet("MNIST", (28, 28, 1), "wae-mnist", columns=_GREY),
    "omniglot": DataSet("Omniglot", (28, 28, 1), "wae-mnist", columns=_GREY, n_labeled=None),
    "cifar10": DataSet("CIFAR-10", (32, 32, 3), "wae-cifar10", columns=_GREY, **_COLOUR),
    "celeba": DataSet("CelebA", (64, 64, 3), "wae-celeba", n_labeled=None, **_COLOUR),
    **{
        name: DataSet(
            title,
            n_components=4,
            n_labeled=n_labeled,
            noises=TABULAR_GRID,
            columns=_TABLE,
            labeled_columns=("gaussian 1",),
        )
        for name, title, n_labeled in (
            ("wine", "Wine", 15),
            ("breast-cancer", "Breast cancer", 20),
            ("diabetes", "Diabetes (terciles)", 30),
        )
    },
}
TABULAR = ("wine", "breast-cancer", "diabetes")

# Our own recipes: a preset of the package or parameters that differ from those of VIMAE-l. Each is
# a row of every table of robustness, and the first says what "PCA, noise" is augmented with. They
# were chosen with --validation. What counts most is that codes do not follow warps, which no test
# row goes through, and that those of corrupted rows still tell the rows apart.
_WIDTHS = {"cpu": 0.125, "tiny": 1 / 32}
_OURS_OF = {"mnist": "robust-mnist", "omniglot": "robust-omniglot", "cifar10": "robust-cifar10"}


def _ours(data_set: str, preset: str) -> dict[str, Any]:
    """Return the parameters of our recipe for rows in [0, 1], or of standardised features."""
    if data_set in TABULAR:
        return {"posterior": GaussianPosterior(0.3), "noise": GaussianNoise(0.5)}
    name = _OURS_OF.get(data_set, "robust-cifar10")
    found = published(name, VIMAETransformer, width=_WIDTHS.get(preset, 1.0))
    shape = DATA_SETS[data_set].image_shape
    return found | {
        "image_shape": shape,
        "noise": clone(found["noise"]).set_params(image_shape=shape),
    }


_Recipe = Callable[[str, str], dict[str, Any]]
OURS: dict[str, _Recipe] = {"ours": _ours}

# Our recipe less one of the things it is made of. What stands here differs, and nothing else.
_WARPS = ("shift", "angle", "stretch", "shear", "crop")
_LIGHT = ("contrast", "brightness", "tint")
_STILL = dict.fromkeys((*_WARPS, *_LIGHT), 0.0) | {"mirror": False}


class _Variant(NamedTuple):
    """What differs from our recipe: parameters, and those of its noise."""

    title: str
    parameters: dict[str, Any]
    noise: dict[str, Any] = {}  # noqa: RUF012


_CHANGES = {
    "ours-perceptrons": _Variant(
        "… perceptrons", {"network": "mlp", "hidden_layer_sizes": (512, 512)}
    ),
    "ours-plain": _Variant("… without agreement", {"agreement": 0.0}),
    "ours-still": _Variant("… without warps and light", {}, _STILL),
    # Without noise there are no two views of a row to agree.
    "ours-clean": _Variant("… without noise", {"noise": None, "agreement": 0.0}),
}


def _changed(variant: _Variant) -> _Recipe:
    """Return a recipe that differs from ours."""

    def recipe(data_set: str, preset: str) -> dict[str, Any]:
        own = _ours(data_set, preset)
        noise = clone(own["noise"]).set_params(**variant.noise)
        return own | {"noise": noise} | variant.parameters

    return recipe


_RECIPES = OURS | {name: _changed(variant) for name, variant in _CHANGES.items()}


class Model(NamedTuple):
    """A row of the tables."""

    title: str
    cls: type | None = None  # an autoencoder; None for a baseline
    options: Callable[[DataSet], dict[str, Any]] = lambda data: {}
    elbo: bool = False  # pays for information in nats, and collapses at the reference's variance


def _beta(high: bool) -> Callable[[DataSet], dict[str, Any]]:
    return lambda data: {"beta": data.beta_high if high else data.beta_low}


_LOGISTIC = {"prior": "logistic"}
_BASELINES = {
    "raw": Model("raw pixels"),
    "pca": Model("PCA, size of the models"),
    "pca-ours": Model("PCA, size of ours"),
    "pca-noise": Model("PCA, size and noise of ours"),
}
_PAPER = {
    "vae": Model("VAE", VAETransformer, elbo=True),
    "beta-h": Model("β_H-VAE", BetaVAETransformer, _beta(True), elbo=True),
    "beta-a": Model("β_A-VAE", BetaVAETransformer, _beta(False), elbo=True),
    "vimae-n": Model("VIMAE-n", VIMAETransformer),
    "vimae-l": Model("VIMAE-l", VIMAETransformer, lambda data: _LOGISTIC),
}
_OTHERS = {
    "capacity": Model(
        "capacity VAE",
        CapacityVAETransformer,
        lambda data: {"capacity": data.capacity},
        elbo=True,
    ),
    "ae": Model("AE", AETransformer),
    "wae": Model("WAE-MMD", WAETransformer),
    "aae": Model("AAE", AAETransformer),
    "infovae": Model("InfoVAE", InfoVAETransformer, lambda data: {"alpha": 0.5}, elbo=True),
}
_OWN = {name: Model(f"VIMAE, {name}", VIMAETransformer) for name in OURS}
# Rows of the table that takes our recipe apart, and of nothing else: no verdict counts them.
VARIANTS = {name: Model(change.title, VIMAETransformer) for name, change in _CHANGES.items()}
# What λ, β and the prior do, on MNIST alone. A posterior of fixed spread gives VIMAE a rate.
_SPREAD = 0.3
_UNIT_LOGISTIC = math.sqrt(3) / math.pi
SWEEP = {
    **{
        f"lam-{lam:g}": Model(
            f"VIMAE-n, λ = {lam:g}",
            VIMAETransformer,
            lambda data, lam=lam: {"lam": lam, "posterior": GaussianPosterior(_SPREAD)},
        )
        for lam in (0.1, 1.0, 10.0, 100.0)
    },
    **{
        f"beta-{beta:g}": Model(
            f"β-VAE, β = {beta:g}",
            BetaVAETransformer,
            lambda data, beta=beta: {"beta": beta},
            elbo=True,
        )
        for beta in (0.1, 0.5, 1.0, 2.0, 10.0)
    },
    "prior-l-unit": Model(
        "VIMAE, logistic prior of variance 1",
        VIMAETransformer,
        lambda data: {"prior": Logistic(_UNIT_LOGISTIC)},
    ),
    "prior-n-wide": Model(
        "VIMAE, normal prior of variance π²/3",
        VIMAETransformer,
        lambda data: {"prior": Normal(1 / _UNIT_LOGISTIC)},
    ),
}
_TABULAR_MODELS = {
    "raw": Model("raw features"),
    "pca": Model("PCA"),
    "kernel-pca": Model("kernel PCA"),
    **{name: _PAPER[name] for name in ("vae", "vimae-n", "vimae-l")},
    **_OWN,
}
MODELS = {**_BASELINES, **_PAPER, **_OTHERS, **_OWN, **VARIANTS, **SWEEP, **_TABULAR_MODELS}


class Preset(NamedTuple):
    """How much is run."""

    n_train: int | None
    n_test: int | None
    n_seeds: int
    epochs: dict[str, int]
    hidden: tuple[int, ...] | None  # of perceptrons; None for the reference's networks
    n_likelihood: int  # rows for importance sampling
    n_annealed: int  # rows for annealed importance sampling
    n_temperatures: int
    n_samples: int  # for the Fréchet distance
    n_tasks: int  # of five characters
    n_information: int = 2000
    n_classifier: int = 10_000  # rows of the classifier of the Fréchet distance
    n_repeats: int = 1  # draws of every noise
    n_tabular_seeds: int = 10


_CPU_EPOCHS = {"mnist": 20, "omniglot": 20, "cifar10": 10, "celeba": 5}
# The reference's learning rates are made for its networks and many more steps.
_CPU_COLOUR = {"hidden_layer_sizes": (512,), "lr": 1e-3, "lr_schedule": None}
# At 1e-3 those that pay in nats leave for losses of 1e5 in the first epochs, and do not come back:
# a VAE then has an SSE of 137 on test rows of CIFAR-10, and of 30 at 3e-4.
_CPU_COLOUR_ELBO = 3e-4
PRESETS = {
    "tiny": Preset(400, 200, 1, {}, (32,), 20, 4, 50, 200, 1, 200, 300, n_tabular_seeds=1),
    "cpu": Preset(
        10_000,
        5_000,
        2,
        _CPU_EPOCHS,
        (256, 256),
        500,
        20,
        500,
        2500,
        10,
    ),
    "gpu": Preset(None, None, 5, {}, None, 500, 32, 500, 10_000, 20, 5000, 20_000),
}
# Parameters of the models of a data set under a preset.
_OVERRIDES = {("cpu", "cifar10"): _CPU_COLOUR, ("cpu", "celeba"): _CPU_COLOUR}
_EPOCHS = {"tiny": 10, "cpu": 50, "gpu": 20}  # where a preset names none


def models_of(data_set: str) -> dict[str, Model]:
    """Return the rows of a data set's tables, by name."""
    if data_set in TABULAR:
        return _TABULAR_MODELS
    return {**_BASELINES, **_PAPER, **_OTHERS, **_OWN}


def ablation_of(data_set: str) -> dict[str, Model]:
    """Return our recipe and its variants, but for those that are the same on this data set."""
    own = _ours(data_set, "cpu")
    differing = {
        name: VARIANTS[name]
        for name, variant in _CHANGES.items()
        if any(own[key] != value for key, value in variant.parameters.items())
        or any(getattr(own["noise"], key) != value for key, value in variant.noise.items())
    }
    return {**_OWN, **differing}


def build(data_set: str, model: str, preset: str, seed: int, epochs: int | None = None) -> Any:
    """Return an unfitted transformer."""
    data, chosen = DATA_SETS[data_set], MODELS[model]
    if chosen.cls is None:
        return _baseline(data_set, model, seed)
    parameters = _of_images(data, chosen, preset) if data.recipe else _of_rows(data)
    parameters["max_epochs"] = epochs or PRESETS[preset].epochs.get(data_set, _EPOCHS[preset])
    parameters |= _OVERRIDES.get((preset, data_set), {})
    if chosen.elbo and (preset, data_set) in _OVERRIDES:
        parameters["lr"] = _CPU_COLOUR_ELBO
    taken = set(inspect.signature(chosen.cls).parameters)
    parameters = {name: value for name, value in parameters.items() if name in taken}
    parameters |= chosen.options(data)
    if model in _RECIPES:
        own = _RECIPES[model](data_set, preset)
        if preset != "cpu" or epochs is not None:
            own.pop("max_epochs", None)
        parameters |= _LOGISTIC | own
    if preset == "tiny" and parameters.get("pretraining"):
        parameters["pretraining"] = 10  # it would take most of the time
    return chosen.cls(**parameters, random_state=seed)


def _of_images(data: DataSet, model: Model, preset: str) -> dict[str, Any]:
    """Return the reference's settings, for rows in [0, 1]."""
    parameters = published(data.recipe, model.cls, value_range=(0.0, 1.0))
    parameters["n_components"] = data.n_components
    if model.elbo:
        # At the fixed variance of 10 codes cost more nats than they save.
        parameters |= {"likelihood": "gaussian", "pretraining": 0}
    hidden = PRESETS[preset].hidden
    if hidden is not None:
        parameters |= {"network": "mlp", "image_shape": None, "hidden_layer_sizes": hidden}
    return parameters


def _of_rows(data: DataSet) -> dict[str, Any]:
    """Return settings for small tables of standardised features; else the package's defaults."""
    return {"n_components": data.n_components, "hidden_layer_sizes": (64,), "batch_size": 32}


def _baseline(data_set: str, model: str, seed: int) -> Any:
    """Return what an autoencoder has to beat."""
    own = next(iter(OURS.values()))(data_set, "cpu")
    size = own.get("n_components", DATA_SETS[data_set].n_components)
    if model == "raw":
        return FunctionTransformer()
    if model == "pca":
        return PCA(DATA_SETS[data_set].n_components, random_state=seed)
    if model == "kernel-pca":
        return KernelPCA(size, kernel="rbf", random_state=seed)
    pca = PCA(size, random_state=seed)
    if model == "pca-ours":
        return pca
    noise = clone(own["noise"]).set_params(when="fit", random_state=seed)
    return Pipeline([("noise", noise), ("pca", pca)])
