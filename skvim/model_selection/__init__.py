"""Model selection: batched searches and paths, and splitters for partly labelled data."""

from skvim.model_selection._mask_labels import mask_labels
from skvim.model_selection._path import lam_path
from skvim.model_selection._predictions import cross_val_predict_masked
from skvim.model_selection._search import BatchedSearchCV
from skvim.model_selection._splits import MaskedStratifiedKFold, MaskedStratifiedShuffleSplit

__all__ = [
    "BatchedSearchCV",
    "MaskedStratifiedKFold",
    "MaskedStratifiedShuffleSplit",
    "cross_val_predict_masked",
    "lam_path",
    "mask_labels",
]
