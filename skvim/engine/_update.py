"""The optimizer's step, without what it looks up anew at every step."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, final

import torch
from torch import Tensor, nn, optim

from skvim.engine._modes import has_graphs

__all__ = ["Update", "drop_vanishing", "make_update"]

# Moments below this move no weight, and have a hundred steps of decay to go to the subnormals.
_VANISHING = 1e-30

_KERNELS: dict[type[optim.Optimizer], Callable[..., Any] | None] = {
    optim.Adam: getattr(torch, "_fused_adam_", None),
    optim.AdamW: getattr(torch, "_fused_adamw_", None),
}


class Update(ABC):
    """Takes gradients in the order of the parameters that it was made for, and moves these."""

    #: Whether all of it happens on the device, so that a CUDA graph can hold it.
    on_device: ClassVar[bool]

    @abstractmethod
    def __call__(self, gradients: Sequence[Tensor]) -> None:
        """Move the parameters."""

    @abstractmethod
    def follow(self) -> None:
        """Bring to the device what callbacks and schedules changed in the optimizer's settings."""


def drop_vanishing(optimizer: optim.Optimizer) -> None:
    """Set moments of gradients to 0 where they have all but vanished.

    The moments of a weight that gets no gradient, as that of a unit that is off, shrink until they
    are subnormal numbers, which most processors take many times as long to compute with: every
    twelfth weight in such a state makes Adam's step take three times as long. To be called every
    hundred steps, on a CPU.

    Parameters
    ----------
    optimizer : Optimizer
        Its state is changed in place, where it is called as torch calls it.
    """
    for state in optimizer.state.values():
        for name in ("exp_avg", "exp_avg_sq", "momentum_buffer"):
            moment = state.get(name)
            if moment is not None:
                moment.masked_fill_(moment.abs() < _VANISHING, 0)


def make_update(optimizer: optim.Optimizer, parameters: Sequence[nn.Parameter]) -> Update:
    """Return what does as ``optimizer.step()`` does for given gradients.

    Parameters
    ----------
    optimizer : Optimizer
        Which has taken a step before, so that its state exists.
    parameters : sequence of Parameter
        Those that have gradients.

    Returns
    -------
    Update
        For Adam and AdamW in their fused form one call of torch's kernel a group of parameters,
        with the group's settings as they are at the time; for others, and where hooks are
        registered, the optimizer's own ``step``.
    """
    if _is_plain(optimizer) and all(parameter in optimizer.state for parameter in parameters):
        return _FusedUpdate(optimizer, parameters)
    return _OwnUpdate(optimizer, parameters)


@final
class _OwnUpdate(Update):
    """The optimizer's own step."""

    on_device = False

    def __init__(self, optimizer: optim.Optimizer, parameters: Sequence[nn.Parameter]) -> None:
        self.optimizer = optimizer
        self.parameters = list(parameters)
        # Gradients of earlier steps would go on moving what has been frozen since.
        optimizer.zero_grad()

    def __call__(self, gradients: Sequence[Tensor]) -> None:
        """Hand gradients over and step."""
        for parameter, gradient in zip(self.parameters, gradients, strict=True):
            parameter.grad = gradient
        self.optimizer.step()

    def follow(self) -> None:
        """Leave it to the optimizer, which reads its settings at every step."""


@final
class _FusedUpdate(Update):
    """Steps of Adam whose lists of tensors are made once: to look them up costs several kernels."""

    on_device = True

    def __init__(self, optimizer: optim.Optimizer, parameters: Sequence[nn.Parameter]) -> None:
        kernel = _KERNELS[type(optimizer)]
        place = {parameter: i for i, parameter in enumerate(parameters)}
        groups = [
            (group, [parameter for parameter in group["params"] if parameter in place])
            for group in optimizer.param_groups
        ]
        self.groups = [
            _Group(
                kernel, group, mine, [place[p] for p in mine], [optimizer.state[p] for p in mine]
            )
            for group, mine in groups
            if mine
        ]

    def __call__(self, gradients: Sequence[Tensor]) -> None:
        """Move every group."""
        for group in self.groups:
            group.move(gradients)

    def follow(self) -> None:
        """Bring learning rates to the device."""
        for group in self.groups:
            group.follow()


@final
class _Group:
    """Parameters under the same settings."""

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
        self.averages = [state["exp_avg"] for state in states]
        self.squares = [state["exp_avg_sq"] for state in states]
        self.steps = [state["step"] for state in states]
        # A kernel in a CUDA graph finds the rate in the memory where it was when it was captured.
        device = parameters[0].device
        self.rate = (
            torch.zeros((), dtype=torch.float32, device=device) if has_graphs(device) else None
        )
        self.follow()

    def follow(self) -> None:
        """Fill in the learning rate of now."""
        if self.rate is not None:
            self.rate.fill_(self.settings["lr"])

    def move(self, gradients: Sequence[Tensor]) -> None:
        """Take a step by the settings of now."""
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


def _is_plain(optimizer: optim.Optimizer) -> bool:
    """Whether a step of the optimizer is one call of a kernel a group."""
    if _KERNELS.get(type(optimizer)) is None:
        return False
    if optimizer._optimizer_step_pre_hooks or optimizer._optimizer_step_post_hooks:
        return False
    # torch's schedulers, among others, put a function of their own in the place of ``step``.
    if "step" in vars(optimizer):
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
