"""Constructor parameters of TransductiveSVC."""

from collections.abc import Callable
from typing import Any

from numpy.typing import ArrayLike

from skvim._declare import estimator, parameter
from skvim._validation import StrOptions, integer, real
from skvim.semi_supervised._solver import SOLVERS

__all__ = ["TransductiveSettings"]


@estimator
class TransductiveSettings:
    """Mixin that declares the constructor parameters of TransductiveSVC."""

    C: float = parameter(
        default=1.0,
        kind="float in (0, inf)",
        allowed=[real(0.0, closed="neither")],
        doc="Weight of the squared slack of a labelled row; smaller values regularise more.",
        kw_only=False,
    )
    C_unlabeled: float | str = parameter(
        default="auto",
        kind='float in [0, inf) or "auto"',
        allowed=[real(0.0), StrOptions({"auto"})],
        doc="""Weight of an unlabelled row in the transductive machine. ``"auto"`` is
        C · min(1, √(n_labeled / n_unlabeled)): the more unlabelled rows there are, the less each
        weighs. 0 ignores them. Whether the rows are used at all is decided by ``safe``.""",
    )
    kernel: str | Callable[[Any, Any], Any] = parameter(
        default="rbf",
        kind='{"rbf", "linear", "poly"} or callable',
        allowed=[StrOptions({"rbf", "linear", "poly"}), callable],
        doc="""The kernel. ``"linear"`` uses the features directly, without landmarks. A
        callable takes two arrays of rows and returns the kernel matrix between them.""",
    )
    gamma: float | str = parameter(
        default="scale",
        kind='{"scale", "auto"} or float in (0, inf)',
        allowed=[StrOptions({"scale", "auto"}), real(0.0, closed="neither")],
        doc="""Coefficient of the kernels "rbf" and "poly". ``"scale"`` is
        1 / (n_features · X.var()) over all rows, ``"auto"`` 1 / n_features.""",
    )
    degree: int = parameter(
        default=3,
        kind="int in [1, inf)",
        allowed=[integer(1)],
        doc='Degree of the kernel "poly"; other powers of negative numbers are not defined.',
    )
    coef0: float = parameter(
        default=0.0,
        kind="float",
        allowed=[real(None, closed="neither")],
        doc='Constant of the kernel "poly".',
    )
    n_components: int | str = parameter(
        default="auto",
        kind='int in [1, inf), "auto" or "all"',
        allowed=[integer(1), StrOptions({"auto", "all"})],
        doc="""Number of Nyström landmarks; more are more exact and slower. ``"auto"`` is a tenth
        of the rows, but between 500 and 1,000. Landmarks are k-means centres if there are at
        least ten rows for each, else rows; they are always rows if X is sparse or the kernel a
        callable. ``"all"``, or a number not below n_samples, uses the exact kernel, with memory
        for n_samples² numbers. The kernel "linear" needs none.""",
    )
    class_prior: ArrayLike | str | None = parameter(
        default=None,
        kind='array-like of shape (n_classes,), "free" or None',
        allowed=["array-like", StrOptions({"free"}), None],
        doc="""Share of each class of ``classes_`` among all rows, with sum 1. None estimates it
        from the labels: the mean of a posterior in which all shares may be equal. Set it if the
        labelled rows were chosen by class. ``"free"`` does not constrain the shares; all unlabelled
        rows may then be assigned to one class.""",
    )
    class_weight: dict[Any, float] | str | None = parameter(
        default=None,
        kind='dict, "balanced" or None',
        allowed=[dict, StrOptions({"balanced"}), None],
        doc="""Factor of C for the labelled rows of each class, by class; 1 where it is not in the
        dict. ``"balanced"`` is n_labeled / (n_classes · count of the class), as in
        :class:`sklearn.svm.SVC`.""",
    )
    safe: bool = parameter(
        default=True,
        kind="bool",
        allowed=["boolean"],
        doc="""Whether unlabelled rows are used only if fits without a part of the labels gain by
        them, and the supervised machine is returned otherwise; see Notes.""",
    )
    solver: str = parameter(
        default="gradient",
        kind='{"gradient", "switching"}',
        allowed=[StrOptions(set(SOLVERS))],
        doc="""Algorithm: L-BFGS on a smooth surrogate in which the weight of the unlabelled rows
        rises in stages [2]_, or supervised fits with assigned labels that are switched between
        fits [1]_, many pairs at once.""",
    )
    max_iter: int = parameter(
        default=1000,
        kind="int in [1, inf)",
        allowed=[integer(1)],
        doc="Maximum number of L-BFGS iterations in each stage.",
    )
    tol: float = parameter(
        default=1e-4,
        kind="float in (0, inf)",
        allowed=[real(0.0, closed="neither")],
        doc="""Largest entry of the preconditioned gradient, relative to the square root of the sum
        of all row weights, at which a stage stops.""",
    )
    probability: bool = parameter(
        default=False,
        kind="bool",
        allowed=["boolean"],
        doc="""Whether to enable ``predict_proba`` by temperature scaling on cross-validated scores:
        up to five further fits, each without a part of the labels.""",
    )
    warm_start: bool = parameter(
        default=False,
        kind="bool",
        allowed=["boolean"],
        doc="""Whether ``fit`` starts from the solution of the previous fit and solves only the
        last stage, for a path of values of C. This requires the same kernel, landmarks (hence an
        int as ``random_state``) and classes; otherwise the fit starts from scratch.""",
    )
    random_state: Any = parameter(
        default=None,
        kind="int, RandomState instance or None",
        allowed=["random_state"],
        doc="""Seeds the choice of landmarks, of the 10,000 unlabelled rows that annealing uses if
        there are more, of the labels that ``safe`` holds out, and of the cross-validation folds of
        ``probability``.""",
    )
