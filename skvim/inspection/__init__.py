"""Plots of fitted models; matplotlib (extra "plot") is imported on use."""

from skvim.inspection._image_displays import ReconstructionDisplay, SamplesDisplay
from skvim.inspection._latent_display import LatentDisplay
from skvim.inspection._robustness_display import RobustnessDisplay

__all__ = ["LatentDisplay", "ReconstructionDisplay", "RobustnessDisplay", "SamplesDisplay"]
