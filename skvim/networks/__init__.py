"""Encoders and decoders, and the architectures that build them; imports torch only."""

from skvim.networks._architecture import Architecture, batch_apply, widest_layer
from skvim.networks._batch_norm import Standardised
from skvim.networks._convolutional import Convolutional
from skvim.networks._dropout import Dropout
from skvim.networks._make import make_architecture
from skvim.networks._mlp import ACTIVATIONS, MLP, NORMALIZATIONS, Perceptrons
from skvim.networks._modules import Modules
from skvim.networks._paired import Paired

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
    "batch_apply",
    "make_architecture",
    "widest_layer",
]
