"""Measures of what a fitted model knows and of what it withstands."""

from skvim.metrics._activity import active_units
from skvim.metrics._information import Information, information
from skvim.metrics._likelihood import LogLikelihood, log_likelihood
from skvim.metrics._robustness import robustness_curve

__all__ = [
    "Information",
    "LogLikelihood",
    "active_units",
    "information",
    "log_likelihood",
    "robustness_curve",
]
