"""Private names of scikit-learn: all that skvim uses, in one place.

A release of scikit-learn may change any of them. ``tests/test_private_names.py`` then names what is
gone.
"""

from typing import Any

from sklearn.utils import _safe_indexing as take
from sklearn.utils._param_validation import (
    HasMethods,
    Interval,
    StrOptions,
    validate_parameter_constraints,
)

__all__ = [
    "USED",
    "HasMethods",
    "Interval",
    "StrOptions",
    "routed_fit_params",
    "take",
    "validate_parameter_constraints",
]

#: Names that are looked up when used, overridden (``_format_results``) or defined for scikit-learn
#: by skvim's classes (``_parameter_constraints``, ``_accept_sample_weight``).
USED = (
    "sklearn.linear_model.LogisticRegression._parameter_constraints",
    "sklearn.metrics._scorer._Scorer._accept_sample_weight",
    "sklearn.model_selection.GridSearchCV._format_results",
    "sklearn.model_selection.GridSearchCV._get_routed_params_for_fit",
)


def routed_fit_params(search: Any, params: dict[str, Any]) -> Any:
    """Return the parameters of a search's ``fit``, parted by what requests them."""
    return search._get_routed_params_for_fit(params)
