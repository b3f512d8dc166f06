"""What is run: ``settings.toml`` and ``models.toml`` made into objects."""

import inspect
import math
import tomllib
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

from sklearn.base import clone
from sklearn.decomposition import PCA, KernelPCA
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer

import skvim
from skvim.noise import GaussianNoise, MaskingNoise, MissingFeaturesNoise
from skvim.objectives import GaussianPosterior, Logistic, Normal
from skvim.presets import preset as recipe_parameters


class Cell(NamedTuple):
    """What is run once: a model on a data set, with a seed."""

    data_set: str
    model: str
    seed: int

    def __str__(self) -> str:
        return f"{self.data_set} {self.model} seed {self.seed}"


class Run(NamedTuple):
    """What all cells of a run share."""

    preset: str
    results: Path  # file
    cache: Path  # folder of fitted models
    data_home: str | None = None
    epochs: int | None = None
    validation: bool = False  # test on rows held out of the training set


class Model(NamedTuple):
    """A row of the tables."""

    title: str
    tabular_title: str = ""
    cls: type | None = None  # an autoencoder; None for a baseline
    elbo: bool = False
    options: dict[str, Any] = {}  # noqa: RUF012
    data: dict[str, str] = {}  # noqa: RUF012
    noise: dict[str, Any] = {}  # noqa: RUF012 - changes of our recipe's


# Names in models.toml of what is no number.
_OBJECTS = {
    "none": None,
    "spread 0.3": GaussianPosterior(0.3),
    "logistic of variance 1": Logistic(math.sqrt(3) / math.pi),
    "normal of variance π²/3": Normal(math.pi / math.sqrt(3)),
}


def read_toml(name: str) -> dict[str, Any]:
    """Return what a file of this package holds."""
    return tomllib.loads(Path(__file__).with_name(name).read_text(encoding="utf-8"))


def _namespaces(table: dict[str, Any]) -> dict[str, SimpleNamespace]:
    defaults = table.pop("defaults")
    return {name: SimpleNamespace(**(defaults | fields)) for name, fields in table.items()}


def _model(kind: str, fields: dict[str, Any]) -> Model:
    """Return a row from what the file says of it."""
    cls = fields.pop("class", None if kind == "baselines" else "VIMAETransformer")
    plain = lambda value: tuple(value) if isinstance(value, list) else _OBJECTS.get(value, value)
    options = {name: plain(value) for name, value in fields.pop("options", {}).items()}
    return Model(**fields, cls=cls and getattr(skvim, cls), options=options)


_SETTINGS = read_toml("settings.toml")
DATA_SETS, PRESETS = _namespaces(_SETTINGS["data_sets"]), _namespaces(_SETTINGS["presets"])
IMAGES = ("mnist", "omniglot", "cifar10", "celeba")
LABELED = IMAGES[:3]
TABULAR = ("wine", "breast-cancer", "diabetes")
_BY_KIND = {
    kind: {name: _model(kind, fields) for name, fields in table.items()}
    for kind, table in read_toml("models.toml").items()
}
MODELS = {name: model for models in _BY_KIND.values() for name, model in models.items()}
RECIPES, SWEEP = _BY_KIND["recipes"], _BY_KIND["sweep"]
VARIANTS = tuple(RECIPES)[1:]
# By table the data sets and what is measured of them, and by figure the data set it shows.
TABLE_PARTS, PICTURES = _SETTINGS["tables"], _SETTINGS["figures"]

# Codes are not standardised. With gamma="scale" the kernel divides them by one scale for all
# dimensions; a scale for each blows up those that hold nothing but noise. On 10,000 MNIST rows
# with 1,000 labels that costs PCA-32 0.8 points clean and 1.9 under masking 0.5.
CLASSIFIER = {"gamma": "scale", "n_components": 500, "tol": 1e-3}
_LEVELS = (0.1, 0.2, 0.3, 0.4, 0.5)
_IMAGE_NOISES = (*map(GaussianNoise, _LEVELS), *map(MaskingNoise, _LEVELS))
_TABLE_NOISES = (GaussianNoise(0.5), GaussianNoise(1.0), MissingFeaturesNoise(0.3, per_row=True))
NOISES = dict.fromkeys(IMAGES, _IMAGE_NOISES) | dict.fromkeys(TABULAR, _TABLE_NOISES)

# The reference's learning rates are made for its networks and many more steps. At 1e-3 models that
# pay in nats leave for losses of 1e5 in the first epochs, and do not come back: a VAE then has an
# SSE of 137 on test rows of CIFAR-10, and of 30 at 3e-4.
_CPU_COLOUR = {"hidden_layer_sizes": (512,), "lr": 1e-3, "lr_schedule": None}


def models_of(data_set: str) -> dict[str, Model]:
    """Return the rows of a data set's tables, by name."""
    rows = {**_BY_KIND["baselines"], **_BY_KIND["autoencoders"], "ours": RECIPES["ours"]}
    titles = {name: row[data_set in TABULAR] for name, row in rows.items()}
    return {name: row._replace(title=titles[name]) for name, row in rows.items() if titles[name]}


def ablation_of(data_set: str) -> dict[str, Model]:
    """Return our recipe and its variants, but for those that are the same on this data set."""
    own = our_parameters(data_set, "cpu")
    return {
        name: variant
        for name, variant in RECIPES.items()
        if name == "ours"
        or any(own[key] != value for key, value in variant.options.items())
        or any(getattr(own["noise"], key) != value for key, value in variant.noise.items())
    }


def our_parameters(data_set: str, preset: str) -> dict[str, Any]:
    """Return the parameters of our recipe, as far as they differ from those of VIMAE-l."""
    data = DATA_SETS[data_set]
    if not data.our_recipe:
        return {"posterior": GaussianPosterior(0.3), "noise": GaussianNoise(0.5)}
    own = recipe_parameters(data.our_recipe, skvim.VIMAETransformer, width=PRESETS[preset].width)
    shape = tuple(data.image_shape)
    noise = clone(own["noise"]).set_params(image_shape=shape)
    return own | {"image_shape": shape, "noise": noise}


def build(run: Run, cell: Cell) -> Any:
    """Return the unfitted transformer of a cell."""
    data, model, amount = DATA_SETS[cell.data_set], MODELS[cell.model], PRESETS[run.preset]
    if model.cls is None:
        return _baseline(cell)
    parameters = _reference_parameters(data, model, amount)
    default = amount.epochs.get(cell.data_set, amount.default_epochs)
    parameters["max_epochs"] = run.epochs or default
    if run.preset == "cpu" and cell.data_set in IMAGES[2:]:
        parameters |= _CPU_COLOUR | ({"lr": 3e-4} if model.elbo else {})
    taken = inspect.signature(model.cls).parameters
    parameters = {name: value for name, value in parameters.items() if name in taken}
    if cell.model in RECIPES:
        own = our_parameters(cell.data_set, run.preset)
        own["noise"] = clone(own["noise"]).set_params(**model.noise)
        if run.preset != "cpu" or run.epochs is not None:
            own.pop("max_epochs", None)
        parameters |= RECIPES["ours"].options | own
    parameters |= model.options
    parameters |= {name: getattr(data, field) for name, field in model.data.items()}
    if run.preset == "tiny" and parameters.get("pretraining"):
        parameters["pretraining"] = 10  # it would take most of the time
    return model.cls(**parameters, random_state=cell.seed)


def _reference_parameters(data: Any, model: Model, amount: Any) -> dict[str, Any]:
    """Return the reference's settings for rows in [0, 1], or ours for small standardised tables."""
    if not data.recipe:
        return {"n_components": data.n_components, "hidden_layer_sizes": (64,), "batch_size": 32}
    parameters = recipe_parameters(data.recipe, model.cls, value_range=(0.0, 1.0))
    parameters["n_components"] = data.n_components
    if model.elbo:
        # At the fixed variance of 10 codes cost more nats than they save.
        parameters |= {"likelihood": "gaussian", "pretraining": 0}
    if amount.hidden:
        parameters |= {"network": "mlp", "image_shape": None}
        parameters["hidden_layer_sizes"] = tuple(amount.hidden)
    return parameters


def _baseline(cell: Cell) -> Any:
    """Return what an autoencoder has to beat."""
    own = our_parameters(cell.data_set, "cpu")
    n_components = DATA_SETS[cell.data_set].n_components
    pca = PCA(own.get("n_components", n_components), random_state=cell.seed)
    noise = clone(own["noise"]).set_params(when="fit", random_state=cell.seed)
    return {
        "raw": FunctionTransformer(),
        "pca": PCA(n_components, random_state=cell.seed),
        "kernel-pca": KernelPCA(pca.n_components, kernel="rbf", random_state=cell.seed),
        "pca-ours": pca,
        "pca-noise": Pipeline([("noise", noise), ("pca", pca)]),
    }[cell.model]
