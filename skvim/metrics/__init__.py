"""Metrics of information, likelihood, reconstruction, generated samples and robustness."""

from skvim.metrics._codes import Information, active_units, information
from skvim.metrics._comparison import compare_robustness
from skvim.metrics._corruption_error import (
    corruption_errors,
    mean_corruption_error,
    robustness_summary,
)
from skvim.metrics._frechet import FrechetDistance, frechet_distance
from skvim.metrics._inception import InceptionFeatures
from skvim.metrics._kernel import KernelDistance, kernel_distance
from skvim.metrics._log_likelihood import LogLikelihood, log_likelihood
from skvim.metrics._masked import masked_scorer
from skvim.metrics._neighbours import PrecisionRecall, precision_recall
from skvim.metrics._reconstruction import ReconstructionError, reconstruction_error
from skvim.metrics._robustness_curve import robustness_curve
from skvim.metrics._scorers import (
    information_scorer,
    log_likelihood_scorer,
    reconstruction_scorer,
)
from skvim.metrics._squared_hinge import squared_hinge_scorer

__all__ = [
    "FrechetDistance",
    "InceptionFeatures",
    "Information",
    "KernelDistance",
    "LogLikelihood",
    "PrecisionRecall",
    "ReconstructionError",
    "active_units",
    "compare_robustness",
    "corruption_errors",
    "frechet_distance",
    "information",
    "information_scorer",
    "kernel_distance",
    "log_likelihood",
    "log_likelihood_scorer",
    "masked_scorer",
    "mean_corruption_error",
    "precision_recall",
    "reconstruction_error",
    "reconstruction_scorer",
    "robustness_curve",
    "robustness_summary",
    "squared_hinge_scorer",
]
