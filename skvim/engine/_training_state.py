"""State of a training between two steps, as values for a checkpoint."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn, optim

from skvim.engine._stopping import EarlyStopper
from skvim.networks._random import streams_of

__all__ = [
    "load_optimizer",
    "load_stopper",
    "load_streams",
    "load_tensors",
    "optimizer_state",
    "stopper_state",
    "stream_states",
]


def load_tensors(target: Mapping[str, Tensor], values: Mapping[str, Tensor]) -> None:
    """Copy values into tensors of the same names, in place."""
    with torch.no_grad():
        for name, tensor in target.items():
            tensor.copy_(values[name])


def optimizer_state(
    optimizer: optim.Optimizer, parameters: Sequence[nn.Parameter]
) -> dict[str, Any]:
    """Return the state of an optimizer, for parameters in this order."""
    states = [
        {name: _placed(value, parameter) for name, value in optimizer.state[parameter].items()}
        if parameter in optimizer.state
        else None
        for parameter in parameters
    ]
    groups = [{k: v for k, v in g.items() if k != "params"} for g in optimizer.param_groups]
    return {"states": states, "groups": groups}


def load_optimizer(
    optimizer: optim.Optimizer, parameters: Sequence[nn.Parameter], state: dict[str, Any]
) -> None:
    """Set the state of an optimizer whose groups hold the parameters as before."""
    for parameter, values in zip(parameters, state["states"], strict=True):
        if values is not None:
            optimizer.state[parameter] = {
                name: _unplaced(value, parameter) for name, value in values.items()
            }
    for group, settings in zip(optimizer.param_groups, state["groups"], strict=True):
        group.update(settings)


def _placed(value: Any, parameter: Tensor) -> Any:
    """Return a value of an optimizer's state with the type of its device."""
    if not isinstance(value, Tensor):
        return value
    return {"tensor": value, "with_parameter": value.device == parameter.device}


def _unplaced(value: Any, parameter: Tensor) -> Any:
    """Return the value that :func:`_placed` was given."""
    if not isinstance(value, dict) or "with_parameter" not in value:
        return value
    tensor: Tensor = value["tensor"]
    device = parameter.device if value["with_parameter"] else tensor.device
    if tensor.shape != parameter.shape:
        return tensor.to(device)
    # Fused kernels walk parameters and moments in the order of their memory.
    return torch.empty_like(parameter, dtype=tensor.dtype, device=device).copy_(tensor).detach()


def stream_states(module: nn.Module, device: torch.device) -> list[Tensor]:
    """Return the states of the random streams of a module's layers."""
    return [stream.on(device).get_state() for stream in streams_of(module)]


def load_streams(module: nn.Module, device: torch.device, states: Sequence[Tensor]) -> None:
    """Set the random streams of a module's layers."""
    for stream, state in zip(streams_of(module), states, strict=True):
        stream.on(device).set_state(state)


def stopper_state(stopper: EarlyStopper | None) -> dict[str, Any] | None:
    """Return the state of early stopping."""
    if stopper is None:
        return None
    settings = ("stopping", "n_features")
    return {name: value for name, value in vars(stopper).items() if name not in settings}


def load_stopper(stopper: EarlyStopper | None, state: dict[str, Any] | None) -> None:
    """Set the state of early stopping."""
    if stopper is not None and state is not None:
        vars(stopper).update(state)
