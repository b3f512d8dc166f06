"""Scores of the rows that have a label."""

import copy
import inspect
from collections.abc import Mapping
from typing import Any, final

from sklearn.metrics import get_scorer
from sklearn.utils.metadata_routing import get_routing_for_object
from sklearn.utils.metaestimators import available_if

from skvim._labeled import LabeledRows, labeled_rows
from skvim._validation import same_length, take_rows

__all__ = ["masked_scorer"]


def masked_scorer(scoring: Any) -> Any:
    """Return a scorer that leaves out the rows without a label, those whose y is -1.

    To be passed as ``scoring`` wherever scikit-learn takes a scorer and test sets may hold such
    rows. A plain scorer takes -1 for a class that every prediction misses.

    Parameters
    ----------
    scoring : str or callable
        Name of a scorer of scikit-learn, what ``make_scorer`` returns, or a function
        ``scorer(estimator, X, y)``, with what metadata it takes as further arguments.

    Returns
    -------
    callable
        ``scorer(estimator, X, y, **metadata)``: the score of the labelled rows. Arrays, lists
        and data frames reach ``scoring`` as what they are and sparse matrices as CSR, with the
        other rows left out. So does metadata with as many entries as X has rows, such as
        ``sample_weight``; other metadata stays as it is. y arrives as an array, and numbers in an
        array of dtype object as numbers.

        It requests the metadata that ``scoring`` requests, and has ``set_score_request`` if
        that has it. It can be pickled if ``scoring`` can.

    Raises
    ------
    ValueError
        If no scorer has this name. When called: if y is missing, has no label, missing values or
        the string "-1", or differs in length from X.
    TypeError
        If ``scoring`` is neither a name nor callable.

    See Also
    --------
    skvim.model_selection.MaskedStratifiedKFold : Test sets that hold labelled rows alone.

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


def _takes_requests(masked: "_MaskedScorer") -> bool:
    return hasattr(masked._scorer, "set_score_request")


@final
class _MaskedScorer:
    """A scorer that passes the labelled rows on to another one."""

    def __init__(self, scorer: Any, name: str | None = None) -> None:
        self._scorer = scorer
        self._name = name

    def __call__(self, estimator: Any, X: Any, y: Any = None, **metadata: Any) -> Any:
        labeled = labeled_rows(y, name=repr(self))
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

    @available_if(_takes_requests)  # type: ignore[untyped-decorator]
    def set_score_request(self, **requests: Any) -> "_MaskedScorer":
        """Set what the wrapped scorer requests, in a copy of it: the user's own stays as it is."""
        self._scorer = copy.deepcopy(self._scorer).set_score_request(**requests)
        return self

    def _accept_sample_weight(self) -> bool:
        """Tell scikit-learn, which asks where metadata is not routed."""
        ask = getattr(self._scorer, "_accept_sample_weight", None)
        if ask is not None:
            return bool(ask())
        return "sample_weight" in inspect.signature(self._scorer).parameters


def _labeled_part(value: Any, labeled: LabeledRows) -> Any:
    """Return the labelled rows of metadata that has an entry per row, else all of it."""
    shape = getattr(value, "shape", None)
    if isinstance(value, (str, bytes, Mapping, set, frozenset)) or shape == ():
        return value
    n_entries = shape[0] if shape else len(value) if hasattr(value, "__len__") else None
    if n_entries != len(labeled.y):
        return value
    return take_rows(same_length(value)[0], labeled.rows)
