"""Measures of what a fitted model knows and of what it withstands."""

from skvim.metrics._activity import active_units
from skvim.metrics._robustness import robustness_curve

__all__ = ["active_units", "robustness_curve"]
