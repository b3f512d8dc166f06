"""Corruptions of the data, as transformers and as functions of an array or tensor."""

from skvim.noise._transformers import GaussianNoise, MaskingNoise

__all__ = ["GaussianNoise", "MaskingNoise"]
