"""Serialisation of a trained net as values for a file."""

import math
from numbers import Integral
from typing import Any

import torch
from torch import nn

from skvim.engine._build import ModelSettings, TrainingSettings, build_net
from skvim.engine._net import AutoencoderNet
from skvim.networks import Architecture
from skvim.objectives import DataStatistics, Likelihood, Posterior, Prior, Term

__all__ = ["net_state", "restored_net"]

_TRAINING = ("acceleration", "batch_size", "lr", "max_epochs", "pretraining", "seed", "verbose")
_KINDS: dict[str, Any] = {
    "posterior": Posterior,
    "likelihood": Likelihood,
    "prior": Prior | None,
    "n_components": Integral,
    "unit_codes": bool,
    "architecture": Architecture,
}


def net_state(net: AutoencoderNet) -> dict[str, Any]:
    """Return settings, weights and history of a trained net.

    Left out is what would continue its training: the optimizer and its state, the schedule of its
    learning rate, callbacks, positions of random streams.
    """
    settings: ModelSettings = net.module.args[0]
    # A corruption is a method of a transformer.
    noise = getattr(settings.corruption, "__self__", settings.corruption)
    return {
        "model": {**vars(settings), "corruption": noise},
        "training": {name: getattr(net, name) for name in _TRAINING},
        "n_rows": net.autoencoder.likelihood.n_rows,
        "history": [dict(epoch) for epoch in net.history],
        "weights": dict(net.autoencoder.state_dict()),
        "critics": dict(net.objective.state_dict()),
    }


def restored_net(
    state: dict[str, Any], device: torch.device
) -> tuple[AutoencoderNet, ModelSettings]:
    """Return net and settings of a state; TypeError, ValueError or RuntimeError if it is wrong."""
    model = _model_settings(**state["model"])
    training = TrainingSettings(
        **state["training"], optimizer="adam", callbacks=None, net_params={}, device=device
    )
    net = build_net(model, training)
    # For the shapes alone: the values come with the weights.
    zeros = torch.zeros(math.prod(model.shape), device=device)
    net.prepare(DataStatistics(zeros, 1.0, 0.0, 0.0, int(state["n_rows"])), device)
    _load_weights(net.autoencoder.eval(), state["weights"])
    _load_weights(net.objective.eval(), state["critics"])
    net.history.extend(state["history"])
    return net, model


def _model_settings(shape: Any, terms: Any, corruption: Any, **parts: Any) -> ModelSettings:
    """Return the settings of a model, checked as ``fit`` does."""
    wrong = [name for name, kind in _KINDS.items() if not isinstance(parts[name], kind)]
    wrong += [] if all(isinstance(term, Term) for _, term in terms) else ["terms"]
    if wrong:
        raise TypeError(f"parts of the model are of the wrong kind: {wrong}")
    noise = None if corruption is None else corruption.corrupt
    model = ModelSettings(shape=tuple(shape), terms=terms, corruption=noise, **parts)
    model.architecture.check(model.shape)
    model.likelihood.check()
    model.posterior.check()
    if model.prior is not None:
        model.prior.check()
    for _, term in terms:
        term.check(model.posterior, model.prior)
    return model


def _load_weights(module: nn.Module, weights: dict[str, torch.Tensor]) -> None:
    """Load weights that have the names, shapes and types of the module's."""
    for name, own in module.state_dict().items():
        if name in weights and weights[name].dtype != own.dtype:
            raise TypeError(f"{name} is of {weights[name].dtype} instead of {own.dtype}")
    module.load_state_dict(weights, strict=True)
