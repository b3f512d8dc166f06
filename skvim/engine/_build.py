"""From settings to a skorch net that is ready to train."""

from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from typing import Any, final

import torch
from torch import Tensor, optim

from skvim.engine._net import AutoencoderNet
from skvim.engine._streams import child_seed
from skvim.networks import MLP
from skvim.objectives import (
    Autoencoder,
    Divergence,
    Likelihood,
    Objective,
    Posterior,
    Prior,
)

__all__ = ["OPTIMIZERS", "ModelSettings", "TrainingSettings", "build_net", "resolve_device"]

#: Optimizers by name.
OPTIMIZERS: dict[str, type[optim.Optimizer]] = {
    "adam": optim.Adam,
    "adamw": optim.AdamW,
    "sgd": optim.SGD,
}

# What the engine itself decides; everything else of skorch's is open to ``net_params``.
_RESERVED = {"module", "criterion", "lr", "max_epochs", "batch_size", "callbacks"}
_RESERVED |= {"dataset", "iterator_train", "iterator_valid", "device", "verbose", "seed"}


@final
@dataclass(frozen=True)
class ModelSettings:
    """What the model is made of."""

    n_features: int
    n_components: int
    hidden_layer_sizes: tuple[int, ...]
    activation: str
    posterior: Posterior
    likelihood: Likelihood
    prior: Prior | None
    terms: Sequence[tuple[float, Divergence]]
    corruption: Callable[[Tensor, torch.Generator], Tensor] | None = None


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


def build_net(model: ModelSettings, training: TrainingSettings) -> AutoencoderNet:
    """Return a net that builds the model when it is prepared.

    Raises
    ------
    ValueError
        When a batch is too small for a divergence, or ``net_params`` names what a parameter of the
        estimator decides.
    """
    objective = partial(build_objective, model.prior, tuple(model.terms))
    _check_names(objective().names)
    needed = objective().min_rows
    if training.batch_size < needed:
        raise ValueError(
            f"batch_size must be at least {needed} for the divergence in use. "
            f"Got {training.batch_size} instead."
        )
    _check_net_params(training.net_params)
    options = {**_optimizer(training), "train_split": None, "use_caching": False}
    return AutoencoderNet(
        partial(build_autoencoder, model, training.seed),
        criterion=objective,
        seed=training.seed,
        max_epochs=training.max_epochs,
        batch_size=training.batch_size,
        lr=training.lr,
        callbacks=training.callbacks,
        device=str(training.device),
        verbose=training.verbose,
        **{**options, **training.net_params},
    )


def _check_net_params(net_params: dict[str, Any]) -> None:
    """Raise when an argument for skorch is decided elsewhere; those of the optimizer are not."""
    taken = [k for k in net_params if k == "optimizer" or str(k).split("__")[0] in _RESERVED]
    if taken:
        raise ValueError(
            f"net_params must not contain {taken}: parameters of the estimator or its engine "
            "decide them. Pass other arguments of skorch.NeuralNet, such as "
            "{'optimizer__weight_decay': 1e-4}."
        )


def _check_names(names: Sequence[str]) -> None:
    """Raise unless the terms of an objective can be told apart in the history."""
    if len(set(names)) < len(names) or "batch_size" in names:
        raise ValueError(
            f"Every divergence needs a name of its own in the history. Got {list(names[2:])} "
            "beside 'loss' and 'distortion'."
        )


def build_autoencoder(settings: ModelSettings, seed: int) -> Autoencoder:
    """Return a freshly initialised model; the user's likelihood is copied."""
    generator = torch.Generator().manual_seed(child_seed(seed, "initialisation"))
    mlp = partial(MLP, activation=settings.activation, generator=generator)
    hidden = settings.hidden_layer_sizes
    encoder = mlp(settings.n_features, hidden, settings.posterior.n_outputs(settings.n_components))
    decoder = mlp(settings.n_components, hidden[::-1], settings.n_features)
    likelihood = deepcopy(settings.likelihood)
    return Autoencoder(encoder, decoder, settings.posterior, likelihood, settings.corruption)


def build_objective(prior: Prior | None, terms: Sequence[tuple[float, Divergence]]) -> Objective:
    """Return a fresh objective; the user's divergences are copied."""
    return Objective(prior, deepcopy(terms))


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
