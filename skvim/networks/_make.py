"""From the value of an estimator's parameter to an architecture."""

from collections.abc import Sequence
from typing import Any

from skvim.networks._architecture import Architecture
from skvim.networks._convolutional import Convolutional
from skvim.networks._mlp import Perceptrons
from skvim.networks._modules import Modules
from skvim.networks._paired import Paired

__all__ = ["make_architecture"]


def make_architecture(
    network: "str | Architecture | Sequence[Any]", perceptrons: Perceptrons, shape: tuple[int, ...]
) -> Architecture:
    """Return the architecture that a name or a pair stands for, or the given object, checked.

    Parameters
    ----------
    network : {"mlp", "convolutional"}, Architecture or pair
        Value of an estimator's ``network`` parameter, already known to be one of these types. A
        pair has an encoder and a decoder: names, architectures, or what ``Modules`` takes.
    perceptrons : Perceptrons
        What "mlp" stands for.
    shape : tuple of int
        (n_features,), or (height, width, channels).

    Returns
    -------
    Architecture
        Its settings are in range and suit the shape.

    Raises
    ------
    ValueError
        When they do not, or a pair is not one.
    """
    if isinstance(network, str | Architecture):
        made = _named(network, perceptrons)
    elif len(network) != 2:
        raise ValueError(
            "network must be 'mlp', 'convolutional', an Architecture or a pair (encoder, decoder). "
            f"Got {len(network)} items instead: {network!r}."
        )
    elif any(isinstance(item, str | Architecture) for item in network):
        first, second = (_named(item, perceptrons) for item in network)
        # Two of a name are one architecture: what is made of it trains as such.
        alike = all(isinstance(item, str) for item in network) and len(set(network)) == 1
        made = first if alike else Paired(first, second)
    else:
        made = Modules(*network)
    made.check(shape)
    return made


def _named(network: Any, perceptrons: Perceptrons) -> Architecture:
    """Return the architecture of a name, or of one of a pair."""
    if isinstance(network, Architecture):
        return network
    if not isinstance(network, str):
        return Modules(network, network)
    named = {"mlp": perceptrons, "convolutional": Convolutional()}
    if network not in named:
        raise ValueError(
            "In a pair, network names an encoder and a decoder by 'mlp' or 'convolutional'. "
            f"Got {network!r} instead."
        )
    return named[network]
