"""Build the architecture that an estimator's ``network`` parameter describes."""

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
    """Return the architecture that an estimator's ``network`` parameter describes, checked.

    Parameters
    ----------
    network : {"mlp", "convolutional"}, Architecture or pair
        Value of the parameter, already known to be one of these types. A pair has an encoder and a
        decoder: names, architectures, or what ``Modules`` takes.
    perceptrons : Perceptrons
        Architecture named "mlp".
    shape : tuple of int
        (n_features,), or (height, width, channels).

    Returns
    -------
    Architecture
        Its settings are in range and support the shape.

    Raises
    ------
    ValueError
        When they do not, or a sequence has not two items.
    """
    if isinstance(network, str | Architecture):
        architecture = _architecture_of(network, perceptrons)
    elif len(network) != 2:
        raise ValueError(
            "network must be 'mlp', 'convolutional', an Architecture or a pair (encoder, decoder). "
            f"Got {len(network)} items instead: {network!r}."
        )
    elif any(isinstance(item, str | Architecture) for item in network):
        first, second = (_architecture_of(item, perceptrons) for item in network)
        # A name given twice is that architecture itself, so that it trains in one batch with it.
        same_name = all(isinstance(item, str) for item in network) and len(set(network)) == 1
        architecture = first if same_name else Paired(first, second)
    else:
        architecture = Modules(*network)
    architecture.check(shape)
    return architecture


def _architecture_of(network: Any, perceptrons: Perceptrons) -> Architecture:
    """Return the architecture of a name, an architecture or one of a pair."""
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
