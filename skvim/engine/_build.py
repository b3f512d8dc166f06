"""Construction of nets from settings of model and training."""

from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from typing import Any, final

import torch
from torch import Tensor, optim

from skvim.engine._checkpoints import Checkpoints
from skvim.engine._net import AutoencoderNet
from skvim.engine._schedules import SCHEDULES, Schedule, schedule_factor
from skvim.engine._stopping import Stopping
from skvim.engine._streams import child_seed
from skvim.networks import Architecture, BatchNormEncoder
from skvim.objectives import Autoencoder, Likelihood, Objective, Posterior, Prior, Term

__all__ = [
    "OPTIMIZERS",
    "PRECISIONS",
    "ModelSettings",
    "TrainingSettings",
    "build_net",
    "resolve_device",
]

#: Optimizers by name.
OPTIMIZERS: dict[str, type[optim.Optimizer]] = {
    "adam": optim.Adam,
    "adamw": optim.AdamW,
    "sgd": optim.SGD,
}

#: Precisions of the networks' products in training, by name.
PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}

# Settings of training that are the net's arguments of the same name.
_PASSED: tuple[str, ...] = ("acceleration", "batch_size", "callbacks", "lr", "max_epochs")
_PASSED += ("pretraining", "seed", "stopping", "verbose")
# What ``net_params`` must not contain; all other arguments of skorch's may be there.
_RESERVED = {*_PASSED, "module", "criterion", "dataset", "iterator_train", "iterator_valid"}
_RESERVED |= {"device", "schedule"}


@final
@dataclass(frozen=True)
class ModelSettings:
    """Parts of a model and of its objective."""

    shape: tuple[int, ...]
    n_components: int
    architecture: Architecture
    posterior: Posterior
    likelihood: Likelihood
    prior: Prior | None
    terms: Sequence[tuple[float, Term]]
    corruption: Callable[[Tensor, torch.Generator], Tensor] | None = None
    unit_codes: bool = False
    precision: str = "float32"

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of what the encoder sees of a row."""
        return self.likelihood.input_shape(self.shape)

    @property
    def output_shape(self) -> tuple[int, ...]:
        """Shape of the decoder's output."""
        return self.likelihood.output_shape(self.shape)

    @property
    def min_rows(self) -> int:
        """Rows that the networks need in training."""
        return max(self.architecture.min_rows, 2 if self.unit_codes else 1)

    @property
    def min_batch_rows(self) -> int:
        """Rows that a training batch needs, for the networks and for the terms of the loss."""
        return max([self.min_rows, *(term.min_rows for _, term in self.terms)])


@final
@dataclass(frozen=True)
class TrainingSettings:
    """How a model is trained."""

    max_epochs: int
    batch_size: int
    lr: float
    optimizer: str | type[optim.Optimizer]
    callbacks: Any
    net_params: dict[str, Any]
    device: torch.device
    seed: int
    verbose: int
    lr_schedule: str | Schedule | None = None
    pretraining: int = 0
    acceleration: str | None = None
    stopping: Stopping | None = None
    checkpoints: Checkpoints | None = None


def build_net(model: ModelSettings, training: TrainingSettings) -> AutoencoderNet:
    """Return a net that builds the model when it is prepared; ValueError for wrong settings."""
    objective = build_objective(model, training.seed)
    _check_names(objective.names)
    needed = model.min_batch_rows
    if training.batch_size < needed:
        raise ValueError(
            f"batch_size must be at least {needed} for what is compared or normalised over the "
            f"rows of a batch. Got {training.batch_size} instead."
        )
    _check_net_params(training)
    schedule = training.lr_schedule
    if isinstance(schedule, str):
        schedule = SCHEDULES[schedule]
    if schedule is not None:
        for epoch in range(training.max_epochs):
            schedule_factor(schedule, epoch / training.max_epochs)
    defaults = {**_optimizer_options(training), "train_split": None, "use_caching": False}
    options = {**defaults, **training.net_params, **_param_groups(model, training.net_params)}
    return AutoencoderNet(
        partial(build_autoencoder, model, training.seed),
        criterion=partial(build_objective, model, training.seed),
        min_rows=model.min_rows,
        schedule=schedule,
        device=str(training.device),
        **{name: getattr(training, name) for name in _PASSED},
        **options,
    )


def _check_names(names: Sequence[str]) -> None:
    """Raise unless the terms of an objective have names of their own in the history."""
    taken = {"batch_size", "batch_count", "loss_best"}
    if len(set(names)) < len(names) or taken & set(names):
        raise ValueError(
            f"Every divergence needs a name of its own in the history. Got {list(names[2:])} "
            f"beside 'loss', 'distortion' and skorch's own {sorted(taken)}."
        )


def _check_net_params(training: TrainingSettings) -> None:
    """Raise when an argument for skorch is decided elsewhere; those of the optimizer are not."""
    net_params = training.net_params
    if training.stopping is not None and net_params.get("train_split") is not None:
        raise ValueError(
            "net_params must not contain 'train_split' beside early_stopping=True, which splits "
            f"rows itself. Got {net_params['train_split']!r}; leave it out and set "
            "validation_fraction, or set early_stopping=False."
        )
    own = {"optimizer", "optimizer__lr"}
    taken = [k for k in net_params if k in own or str(k).split("__")[0] in _RESERVED]
    if taken:
        raise ValueError(
            f"net_params must not contain {taken}: parameters of the estimator or its engine "
            "decide them. Pass other arguments of skorch.NeuralNet, such as "
            "{'optimizer__weight_decay': 1e-4}."
        )


def _optimizer_options(training: TrainingSettings) -> dict[str, Any]:
    """Return skorch's arguments for the optimizer, in its fused form where torch has one."""
    optimizer = training.optimizer
    if isinstance(optimizer, str):
        fused = training.device.type in {"cpu", "cuda"}
        return {"optimizer": OPTIMIZERS[optimizer], "optimizer__fused": fused}
    if not issubclass(optimizer, optim.Optimizer):
        raise ValueError(
            f"optimizer must be one of {sorted(OPTIMIZERS)} or a subclass of "
            f"torch.optim.Optimizer. Got {optimizer!r} instead."
        )
    return {"optimizer": optimizer}


def _param_groups(model: ModelSettings, net_params: dict[str, Any]) -> dict[str, Any]:
    """Return skorch's argument for critics that have a learning rate of their own."""
    rates = [
        (f"terms.{i}.*", {"lr": float(term.lr)})
        for i, (_, term) in enumerate(model.terms)
        if term.adversarial and term.lr is not None
    ]
    # The user's groups come first: a parameter is in the first group that matches it.
    key = "optimizer__param_groups"
    return {key: [*net_params.get(key, []), *rates]} if rates else {}


def build_autoencoder(settings: ModelSettings, seed: int) -> Autoencoder:
    """Return a new model; the user's likelihood is copied."""
    generator = torch.Generator().manual_seed(child_seed(seed, "initialisation"))
    posterior, n_components = settings.posterior, settings.n_components
    encoder = settings.architecture.encoder(
        settings.input_shape, posterior.n_outputs(n_components), generator
    )
    if settings.unit_codes:
        encoder = BatchNormEncoder(encoder, n_components)
    decoder = settings.architecture.decoder(n_components, settings.output_shape, generator)
    likelihood, precision = deepcopy(settings.likelihood), PRECISIONS[settings.precision]
    return Autoencoder(encoder, decoder, posterior, likelihood, settings.corruption, precision)


def build_objective(settings: ModelSettings, seed: int) -> Objective:
    """Return a new objective; the user's terms are copied."""
    objective = Objective(settings.prior, deepcopy(tuple(settings.terms)))
    generator = torch.Generator().manual_seed(child_seed(seed, "critics"))
    objective.build(settings.n_components, generator)
    return objective


def resolve_device(device: str) -> torch.device:
    """Return the device of a name; "auto" is a GPU if there is one. ValueError if not available."""
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        resolved = torch.device(device)
        torch.zeros(1, device=resolved).item()
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise ValueError(
            "device must be 'auto', 'cpu' or a device that torch can use here, such as 'cuda'. "
            f"Got {device!r} instead: {str(error).splitlines()[0]}"
        ) from error
    return resolved
