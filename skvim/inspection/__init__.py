"""Pictures of a fitted model; matplotlib (extra "plot") is imported when one is drawn."""

from skvim.inspection._images import ReconstructionDisplay, SamplesDisplay
from skvim.inspection._latent import LatentDisplay
from skvim.inspection._robustness import RobustnessDisplay

__all__ = ["LatentDisplay", "ReconstructionDisplay", "RobustnessDisplay", "SamplesDisplay"]
