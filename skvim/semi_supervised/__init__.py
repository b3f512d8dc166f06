"""Classifiers that learn from labelled and unlabelled rows together."""

from skvim.semi_supervised._transductive import TransductiveSVC

__all__ = ["TransductiveSVC"]
