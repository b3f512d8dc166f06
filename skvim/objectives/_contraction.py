"""The penalty of contractive autoencoders: the norm of the encoder's Jacobian."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import final

import torch
from torch import Tensor, nn

from skvim._plain_numbers import is_real
from skvim.objectives._autoencoder import Autoencoder
from skvim.objectives._numbers import number
from skvim.objectives._posteriors import Posterior
from skvim.objectives._priors import Prior
from skvim.objectives._terms import Penalty

__all__ = ["Contraction", "encoder_jacobian"]


@contextmanager
def _evaluation_mode(module: nn.Module) -> Iterator[None]:
    """Switch a module and its submodules to evaluation mode, and back."""
    modes = [(submodule, submodule.training) for submodule in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for submodule, training in modes:
            submodule.training = training


def encoder_jacobian(model: Autoencoder, x: Tensor) -> Tensor:
    """Return ∂e/∂x of every row, with x in units of the data's scale.

    Parameters
    ----------
    model : Autoencoder
        Model with the posterior mean e(x).
    x : Tensor of shape (n_samples, n_inputs)
        What the encoder sees of rows.

    Returns
    -------
    Tensor of shape (n_components, n_samples, n_inputs)
        Jacobian, differentiable in the encoder's weights. The encoder is in evaluation mode:
        without dropout, and with the running moments of batch normalisation.
    """
    with torch.enable_grad(), _evaluation_mode(model.encoder):
        x = x.detach().requires_grad_()
        codes = model.encode_inputs(x).loc  # (n, k)
        columns = [
            torch.autograd.grad(codes[:, j].sum(), x, create_graph=True)[0]
            for j in range(codes.shape[1])
        ]
        return torch.stack(columns) * model.scale  # (k, n, d)


@final
class Contraction(Penalty):
    """E‖J(x)‖² + c E‖J(x) − J(x + ε)‖², J the encoder's Jacobian, ε ~ N(0, r² I).

    Parameters
    ----------
    curvature : float in [0, inf), default=0.0
        Weight c of the second term against the first; 0 leaves it out.
    radius : float in (0, inf), default=0.1
        r, in units of the data's scale.

    Notes
    -----
    Squared Frobenius norms, averaged over rows, without a unit: x is measured in the data's scale.

    References
    ----------
    S. Rifai et al., *Contractive auto-encoders*, ICML 2011; *Higher order contractive
    auto-encoder*, ECML 2011.
    """

    name = "contraction"
    variable = ("curvature", "radius")

    def __init__(self, curvature: float = 0.0, radius: float = 0.1) -> None:
        self.curvature = curvature
        self.radius = radius

    def check(self, posterior: Posterior, prior: Prior | None) -> None:
        """Raise ``ValueError`` when a setting is out of range."""
        if not is_real(self.curvature) or not 0 <= self.curvature < math.inf:
            raise ValueError(
                f"The curvature must be a finite number from 0 on. Got {self.curvature!r}."
            )
        if not is_real(self.radius) or not 0 < self.radius < math.inf:
            raise ValueError(f"The radius must be a positive finite number. Got {self.radius!r}.")

    def forward(self, model: Autoencoder, x: Tensor, generator: torch.Generator) -> Tensor:
        """Return the penalty, averaged over rows."""
        jacobian = encoder_jacobian(model, x)
        penalty = jacobian.square().sum((0, 2)).mean()
        if isinstance(self.curvature, Tensor) or self.curvature > 0:
            noise = torch.empty_like(x).normal_(generator=generator)
            step = number(self.radius) * model.scale * noise
            change = jacobian - encoder_jacobian(model, x + step)
            penalty = penalty + number(self.curvature) * change.square().sum((0, 2)).mean()
        return penalty
