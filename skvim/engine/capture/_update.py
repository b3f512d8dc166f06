"""Optimizer step for given gradients, with fused Adam kernels called directly."""

from collections.abc import Sequence
from inspect import Parameter, signature
from typing import Any, final

import torch
from torch import Tensor, nn, optim

from skvim._torch_private import FUSED_KERNELS, has_step_hooks, increment_all

__all__ = ["Update", "flush_subnormals", "needs_closure"]

# Moments below this move no weight and are a hundred steps of decay away from subnormal numbers.
_VANISHING = 1e-30


def needs_closure(optimizer: optim.Optimizer) -> bool:
    """Tell whether steps of an optimizer compute losses themselves, more than once."""
    closure = signature(optimizer.step).parameters.get("closure")
    return closure is not None and closure.default is Parameter.empty


def flush_subnormals(optimizer: optim.Optimizer) -> None:
    """Set the optimizer's moments to 0 where they have all but vanished.

    Moments of a weight that gets no gradient, as that of a unit that is off, shrink until they are
    subnormal numbers, which most CPUs take many times as long to compute with: every twelfth weight
    in such a state makes Adam's step take three times as long. To be called every hundred steps.
    """
    for state in optimizer.state.values():
        for name in ("exp_avg", "exp_avg_sq", "momentum_buffer"):
            moment = state.get(name)
            if moment is not None:
                moment.masked_fill_(moment.abs() < _VANISHING, 0)


@final
class Update:
    """Moves parameters by gradients as ``optimizer.step()`` does, after the optimizer's first step.

    For fused Adam and AdamW it is one kernel call a group of parameters, all on the device, so that
    a CUDA graph can hold it; for other optimizers, and where hooks are registered, it is ``step``.
    """

    def __init__(self, optimizer: optim.Optimizer, parameters: Sequence[nn.Parameter]) -> None:
        self.optimizer = optimizer
        self.parameters = list(parameters)
        started = all(parameter in optimizer.state for parameter in parameters)
        self.on_device = started and _is_fused(optimizer)
        self.groups: list[_Group] = []
        if not self.on_device:
            # Gradients left by earlier steps would go on moving parameters that no longer get any.
            optimizer.zero_grad()
            return
        positions = {parameter: i for i, parameter in enumerate(parameters)}
        for settings in optimizer.param_groups:
            members = [parameter for parameter in settings["params"] if parameter in positions]
            if members:
                places = [positions[parameter] for parameter in members]
                self.groups.append(_Group(optimizer, settings, members, places))

    def __call__(self, gradients: Sequence[Tensor]) -> None:
        """Move the parameters by gradients in the parameters' order."""
        for group in self.groups:
            group.move(gradients)
        if not self.on_device:
            for parameter, gradient in zip(self.parameters, gradients, strict=True):
                parameter.grad = gradient
            self.optimizer.step()

    def sync_settings(self) -> None:
        """Copy the current learning rates to the device, where a CUDA graph reads them."""
        for group in self.groups:
            if group.rate is not None:
                group.rate.fill_(group.settings["lr"])


@final
class _Group:
    """Parameters with the same settings; lists of tensors are made once, as this takes long."""

    def __init__(
        self,
        optimizer: optim.Optimizer,
        settings: dict[str, Any],
        parameters: list[nn.Parameter],
        places: list[int],
    ) -> None:
        self.kernel: Any = FUSED_KERNELS[type(optimizer)]
        self.settings = settings
        self.parameters = parameters
        self.places = places
        self.states = [optimizer.state[parameter] for parameter in parameters]
        names = ("exp_avg", "exp_avg_sq")
        self.averages, self.squares = ([state[n] for state in self.states] for n in names)
        device, rate = parameters[0].device, torch.tensor(float(settings["lr"]))
        self.rate = rate.to(device, torch.float32) if device.type == "cuda" else None
        self._set_steps()

    def move(self, gradients: Sequence[Tensor]) -> None:
        """Take a step with the current settings."""
        settings = self.settings
        pairs = zip(self.states, self.steps, strict=True)
        if any(state["step"] is not step for state, step in pairs):  # another group joined some
            self._set_steps()
        increment_all(self.counters)
        self.kernel(
            self.parameters,
            [gradients[i] for i in self.places],
            self.averages,
            self.squares,
            [],
            self.steps,
            lr=settings["lr"] if self.rate is None else self.rate,
            beta1=settings["betas"][0],
            beta2=settings["betas"][1],
            weight_decay=settings["weight_decay"],
            eps=settings["eps"],
            amsgrad=False,
            maximize=False,
        )

    def _set_steps(self) -> None:
        """Collect the numbers of steps, and the tensors to increment for all of them."""
        whole = _joined(self.states) if self.rate is None else None
        self.steps = [state["step"] for state in self.states]
        self.counters = self.steps if whole is None else [whole]


def _joined(states: Sequence[dict[str, Any]]) -> Tensor | None:
    """Move the numbers of steps into one vector, whose entries they become, and return it.

    On a CPU it takes longer to increment a dozen of numbers one by one than to move the weights of
    a small network. None if some numbers are entries of another vector.
    """
    steps = [state["step"] for state in states]
    addresses = {step.untyped_storage().data_ptr() for step in steps}
    offsets = [step.storage_offset() for step in steps]
    if len(addresses) == 1 and offsets == list(range(len(steps))):
        return torch.as_strided(steps[0], (len(steps),), (1,), 0)
    if len(addresses) < len(steps):
        return None
    whole = torch.stack(steps)
    for state, step in zip(states, whole, strict=True):
        state["step"] = step
    return whole


def _is_fused(optimizer: optim.Optimizer) -> bool:
    """Tell whether a step of the optimizer is one kernel call a group."""
    # torch's schedulers replace the method ``step``.
    changed = has_step_hooks(optimizer) or "step" in vars(optimizer)
    if FUSED_KERNELS.get(type(optimizer)) is None or changed:
        return False
    # Since torch 2.7 Adam has AdamW's decay as a setting.
    decoupled = type(optimizer) is optim.AdamW
    return all(
        group["fused"]
        and not group["amsgrad"]
        and not group["maximize"]
        and group.get("decoupled_weight_decay", decoupled) == decoupled
        for group in optimizer.param_groups
    )
