"""A support vector machine that also learns from rows without a label."""

import warnings
from typing import Any, final

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import issparse
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.model_selection import StratifiedKFold
from sklearn.utils import Tags
from sklearn.utils.metaestimators import available_if

from skvim._declare import estimator
from skvim._labeled import UNLABELED
from skvim._persistence import Savable
from skvim._validation import (
    atomic,
    check_is_fitted,
    check_parameters,
    draw_seed,
    validate_data,
)
from skvim.semi_supervised._calibration import find_sharpness, probabilities
from skvim.semi_supervised._features import (
    FeatureMap,
    KernelMap,
    LinearMap,
    choose_landmarks,
    make_kernel,
    map_state,
    restored_map,
    same_map,
)
from skvim.semi_supervised._labels import Labels, read_labels
from skvim.semi_supervised._objective import Costs, shrunk_frequencies
from skvim.semi_supervised._pools import one_thread_for_scipy
from skvim.semi_supervised._settings import TransductiveSettings
from skvim.semi_supervised._solver import SAMPLE, Precision, Solution, pose, solve

__all__ = ["TransductiveSVC"]

Rows = Any  # an ndarray or a sparse array of shape (n_samples, n_features)

_ROWS = {"dtype": np.float64, "accept_sparse": "csr"}
_FOLDS = 5  # of the labels, of which each is left out once


def _wants_probability(model: "TransductiveSVC") -> bool:
    """Whether predict_proba is asked for."""
    return model.probability


@final
@estimator
class TransductiveSVC(TransductiveSettings, Savable, ClassifierMixin, BaseEstimator):
    r"""Support vector classifier that places its boundary where unlabelled rows are few.

    A row of ``y`` equal to -1 has no label. One-vs-rest machines are fitted together to labelled
    and unlabelled rows, starting from the machine of the labelled rows alone. The fitted model
    predicts any row (it is inductive), and ``transduction_`` holds the labels it gives to the
    unlabelled rows it was fitted with.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The sorted classes of the labelled rows; -1 is never one.
    transduction_ : ndarray of shape (n_samples,)
        A label for every row given to ``fit``: the one that ``y`` gave, else the predicted one.
    objective_ : float
        J at the solution, summed over the one-vs-rest problems.
    objective_history_ : ndarray of shape (n_stages,)
        J after every stage; the first is that of the labelled rows' machine.
    n_iter_ : int
        Steps of L-BFGS, over all stages.
    n_features_in_ : int
        Number of features seen in ``fit``.
    feature_names_in_ : ndarray of shape (n_features,)
        Names of the features seen in ``fit``, if all are strings.

    See Also
    --------
    sklearn.svm.SVC : Learns from labelled rows only.
    sklearn.semi_supervised.SelfTrainingClassifier : Adds its own confident predictions as labels.
    sklearn.semi_supervised.LabelSpreading : Spreads labels over a graph of the rows.

    Notes
    -----
    A transductive support vector machine [1]_. Each one-vs-rest problem has, with labels
    :math:`s=\pm1` of :math:`l` rows, :math:`u` rows without and
    :math:`f(x)=\langle w,\varphi(x)\rangle+b`, the objective

    .. math::

        J = \tfrac12\lVert w\rVert^2 + C\sum_{i\le l}\max(0,1-s_i f(x_i))^2
        + C^*\sum_{i>l}\max(0,1-\lvert f(x_i)\rvert)^2

    whose last term is large where the boundary runs through unlabelled rows. J has many local
    minima, and every row in one class is often among the best: the classes are held to their
    shares. ``solver="gradient"`` follows Chapelle and Zien [2]_: L-BFGS minimises, with
    :math:`C^*` raised in steps from 0, the smooth

    .. math::

        \tfrac12\lVert w\rVert^2 + C\sum_{i\le l}\max(0,1-s_i f(x_i))^2
        + C^*\sum_{i>l} e^{-3 f(x_i)^2}
        + \frac{20\,C^* u^2}{l+u}
        \Bigl(\frac{1}{l+u}\sum_i\tanh(2 f(x_i))-(2r-1)\Bigr)^2

    whose last term keeps the share of rows on the positive side near the share :math:`r` of the
    class, where [2]_ fixes the mean of :math:`f`; at its end J is minimised with the labels found.
    ``solver="switching"`` follows Joachims [1]_: the rows of highest score get the label +1, as
    many as the class has, their weight is doubled from :math:`C^*/1024` to :math:`C^*`, and pairs
    of labels change places as long as that lowers J. It is the slower and mostly the less
    accurate of the two. Without unlabelled rows, or with ``C_unlabeled=0``, what remains is the
    support vector machine with squared hinge loss, which has one minimum.

    :math:`\varphi` is the Nyström map of the kernel on ``n_components`` landmarks; all rows
    (``"all"``) make it exact. The kernel "linear" takes sparse rows of any
    dimension as they are. Annealing looks at no more than 10,000 unlabelled rows, and all rows
    have their say at its end. A step takes time in proportion to rows · n_components ·
    n_classes, and a fit memory for about two matrices of n_samples · n_components.

    Unlabelled rows help where classes form clusters, and can harm where they do not. They can
    also harm where C is so large that the norm of w hardly counts: a large w lowers the third
    term wherever the boundary lies. This concerns the kernel "linear" above all, whose
    values grow with the number and the scale of the features; there, take a smaller C.

    References
    ----------
    .. [1] Joachims, T. (1999). "Transductive inference for text classification using support
           vector machines". ICML 1999.
    .. [2] Chapelle, O. and Zien, A. (2005). "Semi-supervised classification by low density
           separation". AISTATS 2005.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.datasets import make_moons
    >>> from skvim.semi_supervised import TransductiveSVC
    >>> X, y = make_moons(200, noise=0.05, random_state=0)
    >>> labels = np.full(200, -1)
    >>> for moon in (0, 1):
    ...     two = np.flatnonzero(y == moon)[:2]
    ...     labels[two] = moon
    >>> model = TransductiveSVC(gamma=10.0, random_state=0).fit(X, labels)
    >>> model.score(X, y)
    1.0
    """

    def fit(self, X: ArrayLike, y: ArrayLike) -> "TransductiveSVC":
        """Fit the model to labelled and unlabelled rows.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            All rows, finite.
        y : array-like of shape (n_samples,)
            Class of each row, -1 where there is none. With strings as classes, use dtype object
            and the integer -1. At least two classes need a labelled row.

        Returns
        -------
        TransductiveSVC
            The fitted model.

        Raises
        ------
        ValueError
            If a parameter is out of range, X is not finite, fewer than two classes are labelled,
            y contains the string "-1", or ``probability`` wants two labels of every class and
            does not find them. A model fitted before stays as it was.

        Warns
        -----
        ConvergenceWarning
            If a stage reached ``max_iter``.
        """
        with atomic(self):
            check_parameters(self)
            rows, y_checked = validate_data(self, X, y, reset=True, **_ROWS)
            labels = read_labels(y_checked, name=type(self).__name__)
            self._fit(rows, y_checked, labels)
        return self

    def decision_function(self, X: ArrayLike) -> NDArray[np.float64]:
        """Return the signed scores of rows.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows to score.

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_classes)
            With two classes one score, positive for ``classes_[1]``; else one score per class.
            A row at the margin of its class has the score ±1.
        """
        check_is_fitted(self)
        scores = self._scores(validate_data(self, X, reset=False, **_ROWS))
        return scores[:, 0] if len(self.classes_) == 2 else scores

    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """Return the predicted class of rows, seen in ``fit`` or not.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows to classify.

        Returns
        -------
        ndarray of shape (n_samples,)
            Elements of ``classes_``.
        """
        check_is_fitted(self)
        return self._decide(self._scores(validate_data(self, X, reset=False, **_ROWS)))

    @available_if(_wants_probability)  # type: ignore[untyped-decorator]
    def predict_proba(self, X: ArrayLike) -> NDArray[np.float64]:
        """Return the probability of every class, if ``probability`` was true in ``fit``.

        Softmax of the scores over a temperature that fits labels left out in training. The most
        probable class is the one that ``predict`` gives. Where unlabelled rows come from the
        same source as labelled ones, the probabilities are about right on average; they say
        nothing of rows of another kind.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows to classify.

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
            Probabilities, in the order of ``classes_``.
        """
        check_is_fitted(self)
        scores = self._scores(validate_data(self, X, reset=False, **_ROWS))
        if self._sharpness is None:
            raise NotFittedError(
                "This TransductiveSVC was fitted with probability=False. Fit it again with True."
            )
        return probabilities(scores, self._sharpness)

    def __sklearn_tags__(self) -> Tags:
        """Take sparse rows too."""
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags

    def _fit(self, X: Rows, y: NDArray[Any], labels: Labels) -> None:
        """Fit to checked data and set the fitted attributes."""
        generator = np.random.default_rng(draw_seed(self.random_state))
        sharpness = self._calibrate(X, y, labels, generator) if self.probability else None
        feature_map = self._feature_map(X, labels, generator)
        start = self._start(feature_map, labels) if self.warm_start else None
        self._map = feature_map
        order, labeled = _labeled_first(labels.given, generator)
        shares = self._shares(labels)
        problem = pose(
            self._map.values(X[order]),
            labels.signs[labeled],
            None if shares is None else shares[labels.columns],
            self._costs(labels),
            self._map.projection,
        )
        with one_thread_for_scipy():
            solution = solve(problem, self.solver, Precision(self.max_iter, self.tol), start)
        self._warn_unless_converged(solution)
        self._weights, self._folded = solution.weights, self._map.fold(solution.weights)
        self._intercepts = solution.intercepts
        self.classes_: NDArray[Any] = labels.classes
        self.objective_ = float(solution.history[-1])
        self.objective_history_: NDArray[np.float64] = solution.history
        self.n_iter_ = solution.n_iter
        self._sharpness = sharpness
        self.transduction_: NDArray[Any] = y.copy()
        if not labels.given.all():
            self.transduction_[~labels.given] = self._decide(self._scores(X[~labels.given]))

    def _start(
        self, feature_map: FeatureMap, labels: Labels
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
        """Return the solution of the fit before, if it is one for this map and these classes."""
        if not hasattr(self, "_weights") or not same_map(self._map, feature_map):
            return None
        if not np.array_equal(self.classes_, labels.classes):
            return None
        if feature_map.projection is None and len(self._weights) != self.n_features_in_:
            return None
        return self._weights, self._intercepts

    def _calibrate(
        self, X: Rows, y: NDArray[Any], labels: Labels, generator: np.random.Generator
    ) -> float:
        """Return the sharpness of probabilities, from scores of labels that were left out."""
        n_folds = min(_FOLDS, int(np.bincount(labels.codes).min()))
        if n_folds < 2:
            raise ValueError(
                "TransductiveSVC with probability=True leaves labels out to calibrate with, and "
                "needs two labelled rows of every class. The class "
                f"{labels.classes.tolist()[int(np.bincount(labels.codes).argmin())]!r} has one. "
                "Label another, or set probability=False."
            )
        seed = int(generator.integers(2**31))
        given = np.flatnonzero(labels.given)
        scores = np.empty(labels.signs.shape)
        settings = {"probability": False, "warm_start": False, "random_state": seed}
        folds = StratifiedKFold(n_folds, shuffle=True, random_state=seed)
        for _, held in folds.split(given, labels.codes):
            # Neither strings nor unsigned numbers can hold the mark.
            masked = y.astype(object)
            masked[given[held]] = UNLABELED
            model = clone(self).set_params(**settings).fit(X, masked)
            scores[held] = model._scores(X[given[held]])
        return find_sharpness(scores, labels.codes)

    def _scores(self, X: Rows) -> NDArray[np.float64]:
        """Return the score of checked rows in each one-vs-rest problem."""
        return self._map.apply(X, self._folded) + self._intercepts

    def _decide(self, scores: NDArray[np.float64]) -> NDArray[Any]:
        """Return the class for each row of scores."""
        binary = len(self.classes_) == 2
        codes = (scores[:, 0] > 0).astype(np.intp) if binary else scores.argmax(axis=1)
        decided: NDArray[Any] = self.classes_[codes]
        return decided

    def _saved_state(self) -> dict[str, Any]:
        state = super()._saved_state()
        state.pop("_weights", None)  # what a warm start needs alone
        return state | {"_map": map_state(self._map)} if "_map" in state else state

    def _restore_state(self, state: dict[str, Any], device: Any) -> None:
        super()._restore_state(state, device)
        if "_map" not in state:
            return
        self._map, n_rows = restored_map(state["_map"], self.n_features_in_)
        n_columns = 1 if len(self.classes_) == 2 else len(self.classes_)
        found = self._folded.shape, self._intercepts.shape
        if len(self.classes_) < 2 or found != ((n_rows, n_columns), (n_columns,)):
            raise ValueError(f"weights have the shapes {found}")

    def _feature_map(self, X: Rows, labels: Labels, generator: np.random.Generator) -> FeatureMap:
        """Return the map in whose features the machine is linear."""
        if self.kernel == "linear":
            return LinearMap()
        kernel = make_kernel(
            self.kernel, gamma=self._gamma(X), degree=self.degree, coef0=self.coef0
        )
        n_landmarks = self._n_landmarks(X.shape[0])
        named = isinstance(self.kernel, str)  # a function may take rows of the user's kind alone
        landmarks = choose_landmarks(X, labels.given, n_landmarks, generator, centres=named)
        return KernelMap.fit(kernel, landmarks)

    def _n_landmarks(self, n_rows: int) -> int:
        """Return the number of landmarks that are asked for."""
        if self.n_components == "all":
            return n_rows
        if self.n_components == "auto":
            return min(max(n_rows // 10, 500), 1000)
        return int(self.n_components)

    def _gamma(self, X: Rows) -> float:
        """Return the kernel's coefficient, as scikit-learn's SVC defines it."""
        if self.gamma == "auto":
            return float(1.0 / X.shape[1])
        if self.gamma == "scale":
            variance = float(X.multiply(X).mean() - X.mean() ** 2 if issparse(X) else X.var())
            return float(1.0 / (X.shape[1] * variance)) if variance > 0 else 1.0
        return float(self.gamma)

    def _costs(self, labels: Labels) -> Costs:
        """Return the weights of labelled and unlabelled rows."""
        if self.C_unlabeled != "auto":
            return Costs(self.C, float(self.C_unlabeled))
        n_labeled = len(labels.codes)
        n_unlabeled = len(labels.given) - n_labeled
        return Costs(self.C, self.C * min(1.0, (n_labeled / max(1, n_unlabeled)) ** 0.5))

    def _shares(self, labels: Labels) -> NDArray[np.float64] | None:
        """Return the share of each class among all rows, as given or estimated; None if free."""
        if isinstance(self.class_prior, str):
            return None
        if self.class_prior is None:
            return shrunk_frequencies(labels.frequencies, len(labels.codes))
        try:
            shares = np.asarray(self.class_prior, dtype=np.float64)
        except (TypeError, ValueError):  # words, say, or a dict
            shares = np.empty(0)
        expected = (len(labels.classes),)
        if shares.shape != expected or not np.all(shares >= 0) or abs(shares.sum() - 1) > 1e-6:
            raise ValueError(
                "The 'class_prior' parameter of TransductiveSVC must hold one share per class "
                f"({expected[0]} classes), not negative and with sum 1. "
                f"Got {self.class_prior!r} instead."
            )
        return shares

    def _warn_unless_converged(self, solution: Solution) -> None:
        """Warn that the solution is not a minimum up to the tolerance."""
        if not solution.converged:
            warnings.warn(
                f"TransductiveSVC stopped after {solution.n_iter} steps before it reached "
                f"tol={self.tol}. Increase max_iter (now {self.max_iter} per stage) or tol, or "
                "scale the features.",
                ConvergenceWarning,
                stacklevel=4,
            )


def _labeled_first(
    given: NDArray[np.bool_], generator: np.random.Generator
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return row numbers, those with a label first, and which place each of these had among them.

    Rows of a kind of which a sample may be taken are in random order.
    """
    hidden = _mixed(int((~given).sum()), generator)
    labeled = _mixed(int(given.sum()), generator)
    rows = np.flatnonzero(given)[labeled], np.flatnonzero(~given)[hidden]
    return np.concatenate(rows), labeled


def _mixed(number: int, generator: np.random.Generator) -> NDArray[np.intp]:
    """Return the first numbers, in random order if there are more than a sample has."""
    return generator.permutation(number) if number > SAMPLE else np.arange(number)
