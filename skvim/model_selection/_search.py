"""Grid search that trains the networks of many fits as one batch."""

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

# Errors of fits with invalid parameters or data.
_OWN_ERRORS = (TypeError, ValueError, AttributeError, RuntimeError, SkvimError, Warning)


@final
class BatchedSearchCV(GridSearchCV):
    """``GridSearchCV`` for autoencoders that trains the networks of many fits as one batch.

    A drop-in replacement: same parameters, attributes, scores and errors. Fits of all candidates
    and folds that differ in weights or other numbers of the objective ("lam", "beta", "gamma",
    "alpha", "capacity") or in the seed train as one batch, each with its own weights, random
    numbers and history, and the same results as single fits up to the rounding of sums. In a
    Pipeline the first autoencoder is batched and other steps are fitted for every candidate;
    samplers of imbalanced-learn may come before the autoencoder.

    Parameters
    ----------
    estimator : autoencoder or Pipeline
        Estimator whose parameters are searched.
    param_grid : dict or list of dicts
        Names of parameters with lists of values to try.
    scoring : str, callable, list, tuple or dict, default=None
        As ``GridSearchCV`` takes it.
    n_jobs : int, default=None
        Number of processes if no fits train as a batch. If some do, all work is done in this
        process, which has the networks.
    refit : bool, str or callable, default=True
        Whether to fit the best candidate to all rows, and by which score it is chosen.
    cv : int, cross-validation generator or iterable, default=None
        Folds. Those with the same number of batches in an epoch train as one batch.
    verbose : int, default=0
        As ``GridSearchCV`` takes it.
    pre_dispatch : int or str, default="2*n_jobs"
        As ``GridSearchCV`` takes it.
    error_score : "raise" or number, default=nan
        Score of a candidate whose fit fails.
    return_train_score : bool, default=False
        Whether ``cv_results_`` contains the scores of training sets.

    Attributes
    ----------
    cv_results_, best_estimator_, best_score_, best_params_, best_index_, scorer_, n_splits_ :
        As in ``GridSearchCV``. The time of a batch is shared equally among its fits in
        ``mean_fit_time``.
    n_batched_fits_ : int
        Number of fits that trained in a batch with others, without those that were in a Pipeline's
        memory already.

    Warns
    -----
    BatchingWarning
        If fits were made one by one, with their number and the reason:

        - no other fit has the same architecture, settings and number of batches;
        - a divergence has a critic, the networks are not multilayer perceptrons, or other parts
          are neither skvim's nor torch's, or cannot be compared by value;
        - ``callbacks``, ``verbose``, ``precision="bfloat16"``, ``acceleration=None``, an optimizer
          class, or ``net_params`` other than settings of the optimizer;
        - on a CPU, networks so large that arithmetic takes most of the time (above 2²⁴
          multiply-adds a step); a device that is neither a CPU nor a CUDA GPU;
        - no room for two networks in the working memory, or an error in the batched training;
        - preceding steps of the Pipeline that raise an error or give other rows every time;
        - parameters passed to the estimator's ``fit``, or an estimator without an autoencoder.

    See Also
    --------
    lam_path : Fit an autoencoder for each value of a parameter, without folds.

    Notes
    -----
    A batch has as many networks as scikit-learn's ``working_memory`` has room for (by default
    1 GiB); batches train one after another. With ``early_stopping`` each network
    stops by its own validation loss.

    The steps before the autoencoder are fitted once more beforehand, to learn its training rows, so
    that their warnings may be shown twice: no warning filter is changed, which makes searches safe
    in threads.

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
        """Fit every candidate to every fold and the best one to all rows.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows, or any data that the estimator's ``fit`` accepts and that can be indexed.
        y : array-like of shape (n_samples,), default=None
            Labels; -1 marks unlabelled rows if splitter, estimator and scorer support it.
        **params : object
            As ``GridSearchCV.fit`` takes them. With parameters for the estimator's ``fit``, all
            fits are made one by one.

        Returns
        -------
        self : object
            Fitted search.
        """
        # Planning replaces parameters, which have to stay as given: a copy is fitted.
        search = copy.copy(self)
        _delete_fitted(search)
        plan = Plan()
        try:
            search._make_plan(plan, X, y, params)
            super(BatchedSearchCV, search).fit(X, y, **params)
        except BaseException:
            plan.is_active = False
            raise
        plan.finish()
        given = {name: value for name, value in vars(self).items() if not name.endswith("_")}
        fitted = {name: value for name, value in vars(search).items() if name.endswith("_")}
        # In one step, which an interruption cannot divide.
        self.__dict__ = given | fitted | {"n_batched_fits_": plan.n_batched}
        return self

    def _make_plan(self, plan: Plan, X: Any, y: Any, params: dict[str, Any]) -> None:
        """Plan the fits; on invalid data and parameters, leave the error to scikit-learn."""
        self._plan: Plan = plan
        self._given: dict[int, Any] = {}  # values of the grid by the id of what stands for them
        try:
            X, y = same_length(X, y)
            splitter = check_cv(self.cv, y, classifier=is_classifier(self.estimator))
            self.cv: Any = splitter  # the given cv may be an iterator, used up now
            routed = routed_fit_params(self, params)
            splits = list(splitter.split(X, y, **routed.splitter.split))
            candidates = list(ParameterGrid(self.param_grid))
        except (TypeError, ValueError, AttributeError):
            return
        self.cv = _FixedSplits(splitter, splits)
        if routed.estimator.fit:
            number = len(candidates) * len(splits)
            plan.reasons["parameters are passed to the estimator's fit"] += number
            return
        self._add_fits(candidates, splits, X, y)
        plan.build_chunks()
        if plan.chunks:
            self.n_jobs = 1  # results are in this process; None is joblib's configured number
            self.estimator: Any = _with_plan(self.estimator, plan)
            self.param_grid: Any = self._grid_with_plan(self.param_grid)

    def _grid_with_plan(self, grid: Any) -> Any:
        """Return a grid in which autoencoders and Pipelines take results from the plan."""
        if not isinstance(grid, Mapping):
            return [self._grid_with_plan(part) for part in grid]
        planned = {name: [_with_plan(v, self._plan) for v in grid[name]] for name in grid}
        for name, values in planned.items():
            self._given.update(zip(map(id, values), grid[name], strict=True))
        return planned

    def _add_fits(self, candidates: list[dict[str, Any]], splits: Splits, X: Any, y: Any) -> None:
        """Plan the fit of every candidate to every fold."""
        n_without = 0
        for j, (train, _) in enumerate(splits):
            rows, labels = take_rows(X, train), None if y is None else take_rows(y, train)
            transformed: dict[Any, Any] = {}
            for i, parameters in enumerate(candidates):
                autoencoder, before = self._autoencoder(parameters)
                if autoencoder is None:
                    n_without += 1
                    continue
                key = _key(before)
                if key not in transformed:
                    transformed[key] = _transform(before, rows, labels)
                self._add_fit(autoencoder, transformed[key], (i, j))
        if n_without == len(candidates) * len(splits):
            reason = (
                "the estimator is neither an autoencoder nor a Pipeline with one among its steps"
            )
            self._plan.reasons[reason] += n_without

    def _add_fit(self, autoencoder: Any, rows: Any, tag: tuple[int, int]) -> None:
        """Plan the fit of an autoencoder if its rows are known."""
        if isinstance(rows, _UnknownRows):
            self._plan.reasons[rows.reason] += 1
            return
        try:
            request: FitRequest = autoencoder._make_request(rows)
        except _OWN_ERRORS:  # its fit raises it
            return
        self._plan.add(request, tag)

    def _autoencoder(self, parameters: dict[str, Any]) -> tuple[Any, Any]:
        """Return a candidate's first autoencoder and the steps before it, each or None."""
        try:
            model = clone(self.estimator).set_params(**clone(parameters, safe=False))
        except _OWN_ERRORS:  # the fit of this candidate raises it
            return None, None
        return _first_autoencoder(model)

    def _format_results(
        self, candidate_params: Any, n_splits: int, out: Any, more_results: Any = None
    ) -> dict[str, Any]:
        """Share the time of each batch among its fits and make the table (scikit-learn's hook)."""
        self._plan.is_complete = True  # what follows is the fit to all rows
        for chunk in (chunk for chunk in self._plan.chunks if chunk.takers):
            _result_of(out, chunk.takers[0], n_splits)["fit_time"] -= chunk.seconds
            for tag in chunk.takers:
                _result_of(out, tag, n_splits)["fit_time"] += chunk.seconds / len(chunk.takers)
        given = [
            {name: self._given.get(id(value), value) for name, value in candidate.items()}
            for candidate in candidate_params
        ]
        results: dict[str, Any] = super()._format_results(given, n_splits, out, more_results)
        return results


@final
class _FixedSplits:
    """Splitter with given splits."""

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
        """Return the metadata routing of the original splitter (scikit-learn's hook)."""
        return self.splitter.get_metadata_routing()


def _first_autoencoder(model: Any) -> tuple[Any, Any]:
    """Return the first autoencoder and the steps of a Pipeline before it, each or None."""
    if isinstance(model, BaseAutoencoder):
        return model, None
    steps = model.steps if isinstance(model, Pipeline) else []
    for i, (_, step) in enumerate(steps):
        if isinstance(step, BaseAutoencoder):
            return step, model[:i] if i else None
    return None, None


def _key(steps: Any) -> Any:
    """Return a description of steps by value, or a unique key if there is none."""
    try:
        return describe(steps)
    except NotComparableError:
        return object()


class _UnknownRows(NamedTuple):
    """Reason why the training rows of an autoencoder are not known before its fit."""

    reason: str


def _transform(steps: Any, rows: Any, labels: Any) -> Any:
    """Fit the preceding steps without output and return the transformed rows.

    Rows are unknown if the steps use NumPy's global generator, since the fits will draw other
    numbers; its state is restored.
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
        return _UnknownRows(f"the steps before it raise {type(error).__name__}")
    if joblib.hash(generator.get_state()) == joblib.hash(before):
        return transformed
    generator.set_state(before)
    return _UnknownRows(OTHER_ROWS)


def _fit_transform(steps: Any, rows: Any, labels: Any) -> Any:
    """Fit steps of a Pipeline, of which the last may be a sampler, and return their rows."""
    if hasattr(steps[-1], "fit_resample"):
        return steps.fit_resample(rows, labels)[0]
    return steps.fit_transform(rows, labels)


def _is_verbose(name: str) -> bool:
    """Tell whether a parameter of a Pipeline is the ``verbose`` of some part."""
    return name.rpartition("__")[2] == "verbose"


def _with_plan(value: Any, plan: Plan) -> Any:
    """Return a clone of an autoencoder or Pipeline whose fits take results from a plan."""
    if _first_autoencoder(value)[0] is None:
        return value
    cloned = clone(value)
    _first_autoencoder(cloned)[0]._set_plan(plan)
    return cloned


def _delete_fitted(estimator: Any) -> None:
    """Delete the fitted attributes."""
    for name in [name for name in vars(estimator) if name.endswith("_")]:
        delattr(estimator, name)


def _result_of(out: Any, tag: tuple[int, int], n_splits: int) -> Any:
    """Return the result of a candidate and a fold."""
    return out[tag[0] * n_splits + tag[1]]
