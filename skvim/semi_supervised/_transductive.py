"""Transductive support vector machine (TSVM, S3VM) for partly labelled data."""

import warnings
from functools import partial
from typing import Any, final

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.model_selection import StratifiedKFold
from sklearn.utils import Tags
from sklearn.utils.metaestimators import available_if

from skvim._declare import estimator
from skvim._float_errors import ignore_overflow, numpy_defaults
from skvim._labeled import UNLABELED
from skvim._persistence import Savable
from skvim._validation import (
    atomic,
    check_is_fitted,
    check_parameters,
    check_results,
    draw_seed,
    validate_data,
    with_plain_parameters,
)
from skvim.exceptions import NoGainWarning
from skvim.semi_supervised._blas_threads import limit_scipy_to_one_thread
from skvim.semi_supervised._calibration import (
    calibration_folds,
    fit_inverse_temperature,
    probabilities,
)
from skvim.semi_supervised._feature_maps import (
    FeatureMap,
    LinearMap,
    NystroemMap,
    choose_landmarks,
    make_kernel,
    map_from_state,
    map_state,
    maps_equal,
    stored_values,
    training_values,
)
from skvim.semi_supervised._label_encoding import EncodedLabels, check_kind_of_labels, encode_labels
from skvim.semi_supervised._resolved import class_shares, class_weights, n_landmarks, resolve_gamma
from skvim.semi_supervised._safeguard import SafeSolution, solve_safely, why_not_used
from skvim.semi_supervised._solver import (
    MAX_SAMPLE,
    Solution,
    StoppingCriteria,
    build_problem,
    is_streamed,
    solve,
)
from skvim.semi_supervised._svm_objective import LossWeights
from skvim.semi_supervised._transductive_parameters import TransductiveSettings

__all__ = ["TransductiveSVC"]

Rows = Any  # an ndarray or a sparse array of shape (n_samples, n_features)

_ROW_CHECKS = {"dtype": np.float64, "accept_sparse": "csr"}


def _wants_probability(model: "TransductiveSVC") -> bool:
    """Whether predict_proba is available."""
    return model.probability


@final
@estimator
class TransductiveSVC(TransductiveSettings, Savable, ClassifierMixin, BaseEstimator):
    r"""Transductive support vector classifier, whose boundary avoids dense unlabelled rows.

    A row of ``y`` equal to -1 has no label. One-vs-rest SVMs are fitted jointly to labelled and
    unlabelled rows, starting from the SVMs of the labelled rows alone. The fitted model predicts
    any row (it is inductive), and ``transduction_`` holds the labels of the training rows. With
    ``safe``, the default, unlabelled rows are used only where held-out labels favour it.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The sorted classes of the labelled rows; -1 is never one.
    transduction_ : ndarray of shape (n_samples,)
        Label of every row given to ``fit``: that in ``y``, or the predicted one if it is -1.
    objective_ : float
        J at the solution, summed over the one-vs-rest problems.
    objective_history_ : ndarray of shape (n_stages,)
        J after every stage; with ``safe`` the last is that of the returned machine.
    unlabeled_weight_ : float
        Weight of the transductive machine in the returned one, with ``safe`` 0.8, 0.2 or 0,
        otherwise 1; 0 without unlabelled rows and with ``C_unlabeled=0``.
    unlabeled_gain_ : float
        ½ (L_s - L_t + D_s - D_t) of Notes; NaN if it was not measured.
    agreement_ : float
        1 - D_t of Notes: how often two of the fits without a fifth of the labels agree, on average
        over pairs and at most 5,000 unlabelled rows; NaN if it was not measured.
    n_iter_ : int
        Number of L-BFGS iterations in all stages of the returned machines.
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
    :math:`s=\pm1` of :math:`l` rows, :math:`u` unlabelled rows and
    :math:`f(x)=\langle w,\varphi(x)\rangle+b`, the objective

    .. math::

        J = \tfrac12\lVert w\rVert^2 + C\sum_{i\le l}\max(0,1-s_i f(x_i))^2
        + C^*\sum_{i>l}\max(0,1-\lvert f(x_i)\rvert)^2

    whose last term is large where the boundary runs through unlabelled rows. J has many local
    minima, and all rows in one class is often among the best, so the shares of the classes are
    constrained. ``solver="gradient"`` follows Chapelle and Zien [2]_: L-BFGS minimises, with
    :math:`C^*` raised in steps from 0, the smooth

    .. math::

        \tfrac12\lVert w\rVert^2 + C\sum_{i\le l}\max(0,1-s_i f(x_i))^2
        + C^*\sum_{i>l} e^{-3 f(x_i)^2}
        + \frac{20\,C^* u^2}{l+u}
        \Bigl(\frac{1}{l+u}\sum_i\tanh(2 f(x_i))-(2r-1)\Bigr)^2

    whose last term keeps the share of rows with a positive score near the share :math:`r` of the
    class, where [2]_ fixes the mean of :math:`f`; finally J itself is minimised with the labels
    fixed to the signs of the scores. ``solver="switching"`` follows Joachims [1]_: the rows of
    highest score are labelled +1, as many as the class has, their weight is doubled from
    :math:`C^*/1024` to :math:`C^*`, and pairs of labels are switched as long as that lowers J. It
    is slower, less accurate on gaussian clusters and more accurate on tables. Without unlabelled
    rows, or with ``C_unlabeled=0``, the model is a support vector machine with squared hinge loss,
    whose objective has a single minimum.

    :math:`\varphi` is the Nyström map of the kernel on ``n_components`` landmarks; with all rows
    (``"all"``) it is exact. The kernel "linear" uses dense or sparse features directly. Annealing
    uses a sample of at most 10,000 unlabelled rows; the final stages use all. The time of an
    iteration is proportional to n_samples · n_components · n_classes. With more unlabelled rows
    than 10,000 and ten per landmark, ``solver="gradient"`` computes kernel values in blocks of rows
    whenever they are needed, keeps at most 512 MiB of them, and preconditions each one-vs-rest
    problem by its Hessian, with memory for n_classes · n_components² numbers, and for several
    matrices of n_samples · n_classes. Otherwise a fit needs memory for about two matrices of
    n_samples · n_components numbers.

    **Class shares** :math:`r` are estimated from the labels: equal with a prior probability of 1/5,
    else Dirichlet. If labels were chosen by class, as with the same number of each, set
    ``class_prior``: rows of frequent classes would be assigned to rare ones.

    **Safeguard.** Unlabelled rows help if classes form clusters, and can harm if they do not, or if
    C is so large that the norm of w hardly counts, above all with the kernel "linear". With
    ``safe`` both the supervised (s) and the transductive (t) machine are fitted without each fifth
    of the labels, to at most 5,000 unlabelled rows, which takes up to ten smaller fits. L is the
    mean squared hinge loss of the labels held out, of each at most 4, and D the share of unlabelled
    rows whose classes differ between two of the fits. If ½ (L_s - L_t + D_s - D_t) exceeds
    0.06 / √(labels held out), the returned w and b are the mean of both machines, in which the
    transductive one has the weight 0.8 if L_s - L_t exceeds 0.7 √(L_s / labels held out), else 0.2.
    If not, they are those of the supervised one, and a NoGainWarning is given. The supervised
    machine's intercepts are moved so that its class shares are those of ``class_prior``, or nearer
    to the estimated ones: by the part T / (2 T + 4 (K - 1)) of the way, where T is Pearson's
    chi-squared of the n labels, n Σ (r - p)² / r for its shares p of the K classes. There is no
    guarantee: stable clusters that are not the classes can deceive it. That of S4VM [3]_ holds for
    two classes and given rows, if the true labels are among its candidates.

    References
    ----------
    .. [1] Joachims, T. (1999). "Transductive inference for text classification using support
           vector machines". ICML 1999.
    .. [2] Chapelle, O. and Zien, A. (2005). "Semi-supervised classification by low density
           separation". AISTATS 2005.
    .. [3] Li, Y.-F. and Zhou, Z.-H. (2015). "Towards making unlabeled data never hurt". IEEE
           Transactions on Pattern Analysis and Machine Intelligence 37(1), 175-188.

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

    @numpy_defaults()
    def fit(self, X: ArrayLike, y: ArrayLike) -> "TransductiveSVC":
        """Fit the model to labelled and unlabelled rows.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            All rows, finite.
        y : array-like of shape (n_samples,)
            Class of each row, or -1 if it is unlabelled. With strings as classes, use dtype
            object and the integer -1. At least two classes need a labelled row.

        Returns
        -------
        TransductiveSVC
            The fitted model.

        Raises
        ------
        ValueError
            If a parameter is out of range, X is not finite, fewer than two classes are labelled,
            y contains the string "-1", or with ``probability`` a class has fewer than two
            labelled rows, or the kernel, the default of ``gamma`` or the objective is beyond the
            range of float64. A previous fit is then kept.

        Warns
        -----
        ConvergenceWarning
            If a stage reached ``max_iter``.
        NoGainWarning
            If unlabelled rows are used for class shares only.
        """
        with atomic(self), ignore_overflow():
            check_parameters(self)
            check_kind_of_labels(y, name=type(self).__name__)
            X_checked, y_checked = validate_data(self, X, y, reset=True, **_ROW_CHECKS)
            labels = encode_labels(y_checked, name=type(self).__name__)
            self._fit(X_checked, y_checked, labels)
        return self

    @numpy_defaults()
    def decision_function(self, X: ArrayLike) -> NDArray[np.float64]:
        """Return the decision scores f of rows.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows to score.

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_classes)
            With two classes one score, positive for ``classes_[1]``; else one score per class.
            Rows on the margins have the score ±1.
        """
        scores = self._validated_scores(X)
        return scores[:, 0] if len(self.classes_) == 2 else scores

    @numpy_defaults()
    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """Return the predicted classes of rows, seen in ``fit`` or not.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows to classify.

        Returns
        -------
        ndarray of shape (n_samples,)
            Elements of ``classes_``.
        """
        return self._predict_from_scores(self._validated_scores(X))

    @available_if(_wants_probability)  # type: ignore[untyped-decorator]
    @numpy_defaults()
    def predict_proba(self, X: ArrayLike) -> NDArray[np.float64]:
        """Return class probabilities; requires ``probability=True`` in ``fit``.

        Temperature scaling: softmax of the scores divided by a temperature fitted to
        cross-validated scores. The most probable class is that of ``predict``. Probabilities are
        about calibrated for rows of the distribution of the training rows, not for others.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows to classify.

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
            Probabilities, in the order of ``classes_``.
        """
        scores = self._validated_scores(X)
        if self._inverse_temperature is None:
            raise NotFittedError(
                "This TransductiveSVC was fitted with probability=False. Fit it again with True."
            )
        return probabilities(scores, self._inverse_temperature)

    def __sklearn_tags__(self) -> Tags:
        """Return the estimator tags: sparse X is accepted."""
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags

    def _fit(self, X: Rows, y: NDArray[Any], labels: EncodedLabels) -> None:
        """Fit to checked data and set the fitted attributes."""
        n_folds = calibration_folds(labels) if self.probability else 0
        seed = draw_seed(self.random_state)
        generator = np.random.default_rng(seed)
        settings = with_plain_parameters(self)
        feature_map = settings._feature_map(X, labels, generator)
        start = self._previous_solution(feature_map, labels) if self.warm_start else None
        self._map = feature_map
        order, labeled = _labeled_first(labels.is_labeled, generator)
        streamed = is_streamed(self._map, self.solver, len(order) - len(labeled))
        codes = labels.codes[labeled]
        estimate = partial(settings._class_shares, labels)
        problem = build_problem(
            training_values(self._map, X, order, streamed=streamed),
            labels.signs[labeled],
            estimate(codes),
            settings._loss_weights(labels, codes),
            self._map.projection,
        )
        with limit_scipy_to_one_thread():
            criteria = StoppingCriteria(settings.max_iter, settings.tol)
            if self.safe:
                step = None if self.class_prior is None else 1.0
                solved = solve_safely(
                    problem, codes, estimate, self.solver, criteria, start, generator, step
                )
            else:
                solved = SafeSolution(solve(problem, self.solver, criteria, start))
        solution = solved.solution
        for values in (solution.weights, solution.intercepts, solution.history):
            check_results("TransductiveSVC.fit", values, stored_values(X), advice=" or reduce C")
        self._warn_unless_converged(solution)
        self._set_evidence(solved, labels)
        self._set_solution(solution, labels)
        calibrated = self._calibrate(X, y, labels, n_folds, seed) if n_folds else None
        self._inverse_temperature = calibrated
        self.transduction_: NDArray[Any] = y.copy()
        hidden = ~labels.is_labeled
        if hidden.any():
            self.transduction_[hidden] = self._predict_from_scores(self._scores(X[hidden]))

    def _set_solution(self, solution: Solution, labels: EncodedLabels) -> None:
        """Set the attributes of the machine."""
        self._weights, self._folded = solution.weights, self._map.fold(solution.weights)
        self._intercepts = solution.intercepts
        self.classes_: NDArray[Any] = labels.classes
        self.objective_ = float(solution.history[-1])
        self.objective_history_: NDArray[np.float64] = solution.history
        self.n_iter_ = solution.n_iter

    def _set_evidence(self, solved: SafeSolution, labels: EncodedLabels) -> None:
        """Set the attributes on the use of unlabelled rows, and warn if they are not used."""
        evidence, used = solved.evidence, bool(self.C_unlabeled) and not labels.is_labeled.all()
        self.unlabeled_weight_ = solved.unlabeled_weight if used else 0.0
        self.agreement_ = 1.0 - evidence.disagreement[1] if evidence else float("nan")
        self.unlabeled_gain_ = evidence.gain if evidence else float("nan")
        if not used or self.unlabeled_weight_:
            return
        shares_used = not isinstance(self.class_prior, str)
        warnings.warn(
            f"TransductiveSVC {why_not_used(evidence, shares_used)}",
            NoGainWarning,
            stacklevel=5,
        )

    def _class_shares(
        self, labels: EncodedLabels, codes: NDArray[np.intp]
    ) -> NDArray[np.float64] | None:
        """Return the share of each problem's positive class, given or estimated; None if free."""
        shares = class_shares(self.class_prior, codes, len(labels.classes))
        return None if shares is None else shares[labels.positive_codes]

    def _loss_weights(self, labels: EncodedLabels, codes: NDArray[np.intp]) -> LossWeights:
        """Return the weights of labelled and unlabelled rows, C and C*."""
        n_unlabeled = len(labels.is_labeled) - len(codes)
        if self.C_unlabeled == "auto":
            C_unlabeled = self.C * min(1.0, (len(codes) / max(1, n_unlabeled)) ** 0.5)
        else:
            C_unlabeled = float(self.C_unlabeled)
        if self.class_weight is None:
            return LossWeights(self.C, C_unlabeled)
        of_class = class_weights(self.class_weight, codes, labels.classes)
        return LossWeights(self.C * of_class[codes][:, None], C_unlabeled)

    def _previous_solution(
        self, feature_map: FeatureMap, labels: EncodedLabels
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
        """Return the previous fit's solution if it has the same feature map and classes."""
        if not hasattr(self, "_weights") or not maps_equal(self._map, feature_map):
            return None
        if not np.array_equal(self.classes_, labels.classes):
            return None
        if feature_map.projection is None and len(self._weights) != self.n_features_in_:
            return None
        return self._weights, self._intercepts

    def _calibrate(
        self, X: Rows, y: NDArray[Any], labels: EncodedLabels, n_folds: int, seed: int
    ) -> float:
        """Fit the inverse temperature to cross-validated scores of the labelled rows.

        Machines are of the kind that counts most in the fitted one: with unlabelled rows or not.
        """
        labeled = np.flatnonzero(labels.is_labeled)
        scores = np.empty(labels.signs.shape)
        settings: dict[str, Any] = {"probability": False, "warm_start": False, "safe": False}
        settings |= {} if self.unlabeled_weight_ > 0.5 else {"C_unlabeled": 0.0}
        folds = StratifiedKFold(n_folds, shuffle=True, random_state=seed)
        for _, held in folds.split(labeled, labels.codes):
            # Arrays of strings or unsigned integers cannot hold -1.
            masked = y.astype(object)
            masked[labeled[held]] = UNLABELED
            model = clone(self).set_params(random_state=seed, **settings).fit(X, masked)
            scores[held] = model._scores(X[labeled[held]])
        return fit_inverse_temperature(scores, labels.codes)

    def _validated_scores(self, X: ArrayLike) -> NDArray[np.float64]:
        """Validate rows and return their scores, of shape (n_samples, n_problems)."""
        check_is_fitted(self)
        return self._scores(validate_data(self, X, reset=False, **_ROW_CHECKS))

    def _scores(self, X: Rows) -> NDArray[np.float64]:
        """Return the scores of validated rows, of shape (n_samples, n_problems)."""
        with ignore_overflow():
            scores = self._map.apply(X, self._folded) + self._intercepts
        return check_results("TransductiveSVC", scores, stored_values(X))

    def _predict_from_scores(self, scores: NDArray[np.float64]) -> NDArray[Any]:
        """Return the predicted class of each row of scores."""
        binary = len(self.classes_) == 2
        codes = (scores[:, 0] > 0).astype(np.intp) if binary else scores.argmax(axis=1)
        predicted: NDArray[Any] = self.classes_[codes]
        return predicted

    def _saved_state(self) -> dict[str, Any]:
        state = super()._saved_state()
        state.pop("_weights", None)  # needed for a warm start only
        return state | {"_map": map_state(self._map)} if "_map" in state else state

    def _restore_state(self, state: dict[str, Any], device: Any) -> None:
        super()._restore_state(state, device)
        if "_map" not in state:
            return
        self._map, n_rows = map_from_state(state["_map"], self.n_features_in_)
        n_columns = 1 if len(self.classes_) == 2 else len(self.classes_)
        shapes = self._folded.shape, self._intercepts.shape
        if len(self.classes_) < 2 or shapes != ((n_rows, n_columns), (n_columns,)):
            raise ValueError(f"weights have the shapes {shapes}")

    def _feature_map(
        self, X: Rows, labels: EncodedLabels, generator: np.random.Generator
    ) -> FeatureMap:
        """Return the feature map of the kernel."""
        if self.kernel == "linear":
            return LinearMap()
        kernel = make_kernel(
            self.kernel, gamma=resolve_gamma(self.gamma, X), degree=self.degree, coef0=self.coef0
        )
        number = n_landmarks(self.n_components, X.shape[0])
        centres = isinstance(self.kernel, str)  # a callable may only accept rows of the data
        landmarks = choose_landmarks(X, labels.is_labeled, number, generator, centres=centres)
        return NystroemMap.fit(kernel, landmarks)

    def _warn_unless_converged(self, solution: Solution) -> None:
        """Warn if a stage stopped before it reached the tolerance."""
        if not solution.converged:
            warnings.warn(
                f"TransductiveSVC stopped after {solution.n_iter} iterations before it reached "
                f"tol={self.tol}. Increase max_iter (now {self.max_iter} per stage) or tol, or "
                "scale the features.",
                ConvergenceWarning,
                stacklevel=5,
            )


def _labeled_first(
    is_labeled: NDArray[np.bool_], generator: np.random.Generator
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return an order of all rows, labelled ones first, and the order within the labelled rows.

    If annealing or preconditioning may use a sample of the rows, their order is random.
    """
    hidden = _sampling_order(int((~is_labeled).sum()), generator)
    labeled = _sampling_order(int(is_labeled.sum()), generator)
    rows = np.flatnonzero(is_labeled)[labeled], np.flatnonzero(~is_labeled)[hidden]
    return np.concatenate(rows), labeled


def _sampling_order(number: int, generator: np.random.Generator) -> NDArray[np.intp]:
    """Return 0, ..., number - 1, shuffled if there are more than a sample has."""
    return generator.permutation(number) if number > MAX_SAMPLE else np.arange(number)
