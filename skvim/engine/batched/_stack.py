"""Stacked tensors of models that train as one."""

from collections.abc import Sequence
from copy import deepcopy
from inspect import signature
from typing import Any, final

import torch
from torch import Tensor, nn, optim

from skvim.engine._net import AutoencoderNet
from skvim.engine.capture._training_step import TrainingStep

__all__ = ["SHARED", "Place", "Stack", "as_index"]

#: The one tensor that all models share.
SHARED = "objective.progress"

Place = tuple[int, int]


@final
class Stack:
    """Tensors of models with two leading axes: sets, and the models of a set.

    Models of a set have rows and seed, and therefore all random numbers, in common. Sets have one
    size; their prepared nets differ in values alone. ``tensors`` holds by name parameters, buffers
    and the settings that differ, of shape (*lead, ...), and the progress, of shape ().
    """

    def __init__(self, sets: Sequence[Sequence[AutoencoderNet]]) -> None:
        self.nets = [net for nets in sets for net in nets]
        self.lead = (len(sets), len(sets[0]))
        self.steps = [
            TrainingStep(net.autoencoder, net.objective, net.streams_.noise) for net in self.nets
        ]
        self.settings = _differing_settings(self.steps)
        self.tensors = self._stacked()
        self.parameters = {
            name: nn.Parameter(self.tensors[name])
            for name, parameter in self.steps[0].named_parameters()
            if parameter.requires_grad
        }

    @property
    def progress(self) -> Tensor:
        """Share of the training that is done, of shape ()."""
        return self.tensors[SHARED]

    def part(self, name: str, start: int, stop: int) -> Tensor:
        """Return a view for some sets; of the leading axes, one of length 1 is left out."""
        tensor = self.tensors[name]
        if name == SHARED:
            return tensor
        if self.lead[1] == 1:
            return tensor[start:stop, 0]
        return tensor[start] if stop - start == 1 else tensor[start:stop]

    def template(self) -> TrainingStep:
        """Return a copy of the first model's step with the settings that differ as buffers."""
        first = self.steps[0]
        model, objective = deepcopy((first.model, first.objective))
        step = TrainingStep(model, objective, torch.Generator(first.noise.device))
        modules = dict(step.named_modules())
        for name in self.settings:
            owner, _, attribute = name.rpartition(".")
            delattr(modules[owner], attribute)
            value = self.tensors[name][0, 0].clone()
            modules[owner].register_buffer(attribute, value, persistent=False)
        return step

    def make_optimizer(self) -> optim.Optimizer:
        """Return an optimizer of all parameters with the settings of the nets' optimizers."""
        own: Any = self.nets[0].optimizer_
        known = signature(type(own)).parameters  # not all defaults are arguments
        options = {name: value for name, value in own.defaults.items() if name in known}
        made: optim.Optimizer = type(own)(list(self.parameters.values()), **options)
        return made

    def release(self, place: Place, tensors: dict[str, Tensor], optimizer: optim.Optimizer) -> None:
        """Copy one model's part of tensors, and of the optimizer's state, to its net."""
        i = place[0] * self.lead[1] + place[1]
        net, step = self.nets[i], self.steps[i]
        with torch.no_grad():
            for name, tensor in step.tensors().items():
                tensor.copy_(self.progress if name == SHARED else tensors[name][place])
            for name, parameter in step.named_parameters():
                if name in self.parameters and self.parameters[name] in optimizer.state:
                    state = optimizer.state[self.parameters[name]]
                    net.optimizer_.state[parameter] = self._state_at(state, place)
            _copy_settings(optimizer, net.optimizer_)

    def values(self) -> dict[str, Tensor]:
        """Return the tensors that training changes, the progress included."""
        return {**self.changing(), SHARED: self.progress}

    def changing(self) -> dict[str, Tensor]:
        """Return the tensors that training changes, except the progress."""
        fixed = {SHARED, *self.settings}
        return {name: tensor for name, tensor in self.tensors.items() if name not in fixed}

    def hand_over(
        self,
        optimizer: optim.Optimizer,
        places: Sequence[Sequence[Place]],
        other: "Stack",
        to: optim.Optimizer,
    ) -> None:
        """Copy the optimizer's state of the models at these places to another stack's optimizer."""
        index = as_index(places)
        for name, parameter in self.parameters.items():
            if parameter in optimizer.state:
                state = optimizer.state[parameter]
                to.state[other.parameters[name]] = self._state_at(state, index)
        _copy_settings(optimizer, to)

    def _stacked(self) -> dict[str, Tensor]:
        """Return the tensors by name."""
        stacked: dict[str, Tensor] = {}
        tensors = [step.tensors() for step in self.steps]
        for name, first in tensors[0].items():
            if name == SHARED:
                stacked[name] = first.clone()
            else:
                values = torch.stack([of_model[name].detach() for of_model in tensors])
                stacked[name] = values.view(*self.lead, *first.shape)  # (K, ...) -> (*lead, ...)
        like = self.steps[0].model.mean
        for name, numbers in self.settings.items():
            stacked[name] = like.new_tensor(numbers).view(self.lead)
        return stacked

    def _state_at(self, state: dict[str, Any], index: Any) -> dict[str, Any]:
        """Return an optimizer's state of a stacked parameter for some models."""
        return {
            name: (value[index] if value.shape[:2] == self.lead else value).clone()
            if isinstance(value, Tensor)
            else value
            for name, value in state.items()
        }


def _differing_settings(steps: Sequence[TrainingStep]) -> dict[str, list[float]]:
    """Return by name the numbers that may differ between models, and do."""
    differing: dict[str, list[float]] = {}
    parts = [dict(step.named_modules()) for step in steps]
    for path, module in parts[0].items():
        for attribute in getattr(module, "variable", ()):
            values = [float(getattr(modules[path], attribute)) for modules in parts]
            if len(set(values)) > 1:
                differing[f"{path}.{attribute}"] = values
    return differing


def as_index(places: Sequence[Sequence[Place]]) -> tuple[Tensor, Tensor]:
    """Return places, a list for each set, as an index of stacked tensors."""
    index = torch.tensor(places)
    return index[..., 0], index[..., 1]


def _copy_settings(source: optim.Optimizer, target: optim.Optimizer) -> None:
    """Copy the settings of an optimizer's group, as a schedule left them, to another's."""
    for mine, theirs in zip(target.param_groups, source.param_groups, strict=True):
        mine.update({name: value for name, value in theirs.items() if name != "params"})
