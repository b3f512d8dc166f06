"""From settings to a skorch net that is ready to train."""

from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from typing import Any, final

import torch
from torch import Tensor, optim

from skvim.engine._net import AutoencoderNet
from skvim.engine._schedules import Schedule, check_schedule, make_schedule
from skvim.engine._stopping import Stopping
from skvim.engine._streams import child_seed
from skvim.networks import Architecture, BatchNormEncoder
from skvim.objectives import (
    Autoencoder,
    Likelihood,
    Objective,
    Posterior,
    Prior,
    Term,
)

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

#: What the products of networks may be computed in while they train.
PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}

# What the engine itself decides; everything else of skorch's is open to ``net_params``.
_RESERVED = {"module", "criterion", "lr", "max_epochs", "batch_size", "callbacks"}
_RESERVED |= {"dataset", "iterator_train", "iterator_valid", "device", "verbose", "seed"}
_RESERVED |= {"schedule", "pretraining", "acceleration", "stopping"}


@final
@dataclass(frozen=True)
class ModelSettings:
    """What the model is made of."""

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
    def min_rows(self) -> int:
        """Rows that the networks need in training."""
        return max(self.architecture.min_rows, 2 if self.unit_codes else 1)


@final
@dataclass(frozen=True)
class TrainingSettings:
    """How it is trained."""

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


def build_net(model: ModelSettings, training: TrainingSettings) -> AutoencoderNet:
    """Return a net that builds the model when it is prepared.

    Raises
    ------
    ValueError
        When a batch is too small for a divergence, the learning rate's schedule gives no factors,
        or ``net_params`` names what a parameter of the estimator decides.
    """
    objective = partial(build_objective, model, training.seed)
    _check_names(objective().names)
    needed = max(objective().min_rows, model.min_rows)
    if training.batch_size < needed:
        raise ValueError(
            f"batch_size must be at least {needed} for what is compared or normalised over the "
            f"rows of a batch. Got {training.batch_size} instead."
        )
    _check_net_params(training)
    schedule = make_schedule(training.lr_schedule)
    if schedule is not None:
        check_schedule(schedule, training.max_epochs)
    options = {**_optimizer(training), "train_split": None, "use_caching": False}
    options = {**options, **training.net_params, **_param_groups(model, training.net_params)}
    return AutoencoderNet(
        partial(build_autoencoder, model, training.seed),
        criterion=objective,
        seed=training.seed,
        min_rows=model.min_rows,
        schedule=schedule,
        pretraining=training.pretraining,
        acceleration=training.acceleration,
        stopping=training.stopping,
        max_epochs=training.max_epochs,
        batch_size=training.batch_size,
        lr=training.lr,
        callbacks=training.callbacks,
        device=str(training.device),
        verbose=training.verbose,
        **options,
    )


def _param_groups(model: ModelSettings, net_params: dict[str, Any]) -> dict[str, Any]:
    """Return skorch's argument for networks of terms that have a learning rate of their own.

    Groups that the user asks for come first: a parameter is in the first group that matches it.
    """
    own = [
        (f"terms.{i}.*", {"lr": float(term.lr)})
        for i, (_, term) in enumerate(model.terms)
        if term.adversarial and term.lr is not None
    ]
    key = "optimizer__param_groups"
    return {key: [*net_params.get(key, []), *own]} if own else {}


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


def _check_names(names: Sequence[str]) -> None:
    """Raise unless the terms of an objective can be told apart in the history."""
    taken = {"batch_size", "batch_count", "loss_best"}
    if len(set(names)) < len(names) or taken & set(names):
        raise ValueError(
            f"Every divergence needs a name of its own in the history. Got {list(names[2:])} "
            f"beside 'loss', 'distortion' and skorch's own {sorted(taken)}."
        )


def build_autoencoder(settings: ModelSettings, seed: int) -> Autoencoder:
    """Return a freshly initialised model; the user's likelihood is copied."""
    generator = torch.Generator().manual_seed(child_seed(seed, "initialisation"))
    posterior, shape, n_components = settings.posterior, settings.shape, settings.n_components
    encoder = settings.architecture.encoder(shape, posterior.n_outputs(n_components), generator)
    if settings.unit_codes:
        encoder = BatchNormEncoder(encoder, n_components)
    return Autoencoder(
        encoder,
        settings.architecture.decoder(n_components, shape, generator),
        posterior,
        deepcopy(settings.likelihood),
        settings.corruption,
        PRECISIONS[settings.precision],
    )


def build_objective(settings: ModelSettings, seed: int) -> Objective:
    """Return a fresh objective; the user's terms are copied."""
    objective = Objective(settings.prior, deepcopy(tuple(settings.terms)))
    generator = torch.Generator().manual_seed(child_seed(seed, "critics"))
    objective.build(settings.n_components, generator)
    return objective


def resolve_device(device: str) -> torch.device:
    """Return the device that a name stands for; "auto" is a GPU where torch finds one.

    Raises
    ------
    ValueError
        When torch does not know the device, or it is not available.
    """
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


def _optimizer(training: TrainingSettings) -> dict[str, Any]:
    """Return skorch's arguments for the optimizer, in its fused form where torch has one."""
    if not isinstance(training.optimizer, str):
        if not issubclass(training.optimizer, optim.Optimizer):
            raise ValueError(
                f"optimizer must be one of {sorted(OPTIMIZERS)} or a subclass of "
                f"torch.optim.Optimizer. Got {training.optimizer!r} instead."
            )
        return {"optimizer": training.optimizer}
    fused = training.device.type in {"cpu", "cuda"}
    return {"optimizer": OPTIMIZERS[training.optimizer], "optimizer__fused": fused}
