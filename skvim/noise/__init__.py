"""Corruptions of data, as scikit-learn transformers."""

from skvim.noise._augmentation import AugmentationNoise
from skvim.noise._image_transformers import (
    BlurNoise,
    BrightnessNoise,
    ContrastNoise,
    OcclusionNoise,
)
from skvim.noise._severities import severities
from skvim.noise._transformers import (
    GaussianNoise,
    MaskingNoise,
    MissingFeaturesNoise,
    SaltPepperNoise,
    SwapNoise,
)

__all__ = [
    "AugmentationNoise",
    "BlurNoise",
    "BrightnessNoise",
    "ContrastNoise",
    "GaussianNoise",
    "MaskingNoise",
    "MissingFeaturesNoise",
    "OcclusionNoise",
    "SaltPepperNoise",
    "SwapNoise",
    "severities",
]
