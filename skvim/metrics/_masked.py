"""Scorers that use only the labelled rows."""

import copy
import inspect
from collections.abc import Mapping
from typing import Any, final

from sklearn.metrics import get_scorer
from sklearn.utils.metadata_routing import get_routing_for_object
from sklearn.utils.metaestimators import available_if

from skvim._labeled import LabeledRows, labeled_rows
from skvim._validation import count_rows, same_length, take_rows

__all__ = ["masked_scorer"]


def masked_scorer(scoring: Any) -> Any:
    """Make a scorer ignore unlabelled rows, those with y = -1.

    To be passed as ``scoring`` wherever scikit-learn takes a scorer and test sets may hold such
    rows. A plain scorer treats -1 as a class that is never predicted.

    Parameters
    ----------
    scoring : str or callable
        Name of a scorer of scikit-learn, result of ``make_scorer``, or a function
        ``scorer(estimator, X, y)``, optionally with metadata as keyword arguments.

    Returns
    -------
    callable
        ``scorer(estimator, X, y, **metadata)``: the score of the labelled rows. Only these rows are
        passed on: arrays, lists and data frames as the same type, sparse matrices as CSR. Metadata
        with one entry per row of X, such as ``sample_weight``, is reduced likewise; other metadata
        is passed unchanged. y is passed as an array, with numbers of dtype object converted.

        It requests the metadata that ``scoring`` requests, and has ``set_score_request`` if
        ``scoring`` has. It can be pickled if ``scoring`` can.

    Raises
    ------
    ValueError
        If no scorer has this name. When called: if y is None, has no label, has missing values, the
        string "-1" or the largest value of an unsigned dtype (which -1 becomes), or differs in
        length from X.
    TypeError
        If ``scoring`` is neither a name nor callable.

    See Also
    --------
    skvim.model_selection.MaskedStratifiedKFold : Test sets of labelled rows only.

    Examples
    --------
    >>> from sklearn.dummy import DummyClassifier
    >>> from skvim.metrics import masked_scorer
    >>> X, y = [[0.0]] * 4, [1, 1, 0, -1]
    >>> model = DummyClassifier(strategy="constant", constant=1).fit(X, [1, 1, 0, 0])
    >>> scorer = masked_scorer("accuracy")
    >>> scorer
    masked_scorer('accuracy')
    >>> round(scorer(model, X, y), 3)
    0.667
    """
    if isinstance(scoring, str):
        return _MaskedScorer(get_scorer(scoring), name=scoring)
    if not callable(scoring):
        raise TypeError(
            "scoring must be the name of a scorer or a callable scorer(estimator, X, y). Got "
            f"{scoring!r} instead. For several scores, wrap each: "
            '{"accuracy": masked_scorer("accuracy"), ...}.'
        )
    return _MaskedScorer(scoring)


def _has_requests(masked: "_MaskedScorer") -> bool:
    return hasattr(masked._scorer, "set_score_request")


@final
class _MaskedScorer:
    """Scorer that passes only the labelled rows to another scorer."""

    def __init__(self, scorer: Any, name: str | None = None) -> None:
        self._scorer = scorer
        self._name = name

    def __call__(self, estimator: Any, X: Any, y: Any = None, **metadata: Any) -> Any:
        labeled = labeled_rows(y, name=repr(self))
        count_rows("X", X)
        X, _ = same_length(X, labeled.y)
        return self._scorer(
            estimator,
            take_rows(X, labeled.rows),
            labeled.labels,
            **{key: _labeled_part(value, labeled) for key, value in metadata.items()},
        )

    def __repr__(self) -> str:
        return f"masked_scorer({self._name or self._scorer!r})"

    def get_metadata_routing(self) -> Any:
        """Return what the wrapped scorer requests."""
        return get_routing_for_object(self._scorer)

    @available_if(_has_requests)  # type: ignore[untyped-decorator]
    def set_score_request(self, **requests: Any) -> "_MaskedScorer":
        """Set the requests of a copy of the wrapped scorer; the user's scorer is unchanged."""
        self._scorer = copy.deepcopy(self._scorer).set_score_request(**requests)
        return self

    def _accept_sample_weight(self) -> bool:
        """Whether it takes sample weights; used by scikit-learn without metadata routing."""
        ask = getattr(self._scorer, "_accept_sample_weight", None)
        if ask is not None:
            return bool(ask())
        return "sample_weight" in inspect.signature(self._scorer).parameters


def _labeled_part(value: Any, labeled: LabeledRows) -> Any:
    """Return the labelled part of metadata with one entry per row, and other metadata unchanged."""
    shape = getattr(value, "shape", None)
    if isinstance(value, (str, bytes, Mapping, set, frozenset)) or shape == ():
        return value
    n_entries = shape[0] if shape else len(value) if hasattr(value, "__len__") else None
    if n_entries != len(labeled.y):
        return value
    return take_rows(same_length(value)[0], labeled.rows)
