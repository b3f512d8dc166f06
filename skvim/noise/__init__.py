"""Corruptions of the data, as transformers and as functions of an array or tensor."""

from skvim.noise._transformers import BaseNoise, GaussianNoise, MaskingNoise

__all__ = ["BaseNoise", "GaussianNoise", "MaskingNoise"]
