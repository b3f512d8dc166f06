"""Encoders and decoders, and the architectures that build them; imports torch only."""

from skvim.networks._architecture import Architecture, batch_apply, max_activation_size
from skvim.networks._batch_norm import BatchNormEncoder
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
    "BatchNormEncoder",
    "Convolutional",
    "Dropout",
    "Modules",
    "Paired",
    "Perceptrons",
    "batch_apply",
    "make_architecture",
    "max_activation_size",
]
