"""Encoders and decoders. This package knows torch alone."""

from skvim.networks._architecture import Architecture, by_rows, widest_layer
from skvim.networks._convolutional import Convolutional
from skvim.networks._dropout import Dropout
from skvim.networks._make import make_architecture
from skvim.networks._mlp import ACTIVATIONS, MLP, NORMALIZATIONS, Perceptrons
from skvim.networks._modules import Modules
from skvim.networks._paired import Paired
from skvim.networks._standardised import Standardised

__all__ = [
    "ACTIVATIONS",
    "MLP",
    "NORMALIZATIONS",
    "Architecture",
    "Convolutional",
    "Dropout",
    "Modules",
    "Paired",
    "Perceptrons",
    "Standardised",
    "by_rows",
    "make_architecture",
    "widest_layer",
]
