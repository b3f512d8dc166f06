"""Out-of-fold predictions for partly labelled data."""

import warnings
from collections.abc import Iterator
from numbers import Integral
from typing import Any, final

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import check_cv, cross_validate
from sklearn.utils import get_tags
from sklearn.utils.metadata_routing import get_routing_for_object
from sklearn.utils.parallel import Parallel, delayed

from skvim._labeled import UNLABELED, LabeledRows, labeled_rows
from skvim._validation import StrOptions, check_arguments, same_length, take_rows
from skvim.model_selection._splits import MaskedStratifiedKFold

__all__ = ["cross_val_predict_masked"]

Rows = NDArray[np.intp]

_NAME = "cross_val_predict_masked"
_METHODS = {"predict", "predict_proba", "predict_log_proba", "decision_function"}


@check_arguments(method=[StrOptions(_METHODS)], cv=["cv_object"], params=[dict, None])
def cross_val_predict_masked(
    estimator: Any,
    X: Any,
    y: Any,
    *,
    groups: Any = None,
    cv: Any = None,
    n_jobs: int | None = None,
    verbose: int = 0,
    params: dict[str, Any] | None = None,
    pre_dispatch: int | str = "2*n_jobs",
    method: str = "predict",
) -> NDArray[Any]:
    """Predict each labelled row by a model that was fitted without it, but with unlabelled rows.

    scikit-learn's :func:`~sklearn.model_selection.cross_val_predict` for partly labelled ``y``: it
    requires test sets that hold every row, and codes the classes before it fits for probabilities,
    by which -1, the mark of a row without a label, becomes the class 0.

    Parameters
    ----------
    estimator : estimator
        A classifier that takes -1 for rows without a label, or a pipeline that ends with one.
    X : {array-like, DataFrame, sparse matrix} of shape (n_samples, n_features)
        Rows; of shape (n_samples, n_samples) if the estimator takes precomputed kernels.
    y : array-like of shape (n_samples,)
        Labels, numbers or strings; -1 for unlabelled rows.
    groups : array-like of shape (n_samples,) or None, default=None
        Group of each row, for a splitter of groups. With metadata routing it goes into ``params``.
    cv : int, splitter, iterable or None, default=None
        An int or None (5 folds) is :class:`MaskedStratifiedKFold`, unshuffled. Test sets of other
        splitters must hold every labelled row once. Unlabelled rows in them are not predicted, and
        are not in the training set either.
    n_jobs : int or None, default=None
        Number of processes for the fits, then for the predictions. None is joblib's configured
        number, by default 1.
    verbose : int, default=0
        Verbosity of joblib.
    params : dict or None, default=None
        Parameters of ``fit``, of which those with an entry for each row are reduced to the training
        rows; with metadata routing, also of the splitter.
    pre_dispatch : int or str, default="2*n_jobs"
        Number of fits that are dispatched at once.
    method : {"predict", "predict_proba", "predict_log_proba", "decision_function"}, \
            default="predict"
        Method of the fitted estimators that predicts.

    Returns
    -------
    ndarray of shape (n_labeled,) or (n_labeled, n_classes)
        Predictions of the labelled rows in the order of y, ``y[y != -1]``. Columns are the sorted
        classes of all labelled rows; scores of two classes have one dimension. If a training set
        lacks a class, its probability is 0 and its score or log-probability the lowest finite
        number, with a warning, as in scikit-learn.

    Raises
    ------
    ValueError
        If y is not partly labelled as :class:`MaskedStratifiedKFold` requires, the test sets do not
        hold every labelled row once, the estimator takes -1 for a class, its classes are not those
        of y, or a training set lacks a class and scores have fewer than two columns.

    Warns
    -----
    RuntimeWarning
        If a training set lacks a class.

    See Also
    --------
    MaskedStratifiedKFold : The folds, for ``cross_val_score`` and searches.

    Notes
    -----
    Unlabelled rows have no prediction, rather than -1 or NaN: a metric of y and as many labels
    would count each -1 as a correct prediction of -1. With this result it raises an error until
    y is reduced to its labelled rows.

    All fitted models are kept until they have predicted.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.metrics import roc_auc_score
    >>> from sklearn.semi_supervised import LabelSpreading
    >>> from skvim.model_selection import cross_val_predict_masked, mask_labels
    >>> X, y = load_iris(return_X_y=True)
    >>> partial = mask_labels(y, 30, random_state=0)
    >>> shares = cross_val_predict_masked(LabelSpreading(), X, partial, method="predict_proba")
    >>> shares.shape
    (30, 3)
    >>> bool(roc_auc_score(partial[partial != -1], shares, multi_class="ovr") > 0.95)
    True
    """
    labeled = labeled_rows(y, name=_NAME)
    labeled.codes()  # which refuses continuous values
    X, y = same_length(X, y)
    fits = cross_validate(
        estimator,
        X,
        y,
        groups=groups,
        scoring=_no_score,
        cv=_LabeledTestSets(_splitter(cv), labeled),
        n_jobs=n_jobs,
        verbose=verbose,
        params=params,
        pre_dispatch=pre_dispatch,
        return_estimator=True,
        return_indices=True,
        error_score="raise",
    )
    splits = list(zip(fits["indices"]["train"], fits["indices"]["test"], strict=True))
    classes = np.unique(labeled.labels)
    predictions = Parallel(n_jobs=n_jobs, verbose=verbose, pre_dispatch=pre_dispatch)(
        delayed(_predict)(model, _test_rows(model, X, *split), method, classes)
        for model, split in zip(fits["estimator"], splits, strict=True)
    )
    joined: NDArray[Any] = np.concatenate(predictions)
    return joined[np.argsort(np.concatenate([test for _, test in splits]))]


def _splitter(cv: Any) -> Any:
    """Return the splitter that an argument ``cv`` stands for."""
    if cv is None:
        return MaskedStratifiedKFold()
    return MaskedStratifiedKFold(int(cv)) if isinstance(cv, Integral) else check_cv(cv)


def _no_score(estimator: Any, X: Any, y: Any) -> float:
    """Score nothing: cross_validate is used for its fits."""
    return 0.0


@final
class _LabeledTestSets:
    """Splitter whose test sets are the labelled rows of another one's."""

    def __init__(self, splitter: Any, labeled: LabeledRows) -> None:
        self.splitter = splitter
        self.labeled = labeled

    def split(self, X: Any, y: Any = None, **params: Any) -> Iterator[tuple[Rows, Rows]]:
        """Yield training and test rows, once all test sets are known to be valid."""
        splits = []
        for train, test in self.splitter.split(X, y, **params):
            rows = np.arange(len(self.labeled.y))  # which also resolves masks
            kept = rows[test][np.isin(rows[test], self.labeled.rows)]
            if kept.size:
                splits.append((rows[train], kept))
        tested = np.sort(np.concatenate([test for _, test in splits])) if splits else np.array([])
        if not np.array_equal(tested, self.labeled.rows):
            raise ValueError(
                f"{_NAME} needs test sets that hold each of the {len(self.labeled.rows)} labelled "
                f"rows of y once. The splitter {self.splitter!r} has {len(tested)} labelled rows "
                f"in its test sets, {len(np.unique(tested))} of them different. Use "
                "MaskedStratifiedKFold."
            )
        yield from splits

    def get_n_splits(self, X: Any = None, y: Any = None, **params: Any) -> int:
        """Return the number of splits of the original splitter (scikit-learn's hook)."""
        return int(self.splitter.get_n_splits(X, y, **params))

    def get_metadata_routing(self) -> Any:
        """Return what the original splitter requests (scikit-learn's hook)."""
        return get_routing_for_object(self.splitter)


def _test_rows(model: Any, X: Any, train: Rows, test: Rows) -> Any:
    """Return the rows to predict; kernels have a column for each training row."""
    rows = take_rows(X, test)
    return rows[:, train] if get_tags(model).input_tags.pairwise else rows


def _predict(model: Any, rows: Any, method: str, classes: NDArray[Any]) -> NDArray[Any]:
    """Return the predictions of a model, with one column for each of the given classes."""
    own = np.asarray(getattr(model, "classes_", []))
    if any(not isinstance(label, str) and label == UNLABELED for label in own.tolist()):
        raise ValueError(
            f"{type(model).__name__} takes {UNLABELED} for a class, so that rows without a label "
            "are trained as one. Use an estimator that takes it for the mark of a row without a "
            "label: TransductiveSVC, LabelSpreading, or SelfTrainingClassifier around a classifier."
        )
    predictions = np.asarray(getattr(model, method)(rows))
    return predictions if method == "predict" else _aligned(predictions, own, classes, method)


def _aligned(
    scores: NDArray[Any], own: NDArray[Any], classes: NDArray[Any], method: str
) -> NDArray[Any]:
    """Return scores of a model's own classes with a column for each class.

    Missing columns are filled as scikit-learn's ``cross_val_predict`` fills them.
    """
    if np.array_equal(own, classes):
        return scores
    if not len(own) or not np.isin(own, classes).all():
        raise ValueError(
            f"{_NAME} orders the columns of {method} by classes_, which must be classes of y, "
            f"{classes.tolist()}. The fitted estimator has {own.tolist()}."
        )
    if scores.ndim != 2 or scores.shape[1] != len(own):
        raise ValueError(
            f"A training set has {len(own)} of the {len(classes)} classes, and scores of shape "
            f"{scores.shape} have no column for each. Take fewer folds, or method='predict_proba'."
        )
    warnings.warn(
        f"A training set has {len(own)} of the {len(classes)} classes; the others get the lowest "
        "score. Take fewer folds, or label more rows.",
        RuntimeWarning,
        stacklevel=2,
    )
    lowest = 0.0 if method == "predict_proba" else np.finfo(scores.dtype).min
    filled = np.full((len(scores), len(classes)), lowest, dtype=scores.dtype)
    filled[:, np.searchsorted(classes, own)] = scores
    return filled
