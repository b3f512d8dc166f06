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
    "names_of_callbacks",
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


# Attributes of an estimator that has callbacks, from scikit-learn 1.9 on; all but the first are
# deleted at the end of a fit, unless it is broken off.
_CALLBACKS = {
    "_skl_callbacks",
    "_skl_callbacks_to_teardown",
    "_callback_fit_ctx",
    "_parent_callback_ctx",
}


def names_of_callbacks(state: dict[str, Any]) -> set[str]:
    """Return the names of attributes that hold callbacks or belong to them."""
    return _CALLBACKS & state.keys()


def routed_fit_params(search: Any, params: dict[str, Any]) -> Any:
    """Return the parameters of a search's ``fit``, parted by what requests them."""
    return search._get_routed_params_for_fit(params)
