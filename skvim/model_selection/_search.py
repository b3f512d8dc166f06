"""Grid search whose fits train as one batched network."""

import copy
import warnings
from collections.abc import Iterator, Sequence
from typing import Any, final
from uuid import uuid4

import joblib
from sklearn.base import clone, is_classifier
from sklearn.model_selection import GridSearchCV, ParameterGrid, check_cv
from sklearn.pipeline import Pipeline
from sklearn.utils import check_random_state

from skvim._base import BaseAutoencoder
from skvim._jobs import OTHER_ROWS, Jobs
from skvim._validation import same_length, take_rows

__all__ = ["BatchedSearchCV"]

Splits = Sequence[tuple[Any, Any]]


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
        # Its own parameters stay as the user gave them, also while it is fitted.
        search = copy.copy(self)
        for name in [name for name in vars(search) if name.endswith("_")]:
            delattr(search, name)
        jobs = Jobs()
        search._plan(jobs, X, y, params)
        with jobs.at_hand():
            super(BatchedSearchCV, search).fit(X, y, **params)
        fitted = {name: value for name, value in vars(search).items() if name.endswith("_")}
        for name in [name for name in vars(self) if name.endswith("_")]:
            delattr(self, name)
        for name, value in fitted.items():
            setattr(self, name, value)
        self.n_batched_fits_ = jobs.n_together
        return self

    def _plan(self, jobs: Jobs, X: Any, y: Any, params: dict[str, Any]) -> None:
        """Plan the fits; whatever is wrong is left to scikit-learn to say."""
        self._jobs: Jobs = jobs
        try:
            X, y = same_length(X, y)
            splitter = check_cv(self.cv, y, classifier=is_classifier(self.estimator))
            self.cv: Any = splitter  # what it was made of may be an iterator
            routed = self._get_routed_params_for_fit(params)
            splits = list(splitter.split(X, y, **routed.splitter.split))
            candidates = list(ParameterGrid(self.param_grid))
        except Exception:
            return
        self.cv = _Splits(splitter, splits)
        if routed.estimator.fit:
            number = len(candidates) * len(splits)
            jobs.reasons["parameters are passed to the estimator's fit"] += number
            return
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the fits themselves will say it
            self._add_jobs(candidates, splits, X, y)
        jobs.arrange()
        if jobs.chunks:
            self.n_jobs = 1  # None would leave it to joblib's configuration

    def _add_jobs(self, candidates: list[dict[str, Any]], splits: Splits, X: Any, y: Any) -> None:
        """Plan the fit of every candidate to every fold."""
        n_without = 0
        for j, (train, _) in enumerate(splits):
            rows, labels = take_rows(X, train), None if y is None else take_rows(y, train)
            known: dict[str, Any] = {}
            for i, parameters in enumerate(candidates):
                try:
                    model = clone(self.estimator).set_params(**clone(parameters, safe=False))
                    own, before = _split(model)
                    digest = _digest(before)
                    if own is not None and digest not in known:
                        known[digest] = _pass(before, rows, labels)
                except Exception:  # the fit of this candidate will raise it
                    continue
                if own is None:
                    n_without += 1
                elif known[digest] is None:
                    self._jobs.reasons[OTHER_ROWS] += 1
                else:
                    self._jobs.add(own, known[digest], (i, j))
        if n_without == len(candidates) * len(splits):
            reason = (
                "the estimator is neither an autoencoder nor a Pipeline with one among its steps"
            )
            self._jobs.reasons[reason] += n_without

    def _format_results(
        self, candidate_params: Any, n_splits: int, out: Any, more_results: Any = None
    ) -> dict[str, Any]:
        """Share out times, then make the table (scikit-learn's hook)."""
        self._jobs.counts = False  # what follows is the fit to all rows
        for chunk in (chunk for chunk in self._jobs.chunks if chunk.takers):
            _of(out, chunk.takers[0], n_splits)["fit_time"] -= chunk.seconds
            for tag in chunk.takers:
                _of(out, tag, n_splits)["fit_time"] += chunk.seconds / len(chunk.takers)
        results: dict[str, Any] = super()._format_results(
            candidate_params, n_splits, out, more_results
        )
        return results


@final
class _Splits:
    """A splitter that has split already."""

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


def _digest(steps: Any) -> str:
    """Return what steps are known by; of what cannot be compared, something of its own."""
    try:
        return str(joblib.hash(steps))
    except Exception:  # pickle raises whatever it likes
        return uuid4().hex


def _pass(steps: Any, rows: Any, labels: Any) -> Any:
    """Return what the steps before the autoencoder make of rows, fitted in silence.

    None where they draw from NumPy's global generator, which is put back: numbers would be others
    in the fits to come.
    """
    if steps is None:
        return rows
    loud = [name for name, value in steps.get_params().items() if _is_verbose(name) and value]
    shared = check_random_state(None)
    before = shared.get_state()
    found = steps.set_params(**dict.fromkeys(loud, False)).fit_transform(rows, labels)
    if joblib.hash(shared.get_state()) == joblib.hash(before):
        return found
    shared.set_state(before)
    return None


def _is_verbose(name: str) -> bool:
    """Whether a parameter, of a step or a step's part, makes it print."""
    return name.rpartition("__")[2] == "verbose"


def _of(out: Any, tag: tuple[int, int], n_splits: int) -> Any:
    """Return what came of a candidate and a fold."""
    return out[tag[0] * n_splits + tag[1]]
