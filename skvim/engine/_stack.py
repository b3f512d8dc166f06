"""Models of one kind as one: their tensors stacked, with the axes of the models first."""

from collections.abc import Sequence
from copy import deepcopy
from inspect import signature
from typing import Any, final

import torch
from torch import Tensor, nn, optim

from skvim.engine._capture import TrainingStep
from skvim.engine._net import AutoencoderNet

__all__ = ["SHARED", "Stack", "at"]

#: The one tensor that all models have in common.
SHARED = "objective.progress"


@final
class Stack:
    """The tensors of models that train as one.

    Models come in sets: those of a set have rows, seed and so all random numbers in common.

    Parameters
    ----------
    sets : sequence of sequences of AutoencoderNet
        Sets of one size, of prepared nets that differ in values alone.

    Attributes
    ----------
    nets : list of AutoencoderNet
        Set after set.
    lead : tuple (n_sets, n_models)
        Number of sets, and of the models of each.
    tensors : dict of str to Tensor of shape (*lead, ...)
        Parameters, buffers and the settings that differ, by name; the progress has no lead.
    parameters : dict of str to Parameter of shape (*lead, ...)
        Those of them that train.
    """

    def __init__(self, sets: Sequence[Sequence[AutoencoderNet]]) -> None:
        self.nets = [net for nets in sets for net in nets]
        self.lead = (len(sets), len(sets[0]))
        self.steps = [
            TrainingStep(net.autoencoder, net.objective, net.streams_.noise) for net in self.nets
        ]
        self.settings = _differing(self.steps)
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
        """Return a tensor of the sets from ``start`` to ``stop``, without axes of length 1.

        One of the axes stays where both have length 1. It is a view, and no leaf of autograd.
        """
        tensor = self.tensors[name]
        if name == SHARED:
            return tensor
        if self.lead[1] == 1:
            return tensor[start:stop, 0]
        return tensor[start] if stop - start == 1 else tensor[start:stop]

    def template(self) -> TrainingStep:
        """Return a copy of the first model's step in which settings that differ are buffers."""
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

    def optimizer(self) -> optim.Optimizer:
        """Return an optimizer of all parameters, as those of the nets are."""
        own: Any = self.nets[0].optimizer_
        known = signature(type(own)).parameters  # not all defaults are arguments
        options = {name: value for name, value in own.defaults.items() if name in known}
        made: optim.Optimizer = type(own)(list(self.parameters.values()), **options)
        return made

    def release(
        self, place: tuple[int, int], tensors: dict[str, Tensor], optimizer: optim.Optimizer
    ) -> None:
        """Copy a model's part of tensors, and what the optimizer knows of them, to its net.

        Parameters
        ----------
        place : tuple (i_set, i_model)
            Where the model is.
        tensors : dict of str to Tensor of shape (*lead, ...)
            Those of the stack, of now or of another time. The progress is that of now.
        optimizer : Optimizer
            Of ``parameters``.
        """
        i = place[0] * self.lead[1] + place[1]
        net, step = self.nets[i], self.steps[i]
        with torch.no_grad():
            for name, tensor in step.tensors().items():
                tensor.copy_(self.progress if name == SHARED else tensors[name][place])
            for name, parameter in step.named_parameters():
                if name in self.parameters and self.parameters[name] in optimizer.state:
                    state = optimizer.state[self.parameters[name]]
                    net.optimizer_.state[parameter] = _cut(state, place, self.lead)
            _copy_settings(optimizer, net.optimizer_)

    def changing(self) -> dict[str, Tensor]:
        """Return the tensors that training changes, but for the progress."""
        fixed = {SHARED, *self.settings}
        return {name: tensor for name, tensor in self.tensors.items() if name not in fixed}

    def hand_over(
        self,
        optimizer: optim.Optimizer,
        places: Sequence[Sequence[tuple[int, int]]],
        other: "Stack",
        to: optim.Optimizer,
    ) -> None:
        """Give another stack's optimizer what this one's knows of the models at these places."""
        index = at(places)
        for name, parameter in self.parameters.items():
            if parameter in optimizer.state:
                state = optimizer.state[parameter]
                to.state[other.parameters[name]] = _cut(state, index, self.lead)
        _copy_settings(optimizer, to)

    def _stacked(self) -> dict[str, Tensor]:
        """Return the tensors by name."""
        found: dict[str, Tensor] = {}
        every = [step.tensors() for step in self.steps]
        for name, first in every[0].items():
            values = [tensors[name].detach() for tensors in every]
            found[name] = first.clone() if name == SHARED else _led(torch.stack(values), self.lead)
        like = self.steps[0].model.mean
        for name, numbers in self.settings.items():
            found[name] = _led(like.new_tensor(numbers), self.lead)
        return found


def _led(tensor: Tensor, lead: tuple[int, int]) -> Tensor:
    """Part the first axis of a tensor in two."""
    return tensor.view(*lead, *tensor.shape[1:])


def _differing(steps: Sequence[TrainingStep]) -> dict[str, list[float]]:
    """Return by name the settings that may differ between models, and do."""
    found: dict[str, list[float]] = {}
    parts = [dict(step.named_modules()) for step in steps]
    for path, module in parts[0].items():
        for attribute in getattr(module, "variable", ()):
            values = [float(getattr(modules[path], attribute)) for modules in parts]
            if len(set(values)) > 1:
                found[f"{path}.{attribute}"] = values
    return found


def at(places: Sequence[Sequence[tuple[int, int]]]) -> tuple[Tensor, Tensor]:
    """Return places, a list for each set, as an index that cuts them out of a stacked tensor."""
    found = torch.tensor(places)
    return found[..., 0], found[..., 1]


def _cut(state: dict[str, Any], index: Any, lead: tuple[int, int]) -> dict[str, Any]:
    """Return the part of some models of what an optimizer knows of a stacked parameter."""
    return {
        name: (value[index] if value.shape[:2] == lead else value).clone()
        if isinstance(value, Tensor)
        else value
        for name, value in state.items()
    }


def _copy_settings(source: optim.Optimizer, target: optim.Optimizer) -> None:
    """Give an optimizer of one group the settings of another's, as a schedule left them."""
    for mine, theirs in zip(target.param_groups, source.param_groups, strict=True):
        mine.update({name: value for name, value in theirs.items() if name != "params"})
