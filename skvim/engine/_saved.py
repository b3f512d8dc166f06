"""A trained net as values for a file, and back."""

import math
from dataclasses import fields
from numbers import Integral
from typing import Any, cast

import torch
from torch import nn

from skvim.engine._build import ModelSettings, TrainingSettings, build_net
from skvim.engine._net import AutoencoderNet
from skvim.networks import Architecture
from skvim.objectives import DataStatistics, Likelihood, Posterior, Prior, Term

__all__ = ["net_state", "restored_net"]

_TRAINING = ("acceleration", "batch_size", "lr", "max_epochs", "pretraining", "seed", "verbose")


def net_state(net: AutoencoderNet) -> dict[str, Any]:
    """Return what a trained net computes from, and its history.

    Left out is what would continue its training: the optimizer and its state, the schedule of its
    learning rate, callbacks, positions of random streams.
    """
    settings: ModelSettings = net.module.args[0]
    model = {field.name: getattr(settings, field.name) for field in fields(settings)}
    # The transformer that a corruption is a method of.
    model["corruption"] = getattr(settings.corruption, "__self__", settings.corruption)
    return {
        "model": model,
        "training": {name: getattr(net, name) for name in _TRAINING},
        "n_rows": net.autoencoder.likelihood.n_rows,
        "history": [dict(epoch) for epoch in net.history],
        "weights": dict(net.autoencoder.state_dict()),
        "critics": dict(net.objective.state_dict()),
    }


def restored_net(
    state: dict[str, Any], device: torch.device
) -> tuple[AutoencoderNet, ModelSettings]:
    """Return the net of such a state, and what its model is made of.

    Raises
    ------
    TypeError, ValueError, RuntimeError
        When parts are of the wrong kind, or weights have other names, shapes or types.
    """
    model = _model(**state["model"])
    training = TrainingSettings(
        **state["training"], optimizer="adam", callbacks=None, net_params={}, device=device
    )
    net = build_net(model, training)
    n_features = math.prod(model.shape)
    # Shapes alone: the values come with the weights.
    zeros = torch.zeros(n_features, device=device)
    net.prepare(DataStatistics(zeros, 1.0, 0.0, 0.0, int(state["n_rows"])), device)
    _take_weights(net.autoencoder, state["weights"])
    _take_weights(net.objective, state["critics"])
    net.autoencoder.eval()
    net.objective.eval()
    net.history.extend(state["history"])
    return net, model


def _model(
    shape: Any, terms: Any, corruption: Any, architecture: Any, **parts: Any
) -> ModelSettings:
    """Return the settings of a model, made of what they should be."""
    expected = {
        "posterior": Posterior,
        "likelihood": Likelihood,
        "prior": Prior | None,
        "n_components": Integral,
        "unit_codes": bool,
    }
    wrong = [name for name, kind in expected.items() if not isinstance(parts[name], kind)]
    wrong += [] if isinstance(architecture, Architecture) else ["architecture"]
    wrong += [] if all(isinstance(term, Term) for _, term in terms) else ["terms"]
    if wrong:
        raise TypeError(f"parts of the model are of the wrong kind: {wrong}")
    _check(shape, terms, architecture, **parts)
    noise = None if corruption is None else corruption.corrupt
    return ModelSettings(
        shape=tuple(shape), terms=terms, corruption=noise, architecture=architecture, **parts
    )


def _check(shape: Any, terms: Any, architecture: Any, **parts: Any) -> None:
    """Raise as ``fit`` does when settings are out of range."""
    prior, posterior = cast("Prior | None", parts["prior"]), parts["posterior"]
    architecture.check(shape)
    parts["likelihood"].check()
    posterior.check()
    if prior is not None:
        prior.check()
    for _, term in terms:
        term.check(posterior, prior)


def _take_weights(module: nn.Module, weights: dict[str, torch.Tensor]) -> None:
    """Load weights that are those of the module in name, shape and type."""
    for name, own in module.state_dict().items():
        if name in weights and weights[name].dtype != own.dtype:
            raise TypeError(f"{name} is of {weights[name].dtype} instead of {own.dtype}")
    module.load_state_dict(weights, strict=True)
