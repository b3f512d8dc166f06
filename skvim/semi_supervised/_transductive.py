"""A support vector machine that also learns from rows without a label."""

import warnings
from collections.abc import Callable
from typing import Any, final

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.exceptions import ConvergenceWarning

from skvim._declare import estimator, parameter
from skvim._persistence import Savable
from skvim._validation import (
    StrOptions,
    atomic,
    check_is_fitted,
    check_parameters,
    draw_seed,
    integer,
    real,
    validate_data,
)
from skvim.semi_supervised._features import (
    FeatureMap,
    KernelMap,
    LinearMap,
    choose_landmarks,
    make_kernel,
    map_state,
    restored_map,
)
from skvim.semi_supervised._labels import Labels, read_labels
from skvim.semi_supervised._objective import shrunk_frequencies
from skvim.semi_supervised._solver import Costs, Solution, solve

__all__ = ["TransductiveSVC"]


@final
@estimator
class TransductiveSVC(Savable, ClassifierMixin, BaseEstimator):
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
        The objective at the solution, summed over the one-vs-rest problems.
    n_iter_ : int
        Steps of L-BFGS, over all stages of the annealing.
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
    A transductive support vector machine [1]_ by the gradient method of Chapelle and Zien [2]_.
    Each one-vs-rest problem, with labels :math:`s=\pm1` and
    :math:`f(x)=\langle w,\varphi(x)\rangle+b`, minimises

    .. math::

        \tfrac12\lVert w\rVert^2 + C\sum_{i\le l}\max(0,1-s_i f(x_i))^2
        + C^*\sum_{i>l} e^{-3 f(x_i)^2}
        + \frac{20\,C^* u^2}{l+u}
        \Bigl(\frac{1}{l+u}\sum_i\tanh(2 f(x_i))-(2r-1)\Bigr)^2

    over :math:`l` labelled and :math:`u` unlabelled rows, with :math:`C^*` raised in steps from 0.
    The third term is large where the boundary runs through unlabelled rows. The last one keeps
    the share of rows on the positive side near the share :math:`r` of the class, where [2]_ fixes
    the mean of :math:`f`; without it every row can end in one class. The objective has many
    local minima and the solution is one of them. Without unlabelled rows, or with
    ``C_unlabeled=0``, what remains is the support vector machine with squared hinge loss, which
    has one minimum.

    :math:`\varphi` is the Nyström map of the kernel on ``n_components`` rows, the labelled ones
    first; all rows (``"all"``) make it exact. A fit takes time in proportion to
    n_samples · n_components · n_classes per step, and memory for a few matrices of n_samples ·
    n_components.

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

    C: float = parameter(
        default=1.0,
        kind="float in (0, inf)",
        allowed=[real(0.0, closed="neither")],
        doc="Weight of the squared slack of a labelled row; less is smoother.",
        kw_only=False,
    )
    C_unlabeled: float | str = parameter(
        default="auto",
        kind='float in [0, inf) or "auto"',
        allowed=[real(0.0), StrOptions({"auto"})],
        doc="""Weight of an unlabelled row. ``"auto"`` is C · min(1, n_labeled / n_unlabeled), so
        that any number of unlabelled rows weighs no more than the labelled ones together.
        0 ignores the unlabelled rows.""",
    )
    kernel: str | Callable[[Any, Any], Any] = parameter(
        default="rbf",
        kind='{"rbf", "linear", "poly"} or callable',
        allowed=[StrOptions({"rbf", "linear", "poly"}), callable],
        doc="""The kernel. ``"linear"`` works on the features as they are, without landmarks. A
        callable receives two arrays of rows and returns the kernel matrix between them.""",
    )
    gamma: float | str = parameter(
        default="scale",
        kind='{"scale", "auto"} or float in (0, inf)',
        allowed=[StrOptions({"scale", "auto"}), real(0.0, closed="neither")],
        doc="""Coefficient of the kernels "rbf" and "poly". ``"scale"`` is
        1 / (n_features · X.var()) over all rows, ``"auto"`` 1 / n_features.""",
    )
    degree: float = parameter(
        default=3,
        kind="float in [1, inf)",
        allowed=[real(1.0)],
        doc='Degree of the kernel "poly".',
    )
    coef0: float = parameter(
        default=0.0,
        kind="float",
        allowed=[real(None, closed="neither")],
        doc='Constant of the kernel "poly".',
    )
    n_components: int | str = parameter(
        default=500,
        kind='int in [1, inf) or "all"',
        allowed=[integer(1), StrOptions({"all"})],
        doc="""Number of rows that serve as landmarks of the kernel; more is more exact and
        slower. ``"all"``, or a number not below n_samples, uses the exact kernel, with memory for
        n_samples² numbers. The kernel "linear" needs none.""",
    )
    class_prior: ArrayLike | None = parameter(
        default=None,
        kind="array-like of shape (n_classes,) or None",
        allowed=["array-like", None],
        doc="""Share of each class of ``classes_`` among all rows, with sum 1. None estimates it
        from the labels: their frequencies, drawn towards equal shares as far as chance explains
        the difference. Give it if the labelled rows were chosen by class.""",
    )
    max_iter: int = parameter(
        default=1000,
        kind="int in [1, inf)",
        allowed=[integer(1)],
        doc="Steps of L-BFGS allowed in each of at most five stages.",
    )
    tol: float = parameter(
        default=1e-4,
        kind="float in (0, inf)",
        allowed=[real(0.0, closed="neither")],
        doc="Size of the gradient, relative to the square root of all weights, that ends a stage.",
    )
    random_state: Any = parameter(
        default=None,
        kind="int, RandomState instance or None",
        allowed=["random_state"],
        doc="Seeds the choice of landmarks; without effect where all rows are used.",
    )

    def fit(self, X: ArrayLike, y: ArrayLike) -> "TransductiveSVC":
        """Fit the model to labelled and unlabelled rows.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
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
            or y contains the string "-1". A model fitted before stays as it was.

        Warns
        -----
        ConvergenceWarning
            If a stage reached ``max_iter``.
        """
        with atomic(self):
            check_parameters(self)
            rows, y_checked = validate_data(self, X, y, reset=True, dtype=np.float64)
            labels = read_labels(y_checked, name=type(self).__name__)
            self._fit(rows, y_checked, labels)
        return self

    def decision_function(self, X: ArrayLike) -> NDArray[np.float64]:
        """Return the signed scores of rows.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows to score.

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_classes)
            With two classes one score, positive for ``classes_[1]``; else one score per class.
            A row at the margin of its class has the score ±1.
        """
        check_is_fitted(self)
        scores = self._scores(validate_data(self, X, reset=False, dtype=np.float64))
        return scores[:, 0] if len(self.classes_) == 2 else scores

    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """Return the predicted class of rows, seen in ``fit`` or not.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows to classify.

        Returns
        -------
        ndarray of shape (n_samples,)
            Elements of ``classes_``.
        """
        check_is_fitted(self)
        return self._decide(self._scores(validate_data(self, X, reset=False, dtype=np.float64)))

    def _fit(self, X: NDArray[np.float64], y: NDArray[Any], labels: Labels) -> None:
        """Fit to checked data and set the fitted attributes."""
        generator = np.random.default_rng(draw_seed(self.random_state))
        self._map = self._feature_map(X, labels, generator)
        solution = solve(
            self._map.transform(np.vstack([X[labels.given], X[~labels.given]])),
            labels.signs,
            2.0 * self._shares(labels)[labels.columns] - 1.0,
            self._costs(labels),
            max_iter=self.max_iter,
            tol=self.tol,
        )
        self._warn_unless_converged(solution)
        self._folded = self._map.fold(solution.weights)
        self._intercepts = solution.intercepts
        self.classes_: NDArray[Any] = labels.classes
        self.objective_ = solution.objective
        self.n_iter_ = solution.n_iter
        self.transduction_: NDArray[Any] = y.copy()
        if not labels.given.all():
            self.transduction_[~labels.given] = self._decide(self._scores(X[~labels.given]))

    def _scores(self, X: NDArray[np.float64]) -> NDArray[np.float64]:
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

    def _feature_map(
        self, X: NDArray[np.float64], labels: Labels, generator: np.random.Generator
    ) -> FeatureMap:
        """Return the map in whose features the machine is linear."""
        if self.kernel == "linear":
            return LinearMap()
        kernel = make_kernel(
            self.kernel, gamma=self._gamma(X), degree=self.degree, coef0=self.coef0
        )
        n_landmarks = len(X) if self.n_components == "all" else int(self.n_components)
        landmarks = choose_landmarks(labels.given, n_landmarks, generator)
        return KernelMap.fit(kernel, X[landmarks])

    def _gamma(self, X: NDArray[np.float64]) -> float:
        """Return the kernel's coefficient, as scikit-learn's SVC defines it."""
        if self.gamma == "auto":
            return float(1.0 / X.shape[1])
        if self.gamma == "scale":
            variance = float(X.var())
            return float(1.0 / (X.shape[1] * variance)) if variance > 0 else 1.0
        return float(self.gamma)

    def _costs(self, labels: Labels) -> Costs:
        """Return the weights of labelled and unlabelled rows."""
        if self.C_unlabeled != "auto":
            return Costs(self.C, float(self.C_unlabeled))
        n_labeled = len(labels.codes)
        n_unlabeled = len(labels.given) - n_labeled
        return Costs(self.C, self.C * min(1.0, n_labeled / max(1, n_unlabeled)))

    def _shares(self, labels: Labels) -> NDArray[np.float64]:
        """Return the share of each class among all rows, as given or estimated."""
        if self.class_prior is None:
            return shrunk_frequencies(labels.frequencies, len(labels.codes))
        shares = np.asarray(self.class_prior, dtype=np.float64)
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
