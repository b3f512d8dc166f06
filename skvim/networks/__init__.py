"""Encoders and decoders. This package knows torch alone."""

from skvim.networks._mlp import ACTIVATIONS, MLP

__all__ = ["ACTIVATIONS", "MLP"]
