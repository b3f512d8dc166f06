"""Grid search whose fits train as one batched network."""

import copy
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, final

import joblib
from sklearn.base import clone, is_classifier
from sklearn.model_selection import GridSearchCV, ParameterGrid, check_cv
from sklearn.pipeline import Pipeline
from sklearn.utils import check_random_state

from skvim._base import BaseAutoencoder
from skvim._sklearn_private import routed_fit_params
from skvim._validation import same_length, take_rows
from skvim._values import NotComparableError, describe
from skvim.engine import FitRequest
from skvim.engine.batched import OTHER_ROWS, Plan
from skvim.exceptions import SkvimError

__all__ = ["BatchedSearchCV"]

Splits = Sequence[tuple[Any, Any]]

# What a fit raises for parameters or data that it refuses.
_OWN_ERRORS = (TypeError, ValueError, AttributeError, RuntimeError, SkvimError, Warning)


@final
class BatchedSearchCV(GridSearchCV):
    """``GridSearchCV`` for autoencoders, with the networks of many fits trained as one.

    A drop-in: same parameters, attributes, scores and errors. Fits of all candidates and folds that
    differ in weights and numbers of the objective ("lam", "beta", "gamma", "alpha", "capacity") or
    in the seed train together, each with its own weights, random numbers and history, as if by
    itself, up to the rounding of sums. In a Pipeline this is for its first autoencoder; all else is
    fitted for every candidate, as ever.

    Parameters
    ----------
    estimator : autoencoder or Pipeline
        What to search over.
    param_grid : dict or list of dicts
        Names of parameters with lists of values to try.
    scoring : str, callable, list, tuple or dict, default=None
        As ``GridSearchCV`` takes it.
    n_jobs : int, default=None
        Processes where no fits can be made together. Where some are, all else is done in this
        process, in which the networks are.
    refit : bool, str or callable, default=True
        Whether, and by which score, the best candidate is fitted to all rows.
    cv : int, cross-validation generator or iterable, default=None
        Folds. Those whose training sets make batches of the same number train together.
    verbose : int, default=0
        As ``GridSearchCV`` takes it.
    pre_dispatch : int or str, default="2*n_jobs"
        As ``GridSearchCV`` takes it.
    error_score : "raise" or number, default=nan
        Score of a candidate whose fit fails.
    return_train_score : bool, default=False
        Whether ``cv_results_`` has scores of training sets.

    Attributes
    ----------
    cv_results_, best_estimator_, best_score_, best_params_, best_index_, scorer_, n_splits_ :
        As ``GridSearchCV`` has them. ``mean_fit_time`` shares out the time of fits that were made
        together.
    n_batched_fits_ : int
        Fits that were made together with others; not those that a Pipeline's memory had already.

    Warns
    -----
    BatchingWarning
        When fits were made one by one, with the reason: no other fit has the same networks, data
        and training; a divergence has a critic; modules, parts or an optimizer of the user's;
        callbacks; ``verbose``; bfloat16; ``acceleration=None``; on a CPU networks so large that
        arithmetic takes the time; a device that is neither a CPU nor CUDA's; no room for two in the
        working memory; steps of the Pipeline before it that give other rows every time.

    See Also
    --------
    lam_path : The fitted estimators themselves, without folds.

    Notes
    -----
    Networks train together as far as scikit-learn's ``working_memory`` allows (1 GiB unless
    ``sklearn.set_config`` says otherwise); more of them train in turns. With ``early_stopping``
    each stops by its own validation loss.

    Examples
    --------
    >>> from sklearn.datasets import load_wine
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> from skvim import VIMAETransformer
    >>> from skvim.model_selection import BatchedSearchCV
    >>> X, y = load_wine(return_X_y=True)
    >>> vim = VIMAETransformer(4, hidden_layer_sizes=(16,), max_epochs=10, random_state=0)
    >>> model = make_pipeline(StandardScaler(), vim, LogisticRegression())
    >>> search = BatchedSearchCV(model, {"vimaetransformer__lam": [0.1, 1.0, 10.0]}, cv=3)
    >>> search.fit(X, y).n_batched_fits_
    9
    """

    def fit(self, X: Any, y: Any = None, **params: Any) -> "BatchedSearchCV":
        """Fit every candidate to every fold, and the best one to all rows.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows; whatever the estimator's ``fit`` takes and can be split.
        y : array-like of shape (n_samples,), default=None
            Labels, in which -1 may mark rows without one, as far as splitter, estimator and scorer
            know it.
        **params : object
            As ``GridSearchCV.fit`` takes them. Parameters of the estimator's ``fit`` make all fits
            run one by one.

        Returns
        -------
        self : object
            Fitted.
        """
        # A copy is fitted: the parameters of this one stay as the user gave them.
        search = copy.copy(self)
        _delete_fitted(search)
        plan = Plan()
        try:
            search._make_plan(plan, X, y, params)
            super(BatchedSearchCV, search).fit(X, y, **params)
        finally:
            plan.finish()
        _delete_fitted(self)
        self.__dict__.update({k: v for k, v in vars(search).items() if k.endswith("_")})
        self.n_batched_fits_ = plan.n_batched
        return self

    def _make_plan(self, plan: Plan, X: Any, y: Any, params: dict[str, Any]) -> None:
        """Plan the fits; errors in data and parameters are left to scikit-learn to raise."""
        self._plan: Plan = plan
        try:
            X, y = same_length(X, y)
            splitter = check_cv(self.cv, y, classifier=is_classifier(self.estimator))
            self.cv: Any = splitter  # what it was made of may be an iterator
            routed = routed_fit_params(self, params)
            splits = list(splitter.split(X, y, **routed.splitter.split))
            candidates = list(ParameterGrid(self.param_grid))
        except (TypeError, ValueError, AttributeError):
            return
        self.cv = _KnownSplits(splitter, splits)
        if routed.estimator.fit:
            number = len(candidates) * len(splits)
            plan.reasons["parameters are passed to the estimator's fit"] += number
            return
        self._add_fits(candidates, splits, X, y)
        plan.build_chunks()
        if plan.chunks:
            self.n_jobs = 1  # results are in this process; None would follow joblib's configuration
            self.estimator: Any = _following(self.estimator, plan)
            self.param_grid: Any = _following_grid(self.param_grid, plan)

    def _add_fits(self, candidates: list[dict[str, Any]], splits: Splits, X: Any, y: Any) -> None:
        """Plan the fit of every candidate to every fold."""
        n_without = 0
        for j, (train, _) in enumerate(splits):
            rows, labels = take_rows(X, train), None if y is None else take_rows(y, train)
            transformed: dict[Any, Any] = {}
            for i, parameters in enumerate(candidates):
                own, before = self._parts(parameters)
                if own is None:
                    n_without += 1
                    continue
                key = _key(before)
                if key not in transformed:
                    transformed[key] = _transform(before, rows, labels)
                self._add_fit(own, transformed[key], (i, j))
        if n_without == len(candidates) * len(splits):
            reason = (
                "the estimator is neither an autoencoder nor a Pipeline with one among its steps"
            )
            self._plan.reasons[reason] += n_without

    def _add_fit(self, own: Any, rows: Any, tag: tuple[int, int]) -> None:
        """Plan the fit of an autoencoder, unless it is known why not."""
        if isinstance(rows, _NoRows):
            self._plan.reasons[rows.reason] += 1
            return
        try:
            request: FitRequest = own._make_request(rows)
        except _OWN_ERRORS:  # its fit raises it
            return
        self._plan.add(request, tag)

    def _parts(self, parameters: dict[str, Any]) -> tuple[Any, Any]:
        """Return a candidate's autoencoder and the steps before it; None for what is not there."""
        try:
            model = clone(self.estimator).set_params(**clone(parameters, safe=False))
        except _OWN_ERRORS:  # the fit of this candidate raises it
            return None, None
        return _split(model)

    def _format_results(
        self, candidate_params: Any, n_splits: int, out: Any, more_results: Any = None
    ) -> dict[str, Any]:
        """Share a batch's time among its fits, then make the table (scikit-learn's hook)."""
        self._plan.is_complete = True  # what follows is the fit to all rows
        for chunk in (chunk for chunk in self._plan.chunks if chunk.takers):
            _result_of(out, chunk.takers[0], n_splits)["fit_time"] -= chunk.seconds
            for tag in chunk.takers:
                _result_of(out, tag, n_splits)["fit_time"] += chunk.seconds / len(chunk.takers)
        results: dict[str, Any] = super()._format_results(
            candidate_params, n_splits, out, more_results
        )
        return results


@final
class _KnownSplits:
    """A splitter whose splits are known."""

    def __init__(self, splitter: Any, splits: Splits) -> None:
        self.splitter = splitter
        self.splits = splits

    def split(self, X: Any = None, y: Any = None, **params: Any) -> Iterator[tuple[Any, Any]]:
        """Yield training and test rows."""
        return iter(self.splits)

    def get_n_splits(self, X: Any = None, y: Any = None, **params: Any) -> int:
        """Return the number of splits."""
        return len(self.splits)

    def get_metadata_routing(self) -> Any:
        """Return what the splitter asks for (scikit-learn's hook)."""
        return self.splitter.get_metadata_routing()


def _split(model: Any) -> tuple[Any, Any]:
    """Return the first autoencoder or None, and the steps of a Pipeline before it or None."""
    if isinstance(model, BaseAutoencoder):
        return model, None
    steps = model.steps if isinstance(model, Pipeline) else []
    for i, (_, step) in enumerate(steps):
        if isinstance(step, BaseAutoencoder):
            return step, model[:i] if i else None
    return None, None


def _key(steps: Any) -> Any:
    """Return a description by value; a key of its own for steps that have none."""
    try:
        return describe(steps)
    except NotComparableError:
        return object()


class _NoRows(NamedTuple):
    """Why the rows that reach an autoencoder are not known before its fit."""

    reason: str


def _transform(steps: Any, rows: Any, labels: Any) -> Any:
    """Fit the preceding steps without output and return the transformed rows.

    They are not known if the steps use NumPy's global generator, whose state is restored: in the
    fits to come its numbers are others.
    """
    if steps is None:
        return rows
    verbose = [name for name, value in steps.get_params().items() if _is_verbose(name) and value]
    generator = check_random_state(None)
    before = generator.get_state()
    try:
        steps.set_params(**dict.fromkeys(verbose, False))
        transformed = _fit_transform(steps, rows, labels)
    except _OWN_ERRORS as error:
        return _NoRows(f"the steps before it raise {type(error).__name__}")
    if joblib.hash(generator.get_state()) == joblib.hash(before):
        return transformed
    generator.set_state(before)
    return _NoRows(OTHER_ROWS)


def _fit_transform(steps: Any, rows: Any, labels: Any) -> Any:
    """Fit steps of a Pipeline and return transformed rows; the last may be a sampler of rows."""
    if hasattr(steps[-1], "fit_resample"):
        return steps.fit_resample(rows, labels)[0]
    return steps.fit_transform(rows, labels)


def _is_verbose(name: str) -> bool:
    """Tell whether a parameter, of a step or of a part of one, makes it print."""
    return name.rpartition("__")[2] == "verbose"


def _following(value: Any, plan: Plan) -> Any:
    """Return a clone of an autoencoder, or a Pipeline with one, whose fits take from a plan."""
    own, _ = _split(value)
    if own is None:
        return value
    cloned = clone(value)
    _split(cloned)[0]._follow_plan(plan)
    return cloned


def _following_grid(grid: Any, plan: Plan) -> Any:
    """Return a grid in which autoencoders and Pipelines among the values take from a plan."""
    if not isinstance(grid, Mapping):
        return [_following_grid(part, plan) for part in grid]
    return {name: [_following(value, plan) for value in values] for name, values in grid.items()}


def _delete_fitted(estimator: Any) -> None:
    """Delete what ``fit`` has set."""
    for name in [name for name in vars(estimator) if name.endswith("_")]:
        delattr(estimator, name)


def _result_of(out: Any, tag: tuple[int, int], n_splits: int) -> Any:
    """Return the result of a candidate and a fold."""
    return out[tag[0] * n_splits + tag[1]]
