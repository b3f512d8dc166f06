"""Optimizer step for given gradients, with fused Adam kernels called directly."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, final

import torch
from torch import Tensor, nn, optim

__all__ = ["Update", "flush_subnormals", "make_update"]

# Moments below this move no weight and are a hundred steps of decay away from subnormal numbers.
_VANISHING = 1e-30

_KERNELS: dict[type[optim.Optimizer], Callable[..., Any] | None] = {
    optim.Adam: getattr(torch, "_fused_adam_", None),
    optim.AdamW: getattr(torch, "_fused_adamw_", None),
}


def flush_subnormals(optimizer: optim.Optimizer) -> None:
    """Set the optimizer's moments to 0 where they have all but vanished.

    Moments of a weight that gets no gradient, as that of a unit that is off, shrink until they are
    subnormal numbers, which most CPUs take many times as long to compute with: every twelfth weight
    in such a state makes Adam's step take three times as long. To be called every hundred steps.

    Parameters
    ----------
    optimizer : Optimizer
        Its state is changed in place.
    """
    for state in optimizer.state.values():
        for name in ("exp_avg", "exp_avg_sq", "momentum_buffer"):
            moment = state.get(name)
            if moment is not None:
                moment.masked_fill_(moment.abs() < _VANISHING, 0)


class Update(ABC):
    """Moves parameters by gradients, given in the order of the parameters it was made for."""

    #: Whether all of it happens on the device, so that a CUDA graph can hold it.
    on_device: ClassVar[bool]

    @abstractmethod
    def __call__(self, gradients: Sequence[Tensor]) -> None:
        """Move the parameters."""

    @abstractmethod
    def sync_settings(self) -> None:
        """Copy the optimizer's current learning rates to the device, where kernels read them."""


def make_update(optimizer: optim.Optimizer, parameters: Sequence[nn.Parameter]) -> Update:
    """Return a function of gradients that does what ``optimizer.step()`` does.

    Parameters
    ----------
    optimizer : Optimizer
        Optimizer that has taken a step before, so that its state exists.
    parameters : sequence of Parameter
        Those that have gradients.

    Returns
    -------
    Update
        For fused Adam and AdamW one kernel call a group of parameters; for other optimizers, and
        where hooks are registered, the optimizer's own ``step``.
    """
    if _is_fused(optimizer) and all(parameter in optimizer.state for parameter in parameters):
        return _FusedUpdate(optimizer, parameters)
    return _StepUpdate(optimizer, parameters)


@final
class _StepUpdate(Update):
    """The optimizer's own step."""

    on_device = False

    def __init__(self, optimizer: optim.Optimizer, parameters: Sequence[nn.Parameter]) -> None:
        self.optimizer = optimizer
        self.parameters = list(parameters)
        # Gradients left by earlier steps would go on moving parameters that no longer get any.
        optimizer.zero_grad()

    def __call__(self, gradients: Sequence[Tensor]) -> None:
        """Set the gradients and step."""
        for parameter, gradient in zip(self.parameters, gradients, strict=True):
            parameter.grad = gradient
        self.optimizer.step()

    def sync_settings(self) -> None:
        """Do nothing: the optimizer reads its settings at every step."""


@final
class _FusedUpdate(Update):
    """Fused Adam with lists of tensors made once: looking them up costs as much as kernels."""

    on_device = True

    def __init__(self, optimizer: optim.Optimizer, parameters: Sequence[nn.Parameter]) -> None:
        kernel: Any = _KERNELS[type(optimizer)]
        positions = {parameter: i for i, parameter in enumerate(parameters)}
        self.groups = []
        for settings in optimizer.param_groups:
            members = [parameter for parameter in settings["params"] if parameter in positions]
            if members:
                states = [optimizer.state[parameter] for parameter in members]
                places = [positions[parameter] for parameter in members]
                self.groups.append(_Group(kernel, settings, members, places, states))

    def __call__(self, gradients: Sequence[Tensor]) -> None:
        """Move every group."""
        for group in self.groups:
            group.move(gradients)

    def sync_settings(self) -> None:
        """Copy the learning rate of every group."""
        for group in self.groups:
            group.sync_settings()


@final
class _Group:
    """Parameters with the same settings."""

    def __init__(
        self,
        kernel: Any,
        settings: dict[str, Any],
        parameters: list[nn.Parameter],
        places: list[int],
        states: list[dict[str, Tensor]],
    ) -> None:
        self.kernel = kernel
        self.settings = settings
        self.parameters = parameters
        self.places = places
        names = ("exp_avg", "exp_avg_sq", "step")
        self.averages, self.squares, self.steps = ([s[name] for s in states] for name in names)
        # A CUDA graph reads the rate from the memory where it was during capture.
        device = parameters[0].device
        on_cuda = device.type == "cuda"
        self.rate = torch.zeros((), dtype=torch.float32, device=device) if on_cuda else None
        self.sync_settings()

    def sync_settings(self) -> None:
        """Copy the current learning rate."""
        if self.rate is not None:
            self.rate.fill_(self.settings["lr"])

    def move(self, gradients: Sequence[Tensor]) -> None:
        """Take a step with the current settings."""
        settings = self.settings
        torch._foreach_add_(self.steps, 1)
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


def _is_fused(optimizer: optim.Optimizer) -> bool:
    """Tell whether a step of the optimizer is one kernel call a group."""
    if _KERNELS.get(type(optimizer)) is None:
        return False
    if optimizer._optimizer_step_pre_hooks or optimizer._optimizer_step_post_hooks:
        return False
    if "step" in vars(optimizer):  # torch's schedulers replace it
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
