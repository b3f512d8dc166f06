"""Serialisation of a trained net as values for a file."""

import math
from collections.abc import Callable
from numbers import Integral
from typing import Any, final

import torch
from torch import Tensor, nn

from skvim.engine._build import ModelSettings, TrainingSettings, build_net
from skvim.engine._net import AutoencoderNet
from skvim.networks import Architecture
from skvim.networks._function_mode import FunctionMode
from skvim.objectives import DataStatistics, Likelihood, Posterior, Prior, Term

__all__ = ["net_state", "restored_net"]

_TRAINING = ("acceleration", "batch_size", "lr", "max_epochs", "pretraining", "seed", "verbose")
# Functions that allocate memory, and values that a model may have beside its weights.
_FACTORIES = {
    "empty",
    "empty_like",
    "full",
    "new_empty",
    "new_zeros",
    "ones",
    "zeros",
    "zeros_like",
}
_SPARE_VALUES = 2**20
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
    with _WithoutValues(sum(map(_size, (state["weights"], state["critics"])))):
        net = build_net(model, training)
        # For the shapes alone: the values come with the weights.
        zeros = torch.zeros(math.prod(model.shape), dtype=torch.float32, device=device)
        net.prepare(DataStatistics(zeros, 1.0, 0.0, 0.0, int(state["n_rows"])), device)
    _set_weights(net.autoencoder.eval(), state["weights"])
    _set_weights(net.objective.eval(), state["critics"])
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


def _size(weights: dict[str, Tensor]) -> int:
    """Return the number of values of all weights."""
    return sum(weight.numel() for weight in weights.values())


def _set_weights(module: nn.Module, weights: dict[str, Tensor]) -> None:
    """Give a module weights, uncopied on a CPU; they need the names, shapes and types of its own.

    The module's parameters stay the same objects, which its optimizer refers to.
    """
    own = module.state_dict(keep_vars=True)
    if own.keys() != weights.keys():
        missing, more = own.keys() - weights.keys(), weights.keys() - own.keys()
        raise ValueError(f"Missing keys of weights: {missing}. Unexpected keys: {more}")
    for name, tensor in own.items():
        value = weights[name]
        if value.shape != tensor.shape:
            raise ValueError(f"size mismatch: {name} is {value.shape}, not {tensor.shape}")
        if value.dtype != tensor.dtype:
            raise TypeError(f"{name} is of {value.dtype} instead of {tensor.dtype}")
        tensor.data = value.to(tensor.device)


@final
class _WithoutValues(FunctionMode):
    """Context manager: build a module whose parameters get no initial values, in bounded memory.

    Memory that is not written to takes no room, so that a model is not in memory twice, and
    settings that ask for more values than a file has weights are refused before they are allocated.

    Parameters
    ----------
    n_values : int
        Number of values of the weights to come.
    """

    def __init__(self, n_values: int) -> None:
        super().__init__()
        self._left = 4 * n_values + _SPARE_VALUES

    def call(self, func: Callable[..., Any], args: tuple[Any, ...], options: dict[str, Any]) -> Any:
        """Skip what initialises a parameter, and count what is allocated."""
        name = getattr(func, "__name__", "")
        if name in _FACTORIES:
            self._left -= func(*args, **{**options, "device": "meta"}).numel()
            if self._left < 0:
                raise ValueError("the settings are of a larger model than the weights")
        is_change = name.endswith("_") and not name.startswith("__") and name != "requires_grad_"
        if is_change and args and isinstance(args[0], nn.Parameter):
            return args[0]
        return func(*args, **options)
