"""Model selection where only part of the rows have a label."""

from skvim.model_selection._labels import mask_labels
from skvim.model_selection._splits import MaskedStratifiedKFold, MaskedStratifiedShuffleSplit

__all__ = ["MaskedStratifiedKFold", "MaskedStratifiedShuffleSplit", "mask_labels"]
