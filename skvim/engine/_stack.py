"""Models of one kind as one: their tensors stacked, with the axes of the models first."""

from collections.abc import Sequence
from copy import deepcopy
from inspect import signature
from typing import Any, final

import torch
from torch import Tensor, nn, optim

from skvim.engine._capture import TrainingStep
from skvim.engine._net import AutoencoderNet

__all__ = ["SHARED", "Stack"]

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

    def release(self, optimizer: optim.Optimizer) -> None:
        """Copy every model's tensors, and what the optimizer knows of them, back to its net."""
        with torch.no_grad():
            for i, (net, step) in enumerate(zip(self.nets, self.steps, strict=True)):
                place = divmod(i, self.lead[1])
                for name, tensor in step.tensors().items():
                    tensor.copy_(
                        self.tensors[name] if name == SHARED else self.tensors[name][place]
                    )
                for name, parameter in step.named_parameters():
                    if name in self.parameters and self.parameters[name] in optimizer.state:
                        state = optimizer.state[self.parameters[name]]
                        net.optimizer_.state[parameter] = _of_model(state, place, self.lead)
                _copy_settings(optimizer, net.optimizer_)

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


def _of_model(
    state: dict[str, Any], place: tuple[int, int], lead: tuple[int, int]
) -> dict[str, Any]:
    """Return a model's part of what an optimizer knows of a stacked parameter."""
    return {
        name: (value[place] if value.shape[:2] == lead else value).clone()
        if isinstance(value, Tensor)
        else value
        for name, value in state.items()
    }


def _copy_settings(source: optim.Optimizer, target: optim.Optimizer) -> None:
    """Give an optimizer of one group the settings of another's, as a schedule left them."""
    for mine, theirs in zip(target.param_groups, source.param_groups, strict=True):
        mine.update({name: value for name, value in theirs.items() if name != "params"})
