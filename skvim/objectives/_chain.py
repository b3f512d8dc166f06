"""Sampling without a prior: a Markov chain between rows and codes."""

import torch
from torch import Tensor

from skvim.objectives._autoencoder import Autoencoder

__all__ = ["markov_chain"]

# Rows of a chain are clamped to this many scales of the data.
_FAR = 1e6


def markov_chain(
    model: Autoencoder, n_chains: int, steps: tuple[int, int, int], generator: torch.Generator
) -> Tensor:
    """Return codes from Markov chains that alternate z ~ q(z|x) and x ~ p(x|z).

    Parameters
    ----------
    model : Autoencoder
        In evaluation mode.
    n_chains : int
        Chains side by side, each from a normal draw with the mean and scale of the encoder's input.
    steps : (int, int, int)
        Steps before the first codes that are kept, steps from one to the next, and how many of
        each chain to keep.
    generator : torch.Generator
        On the device of the model.

    Returns
    -------
    Tensor of shape (n_kept * n_chains, n_components)
        Codes, chain after chain within each step.

    References
    ----------
    A. Grover and S. Ermon, *Uncertainty autoencoders*, 2019, arXiv:1812.10539, section 3.2.
    """
    burn_in, thin, n_kept = steps
    mean = model.mean.expand(n_chains, -1)
    inputs = mean + model.scale * torch.empty_like(mean).normal_(generator=generator)
    kept = []
    for step in range(burn_in + thin * (n_kept - 1) + 1):
        z = model.posterior.draw(model.encode_inputs(inputs), generator)
        inputs = model.likelihood.inputs(model.likelihood.draw(model.decode(z), generator))
        # A chain that diverges stays finite; its codes show the caller that it diverged.
        inputs = mean + (inputs - mean).clamp(-_FAR * model.scale, _FAR * model.scale)
        if step >= burn_in and (step - burn_in) % thin == 0:
            kept.append(z)
    return torch.cat(kept)
