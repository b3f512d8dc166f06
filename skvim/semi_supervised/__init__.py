"""Semi-supervised classifiers: they learn from labelled and unlabelled rows."""

from skvim.semi_supervised._transductive import TransductiveSVC

__all__ = ["TransductiveSVC"]
